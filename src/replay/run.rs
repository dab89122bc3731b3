//! Runs the replay that is to run: in every replica waits a runner, and the one that holds the lock publishes.
//!
//! A batch is read, judged, published and counted, in this order. A runner that dies in between leaves at most one batch that
//! is published and not counted: the next one publishes it again, and claims keep the platform from seeing it twice.

mod allowance;
mod batch;
mod pace;
mod turns;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::redis::RedisResult;
use ::redis::aio::MultiplexedConnection;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use self::allowance::{Lanes, UnderWay, allowance, waiting};
use self::batch::Reading;
use self::pace::Pace;
use self::turns::Turns;
use crate::clock::now_ms;
use crate::kafka::producer::Producer;
use crate::metrics::{Metrics, ReplayResult};
use crate::operate::lanes::read_lanes;
use crate::operate::orders::renewed_ms;
use crate::operate::snapshot::read_snapshots;
use crate::redis::batcher::describe;
use crate::replay::judge::Rules;
use crate::replay::setup::Setup;
use crate::replay::store::progress::{Did, Done, Found, Step, advance, keep_samples, release_lock, running, take_lock};
use crate::replay::store::stored::counts;
use crate::replay::store::{self, LOCK_MS, Stored};
use crate::replay::view::{State, Stopped, Waiting};

/// How often a runner looks whether there is a replay to run.
const LOOK: Duration = Duration::from_millis(500);
/// The longest time between two writes of a run, so that a cancel and another rate are obeyed at once.
const TICK: Duration = Duration::from_millis(200);
/// How often the lanes are looked at.
const LANES: Duration = Duration::from_secs(1);
/// How often the lock is renewed while a batch is being published.
const RENEW: Duration = Duration::from_secs(4);
/// How long to wait before a failed call is made again.
const AGAIN: Duration = Duration::from_millis(500);
/// Nothing is published under a lock that was last seen longer ago than this.
const LOCK_TRUSTED: Duration = Duration::from_millis(LOCK_MS as u64 / 2);
/// Of a run that skips everything, so many are looked at in one go.
const MOST_AT_ONCE: usize = 512;

/// The runner of one replica.
pub struct Runner<'a> {
    pub setup: Arc<Setup>,
    pub producer: &'a Producer,
    pub metrics: &'a Metrics,
    /// The id of the replica.
    pub id: &'a str,
}

/// Why a run is left.
enum Left {
    /// It has ended, or an operator stopped it.
    Over,
    /// This process stops.
    Stopping,
    /// Another runner has the lock.
    Lost,
}

impl Runner<'_> {
    /// Runs until `stop` says so, or its sender is gone. The batch that is under way then is counted.
    pub async fn keep(&self, mut stop: watch::Receiver<bool>) {
        let token = format!("{}-{:016x}", self.id, rand::random::<u64>());
        let mut connection = None;
        while !*stop.borrow() {
            tokio::select! {
                () = sleep(LOOK) => {}
                changed = stop.changed() => if changed.is_err() { return },
            }
            let mut c = match connection.take() {
                Some(connection) => connection,
                None => match crate::redis::connect(&self.setup.client).await {
                    Ok(connection) => connection,
                    // The coordinator reports that Redis does not answer.
                    Err(_) => continue,
                },
            };
            match self.look(&mut c, &token, &stop).await {
                Ok(()) => connection = Some(c),
                Err(error) => tracing::debug!(error = describe(&error), "the runner of replays asks redis again"),
            }
        }
    }

    async fn look(&self, c: &mut MultiplexedConnection, token: &str, stop: &watch::Receiver<bool>) -> RedisResult<()> {
        let keys = &self.setup.keys;
        let Some(id) = running(c, keys).await? else { return Ok(()) };
        if !take_lock(c, keys, token).await? {
            return Ok(());
        }
        let Some(stored) = store::read(c, keys, &id).await? else {
            // Its time is over, so nobody waits for it.
            let () = ::redis::cmd("DEL").arg(keys.replay_running()).query_async(c).await?;
            return release_lock(c, keys, token).await;
        };
        let mut run = Run::begin(self, c.clone(), token, stored).await?;
        self.metrics.replays.set_running(true);
        let left = run.go_on(stop).await;
        self.metrics.replays.set_running(false);
        *c = run.c;
        let left = left?;
        match left {
            Left::Lost => return Ok(()),
            Left::Over => tracing::info!(replay = id, "the run of a replay has ended or was stopped"),
            Left::Stopping => tracing::info!(replay = id, "another replica goes on with the replay"),
        }
        let () = ::redis::cmd("HDEL").arg(keys.replay(&id)).arg("runner").query_async(c).await?;
        release_lock(c, keys, token).await
    }
}

/// A run under way.
struct Run<'a> {
    runner: &'a Runner<'a>,
    setup: Arc<Setup>,
    c: MultiplexedConnection,
    token: &'a str,
    stored: Stored,
    turns: Turns,
    reading: Reading,
    rules: Rules,
    rate: u32,
    pace: Pace,
    began: Instant,
    lanes: (Option<Instant>, Lanes),
    under_way: UnderWay,
    waiting: Vec<Waiting>,
    /// When the lock was last seen to be ours.
    held: Instant,
    /// How many are looked at beyond the credit, because the last ones were all skipped.
    look_ahead: usize,
}

impl<'a> Run<'a> {
    async fn begin(
        runner: &'a Runner<'a>,
        mut c: MultiplexedConnection,
        token: &'a str,
        stored: Stored,
    ) -> RedisResult<Self> {
        let (setup, plan) = (runner.setup.clone(), &stored.plan);
        let values: BTreeMap<String, Vec<u8>> =
            ::redis::cmd("HGETALL").arg(setup.keys.replay_places(&stored.id)).query_async(&mut c).await?;
        let mut turns = Turns::new(&plan.accounts, values);
        let chunks: Vec<turns::Chunk> = turns.chunks().into_iter().collect();
        let mut done = BTreeMap::new();
        for part in chunks.chunks(64) {
            let of = |(partition, chunk): &turns::Chunk| setup.keys.replay_done_chunk(&stored.id, *partition, *chunk);
            let names: Vec<String> = part.iter().map(of).collect();
            let bits: Vec<Option<Vec<u8>>> = ::redis::cmd("MGET").arg(&names).query_async(&mut c).await?;
            done.extend(part.iter().copied().zip(bits).filter_map(|(chunk, bits)| Some((chunk, bits?))));
        }
        turns.leave_out(done);
        // A runner that ends removes its name. One whose name is still there was killed, and outcomes of its process may
        // have been counted twice.
        let before: Option<String> =
            ::redis::cmd("HGET").arg(setup.keys.replay(&stored.id)).arg("runner").query_async(&mut c).await?;
        let mut fields = vec![("runner", token)];
        if before.is_some_and(|before| before != token) {
            tracing::warn!(replay = stored.id, "the replica that ran the replay is gone: this one goes on with it");
            fields.push(("at_least", "1"));
        } else {
            tracing::info!(replay = stored.id, by = stored.text("by"), "runs a replay");
        }
        let () = ::redis::cmd("HSET").arg(setup.keys.replay(&stored.id)).arg(&fields).query_async(&mut c).await?;
        let epoch: Option<String> = ::redis::cmd("GET").arg(setup.keys.epoch()).query_async(&mut c).await?;
        let forgotten_ms = epoch.as_deref().and_then(renewed_ms);
        let rules = Rules { force: plan.force, window: setup.window, forgotten_ms, now_ms: now_ms() };
        let under_way = UnderWay { published: stored.counts("republished"), ended: BTreeMap::new() };
        let began = Instant::now();
        Ok(Self {
            runner,
            c,
            token,
            turns,
            reading: Reading::default(),
            rules,
            rate: stored.rate(),
            pace: Pace::new(Duration::ZERO),
            began,
            lanes: (None, Lanes::default()),
            under_way,
            waiting: Vec::new(),
            held: began,
            look_ahead: 0,
            setup,
            stored,
        })
    }

    async fn go_on(&mut self, stop: &watch::Receiver<bool>) -> RedisResult<Left> {
        loop {
            if *stop.borrow() {
                return Ok(Left::Stopping);
            }
            let tick = Instant::now();
            if let Some(left) = self.advance(&[], None).await? {
                return Ok(left);
            }
            if let Some(stopped) = self.look_at_outcomes().await? {
                tracing::warn!(replay = self.stored.id, reason = stopped.reason, "a replay stops itself");
                let end = (State::StoppedItself, Some(stopped));
                return Ok(self.advance(&[], Some(end)).await?.unwrap_or(Left::Over));
            }
            if self.turns.is_empty() {
                return Ok(self.advance(&[], Some((State::Completed, None))).await?.unwrap_or(Left::Over));
            }
            self.look_at_lanes().await?;
            let credit = self.pace.credit(self.rate, self.began.elapsed());
            let published = if credit > 0 { self.batch(credit).await? } else { Ok(0) };
            match published {
                Ok(published) => self.pace.spend(published),
                Err(left) => return Ok(left),
            }
            let goes_on_at_once = credit > 0 && self.look_ahead > 0;
            if !goes_on_at_once {
                let wait = self.pace.wait(self.rate).clamp(Duration::from_millis(20), TICK);
                sleep(wait.saturating_sub(tick.elapsed()).max(Duration::from_millis(5))).await;
            }
        }
    }

    /// Counts what was done, and learns what operators want. It goes on until Redis has answered: what was published has to
    /// be counted.
    async fn advance(&mut self, done: &[Done], end: Option<(State, Option<Stopped>)>) -> RedisResult<Option<Left>> {
        let waiting = std::mem::take(&mut self.waiting);
        let step = Step { done, waiting: &waiting, end: end.clone(), now_ms: now_ms() };
        let found = loop {
            let asked = Instant::now();
            let keys = &self.setup.keys;
            match advance(&mut self.c, keys, (&self.stored.id, self.token), &step).await {
                Ok(found) => {
                    self.held = asked;
                    break found;
                }
                Err(error) => {
                    tracing::warn!(replay = self.stored.id, error = describe(&error), "redis does not count a replay");
                    sleep(AGAIN).await;
                    if let Ok(c) = crate::redis::connect(&self.setup.client).await {
                        self.c = c;
                        // The lock may have expired meanwhile, and nobody has taken it.
                        let _ = take_lock(&mut self.c, keys, self.token).await;
                    }
                }
            }
        };
        self.waiting = waiting;
        if !matches!(found, Found::Lost | Found::Gone) {
            for done in done {
                let result = match done.did {
                    Did::Republished => ReplayResult::Republished,
                    Did::Skipped(_) => ReplayResult::Skipped,
                    Did::Failed(_) => ReplayResult::Failed,
                };
                self.runner.metrics.replays.dealt_with(result, 1);
            }
        }
        Ok(match found {
            Found::Lost => Some(Left::Lost),
            Found::State(State::Running, rate) => {
                self.rate = rate;
                None
            }
            Found::State(..) | Found::Gone => Some(Left::Over),
        })
    }

    /// Reads what has ended, and whether the brake is on.
    async fn look_at_outcomes(&mut self) -> RedisResult<Option<Stopped>> {
        let outcomes: BTreeMap<String, String> = ::redis::cmd("HGETALL")
            .arg(self.setup.keys.replay_outcomes(&self.stored.id))
            .query_async(&mut self.c)
            .await?;
        self.under_way.ended.clear();
        for (account, ended) in counts(&outcomes, "ended") {
            *self.under_way.ended.entry(self.setup.counted_as(Some(&account)).to_owned()).or_default() += ended;
        }
        let brake = outcomes.get("brake").filter(|_| !self.stored.plan.no_brake);
        Ok(brake
            .map(|text| serde_json::from_str(text).unwrap_or_else(|_| Stopped { reason: text.clone(), sample: None })))
    }

    async fn look_at_lanes(&mut self) -> RedisResult<()> {
        if self.lanes.0.is_some_and(|at| at.elapsed() < LANES) {
            return Ok(());
        }
        let switches = read_lanes(&mut self.c, &self.setup.keys).await?;
        let snapshots = read_snapshots(&mut self.c, &self.setup.keys).await?;
        self.lanes = (Some(Instant::now()), Lanes { switches, snapshots });
        let accounts = self.turns.accounts();
        self.waiting = waiting(&self.lanes.1, accounts.iter().map(|name| &**name));
        Ok(())
    }

    /// Reads, judges, publishes and counts the next dead letters. Returns how many were published.
    async fn batch(&mut self, credit: usize) -> RedisResult<Result<usize, Left>> {
        let (setup, lanes, under_way) = (self.setup.clone(), &self.lanes.1, &self.under_way);
        let allowed = |name: &str| match lanes.closed(name) {
            Some(_) => 0,
            None => allowance(&setup.accounts, under_way, name),
        };
        let taken = self.turns.take(credit + self.look_ahead, &allowed);
        if taken.is_empty() {
            self.look_ahead = 0;
            return Ok(Ok(0));
        }
        self.rules.now_ms = now_ms();
        let judged = match self.reading.judge(&setup, self.rules, &taken).await {
            Ok(judged) => judged,
            Err(why) => {
                self.turns.put_back(taken);
                return Ok(self.kafka_is_away(why).await);
            }
        };
        let (mut done, mut to_publish) = batch::sort(&mut self.c, &setup, &self.stored.plan, judged).await?;
        // Beyond the credit nothing is published. Those that are skipped cost none.
        let later = to_publish.split_off(to_publish.len().min(credit));
        self.turns.put_back(later.into_iter().map(|letter| (letter.account, letter.place)).collect());
        self.look_ahead =
            if to_publish.is_empty() && !done.is_empty() { (taken.len() * 2).min(MOST_AT_ONCE) } else { 0 };
        if self.held.elapsed() > LOCK_TRUSTED
            && let Some(left) = self.advance(&[], None).await?
        {
            return Ok(Err(left));
        }
        let force = self.stored.plan.force;
        let published = {
            let publishing = batch::publish(self.runner.producer, &self.stored.id, force, to_publish);
            tokio::pin!(publishing);
            loop {
                tokio::select! {
                    published = &mut publishing => break published,
                    // The lock has to outlast a broker that is slow.
                    () = sleep(RENEW) => {
                        let step = Step { now_ms: now_ms(), ..Step::default() };
                        let _ = advance(&mut self.c, &self.setup.keys, (&self.stored.id, self.token), &step).await;
                    }
                }
            }
        };
        let count = published.done.iter().filter(|done| done.did == Did::Republished).count();
        for done in published.done.iter().filter(|done| done.did == Did::Republished) {
            *self.under_way.published.entry(done.account.clone()).or_default() += 1;
        }
        done.extend(published.done);
        self.turns.put_back(published.back);
        if let Some(left) = self.advance(&done, None).await? {
            return Ok(Err(left));
        }
        keep_samples(&mut self.c, &self.setup.keys, &self.stored.id, &done).await?;
        match published.trouble {
            Some(why) => Ok(self.kafka_is_away(why).await.map(|_| count)),
            None => Ok(Ok(count)),
        }
    }

    async fn kafka_is_away(&mut self, why: String) -> Result<usize, Left> {
        tracing::warn!(replay = self.stored.id, why, "a replay waits for kafka");
        self.waiting.retain(|waiting| !waiting.account.is_empty());
        self.waiting.push(Waiting { account: String::new(), why: format!("kafka: {why}") });
        // The lanes are looked at in a second, and say anew what waits.
        self.lanes.0 = Some(Instant::now());
        sleep(AGAIN).await;
        Ok(0)
    }
}

#[cfg(test)]
mod tests;

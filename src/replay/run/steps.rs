//! The steps of a run under way: count, look, publish the next batch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::redis::RedisResult;
use ::redis::aio::MultiplexedConnection;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::allowance::{UnderWay, allowance, waiting};
use super::batch::{self, Reading};
use super::brake;
use super::left::Left;
use super::look::{Around, Looked};
use super::pace::{MOST_PUBLISHED, Pace, spread};
use super::pick_up;
use super::turns::Turns;
use crate::clock::now_ms;
use crate::kafka::producer::Producer;
use crate::metrics::{Metrics, ReplayResult};
use crate::operate::orders::renewed_ms;
use crate::quiet::QuietKinds;
use crate::redis::error::describe;
use crate::replay::judge::Rules;
use crate::replay::setup::Setup;
use crate::replay::store::Stored;
use crate::replay::store::progress::{Did, Done, Found, Step, advance, keep_samples, take_lock};
use crate::replay::store::stored::counts;
use crate::replay::view::{State, Stopped, Waiting};

/// The time between two writes of a run, so that a cancel and another rate are obeyed at once.
const TICK: Duration = Duration::from_millis(200);
/// How long to wait before a failed call is made again.
const AGAIN: Duration = Duration::from_millis(500);
/// Nothing is published by what Redis said longer ago than this: of the lock, and of what operators want.
const TRUSTED: Duration = Duration::from_millis(500);
/// Of a run that skips everything, so many are looked at in one go.
const MOST_LOOKED_AT: usize = 512;

/// A run under way.
pub struct Run<'a> {
    producer: &'a Producer,
    metrics: &'a Metrics,
    setup: Arc<Setup>,
    pub c: MultiplexedConnection,
    token: &'a str,
    stored: Stored,
    turns: Turns,
    /// Marks of what the run has done have expired.
    has_forgotten: bool,
    reading: Reading,
    rules: Rules,
    rate: u32,
    pace: Pace,
    began: Instant,
    around: Around,
    under_way: UnderWay,
    waiting: Vec<Waiting>,
    quiet: QuietKinds<&'static str>,
    /// When the lock was last seen to be ours.
    lock_seen: Instant,
    /// How many are looked at beyond the credit, because the last ones were all skipped.
    look_ahead: usize,
}

impl<'a> Run<'a> {
    /// Begins a run, or goes on with one that another runner has left.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn begin(
        setup: Arc<Setup>,
        (producer, metrics): (&'a Producer, &'a Metrics),
        mut c: MultiplexedConnection,
        token: &'a str,
        mut stored: Stored,
    ) -> RedisResult<Self> {
        let found = pick_up::turns(&mut c, &setup.keys, &stored).await?;
        let (has_forgotten, turns) = (found.is_none(), found.unwrap_or_default());
        let is_first = pick_up::sign(&mut c, &setup.keys, &mut stored, token).await?;
        let plan = &stored.plan;
        if is_first {
            // The skips that the plan knows have no turn.
            metrics.replays.dealt_with(ReplayResult::Skipped, plan.refused.values().sum());
        }
        let epoch: Option<String> = ::redis::cmd("GET").arg(setup.keys.epoch()).query_async(&mut c).await?;
        let forgotten_ms = epoch.as_deref().and_then(renewed_ms);
        let now_ms = crate::redis::now_ms(&mut c).await?;
        let rules = Rules { force: plan.force, window: setup.window, forgotten_ms, now_ms };
        let under_way = UnderWay { published: stored.counts("republished"), ended: BTreeMap::new() };
        let began = Instant::now();
        Ok(Self {
            producer,
            metrics,
            c,
            token,
            turns,
            has_forgotten,
            reading: Reading::default(),
            rules,
            rate: stored.rate(),
            pace: Pace::new(Duration::ZERO),
            began,
            around: Around::new(&setup, &stored),
            under_way,
            waiting: Vec::new(),
            quiet: QuietKinds::default(),
            lock_seen: began,
            look_ahead: 0,
            setup,
            stored,
        })
    }

    /// Goes on until the run has ended, or is another one's.
    ///
    /// # Errors
    /// Redis does not answer, and nothing is lost: the run can begin anew.
    pub async fn go_on(&mut self, stop: &watch::Receiver<bool>) -> RedisResult<Left> {
        let mut stopping = stop.clone();
        if self.has_forgotten {
            let reason = "it waited for so long that the marks of what it has published have expired: make a new plan";
            let end = (State::Failed, Some(Stopped { reason: reason.to_owned(), sample: None }));
            return Ok(self.advance(&[], Some(end)).await?.unwrap_or(Left::Over));
        }
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
            let looked = tokio::select! {
                looked = self.around.look(&mut self.c, (&self.setup, &self.reading), &self.stored) => looked?,
                // The next replica must not wait for what this one waits for.
                _ = stopping.wait_for(|stop| *stop) => return Ok(Left::Stopping),
            };
            match looked {
                Looked::NotYet => {}
                Looked::Fine => self.saw(),
                Looked::KafkaIsAway(why) => {
                    self.kafka_is_away(why).await;
                    continue;
                }
                Looked::AnotherTopic(failed) => {
                    let end = (State::Failed, Some(failed));
                    return Ok(self.advance(&[], Some(end)).await?.unwrap_or(Left::Over));
                }
            }
            let credit = self.pace.credit(self.rate, self.began.elapsed()).min(MOST_PUBLISHED);
            let published = if credit > 0 { self.batch(credit, tick + spread(credit, TICK)).await? } else { Ok(0) };
            let published = match published {
                Ok(published) => published,
                Err(left) => return Ok(left),
            };
            self.pace.spend(published);
            if self.look_ahead == 0 && published < MOST_PUBLISHED {
                sleep(TICK.saturating_sub(tick.elapsed()).max(Duration::from_millis(5))).await;
            }
        }
    }

    /// Counts what was done, and learns what operators want. It goes on until Redis has answered: what was published
    /// has to be counted.
    async fn advance(&mut self, done: &[Done], end: Option<(State, Option<Stopped>)>) -> RedisResult<Option<Left>> {
        let waiting = std::mem::take(&mut self.waiting);
        let step = Step { done, waiting: &waiting, end: end.clone(), now_ms: now_ms() };
        let found = loop {
            let asked = Instant::now();
            match advance(&mut self.c, &self.around.keys, (&self.stored.id, self.token), &step).await {
                Ok(found) => {
                    self.lock_seen = asked;
                    break found;
                }
                Err(error) => {
                    if let Some(not_logged) = self.quiet.allow("redis", Instant::now().into_std()) {
                        let (replay, error) = (&*self.stored.id, describe(&error));
                        tracing::warn!(replay, error, not_logged, "redis does not count a replay");
                    }
                    sleep(AGAIN).await;
                    if let Ok(c) = crate::redis::connect(&self.setup.client).await {
                        self.c = c;
                        // The lock may have expired meanwhile, and nobody has taken it.
                        let _ = take_lock(&mut self.c, &self.setup.keys, self.token).await;
                    }
                }
            }
        };
        self.waiting = waiting;
        if !matches!(found, Found::Lost | Found::Gone) {
            batch::count(self.metrics, done);
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
        Ok(if self.stored.plan.no_brake { None } else { brake::stopped(&outcomes) })
    }

    /// Takes over what was seen.
    fn saw(&mut self) {
        let accounts = self.turns.accounts();
        self.waiting = waiting(&self.around.lanes, accounts.iter().map(|name| &**name));
        self.rules.forgotten_ms = self.rules.forgotten_ms.max(self.around.discards.claims_lost_ms());
    }

    /// Reads, judges, publishes (evenly until then) and counts the next dead letters. Returns how many were published.
    async fn batch(&mut self, credit: usize, until: Instant) -> RedisResult<Result<usize, Left>> {
        let (setup, lanes, under_way) = (self.setup.clone(), &self.around.lanes, &self.under_way);
        let allowed = |name: &str| match lanes.closed(name) {
            Some(_) => 0,
            None => allowance(&setup.roster.load(), under_way, name),
        };
        let taken = self.turns.take(credit + self.look_ahead, &allowed);
        if taken.is_empty() {
            self.look_ahead = 0;
            return Ok(Ok(0));
        }
        self.rules.now_ms = crate::redis::now_ms(&mut self.c).await?;
        let judged = match self.reading.judge(&setup, self.rules, &taken).await {
            Ok(judged) => judged,
            Err(why) => {
                self.turns.put_back(taken);
                self.kafka_is_away(format!("kafka: {why}")).await;
                return Ok(Ok(0));
            }
        };
        let (mut done, mut to_publish) =
            batch::sort(&mut self.c, (&self.around.keys, &setup.prefix), (&self.stored, &self.around.discards), judged)
                .await?;
        // Beyond the credit nothing is published. Those that are skipped cost none.
        let later = to_publish.split_off(to_publish.len().min(credit));
        self.turns.put_back(later.into_iter().map(|letter| (letter.account, letter.place)).collect());
        self.look_ahead =
            if to_publish.is_empty() && !done.is_empty() { (taken.len() * 2).min(MOST_LOOKED_AT) } else { 0 };
        if self.lock_seen.elapsed() > TRUSTED
            && let Some(left) = self.advance(&[], None).await?
        {
            return Ok(Err(left));
        }
        let (id, force) = (&self.stored.id, self.stored.plan.force);
        let publishing = batch::publish((self.producer, &self.quiet), (id, force), to_publish, until);
        let published = batch::under_lock(&mut self.c, &setup.keys, (id, self.token), publishing).await;
        let count = published.done.iter().filter(|done| done.did == Did::Republished).count();
        done.extend(published.done);
        self.under_way.add(&done);
        self.turns.put_back(published.back);
        if let Some(left) = self.advance(&done, None).await? {
            return Ok(Err(left));
        }
        keep_samples(&mut self.c, &self.setup.keys, &self.stored.id, &done).await?;
        if let Some(why) = published.trouble {
            self.kafka_is_away(format!("kafka: {why}")).await;
        }
        Ok(Ok(count))
    }

    /// Says that everything waits, and waits.
    async fn kafka_is_away(&mut self, why: String) {
        if let Some(not_logged) = self.quiet.allow("waits", Instant::now().into_std()) {
            tracing::warn!(replay = self.stored.id, why, not_logged, "a replay waits");
        }
        self.waiting.retain(|waiting| !waiting.account.is_empty());
        self.waiting.push(Waiting { account: String::new(), why });
        sleep(AGAIN).await;
    }
}

//! The coordinator checks once a second: switches, orders, the epoch and the primary. It also publishes the state of
//! this replica.

mod halts;
mod memory;
mod orders;
pub(super) mod parts;
mod positions;
mod retention;
mod storms;
mod switches;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use ::redis::RedisResult;
use ::redis::aio::MultiplexedConnection;

use self::memory::Memory;
pub use self::parts::{Coordinator, Watched};
use crate::clock::{now_ms, steady_ms};
use crate::delivery::progress::{PartitionView, Snapshot};
use crate::kafka::REMAINDER;
use crate::metrics::PartitionMetrics;
use crate::operate::replica::{is_kept_back, replica_snapshot, unfinished};
use crate::operate::{ReplicaSnapshot, arrivals, foreign, lanes, snapshot};
use crate::quiet::Repeated;
use crate::redis::error::{describe, is_of_keys};
use crate::redis::facts::Facts;

/// The time between two snapshots.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(5);
/// The time between two checks of policy, version and memory.
const FACTS_EVERY: Duration = Duration::from_secs(60);
/// How long a replica that was seen counts when the rate is divided.
const REPLICAS_FOR: Duration = Duration::from_secs(3600);

impl Coordinator {
    /// Runs as long as the process lives.
    pub async fn run(mut self) {
        // The start has read the primary already.
        let mut memory = Memory { primary_at: Some(Instant::now()), ..Memory::default() };
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                Some(halted) = self.halts.recv() => self.halted(&mut memory.switches, halted),
                () = self.storms.news() => {}
            }
            while let Ok(halted) = self.halts.try_recv() {
                self.halted(&mut memory.switches, halted);
            }
            self.show();
            memory.clock_told.warn(self.health.clock.warnings());
            self.tell_left_out();
            if let Err(error) = self.look_anew(&mut memory).await {
                memory.connection = None;
                self.health.failed(&describe(&error));
            }
        }
    }

    fn tell_left_out(&self) {
        for (kind, not_logged) in self.quiet.left_out(Instant::now()) {
            match kind {
                Repeated::DeadLetter { account, reason } => {
                    let (account, reason) = (self.name_of(account), reason.as_str());
                    tracing::warn!(account, reason, not_logged, "more dead letters in the last minute");
                }
                Repeated::TooLarge(topic) => {
                    tracing::error!(topic = &*topic, not_logged, "more copies were refused by size in the last minute");
                }
                Repeated::ForeignClaim(account) => {
                    let account = self.name_of(account);
                    tracing::error!(account, not_logged, "more claims met foreign keys in the last minute");
                }
            }
        }
    }

    /// The name of the account with this index in the metrics.
    fn name_of(&self, account: usize) -> &str {
        self.lanes.find(account).map_or("unknown", |lane| &*lane.id.account_name)
    }

    /// Checks once, and a second time if the connection was closed: a closed connection says nothing about the server,
    /// but a fresh one does.
    async fn look_anew(&self, memory: &mut Memory) -> RedisResult<()> {
        let reused = memory.connection.is_some();
        match self.look(memory).await {
            Err(error) if reused && error.is_connection_dropped() => self.look(memory).await,
            looked => looked,
        }
    }

    async fn look(&self, memory: &mut Memory) -> RedisResult<()> {
        let mut connection = match memory.connection.take() {
            Some(connection) => connection,
            None => crate::redis::connect(&self.client).await?,
        };
        let c = &mut connection;
        let mut pipe = ::redis::pipe();
        pipe.cmd("TIME").cmd("GET").arg(self.keys.epoch()).cmd("INFO").arg("replication");
        let asked = Instant::now();
        let looked = pipe.query_async::<(_, Option<Vec<u8>>, String)>(c).await;
        if looked.as_ref().is_err_and(is_of_keys) {
            self.health.foreign.met(self.keys.epoch().as_bytes());
            self.health.forgot();
        }
        let (time, epoch, info) = looked?;
        let epoch = epoch.map(|epoch| crate::redis::text(&epoch));
        if !self.own_store {
            self.health.clock.saw(time, asked);
        }
        let facts = Facts::read(&info);
        self.judge_primary(memory, &facts);
        if memory.facts_at.is_none_or(|at| at.elapsed() >= FACTS_EVERY) {
            let info: String = ::redis::cmd("INFO").query_async(c).await?;
            let facts = Facts::read(&info);
            self.health.set_hold(facts.refusals().into_iter().next().or_else(|| facts.hold()));
            memory.told.warn(facts.warnings());
            memory.facts_at = Some(Instant::now());
        } else if facts.hold().is_some() {
            // The primary was demoted. All facts are read again in a second.
            self.health.set_hold(facts.hold());
            memory.facts_at = None;
        }
        // A store that answers reads but refuses writes does not count as up.
        let beat = self.keys.replica(&format!("{}:beat", self.id));
        let () = ::redis::cmd("SET").arg(beat).arg(1).arg("PX").arg(15_000).query_async(c).await?;
        let done = self.save_halts(c, &mut memory.switches).await;
        self.or_foreign(c, done, &mut memory.met_foreign).await?;
        match epoch {
            None => self.health.forgot(),
            Some(id) => {
                // Another id means that the store was flushed and unblocked between two checks.
                let new = memory.epoch.as_ref().is_some_and(|old| *old != id && old != "starting");
                // What a foreign key replaced is lost, too, once the key is deleted.
                if new || self.health.has_forgotten() || std::mem::take(&mut memory.met_foreign) {
                    let done = self.restore(c, &memory.switches.resumed).await;
                    self.or_foreign(c, done, &mut memory.met_foreign).await?;
                    self.health.remembered();
                    memory.positions.read_anew();
                }
                memory.epoch = Some(id);
            }
        }
        let done = self.obey_switches(c, &mut memory.switches).await;
        self.or_foreign(c, done, &mut memory.met_foreign).await?;
        let done = self.end_halts(c).await;
        self.or_foreign(c, done, &mut memory.met_foreign).await?;
        let done = self.exchange_storms(c).await;
        self.or_foreign(c, done, &mut memory.met_foreign).await?;
        let done = self.keep_unplaced(c).await;
        self.or_foreign(c, done, &mut memory.met_foreign).await?;
        let done = self.keep_positions(c, &mut memory.positions).await;
        self.or_foreign(c, done, &mut memory.met_foreign).await?;
        let done = self.obey_orders(c, &mut memory.orders).await;
        self.or_foreign(c, done, &mut memory.met_foreign).await?;
        arrivals::exchange(&self.known, c, &self.keys, &self.lanes).await?;
        if memory.snapshot_at.is_none_or(|at| at.elapsed() >= SNAPSHOT_EVERY) {
            let done = snapshot::write_snapshot(c, &self.keys, &self.snapshot()).await;
            self.or_foreign(c, done, &mut memory.met_foreign).await?;
            let done = snapshot::count_replicas(c, &self.keys).await;
            let done = done.map(|replicas| self.count_replicas(memory, replicas));
            self.or_foreign(c, done, &mut memory.met_foreign).await?;
            memory.snapshot_at = Some(Instant::now());
        }
        self.health.answered();
        memory.connection = Some(connection);
        Ok(())
    }

    /// Writes what is known here of the lanes and of stopped topics into a store that lost it.
    async fn restore(&self, c: &mut MultiplexedConnection, resumed: &lanes::Resumes) -> RedisResult<()> {
        let known = self.lanes.iter().map(|l| (l.id.account_name.to_string(), l.switches.present())).collect();
        lanes::restore(c, &self.keys, &known, resumed).await?;
        self.restore_storms(c).await
    }

    /// Takes the end of a step. One that a foreign key stopped is left out, and what is known of it stays in force:
    /// Redis answers, and the other steps go on.
    async fn or_foreign(
        &self,
        c: &mut MultiplexedConnection,
        done: RedisResult<()>,
        met_foreign: &mut bool,
    ) -> RedisResult<()> {
        match done {
            Err(error) if is_of_keys(&error) => {
                *met_foreign = true;
                foreign::name(c, &self.keys, &self.health.foreign).await
            }
            done => done,
        }
    }

    fn judge_primary(&self, memory: &mut Memory, facts: &Facts) {
        let new = &facts.replication_id;
        if new.is_empty() {
            return;
        }
        // The start stored the primary's id, so a change before the first check here counts too.
        let old = self.health.primary();
        let now = Instant::now();
        if !old.is_empty() && *old != **new {
            tracing::warn!("redis has another primary: what was confirmed lately is written again");
            self.runtimes.primary_changed(memory.primary_at.unwrap_or(now));
            memory.facts_at = None;
        }
        memory.primary_at = Some(now);
        self.health.set_primary(new);
    }

    fn count_replicas(&self, memory: &mut Memory, now: usize) {
        memory.seen.push_back((Instant::now(), now));
        while memory.seen.front().is_some_and(|(at, _)| at.elapsed() > REPLICAS_FOR) {
            memory.seen.pop_front();
        }
        self.replicas.store(memory.seen.iter().map(|(_, n)| *n).max().unwrap_or(1).max(1), Relaxed);
    }

    /// Copies the present state into the gauges.
    fn show(&self) {
        let now = steady_ms();
        self.metrics.redis_up.set(i64::from(self.health.is_up()));
        let snapshots: Vec<_> = self.consumers.iter().map(|c| c.view.snapshot()).collect();
        let mut parked: HashMap<&str, i64> = HashMap::new();
        for p in snapshots.iter().flat_map(|s| &s.partitions) {
            let account = p.topic.strip_prefix(&*self.parked_prefix).and_then(|rest| rest.strip_prefix('.'));
            if let Some(account) = account {
                *parked.entry(account).or_default() += unfinished(p);
            }
        }
        for lane in self.lanes.accounts() {
            let account = self.metrics.account(lane.id.index);
            account.lane_state(lane.shown().state());
            account.breaker_state(lane.both().map(|lane| lane.breaker.state()).max().unwrap_or_default());
            let oldest = snapshots.iter().filter_map(|s| s.oldest_by_group.get(&lane.id.index)).min();
            account.oldest_open_age.set(oldest.map_or(0.0, |since| (now - since).max(0) as f64 / 1000.0));
            account.parked.set(parked.get(&*lane.id.account_name).copied().unwrap_or(0));
            let remainder = format!("{}{REMAINDER}", lane.id.account_name);
            account.rollout_waiting.set(parked.get(&*remainder).copied().unwrap_or(0));
        }
        self.show_partitions(&snapshots);
        self.show_storms();
    }

    fn show_partitions(&self, snapshots: &[Arc<Snapshot>]) {
        // What a gray release keeps back has metrics of its own, and is no lag.
        let shown = snapshots.iter().flat_map(|s| &s.partitions).filter(|p| !is_kept_back(p));
        let metrics = |p: &PartitionView| {
            let retention_ms = self.retention.of(&p.topic);
            PartitionMetrics {
                topic: p.topic.clone(),
                partition: p.partition,
                lag_records: p.lag_records,
                lag_seconds: p.lag_seconds,
                commit_age: p.commit_age_seconds,
                retention: retention_ms.map(|ms| ms as f64 / 1000.0),
                headroom: retention_ms.and_then(|ms| {
                    let stored_ms = |offset| self.retention.stored_ms(&p.topic, p.partition, offset);
                    retention::headroom(p, ms, now_ms(), stored_ms)
                }),
            }
        };
        self.metrics.set_partitions(shown.map(metrics).collect());
    }

    /// The state of this replica as other processes see it.
    pub fn snapshot(&self) -> ReplicaSnapshot {
        let foreign_keys = self.health.foreign.names();
        let own = replica_snapshot(&self.id, &self.lanes, &self.metrics, &self.consumers, &self.refusals.all());
        ReplicaSnapshot { foreign_keys, ..own }
    }
}

#[cfg(test)]
mod tests;

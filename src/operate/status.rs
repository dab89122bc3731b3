//! What the admin endpoint shows and changes: the running worker, or the phase of its start.

mod ready;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ::redis::Client;
use futures_util::future::BoxFuture;

use crate::clock::now_ms;
use crate::kafka::refusals::{Refusals, TopicRefusal};
use crate::kafka::topics::Health as KafkaHealth;
use crate::lane::handle::LaneHandle;
use crate::lane::handle::lanes::Lanes;
use crate::lane::handle::switches::Switches;
use crate::lane::threads::Runtimes;
use crate::metrics::Metrics;
use crate::operate::coordinator::Watched;
use crate::operate::foreign::describe_with_keys;
use crate::operate::readiness::{Embedded, LaneRow, Readiness, Status, StatusReport, SwitchError};
use crate::operate::replica::{replica_snapshot, shown};
use crate::operate::report::{AccountRow, BlockedReport};
use crate::operate::seen::{All, Seen};
use crate::operate::{By, Keys, audit, lanes as switches, report, snapshot};
use crate::redis::health::Health;
use crate::similar::nearest;
use crate::storm::board::Storms;

/// The reason for each new input topic that is not read.
pub type RefusedInputs = Arc<Mutex<BTreeMap<String, String>>>;

/// The worker as the admin endpoint sees it.
pub struct WorkerStatus {
    /// The id of this replica.
    pub id: String,
    pub client: Client,
    /// The names of the keys in Redis.
    pub keys: Keys,
    pub metrics: Arc<Metrics>,
    pub health: Arc<Health>,
    pub kafka: Arc<KafkaHealth>,
    pub lanes: Arc<Lanes>,
    /// The addresses of the servers inside this process. Null if Kafka and Redis are real servers.
    pub embedded: Option<Embedded>,
    /// The name of the environment (`admin.label`).
    pub label: String,
    /// What the start is waiting for.
    pub phase: Mutex<String>,
    /// New input topics that are not read.
    pub refused: RefusedInputs,
    /// The topics that the storm brake stopped.
    pub storms: Arc<Storms>,
    /// Set once everything runs.
    pub running: OnceLock<Running>,
    pub seen: Seen,
}

/// The parts that exist once the worker runs.
pub struct Running {
    pub runtimes: Arc<Runtimes>,
    /// Both consumers. The consumer of the input topics comes first.
    pub consumers: Vec<Watched>,
    /// Topics that take no records.
    pub refusals: Arc<Refusals>,
}

impl WorkerStatus {
    /// Sets and logs what the start is waiting for.
    pub fn say(&self, phase: &str) {
        let mut now = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        if *now != phase {
            tracing::warn!("{phase}");
            phase.clone_into(&mut now);
        }
    }

    /// A partition whose oldest records are gone although they were not read. With a real broker retention does that,
    /// and an operator decides. The embedded broker does it when more than 5 MiB wait, and then there is nothing to
    /// decide.
    pub fn dropped(&self) -> Option<String> {
        let consumers = self.running.get().map_or(&[][..], |r| &r.consumers);
        let snapshots = consumers.iter().map(|c| c.view.snapshot()).collect::<Vec<_>>();
        snapshots.iter().flat_map(|s| &s.partitions).find_map(|p| {
            let parked = p.parked.as_ref().filter(|parked| parked.committed.is_some_and(|at| at < parked.low))?;
            Some(format!(
                "the embedded broker has dropped {} records of {}/{} unread: it keeps 5 MiB of a partition; send more \
                 slowly, or use a real Kafka",
                parked.hole(),
                p.topic,
                p.partition
            ))
        })
    }

    fn snapshot(&self) -> snapshot::ReplicaSnapshot {
        let consumers = self.running.get().map_or(&[][..], |r| &r.consumers);
        let own = replica_snapshot(&self.id, &self.lanes, &self.metrics, consumers, &self.refusals());
        snapshot::ReplicaSnapshot { foreign_keys: self.health.foreign.names(), ..own }
    }

    fn refusals(&self) -> Vec<TopicRefusal> {
        self.running.get().map_or_else(Vec::new, |running| running.refusals.all())
    }

    fn configured(&self) -> Vec<(&'static str, Arc<str>)> {
        shown(&self.lanes, &self.metrics).map(|l| (l.id.platform, l.id.account_name.clone())).collect()
    }

    /// The switches, and the snapshots of every replica. Without Redis it returns only this replica. Its own snapshot
    /// is always the present one.
    async fn all_replicas(&self) -> All {
        let own = self.snapshot();
        let read = self.seen.read(&self.client, &self.keys, &self.health.foreign).await;
        let mut all = read.unwrap_or_default();
        let present = || self.lanes.iter().map(|l| (l.id.account_name.to_string(), l.switches.present())).collect();
        all.lanes.get_or_insert_with(present);
        all.replicas.retain(|s| s.id != own.id);
        all.replicas.push(own);
        // A stop that Redis does not know yet is in force here.
        for storm in self.storms.all() {
            if !all.storms.iter().any(|known| known.topic == storm.topic) {
                all.storms.push(storm);
            }
        }
        all
    }

    async fn switch(&self, account: &str, by: By, pause: bool) -> Result<(), SwitchError> {
        let names = || shown(&self.lanes, &self.metrics).map(|l| &*l.id.account_name);
        let Some(lane) = shown(&self.lanes, &self.metrics).find(|l| &*l.id.account_name == account) else {
            return Err(SwitchError::UnknownAccount(nearest(account, names()).map(str::to_owned)));
        };
        let away = |error: ::redis::RedisError| SwitchError::Unavailable(crate::redis::error::describe(&error));
        let keys = &self.keys;
        let mut connection = crate::redis::connect(&self.client).await.map_err(away)?;
        let now = now_ms();
        let switched = if pause {
            switches::pause(&mut connection, keys, account, &by, now).await
        } else {
            switches::resume(&mut connection, keys, account, &by, now).await
        };
        if let Err(error) = switched {
            return Err(SwitchError::Unavailable(describe_with_keys(&mut connection, keys, &error).await));
        }
        tracing::info!(account, who = by.who, reason = by.why, "account {}", if pause { "paused" } else { "resumed" });
        // What was read before the change is shown to nobody any more.
        self.seen.forget().await;
        // The other replicas see the switch within a second. This replica applies it at once.
        if let Ok(mut all) = switches::read_lanes(&mut connection, &self.keys).await {
            let new = all.remove(account).unwrap_or_default();
            // A store that lost its data does not know of a halt that is still in force.
            let halted = if pause { lane.switches.present().halted } else { None };
            let switches = Switches { halted: new.halted.or(halted), paused: new.paused };
            lane.both().for_each(|lane| _ = lane.switches.obey(&switches));
        }
        Ok(())
    }
}

impl Status for WorkerStatus {
    fn live(&self) -> bool {
        self.running.get().is_none_or(|r| r.runtimes.are_alive() && r.consumers.iter().all(|c| c.handle.is_alive()))
    }

    fn ready(&self) -> Readiness {
        self.readiness()
    }

    fn metrics(&self) -> String {
        self.metrics.kafka_up.set(i64::from(self.kafka.is_up()));
        self.metrics.redis_up.set(i64::from(self.health.is_up()));
        self.show_holds();
        self.metrics.render()
    }

    fn status(&self) -> BoxFuture<'_, StatusReport> {
        Box::pin(async {
            let all = self.all_replicas().await;
            let readiness = self.ready();
            let (replicas, topics) = report::replicas(&all.replicas, now_ms());
            let state = |lane: &Arc<LaneHandle>| LaneRow {
                account: lane.id.account_name.to_string(),
                state: lane.shown().state().as_str().to_owned(),
            };
            StatusReport {
                id: self.id.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                label: self.label.clone(),
                embedded: self.embedded.clone(),
                ready: readiness.ready,
                why: readiness.why,
                dependencies: readiness.dependencies,
                lanes: shown(&self.lanes, &self.metrics).map(state).collect(),
                unclassified: report::unclassified(&all.replicas),
                replicas,
                topics,
                storms: all.storms,
                storm_passes: all.storm_passes,
                audit_waiting: all.audit_waiting,
            }
        })
    }

    fn accounts(&self) -> BoxFuture<'_, Vec<AccountRow>> {
        Box::pin(async {
            let all = self.all_replicas().await;
            report::accounts(&self.configured(), &all.lanes.unwrap_or_default(), &all.replicas)
        })
    }

    fn blocked(&self) -> BoxFuture<'_, BlockedReport> {
        Box::pin(async {
            let all = self.all_replicas().await;
            let (lanes, storms) = (all.lanes.unwrap_or_default(), (all.storms, all.storm_passes));
            report::blocked(&self.configured(), &lanes, storms, &all.replicas, now_ms())
        })
    }

    fn audit_waiting(&self) -> BoxFuture<'_, Option<Vec<audit::AuditRecord>>> {
        Box::pin(async {
            let mut connection = crate::redis::connect(&self.client).await.ok()?;
            audit::waiting(&mut connection, &self.keys).await.ok()
        })
    }

    fn pause<'a>(&'a self, account: &'a str, by: By) -> BoxFuture<'a, Result<(), SwitchError>> {
        Box::pin(self.switch(account, by, true))
    }

    fn resume<'a>(&'a self, account: &'a str, by: By) -> BoxFuture<'a, Result<(), SwitchError>> {
        Box::pin(self.switch(account, by, false))
    }
}

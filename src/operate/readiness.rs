//! The interface between the admin endpoint and the worker: what the endpoint shows and what it can change.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use schemars::JsonSchema;
use serde::Serialize;

use crate::operate::audit::{AuditRecord, By};
use crate::operate::report::{AccountRow, BlockedReport, ReplicaState, TopicRow, UnclassifiedAnswer};
use crate::storm::Storm;
use crate::storm::pass::Left;

/// A dependency of the worker, as `/ready` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Dependency {
    /// Whether the dependency answers, and whether its answers allow work.
    pub up: bool,
    /// What is wrong, in words. Empty if nothing is wrong.
    pub detail: String,
}

/// What `/ready` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Readiness {
    /// Whether the worker takes and delivers events: the endpoint answers 200, else 503.
    pub ready: bool,
    /// Why it is not ready, or what is wrong although it is ready. Empty if nothing is wrong.
    pub why: String,
    /// `kafka` and `redis`.
    pub dependencies: BTreeMap<&'static str, Dependency>,
    /// Partitions that wait for `postback unblock offsets`, as `topic/partition`.
    pub parked_partitions: Vec<String>,
    /// Topics of the worker's own that take no records. Records that belong there are held.
    pub refused_topics: Vec<String>,
    /// Input topics that the storm brake stopped. They wait for `postback unblock storm`.
    pub stopped_topics: Vec<String>,
}

/// The answer to `GET /api/v1/status`. Everybody may read it, so it contains no secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StatusReport {
    /// The id of the replica that answers.
    pub id: String,
    pub version: String,
    /// The name of the environment (`admin.label`).
    pub label: String,
    /// The addresses of the servers inside this process. Null if Kafka and Redis are real servers.
    pub embedded: Option<Embedded>,
    /// Whether the replica that answers takes and delivers events.
    pub ready: bool,
    /// Why it is not ready, or what is wrong although it is ready. Empty if nothing is wrong.
    pub why: String,
    /// `kafka` and `redis`, as the replica that answers sees them.
    pub dependencies: BTreeMap<&'static str, Dependency>,
    /// The state of every account's lane on the replica that answers.
    pub lanes: Vec<LaneRow>,
    /// Every replica that runs.
    pub replicas: Vec<ReplicaState>,
    /// Every topic that a replica reads.
    pub topics: Vec<TopicRow>,
    /// Input topics that the storm brake stopped.
    pub storms: Vec<Storm>,
    /// Input topics of which bad records may still pass without being judged, and how many, beside those that a replica
    /// has set aside for itself.
    pub storm_passes: Left,
    /// Answers of platforms that no table lists, which count as retry, on every replica since its start. Somebody has
    /// to look at each kind.
    pub unclassified: Vec<UnclassifiedAnswer>,
    /// Entries of the audit that wait in Redis until Kafka takes them. Null if Redis does not answer.
    pub audit_waiting: Option<u64>,
}

/// The addresses of the servers inside a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Embedded {
    /// `host:port` of the broker.
    pub kafka: String,
    /// `redis://host:port` of the store.
    pub redis: String,
}

/// The state of one lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LaneRow {
    pub account: String,
    /// One of `flowing`, `throttled`, `broken`, `halted`, `paused`.
    pub state: String,
}

/// Why a lane switch could not be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SwitchError {
    /// There is no such account. The text is a similar name, if there is one.
    UnknownAccount(Option<String>),
    /// Redis, which stores the switches, does not answer.
    Unavailable(String),
}

/// What the endpoint shows of the worker, and what it can change. The worker implements it, and tests use a double.
pub trait Status: Send + Sync + 'static {
    /// Whether the polling threads and the lanes' threads run. It never depends on Kafka or Redis, because a restart
    /// would not bring them back.
    fn live(&self) -> bool;
    /// Whether the worker takes and delivers events.
    fn ready(&self) -> Readiness;
    /// The metrics in the Prometheus text format.
    fn metrics(&self) -> String;
    /// The answer to `GET /api/v1/status`.
    fn status(&self) -> BoxFuture<'_, StatusReport>;
    /// The answer to `GET /api/v1/accounts`.
    fn accounts(&self) -> BoxFuture<'_, Vec<AccountRow>>;
    /// The answer to `GET /api/v1/blocked`.
    fn blocked(&self) -> BoxFuture<'_, BlockedReport>;
    /// The entries of the audit that are not published yet, oldest first. `None`: Redis does not answer.
    fn audit_waiting(&self) -> BoxFuture<'_, Option<Vec<AuditRecord>>>;
    /// Pauses an account's lane on every replica, with a log line and an audit entry.
    fn pause<'a>(&'a self, account: &'a str, by: By) -> BoxFuture<'a, Result<(), SwitchError>>;
    /// Clears the pause and the halt of an account's lane on every replica, with a log line and an audit entry.
    fn resume<'a>(&'a self, account: &'a str, by: By) -> BoxFuture<'a, Result<(), SwitchError>>;
}

/// The worker as the endpoint holds it.
pub type Shared = Arc<dyn Status>;

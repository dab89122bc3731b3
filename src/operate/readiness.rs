//! The interface between the admin endpoint and the worker: what the endpoint shows and what it can change.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::Value;

use crate::operate::audit::By;

/// A dependency of the worker, as `/ready` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dependency {
    /// Whether the dependency answers, and whether its answers allow work.
    pub up: bool,
    /// What is wrong, in words. Empty if nothing is wrong.
    pub detail: String,
}

/// What `/ready` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
    /// The answer to `GET /api/v1/status`. Everybody may read it, so it contains no secret.
    fn status(&self) -> Value;
    /// The answer to `GET /api/v1/accounts`.
    fn accounts(&self) -> BoxFuture<'_, Value>;
    /// The answer to `GET /api/v1/blocked`.
    fn blocked(&self) -> BoxFuture<'_, Value>;
    /// Pauses an account's lane on every replica, with a log line and an audit entry.
    fn pause<'a>(&'a self, account: &'a str, by: By) -> BoxFuture<'a, Result<(), SwitchError>>;
    /// Clears the pause and the halt of an account's lane on every replica, with a log line and an audit entry.
    fn resume<'a>(&'a self, account: &'a str, by: By) -> BoxFuture<'a, Result<(), SwitchError>>;
}

/// The worker as the endpoint holds it.
pub type Shared = Arc<dyn Status>;

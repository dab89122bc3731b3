//! What the admin endpoint shows of the worker, and what it can change.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::Value;

/// One dependency of `/ready`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dependency {
    /// It answers, and what it answers is fit for work.
    pub up: bool,
    /// In words; empty where all is well.
    pub detail: String,
}

/// What `/ready` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Takes and delivers events: 200, else 503.
    pub ready: bool,
    /// In words why not, or what is amiss though it is ready; empty where all is well.
    pub why: String,
    /// `kafka` and `redis`.
    pub dependencies: BTreeMap<&'static str, Dependency>,
    /// Partitions that wait for `postback unblock offsets`, as `topic/partition`.
    pub parked_partitions: Vec<String>,
    /// Topics of the worker's own that take no records: what belongs there is held.
    pub refused_topics: Vec<String>,
}

/// Why a lane switch could not be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SwitchError {
    /// No such account; a name that is close, where there is one.
    UnknownAccount(Option<String>),
    /// Redis, which keeps the switches, does not answer.
    Unavailable(String),
}

/// What the endpoint shows of the worker, and what it can change. The worker implements it; tests have a double.
pub trait Status: Send + Sync + 'static {
    /// Whether poller and runtime turn. Never depends on Kafka or Redis: a restart would not bring them back.
    fn live(&self) -> bool;
    /// Whether it takes and delivers events.
    fn ready(&self) -> Readiness;
    /// The text exposition.
    fn metrics(&self) -> String;
    /// `GET /api/v1/status`; open to everybody, so nothing in it is secret.
    fn status(&self) -> Value;
    /// `GET /api/v1/accounts`.
    fn accounts(&self) -> BoxFuture<'_, Value>;
    /// `GET /api/v1/blocked`.
    fn blocked(&self) -> BoxFuture<'_, Value>;
    /// Pauses an account's lane on every replica, logged and with an audit entry.
    fn pause<'a>(&'a self, account: &'a str, reason: &'a str, who: &'a str) -> BoxFuture<'a, Result<(), SwitchError>>;
    /// Clears pause and halt of an account's lane on every replica, logged and with an audit entry.
    fn resume<'a>(&'a self, account: &'a str, reason: &'a str, who: &'a str) -> BoxFuture<'a, Result<(), SwitchError>>;
}

/// The worker, as the endpoint holds it.
pub type Shared = Arc<dyn Status>;

//! The settings of a consumer, and the error that ends it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::ClientConfig;

/// Which topics a consumer reads. This decides where a partition without an offset begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The producers' topics. A missing offset means a new partition, or a loss.
    Input,
    /// Retry tiers and parking topics. A partition without an offset always begins at its beginning.
    Waiting,
}

/// The settings with which a consumer starts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The client's configuration, from `settings`.
    pub client: ClientConfig,
    /// The names of the topics. [`ConsumerHandle::subscribe`](super::ConsumerHandle::subscribe) adds others.
    pub subscribe: BTreeSet<String>,
    pub kind: Kind,
    /// How long a revoked partition waits for its unfinished records.
    pub drain: Duration,
    /// Partitions that were parked because they had no offset, and that no operator has placed yet.
    pub unplaced: Unplaced,
    /// Where partitions of topics begin that are new to the input.
    pub begins: Begins,
    /// The most records of one partition that may be read beyond its first unfinished one. `None`: no bound.
    pub window: Option<u64>,
    /// Whether to ask the brokers for the ids of topics. The embedded broker does not answer that question, and nobody
    /// creates one of its topics again.
    pub has_ids: bool,
}

/// Partitions that lost their offset. If another partition has an offset, these still do not count as new.
pub type Unplaced = Arc<Mutex<BTreeSet<(String, i32)>>>;

/// The positions of partitions that have no offset and do not begin at their beginning.
pub type Begins = Arc<BTreeMap<(String, i32), i64>>;

/// Why a consumer's thread ended without being asked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerFailed(pub String);

impl fmt::Display for ConsumerFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "consumer stopped: {}", self.0)
    }
}

impl std::error::Error for ConsumerFailed {}

//! What a consumer is started with, and why it ended.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::ClientConfig;

/// Which topics a consumer reads: it decides where a partition without an offset begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Producers' topics: a missing offset is a new partition, or a loss.
    Input,
    /// Tiers and parking: a missing offset is always the beginning.
    Waiting,
}

/// What a consumer is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Client configuration, from `settings`.
    pub client: ClientConfig,
    /// Names of topics; [`ConsumerHandle::subscribe`] adds others.
    pub subscribe: BTreeSet<String>,
    pub kind: Kind,
    /// How long a revoked partition waits for its unfinished records.
    pub drain: Duration,
    /// Partitions that were parked for want of an offset and that no operator has placed yet.
    pub unplaced: Unplaced,
    /// Of topics that are new to the input.
    pub begins: Begins,
    /// Whether the brokers are asked for the ids of topics: the embedded one does not answer that, and nobody makes a
    /// topic of it anew.
    pub has_ids: bool,
}

/// Partitions that lost their offset: another one's offset does not make them new.
pub type Unplaced = Arc<Mutex<BTreeSet<(String, i32)>>>;

/// Where partitions begin that have no offset and do not begin at their beginning.
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

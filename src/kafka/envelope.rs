//! Delivery metadata in headers: where a record came from, what was tried, when it is due (pure).

use std::sync::Arc;

use crate::kafka::record::{Header, Record};

/// Where a record first appeared; written once, never changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Record time, epoch ms; 0 where there was none.
    pub timestamp_ms: i64,
}

/// The last attempt's class, code and status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastAttempt {
    /// Attempt class by name.
    pub class: String,
    /// The platform's own code.
    pub code: String,
    /// HTTP status.
    pub status: Option<u16>,
}

/// Marks of an operator's replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// Which replay.
    pub id: String,
    /// How many times so far.
    pub replays: u32,
    /// `--force` let it pass.
    pub force: bool,
}

/// Delivery metadata of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The lineage.
    pub origin: Origin,
    /// First seen by a worker, epoch ms.
    pub first_seen_ms: i64,
    /// First attempt, epoch ms.
    pub first_attempt_ms: Option<i64>,
    /// Attempts really made.
    pub attempts: u32,
    /// Declared re-sends so far.
    pub resends: u32,
    /// Visits so far that made an attempt.
    pub pass: u32,
    /// Earliest next try, epoch ms.
    pub due_ms: Option<i64>,
    /// Start of this spell of retrying, epoch ms.
    pub retry_since_ms: Option<i64>,
    /// When it was first parked, epoch ms.
    pub parked_at_ms: Option<i64>,
    /// The last attempt.
    pub last: Option<LastAttempt>,
    /// Marks of a replay.
    pub replay: Option<Replay>,
}

/// Whether a topic's headers are ours to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A producer's topic: only a replayed record's block is read.
    Input,
    /// A tier, a parking topic or the dead-letter topic: the worker's own block stands at the end.
    Owned,
}

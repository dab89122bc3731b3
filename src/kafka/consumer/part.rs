//! One owned partition, as the polling thread keeps it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::UnblockTo;
use super::lookup::Verdict;
use super::ticket::Assignment;
use super::view::Parked;
use crate::kafka::offsets::{NextOffset, OffsetTracker};

/// Where a partition stands.
#[derive(Debug)]
pub(super) enum State {
    /// Its position is being asked for.
    Judging,
    /// It starts when its time has come.
    Due(Instant, Verdict),
    /// Records of it are taken.
    Reading,
    /// Owned, not read.
    Parked(Parked),
    /// Revoked, or the consumer stops: drains; whoever asked waits for it.
    Leaving,
    /// Drains, and is then taken up again by this member.
    Turning(Instant, Next),
}

/// How a partition goes on after it was drained without being revoked.
#[derive(Clone, Debug)]
pub(super) enum Next {
    /// From its frontier, since somebody dropped a record.
    Reread,
    /// Not at all until an operator says.
    Park(Parked),
    /// Where an operator said.
    Order(UnblockTo),
}

/// How long a partition rests before a record that was dropped is read again: it may be dropped again.
pub(super) const REREAD_AFTER: Duration = Duration::from_secs(1);

pub(super) struct Part {
    pub(super) assignment: Arc<Assignment>,
    pub(super) state: State,
    pub(super) tracker: OffsetTracker,
    /// Unfinished records that nobody works on any more.
    pub(super) given_back: usize,
    /// The client reads it. Parked partitions are owned, but not held.
    pub(super) held: bool,
    /// What the client was told; `None`: nothing yet in this assignment.
    pub(super) paused: Option<bool>,
    /// Where it began.
    pub(super) start: Option<i64>,
    pub(super) stored: Option<NextOffset>,
    pub(super) committed: Option<i64>,
    pub(super) unacked_since: Option<Instant>,
    pub(super) high: Option<i64>,
    /// Time of the last record read.
    pub(super) last_timestamp_ms: Option<i64>,
    /// An order is being carried out.
    pub(super) ordering: bool,
}

impl Part {
    pub(super) fn new(assignment: Assignment, state: State) -> Self {
        Self {
            assignment: Arc::new(assignment),
            state,
            tracker: OffsetTracker::new(),
            given_back: 0,
            held: false,
            paused: None,
            start: None,
            stored: None,
            committed: None,
            unacked_since: None,
            high: None,
            last_timestamp_ms: None,
            ordering: false,
        }
    }

    /// Records that somebody still works on.
    pub(super) fn pending(&self) -> usize {
        self.tracker.len().saturating_sub(self.given_back)
    }

    pub(super) fn frontier(&self) -> Option<i64> {
        self.tracker.frontier().map(NextOffset::get).or(self.start)
    }

    /// The next offset to be read.
    pub(super) fn position(&self) -> Option<i64> {
        self.tracker.last_received().map(|last| NextOffset::after(last).get()).or(self.start)
    }

    /// What is to be stored, if anything is new.
    pub(super) fn to_store(&self) -> Option<NextOffset> {
        self.tracker.frontier().filter(|next| self.held && self.stored.is_none_or(|stored| *next > stored))
    }
}

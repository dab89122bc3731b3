//! What waits of one partition, in its order, and when it is to be looked at.

use std::collections::VecDeque;
use std::time::Instant;

use crate::delivery::{Delivery, Subject};

/// A buffer pauses its partition at this many records and resumes it at [`LOW_MARK`].
const HIGH_MARK: usize = 500;
const LOW_MARK: usize = 100;

/// One partition's.
#[derive(Default)]
pub(crate) struct PartitionBuffer {
    pub(crate) waiting: VecDeque<Buffered>,
    pub(crate) bytes: usize,
    pub(crate) full: bool,
    /// When it is to be looked at; under this time it stands among the due ones.
    pub(crate) next: Option<Instant>,
    /// Lanes that did not take what is due.
    pub(crate) blocked_on: Vec<Block>,
    /// When the first of them is too old for parking, epoch ms.
    pub(crate) overdue_ms: Option<i64>,
}

/// A lane, by index, that did not take the first of its records, and that one's bytes.
pub(crate) struct Block {
    pub(crate) lane: usize,
    pub(crate) bytes: usize,
}

/// One record.
pub(crate) struct Buffered {
    pub(crate) delivery: Box<Delivery>,
    /// Not the wall clock's time: a clock that is set back holds nobody up.
    pub(crate) due: Instant,
    /// When it is too old for parking, epoch ms.
    pub(crate) overdue_ms: Option<i64>,
}

impl Buffered {
    /// Its lane; `None`: it ends without one.
    pub(crate) fn lane(&self) -> Option<usize> {
        match &self.delivery.subject {
            Subject::Ready(ready) => Some(ready.index),
            Subject::Ended(_) => None,
        }
    }
}

impl PartitionBuffer {
    /// Takes one in. Returns since when it is to be looked at, where that is sooner than it was.
    pub(crate) fn admit(&mut self, buffered: Buffered) -> Option<Instant> {
        self.bytes += buffered.delivery.record.size();
        self.note_age(&buffered);
        let (due, offset, lane) = (buffered.due, buffered.delivery.record.offset, buffered.lane());
        // Held ones come back from their lane in any order; the oldest stands first.
        let place = self.waiting.iter().rposition(|g| g.delivery.record.offset < offset).map_or(0, |p| p + 1);
        self.waiting.insert(place, buffered);
        // What a lane does not take waits for the lane, however many come after it.
        let waits_anyway = due <= Instant::now() && lane.is_some_and(|lane| self.is_blocked_on(lane));
        let sooner = !waits_anyway && self.next.is_none_or(|next| due < next);
        sooner.then_some(due)
    }

    /// Whether this lane did not take one before it.
    pub(crate) fn is_blocked_on(&self, lane: usize) -> bool {
        self.blocked_on.iter().any(|block| block.lane == lane)
    }

    /// Notes when the first of its records is too old.
    pub(crate) fn note_age(&mut self, buffered: &Buffered) {
        self.overdue_ms = self.overdue_ms.into_iter().chain(buffered.overdue_ms).min();
    }

    /// Judges whether its partition is to rest, by records and by its share of the bytes; `true` where that changed.
    pub(crate) fn judge_fill(&mut self, budget: usize) -> bool {
        let (records, bytes, was) = (self.waiting.len(), self.bytes, self.full);
        self.full = if self.full {
            records > LOW_MARK || (bytes > budget / 4 && records > 0)
        } else {
            records >= HIGH_MARK || (bytes >= budget && records > 0)
        };
        self.full != was
    }
}

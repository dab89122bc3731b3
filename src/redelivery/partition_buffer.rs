//! The waiting records of one partition, in order, and the time when they are checked next.

use std::collections::VecDeque;
use std::time::Instant;

use crate::delivery::{Delivery, Subject};

/// The number of records at which a buffer pauses its partition. It resumes the partition at [`LOW_MARK`].
const HIGH_MARK: usize = 500;
const LOW_MARK: usize = 100;

/// The waiting records of one partition.
#[derive(Default)]
pub(crate) struct PartitionBuffer {
    pub(crate) waiting: VecDeque<Buffered>,
    pub(crate) bytes: usize,
    pub(crate) full: bool,
    /// When the buffer is checked next. `Waiting::due` lists it under this time.
    pub(crate) next: Option<Instant>,
    /// Lanes that did not take a due record.
    pub(crate) blocked_on: Vec<Block>,
    /// When the first of the records becomes too old for parking, in epoch ms.
    pub(crate) overdue_ms: Option<i64>,
}

/// A lane, by index, that did not take the first of its due records, and the size of that record.
pub(crate) struct Block {
    pub(crate) lane: usize,
    pub(crate) bytes: usize,
}

/// A waiting record.
pub(crate) struct Buffered {
    pub(crate) delivery: Box<Delivery>,
    /// When the record is due, on the monotonic clock, so that a wall clock that is set back delays nothing.
    pub(crate) due: Instant,
    /// When the record becomes too old for parking, in epoch ms.
    pub(crate) overdue_ms: Option<i64>,
    /// While its lane is open, the record is not sent before this.
    pub(crate) not_before: Option<Instant>,
}

impl Buffered {
    /// The order in a buffer: as in the partition, but what was refused goes behind the others, so that one record
    /// which is refused for reasons of its own cannot keep its lane closed.
    fn order(&self) -> (u32, i64) {
        (self.delivery.refused.times, self.delivery.record.offset)
    }

    /// The lane of the record. `None`: the record ends without a lane.
    pub(crate) fn lane(&self) -> Option<usize> {
        match &self.delivery.subject {
            Subject::Ready(ready) => Some(ready.lane),
            Subject::Ended(_) => None,
        }
    }
}

impl PartitionBuffer {
    /// Adds a record. Returns when the buffer has to be checked, if that is sooner than before.
    pub(crate) fn admit(&mut self, buffered: Buffered) -> Option<Instant> {
        self.bytes += buffered.delivery.record.size();
        self.note_age(&buffered);
        let (due, order, lane) = (buffered.due, buffered.order(), buffered.lane());
        // Records that a closing lane gives back arrive in any order. The oldest has to be first.
        let place = self.waiting.iter().rposition(|other| other.order() < order).map_or(0, |p| p + 1);
        self.waiting.insert(place, buffered);
        // A record that its lane does not take waits for the lane, however many records follow it.
        let waits_anyway = due <= Instant::now() && lane.is_some_and(|lane| self.is_blocked_on(lane));
        let sooner = !waits_anyway && self.next.is_none_or(|next| due < next);
        sooner.then_some(due)
    }

    /// Whether this lane did not take an earlier record.
    pub(crate) fn is_blocked_on(&self, lane: usize) -> bool {
        self.blocked_on.iter().any(|block| block.lane == lane)
    }

    /// Updates the time when the first record becomes too old.
    pub(crate) fn note_age(&mut self, buffered: &Buffered) {
        self.overdue_ms = self.overdue_ms.into_iter().chain(buffered.overdue_ms).min();
    }

    /// Decides whether the partition has to pause, by its records and by its share of the bytes. Returns `true` if that
    /// changed.
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

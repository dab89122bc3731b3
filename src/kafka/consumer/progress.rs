//! How far a partition was read in this assignment, and which of its records are unfinished.

use std::sync::Arc;

use super::epochs::Epochs;
use super::start_decision::Begin;
use crate::kafka::offsets::{NextOffset, OffsetTracker, Unfinished};

pub(super) struct Progress<W> {
    tracker: OffsetTracker<W>,
    /// Unfinished records that nobody works on any more.
    given_back: usize,
    /// The offset where it began.
    start: Option<i64>,
    /// The leader epochs of its records.
    epochs: Epochs,
    /// The time of the last record that was read, by [`crate::clock::steady_ms`].
    last_steady_ms: Option<i64>,
}

impl<W> Default for Progress<W> {
    fn default() -> Self {
        Self {
            tracker: OffsetTracker::new(),
            given_back: 0,
            start: None,
            epochs: Epochs::default(),
            last_steady_ms: None,
        }
    }
}

impl<W> Progress<W> {
    pub(super) fn begin(&mut self, Begin { at, epoch }: Begin) {
        self.start = Some(at);
        self.epochs = Epochs::starting(at, epoch);
    }

    /// Registers a record and returns its sequence number. `None` if its offset was received before.
    pub(super) fn receive(&mut self, offset: i64, epoch: Option<i32>, work: Arc<W>) -> Option<u64> {
        let seq = self.tracker.receive(offset, work)?;
        self.epochs.read(offset, epoch);
        Some(seq)
    }

    /// Remembers the time of the record that was read last, by [`crate::clock::steady_ms`].
    pub(super) fn set_last_steady_ms(&mut self, at: i64) {
        self.last_steady_ms = Some(at);
    }

    pub(super) fn last_steady_ms(&self) -> Option<i64> {
        self.last_steady_ms
    }

    /// Finishes a record. `None` if it was finished before or never received.
    pub(super) fn finish(&mut self, seq: u64) -> Option<Arc<W>> {
        self.tracker.finish(seq)
    }

    /// Notes that nobody works any more on a record that stays unfinished.
    pub(super) fn give_back(&mut self) {
        self.given_back += 1;
    }

    /// Notes that no further record lies below this end.
    pub(super) fn pass(&mut self, high: i64) {
        if self.tracker.pass(NextOffset::new(high)) {
            self.epochs.pass(high);
        }
    }

    /// The position after the finished records that have no unfinished one before them. `None` before anything was
    /// received.
    pub(super) fn finished_up_to(&self) -> Option<NextOffset> {
        self.tracker.frontier()
    }

    /// The first offset that is not finished, also before anything was received.
    pub(super) fn frontier(&self) -> Option<i64> {
        self.finished_up_to().map(NextOffset::get).or(self.start)
    }

    /// The next offset to read.
    pub(super) fn position(&self) -> Option<i64> {
        self.tracker.last_received().map(|last| NextOffset::after(last).get()).or(self.start)
    }

    pub(super) fn has_received(&self) -> bool {
        self.tracker.last_received().is_some()
    }

    /// The number of records that somebody still works on.
    pub(super) fn pending(&self) -> usize {
        self.unfinished().saturating_sub(self.given_back)
    }

    /// The number of unfinished records.
    pub(super) fn unfinished(&self) -> usize {
        self.tracker.len()
    }

    /// The unfinished records in the order of delivery.
    pub(super) fn unfinished_records(&self) -> impl Iterator<Item = Unfinished<'_, W>> {
        self.tracker.unfinished()
    }

    /// The unfinished record that holds the frontier back.
    pub(super) fn oldest(&self) -> Option<Unfinished<'_, W>> {
        self.unfinished_records().next()
    }

    /// How many records were read since the first unfinished one, which counts too.
    pub(super) fn span(&self) -> u64 {
        self.tracker.span()
    }

    /// The unfinished records after which at least `newer` others were read.
    pub(super) fn behind(&self, newer: u64) -> impl Iterator<Item = &Arc<W>> {
        self.tracker.behind(newer)
    }

    /// The leader epoch of a position, for the comparison with the log.
    pub(super) fn epoch_before(&self, next: i64) -> Option<i32> {
        self.epochs.before(next)
    }

    /// Drops the epochs that only positions below this one need.
    pub(super) fn forget_epochs_below(&mut self, next: i64) {
        self.epochs.forget_below(next);
    }
}

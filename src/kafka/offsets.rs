//! Which offset may be committed: the lowest unfinished one (pure).
//!
//! Records finish in any order, offsets have holes, and a client library may hand over one offset twice. The tracker
//! is a queue in the order of delivery: what was never delivered is not waited for, and nothing above the first
//! unfinished record is ever offered for commit.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::kafka::consumer::Open;

/// The offset to read next: what is stored and committed. Never the last one that was finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextOffset(i64);

impl NextOffset {
    /// A position as Kafka commits it.
    pub fn new(offset: i64) -> Self {
        Self(offset)
    }

    /// The position that follows a finished record: the only place where one is added to an offset.
    pub fn after(finished: i64) -> Self {
        Self(finished.saturating_add(1))
    }

    /// The number to store.
    pub fn get(self) -> i64 {
        self.0
    }
}

/// An unfinished record.
#[derive(Clone, Debug)]
pub struct Unfinished<'a> {
    /// Its offset.
    pub offset: i64,
    /// Its sequence number in this assignment.
    pub seq: u64,
    /// What is known about the work on it.
    pub open: &'a Arc<Open>,
}

struct Entry {
    offset: i64,
    /// `None`: finished. What is known of it goes with its end: behind one record that waits for minutes there may be
    /// a million that are done.
    open: Option<Arc<Open>>,
}

/// The unfinished records of one partition during one assignment.
#[derive(Default)]
pub struct OffsetTracker {
    entries: VecDeque<Entry>,
    /// Sequence number of the first entry.
    base: u64,
    /// The highest offset received.
    last: Option<i64>,
    unfinished: usize,
}

impl OffsetTracker {
    /// An empty tracker; it begins at the first offset received.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a record and returns its sequence number; `None` where this offset was received before.
    pub fn receive(&mut self, offset: i64, open: Arc<Open>) -> Option<u64> {
        if self.last.is_some_and(|last| offset <= last) {
            return None;
        }
        let seq = self.base + self.entries.len() as u64;
        self.entries.push_back(Entry { offset, open: Some(open) });
        self.last = Some(offset);
        self.unfinished += 1;
        Some(seq)
    }

    /// Finishes a record; `None` where it was finished before or never received.
    pub fn finish(&mut self, seq: u64) -> Option<Arc<Open>> {
        let index = usize::try_from(seq.checked_sub(self.base)?).ok()?;
        let open = self.entries.get_mut(index)?.open.take()?;
        self.unfinished -= 1;
        while self.entries.front().is_some_and(|e| e.open.is_none()) {
            self.entries.pop_front();
            self.base += 1;
        }
        Some(open)
    }

    /// The offset to read next; `None` before anything was received.
    pub fn frontier(&self) -> Option<NextOffset> {
        match self.entries.front() {
            Some(entry) => Some(NextOffset::new(entry.offset)),
            None => self.last.map(NextOffset::after),
        }
    }

    /// Nothing below this position is to be delivered any more. Where something is unfinished it stays as it is.
    pub fn pass(&mut self, next: NextOffset) {
        if self.is_empty() && self.frontier().is_none_or(|frontier| frontier < next) {
            self.last = Some(next.get() - 1);
        }
    }

    /// The highest offset received.
    pub fn last_received(&self) -> Option<i64> {
        self.last
    }

    /// The unfinished records in the order of delivery.
    pub fn unfinished(&self) -> impl Iterator<Item = Unfinished<'_>> {
        let numbered = self.entries.iter().zip(self.base..);
        numbered.filter_map(|(e, seq)| Some(Unfinished { offset: e.offset, seq, open: e.open.as_ref()? }))
    }

    /// How many records are unfinished.
    pub fn len(&self) -> usize {
        self.unfinished
    }

    /// Whether nothing is unfinished.
    pub fn is_empty(&self) -> bool {
        self.unfinished == 0
    }
}

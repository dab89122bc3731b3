//! Decides which offset may be committed: the lowest unfinished one (pure).
//!
//! Records finish in any order, offsets have holes, and a client library may deliver one offset twice. The tracker is a
//! queue in the order of delivery. It does not wait for an offset that was never delivered, and it never offers an
//! offset above the first unfinished record for commit.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

/// The offset to read next. This is the offset that is stored and committed; it is never the offset of the last
/// finished record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextOffset(i64);

impl NextOffset {
    /// Wraps a position as Kafka commits it.
    pub fn new(offset: i64) -> Self {
        Self(offset)
    }

    /// The position after a finished record. This is the only place that adds one to an offset.
    pub fn after(finished: i64) -> Self {
        Self(finished.saturating_add(1))
    }

    /// The offset to store.
    pub fn get(self) -> i64 {
        self.0
    }
}

/// An unfinished record.
#[derive(Clone, Debug)]
pub struct Unfinished<'a, W> {
    pub offset: i64,
    /// What the caller keeps about the work on the record.
    pub work: &'a Arc<W>,
}

struct Entry<W> {
    seq: u64,
    offset: i64,
    /// `None` once the record is finished: what was known about the work is then dropped.
    work: Option<Arc<W>>,
}

/// The tracker keeps at most this many finished records beside the unfinished ones. Behind one record that waits for
/// minutes there may be a million finished ones.
const FINISHED: usize = 1024;

/// The unfinished records of one partition during one assignment, each with what is known about the work on it.
pub struct OffsetTracker<W> {
    /// The entries in the order of delivery. The first one is unfinished. Finished ones may have been removed.
    entries: VecDeque<Entry<W>>,
    next_seq: u64,
    /// The highest offset received.
    last: Option<i64>,
    unfinished: usize,
}

impl<W> Default for OffsetTracker<W> {
    fn default() -> Self {
        Self { entries: VecDeque::new(), next_seq: 0, last: None, unfinished: 0 }
    }
}

impl<W> OffsetTracker<W> {
    /// An empty tracker. It begins at the first offset that it receives.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a record and returns its sequence number. `None` if this offset was received before.
    pub fn receive(&mut self, offset: i64, work: Arc<W>) -> Option<u64> {
        if self.last.is_some_and(|last| offset <= last) {
            return None;
        }
        let seq = self.next_seq;
        self.next_seq += 1;
        self.entries.push_back(Entry { seq, offset, work: Some(work) });
        self.last = Some(offset);
        self.unfinished += 1;
        Some(seq)
    }

    /// Finishes a record. `None` if it was finished before or never received.
    pub fn finish(&mut self, seq: u64) -> Option<Arc<W>> {
        let index = self.index_of(seq)?;
        let work = self.entries.get_mut(index)?.work.take()?;
        self.unfinished -= 1;
        while self.entries.front().is_some_and(|e| e.work.is_none()) {
            self.entries.pop_front();
        }
        // This happens seldom: many calls of `receive` have added the entries that it removes.
        if self.entries.len() > 2 * self.unfinished + FINISHED {
            self.entries.retain(|e| e.work.is_some());
        }
        Some(work)
    }

    fn index_of(&self, seq: u64) -> Option<usize> {
        let first = self.entries.front()?.seq;
        // This is the index as long as no entry in between was removed.
        let near = usize::try_from(seq.checked_sub(first)?).ok()?;
        if self.entries.get(near).is_some_and(|e| e.seq == seq) {
            return Some(near);
        }
        self.entries.binary_search_by_key(&seq, |e| e.seq).ok()
    }

    /// The offset to read next. `None` before anything was received.
    pub fn frontier(&self) -> Option<NextOffset> {
        match self.entries.front() {
            Some(entry) => Some(NextOffset::new(entry.offset)),
            None => self.last.map(NextOffset::after),
        }
    }

    /// Declares that nothing below this position will be delivered any more, and returns whether the tracker moved. It
    /// does not move while a record is unfinished.
    pub fn pass(&mut self, next: NextOffset) -> bool {
        let moves = self.is_empty() && self.frontier().is_none_or(|frontier| frontier < next);
        if moves {
            self.last = Some(next.get() - 1);
        }
        moves
    }

    /// The highest offset received.
    pub fn last_received(&self) -> Option<i64> {
        self.last
    }

    /// The unfinished records in the order of delivery.
    pub fn unfinished(&self) -> impl Iterator<Item = Unfinished<'_, W>> {
        let unfinished = self.entries.iter().filter_map(|e| Some((e, e.work.as_ref()?)));
        unfinished.map(|(e, work)| Unfinished { offset: e.offset, work })
    }

    /// How many records were received since the first unfinished one, which counts too. Behind a record that waits for
    /// long, most of them are finished and cannot be committed.
    pub fn span(&self) -> u64 {
        self.entries.front().map_or(0, |first| self.next_seq - first.seq)
    }

    /// The unfinished records after which at least `newer` others were received, in the order of delivery.
    pub fn behind(&self, newer: u64) -> impl Iterator<Item = &Arc<W>> {
        let old = self.entries.iter().take_while(move |e| self.next_seq - e.seq > newer);
        old.filter_map(|e| e.work.as_ref())
    }

    /// The number of unfinished records.
    pub fn len(&self) -> usize {
        self.unfinished
    }

    /// Whether every record is finished.
    pub fn is_empty(&self) -> bool {
        self.unfinished == 0
    }
}

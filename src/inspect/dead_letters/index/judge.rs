//! Finds the state of the rows, and takes over what changes it.

use std::collections::BTreeSet;

use super::Index;
use super::rows::{DISCARDED, REPLAYED, RowRef, SUPERSEDED};
use super::select::Matcher;
use super::states::{CHUNK, Cover, Discard};
use crate::operate::keys::LetterTopic;

impl Index {
    /// The bitmaps that say of the rows of the index whether they were replayed: partition, and number of the chunk of
    /// 65,536 offsets.
    pub fn chunks(&self) -> BTreeSet<(i32, i64)> {
        let mut chunks = BTreeSet::new();
        for block in &self.rows.blocks {
            let ends = [block.rows.first(), block.rows.last()].map(|row| row.map(|row| block.offset(row)));
            if let [Some(first), Some(last)] = ends {
                let numbers = first.div_euclid(CHUNK)..=last.div_euclid(CHUNK);
                chunks.extend(numbers.map(|chunk| (block.partition, chunk)));
            }
        }
        chunks
    }

    /// Takes one bitmap over. A bit is never taken back.
    pub fn set_replayed(&mut self, partition: i32, chunk: i64, bits: &[u8]) {
        if self.states.replayed.get(&(partition, chunk)).is_some_and(|known| **known == *bits) {
            return;
        }
        self.states.replayed.insert((partition, chunk), bits.into());
        let range = chunk * CHUNK..(chunk + 1) * CHUNK;
        let rows = self.rows_of(partition).filter(|row| range.contains(&self.rows.place(*row).1)).collect::<Vec<_>>();
        self.judge(&rows);
    }

    /// Replaces the discards that are in force.
    pub fn set_discards(&mut self, discards: Vec<Discard>) {
        if discards == self.states.discards {
            return;
        }
        self.states.discards = discards;
        let partitions: Vec<i32> = self.partitions.keys().copied().collect();
        for partition in partitions {
            let rows: Vec<RowRef> = self.rows_of(partition).collect();
            self.judge(&rows);
        }
    }

    /// Says which topic the dead letters are in.
    pub fn set_topic(&mut self, topic: LetterTopic) {
        self.states.topic = topic;
    }

    /// The topic that the dead letters are in, once their states are known.
    pub fn topic(&self) -> &LetterTopic {
        &self.states.topic
    }

    /// Takes over when an operator last said that the store has lost its claims, epoch ms.
    pub fn set_claims_lost(&mut self, at_ms: Option<i64>) {
        self.states.claims_lost_ms = at_ms;
    }

    /// When an operator last said that the store has lost its claims, epoch ms: what was first seen before is no longer
    /// protected from a second delivery.
    pub fn claims_lost_ms(&self) -> Option<i64> {
        self.states.claims_lost_ms
    }

    /// How many dead letters this discard marks: the newest ones of their origins.
    pub fn covered(&self, id: &str) -> u64 {
        let Some(discard) = self.states.discards.iter().find(|discard| discard.id == id) else { return 0 };
        let matcher = self.matcher_of(discard);
        let rows = self.partitions.keys().flat_map(|partition| self.rows_of(*partition));
        let covers = |row: &RowRef| {
            let packed = self.rows.get(*row);
            let fits = || matcher.as_ref().is_some_and(|matcher| matcher.fits(packed));
            !packed.has(SUPERSEDED) && discard.cover.covers(self.rows.place(*row), packed.has(REPLAYED), fits)
        };
        rows.filter(covers).count() as u64
    }

    /// The discards that are in force.
    pub fn discards(&self) -> &[Discard] {
        &self.states.discards
    }

    /// Finds the state of these rows.
    pub(super) fn judge(&mut self, rows: &[RowRef]) {
        let covers: Vec<_> = self.states.discards.iter().map(|discard| (discard, self.matcher_of(discard))).collect();
        let mut changes = Vec::new();
        for row in rows {
            let (packed, (partition, offset)) = (self.rows.get(*row), self.rows.place(*row));
            let replayed = packed.has(REPLAYED) || self.states.is_replayed(partition, offset);
            let fits = |matcher: &Option<Matcher>| matcher.as_ref().is_some_and(|matcher| matcher.fits(packed));
            let covered = covers
                .iter()
                .any(|(discard, matcher)| discard.cover.covers((partition, offset), replayed, || fits(matcher)));
            if (packed.has(REPLAYED), packed.has(DISCARDED)) != (replayed, covered) {
                changes.push((*row, replayed, covered));
            }
        }
        for (row, replayed, covered) in changes {
            let packed = self.rows.get_mut(row);
            packed.put(REPLAYED, replayed);
            packed.put(DISCARDED, covered);
        }
    }

    fn matcher_of(&self, discard: &Discard) -> Option<Matcher> {
        match &discard.cover {
            Cover::Filter { filter, .. } => Some(self.matcher(filter)),
            Cover::Items { .. } => None,
        }
    }
}

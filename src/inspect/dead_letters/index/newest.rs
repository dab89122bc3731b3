//! Finds the newest row of each origin: a hash table that holds only the numbers of rows, because the rows have the
//! hashes.

use super::rows::RowRef;

const EMPTY: u32 = u32::MAX;
const SMALLEST: usize = 64;

/// The newest row of each origin.
#[derive(Default)]
pub(super) struct Newest {
    /// Open addressing with linear steps; the length is a power of two.
    slots: Vec<u32>,
    used: usize,
}

impl Newest {
    /// The slot of this origin: the one that holds its row, or the free one where it belongs. `hash_of` tells the hash
    /// of the origin of a row.
    fn slot(&self, hash: u64, hash_of: impl Fn(RowRef) -> u64) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = (hash as usize) & mask;
        while self.slots[at] != EMPTY && hash_of(RowRef(self.slots[at])) != hash {
            at = (at + 1) & mask;
        }
        at
    }

    /// The newest row of this origin.
    pub(super) fn get(&self, hash: u64, hash_of: impl Fn(RowRef) -> u64) -> Option<RowRef> {
        if self.slots.is_empty() {
            return None;
        }
        Some(self.slots[self.slot(hash, hash_of)]).filter(|row| *row != EMPTY).map(RowRef)
    }

    /// Makes this row the newest one of its origin.
    pub(super) fn set(&mut self, row: RowRef, hash_of: impl Fn(RowRef) -> u64) {
        // Three quarters full at most, so that a search stays short.
        if (self.used + 1) * 4 > self.slots.len() * 3 {
            self.grow(&hash_of);
        }
        let at = self.slot(hash_of(row), &hash_of);
        if self.slots[at] == EMPTY {
            self.used += 1;
        }
        self.slots[at] = row.0;
    }

    fn grow(&mut self, hash_of: impl Fn(RowRef) -> u64) {
        let larger = vec![EMPTY; (self.slots.len() * 2).max(SMALLEST)];
        let old = std::mem::replace(&mut self.slots, larger);
        for row in old.into_iter().filter(|row| *row != EMPTY) {
            let at = self.slot(hash_of(RowRef(row)), &hash_of);
            self.slots[at] = row;
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.slots.len() * size_of::<u32>()
    }
}

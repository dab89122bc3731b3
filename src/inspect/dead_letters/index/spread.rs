//! Which dead letter of an origin is the newest: inside a partition the last one, whatever the clocks of their writers
//! said.
//!
//! All dead letters of an origin have one key, and so lie in one partition. They lie in several where the topic got
//! more partitions between two of them.

use std::collections::HashMap;

use super::rows::{RowRef, Rows};

/// The newest row in each partition, of the origins that have rows in several.
#[derive(Default)]
pub(super) struct Spread(HashMap<u64, Vec<RowRef>>);

impl Spread {
    /// Takes a further row of an origin, and returns the newest one. `known` was the newest before.
    pub(super) fn newest(&mut self, rows: &Rows, known: RowRef, row: RowRef) -> RowRef {
        let partition = |row: RowRef| rows.place(row).0;
        let origin = rows.get(row).origin;
        if partition(known) == partition(row) && !self.has(origin) {
            return rows.later(known, row);
        }
        let each = self.0.entry(origin).or_insert_with(|| vec![known]);
        match each.iter_mut().find(|other| partition(**other) == partition(row)) {
            Some(other) => *other = rows.later(*other, row),
            None => each.push(row),
        }
        each.iter().copied().max_by_key(|row| rows.lineage(*row)).unwrap_or(row)
    }

    /// Whether this origin has rows in several partitions.
    pub(super) fn has(&self, origin: u64) -> bool {
        self.0.contains_key(&origin)
    }

    /// The bytes that it holds, about.
    pub(super) fn bytes(&self) -> usize {
        self.0.values().map(|each| each.capacity() * size_of::<RowRef>() + 64).sum()
    }
}

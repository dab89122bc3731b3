//! Keeps the newest dead letter of each origin, and selects from these.

use std::collections::HashMap;

use super::dead_letter::{DeadLetter, Origin, Rank};
use super::filter::Filter;

/// Takes dead letters in any order, keeps the newest per origin, and returns those of them that are selected.
pub struct LatestPerOrigin {
    filter: Filter,
    all: bool,
    newest: HashMap<Origin, Rank>,
    kept: HashMap<Origin, Vec<DeadLetter>>,
}

impl LatestPerOrigin {
    /// With `all`, every dead letter counts, not only the newest per origin.
    pub fn new(filter: Filter, all: bool) -> Self {
        Self { filter, all, newest: HashMap::new(), kept: HashMap::new() }
    }

    /// Takes one more dead letter.
    pub fn add(&mut self, letter: DeadLetter) {
        let origin = letter.origin();
        if self.all {
            if self.filter.selects(&letter) {
                self.kept.entry(origin).or_default().push(letter);
            }
            return;
        }
        let rank = letter.rank();
        if self.newest.get(&origin).is_some_and(|known| *known > rank) {
            return;
        }
        // The newest one is kept even if it is not selected. Otherwise an older one with another reason would be found
        // in its place.
        self.newest.insert(origin.clone(), rank);
        if self.filter.selects(&letter) {
            self.kept.insert(origin, vec![letter]);
        } else {
            self.kept.remove(&origin);
        }
    }

    /// Returns the selected ones, newest first, and at most as many as the filter allows.
    pub fn finish(self) -> Vec<DeadLetter> {
        let limit = self.filter.limit.unwrap_or(usize::MAX);
        let mut letters: Vec<DeadLetter> = self.kept.into_values().flatten().collect();
        letters.sort_by_key(|letter| std::cmp::Reverse(letter.rank()));
        letters.truncate(limit);
        letters
    }
}

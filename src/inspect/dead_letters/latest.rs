//! Which dead letter of an origin counts, and which of those are selected.

use std::collections::HashMap;

use super::filter::Filter;
use super::letter::{DeadLetter, Origin, Rank};

/// Gathers letters in any order: the newest per origin, of those the selected ones.
pub struct LatestPerOrigin {
    filter: Filter,
    all: bool,
    newest: HashMap<Origin, Rank>,
    kept: HashMap<Origin, Vec<DeadLetter>>,
}

impl LatestPerOrigin {
    /// With `all` every letter counts, not only the newest per origin.
    pub fn new(filter: Filter, all: bool) -> Self {
        Self { filter, all, newest: HashMap::new(), kept: HashMap::new() }
    }

    /// Takes one more.
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
        // The newest one decides: an older one of another reason must not be found in its place.
        self.newest.insert(origin.clone(), rank);
        if self.filter.selects(&letter) {
            self.kept.insert(origin, vec![letter]);
        } else {
            self.kept.remove(&origin);
        }
    }

    /// The selected ones, newest first, at most as many as asked for.
    pub fn finish(self) -> Vec<DeadLetter> {
        let limit = self.filter.limit.unwrap_or(usize::MAX);
        let mut letters: Vec<DeadLetter> = self.kept.into_values().flatten().collect();
        letters.sort_by_key(|letter| std::cmp::Reverse(letter.rank()));
        letters.truncate(limit);
        letters
    }
}

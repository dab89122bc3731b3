//! Keeps the newest dead letter of each origin, and selects from these.

use std::collections::HashMap;

use super::dead_letter::{DeadLetter, Origin};
use super::filter::Filter;

/// Takes dead letters in any order, keeps the newest per origin, and returns those of them that are selected.
pub struct LatestPerOrigin {
    filter: Filter,
    /// The newest one in each partition. It is kept even if it is not selected: otherwise an older one with another
    /// reason would be found in its place.
    newest: HashMap<Origin, Vec<DeadLetter>>,
}

impl LatestPerOrigin {
    pub fn new(filter: Filter) -> Self {
        Self { filter, newest: HashMap::new() }
    }

    /// Takes one more dead letter.
    pub fn add(&mut self, letter: DeadLetter) {
        let of_origin = self.newest.entry(letter.origin()).or_default();
        match of_origin.iter_mut().find(|known| known.partition == letter.partition) {
            Some(known) if known.offset > letter.offset => {}
            Some(known) => *known = letter,
            None => of_origin.push(letter),
        }
    }

    /// Returns the selected ones, newest first, and at most as many as the filter allows.
    pub fn finish(self) -> Vec<DeadLetter> {
        let newest = self.newest.into_values().filter_map(|each| each.into_iter().max_by_key(DeadLetter::lineage));
        let mut letters: Vec<DeadLetter> = newest.filter(|letter| self.filter.selects(letter)).collect();
        letters.sort_by_key(|letter| std::cmp::Reverse(letter.rank()));
        letters.truncate(self.filter.limit.unwrap_or(usize::MAX));
        letters
    }
}

//! Keeps what became of each record of one input topic. It takes receipts and dead letters in any order (pure).
//!
//! For each origin three things count: the first receipt that is not `duplicate`, the newest dead letter, and the
//! largest number of declared re-sends. A record takes two bytes and the note of its reader, because a topic holds
//! millions of records.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::read::Place;
use crate::error::{Outcome, Reason};

/// What is known of one record, and the note of its reader.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin<T> {
    outcome: Option<Outcome>,
    dead_letter: Option<Reason>,
    /// The note of the reader.
    pub note: T,
}

impl<T> Origin<T> {
    /// How the record ended. A dead letter has ended when both its receipt and the dead letter itself were read.
    pub fn end(&self) -> Option<Outcome> {
        self.outcome.filter(|outcome| *outcome != Outcome::DeadLettered || self.dead_letter.is_some())
    }

    /// Whether the record, if it is a call, must have a result: it was answered, or is a dead letter that could be read.
    pub fn needs_result(&self) -> bool {
        match self.end() {
            Some(Outcome::Delivered) => true,
            Some(Outcome::DeadLettered) => {
                !matches!(self.dead_letter, None | Some(Reason::Malformed | Reason::Quarantined))
            }
            _ => false,
        }
    }

    /// Whether the record ended as a copy of another record, with the same money or with other money.
    pub fn is_copy(&self) -> bool {
        match self.end() {
            Some(Outcome::Duplicate) => true,
            Some(Outcome::DeadLettered) => self.dead_letter == Some(Reason::Conflict),
            _ => false,
        }
    }
}

/// A record before and after a change.
pub type Change<T> = (Origin<T>, Origin<T>);

/// The records of one topic. A record that no [`Origins::cover`] names does not count.
#[derive(Debug, Default)]
pub struct Origins<T> {
    partitions: BTreeMap<i32, Partition<T>>,
    ends: [u64; Outcome::ALL.len()],
    reasons: [u64; Reason::ALL.len()],
    resends: HashMap<Place, u32>,
}

#[derive(Debug)]
struct Partition<T> {
    from: i64,
    records: Vec<Origin<T>>,
}

impl<T> Partition<T> {
    fn index(&self, offset: i64) -> Option<usize> {
        usize::try_from(offset.checked_sub(self.from)?).ok()
    }
}

impl<T: Copy + Default> Origins<T> {
    /// Declares that every offset of this range is a record. A later range of the same partition begins where the first
    /// one began, and may end later.
    pub fn cover(&mut self, partition: i32, range: Range<i64>) {
        let partition =
            self.partitions.entry(partition).or_insert_with(|| Partition { from: range.start, records: Vec::new() });
        let length = partition.index(range.end).unwrap_or(0);
        if partition.records.len() < length {
            partition.records.resize(length, Origin::default());
        }
    }

    /// Takes the end that a receipt tells.
    pub fn receipt(&mut self, place: Place, outcome: Outcome, resends: u32) -> Option<Change<T>> {
        let change = self.change(place, |origin| {
            if matches!(origin.outcome, None | Some(Outcome::Duplicate)) {
                origin.outcome = Some(outcome);
            }
        })?;
        if resends > 0 {
            let most = self.resends.entry(place).or_default();
            *most = resends.max(*most);
        }
        Some(change)
    }

    /// Takes the end that a dead letter tells. It has to be newer than those before it.
    pub fn dead_letter(&mut self, place: Place, reason: Reason) -> Option<Change<T>> {
        self.change(place, |origin| origin.dead_letter = Some(reason))
    }

    /// Changes the note of a record.
    pub fn note(&mut self, place: Place, note: impl FnOnce(&mut T)) -> Option<Change<T>> {
        self.change(place, |origin| note(&mut origin.note))
    }

    fn change(&mut self, (partition, offset): Place, change: impl FnOnce(&mut Origin<T>)) -> Option<Change<T>> {
        let partition = self.partitions.get_mut(&partition)?;
        let index = partition.index(offset)?;
        let origin = partition.records.get_mut(index)?;
        let before = *origin;
        change(origin);
        let after = *origin;
        self.count(before, u64::wrapping_sub);
        self.count(after, u64::wrapping_add);
        Some((before, after))
    }

    fn count(&mut self, origin: Origin<T>, by: fn(u64, u64) -> u64) {
        let Some(end) = origin.end() else { return };
        let count = &mut self.ends[end as usize];
        *count = by(*count, 1);
        if end == Outcome::DeadLettered
            && let Some(reason) = origin.dead_letter
        {
            let count = &mut self.reasons[reason as usize];
            *count = by(*count, 1);
        }
    }

    /// All records.
    pub fn iter(&self) -> impl Iterator<Item = &Origin<T>> {
        self.partitions.values().flat_map(|partition| &partition.records)
    }

    /// The number of records.
    pub fn produced(&self) -> u64 {
        self.partitions.values().map(|partition| partition.records.len() as u64).sum()
    }

    /// The number of records that ended with this outcome.
    pub fn ended(&self, outcome: Outcome) -> u64 {
        self.ends[outcome as usize]
    }

    /// The number of records that have ended.
    pub fn all_ended(&self) -> u64 {
        self.ends.iter().sum()
    }

    /// Dead letters by reason.
    pub fn dead_letters(&self) -> BTreeMap<&'static str, u64> {
        let counted = Reason::ALL.into_iter().zip(self.reasons);
        counted.filter(|(_, count)| *count > 0).map(|(reason, count)| (reason.as_str(), count)).collect()
    }

    /// The number of declared sends that could be a second one.
    pub fn declared_resends(&self) -> u64 {
        self.resends.values().map(|n| u64::from(*n)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ten() -> Origins<()> {
        let mut origins = Origins::default();
        for partition in [0, 1, 3] {
            origins.cover(partition, 0..10);
        }
        origins
    }

    fn sums(origins: &Origins<()>) -> [u64; 4] {
        Outcome::ALL.map(|outcome| origins.ended(outcome))
    }

    #[test]
    fn the_first_receipt_that_is_no_duplicate_counts_in_whatever_order_they_come() {
        for order in [[Outcome::Duplicate, Outcome::Delivered], [Outcome::Delivered, Outcome::Duplicate]] {
            let mut origins = ten();
            for outcome in order {
                origins.receipt((0, 0), outcome, 0);
            }
            assert_eq!(sums(&origins), [1, 0, 0, 0], "{order:?}");
        }
        let mut origins = ten();
        origins.receipt((0, 0), Outcome::Delivered, 0);
        origins.dead_letter((0, 0), Reason::Invalid);
        origins.receipt((0, 0), Outcome::DeadLettered, 0);
        assert_eq!(sums(&origins), [1, 0, 0, 0], "what was delivered first stays delivered");
    }

    #[test]
    fn a_dead_letter_has_ended_with_receipt_and_letter_and_the_newest_reason_counts() {
        let mut origins = ten();
        origins.receipt((3, 7), Outcome::DeadLettered, 0);
        assert_eq!((sums(&origins), origins.all_ended()), ([0; 4], 0));
        origins.dead_letter((3, 7), Reason::Invalid);
        origins.dead_letter((3, 7), Reason::Expired);
        assert_eq!(sums(&origins), [0, 0, 0, 1]);
        assert_eq!(origins.dead_letters(), BTreeMap::from([("expired", 1)]));
        let mut origins = ten();
        origins.dead_letter((3, 7), Reason::Invalid);
        assert_eq!(origins.all_ended(), 0, "its receipt is missing");
    }

    #[test]
    fn the_largest_number_of_resends_per_origin_counts() {
        let mut origins = ten();
        for (place, resends) in [((0, 0), 1), ((0, 0), 3), ((0, 0), 2), ((1, 0), 1), ((1, 1), 0)] {
            origins.receipt(place, Outcome::Delivered, resends);
        }
        assert_eq!(origins.declared_resends(), 4);
    }

    #[test]
    fn a_call_needs_a_result_once_it_is_answered_or_a_dead_letter_that_could_be_read() {
        for (outcome, reason, wanted) in [
            (Outcome::Delivered, None, true),
            (Outcome::DeadLettered, Some(Reason::Invalid), true),
            (Outcome::DeadLettered, Some(Reason::Malformed), false),
            (Outcome::DeadLettered, None, false),
            (Outcome::Duplicate, None, false),
        ] {
            let origin = Origin { outcome: Some(outcome), dead_letter: reason, note: () };
            assert_eq!(origin.needs_result(), wanted, "{outcome:?} {reason:?}");
        }
        assert!(!Origin::<()>::default().needs_result(), "it has not ended");
    }

    #[test]
    fn only_what_is_covered_counts() {
        let mut origins = Origins::<()>::default();
        origins.cover(2, 1_000..1_003);
        for place in [(2, 999), (2, 1_003), (0, 1_000), (-1, 0), (2, i64::MIN), (2, i64::MAX)] {
            assert!(origins.receipt(place, Outcome::Delivered, 1).is_none(), "{place:?}");
        }
        origins.receipt((2, 1_000), Outcome::Delivered, 0);
        origins.receipt((2, 1_002), Outcome::Duplicate, 0);
        assert_eq!((origins.produced(), origins.all_ended(), origins.declared_resends()), (3, 2, 0));
        origins.cover(2, 1_000..1_010);
        origins.cover(2, 1_000..1_001);
        assert_eq!((origins.produced(), origins.all_ended()), (10, 2));
        assert_eq!(origins.iter().filter(|origin| origin.is_copy()).count(), 1);
    }
}

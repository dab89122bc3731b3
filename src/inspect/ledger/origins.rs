//! Keeps what became of each record of one input topic. It takes receipts and dead letters in any order (pure).
//!
//! For each origin three things count: the strongest outcome of its receipts, the newest dead letter, and the largest
//! number of declared re-sends. `delivered` is the strongest outcome, because an acceptance is a fact: a dead letter that
//! was replayed and delivered is delivered. Then comes `suppressed`. Of `dead_lettered` and `duplicate` the newer one counts:
//! a dead letter whose replay was confirmed by a worker that was killed before it wrote the receipt has a `duplicate` as its
//! end. A record takes three bytes and what its reader knows of it, because a topic holds millions of records; only those that
//! ended in one of these two ways take more.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::read::Place;
use crate::error::{Outcome, Reason};

/// What is known of one record, and what its reader knows of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin<T> {
    outcome: Option<Outcome>,
    dead_letter: Option<Reason>,
    /// It is no event of its own.
    left_out: bool,
    /// What the reader knows of it.
    pub facts: T,
}

/// What the records of one or more topics came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    /// The number of records.
    pub produced: u64,
    ends: [u64; Outcome::ALL.len()],
    reasons: [u64; Reason::ALL.len()],
    /// Declared sends that could be a second one.
    pub resends: u64,
}

impl Sums {
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

    fn count<T>(&mut self, origin: &Origin<T>, by: fn(u64, u64) -> u64) {
        self.produced = by(self.produced, u64::from(origin.is_event()));
        let Some(end) = origin.end().filter(|_| origin.is_event()) else { return };
        let count = &mut self.ends[end as usize];
        *count = by(*count, 1);
        if end == Outcome::DeadLettered
            && let Some(reason) = origin.dead_letter
        {
            let count = &mut self.reasons[reason as usize];
            *count = by(*count, 1);
        }
    }

    /// Adds the records of another topic.
    pub fn add(&mut self, other: &Sums) {
        self.produced += other.produced;
        self.resends += other.resends;
        self.ends.iter_mut().zip(other.ends).for_each(|(count, more)| *count += more);
        self.reasons.iter_mut().zip(other.reasons).for_each(|(count, more)| *count += more);
    }
}

/// A receipt with a higher rank replaces one with a lower rank; between the lowest two, only one that is not older.
fn rank(outcome: Option<Outcome>) -> u8 {
    match outcome {
        None => 0,
        Some(Outcome::Duplicate) => 1,
        Some(Outcome::DeadLettered) => 2,
        Some(Outcome::Suppressed) => 3,
        Some(Outcome::Delivered) => 4,
    }
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

    /// Whether it is an event: no replayed copy of another one, and no offset without a record.
    pub fn is_event(&self) -> bool {
        !self.left_out
    }

    /// What is missing for an end.
    pub fn missing(&self) -> &'static str {
        match (self.outcome, self.dead_letter) {
            (None, None) => "neither a receipt nor a dead letter",
            (None, Some(_)) => "a dead letter, but no receipt",
            (Some(_), _) => "a receipt of a dead letter, but no dead letter",
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
    sums: Sums,
    resends: HashMap<Place, u32>,
    /// When the newest end was told of a record that ended as a dead letter or as a duplicate, epoch ms.
    told_ms: HashMap<Place, i64>,
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
        if let Some(more) = length.checked_sub(partition.records.len()) {
            partition.records.resize(length, Origin::default());
            self.sums.produced += more as u64;
        }
    }

    /// Declares that this offset holds no event of its own: a replayed copy, whose end is that of its origin, or nothing.
    pub fn leave_out(&mut self, place: Place) -> Option<Change<T>> {
        self.change(place, |origin| origin.left_out = true)
    }

    /// Does the same for every offset of which `is_other` says so.
    pub fn leave_out_if(&mut self, is_other: impl Fn(&Origin<T>) -> bool) {
        let all = self.partitions.values_mut().flat_map(|partition| &mut partition.records);
        for origin in all.filter(|origin| is_other(origin)) {
            self.sums.count(origin, u64::wrapping_sub);
            origin.left_out = true;
            self.sums.count(origin, u64::wrapping_add);
        }
    }

    /// Takes the end that a receipt tells. `at_ms` is when it was written, as far as that is known.
    pub fn receipt(&mut self, place: Place, outcome: Outcome, resends: u32, at_ms: Option<i64>) -> Option<Change<T>> {
        let weak = |outcome: Outcome| matches!(outcome, Outcome::Duplicate | Outcome::DeadLettered);
        let at_ms = at_ms.unwrap_or(i64::MIN);
        let told_ms = self.told_ms.get(&place).copied();
        let change = self.change(place, |origin| {
            let replaces = match origin.outcome {
                Some(before) if weak(before) && weak(outcome) => {
                    (at_ms, rank(Some(outcome))) > (told_ms.unwrap_or(i64::MIN), rank(Some(before)))
                }
                before => rank(Some(outcome)) > rank(before),
            };
            if replaces {
                origin.outcome = Some(outcome);
            }
        })?;
        match change.1.outcome {
            Some(end) if weak(end) => {
                self.told_ms.insert(place, told_ms.map_or(at_ms, |told_ms| told_ms.max(at_ms)));
            }
            _ => _ = self.told_ms.remove(&place),
        }
        if resends > 0 {
            let most = self.resends.entry(place).or_default();
            self.sums.resends += u64::from(resends.saturating_sub(*most));
            *most = resends.max(*most);
        }
        Some(change)
    }

    /// Takes the end that a dead letter tells. It has to be newer than those before it.
    pub fn dead_letter(&mut self, place: Place, reason: Reason) -> Option<Change<T>> {
        self.change(place, |origin| origin.dead_letter = Some(reason))
    }

    /// Changes what is known of a record.
    pub fn note(&mut self, place: Place, change: impl FnOnce(&mut T)) -> Option<Change<T>> {
        self.change(place, |origin| change(&mut origin.facts))
    }

    fn change(&mut self, (partition, offset): Place, change: impl FnOnce(&mut Origin<T>)) -> Option<Change<T>> {
        let partition = self.partitions.get_mut(&partition)?;
        let index = partition.index(offset)?;
        let origin = partition.records.get_mut(index)?;
        let before = *origin;
        change(origin);
        let after = *origin;
        self.sums.count(&before, u64::wrapping_sub);
        self.sums.count(&after, u64::wrapping_add);
        Some((before, after))
    }

    /// All offsets.
    pub fn iter(&self) -> impl Iterator<Item = &Origin<T>> {
        self.partitions.values().flat_map(|partition| &partition.records)
    }

    /// All offsets with their places.
    pub fn places(&self) -> impl Iterator<Item = (Place, &Origin<T>)> {
        self.partitions.iter().flat_map(|(number, partition)| {
            (partition.from..).zip(&partition.records).map(move |(offset, origin)| ((*number, offset), origin))
        })
    }

    /// What the records came to.
    pub fn sums(&self) -> &Sums {
        &self.sums
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
        Outcome::ALL.map(|outcome| origins.sums().ended(outcome))
    }

    #[test]
    fn a_replayed_dead_letter_counts_as_what_came_of_it_and_its_copy_as_no_event() {
        for outcomes in [[Outcome::DeadLettered, Outcome::Delivered], [Outcome::Delivered, Outcome::DeadLettered]] {
            let mut origins = ten();
            origins.dead_letter((0, 0), Reason::Rejected);
            for outcome in outcomes {
                origins.receipt((0, 0), outcome, 0, None);
            }
            // The copy that the replay has published.
            origins.leave_out((1, 9));
            origins.leave_out((1, 9));
            assert_eq!((sums(&origins), origins.sums().produced), ([1, 0, 0, 0], 29), "{outcomes:?}");
            assert!(origins.sums().dead_letters().is_empty());
        }
        let mut origins = ten();
        origins.dead_letter((0, 0), Reason::Rejected);
        origins.receipt((0, 0), Outcome::DeadLettered, 0, None);
        origins.receipt((0, 0), Outcome::Suppressed, 0, None);
        assert_eq!(sums(&origins), [0, 0, 1, 0], "the user has opted out since");
    }

    #[test]
    fn sums_of_topics_are_added() {
        let mut one = ten();
        one.receipt((0, 0), Outcome::Delivered, 2, None);
        let mut sum = *one.sums();
        one.receipt((0, 0), Outcome::Delivered, 3, None);
        sum.add(one.sums());
        assert_eq!((sum.produced, sum.ended(Outcome::Delivered), sum.resends), (60, 2, 5));
    }

    #[test]
    fn the_first_receipt_that_is_no_duplicate_counts_in_whatever_order_they_come() {
        for order in [[Outcome::Duplicate, Outcome::Delivered], [Outcome::Delivered, Outcome::Duplicate]] {
            let mut origins = ten();
            for outcome in order {
                origins.receipt((0, 0), outcome, 0, None);
            }
            assert_eq!(sums(&origins), [1, 0, 0, 0], "{order:?}");
        }
        let mut origins = ten();
        origins.receipt((0, 0), Outcome::Delivered, 0, None);
        origins.dead_letter((0, 0), Reason::Invalid);
        origins.receipt((0, 0), Outcome::DeadLettered, 0, None);
        assert_eq!(sums(&origins), [1, 0, 0, 0], "what was delivered first stays delivered");
    }

    #[test]
    fn a_dead_letter_has_ended_with_receipt_and_letter_and_the_newest_reason_counts() {
        let mut origins = ten();
        origins.receipt((3, 7), Outcome::DeadLettered, 0, None);
        assert_eq!((sums(&origins), origins.sums().all_ended()), ([0; 4], 0));
        origins.dead_letter((3, 7), Reason::Invalid);
        origins.dead_letter((3, 7), Reason::Expired);
        assert_eq!(sums(&origins), [0, 0, 0, 1]);
        assert_eq!(origins.sums().dead_letters(), BTreeMap::from([("expired", 1)]));
        let mut origins = ten();
        origins.dead_letter((3, 7), Reason::Invalid);
        assert_eq!(origins.sums().all_ended(), 0, "its receipt is missing");
    }

    #[test]
    fn of_a_dead_letter_and_a_duplicate_the_newer_one_is_the_end_in_whatever_order_they_come() {
        use Outcome::{DeadLettered, Delivered, Duplicate, Suppressed};
        for (told, end) in [
            // A worker confirmed the replayed copy, and was killed before it wrote the receipt.
            ([(DeadLettered, Some(5)), (Duplicate, Some(9))], Duplicate),
            ([(Duplicate, Some(5)), (DeadLettered, Some(9))], DeadLettered),
            ([(Duplicate, Some(5)), (DeadLettered, Some(5))], DeadLettered),
            ([(Duplicate, None), (DeadLettered, None)], DeadLettered),
            ([(Delivered, Some(5)), (Duplicate, Some(9))], Delivered),
            ([(Suppressed, Some(5)), (Duplicate, Some(9))], Suppressed),
            ([(DeadLettered, Some(9)), (Delivered, Some(5))], Delivered),
        ] {
            for told in [told, [told[1], told[0]]] {
                let mut origins = ten();
                origins.dead_letter((0, 0), Reason::Rejected);
                for (outcome, at_ms) in told {
                    origins.receipt((0, 0), outcome, 0, at_ms);
                }
                let mut wanted = [0; 4];
                wanted[end as usize] = 1;
                assert_eq!(sums(&origins), wanted, "{told:?}");
            }
        }
        let mut origins = ten();
        origins.dead_letter((0, 0), Reason::Rejected);
        for (outcome, at_ms, end) in [
            (DeadLettered, 5, DeadLettered),
            (Duplicate, 7, Duplicate),
            (Duplicate, 6, Duplicate),
            (DeadLettered, 9, DeadLettered),
        ] {
            let (_, after) = origins.receipt((0, 0), outcome, 0, Some(at_ms)).unwrap();
            assert_eq!(after.end(), Some(end), "{at_ms}");
        }
    }

    #[test]
    fn the_largest_number_of_resends_per_origin_counts() {
        let mut origins = ten();
        for (place, resends) in [((0, 0), 1), ((0, 0), 3), ((0, 0), 2), ((1, 0), 1), ((1, 1), 0)] {
            origins.receipt(place, Outcome::Delivered, resends, None);
        }
        assert_eq!(origins.sums().resends, 4);
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
            let origin = Origin { outcome: Some(outcome), dead_letter: reason, ..Origin::<()>::default() };
            assert_eq!(origin.needs_result(), wanted, "{outcome:?} {reason:?}");
        }
        assert!(!Origin::<()>::default().needs_result(), "it has not ended");
    }

    #[test]
    fn only_what_is_covered_counts() {
        let mut origins = Origins::<()>::default();
        origins.cover(2, 1_000..1_003);
        for place in [(2, 999), (2, 1_003), (0, 1_000), (-1, 0), (2, i64::MIN), (2, i64::MAX)] {
            assert!(origins.receipt(place, Outcome::Delivered, 1, None).is_none(), "{place:?}");
        }
        origins.receipt((2, 1_000), Outcome::Delivered, 0, None);
        origins.receipt((2, 1_002), Outcome::Duplicate, 0, None);
        assert_eq!((origins.sums().produced, origins.sums().all_ended(), origins.sums().resends), (3, 2, 0));
        origins.cover(2, 1_000..1_010);
        origins.cover(2, 1_000..1_001);
        assert_eq!((origins.sums().produced, origins.sums().all_ended()), (10, 2));
        assert_eq!(origins.iter().filter(|origin| origin.is_copy()).count(), 1);
    }
}

//! Keeps what became of each record of one input topic. It takes receipts and dead letters in any order (pure).
//!
//! For each origin three things count: the strongest outcome of its receipts, the newest dead letter, and the largest
//! number of declared re-sends. `delivered` is the strongest outcome, because an acceptance is a fact: a dead letter
//! that was replayed and delivered is delivered. Then comes `suppressed`. Of `dead_lettered` and `duplicate` the newer
//! one counts: a dead letter whose replay was confirmed by a worker that was killed before it wrote the receipt has a
//! `duplicate` as its end. Inside a partition the offset tells the newer one, because the clocks of workers differ. A
//! record takes three bytes and what its reader knows of it, because a topic holds millions of records; only those that
//! ended in one of these two ways take more.

mod told;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use self::told::Told;
use super::read::{Place, Written};
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

    /// Whether the record, if it is a call, must have a result: it was answered, its person has opted out, or it is a
    /// dead letter that could be read.
    pub fn needs_result(&self) -> bool {
        match self.end() {
            Some(Outcome::Delivered | Outcome::Suppressed) => true,
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
    told: HashMap<Place, Told>,
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

    /// Declares that this offset holds no event of its own: a replayed copy, whose end is that of its origin, or
    /// nothing.
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

    /// Takes the end that a receipt tells. `written` says where the receipt stands, as far as that is known.
    pub fn receipt(
        &mut self,
        place: Place,
        outcome: Outcome,
        resends: u32,
        written: Option<Written>,
    ) -> Option<Change<T>> {
        let weak = |outcome: Outcome| matches!(outcome, Outcome::Duplicate | Outcome::DeadLettered);
        let before = self.told.get(&place).and_then(|told| told.receipt);
        let order = Written::order(written, before);
        let change = self.change(place, |origin| {
            let replaces = match origin.outcome {
                Some(known) if weak(known) && weak(outcome) => {
                    order.then(rank(Some(outcome)).cmp(&rank(Some(known)))).is_gt()
                }
                known => rank(Some(outcome)) > rank(known),
            };
            if replaces {
                origin.outcome = Some(outcome);
            }
        })?;
        match change.1.outcome {
            Some(end) if weak(end) => {
                self.told.entry(place).or_default().receipt = if order.is_gt() { written } else { before };
            }
            _ => _ = self.told.remove(&place),
        }
        if resends > 0 {
            let most = self.resends.entry(place).or_default();
            self.sums.resends += u64::from(resends.saturating_sub(*most));
            *most = resends.max(*most);
        }
        Some(change)
    }

    /// Takes the end that a dead letter tells. `told` says how often the record had been replayed before, and where the
    /// dead letter stands; without it, the dead letter has to be newer than those before it.
    pub fn dead_letter(&mut self, place: Place, reason: Reason, told: Option<(i64, Written)>) -> Option<Change<T>> {
        if let (Some(letter), Some(known)) = (told, self.told.get(&place))
            && known.has_newer(letter)
        {
            return self.change(place, |_| ());
        }
        let change = self.change(place, |origin| origin.dead_letter = Some(reason))?;
        if told.is_some() {
            self.told.entry(place).or_default().letter = told;
        }
        Some(change)
    }

    /// Takes back that this record ended as a dead letter, unless that was the end of this copy of it: how often it was
    /// replayed, and when it was published, epoch ms. Else the copy has its end still before it.
    pub fn reopen(&mut self, place: Place, copy: (i64, i64)) -> Option<Change<T>> {
        if self.told.get(&place)?.ends(copy) {
            return None;
        }
        self.change(place, |origin| {
            if origin.outcome == Some(Outcome::DeadLettered) {
                (origin.outcome, origin.dead_letter) = (None, None);
            }
        })
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
mod tests;

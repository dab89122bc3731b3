//! What became of each input record, from receipts and dead letters in whatever order they are read (pure).
//!
//! Per origin: the first receipt that is not `duplicate` counts, the newest dead letter counts, and the largest number
//! of declared re-sends counts (`core.md` section 7). Four bytes per record: a demo may run for days.

use std::collections::{BTreeMap, HashMap};

use crate::error::{Outcome, Reason};

/// Partition and offset in the input topic.
pub type Place = (i32, i64);

/// No account that is known.
const NOBODY: u8 = u8::MAX;

#[derive(Clone, Copy, Debug)]
struct Origin {
    /// `Outcome` + 1 of the receipt that counts; 0: none yet.
    outcome: u8,
    /// `Reason` + 1 of the newest dead letter; 0: none.
    letter: u8,
    account: u8,
    /// Published by the generator, and not by somebody else beside it.
    own: bool,
}

const NEW: Origin = Origin { outcome: 0, letter: 0, account: NOBODY, own: false };

impl Origin {
    /// How it ended; a dead letter has ended when both its receipt and the letter itself were seen.
    fn end(self) -> Option<Outcome> {
        let outcome = *Outcome::ALL.get(usize::from(self.outcome.checked_sub(1)?))?;
        (outcome != Outcome::DeadLettered || self.letter > 0).then_some(outcome)
    }

    fn reason(self) -> Option<Reason> {
        Reason::ALL.get(usize::from(self.letter.checked_sub(1)?)).copied()
    }
}

/// Counts of one account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountTally {
    /// Records that the generator has published.
    pub published: u64,
    /// Those of them that have ended.
    pub ended: u64,
    /// Accepted by the platform, whoever published them.
    pub delivered: u64,
}

impl AccountTally {
    /// Published and not ended.
    pub fn waiting(&self) -> u64 {
        self.published.saturating_sub(self.ended)
    }
}

/// The tally.
#[derive(Debug, Default)]
pub struct Tally {
    partitions: Vec<Vec<Origin>>,
    accounts: Vec<AccountTally>,
    ends: [u64; Outcome::ALL.len()],
    reasons: [u64; Reason::ALL.len()],
    resends: HashMap<Place, u32>,
}

impl Tally {
    /// For so many accounts, which are named by their index.
    pub fn new(accounts: usize) -> Self {
        Self { accounts: vec![AccountTally::default(); accounts], ..Self::default() }
    }

    /// The input partition ends at `high`: every offset below it is a record.
    pub fn reaches(&mut self, partition: i32, high: i64) {
        if let Some(last) = high.checked_sub(1).filter(|last| *last >= 0) {
            let _ = self.at((partition, last));
        }
    }

    /// The generator published this record.
    pub fn published(&mut self, place: Place, account: Option<usize>) {
        self.change(place, |origin| {
            origin.own = true;
            origin.account = account.and_then(|a| u8::try_from(a).ok()).unwrap_or(NOBODY);
        });
    }

    /// A receipt says so.
    pub fn receipt(&mut self, place: Place, outcome: Outcome, resends: u32, account: Option<usize>) {
        self.change(place, |origin| {
            let code = outcome as u8 + 1;
            let duplicate = Outcome::Duplicate as u8 + 1;
            if origin.outcome == 0 || (origin.outcome == duplicate && code != duplicate) {
                origin.outcome = code;
            }
            if origin.account == NOBODY && !origin.own {
                origin.account = account.and_then(|a| u8::try_from(a).ok()).unwrap_or(NOBODY);
            }
        });
        if resends > 0 {
            let most = self.resends.entry(place).or_default();
            *most = resends.max(*most);
        }
    }

    /// A dead letter says so.
    pub fn dead_letter(&mut self, place: Place, reason: Reason) {
        self.change(place, |origin| origin.letter = reason as u8 + 1);
    }

    fn at(&mut self, (partition, offset): Place) -> Option<&mut Origin> {
        let (partition, offset) = (usize::try_from(partition).ok()?, usize::try_from(offset).ok()?);
        if self.partitions.len() <= partition {
            self.partitions.resize_with(partition + 1, Vec::new);
        }
        let origins = self.partitions.get_mut(partition)?;
        if origins.len() <= offset {
            origins.resize(offset + 1, NEW);
        }
        origins.get_mut(offset)
    }

    fn change(&mut self, place: Place, change: impl FnOnce(&mut Origin)) {
        let Some(origin) = self.at(place) else { return };
        let before = *origin;
        change(origin);
        let after = *origin;
        self.count(before, u64::wrapping_sub);
        self.count(after, u64::wrapping_add);
    }

    fn count(&mut self, origin: Origin, by: fn(u64, u64) -> u64) {
        let end = origin.end();
        if let Some(account) = self.accounts.get_mut(usize::from(origin.account)) {
            account.published = by(account.published, u64::from(origin.own));
            account.ended = by(account.ended, u64::from(origin.own && end.is_some()));
            account.delivered = by(account.delivered, u64::from(end == Some(Outcome::Delivered)));
        }
        let Some(end) = end else { return };
        let count = &mut self.ends[end as usize];
        *count = by(*count, 1);
        if end == Outcome::DeadLettered
            && let Some(reason) = origin.reason()
        {
            let count = &mut self.reasons[reason as usize];
            *count = by(*count, 1);
        }
    }

    /// Records that ended so.
    pub fn ended(&self, outcome: Outcome) -> u64 {
        self.ends[outcome as usize]
    }

    /// Records that ended at all.
    pub fn all_ended(&self) -> u64 {
        self.ends.iter().sum()
    }

    /// Records in the input topic, as far as they are known.
    pub fn produced(&self) -> u64 {
        self.partitions.iter().map(|origins| origins.len() as u64).sum()
    }

    /// Dead letters by reason.
    pub fn dead_letters(&self) -> BTreeMap<&'static str, u64> {
        let counted = Reason::ALL.into_iter().zip(self.reasons);
        counted.filter(|(_, count)| *count > 0).map(|(reason, count)| (reason.as_str(), count)).collect()
    }

    /// Sends that could be a second one.
    pub fn declared_resends(&self) -> u64 {
        self.resends.values().map(|n| u64::from(*n)).sum()
    }

    /// The counts of each account, by index.
    pub fn accounts(&self) -> &[AccountTally] {
        &self.accounts
    }

    /// Records that somebody beside the generator published, without those that ended as copies.
    pub fn foreign_distinct(&self) -> u64 {
        let foreign = self.partitions.iter().flatten().filter(|origin| !origin.own);
        let copy = |origin: &&Origin| match origin.end() {
            Some(Outcome::Duplicate) => true,
            Some(Outcome::DeadLettered) => origin.reason() == Some(Reason::Conflict),
            _ => false,
        };
        foreign.filter(|origin| !copy(origin)).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(tally: &Tally) -> [u64; 4] {
        Outcome::ALL.map(|outcome| tally.ended(outcome))
    }

    #[test]
    fn the_first_receipt_that_is_no_duplicate_counts_in_whatever_order_they_come() {
        for order in [[Outcome::Duplicate, Outcome::Delivered], [Outcome::Delivered, Outcome::Duplicate]] {
            let mut tally = Tally::new(1);
            for outcome in order {
                tally.receipt((0, 0), outcome, 0, Some(0));
            }
            assert_eq!(sums(&tally), [1, 0, 0, 0], "{order:?}");
            assert_eq!(tally.accounts()[0].delivered, 1);
        }
        let mut tally = Tally::new(1);
        tally.receipt((0, 0), Outcome::Delivered, 0, None);
        tally.dead_letter((0, 0), Reason::Invalid);
        tally.receipt((0, 0), Outcome::DeadLettered, 0, None);
        assert_eq!(sums(&tally), [1, 0, 0, 0], "what was delivered first stays delivered");
    }

    #[test]
    fn a_dead_letter_has_ended_with_receipt_and_letter_and_the_newest_reason_counts() {
        let mut tally = Tally::new(1);
        tally.receipt((3, 7), Outcome::DeadLettered, 0, None);
        assert_eq!((sums(&tally), tally.all_ended()), ([0; 4], 0));
        tally.dead_letter((3, 7), Reason::Invalid);
        tally.dead_letter((3, 7), Reason::Expired);
        assert_eq!(sums(&tally), [0, 0, 0, 1]);
        assert_eq!(tally.dead_letters(), BTreeMap::from([("expired", 1)]));
        let mut tally = Tally::new(1);
        tally.dead_letter((3, 7), Reason::Invalid);
        assert_eq!(tally.all_ended(), 0, "its receipt is missing");
    }

    #[test]
    fn the_largest_number_of_resends_per_origin_counts() {
        let mut tally = Tally::new(1);
        for (place, resends) in [((0, 0), 1), ((0, 0), 3), ((0, 0), 2), ((1, 0), 1), ((1, 1), 0)] {
            tally.receipt(place, Outcome::Delivered, resends, None);
        }
        assert_eq!(tally.declared_resends(), 4);
    }

    #[test]
    fn an_account_waits_for_what_is_published_and_has_not_ended_whichever_is_seen_first() {
        let mut tally = Tally::new(2);
        tally.receipt((0, 1), Outcome::Delivered, 0, Some(1));
        tally.published((0, 0), Some(1));
        tally.published((0, 1), Some(1));
        tally.published((0, 2), None);
        assert_eq!(tally.accounts()[1], AccountTally { published: 2, ended: 1, delivered: 1 });
        assert_eq!((tally.accounts()[1].waiting(), tally.accounts()[0].waiting()), (1, 0));
    }

    #[test]
    fn what_somebody_else_published_is_produced_and_its_copies_are_not_distinct() {
        let mut tally = Tally::new(1);
        tally.published((0, 0), Some(0));
        tally.reaches(0, 4);
        tally.reaches(1, 0);
        tally.receipt((0, 1), Outcome::Delivered, 0, Some(0));
        tally.receipt((0, 2), Outcome::Duplicate, 0, Some(0));
        tally.receipt((0, 3), Outcome::DeadLettered, 0, Some(0));
        tally.dead_letter((0, 3), Reason::Conflict);
        assert_eq!((tally.produced(), tally.foreign_distinct()), (4, 1));
        assert_eq!(tally.accounts()[0], AccountTally { published: 1, ended: 0, delivered: 1 });
    }
}

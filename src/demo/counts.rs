//! Counts by account what became of each input record: what the demo knows beside the [`Origins`] of the ledger (pure).

use crate::error::{Outcome, Reason};
use crate::inspect::ledger::{Origin, Origins, Place};

/// What the demo knows of a record, apart from its end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    /// The index of the account, where it is known.
    account: Option<u8>,
    /// The generator published the record; `false`: someone else did.
    own: bool,
    /// Its final result is in the results topic.
    has_result: bool,
    /// Its receipts: one, and one more after each replay.
    receipts: u8,
    /// Copies of it that a replay has published.
    replays: u8,
}

/// Counts of one account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountCounts {
    /// Records that the generator has published.
    pub published: u64,
    /// Published records that have ended.
    pub ended: u64,
    /// Records that the platform accepted, no matter who published them.
    pub delivered: u64,
}

impl AccountCounts {
    /// Records that are published and have not ended.
    pub fn waiting(&self) -> u64 {
        self.published.saturating_sub(self.ended)
    }
}

/// Calls that have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// Calls that must have a result.
    pub all: u64,
    /// Calls among these whose final result was read.
    pub with_result: u64,
    /// Calls among these that their platform answered.
    pub answered: u64,
}

#[derive(Debug, Default)]
pub struct Counts {
    origins: Origins<Facts>,
    accounts: Vec<AccountCounts>,
}

impl Counts {
    /// The counts for this many accounts. An account is named by its index.
    pub fn new(accounts: usize) -> Self {
        Self { accounts: vec![AccountCounts::default(); accounts], ..Self::default() }
    }

    /// The records as the ledger counts them.
    pub fn origins(&self) -> &Origins<Facts> {
        &self.origins
    }

    /// The counts of each account, by index.
    pub fn accounts(&self) -> &[AccountCounts] {
        &self.accounts
    }

    /// The input partition ends at `high`: every offset below it is a record.
    pub fn reaches(&mut self, partition: i32, high: i64) {
        self.origins.cover(partition, 0..high);
    }

    /// Notes that the generator published this record.
    pub fn published(&mut self, place: Place, account: Option<usize>) {
        self.note(place, |facts| (facts.account, facts.own) = (index(account), true));
    }

    /// Notes that the record at `copy` is a replayed copy of the one at `origin`. It is no event of its own.
    pub fn replayed(&mut self, copy: Place, origin: Place) {
        self.reaches(copy.0, copy.1.saturating_add(1));
        if let Some((before, after)) = self.origins.leave_out(copy) {
            self.count(before, after);
        }
        self.note(origin, |facts| facts.replays = facts.replays.saturating_add(1));
    }

    /// The number of replayed records that have not ended again.
    pub fn replays_open(&self) -> u64 {
        let open = |facts: &Facts| facts.replays > 0 && facts.receipts <= facts.replays;
        self.origins.iter().filter(|origin| open(&origin.facts)).count() as u64
    }

    /// Notes the end that a receipt tells. The receipt may be read before the end of the partition is known.
    pub fn receipt(&mut self, place: Place, outcome: Outcome, resends: u32, account: Option<usize>) {
        self.note(place, |facts| {
            facts.receipts = facts.receipts.saturating_add(1);
            if facts.account.is_none() && !facts.own {
                facts.account = index(account);
            }
        });
        if let Some((before, after)) = self.origins.receipt(place, outcome, resends, None) {
            self.count(before, after);
        }
    }

    /// Notes the end that a dead letter tells.
    pub fn dead_letter(&mut self, place: Place, reason: Reason) {
        self.reaches(place.0, place.1.saturating_add(1));
        if let Some((before, after)) = self.origins.dead_letter(place, reason, None) {
            self.count(before, after);
        }
    }

    /// Notes that the final result of this call was read.
    pub fn result(&mut self, place: Place) {
        self.note(place, |facts| facts.has_result = true);
    }

    /// Counts the calls that must have a result, those among them that have it, and those that were answered.
    /// `is_of_calls` tells it of an account by its index. What others sent counts as a call only if it was answered,
    /// because they may send these accounts anything.
    pub fn calls(&self, is_of_calls: impl Fn(usize) -> bool) -> Calls {
        let mut calls = Calls::default();
        for origin in self.origins.iter().filter(|origin| origin.needs_result()) {
            let is_answered = origin.end() == Some(Outcome::Delivered);
            let is_call = origin.facts.account.is_some_and(|account| is_of_calls(account.into()));
            if is_call && (is_answered || origin.facts.own) {
                calls.all += 1;
                calls.with_result += u64::from(origin.facts.has_result);
                calls.answered += u64::from(is_answered);
            }
        }
        calls
    }

    fn note(&mut self, place: Place, change: impl FnOnce(&mut Facts)) {
        self.reaches(place.0, place.1.saturating_add(1));
        if let Some((before, after)) = self.origins.note(place, change) {
            self.count(before, after);
        }
    }

    fn count(&mut self, before: Origin<Facts>, after: Origin<Facts>) {
        self.add(before, u64::wrapping_sub);
        self.add(after, u64::wrapping_add);
    }

    fn add(&mut self, origin: Origin<Facts>, by: fn(u64, u64) -> u64) {
        let Facts { account, own, .. } = origin.facts;
        let Some(account) = account.and_then(|account| self.accounts.get_mut(usize::from(account))) else { return };
        let end = origin.end();
        account.published = by(account.published, u64::from(own));
        account.ended = by(account.ended, u64::from(own && end.is_some()));
        account.delivered = by(account.delivered, u64::from(end == Some(Outcome::Delivered)));
    }

    /// Counts the records that someone other than the generator published, without those that ended as copies.
    pub fn foreign_distinct(&self) -> u64 {
        let counts = |origin: &&Origin<Facts>| origin.is_event() && !origin.facts.own && !origin.is_copy();
        self.origins.iter().filter(counts).count() as u64
    }
}

fn index(account: Option<usize>) -> Option<u8> {
    account.and_then(|account| u8::try_from(account).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_waits_for_what_is_published_and_has_not_ended_whichever_is_seen_first() {
        let mut counts = Counts::new(2);
        counts.receipt((0, 1), Outcome::Delivered, 0, Some(1));
        counts.published((0, 0), Some(1));
        counts.published((0, 1), Some(1));
        counts.published((0, 2), None);
        assert_eq!(counts.accounts()[1], AccountCounts { published: 2, ended: 1, delivered: 1 });
        assert_eq!((counts.accounts()[1].waiting(), counts.accounts()[0].waiting()), (1, 0));
    }

    #[test]
    fn every_call_that_was_answered_or_is_an_own_dead_letter_needs_its_result() {
        let mut counts = Counts::new(2);
        counts.result((0, 0));
        for (offset, account) in [(0, 1), (1, 1), (2, 1), (3, 0), (4, 1)] {
            counts.published((0, offset), Some(account));
        }
        counts.receipt((0, 0), Outcome::Delivered, 0, Some(1));
        counts.receipt((0, 1), Outcome::Delivered, 0, Some(1));
        counts.receipt((0, 2), Outcome::DeadLettered, 0, Some(1));
        counts.dead_letter((0, 2), Reason::Invalid);
        counts.result((0, 2));
        counts.receipt((0, 3), Outcome::Delivered, 0, Some(0));
        counts.receipt((0, 4), Outcome::Duplicate, 0, Some(1));
        counts.receipt((0, 5), Outcome::DeadLettered, 0, Some(1));
        counts.dead_letter((0, 5), Reason::Invalid);
        let calls = counts.calls(|account| account == 1);
        assert_eq!(calls, Calls { all: 3, with_result: 2, answered: 2 });
    }

    #[test]
    fn a_replayed_dead_letter_is_open_until_its_second_end_and_is_no_new_event() {
        let mut counts = Counts::new(1);
        counts.published((0, 0), Some(0));
        counts.receipt((0, 0), Outcome::DeadLettered, 0, Some(0));
        counts.dead_letter((0, 0), Reason::Rejected);
        let sums = |counts: &Counts| (counts.origins().sums().produced, counts.origins().sums().all_ended());
        assert_eq!((sums(&counts), counts.replays_open()), ((1, 1), 0));
        counts.replayed((1, 5), (0, 0));
        // The records before the copy have not been read yet.
        assert_eq!((sums(&counts), counts.replays_open(), counts.foreign_distinct()), ((6, 1), 1, 5));
        counts.receipt((0, 0), Outcome::Delivered, 0, Some(0));
        assert_eq!((sums(&counts), counts.replays_open()), ((6, 1), 0));
        assert_eq!(counts.accounts()[0], AccountCounts { published: 1, ended: 1, delivered: 1 });
    }

    #[test]
    fn what_somebody_else_published_is_produced_and_its_copies_are_not_distinct() {
        let mut counts = Counts::new(1);
        counts.published((0, 0), Some(0));
        counts.reaches(0, 4);
        counts.reaches(1, 0);
        counts.receipt((0, 1), Outcome::Delivered, 0, Some(0));
        counts.receipt((0, 2), Outcome::Duplicate, 0, Some(0));
        counts.receipt((0, 3), Outcome::DeadLettered, 0, Some(0));
        counts.dead_letter((0, 3), Reason::Conflict);
        assert_eq!((counts.origins().sums().produced, counts.foreign_distinct()), (4, 1));
        assert_eq!(counts.accounts()[0], AccountCounts { published: 1, ended: 0, delivered: 1 });
    }
}

//! Counts by account what became of each input record: the demo's notes beside the [`Origins`] of the ledger (pure).

use crate::error::{Outcome, Reason};
use crate::inspect::ledger::{Origin, Origins, Place};

/// The facts that the demo notes about a record, apart from its end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Note {
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
pub struct AccountTally {
    /// Records that the generator has published.
    pub published: u64,
    /// Published records that have ended.
    pub ended: u64,
    /// Records that the platform accepted, no matter who published them.
    pub delivered: u64,
}

impl AccountTally {
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
pub struct Tally {
    origins: Origins<Note>,
    accounts: Vec<AccountTally>,
}

impl Tally {
    /// A tally for this many accounts. An account is named by its index.
    pub fn new(accounts: usize) -> Self {
        Self { accounts: vec![AccountTally::default(); accounts], ..Self::default() }
    }

    /// The records as the ledger counts them.
    pub fn origins(&self) -> &Origins<Note> {
        &self.origins
    }

    /// The counts of each account, by index.
    pub fn accounts(&self) -> &[AccountTally] {
        &self.accounts
    }

    /// The input partition ends at `high`: every offset below it is a record.
    pub fn reaches(&mut self, partition: i32, high: i64) {
        self.origins.cover(partition, 0..high);
    }

    /// Notes that the generator published this record.
    pub fn published(&mut self, place: Place, account: Option<usize>) {
        self.note(place, |note| (note.account, note.own) = (index(account), true));
    }

    /// Notes that the record at `copy` is a replayed copy of the one at `origin`. It is no event of its own.
    pub fn replayed(&mut self, copy: Place, origin: Place) {
        self.reaches(copy.0, copy.1.saturating_add(1));
        if let Some((before, after)) = self.origins.leave_out(copy) {
            self.count(before, after);
        }
        self.note(origin, |note| note.replays = note.replays.saturating_add(1));
    }

    /// The number of replayed records that have not ended again.
    pub fn replays_open(&self) -> u64 {
        let open = |note: &Note| note.replays > 0 && note.receipts <= note.replays;
        self.origins.iter().filter(|origin| open(&origin.note)).count() as u64
    }

    /// Notes the end that a receipt tells. The receipt may be read before the end of the partition is known.
    pub fn receipt(&mut self, place: Place, outcome: Outcome, resends: u32, account: Option<usize>) {
        self.note(place, |note| {
            note.receipts = note.receipts.saturating_add(1);
            if note.account.is_none() && !note.own {
                note.account = index(account);
            }
        });
        if let Some((before, after)) = self.origins.receipt(place, outcome, resends, None) {
            self.count(before, after);
        }
    }

    /// Notes the end that a dead letter tells.
    pub fn dead_letter(&mut self, place: Place, reason: Reason) {
        self.reaches(place.0, place.1.saturating_add(1));
        if let Some((before, after)) = self.origins.dead_letter(place, reason) {
            self.count(before, after);
        }
    }

    /// Notes that the final result of this call was read.
    pub fn result(&mut self, place: Place) {
        self.note(place, |note| note.has_result = true);
    }

    /// Counts the calls that must have a result, those among them that have it, and those that were answered. `is_of_calls`
    /// tells it of an account by its index. What others sent counts as a call only if it was answered, because they may
    /// send these accounts anything.
    pub fn calls(&self, is_of_calls: impl Fn(usize) -> bool) -> Calls {
        let mut calls = Calls::default();
        for origin in self.origins.iter().filter(|origin| origin.needs_result()) {
            let is_answered = origin.end() == Some(Outcome::Delivered);
            let is_call = origin.note.account.is_some_and(|account| is_of_calls(account.into()));
            if is_call && (is_answered || origin.note.own) {
                calls.all += 1;
                calls.with_result += u64::from(origin.note.has_result);
                calls.answered += u64::from(is_answered);
            }
        }
        calls
    }

    fn note(&mut self, place: Place, note: impl FnOnce(&mut Note)) {
        self.reaches(place.0, place.1.saturating_add(1));
        if let Some((before, after)) = self.origins.note(place, note) {
            self.count(before, after);
        }
    }

    fn count(&mut self, before: Origin<Note>, after: Origin<Note>) {
        self.add(before, u64::wrapping_sub);
        self.add(after, u64::wrapping_add);
    }

    fn add(&mut self, origin: Origin<Note>, by: fn(u64, u64) -> u64) {
        let Note { account, own, .. } = origin.note;
        let Some(account) = account.and_then(|account| self.accounts.get_mut(usize::from(account))) else { return };
        let end = origin.end();
        account.published = by(account.published, u64::from(own));
        account.ended = by(account.ended, u64::from(own && end.is_some()));
        account.delivered = by(account.delivered, u64::from(end == Some(Outcome::Delivered)));
    }

    /// Counts the records that someone other than the generator published, without those that ended as copies.
    pub fn foreign_distinct(&self) -> u64 {
        let counts = |origin: &&Origin<Note>| origin.is_event() && !origin.note.own && !origin.is_copy();
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
        let mut tally = Tally::new(2);
        tally.receipt((0, 1), Outcome::Delivered, 0, Some(1));
        tally.published((0, 0), Some(1));
        tally.published((0, 1), Some(1));
        tally.published((0, 2), None);
        assert_eq!(tally.accounts()[1], AccountTally { published: 2, ended: 1, delivered: 1 });
        assert_eq!((tally.accounts()[1].waiting(), tally.accounts()[0].waiting()), (1, 0));
    }

    #[test]
    fn every_call_that_was_answered_or_is_an_own_dead_letter_needs_its_result() {
        let mut tally = Tally::new(2);
        tally.result((0, 0));
        for (offset, account) in [(0, 1), (1, 1), (2, 1), (3, 0), (4, 1)] {
            tally.published((0, offset), Some(account));
        }
        tally.receipt((0, 0), Outcome::Delivered, 0, Some(1));
        tally.receipt((0, 1), Outcome::Delivered, 0, Some(1));
        tally.receipt((0, 2), Outcome::DeadLettered, 0, Some(1));
        tally.dead_letter((0, 2), Reason::Invalid);
        tally.result((0, 2));
        tally.receipt((0, 3), Outcome::Delivered, 0, Some(0));
        tally.receipt((0, 4), Outcome::Duplicate, 0, Some(1));
        tally.receipt((0, 5), Outcome::DeadLettered, 0, Some(1));
        tally.dead_letter((0, 5), Reason::Invalid);
        let calls = tally.calls(|account| account == 1);
        assert_eq!(calls, Calls { all: 3, with_result: 2, answered: 2 });
    }

    #[test]
    fn a_replayed_dead_letter_is_open_until_its_second_end_and_is_no_new_event() {
        let mut tally = Tally::new(1);
        tally.published((0, 0), Some(0));
        tally.receipt((0, 0), Outcome::DeadLettered, 0, Some(0));
        tally.dead_letter((0, 0), Reason::Rejected);
        let sums = |tally: &Tally| (tally.origins().sums().produced, tally.origins().sums().all_ended());
        assert_eq!((sums(&tally), tally.replays_open()), ((1, 1), 0));
        tally.replayed((1, 5), (0, 0));
        // The records before the copy have not been read yet.
        assert_eq!((sums(&tally), tally.replays_open(), tally.foreign_distinct()), ((6, 1), 1, 5));
        tally.receipt((0, 0), Outcome::Delivered, 0, Some(0));
        assert_eq!((sums(&tally), tally.replays_open()), ((6, 1), 0));
        assert_eq!(tally.accounts()[0], AccountTally { published: 1, ended: 1, delivered: 1 });
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
        assert_eq!((tally.origins().sums().produced, tally.foreign_distinct()), (4, 1));
        assert_eq!(tally.accounts()[0], AccountTally { published: 1, ended: 0, delivered: 1 });
    }
}

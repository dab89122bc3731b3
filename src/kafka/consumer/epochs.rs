//! Of which leader epoch a position is (pure): it is committed with it, so that a log that was cut and has grown again is
//! recognised.
//!
//! Whoever compares asks where that epoch ends in the log: an end below the position means a cut. So the epoch of a position
//! must reach up to it. Between two records there may be marks of transactions and what compaction took, and nobody says of
//! which of two epochs that was: a position behind such a gap has the epoch of the record at it, and one behind which no
//! record was read has none.

use std::collections::VecDeque;

/// The epochs of what was read, oldest first: few, since a partition seldom changes its leader.
#[derive(Debug, Default)]
pub(super) struct Epochs {
    /// An epoch, and the highest position that does not have it yet. `None`: it is not known.
    known: VecDeque<(i64, Option<i32>)>,
    /// What follows the last record that was read.
    next: i64,
}

impl Epochs {
    /// Of a partition that begins at `at`, where the record before it was of `epoch`.
    pub(super) fn starting(at: i64, epoch: Option<i32>) -> Self {
        Self { known: epoch.map(|epoch| (at - 1, Some(epoch))).into_iter().collect(), next: at }
    }

    /// A record was read. Its epoch is never lower than that of the one before.
    pub(super) fn read(&mut self, offset: i64, epoch: Option<i32>) {
        let last = self.known.back().and_then(|(_, last)| *last);
        if epoch > last {
            self.known.push_back((offset.min(self.next), epoch));
        }
        self.next = offset.saturating_add(1);
    }

    /// Up to this position there is no further record.
    pub(super) fn pass(&mut self, next: i64) {
        if next > self.next {
            self.known.push_back((self.next, None));
            self.next = next;
        }
    }

    /// The epoch of a position: of its partition's beginning, of what follows a record, or of a record.
    pub(super) fn before(&self, next: i64) -> Option<i32> {
        self.known.iter().rev().find(|(at, _)| *at < next).and_then(|(_, epoch)| *epoch)
    }

    /// Nothing below this position is asked about any more.
    pub(super) fn forget_below(&mut self, next: i64) {
        while self.known.get(1).is_some_and(|(at, _)| *at < next) {
            self.known.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn before(epochs: &Epochs, next: &[i64]) -> Vec<Option<i32>> {
        next.iter().map(|n| epochs.before(*n)).collect()
    }

    #[test]
    fn a_position_has_the_epoch_of_the_record_before_it() {
        let mut epochs = Epochs::starting(10, Some(3));
        for (offset, epoch) in [(10, 3), (11, 3), (12, 5), (13, 5), (14, 6)] {
            epochs.read(offset, Some(epoch));
        }
        assert_eq!(before(&epochs, &[9, 10, 12, 13, 14, 15]), [None, Some(3), Some(3), Some(5), Some(5), Some(6)]);
        epochs.forget_below(13);
        assert_eq!(before(&epochs, &[13, 14, 15]), [Some(5), Some(5), Some(6)]);
        assert_eq!(epochs.known.len(), 2);
        epochs.forget_below(30);
        assert_eq!((epochs.before(30), epochs.known.len()), (Some(6), 1));
    }

    /// The mark at 12 is of epoch 5, whose end is no cut of what was read in epoch 3.
    #[test]
    fn a_position_behind_a_gap_has_no_epoch_that_may_end_before_it() {
        let mut epochs = Epochs::starting(10, Some(3));
        for (offset, epoch) in [(10, 3), (11, 3), (14, 5), (20, 5), (23, 6)] {
            epochs.read(offset, Some(epoch));
        }
        // Positions: the beginning, what follows a record, the records.
        assert_eq!(before(&epochs, &[10, 11, 12, 14, 15]), [Some(3), Some(3), Some(3), Some(5), Some(5)]);
        assert_eq!(before(&epochs, &[20, 21, 23, 24]), [Some(5), Some(5), Some(6), Some(6)]);
    }

    #[test]
    fn what_was_passed_without_a_record_is_of_no_known_epoch() {
        let mut epochs = Epochs::starting(10, Some(3));
        epochs.read(10, Some(3));
        epochs.pass(11);
        assert_eq!(before(&epochs, &[11]), [Some(3)], "nothing was passed");
        epochs.pass(13);
        assert_eq!(before(&epochs, &[11, 13]), [Some(3), None]);
        epochs.read(13, Some(3));
        assert_eq!(before(&epochs, &[13, 14]), [None, Some(3)]);
        let mut unread = Epochs::starting(4, Some(1));
        unread.pass(6);
        assert_eq!(before(&unread, &[4, 6]), [Some(1), None]);
    }

    #[test]
    fn brokers_without_epochs_leave_none() {
        let mut epochs = Epochs::starting(0, None);
        epochs.read(0, None);
        assert_eq!(epochs.before(1), None);
        assert_eq!(epochs.known.len(), 0);
    }
}

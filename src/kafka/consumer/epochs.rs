//! The leader epoch of a position (pure). It is committed with the position, so that a log which was truncated and has
//! grown again is recognised.
//!
//! To compare, the client asks where that epoch ends in the log: an end below the position means that the log was
//! truncated. So the epoch of a position must reach up to it. Between two records there may be transaction markers and
//! offsets that compaction removed, and nobody knows to which of the two epochs those belong. A position after such a
//! gap has the epoch of the record at it. A position after which no record was read has none.

use std::collections::VecDeque;

/// The epochs of the records that were read, oldest first. There are few, because a partition seldom changes its
/// leader.
#[derive(Debug, Default)]
pub(super) struct Epochs {
    /// An epoch, and the highest position that does not have it yet. `None`: the epoch is not known.
    known: VecDeque<(i64, Option<i32>)>,
    /// The offset after the last record that was read.
    next: i64,
}

impl Epochs {
    /// The epochs of a partition that begins at `at`. The record before `at` had `epoch`.
    pub(super) fn starting(at: i64, epoch: Option<i32>) -> Self {
        Self { known: epoch.map(|epoch| (at - 1, Some(epoch))).into_iter().collect(), next: at }
    }

    /// Adds a record that was read. Its epoch is never lower than that of the record before it.
    pub(super) fn read(&mut self, offset: i64, epoch: Option<i32>) {
        let last = self.known.back().and_then(|(_, last)| *last);
        if epoch > last {
            self.known.push_back((offset.min(self.next), epoch));
        }
        self.next = offset.saturating_add(1);
    }

    /// Moves to this position: up to it there is no further record.
    pub(super) fn pass(&mut self, next: i64) {
        if next > self.next {
            self.known.push_back((self.next, None));
            self.next = next;
        }
    }

    /// The epoch of a position. The position is the beginning of the partition, the offset after a record, or the
    /// offset of a record.
    pub(super) fn before(&self, next: i64) -> Option<i32> {
        self.known.iter().rev().find(|(at, _)| *at < next).and_then(|(_, epoch)| *epoch)
    }

    /// Drops what is only needed for positions below this one.
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

    /// The marker at 12 belongs to epoch 5, so the end of epoch 3 does not look like a truncation.
    #[test]
    fn a_position_behind_a_gap_has_no_epoch_that_may_end_before_it() {
        let mut epochs = Epochs::starting(10, Some(3));
        for (offset, epoch) in [(10, 3), (11, 3), (14, 5), (20, 5), (23, 6)] {
            epochs.read(offset, Some(epoch));
        }
        // The positions: the beginning, the offset after a record, and the records.
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

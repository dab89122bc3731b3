//! Of which leader epoch the records of a partition were (pure): a position is committed with the epoch of the record
//! before it, so that a log that was cut and has grown again is recognised.

use std::collections::VecDeque;

/// The epochs of what was read, oldest first: few, since a partition seldom changes its leader.
#[derive(Debug, Default)]
pub(super) struct Epochs(VecDeque<(i64, i32)>);

impl Epochs {
    /// Of a partition that begins at `at`, where the record before it was of `epoch`.
    pub(super) fn starting(at: i64, epoch: Option<i32>) -> Self {
        Self(epoch.map(|epoch| (at - 1, epoch)).into_iter().collect())
    }

    /// A record was read. Its epoch is never lower than that of the one before.
    pub(super) fn read(&mut self, offset: i64, epoch: Option<i32>) {
        if let Some(epoch) = epoch.filter(|epoch| self.0.back().is_none_or(|(_, last)| epoch > last)) {
            self.0.push_back((offset, epoch));
        }
    }

    /// The epoch of the last record before a position.
    pub(super) fn before(&self, next: i64) -> Option<i32> {
        self.0.iter().rev().find(|(offset, _)| *offset < next).map(|(_, epoch)| *epoch)
    }

    /// Nothing below this position is asked about any more.
    pub(super) fn forget_below(&mut self, next: i64) {
        while self.0.get(1).is_some_and(|(offset, _)| *offset < next) {
            self.0.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_has_the_epoch_of_the_record_before_it() {
        let mut epochs = Epochs::starting(10, Some(3));
        for (offset, epoch) in [(10, 3), (11, 3), (14, 5), (15, 5), (20, 6)] {
            epochs.read(offset, Some(epoch));
        }
        let before = |epochs: &Epochs, next: &[i64]| next.iter().map(|n| epochs.before(*n)).collect::<Vec<_>>();
        assert_eq!(before(&epochs, &[9, 10, 14, 15, 20, 21]), [None, Some(3), Some(3), Some(5), Some(5), Some(6)]);
        epochs.forget_below(15);
        assert_eq!(before(&epochs, &[15, 20, 21]), [Some(5), Some(5), Some(6)]);
        assert_eq!(epochs.0.len(), 2);
        epochs.forget_below(30);
        assert_eq!((epochs.before(30), epochs.0.len()), (Some(6), 1));
    }

    #[test]
    fn brokers_without_epochs_leave_none() {
        let mut epochs = Epochs::starting(0, None);
        epochs.read(0, None);
        assert_eq!(epochs.before(1), None);
    }
}

//! Those who wait for a slot, in the order in which they get it.

use std::collections::VecDeque;

use tokio::sync::oneshot;

/// In which order those who wait get their slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Records that are due at a certain time.
    Due,
    Usual,
    /// Records that an operator replayed: a slot that a live record can use is none of theirs.
    Replayed,
}

impl Priority {
    pub(super) const COUNT: usize = Priority::Replayed as usize + 1;
}

/// Those who wait for a slot. There may be more permits than slots in a second.
///
/// One queue for each priority. Permits are given in turn, so the time of the later ones does come.
pub(super) struct Waiting<T>([VecDeque<oneshot::Sender<T>>; Priority::COUNT]);

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self([const { VecDeque::new() }; Priority::COUNT])
    }
}

impl<T> Waiting<T> {
    pub(super) fn push(&mut self, priority: Priority, waiter: oneshot::Sender<T>) {
        self.0[priority as usize].push_back(waiter);
    }

    /// The number of those that still wait.
    pub(super) fn count(&mut self) -> usize {
        self.0.iter_mut().for_each(|queue| queue.retain(|w| !w.is_closed()));
        self.0.iter().map(VecDeque::len).sum()
    }

    pub(super) fn next(&mut self) -> Option<oneshot::Sender<T>> {
        self.0.iter_mut().find_map(VecDeque::pop_front)
    }
}

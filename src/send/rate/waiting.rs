//! Those who wait for a slot, in the order in which they get it.

use std::collections::VecDeque;

use tokio::sync::oneshot;

/// Those who wait for a slot. There may be more permits than slots in a second.
pub(super) struct Waiting<T> {
    /// Records that are due at a certain time.
    due: VecDeque<oneshot::Sender<T>>,
    /// Records that come only after these. Permits are given in turn, so their time does come.
    others: VecDeque<oneshot::Sender<T>>,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self { due: VecDeque::new(), others: VecDeque::new() }
    }
}

impl<T> Waiting<T> {
    pub(super) fn push(&mut self, due: bool, waiter: oneshot::Sender<T>) {
        if due { &mut self.due } else { &mut self.others }.push_back(waiter);
    }

    /// The number of those that still wait.
    pub(super) fn count(&mut self) -> usize {
        self.due.retain(|w| !w.is_closed());
        self.others.retain(|w| !w.is_closed());
        self.due.len() + self.others.len()
    }

    pub(super) fn next(&mut self) -> Option<oneshot::Sender<T>> {
        self.due.pop_front().or_else(|| self.others.pop_front())
    }
}

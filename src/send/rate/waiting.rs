//! Who waits for a slot, in the order in which they get theirs.

use std::collections::VecDeque;

use tokio::sync::oneshot;

/// Who waits for a slot. Those with a permit may be more than go out in a second.
pub(super) struct Waiting<T> {
    /// What is due by a time of its own.
    due: VecDeque<oneshot::Sender<T>>,
    /// What only comes when those have theirs; permits are given in turn, so that it does come.
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

    /// How many there are that have not given up.
    pub(super) fn count(&mut self) -> usize {
        self.due.retain(|w| !w.is_closed());
        self.others.retain(|w| !w.is_closed());
        self.due.len() + self.others.len()
    }

    pub(super) fn next(&mut self) -> Option<oneshot::Sender<T>> {
        self.due.pop_front().or_else(|| self.others.pop_front())
    }
}

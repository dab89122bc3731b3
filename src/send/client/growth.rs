//! Limits how fast an account's connections increase: at most as many are being made at once as are open.
//!
//! A burst over many accounts would otherwise make a connection for each of its requests, and most connections would
//! carry one or two requests. The first connection often becomes free again before the others are needed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::sync::Notify;

/// If no more connections than this are open in the process, each may hold memory between two requests.
const FEW: usize = 512;

/// The open connections of all accounts.
static OPEN_IN_PROCESS: AtomicUsize = AtomicUsize::new(0);

/// Whether this process has so few open connections that each may hold memory between two requests.
pub(super) fn few_are_open() -> bool {
    #[cfg(test)]
    if tests::MANY.get() {
        return false;
    }
    OPEN_IN_PROCESS.load(Relaxed) <= FEW
}

/// Counts the connections to one base URL. Only the lane's thread uses it. It is atomic because it is built on another
/// thread.
#[derive(Default)]
pub(super) struct Growth {
    open: AtomicUsize,
    starting: AtomicUsize,
    /// A connection has become free, or another one may be made.
    pub(super) changed: Notify,
}

impl Growth {
    /// How many are open or being made.
    pub(super) fn total(&self) -> usize {
        self.open.load(Relaxed) + self.starting.load(Relaxed)
    }

    /// Permission to make a connection. `None`: as many are being made as are open. The first one needs no open one.
    pub(super) fn start(self: &Arc<Self>) -> Option<Starting> {
        (self.starting.load(Relaxed) < self.open.load(Relaxed).max(1)).then(|| self.start_anyway())
    }

    /// Counts a connection that is made in any case.
    pub(super) fn start_anyway(self: &Arc<Self>) -> Starting {
        self.starting.fetch_add(1, Relaxed);
        Starting(self.clone())
    }
}

/// A connection that is being made.
pub(super) struct Starting(Arc<Growth>);

impl Starting {
    pub(super) fn done(self) -> Open {
        self.0.open.fetch_add(1, Relaxed);
        OPEN_IN_PROCESS.fetch_add(1, Relaxed);
        // With the place that becomes free here, two more may be made.
        self.0.changed.notify_one();
        Open(self.0.clone())
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        self.0.starting.fetch_sub(1, Relaxed);
        self.0.changed.notify_one();
    }
}

/// An open connection, in use or kept.
pub(super) struct Open(Arc<Growth>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
        OPEN_IN_PROCESS.fetch_sub(1, Relaxed);
        // Whoever waits for it to become free makes another one.
        self.0.changed.notify_one();
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// Makes the tests of this thread see many open connections.
        pub(in crate::send::client) static MANY: Cell<bool> = const { Cell::new(false) };
    }

    #[test]
    fn as_many_are_made_at_once_as_are_open_and_one_where_none_is() {
        let growth = Arc::<Growth>::default();
        let mut open = Vec::new();
        for at_once in [1, 1, 2, 4, 8] {
            let starting: Vec<_> = std::iter::from_fn(|| growth.start()).collect();
            assert_eq!(starting.len(), at_once, "with {} open", open.len());
            open.extend(starting.into_iter().map(Starting::done));
        }
        drop(open);
        let first = growth.start();
        assert!(first.is_some() && growth.start().is_none(), "none is open any more");
        drop(first);
        assert!(growth.start().is_some(), "one that fails makes room for the next");
    }
}

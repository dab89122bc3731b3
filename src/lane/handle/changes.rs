//! Tells who waits in a lane that something about it has changed.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// The changes of one lane: a switch, a push-back, its breaker, its settings, or a partition that leaves.
#[derive(Default)]
pub struct Changes {
    count: AtomicU64,
    notify: Notify,
}

impl Changes {
    /// Makes every task that waits in this lane check again.
    pub fn touch(&self) {
        self.count.fetch_add(1, SeqCst);
        self.notify.notify_waiters();
    }

    /// How often `touch` was called.
    pub fn count(&self) -> u64 {
        self.count.load(SeqCst)
    }

    /// A future that completes at the next touch after its creation.
    pub fn changed(&self) -> Notified<'_> {
        self.notify.notified()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn who_waits_is_told_of_what_comes_after_the_wait_began() {
        let changes = Changes::default();
        changes.touch();
        let changed = changes.changed();
        changes.touch();
        assert_eq!(changed.now_or_never(), Some(()), "it began before the second one");
        assert_eq!((changes.changed().now_or_never(), changes.count()), (None, 2));
    }
}

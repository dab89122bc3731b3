//! The breaker of a lane as all threads see it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::now_ms;
use crate::lane::handle::breaker::shown::ShownBreaker;
use crate::lane::handle::breaker::{BreakerInput, Change};
use crate::lane::handle::changes::Changes;
use crate::metrics::{BreakerState, LaneState};

/// A breaker behind its lock, with what is asked for each record beside it. Who waits in the lane is told of each
/// change.
pub struct SharedBreaker {
    inner: Mutex<ShownBreaker>,
    /// It is open, or one record at a time is tried.
    shut: AtomicBool,
    /// The most requests that may be under way while the ramp lasts.
    ramp_permits: AtomicUsize,
    changes: Arc<Changes>,
}

impl SharedBreaker {
    pub(in crate::lane::handle) fn new(changes: Arc<Changes>) -> Self {
        Self {
            inner: Mutex::default(),
            shut: AtomicBool::new(false),
            ramp_permits: AtomicUsize::new(usize::MAX),
            changes,
        }
    }

    /// Takes the answer to one request, as [`ShownBreaker::report`] does.
    pub(in crate::lane::handle) fn report(
        &self,
        input: (BreakerInput, bool),
        most: usize,
        what: impl FnOnce() -> String,
    ) -> Change {
        let change = {
            let mut inner = self.lock();
            let change = inner.report(input, most, (Instant::now(), now_ms()), what);
            self.shut.store(inner.breaker().is_shut(), SeqCst);
            self.ramp_permits.store(inner.breaker().permits(), SeqCst);
            change
        };
        if change != Change::None {
            self.changes.touch();
        }
        change
    }

    /// The most requests that may be under way. `usize::MAX`: it sets no bound.
    pub fn ramp_permits(&self) -> usize {
        self.ramp_permits.load(SeqCst)
    }

    /// Whether the lane takes no work, apart from the one record that is tried.
    pub(in crate::lane::handle) fn is_shut(&self) -> bool {
        self.shut.load(SeqCst)
    }

    /// Whether a record may be sent: it is not shut, or a probe is due.
    pub(in crate::lane::handle) fn may_send(&self, now: Instant) -> bool {
        !self.is_shut() || self.lock().breaker().may_send(now)
    }

    /// How long the next probe has been due. `None`: it is not due, or the breaker is not shut.
    pub(in crate::lane::handle) fn due_for(&self, now: Instant) -> Option<Duration> {
        self.lock().breaker().due_for(now)
    }

    pub fn state(&self) -> BreakerState {
        self.lock().breaker().state(Instant::now())
    }

    /// As [`ShownBreaker::explain`] says it.
    pub(in crate::lane::handle) fn explain(&self, has_probe: bool) -> (LaneState, i64, String) {
        self.lock().explain(has_probe, Instant::now())
    }

    /// Makes the next probe due since so long ago.
    #[cfg(test)]
    pub(crate) fn make_probe_due(&self, ago: Duration) {
        self.lock().make_probe_due(ago);
    }

    fn lock(&self) -> MutexGuard<'_, ShownBreaker> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::handle::breaker::{JUDGED, OPEN_FOR, STEP};

    #[test]
    fn what_is_read_without_the_lock_follows_the_breaker_and_each_change_is_told() {
        let breaker = SharedBreaker::new(Arc::default());
        let report = |input, is_probe| breaker.report((input, is_probe), 4, || "HTTP 500".into());
        let seen = || (breaker.is_shut(), breaker.ramp_permits(), breaker.changes.count());
        (0..JUDGED - 1).for_each(|_| _ = report(BreakerInput::Failed, false));
        assert_eq!(seen(), (false, usize::MAX, 0));
        assert_eq!((report(BreakerInput::Failed, false), seen()), (Change::Opened, (true, usize::MAX, 1)));
        assert!(!breaker.may_send(Instant::now()) && breaker.due_for(Instant::now()).is_none());
        breaker.make_probe_due(OPEN_FOR);
        assert!(breaker.may_send(Instant::now()) && breaker.due_for(Instant::now()) >= Some(OPEN_FOR));
        assert_eq!((report(BreakerInput::Good, true), seen()), (Change::Ramping, (false, 1, 2)));
        (0..STEP).for_each(|_| _ = report(BreakerInput::Good, false));
        assert_eq!((breaker.state(), seen()), (BreakerState::Ramping, (false, 2, 3)));
        (0..STEP).for_each(|_| _ = report(BreakerInput::Good, false));
        assert_eq!((breaker.state(), seen()), (BreakerState::Closed, (false, usize::MAX, 4)));
    }
}

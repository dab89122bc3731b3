//! When an attempt that waits for a connection gets one more, instead of the next that becomes free.
//!
//! A connection that is made costs far more than one that becomes free, and a burst over many accounts is over before most
//! of them would be used twice. So beyond the few that an account makes at once, attempts first wait. They wait no longer
//! if the thread had time to spare meanwhile: then the platform is what is slow, and connecting holds up nobody.

use std::cell::Cell;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

/// How long attempts of an account wait without a break before one of them looks whether the thread has time to spare.
pub(super) const LOOK_AFTER: Duration = Duration::from_millis(100);
/// The longest wait of one attempt on a thread that has no time to spare.
pub(super) const LONGEST: Duration = Duration::from_secs(1);
/// On such a thread, attempts of an account wait for this long without a break before one of them makes a connection.
const LONGEST_IN_TURN: Duration = Duration::from_secs(2);

/// The attempts that wait for a connection of one host. Those that come later wait behind them.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Cell<usize>,
    /// Since when attempts wait without a break, or since the last of them made a connection, and how long the thread had
    /// been busy by then.
    since: Cell<Option<(Instant, Duration)>>,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.get() == 0
    }

    /// Adds one. Most of its `limit` stays for connecting.
    pub(super) fn enter(&self, limit: Duration) -> Waiting<'_> {
        let (is_first, now) = (self.is_empty(), Instant::now());
        if is_first {
            self.since.set(Some((now, busy())));
        }
        self.waiting.set(self.waiting.get() + 1);
        let until = now + LONGEST.min(limit / 4);
        Waiting { queue: self, is_first, look_at: until.min(now + LOOK_AFTER), until }
    }

    /// Whether attempts have waited for so long, one after the other, that one more connection is worth its cost.
    fn is_worth_one(&self, now: Instant) -> bool {
        let Some((since, busy_then)) = self.since.get() else { return false };
        let waited = now.saturating_duration_since(since);
        let is_spare = || busy().saturating_sub(busy_then) * 2 <= waited;
        waited >= LOOK_AFTER && (waited >= LONGEST_IN_TURN || is_spare())
    }
}

/// One attempt that waits.
pub(super) struct Waiting<'a> {
    queue: &'a Queue,
    /// Nobody waited when it came.
    pub(super) is_first: bool,
    look_at: Instant,
    until: Instant,
}

impl Waiting<'_> {
    /// When it looks next whether there has been enough waiting.
    pub(super) fn looks_at(&self) -> Instant {
        self.look_at
    }

    /// Whether there has been enough waiting for it to make a connection. It looks again after a while.
    pub(super) fn is_over(&mut self) -> bool {
        let now = Instant::now();
        if now >= self.look_at {
            self.look_at = now + LOOK_AFTER;
        }
        now >= self.until || self.queue.is_worth_one(now)
    }

    /// It makes a connection. The others wait for as long again.
    pub(super) fn connects(self) {
        self.queue.since.set(Some((Instant::now(), busy())));
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.queue.waiting.set(self.queue.waiting.get() - 1);
        if self.queue.is_empty() {
            self.queue.since.set(None);
        }
    }
}

/// How long this thread has been busy since its runtime began, up to its last pause.
fn busy() -> Duration {
    Handle::current().metrics().worker_total_busy_duration(0)
}

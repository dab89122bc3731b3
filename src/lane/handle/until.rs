//! A time until which something lasts, that every thread may put off.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use tokio::time::Instant;

/// Until when something lasts. It runs on the monotonic clock, so a wall clock that is set back or forward does not
/// change it.
pub(super) struct Until {
    born: Instant,
    /// In ms since `born`; 0: it does not last.
    ms: AtomicU64,
}

impl Default for Until {
    fn default() -> Self {
        Self { born: Instant::now(), ms: AtomicU64::new(0) }
    }
}

impl Until {
    /// Lets it last for this long from now on, unless it lasts longer already. Returns whether it does so longer than
    /// before.
    pub(super) fn extend(&self, wait: Duration) -> bool {
        let ms = u64::try_from((self.born.elapsed() + wait).as_millis()).unwrap_or(u64::MAX);
        self.ms.fetch_max(ms, SeqCst) < ms
    }

    pub(super) fn end(&self) {
        self.ms.store(0, SeqCst);
    }

    /// How long it still lasts.
    pub(super) fn left(&self) -> Duration {
        let until = Duration::from_millis(self.ms.load(SeqCst));
        if until.is_zero() { until } else { until.saturating_sub(self.born.elapsed()) }
    }

    pub(super) fn lasts(&self) -> bool {
        !self.left().is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_shorter_time_does_not_end_a_longer_one() {
        let until = Until::default();
        assert!(!until.lasts() && until.extend(5 * SECOND) && !until.extend(SECOND));
        assert!(until.left() > 4 * SECOND && until.left() <= 5 * SECOND);
        assert!(until.extend(6 * SECOND) && until.left() > 5 * SECOND);
        assert!(until.extend(Duration::MAX / 2), "as long as can be");
        until.end();
        assert!(!until.lasts() && until.left().is_zero());
    }

    #[test]
    fn what_has_passed_no_longer_lasts_and_lasts_again_from_now_on() {
        let born = Instant::now().checked_sub(10 * SECOND).unwrap();
        let until = Until { born, ms: AtomicU64::new(9_000) };
        assert!(!until.lasts());
        assert!(until.extend(2 * SECOND) && until.left() > SECOND && until.left() <= 2 * SECOND);
    }
}

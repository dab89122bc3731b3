//! The wall clock, read in one place: it can be set back or forward at any moment.
//!
//! It tells when something happened, for people, platforms and other processes. How long something lasts is measured on
//! the monotonic clock, and what replicas share on that of Redis.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// So far apart from the shared clock somebody is told.
const WARN: Duration = Duration::from_secs(60);
/// So far apart no event's time is judged.
const HOLD: Duration = Duration::from_secs(300);

/// The present, epoch ms.
pub fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX));
    #[cfg(test)]
    let now = now + SET_BY.get();
    now
}

/// The clock that all replicas share, that of Redis, as it was seen last and carried on by the monotonic clock: our own is
/// compared with it at any moment, not only when Redis is asked.
#[derive(Debug)]
pub struct Shared {
    born: Instant,
    /// Its epoch ms less the ms since `born`; [`i64::MIN`]: not seen yet.
    offset_ms: AtomicI64,
}

impl Default for Shared {
    fn default() -> Self {
        Self { born: Instant::now(), offset_ms: AtomicI64::new(i64::MIN) }
    }
}

impl Shared {
    /// It said so many seconds and microseconds, having been `asked` then.
    pub fn saw(&self, (seconds, micros): (i64, i64), asked: Instant) {
        // Half way between question and answer.
        let at = asked + asked.elapsed() / 2;
        let since = i64::try_from(at.saturating_duration_since(self.born).as_millis()).unwrap_or(0);
        let said = seconds.saturating_mul(1000).saturating_add(micros / 1000);
        self.offset_ms.store(said.saturating_sub(since), Relaxed);
    }

    /// So many ms our own clock is behind it; negative: ahead. `None`: it was not seen yet.
    fn behind_ms(&self) -> Option<i64> {
        let offset = self.offset_ms.load(Relaxed);
        let since = i64::try_from(self.born.elapsed().as_millis()).unwrap_or(0);
        (offset != i64::MIN).then(|| offset.saturating_add(since).saturating_sub(now_ms()))
    }

    /// Why no event's time can be judged now; a safe text.
    pub fn trouble(&self) -> Option<String> {
        self.apart(HOLD)
            .map(|apart| format!("{apart}: set it (NTP); until then no event's time can be judged, so nothing is sent"))
    }

    /// What is to be said of the two clocks; a safe text that stays the same while they are as far apart.
    pub fn warning(&self) -> Option<String> {
        self.apart(WARN).map(|apart| {
            format!(
                "{apart}: set it (NTP); at 5 min the worker holds, since it could not tell which events are too old"
            )
        })
    }

    /// The present, epoch ms: by our own clock, or by the shared one where ours cannot be believed.
    pub fn now_ms(&self) -> i64 {
        let behind = self.behind_ms().filter(|behind| behind.unsigned_abs() > HOLD.as_millis() as u64);
        now_ms().saturating_add(behind.unwrap_or(0))
    }

    fn apart(&self, limit: Duration) -> Option<String> {
        let behind = self.behind_ms()?;
        let way = if behind > 0 { "behind" } else { "ahead of" };
        // Half a minute is what a look or a slow reply may move it by.
        let minutes = (behind.unsigned_abs() + 30_000) / 60_000;
        let is_apart = behind.unsigned_abs() > limit.as_millis() as u64;
        is_apart.then(|| format!("this machine's clock is {minutes} min {way} that of Redis"))
    }
}

#[cfg(test)]
thread_local! {
    static SET_BY: std::cell::Cell<i64> = const { std::cell::Cell::new(0) };
}

/// Sets this thread's wall clock so many ms ahead of the true one, or back where negative.
#[cfg(test)]
pub(crate) fn set_by(ms: i64) {
    SET_BY.set(ms);
}

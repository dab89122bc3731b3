//! The wall clock, read in one place: it can be set back or forward at any moment.
//!
//! It tells when something happened, for people, platforms and other processes. How long something lasts is measured on
//! the monotonic clock, and what replicas share on that of Redis.

mod apart;
mod dates;

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use self::apart::{HOLD, WARN, minutes};
use self::dates::{Dates, Moment};

/// An answer that took longer does not tell well enough what time it was.
const LONGEST_ANSWER: Duration = Duration::from_secs(20);

/// The present, epoch ms.
pub fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX));
    #[cfg(test)]
    let now = now + SET_BY.get() + PASSED.get();
    now
}

/// Ms of the monotonic clock since this process looked at it first; what is older is negative. Ages are measured on it.
pub fn steady_ms() -> i64 {
    static BORN: LazyLock<Instant> = LazyLock::new(Instant::now);
    let now = i64::try_from(BORN.elapsed().as_millis()).unwrap_or(i64::MAX);
    #[cfg(test)]
    let now = now + PASSED.get();
    now
}

fn moment() -> Moment {
    let steady_ms = steady_ms();
    Moment { steady_ms, own_ms: now_ms() - steady_ms }
}

/// The clock that all replicas share, that of Redis, as it was seen last and carried on by the monotonic clock: our own is
/// compared with it at any moment, not only when Redis is asked. Beside it what platforms say of theirs.
#[derive(Debug)]
pub struct Shared {
    born: Instant,
    /// Its epoch ms less the ms since `born`; [`i64::MIN`]: not seen yet.
    offset_ms: AtomicI64,
    dates: Dates,
}

impl Default for Shared {
    fn default() -> Self {
        Self { born: Instant::now(), offset_ms: AtomicI64::new(i64::MIN), dates: Dates::default() }
    }
}

impl Shared {
    /// It said so many seconds and microseconds, having been `asked` then.
    pub fn saw(&self, (seconds, micros): (i64, i64), asked: Instant) {
        let took = asked.elapsed();
        // As after this process was stopped: half of it would pass for a wrong clock.
        if took > LONGEST_ANSWER {
            return;
        }
        // Half way between question and answer.
        let at = asked + took / 2;
        let since = i64::try_from(at.saturating_duration_since(self.born).as_millis()).unwrap_or(0);
        let said = seconds.saturating_mul(1000).saturating_add(micros / 1000);
        self.offset_ms.store(said.saturating_sub(since), Relaxed);
    }

    /// The platform of `account` at `host` has dated an answer so, epoch ms of a whole second, having been `asked` then.
    pub fn saw_date(&self, account: &Arc<str>, host: &str, date_ms: i64, asked: Instant) {
        let took = asked.elapsed();
        if took > LONGEST_ANSWER {
            return;
        }
        // Half way between question and answer, and half way to the next second.
        let since = i64::try_from((took / 2).as_millis()).unwrap_or(0);
        let behind = date_ms.saturating_add(500 + since).saturating_sub(now_ms());
        self.dates.saw(account, host, behind, moment());
    }

    /// So many ms our own clock is behind that of Redis; negative: ahead. `None`: it was not seen yet.
    fn behind_ms(&self) -> Option<i64> {
        let offset = self.offset_ms.load(Relaxed);
        let since = i64::try_from(self.born.elapsed().as_millis()).unwrap_or(0);
        (offset != i64::MIN).then(|| offset.saturating_add(since).saturating_sub(now_ms()))
    }

    /// So far our own clock is off that no event's time can be judged, ms, and by whose.
    fn off_ms(&self) -> Option<(i64, &'static str)> {
        let is_off = |behind: &i64| behind.unsigned_abs() > HOLD.as_millis() as u64;
        let redis = self.behind_ms().filter(is_off).map(|behind| (behind, "that of Redis"));
        let platforms = || Some((self.dates.agreed_ms(moment), "those of the platforms")).filter(|(b, _)| is_off(b));
        redis.or_else(platforms)
    }

    /// Why no event's time can be judged now; a safe text.
    pub fn trouble(&self) -> Option<String> {
        self.off_ms().map(|(behind, whose)| {
            let apart = minutes(behind);
            format!(
                "this machine's clock is {apart} {whose}: set it (NTP); until then no event's time can be judged, so \
                 nothing is sent"
            )
        })
    }

    /// What is to be said of our own clock and that of Redis; a safe text that stays the same while they are as far apart.
    pub fn warning(&self) -> Option<String> {
        let behind = self.behind_ms().filter(|behind| behind.unsigned_abs() > WARN.as_millis() as u64)?;
        Some(format!(
            "this machine's clock is {} that of Redis: set it (NTP); at 5 min the worker holds, since it could not tell \
             which events are too old",
            minutes(behind)
        ))
    }

    /// What is to be said of all clocks; safe texts.
    pub fn warnings(&self) -> Vec<String> {
        self.warning().into_iter().chain(self.dates.warnings(moment())).collect()
    }

    /// The present, epoch ms, by the platforms' clocks, where they said that ours is wrong and have only fallen silent since:
    /// either may be the right one. `None`: nobody doubts ours.
    pub fn doubted_now_ms(&self) -> Option<i64> {
        let behind = self.dates.doubted_ms(moment);
        (behind != 0).then(|| now_ms().saturating_add(behind))
    }

    /// The present, epoch ms: by our own clock, or by those that say it is wrong where it cannot be believed.
    pub fn now_ms(&self) -> i64 {
        now_ms().saturating_add(self.off_ms().map_or(0, |(behind, _)| behind))
    }
}

#[cfg(test)]
thread_local! {
    static SET_BY: std::cell::Cell<i64> = const { std::cell::Cell::new(0) };
    static PASSED: std::cell::Cell<i64> = const { std::cell::Cell::new(0) };
}

/// Lets so much time pass on this thread, on the wall clock and the monotonic one.
#[cfg(test)]
pub(crate) fn pass(time: Duration) {
    PASSED.set(PASSED.get() + time.as_millis() as i64);
}

/// Sets this thread's wall clock so many ms ahead of the true one, or back where negative.
#[cfg(test)]
pub(crate) fn set_by(ms: i64) {
    SET_BY.set(ms);
}

#[cfg(test)]
mod tests;

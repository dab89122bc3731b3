//! The wall clock, read in one place. It can be set back or forward at any moment.
//!
//! It tells when something happened, to people, platforms and other processes. Durations are measured on the monotonic
//! clock, and times that replicas share are taken from the clock of Redis.

mod apart;
mod dates;

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use self::apart::{HOLD, WARN, minutes};
use self::dates::{Dates, Moment};

/// An answer that took longer does not tell the time precisely enough.
const LONGEST_ANSWER: Duration = Duration::from_secs(20);

/// The present, in epoch ms.
pub fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX));
    #[cfg(test)]
    let now = now + SET_BY.get() + PASSED.get();
    now
}

/// The monotonic clock in ms, counted from the first call in this process; earlier moments are negative. Ages are
/// measured on it.
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

/// The clock that all replicas share: the clock of Redis as it was last read, carried on by the monotonic clock. So
/// this machine's clock can be compared with it at any moment, not only when Redis is asked. It also keeps what
/// platforms say about their clocks.
#[derive(Debug)]
pub struct Shared {
    born: Instant,
    /// The epoch ms of Redis minus the ms since `born`. [`i64::MIN`]: not read yet.
    offset_ms: AtomicI64,
    dates: Dates,
}

impl Default for Shared {
    fn default() -> Self {
        Self { born: Instant::now(), offset_ms: AtomicI64::new(i64::MIN), dates: Dates::default() }
    }
}

impl Shared {
    /// Takes the seconds and microseconds that Redis answered to a question `asked` at that time.
    pub fn saw(&self, (seconds, micros): (i64, i64), asked: Instant) {
        let took = asked.elapsed();
        // This happens after the process was stopped for a while: half of that time would look like a wrong clock.
        if took > LONGEST_ANSWER {
            return;
        }
        // Redis read its clock about half way between question and answer.
        let at = asked + took / 2;
        let since = i64::try_from(at.saturating_duration_since(self.born).as_millis()).unwrap_or(0);
        let said = seconds.saturating_mul(1000).saturating_add(micros / 1000);
        self.offset_ms.store(said.saturating_sub(since), Relaxed);
    }

    /// Takes the date of an answer from the platform of `account` at `host`: epoch ms of a whole second. The request
    /// was `asked` at that time.
    pub fn saw_date(&self, account: &Arc<str>, host: &str, date_ms: i64, asked: Instant) {
        let took = asked.elapsed();
        if took > LONGEST_ANSWER {
            return;
        }
        // The platform read its clock about half way between question and answer, and half a second after the whole
        // second on average.
        let since = i64::try_from((took / 2).as_millis()).unwrap_or(0);
        let behind = date_ms.saturating_add(500 + since).saturating_sub(now_ms());
        self.dates.saw(account, host, behind, moment());
    }

    /// How many ms this machine's clock is behind that of Redis (negative: ahead). `None`: that of Redis was not read
    /// yet.
    fn behind_ms(&self) -> Option<i64> {
        let offset = self.offset_ms.load(Relaxed);
        let since = i64::try_from(self.born.elapsed().as_millis()).unwrap_or(0);
        (offset != i64::MIN).then(|| offset.saturating_add(since).saturating_sub(now_ms()))
    }

    /// How many ms this machine's clock is off, if that is too far to judge any event's time, and according to which
    /// clocks.
    fn off_ms(&self) -> Option<(i64, &'static str)> {
        let is_off = |behind: &i64| behind.unsigned_abs() > HOLD.as_millis() as u64;
        let redis = self.behind_ms().filter(is_off).map(|behind| (behind, "that of Redis"));
        let platforms = || Some((self.dates.agreed_ms(moment), "those of the platforms")).filter(|(b, _)| is_off(b));
        redis.or_else(platforms)
    }

    /// Why no event's time can be judged now. The text contains no secret.
    pub fn trouble(&self) -> Option<String> {
        self.off_ms().map(|(behind, whose)| {
            let apart = minutes(behind);
            format!(
                "this machine's clock is {apart} {whose}: set it (NTP); until then no event's time can be judged, so \
                 nothing is sent"
            )
        })
    }

    /// A warning about the difference between this machine's clock and that of Redis. The text contains no secret and
    /// stays the same while the difference does.
    pub fn warning(&self) -> Option<String> {
        let behind = self.behind_ms().filter(|behind| behind.unsigned_abs() > WARN.as_millis() as u64)?;
        Some(format!(
            "this machine's clock is {} that of Redis: set it (NTP); at 5 min the worker holds, since it could not tell \
             which events are too old",
            minutes(behind)
        ))
    }

    /// All warnings about clocks. They contain no secrets.
    pub fn warnings(&self) -> Vec<String> {
        self.warning().into_iter().chain(self.dates.warnings(moment())).collect()
    }

    /// How many ms this machine's clock is ahead of another one (negative: behind), where it differs most: of those
    /// that were read and still count, the clock of Redis and the clocks of platforms. 0 if none was read.
    pub fn largest_offset_ms(&self) -> i64 {
        let all = self.behind_ms().into_iter().chain(self.dates.largest_ms(moment()));
        all.max_by_key(|behind| behind.unsigned_abs()).map_or(0, |behind| behind.saturating_neg())
    }

    /// The present in epoch ms by the platforms' clocks, if the platforms said that our clock is wrong and have only
    /// been silent since: either clock may be right. `None`: nobody doubts our clock.
    pub fn doubted_now_ms(&self) -> Option<i64> {
        let behind = self.dates.doubted_ms(moment);
        (behind != 0).then(|| now_ms().saturating_add(behind))
    }

    /// The present in epoch ms, by this machine's clock, or by the other clocks while they say that this machine's
    /// clock is too far off.
    pub fn now_ms(&self) -> i64 {
        now_ms().saturating_add(self.off_ms().map_or(0, |(behind, _)| behind))
    }
}

#[cfg(test)]
thread_local! {
    static SET_BY: std::cell::Cell<i64> = const { std::cell::Cell::new(0) };
    static PASSED: std::cell::Cell<i64> = const { std::cell::Cell::new(0) };
}

/// Lets this much time pass on this thread, on the wall clock and the monotonic clock.
#[cfg(test)]
pub(crate) fn pass(time: Duration) {
    PASSED.set(PASSED.get() + time.as_millis() as i64);
}

/// Sets this thread's wall clock this many ms ahead of the true time, or back if negative.
#[cfg(test)]
pub(crate) fn set_by(ms: i64) {
    SET_BY.set(ms);
}

#[cfg(test)]
mod tests;

//! The wall clock, read in one place: it can be set back or forward at any moment.
//!
//! It tells when something happened, for people, platforms and other processes. How long something lasts is measured on
//! the monotonic clock, and what replicas share on that of Redis.

use std::time::{SystemTime, UNIX_EPOCH};

/// The present, epoch ms.
pub fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX));
    #[cfg(test)]
    let now = now + SET_BY.get();
    now
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

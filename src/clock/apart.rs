//! How far two clocks may be apart, and how that is said.

use std::time::Duration;

/// So far apart from another clock somebody is told.
pub(super) const WARN: Duration = Duration::from_secs(60);
/// So far apart no event's time is judged.
pub(super) const HOLD: Duration = Duration::from_secs(300);

/// How far our own clock is off, in words that another clock's name follows. In whole minutes: half a one is what a look or a
/// slow reply may move it by.
pub(super) fn minutes(behind_ms: i64) -> String {
    let way = if behind_ms > 0 { "behind" } else { "ahead of" };
    format!("{} min {way}", (behind_ms.unsigned_abs() + 30_000) / 60_000)
}

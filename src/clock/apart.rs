//! How far two clocks may be apart, and how the difference is described.

use std::time::Duration;

/// At this difference from another clock, the log warns.
pub(super) const WARN: Duration = Duration::from_secs(60);
/// At this difference, no event's time is judged, and the worker holds.
pub(super) const HOLD: Duration = Duration::from_secs(300);

/// Describes how far this machine's clock is off; the name of the other clock follows. The text has whole minutes,
/// because a check or a slow reply may change the value by up to half a minute.
pub(super) fn minutes(behind_ms: i64) -> String {
    let way = if behind_ms > 0 { "behind" } else { "ahead of" };
    format!("{} min {way}", (behind_ms.unsigned_abs() + 30_000) / 60_000)
}

//! The end of a day in a time zone, for platforms that count in natural days.

use chrono::{DateTime, LocalResult, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

/// The first instant, epoch ms, that belongs to a later day of `tz` than the anchor does. Where the clock skips
/// midnight, the day ends at the jump. Where the clock repeats midnight, the day ends at the first midnight after the
/// anchor.
pub fn day_end_ms(anchor_ms: i64, tz: Tz) -> i64 {
    let end = || {
        let anchor = DateTime::<Utc>::from_timestamp_millis(anchor_ms)?;
        let midnight = anchor.with_timezone(&tz).date_naive().succ_opt()?.and_time(NaiveTime::MIN);
        // A zone skips a whole day when it moves to the other side of the date line.
        (0..=48 * 60).find_map(|minutes| {
            let local = midnight.checked_add_signed(TimeDelta::minutes(minutes))?;
            match tz.from_local_datetime(&local) {
                LocalResult::Single(at) => Some(at.timestamp_millis()),
                LocalResult::Ambiguous(first, _) if first > anchor => Some(first.timestamp_millis()),
                LocalResult::Ambiguous(_, second) => Some(second.timestamp_millis()),
                LocalResult::None => None,
            }
        })
    };
    // The time is outside the calendar: any answer after the anchor will do.
    end().unwrap_or_else(|| anchor_ms.saturating_add(86_400_000))
}

#[cfg(test)]
mod tests;

//! When a platform's own limits begin anew: that of a day, and that of a minute.

use std::time::Duration;

use chrono_tz::Tz;

use crate::platforms::natural_day::day_end_ms;

const MINUTE_MS: i64 = 60_000;
/// Added to the end of a minute or a day, because the platform's clock may be behind.
const MARGIN_MS: i64 = 1_000;
/// How long after midnight a limit may still be that of the day before.
const EARLY_MS: i64 = 5 * MINUTE_MS;

/// How long to wait after the limit of the minute is used up. `now_ms` is the time of the answer.
pub fn until_next_minute(now_ms: i64) -> Duration {
    span(MINUTE_MS - now_ms.rem_euclid(MINUTE_MS) + MARGIN_MS)
}

/// How long to wait after the limit of the day is used up: until midnight in the platform's zone. Shortly after
/// midnight it is a minute only: the clocks may differ, and the limit may still be that of the day before, so that
/// waiting until the next midnight could lose a day.
pub fn until_next_day(now_ms: i64, tz: Tz) -> Duration {
    let is_early = day_end_ms(now_ms.saturating_sub(EARLY_MS), tz) <= now_ms;
    let wait = if is_early { MINUTE_MS } else { day_end_ms(now_ms, tz).saturating_sub(now_ms) };
    span(wait + MARGIN_MS)
}

fn span(ms: i64) -> Duration {
    Duration::from_millis(ms.try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> i64 {
        chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
    }

    #[test]
    fn a_minutes_limit_ends_with_the_minute() {
        for (now, wait_ms) in [(0, 61_000), (1, 60_999), (59_999, 1_001), (60_000, 61_000), (-1, 1_001)] {
            assert_eq!(until_next_minute(now).as_millis(), wait_ms, "{now}");
        }
    }

    #[test]
    fn a_days_limit_ends_at_midnight_of_the_platforms_zone_and_soon_after_midnight_it_is_tried_again_soon() {
        let tz = chrono_tz::Asia::Shanghai;
        for (now, seconds) in [
            ("2026-11-29T12:00:00+08:00", 12 * 3600 + 1),
            ("2026-11-29T15:59:59Z", 2),
            ("2026-11-29T16:00:00Z", 61),
            ("2026-11-30T00:04:59+08:00", 61),
            ("2026-11-30T00:05:00+08:00", 24 * 3600 - 299),
        ] {
            assert_eq!(until_next_day(ms(now), tz).as_secs(), seconds, "{now}");
        }
    }
}

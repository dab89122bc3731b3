//! Reads and writes durations and sizes as people write them: in the configuration, in filters of commands, in names of
//! retry topics.
//!
//! Only this module parses them. A caller reports an error in its own words.

use std::time::Duration;

const SECOND_MS: u64 = 1000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

/// Units of durations in milliseconds, the largest first.
const DURATIONS: [(&str, u64); 5] = [("d", DAY_MS), ("h", HOUR_MS), ("m", MINUTE_MS), ("s", SECOND_MS), ("ms", 1)];

/// Units of sizes in bytes.
const SIZES: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// Reads a whole number with a unit directly behind it.
fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// Reads `250ms`, `5s`, `30m`, `1h`, `7d`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    parse(text, &DURATIONS).map(Duration::from_millis)
}

/// Reads `512B`, `64KiB`, `64MiB`, `1GiB` as bytes.
pub fn parse_size(text: &str) -> Option<usize> {
    parse(text, &SIZES)?.try_into().ok()
}

/// Writes a duration in the largest unit that keeps it whole. [`parse_duration`] reads the result.
pub fn show_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    let whole = DURATIONS.into_iter().find(|(_, unit)| ms != 0 && ms.is_multiple_of(u128::from(*unit)));
    let (name, unit) = whole.unwrap_or(("ms", 1));
    format!("{}{name}", ms / u128::from(unit))
}

/// Writes milliseconds in the two largest units, e.g. `2h03m`. A negative span is `0s`.
pub fn show_span(ms: i64) -> String {
    let ms = u64::try_from(ms).unwrap_or(0);
    let (days, hours, minutes, seconds) =
        (ms / DAY_MS, ms % DAY_MS / HOUR_MS, ms % HOUR_MS / MINUTE_MS, ms % MINUTE_MS / SECOND_MS);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, m) => format!("{m}m{seconds:02}s"),
        (0, h, m) => format!("{h}h{m:02}m"),
        (d, h, _) => format!("{d}d{h:02}h"),
    }
}

/// Writes a number with its digits in groups of three.
pub fn show_count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_whole_number_and_a_unit_and_is_shown_as_it_is_read() {
        for (text, ms) in
            [("250ms", 250), ("5s", 5_000), ("30m", 1_800_000), ("1h", 3_600_000), ("7d", 604_800_000), ("0ms", 0)]
        {
            let duration = Duration::from_millis(ms);
            assert_eq!((parse_duration(text), show_duration(duration).as_str()), (Some(duration), text));
        }
        assert_eq!(show_duration(Duration::from_secs(90)), "90s", "the largest unit that keeps it whole");
        let day = parse_duration("24h").map(show_duration);
        assert_eq!(day.as_deref(), Some("1d"));
    }

    #[test]
    fn what_is_no_duration_or_size_is_none() {
        for text in ["", "5", "s", "5 s", " 5s", "-5s", "+5s", "1.5s", "5S", "5sec", "5s5s", "18446744073709551615d"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
        for text in ["", "64", "MiB", "64 MiB", "64MB", "64mib", "1.5GiB", "-1B", "18446744073709551615GiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn a_size_is_a_whole_number_and_a_binary_unit() {
        for (text, bytes) in [("512B", 512), ("64KiB", 65_536), ("64MiB", 67_108_864), ("1GiB", 1_073_741_824)] {
            assert_eq!(parse_size(text), Some(bytes));
        }
    }

    #[test]
    fn spans_show_two_units() {
        let spans = [(999, "0s"), (61_000, "1m01s"), (7_380_000, "2h03m"), (90_000_000, "1d01h"), (-5, "0s")];
        for (ms, want) in spans {
            assert_eq!(show_span(ms), want);
        }
    }

    #[test]
    fn digits_are_grouped() {
        let table = [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")];
        for (number, text) in table {
            assert_eq!(show_count(number), text);
        }
    }
}

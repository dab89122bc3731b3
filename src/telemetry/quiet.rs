//! Keeps an outage from flooding the log: the first lines of a minute, then a count of what was left out.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

/// A bound on the log lines of one lane. State changes do not ask it; they are always logged.
#[derive(Debug)]
pub struct Quiet {
    per_minute: u32,
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    allowed: u32,
    suppressed: u64,
}

impl Default for Quiet {
    /// One line a minute: under 100 in an hour of outage.
    fn default() -> Self {
        Self::new(1)
    }
}

impl Quiet {
    /// At most `per_minute` lines in a minute.
    pub fn new(per_minute: u32) -> Self {
        Self { per_minute, window: Mutex::default() }
    }

    /// Whether a line may be written now; if so, how many were left out since the last one that was.
    pub fn allow(&self, now: Instant) -> Option<u64> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.began.is_none_or(|began| now.saturating_duration_since(began) >= MINUTE) {
            window.began = Some(now);
            window.allowed = 0;
        }
        if window.allowed < self.per_minute {
            window.allowed += 1;
            Some(std::mem::take(&mut window.suppressed))
        } else {
            window.suppressed += 1;
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_of_failures_is_less_than_a_hundred_lines_and_none_goes_uncounted() {
        let (quiet, start) = (Quiet::default(), Instant::now());
        let (mut lines, mut suppressed) = (0, 0);
        for tick in 0..36_000 {
            if let Some(left_out) = quiet.allow(start + Duration::from_millis(tick * 100)) {
                lines += 1;
                suppressed += left_out;
            }
        }
        assert_eq!(lines, 60);
        assert_eq!(quiet.allow(start + Duration::from_secs(3_600)), Some(36_000 - lines - suppressed));
    }

    #[test]
    fn the_first_lines_of_a_minute_pass_and_the_next_minute_tells_what_was_left_out() {
        let (quiet, start) = (Quiet::new(2), Instant::now());
        let answers: Vec<_> = (0..5).map(|s| quiet.allow(start + Duration::from_secs(s))).collect();
        assert_eq!(answers, [Some(0), Some(0), None, None, None]);
        assert_eq!(quiet.allow(start + MINUTE), Some(3));
    }
}

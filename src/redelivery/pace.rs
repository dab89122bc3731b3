//! Measures whether a lane finishes the records of the tiers that it was given.

use std::time::{Duration, Instant};

/// A lane that finishes its records within this time may keep its retries waiting. Retries of a slower lane must not
/// keep records of other lanes waiting.
const QUICK: Duration = Duration::from_secs(1);

/// The pace of one lane.
pub(crate) struct Pace {
    /// The number of records given so far.
    given: u64,
    /// The number of records that have to be finished next.
    mark: u64,
    since: Instant,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self { given: 0, mark: 0, since: now }
    }

    /// Counts one more record that is given to a lane that holds `in_lane` records.
    pub(crate) fn gives(&mut self, in_lane: usize, now: Instant) {
        self.given += 1;
        if self.is_through(in_lane + 1) {
            (self.mark, self.since) = (self.given, now);
        }
    }

    /// Whether a lane that holds `in_lane` records finishes them quickly, as far as is known.
    pub(crate) fn is_quick(&self, in_lane: usize, now: Instant) -> bool {
        self.is_through(in_lane) || now.saturating_duration_since(self.since) < QUICK
    }

    fn is_through(&self, in_lane: usize) -> bool {
        self.given.saturating_sub(in_lane as u64) >= self.mark
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_quick_while_what_it_was_given_a_second_ago_is_through() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut pace = Pace::new(start);
        // An hour without records says nothing about the pace.
        let hour = 3_600_000;
        (0..3).for_each(|in_lane| pace.gives(in_lane, at(hour)));
        assert!(pace.is_quick(3, at(hour + 999)) && !pace.is_quick(3, at(hour + 1000)));
        assert!(pace.is_quick(2, at(hour + 1000)), "the first is through");
        pace.gives(2, at(hour + 1000));
        assert!(!pace.is_quick(3, at(hour + 2000)), "and then nothing more");
        // The lane holds three records all the time, and finishes each within half a second.
        for turn in 0..10 {
            let now = at(hour + 2000 + turn * 500);
            (0..3).for_each(|in_lane| pace.gives(in_lane, now));
            assert!(pace.is_quick(3, now + Duration::from_millis(499)), "{turn}");
        }
    }
}

//! Whether a lane gets through what it was given of the tiers.

use std::time::{Duration, Instant};

/// A lane that gets through what it holds within so long may keep its retries waiting for it; nobody else's wait longer for
/// that.
const QUICK: Duration = Duration::from_secs(1);

/// One lane's.
pub(crate) struct Pace {
    /// Records given so far.
    given: u64,
    /// That many have to be through, and since when.
    mark: u64,
    since: Instant,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self { given: 0, mark: 0, since: now }
    }

    /// One more is given to a lane that holds so many.
    pub(crate) fn gives(&mut self, held: usize, now: Instant) {
        self.given += 1;
        if self.is_through(held + 1) {
            (self.mark, self.since) = (self.given, now);
        }
    }

    /// Whether a lane that holds so many gets through them quickly, as far as is known.
    pub(crate) fn is_quick(&self, held: usize, now: Instant) -> bool {
        self.is_through(held) || now.saturating_duration_since(self.since) < QUICK
    }

    fn is_through(&self, held: usize) -> bool {
        self.given.saturating_sub(held as u64) >= self.mark
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
        // An hour in which nothing came says nothing.
        let hour = 3_600_000;
        (0..3).for_each(|held| pace.gives(held, at(hour)));
        assert!(pace.is_quick(3, at(hour + 999)) && !pace.is_quick(3, at(hour + 1000)));
        assert!(pace.is_quick(2, at(hour + 1000)), "the first is through");
        pace.gives(2, at(hour + 1000));
        assert!(!pace.is_quick(3, at(hour + 2000)), "and then nothing more");
        // It holds three all the time, and each is through in half a second.
        for turn in 0..10 {
            let now = at(hour + 2000 + turn * 500);
            (0..3).for_each(|held| pace.gives(held, now));
            assert!(pace.is_quick(3, now + Duration::from_millis(499)), "{turn}");
        }
    }
}

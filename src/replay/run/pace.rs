//! How many records a run may publish now (pure).

use std::time::Duration;

/// The longest time whose records are published in one go, after a pause.
const BURST: Duration = Duration::from_millis(400);

/// The credit of a run: it grows with time, and each published record takes one.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    credit: f64,
    /// The present time when the credit was last reckoned, since any fixed moment.
    at: Duration,
}

impl Pace {
    pub fn new(now: Duration) -> Self {
        Self { credit: 1.0, at: now }
    }

    /// How many may be published now, at this rate per second.
    pub fn credit(&mut self, rate: u32, now: Duration) -> usize {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.at = now;
        let most = 1.0 + f64::from(rate) * BURST.as_secs_f64();
        self.credit = (self.credit + passed * f64::from(rate)).min(most);
        self.credit as usize
    }

    /// So many were published.
    pub fn spend(&mut self, published: usize) {
        self.credit -= published as f64;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_slow_rate_publishes_one_at_a_time_and_a_changed_one_counts_at_once() {
        let ms = Duration::from_millis;
        let mut pace = Pace::new(ms(0));
        assert_eq!(pace.credit(1, ms(0)), 1);
        pace.spend(1);
        assert_eq!(pace.credit(1, ms(500)), 0);
        assert_eq!(pace.credit(1, ms(1_000)), 1);
        pace.spend(1);
        assert_eq!(pace.credit(100, ms(1_100)), 10);
    }

    proptest! {
        #[test]
        fn never_more_than_the_rate_and_never_much_less(
            rate in 1..2_000_u32,
            ticks in proptest::collection::vec(1..250_u64, 20..200),
        ) {
            let (mut now, mut published) = (Duration::ZERO, 0_u64);
            let mut pace = Pace::new(now);
            for ms in ticks {
                now += Duration::from_millis(ms);
                let most = pace.credit(rate, now);
                pace.spend(most);
                published += most as u64;
            }
            let fair = now.as_secs_f64() * f64::from(rate);
            prop_assert!(published as f64 <= fair + 1.0, "{published} of {fair}");
            prop_assert!(published as f64 >= fair - f64::from(rate) * 0.25 - 2.0, "{published} of {fair}");
        }
    }
}

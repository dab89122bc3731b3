//! How many records a run may publish now (pure).

use std::time::Duration;

/// The longest time whose records are published in one go, after a pause.
const BURST: Duration = Duration::from_millis(400);
/// So many are published in one go at most.
pub const MOST_PUBLISHED: usize = 1_000;

/// One record, in the unit of the credit. Whole numbers: a run is never ahead of its rate by a rounding.
const RECORD: u128 = 1_000_000_000;

/// The credit of a run: it grows with time, and each published record takes one.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// In billionths of a record, which is what one nanosecond adds at a rate of one per second.
    credit: u128,
    /// The present time when the credit was last reckoned, since any fixed moment.
    at: Duration,
}

impl Pace {
    pub fn new(now: Duration) -> Self {
        Self { credit: RECORD, at: now }
    }

    /// How many may be published now, at this rate per second.
    pub fn credit(&mut self, rate: u32, now: Duration) -> usize {
        let passed = now.saturating_sub(self.at).as_nanos();
        self.at = now;
        let most = RECORD + BURST.as_nanos() * u128::from(rate);
        self.credit = (self.credit + passed * u128::from(rate)).min(most);
        (self.credit / RECORD) as usize
    }

    /// So many were published.
    pub fn spend(&mut self, published: usize) {
        self.credit = self.credit.saturating_sub(published as u128 * RECORD);
    }
}

/// The part of a tick over which this many records are spread: all of it, but nothing of it where they are the most
/// that are published in one go, which are published as fast as Kafka takes them.
pub fn spread(credit: usize, tick: Duration) -> Duration {
    if credit < MOST_PUBLISHED { tick } else { Duration::ZERO }
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

    #[test]
    fn a_fraction_that_binary_numbers_round_publishes_no_record_more() {
        // 700 per second over 240, 144, … ms: 2,010 ms are 1,407 records, and one to begin with.
        let ticks = [240, 144, 179, 12, 35, 38, 131, 111, 97, 13, 99, 43, 103, 17, 160, 201, 27, 8, 141, 87, 124];
        let (mut now, mut published) = (Duration::ZERO, 0);
        let mut pace = Pace::new(now);
        for ms in ticks {
            now += Duration::from_millis(ms);
            let most = pace.credit(700, now);
            pace.spend(most);
            published += most;
        }
        assert_eq!((now.as_millis(), published), (2_010, 1_408));
    }

    #[test]
    fn what_is_due_is_spread_over_the_tick_up_to_the_most_that_go_at_once() {
        let tick = Duration::from_millis(200);
        assert_eq!(
            [1, MOST_PUBLISHED - 1, MOST_PUBLISHED].map(|credit| spread(credit, tick)),
            [tick, tick, Duration::ZERO]
        );
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
            // In thousandths of a record, so that the comparison is exact.
            let (published, fair) = (published * 1_000, now.as_millis() as u64 * u64::from(rate));
            prop_assert!(published <= fair + 1_000, "{published} of {fair}");
            prop_assert!(published + 250 * u64::from(rate) + 2_000 >= fair, "{published} of {fair}");
        }
    }
}

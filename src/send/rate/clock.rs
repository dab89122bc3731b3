//! The difference between Redis's clock and ours, and how long its replies take (pure).
//!
//! Slots are times on Redis's clock, which all replicas share. Each reply narrows down the same time on our clock,
//! because the script ran after the request was sent and before the reply came.

use std::time::Duration;

/// If a reply is later than the fastest one by no more than this, it needs no lead: its slots are still in time.
const IN_TIME_US: i64 = 20_000;
/// Longer than any reply that is waited for.
const LONGEST: Duration = Duration::from_secs(2);

/// What the replies so far have shown. Our times are µs since a fixed moment of this process, their times are epoch µs.
#[derive(Default)]
pub(super) struct Clock {
    /// Our time less theirs, in µs. It is the latest of the possible values, so that no slot comes early. `None`: there
    /// was no reply yet.
    offset_us: Option<i64>,
    /// How long after their script the last two replies came, µs.
    late_us: [i64; 2],
    /// How long the last two round trips took.
    took: [Duration; 2],
}

impl Clock {
    /// Takes the times of a request: when it was sent, when its reply came, and what its script saw in between,
    /// `theirs_us`.
    pub(super) fn heard(&mut self, sent_us: i64, received_us: i64, theirs_us: i64) {
        let (earliest, latest) = (sent_us - theirs_us, received_us - theirs_us);
        let offset = match self.offset_us {
            Some(known) if known >= earliest => known.min(latest),
            // The first reply, or a clock was set or drifts.
            _ => latest,
        };
        self.offset_us = Some(offset);
        self.late_us = [latest - offset, self.late_us[0]];
        self.took = [Duration::from_micros(received_us.abs_diff(sent_us)), self.took[0]];
    }

    /// The time on our clock when Redis's clock shows `theirs_us`.
    pub(super) fn ours_us(&self, theirs_us: i64) -> i64 {
        theirs_us + self.offset_us.unwrap_or_default()
    }

    /// How far ahead a slot must lie so that its reply arrives before it. The time of a single reply does not count.
    pub(super) fn lead(&self) -> Duration {
        let late = self.late_us[0].min(self.late_us[1]);
        if late <= IN_TIME_US { Duration::ZERO } else { Duration::from_micros(late.unsigned_abs()).min(LONGEST) }
    }

    /// How long a round trip takes, by the last two.
    pub(super) fn round_trip(&self) -> Duration {
        self.took[0].min(self.took[1]).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EPOCH_US: i64 = 1_790_000_000_000_000;

    /// A clock that sees one request after the other, whose two directions take this many µs.
    struct Asked {
        clock: Clock,
        now_us: i64,
        theirs_less_ours_us: i64,
    }

    impl Asked {
        fn new() -> Self {
            Self { clock: Clock::default(), now_us: 5_000_000, theirs_less_ours_us: EPOCH_US }
        }

        fn ask(&mut self, there: i64, back: i64) {
            let sent = self.now_us;
            self.now_us += there + back;
            self.clock.heard(sent, self.now_us, sent + there + self.theirs_less_ours_us);
        }

        /// How many µs the clock's idea of Redis's time is behind the real one.
        fn error_us(&self) -> i64 {
            self.clock.ours_us(self.now_us + self.theirs_less_ours_us) - self.now_us
        }
    }

    #[test]
    fn a_step_in_latency_moves_no_slot_and_soon_moves_reservations_ahead() {
        let mut asked = Asked::new();
        asked.ask(300, 400);
        asked.ask(300, 300);
        assert_eq!((asked.error_us(), asked.clock.lead()), (300, Duration::ZERO));
        asked.ask(300, 80_300);
        assert_eq!((asked.error_us(), asked.clock.lead()), (300, Duration::ZERO), "one that is late is no rule");
        asked.ask(300, 80_300);
        assert_eq!((asked.error_us(), asked.clock.lead()), (300, Duration::from_millis(80)));
        assert_eq!(asked.clock.round_trip(), Duration::from_micros(80_600));
        asked.ask(300, 300);
        assert_eq!((asked.error_us(), asked.clock.lead()), (300, Duration::ZERO));
    }

    #[test]
    fn what_is_long_on_the_way_there_or_from_the_beginning_needs_no_lead() {
        let mut asked = Asked::new();
        asked.ask(300, 300);
        (0..9).for_each(|_| asked.ask(80_000, 300));
        assert_eq!((asked.error_us(), asked.clock.lead()), (300, Duration::ZERO));
        let mut asked = Asked::new();
        (0..9).for_each(|_| asked.ask(40_000, 40_000));
        assert_eq!((asked.error_us(), asked.clock.lead()), (40_000, Duration::ZERO), "all alike: nothing is late");
    }

    #[test]
    fn a_clock_that_is_moved_is_followed_with_the_next_reply() {
        for by in [-3_600_000_000, -1_000_000, 1_000_000, 3_600_000_000] {
            let mut asked = Asked::new();
            asked.ask(300, 300);
            asked.theirs_less_ours_us += by;
            asked.ask(200, 400);
            assert!((0..=600).contains(&asked.error_us()), "{by}: {}", asked.error_us());
        }
    }

    proptest! {
        /// A slot never comes early, and is late by no more than the shortest time of a reply that was seen.
        #[test]
        fn no_slot_comes_early(ways in proptest::collection::vec((0..200_000_i64, 0..200_000_i64), 1..50)) {
            let mut asked = Asked::new();
            let mut shortest = i64::MAX;
            for (there, back) in ways {
                asked.ask(there, back);
                shortest = shortest.min(back);
                prop_assert_eq!(asked.error_us(), shortest);
            }
        }
    }
}

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

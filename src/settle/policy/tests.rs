use std::sync::Arc;

use chrono_tz::Asia::Shanghai;
use proptest::prelude::*;

use super::*;
use crate::account::RetryTier;
use crate::envelope::Origin;

const NOON: i64 = 1_736_913_600_000; // 2025-01-15 12:00 in Shanghai
const DAY_END: i64 = 1_736_956_800_000;

fn retry(tiers: &[u64]) -> Retry {
    Retry {
        tiers: tiers.iter().map(|s| RetryTier { name: format!("{s}s"), delay: Duration::from_secs(*s) }).collect(),
        max_attempts: 20,
        max_age: Duration::from_secs(24 * 3600),
        max_parked: Duration::from_secs(72 * 3600),
        halt_probe: Duration::from_secs(300),
        inline: Inline { max_retries: 2, initial: Duration::from_millis(200), max: Duration::from_secs(1) },
    }
}

fn envelope(attempts: u32, pass: u32) -> Envelope {
    Envelope {
        origin: Origin { topic: Arc::from("conversions"), partition: 0, offset: 0, timestamp_ms: NOON },
        first_seen_ms: NOON,
        first_attempt_ms: (attempts > 0).then_some(NOON),
        attempts,
        resends: 0,
        pass,
        due_ms: None,
        retry_since_ms: None,
        page: 0,
        alternate: 0,
        parked_at_ms: None,
        last: None,
        replay: None,
    }
}

fn day(guard_s: u64) -> Option<NaturalDay> {
    Some(NaturalDay { tz: Shanghai, anchor_event_time: false, guard: Duration::from_secs(guard_s) })
}

fn policy(retry: &Retry, day: Option<NaturalDay>) -> Policy<'_> {
    Policy { retry, day, event_time_ms: NOON }
}

fn tier(next: Next) -> usize {
    match next {
        Next::Tier { index, .. } => index,
        other => panic!("{other:?}"),
    }
}

#[test]
fn after_pass_n_comes_tier_n_and_the_last_one_repeats() {
    let retry = retry(&[5, 30, 300, 1800]);
    let policy = policy(&retry, None);
    for (pass, want) in [(1, 0), (2, 1), (3, 2), (4, 3), (5, 3), (17, 3)] {
        assert_eq!(tier(policy.after_attempt(&envelope(pass, pass), None, NOON, 0.0)), want);
    }
}

#[test]
fn a_longer_retry_after_wants_the_smallest_tier_not_below_it() {
    let retry = retry(&[1, 2, 8]);
    let policy = policy(&retry, None);
    let after = |wait: u64| tier(policy.after_attempt(&envelope(1, 1), Some(Duration::from_secs(wait)), NOON, 0.0));
    assert_eq!([after(0), after(1), after(2), after(4), after(8), after(60)], [0, 0, 1, 2, 2, 2]);
}

#[test]
fn attempts_and_age_end_it() {
    let retry = retry(&[5]);
    let policy = policy(&retry, None);
    assert_eq!(policy.after_attempt(&envelope(20, 3), None, NOON, 0.0), Next::Exhausted);
    let old = |age: i64| Envelope { retry_since_ms: Some(NOON - age), ..envelope(3, 3) };
    assert_eq!(tier(policy.after_attempt(&old(86_399_999), None, NOON, 0.0)), 0);
    assert_eq!(policy.after_attempt(&old(86_400_000), None, NOON, 0.0), Next::Expired);
    assert_eq!(policy.lease_tier(&old(86_400_000), Duration::from_secs(1), None, NOON, 0.0), Next::Expired);
}

#[test]
fn the_lease_tier_is_the_smallest_one_not_below_the_lease_else_the_last() {
    let long = retry(&[5, 30, 300]);
    let tier_for =
        |lease: u64| tier(policy(&long, None).lease_tier(&envelope(0, 0), Duration::from_secs(lease), None, NOON, 0.0));
    assert_eq!([tier_for(4), tier_for(30), tier_for(31), tier_for(999)], [0, 1, 2, 2]);
}

#[test]
fn no_retry_starts_in_the_guard_and_a_tier_that_would_end_there_gives_way_to_the_longest_that_does_not() {
    let retry = retry(&[5, 30, 300, 1800]);
    let policy = policy(&retry, day(60));
    let at = |before_end_s: i64| policy.after_attempt(&envelope(9, 9), None, DAY_END - before_end_s * 1000, 0.0);
    assert_eq!(tier(at(1900)), 3);
    assert_eq!(tier(at(1800)), 2);
    assert_eq!(tier(at(361)), 2);
    assert_eq!(tier(at(360)), 1);
    assert_eq!(tier(at(66)), 0);
    assert_eq!(at(65), Next::Expired);
    assert_eq!(policy.last_retry_ms(&envelope(1, 1)), Some(DAY_END - 60_000));
}

#[test]
fn a_first_attempt_in_the_guard_waits_for_midnight_and_a_repeat_does_not() {
    let retry = retry(&[5, 30, 300]);
    let policy = policy(&retry, day(60));
    assert_eq!(policy.first_attempt_waits_until(&envelope(0, 0), DAY_END - 60_001), None);
    assert_eq!(policy.first_attempt_waits_until(&envelope(0, 0), DAY_END - 60_000), Some(DAY_END));
    assert_eq!(policy.first_attempt_waits_until(&envelope(1, 1), DAY_END - 1), None);
    assert_eq!(policy.first_attempt_waits_until(&envelope(0, 0), DAY_END), None);
    let next = policy.lease_tier(&envelope(0, 0), Duration::from_secs(30), Some(DAY_END), DAY_END - 59_000, 1.0);
    assert_eq!(next, Next::Tier { index: 1, due_ms: DAY_END });
}

#[test]
fn the_anchor_may_be_the_events_own_time() {
    let retry = retry(&[5]);
    let anchored = NaturalDay { anchor_event_time: true, ..day(0).unwrap() };
    let yesterday = Policy { event_time_ms: NOON - 86_400_000, ..policy(&retry, Some(anchored)) };
    // The first attempt of yesterday's event is made; a repeat is not.
    assert_eq!(yesterday.first_attempt_waits_until(&envelope(0, 0), NOON), None);
    assert_eq!(yesterday.last_retry_ms(&envelope(0, 0)), None);
    assert_eq!(yesterday.after_attempt(&envelope(1, 1), None, NOON, 0.0), Next::Expired);
}

#[test]
fn parking_has_its_own_clock() {
    let retry = retry(&[5]);
    let policy = policy(&retry, None);
    let parked = |age: i64| Envelope { parked_at_ms: Some(NOON - age), ..envelope(0, 0) };
    assert!(!policy.parked_too_long(&envelope(0, 0), NOON));
    assert!(!policy.parked_too_long(&parked(72 * 3_600_000 - 1), NOON));
    assert!(policy.parked_too_long(&parked(72 * 3_600_000), NOON));
}

#[test]
fn inline_delays_belong_to_the_first_visit() {
    let inline = retry(&[5]).inline;
    assert_eq!(InlineDelays::new(inline, true).count(), 2);
    assert_eq!(InlineDelays::new(inline, false).count(), 0);
}

#[test]
fn ten_thousand_events_that_fail_at_once_do_not_come_back_in_a_wave() {
    let inline = Inline { max_retries: 1, initial: Duration::from_secs(10), max: Duration::from_secs(10) };
    let mut seconds = [0; 10];
    for _ in 0..10_000 {
        let delay = InlineDelays::new(inline, true).next().unwrap();
        seconds[(delay.as_secs() as usize).min(9)] += 1;
    }
    assert!(seconds.iter().all(|n| *n <= 2_000), "{seconds:?}");
}

proptest! {
    #[test]
    fn a_delay_is_never_longer_than_the_rule_of_the_lease_counts(initial in 1_u64..5_000, max in 1_u64..10_000, n in 1_u32..12) {
        let inline = Inline {
            max_retries: n,
            initial: Duration::from_millis(initial),
            max: Duration::from_millis(max.max(initial)),
        };
        for (i, delay) in InlineDelays::new(inline, true).enumerate() {
            let bound = (inline.initial * 2_u32.pow(i as u32)).min(inline.max);
            prop_assert!(delay <= bound + Duration::from_millis(1), "{i}: {delay:?} over {bound:?}");
        }
    }

    #[test]
    fn a_tier_is_due_after_its_delay_and_at_most_five_per_cent_later(
        pass in 1_u32..10, jitter in 0.0..1.0_f64, wait in 0_u64..4_000, now in NOON - 40_000_000..NOON + 40_000_000,
    ) {
        let retry = retry(&[5, 30, 300, 1800]);
        let policy = policy(&retry, day(60));
        let envelope = Envelope { first_attempt_ms: Some(now - 1), ..envelope(pass, pass) };
        match policy.after_attempt(&envelope, Some(Duration::from_secs(wait)), now, jitter) {
            Next::Tier { index, due_ms } => {
                let delay = retry.tiers[index].delay.as_millis() as i64;
                prop_assert!((delay..=delay + delay / 20 + 1).contains(&(due_ms - now)));
                prop_assert!(due_ms < policy.last_retry_ms(&envelope).unwrap());
            }
            Next::Expired => {
                let end = policy.last_retry_ms(&envelope).unwrap();
                prop_assert!(now + 5_250 >= end, "expired {} ms before the end", end - now);
            }
            Next::Exhausted => prop_assert!(false),
        }
    }
}

#[test]
fn the_longer_a_parking_topic_refuses_the_longer_is_the_tier_and_the_lease_is_the_least() {
    let retry = retry(&[5, 30, 300, 1800]);
    let policy = policy(&retry, None);
    let rows = [(10, 30, 1), (10, 300, 2), (30, 30, 1), (31, 30, 2), (300, 30, 2), (301, 30, 3)];
    for (refused, lease, want) in rows.into_iter().chain([(86_400, 30, 3), (10, 1, 1)]) {
        let (index, due_ms) = policy.put_off(Duration::from_secs(refused), Duration::from_secs(lease), NOON, 0.0);
        let delay_ms = retry.tiers[want].delay.as_millis() as i64;
        assert_eq!((index, due_ms), (want, NOON + delay_ms), "{refused} s, lease {lease} s");
    }
}

use proptest::prelude::*;

use super::*;
use crate::lane::handle::breaker::shown::ShownBreaker;
use crate::metrics::LaneState;

const MOST: usize = 8;
const SECOND: Duration = Duration::from_secs(1);

fn report(breaker: &mut Breaker, times: u32, input: BreakerInput) -> Vec<Change> {
    (0..times).map(|_| breaker.report(input, false, MOST, Instant::now())).collect()
}

fn opened() -> Breaker {
    let mut breaker = Breaker::default();
    report(&mut breaker, JUDGED, BreakerInput::Failed);
    assert!(breaker.is_shut());
    breaker
}

/// A breaker whose probe was answered, after so many good answers.
fn ramping(good: u32) -> Breaker {
    let mut breaker = opened();
    assert_eq!(breaker.report(BreakerInput::Good, true, MOST, Instant::now()), Change::Ramping);
    report(&mut breaker, good, BreakerInput::Good);
    breaker
}

#[test]
fn ten_failed_requests_of_the_last_twenty_open_it_and_fewer_than_twenty_are_not_judged() {
    let mut breaker = Breaker::default();
    assert!(report(&mut breaker, JUDGED - 1, BreakerInput::Failed).iter().all(|change| *change == Change::None));
    assert_eq!(
        report(&mut breaker, 1, BreakerInput::Good),
        [Change::Opened],
        "the twentieth is judged with the others"
    );

    for (failed, opens) in [(FAILED - 1, false), (FAILED, true)] {
        let mut breaker = Breaker::default();
        report(&mut breaker, 100, BreakerInput::Good);
        report(&mut breaker, failed, BreakerInput::Failed);
        assert_eq!(breaker.is_shut(), opens, "{failed} of 20");
    }

    // Old failures leave the twenty, so that nine in a row and then good ones never open it.
    let mut breaker = Breaker::default();
    for _ in 0..50 {
        report(&mut breaker, FAILED - 1, BreakerInput::Failed);
        report(&mut breaker, JUDGED - FAILED + 1, BreakerInput::Good);
    }
    assert_eq!(breaker.state(Instant::now()), BreakerState::Closed);
    // Answers that are neither count among the twenty.
    let mut breaker = Breaker::default();
    report(&mut breaker, 9, BreakerInput::Failed);
    report(&mut breaker, 11, BreakerInput::Other);
    assert!(!breaker.is_shut());
    assert_eq!(breaker.share(), (9, 20));
}

#[test]
fn records_that_fail_again_while_others_do_well_neither_open_it_nor_end_the_ramp() {
    let mut breaker = Breaker::default();
    report(&mut breaker, JUDGED, BreakerInput::Good);
    report(&mut breaker, 1_000, BreakerInput::FailedAgain);
    assert_eq!((breaker.state(Instant::now()), breaker.share()), (BreakerState::Closed, (0, 20)));

    let mut breaker = ramping(0);
    for _ in 0..STEP - 1 {
        report(&mut breaker, 30, BreakerInput::FailedAgain);
        report(&mut breaker, 1, BreakerInput::Good);
    }
    assert_eq!(breaker.state(Instant::now()), BreakerState::Ramping);
    assert_eq!(report(&mut breaker, 1, BreakerInput::Good), [Change::Widened]);
}

#[test]
fn records_that_fail_again_count_where_nothing_did_well_for_ten_seconds() {
    let now = Instant::now();
    let mut breaker = Breaker::default();
    (0..JUDGED).for_each(|_| _ = breaker.report(BreakerInput::Good, false, MOST, now));
    let mut fails = |at: Duration, times: u32| {
        (0..times).for_each(|_| _ = breaker.report(BreakerInput::FailedAgain, false, MOST, now + at));
        breaker.is_shut()
    };
    assert!(!fails(LATELY - Duration::from_millis(1), FAILED));
    assert!(!fails(LATELY, FAILED - 1));
    assert!(fails(LATELY, 1));

    // Nothing ever did well; and as a probe it counts.
    let mut breaker = Breaker::default();
    report(&mut breaker, JUDGED, BreakerInput::FailedAgain);
    assert!(breaker.is_shut());
    breaker.make_probe_due(OPEN_FOR);
    assert_eq!(breaker.report(BreakerInput::FailedAgain, true, MOST, Instant::now()), Change::ProbeFailed);
}

#[test]
fn nothing_is_sent_for_thirty_seconds_and_then_one_record_every_five() {
    let mut breaker = Breaker::default();
    let mut now = Instant::now();
    (0..JUDGED).for_each(|_| _ = breaker.report(BreakerInput::Failed, false, MOST, now));
    assert_eq!(breaker.state(now), BreakerState::Open);
    now += OPEN_FOR - SECOND;
    assert!(!breaker.may_send(now));
    assert_eq!(breaker.due_in(now), SECOND);
    now += SECOND;
    assert!(breaker.may_send(now) && breaker.is_shut());
    assert_eq!((breaker.state(now), breaker.due_for(now)), (BreakerState::Probing, Some(Duration::ZERO)));
    now += SECOND * 7;
    assert_eq!(breaker.due_for(now), Some(SECOND * 7), "it stays due until one is tried");
    for _ in 0..3 {
        assert_eq!(breaker.report(BreakerInput::Failed, true, MOST, now), Change::ProbeFailed);
        assert_eq!((breaker.state(now), breaker.may_send(now)), (BreakerState::Probing, false));
        now += PROBE_EVERY;
        assert!(breaker.may_send(now));
    }
    assert_eq!(breaker.report(BreakerInput::Other, true, MOST, now), Change::Ramping, "any other answer");
    assert_eq!((breaker.permits(), breaker.state(now)), (1, BreakerState::Ramping));
}

#[test]
fn the_ramp_doubles_its_permits_after_ten_good_answers_until_the_lane_has_all() {
    let mut breaker = ramping(0);
    for permits in [1, 2, 4] {
        assert_eq!(breaker.permits(), permits);
        report(&mut breaker, 3, BreakerInput::Other);
        let changes = report(&mut breaker, STEP, BreakerInput::Good);
        assert!(changes[..9].iter().all(|change| *change == Change::None), "{permits}: {changes:?}");
        let last = if permits < 4 { Change::Widened } else { Change::Closed };
        assert_eq!(changes[9], last, "{permits}");
    }
    assert_eq!((breaker.permits(), breaker.state(Instant::now())), (usize::MAX, BreakerState::Closed));
    // A lane with one permit is whole again after the first step.
    let mut breaker = ramping(9);
    assert_eq!(breaker.report(BreakerInput::Good, false, 1, Instant::now()), Change::Closed);
}

#[test]
fn a_failed_answer_in_the_first_step_of_the_ramp_opens_it_again_and_later_ten_of_twenty_do() {
    for good in 0..STEP {
        let mut breaker = ramping(good);
        let now = Instant::now();
        assert_eq!(breaker.report(BreakerInput::Failed, false, MOST, now), Change::Opened, "after {good}");
        assert_eq!(breaker.due_in(now), OPEN_FOR, "for the whole time once more");
    }
    let mut breaker = ramping(STEP);
    assert_eq!(breaker.permits(), 2);
    assert!(report(&mut breaker, FAILED - 1, BreakerInput::Failed).iter().all(|change| *change == Change::None));
    assert_eq!(breaker.permits(), 2, "a failed answer is no good one");
    assert_eq!(report(&mut breaker, 1, BreakerInput::Failed), [Change::Opened]);
}

#[test]
fn every_answer_in_every_state_has_its_row() {
    use BreakerInput::{Failed, Good, Other};
    use Change::{None, Opened, ProbeFailed, Ramping, Widened};
    // Each state, an answer, whether the record was the one that was tried, and what follows.
    let closed = Breaker::default;
    let nine = || {
        let mut breaker = Breaker::default();
        report(&mut breaker, JUDGED, Good);
        report(&mut breaker, FAILED - 1, Failed);
        breaker
    };
    type Row<'a> = (&'a str, &'a dyn Fn() -> Breaker, [Change; 6]);
    let states: [Row<'_>; 5] = [
        // Good, failed, other; then the same of a probe.
        ("closed", &closed, [None; 6]),
        ("one before it opens", &nine, [None, Opened, None, None, Opened, None]),
        ("shut", &opened, [None, None, None, Ramping, ProbeFailed, Ramping]),
        ("ramping", &|| ramping(9), [Widened, Opened, None, Widened, Opened, None]),
        ("ramping further", &|| ramping(10), [None; 6]),
    ];
    for (name, make, wanted) in states {
        let answers =
            [false, true].into_iter().flat_map(|is_probe| [Good, Failed, Other].map(|input| (input, is_probe)));
        for ((input, is_probe), wanted) in answers.zip(wanted) {
            let mut breaker = make();
            assert_eq!(breaker.report(input, is_probe, MOST, Instant::now()), wanted, "{name}: {input:?} {is_probe}");
        }
    }
}

#[test]
fn operators_are_told_since_when_why_and_what_comes_next() {
    let mut told = ShownBreaker::default();
    let now = Instant::now();
    let mut say = |input, is_probe, what: &str| {
        told.report((input, is_probe), MOST, (now, 77), || what.to_owned());
    };
    (0..8).for_each(|_| say(BreakerInput::Good, false, ""));
    (0..12).for_each(|n| say(BreakerInput::Failed, false, &format!("HTTP 50{}", n % 4)));
    say(BreakerInput::Failed, false, "a late one");
    let (why, last) = ("12 of the last 20 requests failed; ", "; last failure: HTTP 503");
    let shown = |told: &ShownBreaker, now, has_probe| {
        let (state, since_ms, text) = told.explain(has_probe, now);
        (state, since_ms, text.strip_prefix(why).and_then(|text| text.strip_suffix(last)).unwrap_or(&text).to_owned())
    };
    let broken = |text: &str| (LaneState::Broken, 77, text.to_owned());
    assert_eq!(shown(&told, now, false), broken("the first probe is due in 30 s"));
    let due = now + OPEN_FOR;
    assert_eq!(shown(&told, due, false), broken("the next event is tried alone"));
    assert_eq!(shown(&told, due, true), broken("one event is being tried"));
    told.report((BreakerInput::Failed, true), MOST, (due, 99), || "HTTP 503".to_owned());
    assert_eq!(shown(&told, due + SECOND, false), broken("the next probe is due in 4 s"));
    told.report((BreakerInput::Good, true), MOST, (due + PROBE_EVERY, 99), String::new);
    let (state, since_ms, text) = told.explain(false, due);
    assert_eq!((state, since_ms), (LaneState::Flowing, 99));
    assert!(text.starts_with("the platform answers again: 1 request(s) at a time"), "{text}");
    assert_eq!(ShownBreaker::default().explain(false, now), (LaneState::Flowing, 0, String::new()));
}

/// What happens to a lane whose requests the breaker bounds.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A record wants to be sent.
    Wants,
    /// The oldest request is answered.
    Answers(BreakerInput),
    /// So many seconds pass.
    Passes(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let input =
        prop_oneof![4 => Just(BreakerInput::Good), 3 => Just(BreakerInput::Failed), 1 => Just(BreakerInput::Other)];
    let event = prop_oneof![
        5 => Just(Event::Wants),
        5 => input.prop_map(Event::Answers),
        1 => (0_u64..20).prop_map(Event::Passes)
    ];
    prop::collection::vec(event, 0..600)
}

proptest! {
    #[test]
    fn never_are_more_requests_begun_than_the_ramp_has_permits_and_one_at_most_while_it_is_shut(events in events()) {
        let mut breaker = Breaker::default();
        let mut now = Instant::now();
        // Of each request under way: whether it is a probe.
        let mut under_way = std::collections::VecDeque::new();
        let mut opened_at: Option<Instant> = None;
        for event in events {
            match event {
                Event::Passes(seconds) => now += SECOND * seconds as u32,
                Event::Wants => {
                    let is_probe = breaker.is_shut();
                    // As the lane does: the one that is tried needs the probe, every other one a permit.
                    let may = if is_probe {
                        breaker.may_send(now) && !under_way.contains(&true)
                    } else {
                        under_way.len() < breaker.permits().min(MOST)
                    };
                    if may {
                        under_way.push_back(is_probe);
                        let bound = if is_probe { usize::MAX } else { breaker.permits().min(MOST) };
                        prop_assert!(under_way.len() <= bound);
                        let probes = under_way.iter().filter(|is_probe| **is_probe).count();
                        prop_assert!(probes <= 1);
                        prop_assert!(opened_at.is_none_or(|at| !is_probe || now >= at + OPEN_FOR));
                    }
                }
                Event::Answers(input) => {
                    let Some(is_probe) = under_way.pop_front() else { continue };
                    let before = breaker.permits();
                    match breaker.report(input, is_probe, MOST, now) {
                        Change::Opened => opened_at = Some(now),
                        Change::Ramping => {
                            prop_assert!(is_probe && input != BreakerInput::Failed);
                            prop_assert_eq!(breaker.permits(), 1);
                        }
                        Change::Widened => prop_assert_eq!(breaker.permits(), before * 2),
                        Change::ProbeFailed => prop_assert!(is_probe && input == BreakerInput::Failed),
                        Change::Closed | Change::None => {}
                    }
                    prop_assert!(breaker.share().1 <= JUDGED && breaker.share().0 <= breaker.share().1);
                }
            }
        }
    }
}

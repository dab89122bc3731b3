use std::sync::Arc;

use tokio::sync::mpsc::unbounded_channel;

use super::*;
use crate::account::{Account, Intake};
use crate::lane::handle::breaker::{BreakerInput, Change, FAILED, JUDGED, OPEN_FOR};
use crate::lane::handle::halt_probe::Step;
use crate::lane::handle::switches::{Switch, Switches};
use crate::metrics::BreakerState;

const LIVE: TopicKind = TopicKind::Input;
const PARKED: TopicKind = TopicKind::Parked;
const LOCK: Duration = Duration::from_secs(30);

fn lane() -> Arc<LaneHandle> {
    let bounds = Intake { max_in_flight: 100, max_in_flight_bytes: 4000, drain_timeout: Duration::ZERO };
    Arc::new(LaneHandle::new(0, Arc::new(Account::stub("acme")), unbounded_channel().0, &bounds))
}

fn fail(lane: &LaneHandle) {
    (0..JUDGED).for_each(|_| _ = lane.report(BreakerInput::Failed, false, || "HTTP 500".into()));
}

fn halted(lane: &LaneHandle) -> Switch {
    lane.switches.present().halted.unwrap()
}

#[test]
fn a_lane_whose_requests_fail_closes_and_one_record_at_a_time_opens_it_again() {
    let lane = lane();
    (0..FAILED).for_each(|_| _ = lane.report(BreakerInput::Failed, false, || "HTTP 500".into()));
    assert!(lane.is_open(), "ten requests are not judged");
    let touched = lane.changes.count();
    fail(&lane);
    assert!(!lane.is_open() && lane.changes.count() == touched + 1, "who waits in the lane is told");
    assert_eq!((lane.state(), lane.breaker.state()), (LaneState::Broken, BreakerState::Open));
    assert!(!lane.offers_probe(PARKED) && lane.take_probe(PARKED).is_none());

    lane.breaker.make_probe_due(Duration::ZERO);
    assert_eq!(lane.breaker.state(), BreakerState::Probing);
    assert!(!lane.offers_probe(LIVE) && !lane.offers_probe(TopicKind::Tier), "parked ones first");
    let mut probe = lane.take_probe(PARKED).unwrap();
    assert!(lane.is_open_for(&probe) && !lane.is_open());
    assert!(lane.take_probe(PARKED).is_none(), "one at a time");
    assert!(lane.explain().2.contains("one event is being tried"), "{:?}", lane.explain());
    assert_eq!(lane.report(BreakerInput::Failed, true, || "HTTP 502".into()), Change::ProbeFailed);
    probe.set_answered();
    assert!(!lane.is_open_for(&probe), "it is not tried a second time");
    drop(probe);
    assert!(lane.take_probe(PARKED).is_none());

    // Where no parked record comes, the next one that arrives is tried.
    lane.breaker.make_probe_due(PARKED_FIRST);
    let probe = lane.take_probe(LIVE).unwrap();
    drop(probe);
    assert!(lane.offers_probe(PARKED), "the one before was not sent");
    assert_eq!(lane.report(BreakerInput::Good, true, String::new), Change::Ramping);
    assert!(lane.is_open() && lane.breaker.ramp_permits() == 1 && lane.take_probe(PARKED).is_none());
    assert_eq!((lane.state(), lane.breaker.state()), (LaneState::Flowing, BreakerState::Ramping));
    assert!(lane.explain().2.starts_with("the platform answers again"));
}

#[test]
fn what_closes_a_lane_is_shown_in_the_order_of_its_weight() {
    let lane = lane();
    assert_eq!(lane.state(), LaneState::Flowing);
    lane.throttle.push_back(Duration::from_secs(60));
    assert_eq!(lane.state(), LaneState::Throttled);
    fail(&lane);
    assert_eq!((lane.state(), lane.explain().0), (LaneState::Broken, LaneState::Broken));
    let paused = Switches { paused: Some(Switch::pause("audit", "li", 5)), halted: None };
    lane.switches.obey(&paused);
    assert_eq!((lane.state(), lane.explain().2.as_str()), (LaneState::Paused, "audit"));
    lane.halt("refused");
    assert_eq!(lane.state(), LaneState::Halted);
    // Each of them alone keeps the lane closed, and a probe waits for the end of the push-back.
    lane.switches.halt_saved();
    lane.switches.obey(&Switches::default());
    assert_eq!(lane.state(), LaneState::Broken);
    lane.breaker.make_probe_due(OPEN_FOR);
    assert!(!lane.offers_probe(PARKED), "pushed back");
    lane.throttle.forget();
    assert!(lane.offers_probe(PARKED));
    lane.throttle.set_only_throttled(true);
    assert!(lane.take_probe(PARKED).is_some(), "it is tried once for both");
    lane.report(BreakerInput::Good, true, String::new);
    assert!(!lane.is_open() && lane.take_probe(PARKED).is_some(), "the answer says nothing of the other gate yet");
}

#[test]
fn a_halted_lane_lets_one_parked_record_through_where_that_was_granted() {
    let lane = lane();
    lane.halt("errno 3");
    assert!(lane.take_probe(PARKED).is_none());
    lane.halt_probe().grant(Instant::now() + LOCK, &halted(&lane));
    assert!(!lane.offers_probe(LIVE) && !lane.offers_probe(TopicKind::Tier));
    let mut probe = lane.take_probe(PARKED).unwrap();
    assert!(probe.is_through_halt() && lane.is_open_for(&probe) && !lane.is_open());
    assert!(lane.take_probe(PARKED).is_none(), "one at a time");
    lane.halt_probe().grant(Instant::now(), &halted(&lane));
    assert!(!lane.is_open_for(&probe), "another replica may try by now");
    lane.halt_probe().grant(Instant::now() + LOCK, &halted(&lane));
    assert!(lane.is_open_for(&probe), "asked again in time");

    probe.set_answered();
    lane.halt_probe().answered(false);
    assert!(!lane.is_open_for(&probe));
    drop(probe);
    lane.halt_probe().grant(Instant::now() + LOCK, &halted(&lane));
    assert_eq!(lane.halt_probe().step(), Step::Refused, "what was reported stays until it is dealt with");
    assert!(lane.take_probe(PARKED).is_none());

    lane.halt_probe().clear();
    lane.halt_probe().grant(Instant::now() + LOCK, &halted(&lane));
    let probe = lane.take_probe(PARKED).unwrap();
    lane.halt_probe().answered(true);
    assert_eq!(lane.halt_probe().step(), Step::Accepted { halt: halted(&lane) });
    assert!(!lane.is_open() && !lane.is_open_for(&probe), "it opens once Redis knows");
}

#[test]
fn no_record_goes_through_a_halt_while_an_operator_has_paused_the_lane_or_its_breaker_is_open() {
    let lane = lane();
    fail(&lane);
    lane.halt("errno 3");
    lane.halt_probe().grant(Instant::now() + LOCK, &halted(&lane));
    assert!(lane.take_probe(PARKED).is_none(), "the breaker is open");
    lane.breaker.make_probe_due(OPEN_FOR);
    let probe = lane.take_probe(PARKED).unwrap();
    assert!(lane.is_open_for(&probe));
    let both = Switches { paused: Some(Switch::pause("audit", "li", 5)), ..lane.switches.present() };
    lane.switches.obey(&both);
    assert!(!lane.is_open_for(&probe));
    drop(probe);
    assert!(lane.take_probe(PARKED).is_none());
}

#[test]
fn both_lanes_of_an_account_share_the_probe_of_its_halt_and_each_has_a_breaker() {
    let (conversions, calls) = (lane(), lane());
    conversions.set_calls(calls.clone());
    fail(&calls);
    assert!(conversions.is_open() && !calls.is_open());
    conversions.both().for_each(|lane| _ = lane.halt("errno 3"));
    calls.halt_probe().grant(Instant::now() + LOCK, &halted(&calls));
    assert!(matches!(conversions.halt_probe().step(), Step::Granted { .. }));
    conversions.halt_probe().credential_replaced();
    assert_eq!(calls.halt_probe().step(), Step::Replaced);
}

#[test]
fn one_record_at_a_time_is_tried_and_only_when_the_push_back_is_over() {
    let lane = lane();
    assert!(lane.take_probe(TopicKind::Tier).is_none(), "an open lane needs none");
    lane.throttle.push_back(Duration::from_secs(4));
    lane.throttle.set_only_throttled(true);
    assert!(!lane.is_open());
    assert!(lane.take_probe(TopicKind::Tier).is_none(), "pushed back");
    lane.throttle.forget();
    assert!(!lane.is_open(), "closed until an answer comes");
    assert_eq!(lane.state(), LaneState::Throttled);
    let probe = lane.take_probe(TopicKind::Tier);
    assert!(probe.is_some() && lane.take_probe(TopicKind::Tier).is_none());
    drop(probe);
    assert!(lane.take_probe(TopicKind::Tier).is_some(), "the one before was not sent");
    lane.halt("refused");
    assert!(lane.take_probe(TopicKind::Tier).is_none(), "closed for another reason too");
}

#[test]
fn a_limit_of_a_day_keeps_the_lane_closed_to_its_end_and_then_for_one_record() {
    let lane = lane();
    lane.throttle.wait_for_quota(Duration::from_secs(6 * 3600));
    lane.throttle.set_only_throttled(false);
    assert!(!lane.is_open() && lane.take_probe(TopicKind::Tier).is_none());
    let (state, _, text) = lane.explain();
    assert_eq!(state, LaneState::Throttled);
    assert!(text.contains("own limit") && text.contains("for another 21600 s"), "{text}");
    lane.throttle.forget();
    assert!(
        !lane.is_open() && lane.take_probe(TopicKind::Tier).is_some(),
        "one record shows whether the new day has begun"
    );
    lane.throttle.set_only_throttled(false);
    assert!(lane.is_open());
}

#[test]
fn who_waits_in_the_lane_is_told_as_it_closes_and_opens() {
    let lane = lane();
    for (only, touched) in [(true, 1), (true, 1), (false, 2), (false, 2)] {
        lane.throttle.set_only_throttled(only);
        assert_eq!((lane.changes.count(), lane.is_open()), (touched, !only));
    }
    assert_eq!(lane.state(), LaneState::Flowing);
}

#[test]
fn a_day_that_is_used_up_closes_the_lane_but_for_what_is_counted_and_asks_for_no_probe_at_its_end() {
    let lane = lane();
    lane.throttle.end_day(Duration::from_secs(7200));
    lane.throttle.end_day(Duration::from_secs(3600));
    assert_eq!((lane.is_open(), lane.is_open_within_the_day(), lane.changes.count()), (false, true, 1));
    let (state, _, why) = lane.explain();
    assert_eq!((state, lane.state()), (LaneState::Throttled, LaneState::Throttled));
    assert!(why.contains("own limit") && why.contains("another 7200 s"), "{why}");
    lane.throttle.set_only_throttled(true);
    assert!(!lane.offers_probe(TopicKind::Parked) && !lane.is_open_within_the_day(), "the platform throttles as well");
    lane.throttle.forget();
    assert!(lane.offers_probe(TopicKind::Parked));
    lane.throttle.set_only_throttled(false);
    assert!(lane.is_open() && lane.take_probe(TopicKind::Parked).is_none());
}

#[test]
fn other_settings_open_it_because_the_limit_may_be_another_one() {
    let lane = lane();
    lane.throttle.end_day(Duration::from_secs(7200));
    lane.set_account(Arc::new(Account::stub("acme")));
    assert!(lane.is_open());
}

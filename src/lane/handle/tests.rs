use std::time::Duration;

use super::*;
use crate::lane::handle::switches::{Switch, Switches};

fn lane(rps: f64, max_in_flight: usize) -> LaneHandle {
    let mut account = Account::stub("acme");
    account.limits.rps = rps;
    let bounds = Intake { max_in_flight, max_in_flight_bytes: 4000, drain_timeout: Duration::ZERO };
    LaneHandle::new(0, Arc::new(account), tokio::sync::mpsc::unbounded_channel().0, &bounds)
}

fn switch(reason: &str) -> Option<Switch> {
    Some(Switch::pause(reason, "li", 5))
}

#[test]
fn what_a_closed_lane_queues_is_on_its_way_to_parking() {
    let lane = lane(20.0, 10_000);
    (0..200).for_each(|_| lane.occupancy.live.add(0));
    (0..2_300).for_each(|_| lane.occupancy.set_aside(TopicKind::Input, 0));
    assert!(lane.can_park(TopicKind::Input), "a quarter of all");
    lane.halt("why");
    assert!(!lane.can_park(TopicKind::Input) && lane.is_aside_above(TopicKind::Input, 7, 8));
    (0..200).for_each(|_| lane.occupancy.live.sub(0));
    (0..1_700).for_each(|_| lane.occupancy.left_aside(TopicKind::Input, 0));
    assert!(!lane.is_aside_above(TopicKind::Input, 1, 4));
}

#[test]
fn a_push_back_of_over_five_seconds_closes_the_lane_and_a_shorter_one_does_not_end_it() {
    let lane = lane(20.0, 100);
    lane.throttle.push_back(Duration::from_millis(4_900));
    assert!(lane.is_open());
    assert_eq!(lane.state(), LaneState::Throttled);
    lane.throttle.push_back(Duration::from_secs(60));
    assert!(!lane.is_open());
    let touched = lane.changes.count();
    lane.throttle.push_back(Duration::from_secs(1));
    assert!(!lane.is_open());
    assert_eq!((touched, lane.changes.count()), (2, 2), "who waits is told of what changes, and of nothing else");
    assert!(lane.explain().2.starts_with("pushed back for another "), "{:?}", lane.explain());
}

#[test]
fn a_push_back_lasts_as_long_as_was_asked_whatever_the_wall_clock_is_set_to() {
    const HOUR_MS: i64 = 3_600_000;
    let lane = lane(20.0, 100);
    lane.throttle.push_back(Duration::from_secs(60));
    for set_by in [-HOUR_MS, HOUR_MS] {
        crate::clock::set_by(set_by);
        assert!(!lane.is_open(), "the clock is set by {set_by} ms");
        let left = lane.throttle.pushed_back();
        assert!(left > Duration::from_secs(5) && left <= Duration::from_secs(60), "{left:?}, set by {set_by} ms");
    }
    crate::clock::set_by(0);
}

#[test]
fn a_halt_is_not_opened_by_what_redis_said_before_it() {
    let lane = lane(20.0, 100);
    assert!(lane.halt("refused") && !lane.halt("again"));
    assert!(!lane.switches.obey(&Switches::default()) && !lane.is_open(), "an older read");
    assert!(lane.switches.obey(&Switches { halted: switch("another replica's"), paused: None }));
    lane.switches.halt_saved();
    assert!(lane.switches.obey(&Switches::default()) && lane.is_open(), "resumed");
    assert!(lane.halt("once more"));
    assert!(lane.explain().2.starts_with("once more; one parked event is tried"));
}

#[test]
fn each_switch_closes_and_a_halt_shows_before_a_pause() {
    let lane = lane(20.0, 100);
    let paused = Switches { paused: switch("audit"), halted: None };
    assert!(lane.switches.obey(&paused) && !lane.switches.obey(&paused), "told once");
    assert_eq!((lane.is_open(), lane.state()), (false, LaneState::Paused));
    assert!(lane.switches.obey(&Switches { halted: switch("refused"), ..paused.clone() }));
    let (state, since_ms, why) = lane.explain();
    assert_eq!((state, since_ms), (LaneState::Halted, 5));
    assert!(why.starts_with("refused; one parked event"), "{why}");
    assert!(lane.switches.obey(&paused) && !lane.is_open());
    assert!(lane.switches.obey(&Switches::default()) && lane.is_open());
    assert_eq!(lane.state(), LaneState::Flowing);
}

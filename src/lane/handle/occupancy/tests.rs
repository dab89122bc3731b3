use std::time::Duration;

use super::*;

fn occupancy(rps: f64, max_in_flight: usize) -> Occupancy {
    let mut account = Account::stub("acme");
    account.limits.rps = rps;
    let bounds = Intake { max_in_flight, max_in_flight_bytes: 4000, drain_timeout: Duration::ZERO };
    Occupancy::new(&account, &bounds)
}

/// Whether an open lane can be given more records to park.
fn can_park(occupancy: &Occupancy, topic_kind: TopicKind) -> bool {
    !occupancy.is_aside_above(topic_kind, 1, 1, false)
}

#[test]
fn a_queue_takes_ten_seconds_of_work_but_no_more_than_a_quarter_of_all_and_64_at_least() {
    for (rps, max_in_flight, cap) in [(20.0, 10_000, 200), (1000.0, 10_000, 2500), (1.0, 10_000, 64), (20.0, 100, 64)] {
        let occupancy = occupancy(rps, max_in_flight);
        (1..cap).for_each(|_| occupancy.live.add(0));
        assert!(!occupancy.is_full(TopicKind::Input), "{rps} {max_in_flight}: below {cap}");
        occupancy.live.add(0);
        assert!(occupancy.is_full(TopicKind::Input), "{rps} {max_in_flight}: at {cap}");
        assert!(
            !occupancy.is_full(TopicKind::Tier) && !occupancy.is_full(TopicKind::Parked),
            "released ones have a queue of their own"
        );
    }
}

#[test]
fn a_queue_takes_ten_seconds_of_full_requests_where_each_of_them_carries_several_events() {
    for (rps, cap) in [(2.0, 100), (1000.0, 2500), (0.5, 64)] {
        let mut account = Account::stub("acme");
        account.limits.rps = rps;
        account.sender = Some(Arc::new(crate::stub::five::Five));
        let bounds = Intake { max_in_flight: 10_000, max_in_flight_bytes: 4000, drain_timeout: Duration::ZERO };
        let occupancy = Occupancy::new(&account, &bounds);
        (1..cap).for_each(|_| occupancy.live.add(0));
        assert!(!occupancy.is_full(TopicKind::Input), "{rps}: below {cap}");
        occupancy.live.add(0);
        assert!(occupancy.is_full(TopicKind::Input), "{rps}: at {cap}");
    }
}

#[test]
fn a_queue_is_full_at_a_quarter_of_all_bytes_too() {
    let occupancy = occupancy(20.0, 10_000);
    occupancy.released.add(999);
    assert!(!occupancy.is_full(TopicKind::Parked));
    occupancy.released.add(1);
    assert!(
        occupancy.is_full(TopicKind::Parked)
            && occupancy.is_full(TopicKind::Tier)
            && !occupancy.is_full(TopicKind::Input)
    );
}

#[test]
fn what_is_set_aside_for_parking_counts_against_the_cap_until_it_has_left() {
    let occupancy = occupancy(20.0, 10_000);
    (0..150).for_each(|_| occupancy.live.add(0));
    (0..50).for_each(|_| occupancy.set_aside(TopicKind::Input, 0));
    assert!(occupancy.is_full(TopicKind::Input) && !occupancy.is_full(TopicKind::Tier));
    assert!(can_park(&occupancy, TopicKind::Input), "the queue of an open lane takes no place of it");
    occupancy.left_aside(TopicKind::Input, 0);
    assert!(!occupancy.is_full(TopicKind::Input));

    // Records that the parking topic does not take stay, and the lane can be given no more than it may have on its
    // way.
    (0..256).for_each(|_| occupancy.set_aside(TopicKind::Tier, 0));
    assert!(!can_park(&occupancy, TopicKind::Tier) && can_park(&occupancy, TopicKind::Input));
    assert!(occupancy.is_full(TopicKind::Tier) && occupancy.is_full(TopicKind::Parked));
    occupancy.left_aside(TopicKind::Tier, 0);
    assert!(can_park(&occupancy, TopicKind::Tier));
    occupancy.set_aside(TopicKind::Tier, 250);
    assert!(!can_park(&occupancy, TopicKind::Tier), "a sixteenth of all bytes");
}

#[test]
fn parked_records_take_half_of_a_lane_at_most() {
    let occupancy = occupancy(20.0, 10_000);
    for n in 0..100 {
        assert!(!occupancy.is_full(TopicKind::Parked), "{n}");
        occupancy.released.add(0);
        occupancy.parked.add(0);
    }
    assert!(occupancy.is_full(TopicKind::Parked) && !occupancy.is_full(TopicKind::Tier));
    (100..200).for_each(|_| occupancy.released.add(0));
    assert!(occupancy.is_full(TopicKind::Tier), "both together have the whole");
}

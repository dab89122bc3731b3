use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::account::{Account, Intake};
use crate::lane::handle::LaneHandle;
use crate::lane::handle::occupancy::ASIDE_RELEASED;

const MIB: usize = 1024 * 1024;

/// Builds this many lanes with an account so large that no lane reaches its own cap.
fn lanes(count: usize) -> Lanes {
    let mut account = Account::stub("acme");
    account.limits.rps = 1000.0;
    let account = Arc::new(account);
    let bounds = Intake { max_in_flight: 100_000, max_in_flight_bytes: 1024 * MIB, drain_timeout: Duration::ZERO };
    let inbox = || tokio::sync::mpsc::unbounded_channel().0;
    let lane = |index| Arc::new(LaneHandle::new(index, account.clone(), inbox(), &bounds));
    Lanes::new((0..count).map(lane).collect(), Vec::new())
}

/// Gives these lanes what they take, and finishes none of it. Returns how many records they took.
fn fill(lanes: &Lanes, hung: std::ops::Range<usize>, topic_kind: TopicKind, bytes: usize) -> usize {
    let mut taken = 0;
    loop {
        let before = taken;
        for index in hung.clone() {
            if lanes.takes(index, topic_kind, bytes) {
                lanes.get(index).occupancy.got_permit(topic_kind, bytes);
                taken += 1;
            }
        }
        if taken == before {
            return taken;
        }
    }
}

#[test]
fn what_all_lanes_hold_of_tiers_and_parking_is_bounded_and_leaves_some_for_a_lane_that_holds_little() {
    let lanes = lanes(41);
    let taken = fill(&lanes, 0..39, TopicKind::Tier, MIB);
    assert!((39..=48).contains(&taken), "{taken} MiB");
    assert_eq!(lanes.released(), (taken, taken * MIB));
    assert!(lanes.takes(39, TopicKind::Tier, MIB), "that 39 lanes hang is no matter to this one");
    let parked = fill(&lanes, 0..39, TopicKind::Parked, 64 * 1024) / 16;
    assert!(parked <= 25, "a backlog leaves some too: {parked} MiB");
    for topic_kind in [TopicKind::Tier, TopicKind::Parked] {
        assert!(lanes.takes(40, topic_kind, 20 * 1024), "{topic_kind:?}");
        lanes.get(40).occupancy.got_permit(topic_kind, 20 * 1024);
        assert!(lanes.takes(40, topic_kind, 20 * 1024), "{topic_kind:?}: not one alone");
    }
    lanes.get(0).occupancy.got_permit(TopicKind::Input, 100 * MIB);
    assert_eq!(lanes.released().1, lanes.all.released.sum().1, "what comes from inputs has a bound of its own");
}

#[test]
fn due_retries_that_hang_keep_no_parked_backlog_from_its_lane() {
    let lanes = lanes(101);
    let (hung, mine) = (0..100, 100);
    assert!(fill(&lanes, hung, TopicKind::Tier, 256 * 1024) >= 100);
    assert!(lanes.released().1 > PARKED_BYTES, "more than a backlog may take by itself");
    for n in 0..8 {
        assert!(lanes.takes(mine, TopicKind::Parked, MIB), "{n}");
        lanes.get(mine).occupancy.got_permit(TopicKind::Parked, MIB);
    }
}

#[test]
fn who_holds_nothing_takes_one_record_whatever_others_hold() {
    let lanes = lanes(101);
    for topic_kind in [TopicKind::Tier, TopicKind::Parked] {
        assert_eq!(fill(&lanes, 0..100, topic_kind, MIB), 100, "each its one");
        assert!(lanes.takes(100, topic_kind, MIB), "{topic_kind:?}");
        lanes.get(100).occupancy.got_permit(topic_kind, MIB);
        assert!(!lanes.takes(100, topic_kind, 1), "{topic_kind:?}: and no second one");
        lanes.get(100).occupancy.permit_ended(topic_kind, MIB);
        assert!(lanes.takes(100, topic_kind, MIB), "{topic_kind:?}: the next when that has ended");
    }
}

#[test]
fn lanes_whose_parking_topics_take_nothing_leave_some_of_what_may_be_on_its_way_to_others() {
    let lanes = lanes(9);
    let (records, _) = ASIDE_RELEASED;
    for _ in 0..records {
        let parks = (0..8).filter(|index| lanes.get(*index).can_park(TopicKind::Tier));
        parks.for_each(|index| lanes.get(index).occupancy.set_aside(TopicKind::Tier, 1));
    }
    let all = lanes.all.aside.released.records();
    assert!((records / 2..records).contains(&all), "{all}");
    assert!(lanes.get(8).can_park(TopicKind::Tier) && lanes.get(0).can_park(TopicKind::Input));
    assert!(!lanes.get(0).can_park(TopicKind::Tier));
    lanes.get(0).occupancy.left_aside(TopicKind::Tier, 1);
    assert_eq!(lanes.all.aside.released.records(), all - 1);

    let lanes = self::lanes(9);
    (0..8).for_each(|index| lanes.get(index).occupancy.set_aside(TopicKind::Tier, MIB));
    assert!(!lanes.get(8).can_park(TopicKind::Tier), "large ones too");
}

#[test]
fn what_inputs_may_set_aside_is_shared_by_all_lanes() {
    let lanes = lanes(3);
    let parks = |index: usize| (0..).take_while(|_| parks_one(&lanes, index)).count();
    // All lanes together may use half of `max_in_flight`, and each lane a quarter.
    assert_eq!((parks(0), parks(1), parks(2)), (25_000, 12_500, 6_250));
}

fn parks_one(lanes: &Lanes, index: usize) -> bool {
    let lane = lanes.get(index);
    let can = lane.can_park(TopicKind::Input);
    if can {
        lane.occupancy.set_aside(TopicKind::Input, 1);
    }
    can
}

//! Tests the rule of the high mark: which lane makes room, for which other lane, and down to which level. Every time is
//! given.

use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::account::{Account, WhenUnavailable};
use crate::lane::handle::inbox::LaneMessage;

const BOUNDS: Bounds = Bounds { max_in_flight: 200, max_in_flight_bytes: 200_000, drain_timeout: Duration::ZERO };
const NOBODY: [usize; 0] = [];
const HALF: Duration = Duration::from_millis(500);

struct World {
    pressure: Pressure,
    lanes: Lanes,
    backpressure: Backpressure,
    inboxes: Vec<UnboundedReceiver<LaneMessage>>,
    start: Instant,
}

impl World {
    /// This many accounts, each with two requests a second, and each of them received records.
    fn new(count: usize) -> Self {
        Self::with(count, |_, _| {})
    }

    fn with(count: usize, edit: impl Fn(usize, &mut Account)) -> Self {
        let (mut lanes, mut inboxes, mut backpressure) = (Vec::new(), Vec::new(), Backpressure::default());
        let start = Instant::now();
        for index in 0..count {
            let mut account = Account::stub("x");
            account.limits.rps = 2.0;
            edit(index, &mut account);
            let (to_lane, inbox) = unbounded_channel();
            lanes.push(Arc::new(LaneHandle::new(index, Arc::new(account), to_lane, &BOUNDS)));
            inboxes.push(inbox);
            backpressure.seen_at(start, &"t".into(), 0, index);
        }
        let lanes = Lanes::new(lanes, Vec::new());
        Self { pressure: Pressure::new(count, start), lanes, backpressure, inboxes, start }
    }

    /// Queues this many records of this many bytes, all arriving at the start.
    fn queue(&mut self, lane: usize, records: usize, bytes: usize) {
        for _ in 0..records {
            self.pressure.arrives(self.lanes.get(lane), self.start);
            self.lanes.get(lane).occupancy.live.add(bytes);
        }
    }

    /// The load if all unfinished records are queued.
    fn load(&self) -> Load {
        let sum = |of: fn(&LaneHandle) -> usize| self.lanes.iter().map(|lane| of(lane)).sum();
        Load { records: sum(|l| l.occupancy.live.records()), bytes: sum(|l| l.occupancy.live.bytes()) }
    }

    /// Checks at this time, and returns the lanes that were told to park their queue, in this order.
    fn look(&mut self, after: Duration, holds: bool) -> Vec<usize> {
        self.look_at(self.load(), after, holds)
    }

    fn look_at(&mut self, load: Load, after: Duration, holds: bool) -> Vec<usize> {
        self.pressure.look(load, &BOUNDS, (&self.lanes, &self.backpressure), holds, self.start + after);
        let told = |inbox: &mut UnboundedReceiver<LaneMessage>| matches!(inbox.try_recv(), Ok(LaneMessage::ParkQueue));
        self.inboxes.iter_mut().enumerate().filter_map(|(lane, inbox)| told(inbox).then_some(lane)).collect()
    }

    fn ends(&mut self, lane: usize, after: Duration) {
        self.pressure.got_through(lane, self.start + after);
    }
}

#[test]
fn the_fullest_of_those_that_hang_make_room_down_to_a_half_for_one_that_flows() {
    let mut world = World::new(6);
    for (lane, records) in [(0, 28), (1, 40), (2, 24), (3, 36), (4, 32), (5, 2)] {
        world.queue(lane, records, 1);
    }
    world.ends(5, STUCK - HALF);
    assert_eq!(world.look(STUCK - LOOK_EVERY, false), NOBODY, "a platform may take its time");
    assert_eq!(world.look(STUCK, false), [1, 3], "162 read, 150 are three quarters, 40 and 36 fewer are below a half");
    assert!(world.pressure.relieves(world.start + STUCK));
    assert_eq!(world.look(STUCK + LOOK_EVERY, false), NOBODY, "what they were told is under way");
    assert_eq!(
        world.look_at(Load { records: 200, bytes: 0 }, STUCK + 2 * LOOK_EVERY, false),
        [4],
        "and still too much"
    );
}

#[test]
fn nobody_makes_room_for_what_is_set_aside_for_parking_already() {
    let mut world = World::new(6);
    for (lane, records) in [(0, 28), (1, 40), (2, 24), (3, 36), (4, 32)] {
        world.queue(lane, records, 1);
    }
    (0..25).for_each(|_| world.lanes.get(0).occupancy.set_aside(TopicKind::Input, 1));
    assert_eq!(
        world.look_at(Load { records: 185, bytes: 185 }, STUCK, false),
        [1, 3],
        "25 of the 185 leave by themselves"
    );
}

#[test]
fn below_three_quarters_nobody_makes_room() {
    let mut world = World::new(6);
    (0..5).for_each(|lane| world.queue(lane, 29, 1));
    world.ends(5, STUCK);
    assert_eq!(world.look(STUCK, false), NOBODY);
    world.queue(0, 5, 1);
    assert_eq!(world.look(STUCK + LOOK_EVERY, false).len(), 2);
}

#[test]
fn bytes_count_as_records_do() {
    let mut world = World::new(4);
    world.queue(0, 30, 100);
    world.queue(1, 5, 20_000);
    world.queue(2, 1, 48_000);
    world.ends(3, STUCK);
    assert_eq!(world.look(STUCK, false), [1], "the fullest by bytes, 151,000 of 200,000");
}

#[test]
fn one_that_keeps_up_never_makes_room_however_full_it_is() {
    let mut world = World::new(3);
    world.queue(0, 60, 1);
    world.queue(1, 50, 1);
    world.queue(2, 45, 1);
    for half in 0..19 {
        let now = HALF * half;
        world.ends(0, now);
        // A burst that the lane finishes within the time that its cap stands for.
        assert!(!world.look(now, false).contains(&0), "after {now:?}");
    }
    assert!(world.lanes.get(1).inbox.is_emptying() && !world.lanes.get(0).inbox.is_emptying());
}

#[test]
fn one_that_sends_all_the_time_and_gets_more_than_it_sends_makes_room_too() {
    let mut world = World::new(4);
    world.queue(0, 60, 1);
    world.queue(1, 60, 1);
    world.queue(2, 35, 1);
    for lane in 0..3 {
        world.ends(lane, BEHIND - HALF);
    }
    world.pressure.arrives(world.lanes.get(3), world.start + BEHIND);
    assert_eq!(world.look(BEHIND - LOOK_EVERY, false), NOBODY);
    assert_eq!(world.look(BEHIND, false), [0], "for the fourth, which has nothing");

    // No lane is behind if each of them has at most a second's work.
    let mut world = World::with(4, |_, account| account.limits.rps = 60.0);
    for lane in 0..3 {
        world.queue(lane, 55, 1);
        world.ends(lane, BEHIND - HALF);
    }
    assert_eq!(world.look(BEHIND, false), NOBODY);
}

#[test]
fn a_second_of_work_is_counted_in_events_where_a_request_carries_several() {
    // Each lane may send ten events a second, five in each request.
    let five = |_, account: &mut Account| account.sender = Some(Arc::new(crate::stub::five::Five));
    for (queued, emptied) in [(10, &NOBODY[..]), (11, &[0])] {
        let mut world = World::with(17, five);
        for lane in 0..16 {
            world.queue(lane, if lane == 0 { queued } else { 10 }, 1);
            world.ends(lane, BEHIND - HALF);
        }
        assert_eq!(world.look(BEHIND, false), emptied, "{queued}");
    }

    // A lane that was emptied keeps as many as it sends in a second.
    let mut world = World::with(4, five);
    (0..3).for_each(|lane| world.queue(lane, 55, 1));
    assert_eq!(world.look(STUCK, false).len(), 2);
    let lane = world.lanes.get(0).clone();
    (0..55).for_each(|_| lane.occupancy.live.sub(1));
    let load = Load { records: 149, bytes: 0 };
    for (queued, parks) in [(9, false), (10, true)] {
        while lane.occupancy.live.records() < queued {
            lane.occupancy.live.add(1);
        }
        assert_eq!(world.pressure.parks(&lane, load, &BOUNDS, world.start + STUCK), parks, "{queued}");
    }
}

#[test]
fn nobody_makes_room_for_an_account_that_the_configuration_names_no_longer() {
    let mut world = World::new(4);
    (0..3).for_each(|lane| world.queue(lane, 55, 1));
    world.lanes.get(3).set_removed(true);
    assert_eq!(world.look(STUCK, false), NOBODY, "its events are dead letters");
    world.lanes.get(3).set_removed(false);
    assert_eq!(world.look(STUCK + LOOK_EVERY, false).len(), 2);
}

#[test]
fn where_nobody_else_could_send_nothing_is_rewritten_through_kafka() {
    let mut world = World::new(3);
    (0..3).for_each(|lane| world.queue(lane, 55, 1));
    assert_eq!(world.look(STUCK, false), NOBODY);
    assert!(!world.pressure.relieves(world.start + STUCK));
    // A closed account sends nothing either.
    let mut world = World::new(4);
    (0..3).for_each(|lane| world.queue(lane, 55, 1));
    world.lanes.get(3).halt("why");
    assert_eq!(world.look(STUCK, false), NOBODY);
    // An account that received from no topic needs no intake.
    let mut world = World::new(4);
    world.backpressure = Backpressure::default();
    (0..3).for_each(|lane| world.queue(lane, 55, 1));
    (0..3).for_each(|lane| world.backpressure.seen_at(world.start, &"t".into(), 0, lane));
    assert_eq!(world.look(STUCK, false), NOBODY);
}

#[test]
fn what_comes_for_one_that_was_emptied_parks_while_there_is_pressure() {
    let mut world = World::new(4);
    (0..3).for_each(|lane| world.queue(lane, 55, 1));
    let lane = world.lanes.get(0).clone();
    let load = |records| Load { records, bytes: 0 };
    let mut now = world.start + STUCK;
    assert!(!world.pressure.parks(&lane, load(199), &BOUNDS, now), "nobody was emptied");
    assert_eq!(world.look(STUCK, false).len(), 2);
    (0..55).for_each(|_| lane.occupancy.live.sub(1));
    for (records, queued, parks) in [(150, 0, true), (149, 0, false), (149, 1, false), (149, 2, true), (99, 2, false)] {
        while lane.occupancy.live.records() < queued {
            lane.occupancy.live.add(1);
        }
        assert_eq!(world.pressure.parks(&lane, load(records), &BOUNDS, now), parks, "{records} {queued}");
    }
    // Each parked record prolongs the relief. Without any it ends.
    now += EMPTIED_FOR - HALF;
    assert!(world.pressure.parks(&lane, load(150), &BOUNDS, now));
    now += EMPTIED_FOR;
    assert!(!world.pressure.parks(&lane, load(150), &BOUNDS, now));
}

#[test]
fn one_that_was_emptied_is_no_longer_one_that_others_make_room_for() {
    let mut world = World::new(2);
    world.queue(0, 100, 1);
    world.queue(1, 52, 1);
    world.ends(1, HALF);
    assert_eq!(world.look(STUCK, false), [0]);
    (0..100).for_each(|_| world.lanes.get(0).occupancy.live.sub(1));
    world.lanes.get(0).inbox.emptied();
    world.queue(1, 100, 1);
    let later = STUCK + HALF;
    assert_eq!(world.look(later, false), NOBODY, "its queue is empty for it was emptied, not for it sends");
    world.ends(0, later);
    assert_eq!(world.look(later + LOOK_EVERY, false), [1], "now it sends");
}

#[test]
fn while_redis_is_away_only_those_that_deliver_without_it_are_made_room_for() {
    let mut world = World::new(3);
    (0..3).for_each(|lane| world.queue(lane, 55, 1));
    let now = 2 * STUCK;
    world.pressure.troubled(world.start + now);
    assert_eq!(world.look(now, true), NOBODY, "all hold");

    let deliver = |index, account: &mut Account| {
        account.when_unavailable = if index == 2 { WhenUnavailable::Deliver } else { WhenUnavailable::Hold };
    };
    let mut world = World::with(3, deliver);
    (0..3).for_each(|lane| world.queue(lane, 55, 1));
    world.pressure.troubled(world.start + now);
    assert_eq!(world.look(now, true), [0, 1], "they send nothing before Redis is back");
    // Redis is back: no lane is to blame for the records that did not end meanwhile.
    let mut world = World::new(4);
    (0..3).for_each(|lane| world.queue(lane, 55, 1));
    world.pressure.troubled(world.start + now);
    assert_eq!(world.look(now + STUCK - LOOK_EVERY, false), NOBODY);
    assert_eq!(world.look(now + STUCK, false).len(), 2);
}

#[test]
fn a_thousand_lanes_are_looked_at_seldom() {
    let mut world = World::new(1000);
    (0..900).for_each(|lane| world.queue(lane, 1, 1));
    assert_eq!(world.look(STUCK, false).len(), 900 - 99);
    // One turn later: this many records can arrive between two checks.
    assert_eq!(world.look_at(Load { records: 2000, bytes: 0 }, STUCK + LOOK_EVERY / 2, false), NOBODY);
}

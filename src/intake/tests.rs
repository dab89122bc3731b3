//! Tests bounds and back-pressure without Kafka: the tests hand in records and observe the lanes from outside.

mod brake;

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::arrived::HAND_OVER;
use super::*;
use crate::account::roster::Roster;
use crate::account::{Account, WhenUnavailable};
use crate::error::Outcome;
use crate::kafka::record::Header;
use crate::lane::handle::LaneHandle;
use crate::lane::handle::inbox::LaneMessage;
use crate::lane::handle::lanes::ThreadHandle;
use crate::metrics::Setup;
use crate::stub::calls::Caller;

/// The smallest cap of a lane.
const CAP: usize = 64;

struct World {
    intake: Intake,
    lanes: Arc<Lanes>,
    inboxes: Vec<UnboundedReceiver<LaneMessage>>,
    outbox: UnboundedReceiver<Box<Delivery>>,
    health: Arc<Health>,
    storms: Arc<Storms>,
    /// The headers of the records that follow.
    headers: Vec<Header>,
    /// The records that were delivered to lane `a`.
    queued: Vec<Delivery>,
    parked: Vec<Delivery>,
    /// The lanes that were told to park their queue.
    emptied: Vec<usize>,
    offset: i64,
}

impl World {
    /// A world with two accounts, `a` and `b`, each with room for 64 live records.
    fn new(max_in_flight: usize, max_in_flight_bytes: usize) -> Self {
        Self::with(max_in_flight, max_in_flight_bytes, |_| {})
    }

    fn with(max_in_flight: usize, max_in_flight_bytes: usize, edit: impl Fn(&mut [Account; 2])) -> Self {
        let bounds = Config { max_in_flight, max_in_flight_bytes, drain_timeout: Duration::ZERO };
        let mut accounts = ["a", "b"].map(Account::stub);
        accounts.iter_mut().for_each(|a| a.limits.rps = 1.0);
        edit(&mut accounts);
        let accounts: Vec<_> = accounts.into_iter().map(Arc::new).collect();
        let (mut lanes, mut inboxes) = (Vec::new(), Vec::new());
        for (lane, (_, account)) in Roster::new(accounts.iter().cloned()).lanes().iter().enumerate() {
            let (to_lane, inbox) = unbounded_channel();
            lanes.push(Arc::new(LaneHandle::new(lane, account.clone(), to_lane, &bounds)));
            inboxes.push(inbox);
        }
        let (to_outbox, outbox) = unbounded_channel();
        let lanes = Arc::new(Lanes::new(lanes, vec![to_outbox]));
        let names = accounts.iter().map(|a| (a.platform, a.name.clone())).collect();
        let metrics = Metrics::new(Setup { accounts: names, ..Setup::default() });
        let (health, storms) = (Arc::new(Health::default()), Arc::new(Storms::new("r1")));
        health.answered();
        let examiner = Examiner::of(accounts, crate::kafka::Config::stub("b:1", &[]).result_topics(), metrics.clone());
        let intake =
            Intake::new(examiner, lanes.clone(), metrics, health.clone(), bounds, Arc::default(), storms.clone());
        let (queued, parked, emptied) = (Vec::new(), Vec::new(), Vec::new());
        Self { intake, lanes, inboxes, outbox, health, storms, headers: Vec::new(), queued, parked, emptied, offset: 0 }
    }

    fn receive(&mut self, topic: &str, account: &str) -> Arc<Open> {
        let event = serde_json::json!({
            "trans_id": "t", "platform": crate::stub::PLATFORM, "account": account, "event_type": "install", "event_time_ms": 1_736_899_200_123_i64
        });
        self.receive_value(topic, event.to_string())
    }

    fn receive_value(&mut self, topic: &str, value: String) -> Arc<Open> {
        let record = Record {
            topic: topic.into(),
            partition: 0,
            offset: self.offset,
            timestamp_ms: None,
            key: None,
            value: Some(Bytes::from(value)),
            headers: self.headers.clone(),
            unreadable_headers: 0,
        };
        let (ack, _) = AckHandle::stub(Arc::new(Assignment::new(topic.into(), 0, 1)), self.offset as u64);
        self.offset += 1;
        let open = ack.open().clone();
        self.intake.received(record, ack);
        open
    }

    /// The messages that reached a lane: the number of records delivered together, or `None` for a record to park.
    fn told(&mut self, lane: usize) -> Vec<Option<usize>> {
        self.intake.flush();
        let mut told = Vec::new();
        while let Ok(message) = self.inboxes[lane].try_recv() {
            told.push(match message {
                LaneMessage::Deliver(deliveries) => {
                    let count = deliveries.len();
                    if lane == 0 {
                        self.queued.extend(deliveries.into_iter().map(|d| *d));
                    }
                    Some(count)
                }
                LaneMessage::Park(delivery) => {
                    self.parked.push(*delivery);
                    None
                }
                LaneMessage::ParkQueue => {
                    self.emptied.push(lane);
                    continue;
                }
            });
        }
        told
    }

    /// Fills lane `a` with records of this topic.
    fn fill(&mut self, topic: &str) {
        (0..CAP).for_each(|_| _ = self.receive(topic, "a"));
        assert!(self.lanes.get(0).occupancy.is_full(TopicKind::Input));
        assert_eq!(self.told(0), [Some(HAND_OVER); CAP / HAND_OVER]);
    }

    /// Removes records from lane `a` until this many are left.
    fn leave(&mut self, count: usize) {
        self.queued.drain(count..).for_each(|delivery| self.lanes.get(0).occupancy.dequeued(&delivery));
        assert_eq!(self.lanes.get(0).occupancy.live.records(), count);
    }

    /// The answer of `may_poll`, as if the intake had stopped `ago`.
    fn flow_after(&mut self, ago: Duration) -> Flow {
        if let Some(stopped) = &mut self.intake.stopped {
            *stopped = Instant::now().checked_sub(ago).unwrap();
        }
        self.flow()
    }

    /// The answer of `may_poll` a moment later, when full lanes are checked again.
    fn flow(&mut self) -> Flow {
        self.intake.next_look = Instant::now();
        self.intake.may_poll()
    }
}

#[test]
fn what_a_batch_of_polls_brought_is_handed_over_at_its_end_in_one_message_per_lane() {
    let mut world = World::new(1000, 1 << 20);
    for account in ["a", "b", "a", "nobody"] {
        world.receive("t", account);
    }
    assert!(world.inboxes.iter_mut().all(|inbox| inbox.try_recv().is_err()), "each record alone wakes its thread");
    assert_eq!(world.lanes.get(0).occupancy.live.records(), 2, "counted before it is handed over");
    assert!(world.outbox.try_recv().is_ok(), "what ends at admission needs no lane");
    assert_eq!((world.told(0), world.told(1)), (vec![Some(2)], vec![Some(1)]));
    assert!(world.told(0).is_empty());
}

#[test]
fn what_is_handed_over_before_the_end_of_a_batch_is_handed_over_once() {
    let mut world = World::new(1000, 1 << 20);
    for _ in 0..2 * HAND_OVER + 3 {
        world.receive("t", "a");
    }
    world.receive("t", "b");
    assert_eq!(world.told(0), [Some(HAND_OVER), Some(HAND_OVER), Some(3)]);
    (0..HAND_OVER).for_each(|_| _ = world.receive("t", "b"));
    assert_eq!((world.told(0), world.told(1)), (vec![], vec![Some(1), Some(HAND_OVER)]));
    world.receive("t", "b");
    assert_eq!((world.told(0), world.told(1)), (vec![], vec![Some(1)]), "and each batch after it as well");
}

#[test]
fn lanes_look_again_once_for_all_partitions_that_leave_together() {
    let mut world = World::new(1000, 1 << 20);
    let changes = |world: &World| world.lanes.get(0).changes.count();
    let before = changes(&world);
    for partition in 0..20 {
        world.intake.leaving(&Assignment::new("t".into(), partition, 1));
    }
    world.intake.tick(Instant::now());
    assert_eq!(changes(&world) - before, 1);
    world.intake.tick(Instant::now());
    assert_eq!(changes(&world) - before, 1);
}

#[test]
fn at_the_cap_beside_a_lane_that_flows_arrivals_park() {
    let mut world = World::new(1000, 1 << 20);
    world.receive("t", "b");
    world.fill("t");
    world.receive("t", "a");
    assert_eq!(world.told(0), [None]);
    assert_eq!(world.flow(), Flow::Poll);
    assert!(!world.intake.pause_wanted("t", 0));
    assert_eq!(world.lanes.get(0).occupancy.live.records(), CAP, "what parks takes no place in the queue");
}

/// What the arguments of a call say of time is judged when it arrives, and for good.
#[test]
fn while_this_machines_clock_is_off_a_call_is_judged_by_the_clock_of_redis() {
    const HOUR_MS: i64 = 3_600_000;
    let mut world = World::with(10_000, 1 << 20, |accounts| accounts[0].call = Some(Arc::new(Caller)));
    let now_ms = crate::clock::now_ms();
    world.health.clock.saw((now_ms / 1000, 0), Instant::now());
    let mut reaches_its_lane = |set_by_ms, until_ms: i64| {
        let event = serde_json::json!({
            "kind": "call", "trans_id": "c", "platform": crate::stub::PLATFORM, "account": "a", "call": "get",
            "args": {"until_ms": until_ms}, "event_time_ms": now_ms
        });
        crate::clock::set_by(set_by_ms);
        world.receive_value("t", event.to_string());
        crate::clock::set_by(0);
        !world.told(2).is_empty()
    };
    for set_by_ms in [0, 2 * HOUR_MS, -2 * HOUR_MS] {
        assert!(reaches_its_lane(set_by_ms, now_ms + HOUR_MS), "{set_by_ms}");
        assert!(!reaches_its_lane(set_by_ms, now_ms - HOUR_MS), "{set_by_ms}");
    }
}

#[test]
fn a_full_lane_of_calls_leaves_the_conversions_of_the_same_account_alone() {
    const CALLS: usize = 2;
    let mut world = World::with(10_000, 1 << 20, |accounts| {
        accounts[0].call = Some(Arc::new(Caller));
        accounts[0].call_limits.rps = 1.0;
    });
    let call = |world: &mut World| {
        let event = serde_json::json!({
            "kind": "call", "trans_id": "c", "platform": crate::stub::PLATFORM, "account": "a", "call": "get", "args": {},
            "event_time_ms": 1_736_899_200_123_i64
        });
        world.receive_value("t", event.to_string());
    };
    world.receive("t", "a");
    (0..CAP).for_each(|_| call(&mut world));
    assert!(
        world.lanes.get(CALLS).occupancy.is_full(TopicKind::Input)
            && !world.lanes.get(0).occupancy.is_full(TopicKind::Input)
    );
    let delivered =
        |told: Vec<Option<usize>>| told.into_iter().map(|records| records.unwrap_or_default()).sum::<usize>();
    assert_eq!(delivered(world.told(CALLS)), CAP);
    // Each conversion is queued for its own lane, as if there were no calls; one more call is what parks.
    (1..CAP - 1).for_each(|_| _ = world.receive("t", "a"));
    call(&mut world);
    assert_eq!((delivered(world.told(0)), world.told(CALLS)), (CAP - 1, vec![None]));
    assert_eq!(
        (world.lanes.get(0).occupancy.live.records(), world.lanes.get(CALLS).occupancy.live.records()),
        (CAP - 1, CAP)
    );
    assert_eq!((world.parked.len(), &*world.emptied), (1, &[][..]), "no conversion parks");
    assert!(world.flow() == Flow::Poll && !world.intake.pause_wanted("t", 0), "and their topic is read on");
}

#[test]
fn at_the_cap_alone_arrivals_hold_their_topic_until_there_is_room() {
    let mut world = World::new(1000, 1 << 20);
    world.fill("t");
    world.receive("t", "a");
    assert_eq!(world.told(0), [Some(1)], "never rewritten through Kafka");
    assert!(world.intake.pause_wanted("t", 0) && !world.intake.pause_wanted("u", 0));
    assert_eq!(world.flow(), Flow::Skip, "the only topic: not polled for a moment, before it is paused");
    assert!(world.intake.tick(Instant::now()).is_some());
    // The lane has room again at 7/8, because nothing was paused.
    world.leave(CAP * 7 / 8);
    assert_eq!(world.flow_after(Duration::ZERO), Flow::Skip);
    world.leave(CAP * 7 / 8 - 1);
    assert_eq!(world.flow_after(PAUSED_AFTER), Flow::Skip, "after a pause it takes more");
    assert_eq!((world.flow_after(Duration::ZERO), world.intake.tick(Instant::now())), (Flow::Poll, None));
}

#[test]
fn a_topic_that_is_held_beside_others_pauses_alone_down_to_a_quarter() {
    let mut world = World::new(1000, 1 << 20);
    world.receive("u", "b");
    world.fill("t");
    world.receive("t", "a");
    assert_eq!(world.told(0), [Some(1)]);
    assert!(world.intake.pause_wanted("t", 0));
    assert_eq!(world.flow(), Flow::Poll, "the other topic flows");
    world.leave(CAP / 4);
    world.flow();
    assert!(world.intake.pause_wanted("t", 0), "a pause drops what was prefetched: it is not ended soon");
    world.leave(CAP / 4 - 1);
    world.flow();
    assert!(!world.intake.pause_wanted("t", 0));

    // The topic's only partition leaves, and the topic with it.
    let mut world = World::new(1000, 1 << 20);
    world.fill("t");
    world.receive("t", "a");
    let assignment = Assignment::new("t".into(), 0, 1);
    Handler::leaving(&mut world.intake, &assignment);
    assert!(!world.intake.pause_wanted("t", 0));
}

#[test]
fn while_redis_is_away_nothing_is_parked_for_being_full_and_a_closed_lane_parks_all() {
    let mut world = World::new(1000, 1 << 20);
    world.receive("t", "b");
    world.fill("t");
    world.health.failed("away");
    world.receive("t", "a");
    assert_eq!(world.told(0), [Some(1)], "every lane would fill, and all of it go through Kafka");
    assert_eq!(world.flow(), Flow::Skip);
    // The task of a closed lane parks whatever arrives, so its topic is not held.
    world.lanes.get(0).halt("why");
    assert_eq!(world.flow(), Flow::Poll);
    world.receive("t", "a");
    assert_eq!(world.told(0), [Some(1)]);
    assert!(!world.intake.pause_wanted("t", 0));
}

#[test]
fn while_redis_is_away_a_holding_account_makes_way_for_one_that_delivers() {
    let mut world = World::with(1000, 1 << 20, |[_, b]| b.when_unavailable = WhenUnavailable::Deliver);
    world.receive("t", "b");
    world.fill("t");
    world.health.failed("away");
    world.receive("t", "a");
    assert_eq!(world.told(0), [None], "it parks");
    assert_eq!(world.flow(), Flow::Poll);
    assert!(!world.intake.pause_wanted("t", 0));
    // It is the only lane of its topic. When it is full, it holds its topic.
    (1..CAP).for_each(|_| _ = world.receive("t", "b"));
    world.receive("t", "b");
    assert_eq!(world.told(1).iter().flatten().sum::<usize>(), CAP + 1);
    assert_eq!(world.flow(), Flow::Skip);
}

#[test]
fn a_lane_whose_parking_topic_takes_nothing_holds_its_own_topic_and_no_other() {
    let mut world = World::new(1000, 1 << 24);
    world.receive("t", "b");
    world.receive("u", "b");
    world.lanes.get(0).halt("why");
    // Its task would set aside whatever arrives. 250 records are a quarter of the bounds.
    for n in 0..250 {
        assert!(!world.intake.pause_wanted("t", 0), "{n}");
        world.receive("t", "a");
    }
    world.told(0);
    for delivery in std::mem::take(&mut world.queued) {
        world.lanes.get(0).occupancy.set_aside(TopicKind::Input, delivery.record.size());
        world.lanes.get(0).occupancy.dequeued(&delivery);
        world.parked.push(delivery);
    }
    world.receive("t", "a");
    assert!(world.intake.pause_wanted("t", 0) && !world.intake.pause_wanted("u", 0));
    assert_eq!(world.flow(), Flow::Poll, "the other topic flows");
    world.receive("u", "b");
    assert_eq!(world.told(1), [Some(2), Some(1)]);
    // Kafka has acknowledged their copies.
    for delivery in world.parked.drain(..200) {
        world.lanes.get(0).occupancy.left_aside(TopicKind::Input, delivery.record.size());
    }
    world.flow();
    assert!(!world.intake.pause_wanted("t", 0));
}

#[test]
fn at_three_quarters_of_the_bounds_one_that_hangs_parks_what_it_queues_and_one_that_flows_does_not_wait() {
    let mut world = World::new(80, 1 << 20);
    let done = world.receive("t", "b");
    (0..59).for_each(|_| _ = world.receive("t", "a"));
    let Some(long_ago) = Instant::now().checked_sub(pressure::STUCK + Duration::from_secs(1)) else { return };
    world.intake.pressure = Pressure::new(2, long_ago);
    done.set_got_through();
    world.intake.completed(&done, End::Finished(Outcome::Delivered));
    let done = world.receive("t", "b");
    assert_eq!(world.flow(), Flow::Poll);
    world.told(0);
    assert_eq!(world.emptied, [0]);
    // New records for this account follow the others to parking. New records for the other account do not.
    world.receive("t", "a");
    world.receive("t", "b");
    assert_eq!((world.told(0), world.told(1)), (vec![None], vec![Some(2), Some(1)]));
    // The process reaches its bound all the same, and the pause is as short as possible.
    while world.flow() == Flow::Poll {
        world.receive("t", "b");
    }
    world.intake.completed(&done, End::Finished(Outcome::Delivered));
    (0..10).for_each(|_| world.intake.completed(&done, End::Parked));
    assert_eq!(world.flow_after(PAUSED_AFTER), Flow::Poll, "69 of 80, where it waits for half of it otherwise");
}

#[test]
fn a_lane_that_gets_through_with_its_events_keeps_up_whatever_they_end_as() {
    let ends = [End::Finished(Outcome::Delivered), End::Finished(Outcome::DeadLettered), End::Retried];
    for (end, through) in ends.into_iter().flat_map(|end| [(end, true), (end, false)]) {
        let mut world = World::new(80, 1 << 20);
        let (done, own) = (world.receive("t", "b"), world.receive("t", "a"));
        (0..59).for_each(|_| _ = world.receive("t", "a"));
        let Some(long_ago) = Instant::now().checked_sub(pressure::STUCK + Duration::from_secs(1)) else { return };
        world.intake.pressure = Pressure::new(2, long_ago);
        done.set_got_through();
        world.intake.completed(&done, End::Finished(Outcome::Delivered));
        if through {
            own.set_got_through();
        }
        world.intake.completed(&own, end);
        world.receive("t", "b");
        world.receive("t", "b");
        world.flow();
        world.told(0);
        assert_eq!(world.emptied.is_empty(), through, "{end:?} {through}");
    }
}

#[test]
fn unfinished_records_and_bytes_are_bounded_and_resume_at_seven_eighths() {
    let mut world = World::new(16, 1 << 20);
    let mut opens = Vec::new();
    while world.flow() == Flow::Poll {
        opens.push(world.receive("t", "a"));
    }
    assert_eq!(opens.len(), 16);
    for left in [15, 14, 13] {
        let open = opens.pop().unwrap();
        world.intake.completed(&open, End::Finished(Outcome::Delivered));
        assert_eq!(world.flow_after(PAUSED_AFTER), Flow::Skip, "{left}: after a pause it waits for half");
        assert_eq!(world.flow_after(Duration::ZERO) == Flow::Poll, left < 14, "{left}");
    }
    assert_eq!(world.intake.metrics.in_flight_events.get(), 13);

    let mut world = World::new(1000, 64_000);
    let mut opens = Vec::new();
    while world.flow() == Flow::Poll {
        opens.push(world.receive_value("t", "x".repeat(8_000)));
    }
    assert_eq!(opens.len(), 8, "with its bookkeeping each is a little over 8,000 bytes");
    // A record that was given back without being finished no longer counts.
    world.intake.returned(&opens.pop().unwrap());
    assert_eq!(world.flow_after(Duration::ZERO), Flow::Skip);
    world.intake.returned(&opens.pop().unwrap());
    assert_eq!(world.flow_after(Duration::ZERO), Flow::Poll);
    opens.iter().for_each(|open| world.intake.returned(open));
    assert_eq!(world.intake.metrics.in_flight_bytes.get(), 0);
}

#[test]
fn what_holds_a_partition_back_is_told_to_leave_once_and_its_lane_looks_again_each_time() {
    let mut world = World::new(1_000, 1 << 20);
    let old = [world.receive("t", "a"), world.receive("t", "a"), world.receive("t", "b"), world.receive("t", "nobody")];
    let changes = |world: &World| [0, 1].map(|lane| world.lanes.get(lane).changes.count());
    let before = changes(&world);
    assert_eq!(world.intake.hand_off(&old[..2]), 2);
    assert_eq!(world.intake.hand_off(&old), 1, "the one without a lane ends by itself");
    assert_eq!(old.map(|open| open.leaves()), [true, true, true, false]);
    assert_eq!(changes(&world), [before[0] + 2, before[1] + 1]);
}

#[test]
fn it_reads_no_further_ahead_of_the_threads_than_they_need() {
    let mut world = World::with(10_000, 1 << 30, |accounts| accounts[0].limits.rps = 1_000.0);
    let (posts, _inbox) = unbounded_channel();
    let idled = Arc::new(AtomicU64::new(0));
    world.lanes.deliver_through(vec![ThreadHandle { posts, idled: idled.clone() }]);
    world.intake.catch_up = CatchUp::new(world.lanes.idled());
    let mut records = Vec::new();
    while world.flow() == Flow::Poll {
        records.push(world.receive("t", "a"));
        world.intake.flush();
    }
    assert_eq!(records.len(), 256);
    idled.fetch_add(1, Relaxed);
    assert_eq!(world.flow(), Flow::Poll, "all of them wait for something other than the thread");
    while world.flow() == Flow::Poll {
        records.push(world.receive("t", "a"));
        world.intake.flush();
    }
    assert_eq!(records.len(), 512);
    idled.fetch_add(1, Relaxed);
    records.push(world.receive("t", "a"));
    world.intake.flush();
    assert_eq!(world.flow(), Flow::Skip, "the thread ran out of work before it got this batch");
    records[256..290].iter().for_each(|open| world.intake.completed(open, End::Finished(Outcome::Delivered)));
    assert_eq!(world.flow(), Flow::Poll, "the thread catches up");
    world.intake.flush();
    let elsewhere = world.receive("t", "nobody");
    assert!(elsewhere.handed_over.get().is_none(), "it does not pass through a lane");
}

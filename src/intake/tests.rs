//! Bounds and back-pressure, without Kafka: records are handed in, lanes are looked at from outside.

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::error::Outcome;
use crate::metrics::Setup;
use crate::pipeline::config::Account;
use crate::pipeline::handle::{LaneHandle, ToLane};

/// What a lane takes at least.
const CAP: usize = 64;

struct World {
    intake: Intake,
    lanes: Arc<Lanes>,
    inboxes: Vec<UnboundedReceiver<ToLane>>,
    desk: UnboundedReceiver<Box<Delivery>>,
    health: Arc<Health>,
    /// What was handed over to lane `a`.
    queued: Vec<Delivery>,
    offset: i64,
}

impl World {
    /// Two accounts, `a` and `b`, with room for 64 live records each.
    fn new(max_in_flight: usize, max_in_flight_bytes: usize) -> Self {
        let bounds = Config { max_in_flight, max_in_flight_bytes, drain_timeout: Duration::ZERO };
        let mut accounts = ["a", "b"].map(Account::stub);
        accounts.iter_mut().for_each(|a| a.limits.rps = 1.0);
        let accounts: Vec<_> = accounts.into_iter().map(Arc::new).collect();
        let (mut lanes, mut inboxes) = (Vec::new(), Vec::new());
        for (index, account) in accounts.iter().enumerate() {
            let (to_lane, inbox) = unbounded_channel();
            lanes.push(Arc::new(LaneHandle::new(index, account.clone(), to_lane, &bounds)));
            inboxes.push(inbox);
        }
        let (to_desk, desk) = unbounded_channel();
        let lanes = Arc::new(Lanes::new(lanes, vec![to_desk]));
        let names = accounts.iter().map(|a| (a.platform, a.name.clone())).collect();
        let metrics = Metrics::new(Setup { accounts: names, ..Setup::default() });
        let health = Arc::new(Health::default());
        health.answered();
        let gate = Gate::new(accounts, metrics.clone());
        let intake = Intake::new(gate, lanes.clone(), metrics, health.clone(), bounds);
        Self { intake, lanes, inboxes, desk, health, queued: Vec::new(), offset: 0 }
    }

    fn receive(&mut self, topic: &str, account: &str) -> Arc<Open> {
        let event = serde_json::json!({
            "trans_id": "t", "platform": "baizhu", "account": account, "event_type": "install", "event_time_ms": 1
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
            headers: Vec::new(),
            unreadable_headers: 0,
        };
        let (ticket, _) = Ticket::stub(Arc::new(Assignment::new(topic.into(), 0, 1)), self.offset as u64);
        self.offset += 1;
        let open = ticket.open().clone();
        self.intake.received(record, ticket);
        open
    }

    /// Messages that came to a lane: how many records were to be queued at once, or `None` for one to be parked.
    fn told(&mut self, lane: usize) -> Vec<Option<usize>> {
        self.intake.flush();
        let mut told = Vec::new();
        while let Ok(message) = self.inboxes[lane].try_recv() {
            told.push(match message {
                ToLane::Deliver(deliveries) => {
                    let count = deliveries.len();
                    if lane == 0 {
                        self.queued.extend(deliveries.into_iter().map(|d| *d));
                    }
                    Some(count)
                }
                ToLane::Park(_) => None,
            });
        }
        told
    }

    /// Fills lane `a` from this topic.
    fn fill(&mut self, topic: &str) {
        (0..CAP).for_each(|_| _ = self.receive(topic, "a"));
        assert!(self.lanes.get(0).is_full(Visit::Input));
        assert_eq!(self.told(0), [Some(HAND_OVER); CAP / HAND_OVER]);
    }

    /// Leaves so many records in lane `a`.
    fn leave(&mut self, count: usize) {
        self.queued.drain(count..).for_each(|delivery| self.lanes.get(0).dequeued(&delivery));
        assert_eq!(self.lanes.get(0).live.records(), count);
    }

    /// Asked as if it had stopped `ago`.
    fn gate(&mut self, ago: Duration) -> Flow {
        if let Some(stopped) = &mut self.intake.stopped {
            *stopped = Instant::now().checked_sub(ago).unwrap();
        }
        self.intake.gate()
    }
}

#[test]
fn what_a_batch_of_polls_brought_is_handed_over_at_its_end_in_one_message_per_lane() {
    let mut world = World::new(1000, 1 << 20);
    for account in ["a", "b", "a", "nobody"] {
        world.receive("t", account);
    }
    assert!(world.inboxes.iter_mut().all(|inbox| inbox.try_recv().is_err()), "each record alone wakes its thread");
    assert_eq!(world.lanes.get(0).live.records(), 2, "counted before it is handed over");
    assert!(world.desk.try_recv().is_ok(), "what ends at the gate needs no lane");
    assert_eq!((world.told(0), world.told(1)), (vec![Some(2)], vec![Some(1)]));
    assert!(world.told(0).is_empty());
}

#[test]
fn at_the_cap_beside_a_lane_that_flows_arrivals_park() {
    let mut world = World::new(1000, 1 << 20);
    world.receive("t", "b");
    world.fill("t");
    world.receive("t", "a");
    assert_eq!(world.told(0), [None]);
    assert_eq!(world.intake.gate(), Flow::Poll);
    assert!(!world.intake.pause_wanted("t", 0));
    assert_eq!(world.lanes.get(0).live.records(), CAP, "what parks takes no place in the queue");
}

#[test]
fn at_the_cap_alone_arrivals_hold_their_topic_until_there_is_room() {
    let mut world = World::new(1000, 1 << 20);
    world.fill("t");
    world.receive("t", "a");
    assert_eq!(world.told(0), [Some(1)], "never rewritten through Kafka");
    assert!(world.intake.pause_wanted("t", 0) && !world.intake.pause_wanted("u", 0));
    assert_eq!(world.intake.gate(), Flow::Skip, "the only topic: not polled for a moment, before it is paused");
    assert!(world.intake.tick(Instant::now()).is_some());
    // At 7/8, while nothing was paused.
    world.leave(CAP * 7 / 8);
    assert_eq!(world.gate(Duration::ZERO), Flow::Skip);
    world.leave(CAP * 7 / 8 - 1);
    assert_eq!(world.gate(PAUSED_AFTER), Flow::Skip, "after a pause it takes more");
    assert_eq!((world.gate(Duration::ZERO), world.intake.tick(Instant::now())), (Flow::Poll, None));
}

#[test]
fn a_topic_that_is_held_beside_others_pauses_alone_down_to_a_quarter() {
    let mut world = World::new(1000, 1 << 20);
    world.receive("u", "b");
    world.fill("t");
    world.receive("t", "a");
    assert_eq!(world.told(0), [Some(1)]);
    assert!(world.intake.pause_wanted("t", 0));
    assert_eq!(world.intake.gate(), Flow::Poll, "the other topic flows");
    world.leave(CAP / 4);
    world.intake.gate();
    assert!(world.intake.pause_wanted("t", 0), "a pause drops what was prefetched: it is not ended soon");
    world.leave(CAP / 4 - 1);
    world.intake.gate();
    assert!(!world.intake.pause_wanted("t", 0));

    // Its partition leaves, and with it the topic.
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
    assert_eq!(world.intake.gate(), Flow::Skip);
    // Closed, its task parks whatever comes: its topic is not held.
    world.lanes.get(0).halt("why");
    assert_eq!(world.intake.gate(), Flow::Poll);
    world.receive("t", "a");
    assert_eq!(world.told(0), [Some(1)]);
    assert!(!world.intake.pause_wanted("t", 0));
}

#[test]
fn unfinished_records_and_bytes_are_bounded_and_resume_at_seven_eighths() {
    let mut world = World::new(16, 1 << 20);
    let mut opens = Vec::new();
    while world.intake.gate() == Flow::Poll {
        opens.push(world.receive("t", "a"));
    }
    assert_eq!(opens.len(), 16);
    for left in [15, 14, 13] {
        let open = opens.pop().unwrap();
        world.intake.completed(&open, End::Finished(Outcome::Delivered));
        assert_eq!(world.gate(PAUSED_AFTER), Flow::Skip, "{left}: after a pause it waits for half");
        assert_eq!(world.gate(Duration::ZERO) == Flow::Poll, left < 14, "{left}");
    }
    assert_eq!(world.intake.metrics.in_flight_events.get(), 13);

    let mut world = World::new(1000, 64_000);
    let mut opens = Vec::new();
    while world.intake.gate() == Flow::Poll {
        opens.push(world.receive_value("t", "x".repeat(8_000)));
    }
    assert_eq!(opens.len(), 8, "with its bookkeeping each is a little over 8,000 bytes");
    // Given back without being finished, it is no more ours.
    world.intake.returned(&opens.pop().unwrap());
    assert_eq!(world.gate(Duration::ZERO), Flow::Skip);
    world.intake.returned(&opens.pop().unwrap());
    assert_eq!(world.gate(Duration::ZERO), Flow::Poll);
    opens.iter().for_each(|open| world.intake.returned(open));
    assert_eq!(world.intake.metrics.in_flight_bytes.get(), 0);
}

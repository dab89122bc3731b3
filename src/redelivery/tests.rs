//! Tests buffers, due times and bounds without Kafka: the tests hand in records and observe the lanes from outside.

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::account::{Account, Intake};
use crate::clock::now_ms;
use crate::error::Outcome;
use crate::kafka::record::Header;
use crate::lane::handle::LaneHandle;
use crate::lane::handle::inbox::LaneMessage;
use crate::metrics::Setup;
use crate::stub::PLATFORM;

mod refused;
mod rollout;

const TIER: &str = "postback.retry.30s";
const PARKED: &str = "postback.parked.acme";
/// Far enough ahead of the present that nothing becomes due while a test runs.
const LATER_MS: i64 = 20_000;

struct World {
    waiting: Waiting,
    lane: Arc<LaneHandle>,
    inbox: UnboundedReceiver<LaneMessage>,
    /// The lane of another account, `zeta`.
    other: Arc<LaneHandle>,
    other_inbox: UnboundedReceiver<LaneMessage>,
    outbox: UnboundedReceiver<Box<Delivery>>,
    offset: i64,
    /// The time at the origin of what is received next.
    origin_ms: i64,
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(edit: impl Fn(&mut Account)) -> Self {
        let bounds = Intake { max_in_flight: 10_000, max_in_flight_bytes: 64 << 20, drain_timeout: Duration::ZERO };
        let make = |index, name: &str| {
            let mut account = Account::stub(name);
            edit(&mut account);
            let (to_lane, inbox) = unbounded_channel();
            (Arc::new(LaneHandle::new(index, Arc::new(account), to_lane, &bounds)), inbox)
        };
        let ((lane, inbox), (other, other_inbox)) = (make(0, "acme"), make(1, "zeta"));
        let lanes = vec![lane.clone(), other.clone()];
        let accounts: Vec<_> = lanes.iter().map(|lane| lane.account().clone()).collect();
        let (to_outbox, outbox) = unbounded_channel();
        let names = accounts.iter().map(|account| (PLATFORM, account.name.clone())).collect();
        let setup = Setup { accounts: names, ..Setup::default() };
        let metrics = Metrics::new(setup);
        let health = Arc::new(Health::default());
        health.answered();
        let waiting = Waiting::new(
            Examiner::of(accounts, crate::kafka::Config::stub("b:1", &[]).result_topics(), metrics.clone()),
            Arc::new(Lanes::new(lanes, vec![to_outbox])),
            metrics,
            health,
            ("postback.retry".into(), "postback.parked".into()),
            std::sync::mpsc::channel().1,
            Arc::default(),
        );
        Self { waiting, lane, inbox, other, other_inbox, outbox, offset: 0, origin_ms: 1_700_000_000_000 }
    }

    /// Receives an event from this topic, padded by `bytes`.
    fn receive(&mut self, topic: &str, partition: i32, due_ms: Option<i64>, bytes: usize) -> Arc<Open> {
        self.receive_for("acme", topic, partition, due_ms, bytes)
    }

    fn receive_for(
        &mut self,
        account: &str,
        topic: &str,
        partition: i32,
        due_ms: Option<i64>,
        bytes: usize,
    ) -> Arc<Open> {
        let event = serde_json::json!({
            "trans_id": "t-1", "platform": PLATFORM, "account": account, "event_type": "install",
            "event_time_ms": now_ms()
        });
        self.receive_value(topic, partition, due_ms, event.to_string(), bytes)
    }

    fn receive_value(
        &mut self,
        topic: &str,
        partition: i32,
        due_ms: Option<i64>,
        value: String,
        pad: usize,
    ) -> Arc<Open> {
        let origin_ms = self.origin_ms.to_string();
        let origin = [("topic", "in"), ("partition", "0"), ("offset", "7"), ("timestamp", &*origin_ms)];
        // Headers of the producer come before ours.
        let mut headers = vec![Header::text("pad", "x".repeat(pad))];
        headers.extend(origin.map(|(name, value)| Header::text(&format!("pb-origin-{name}"), value)));
        headers.extend(due_ms.map(|due| Header::text("pb-due", due.to_string())));
        let record = Record {
            topic: topic.into(),
            partition,
            offset: self.offset,
            timestamp_ms: Some(now_ms()),
            key: None,
            value: Some(Bytes::from(value)),
            headers,
            unreadable_headers: 0,
        };
        let assignment = Arc::new(Assignment::new(topic.into(), partition, 1));
        let (ack, _) = AckHandle::stub(assignment, self.offset as u64);
        self.offset += 1;
        let open = ack.open().clone();
        self.waiting.received(record, ack);
        open
    }

    fn buffer(&self, topic: &str, partition: i32) -> &PartitionBuffer {
        &self.waiting.buffers[&(Arc::from(topic), partition)]
    }

    fn delivered(&mut self) -> Vec<i64> {
        let mut offsets = Vec::new();
        while let Ok(LaneMessage::Deliver(deliveries)) = self.inbox.try_recv() {
            offsets.extend(deliveries.iter().map(|d| d.record.offset));
        }
        offsets
    }

    /// Checks the buffers, including those that wait for their lanes.
    fn look(&mut self) {
        self.waiting.next_glance = Instant::now();
        self.waiting.flush();
    }

    /// The offsets that lane `acme` was told to queue, and those that it was told to park.
    fn told(&mut self) -> (Vec<i64>, Vec<i64>) {
        told(&mut self.inbox)
    }
}

fn told(inbox: &mut UnboundedReceiver<LaneMessage>) -> (Vec<i64>, Vec<i64>) {
    let (mut queued, mut parked) = (Vec::new(), Vec::new());
    while let Ok(message) = inbox.try_recv() {
        match message {
            LaneMessage::Deliver(deliveries) => queued.extend(deliveries.iter().map(|d| d.record.offset)),
            LaneMessage::Park(delivery) => parked.push(delivery.record.offset),
            LaneMessage::ParkQueue => panic!("nothing tells it"),
        }
    }
    (queued, parked)
}

#[test]
fn a_wait_is_never_longer_than_the_tier_and_a_tenth_and_never_below_zero() {
    let mut world = World::new();
    let now = now_ms();
    let rows = [
        (Some(now + LATER_MS), LATER_MS),
        (Some(now + 400_000), 33_000),
        (Some(now - 5_000), 0),
        // With a bad or missing due time, the record's own time and the tier's delay count.
        (Some(i64::MAX), 30_000),
        (None, 30_000),
    ];
    for (due, wait) in rows {
        let open = world.receive(TIER, 0, due, 1);
        let found = open.next_try_ms.load(std::sync::atomic::Ordering::Relaxed) - now;
        assert!((wait..wait + 5_000).contains(&found), "{due:?}: {found} instead of {wait}");
    }
}

#[test]
fn a_record_of_a_tier_is_due_after_its_wait_whatever_the_wall_clock_is_set_to() {
    const HOUR_MS: i64 = 3_600_000;
    let mut world = World::new();
    world.receive(TIER, 0, Some(now_ms() + 200), 1);
    world.receive(TIER, 0, Some(now_ms() + LATER_MS), 1);
    crate::clock::set_by(HOUR_MS);
    world.waiting.flush();
    crate::clock::set_by(-HOUR_MS);
    std::thread::sleep(Duration::from_millis(250));
    world.waiting.flush();
    crate::clock::set_by(0);
    assert_eq!(world.delivered(), [0], "what is due, not later and nothing else");
}

#[test]
fn what_is_due_goes_to_its_lane_and_the_rest_stays() {
    let mut world = World::new();
    let now = now_ms();
    for due in [now - 1, now + LATER_MS, now] {
        world.receive(TIER, 0, Some(due), 1);
    }
    world.waiting.flush();
    assert_eq!(world.delivered(), [0, 2]);
    assert_eq!(world.buffer(TIER, 0).waiting.len(), 1);
}

#[test]
fn a_parked_record_waits_for_its_lane_and_then_begins_a_new_spell_of_retrying() {
    let mut world = World::new();
    world.lane.halt("why");
    world.receive(PARKED, 0, None, 1);
    world.waiting.flush();
    assert!(world.delivered().is_empty());
    world.lane.switches.halt_saved();
    world.lane.switches.obey(&Default::default());
    assert!(world.lane.is_open());
    world.waiting.next_glance = Instant::now();
    world.waiting.flush();
    let Ok(LaneMessage::Deliver(deliveries)) = world.inbox.try_recv() else { panic!("it stays parked") };
    assert!(deliveries[0].envelope.retry_since_ms.is_some_and(|at| now_ms() - at < 5_000));
}

#[test]
fn a_retry_finds_room_in_its_lane_while_a_parking_backlog_drains() {
    let mut world = World::new();
    // The lane may hold the records of 10 s at its rate.
    let cap = (world.lane.account().limits.rps * 10.0) as usize;
    for _ in 0..2 * cap {
        world.receive(PARKED, 0, None, 1);
    }
    world.waiting.flush();
    assert_eq!(world.delivered().len(), cap / 2, "half of it");
    assert_eq!(world.buffer(PARKED, 0).waiting.len(), 2 * cap - cap / 2);
    let due = world.offset;
    world.receive(TIER, 0, Some(now_ms() - 1), 1);
    world.waiting.flush();
    assert_eq!(world.delivered(), [due], "at once, and not to parking again");
    // More parked records arrive. They wait for their lane, and the buffer is not checked because of them.
    world.receive(PARKED, 0, None, 1);
    assert!(world.waiting.due.is_empty());
}

#[test]
fn what_is_released_shows_in_the_gauges_until_it_is_finished() {
    let mut world = World::new();
    let bytes = |world: &World| {
        let text = world.waiting.metrics.render();
        let of = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)?.trim().parse::<usize>().ok()).unwrap();
        (of("postback_in_flight_events "), of("postback_in_flight_bytes "))
    };
    let opens: Vec<_> = (0..3).map(|_| world.receive(TIER, 0, Some(now_ms() - 1), 100_000)).collect();
    world.receive(TIER, 0, Some(now_ms() + LATER_MS), 100_000);
    world.waiting.flush();
    let (events, size) = bytes(&world);
    assert_eq!(events, 3, "what waits for its time has bounds of its own");
    assert!((300_000..310_000).contains(&size), "{size}");
    for open in opens {
        world.waiting.completed(&open, End::Finished(Outcome::Delivered));
    }
    world.waiting.tick(Instant::now());
    assert_eq!(bytes(&world), (0, 0));
}

#[test]
fn lanes_look_again_once_for_all_partitions_that_leave_together() {
    let mut world = World::new();
    for partition in 0..20 {
        world.receive(TIER, partition, Some(now_ms() + LATER_MS), 1);
    }
    let before = world.lane.changes.count();
    for partition in 0..20 {
        Handler::leaving(&mut world.waiting, &Assignment::new(TIER.into(), partition, 1));
    }
    world.waiting.tick(Instant::now());
    assert_eq!(world.lane.changes.count() - before, 1);
    assert!(world.waiting.due.is_empty() && world.waiting.blocked.is_empty());
    assert_eq!(world.waiting.in_buffers, Load::default());
}

#[test]
fn a_room_pauses_its_partition_at_500_records_and_resumes_it_at_100() {
    let mut world = World::new();
    let due = now_ms() + LATER_MS;
    for n in 1..=500 {
        world.receive(TIER, 0, Some(due), 1);
        assert_eq!(world.waiting.pause_wanted(TIER, 0), n == 500, "{n}");
    }
    world.receive(TIER, 1, Some(due), 1);
    assert!(!world.waiting.pause_wanted(TIER, 1), "another partition reads on");
    for left in [101, 100] {
        let budget = world.waiting.budget();
        let buffer = world.waiting.buffers.get_mut(&(Arc::from(TIER), 0)).unwrap();
        buffer.waiting.truncate(left);
        buffer.bytes = buffer.waiting.iter().map(|g| g.delivery.record.size()).sum();
        buffer.judge_fill(budget);
        assert_eq!(world.waiting.pause_wanted(TIER, 0), left > 100, "{left}");
    }
}

#[test]
fn the_bytes_of_all_rooms_are_shared_and_each_may_hold_one_record_at_least() {
    let mut world = World::new();
    let due = now_ms() + LATER_MS;
    world.receive(TIER, 0, Some(due), 200_000);
    assert!(!world.waiting.pause_wanted(TIER, 0), "1 MiB where there are few buffers");
    for partition in 1..128 {
        world.receive(TIER, partition, Some(due), 1);
    }
    assert_eq!(world.waiting.budget(), 128 * 1024);
    assert!(world.waiting.pause_wanted(TIER, 0), "it shrinks as others come");
    world.receive(TIER, 128, Some(due), 200_000);
    assert_eq!(world.buffer(TIER, 128).waiting.len(), 1, "larger than its share, and read all the same");
    assert!(world.waiting.pause_wanted(TIER, 128));
}

#[test]
fn what_leaves_for_kafka_is_bounded_in_bytes_as_well_as_in_records() {
    let large = "x".repeat(1_000_000);
    let mut world = World::new();
    let mut opens = Vec::new();
    while world.waiting.may_poll() == Flow::Poll {
        opens.push(world.receive_value(TIER, 0, None, large.clone(), 0));
        assert!(opens.len() <= 20, "dead letters pile up: {} MB", opens.len());
    }
    assert!((16..=17).contains(&opens.len()), "{}", opens.len());
    let delivery = world.outbox.try_recv().unwrap();
    assert!(matches!(delivery.subject, Subject::Ended(_)));
    for open in opens.drain(..2) {
        world.waiting.completed(&open, End::Finished(Outcome::DeadLettered));
    }
    assert_eq!(world.waiting.may_poll(), Flow::Poll, "there is room again");
    for open in opens {
        world.waiting.completed(&open, End::Finished(Outcome::DeadLettered));
    }
    assert_eq!(world.waiting.on_its_way(), Load::default());

    for n in 0..LEAVING.records {
        assert_eq!(world.waiting.may_poll(), Flow::Poll, "{n}");
        world.receive_value(TIER, 0, None, String::new(), 0);
    }
    assert_eq!(world.waiting.may_poll(), Flow::Skip);
}

#[test]
fn what_waits_in_rooms_and_lanes_is_not_on_its_way_to_kafka() {
    let mut world = World::new();
    for _ in 0..20 {
        world.receive(TIER, 0, Some(now_ms() + LATER_MS), 200_000);
    }
    assert_eq!(world.waiting.on_its_way(), Load::default());
    for _ in 0..20 {
        world.receive(PARKED, 0, None, 200_000);
        world.waiting.release();
    }
    assert_eq!(world.waiting.on_its_way(), Load::default(), "queued in the lane, or still in the room");
    let Ok(LaneMessage::Deliver(deliveries)) = world.inbox.try_recv() else { panic!("nothing came") };
    let delivery = &deliveries[0];
    let (topic_kind, bytes) = (delivery.topic_kind, delivery.record.size());
    world.lane.occupancy.got_permit(topic_kind, bytes);
    world.lane.occupancy.dequeued(delivery);
    assert_eq!(world.waiting.on_its_way(), Load::default(), "with a permit");
    world.lane.occupancy.permit_ended(topic_kind, bytes);
    assert_eq!(world.waiting.on_its_way(), Load { records: 1, bytes }, "settled, and not yet finished");
}

#[test]
fn a_partition_that_leaves_gives_its_room_back() {
    let mut world = World::new();
    let (topic, due) = (Arc::<str>::from(TIER), now_ms() + LATER_MS);
    for _ in 0..500 {
        world.receive(TIER, 3, Some(due), 1);
    }
    assert!(world.waiting.pause_wanted(TIER, 3));
    let assignment = Assignment::new(topic.clone(), 3, 1);
    assignment.set_leaving();
    Handler::leaving(&mut world.waiting, &assignment);
    assert!(!world.waiting.pause_wanted(TIER, 3), "the pause does not survive it");
    assert!(world.waiting.buffers.is_empty());
}

#[test]
fn whoever_runs_it_is_told_once_an_hour_when_the_oldest_parked_event_has_waited_for_half_of_max_parked() {
    const HOUR: i64 = 3_600_000;
    let mut world = World::new();
    world.lane.halt("errno 3: no such key");
    let (start, now) = (Instant::now(), now_ms());
    let began_ms = now;
    for age in [1, 35, 2] {
        world.receive(PARKED, 0, None, 1);
        let buffer = world.waiting.buffers.get_mut(&(Arc::from(PARKED), 0)).unwrap();
        buffer.waiting.back_mut().unwrap().delivery.envelope.parked_at_ms = Some(now - age * HOUR);
    }
    // A record that a tier brings back was parked once. It waits for its due time, not for its lane.
    world.receive(TIER, 0, Some(now + LATER_MS), 1);
    let tier = world.waiting.buffers.get_mut(&(Arc::from(TIER), 0)).unwrap();
    tier.waiting[0].delivery.envelope.parked_at_ms = Some(now - 70 * HOUR);

    let mut told = |now| {
        let waiting = &mut world.waiting;
        let at = start + Duration::from_millis((now - began_ms) as u64);
        let warnings = waiting.alarm.warnings(&waiting.buffers, &waiting.lanes, (at, now));
        warnings.into_iter().map(|(_, text)| text).collect::<Vec<_>>()
    };
    assert!(told(now).is_empty(), "35 h are less than half of 72 h");
    let text = told(now + HOUR).join("\n");
    for part in ["account acme waits for 36h", "retry.max_parked = 3d", "halted (errno 3", "accounts resume acme"] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert!(told(now + 2 * HOUR - 1).is_empty(), "within the hour");
    assert_eq!(told(now + 2 * HOUR).len(), 1);

    world.lane.switches.halt_saved();
    world.lane.switches.obey(&Default::default());
    let text = told(now + 3 * HOUR).join("\n");
    assert!(text.contains("is flowing: its platform takes less than comes"), "{text}");

    // The consumer's own loop logs the warning, so that within the hour there is nothing more to log.
    world.lane.halt("again");
    for buffered in world.waiting.buffers.values_mut().flat_map(|buffer| &mut buffer.waiting) {
        buffered.delivery.envelope.parked_at_ms = Some(now - 40 * HOUR);
    }
    world.waiting.alarm = Alarm::default();
    world.waiting.tick(start);
    let shown = |world: &World| world.waiting.metrics.account(0).oldest_parked_at_ms.get();
    assert_eq!(shown(&world), now - 40 * HOUR);
    assert!(world.waiting.alarm.warnings(&world.waiting.buffers, &world.waiting.lanes, (start, now)).is_empty());
    let later = (start + Duration::from_secs(3600), now + HOUR);
    assert_eq!(world.waiting.alarm.warnings(&world.waiting.buffers, &world.waiting.lanes, later).len(), 1);

    world.waiting.buffers.clear();
    world.waiting.alarm.look(&world.waiting.buffers, &world.waiting.lanes, &world.waiting.metrics, later.0);
    assert_eq!(shown(&world), 0, "nothing is parked any more, or another replica owns the topic");
}

#[test]
fn where_the_parking_topic_takes_nothing_a_closed_lane_leaves_its_retries_in_their_room() {
    let mut world = World::new();
    world.lane.halt("why");
    let due = now_ms() - 1;
    for _ in 0..400 {
        world.receive(TIER, 0, Some(due), 1);
    }
    world.waiting.flush();
    // 256 records are set aside at once, and none of them leaves.
    let (queued, parked) = world.told();
    assert_eq!((queued.len(), parked.len(), world.buffer(TIER, 0).waiting.len()), (0, 256, 144));
    assert_eq!(world.waiting.may_poll(), Flow::Poll, "others' retries are read on");
    (0..256).for_each(|_| world.lane.occupancy.left_aside(TopicKind::Tier, 0));
    world.look();
    assert_eq!(world.told().1.len(), 144);
}

#[test]
fn parking_topics_that_take_nothing_leave_some_of_what_may_be_on_its_way_to_others() {
    // Each lane alone may set aside as much as half of it.
    let mut world = World::with(|account| account.limits.rps = 1000.0);
    let due = now_ms() - 1;
    world.lane.halt("why");
    world.other.halt("why");
    for partition in 0..3 {
        for account in ["acme", "zeta"] {
            (0..400).for_each(|_| _ = world.receive_for(account, TIER, partition, Some(due), 1));
        }
        world.look();
    }
    let parked = [world.told().1, told(&mut world.other_inbox).1].map(|parked| parked.len());
    assert!(parked.iter().all(|parked| *parked > 200), "each has a part of it: {parked:?}");
    assert_eq!(world.waiting.on_its_way().records, parked.iter().sum::<usize>());
    assert_eq!(world.waiting.may_poll(), Flow::Poll, "{parked:?}");
}

/// The other lanes hold as many records of tiers as all lanes together may, except for less than two of these.
fn others_hold_all(world: &mut World) {
    let bytes = (64 << 20) - 300_000;
    world.other.occupancy.got_permit(TopicKind::Tier, bytes);
    world.receive_for("zeta", TIER, 9, Some(now_ms() + LATER_MS), 1);
    world.receive_for("zeta", TIER, 0, Some(now_ms() + LATER_MS), 1);
}

#[test]
fn a_retry_waits_for_its_lane_where_others_hold_what_all_may_and_is_not_parked() {
    let mut world = World::new();
    others_hold_all(&mut world);
    let first = world.offset;
    (0..3).for_each(|_| _ = world.receive(TIER, 0, Some(now_ms() - 1), 200_000));
    for offset in first..first + 3 {
        world.look();
        let Ok(LaneMessage::Deliver(deliveries)) = world.inbox.try_recv() else { panic!("{offset} is not sent") };
        assert_eq!((deliveries.len(), deliveries[0].record.offset), (1, offset));
        world.look();
        assert_eq!(world.told(), (vec![], vec![]), "one at a time");
        world.lane.occupancy.dequeued(&deliveries[0]);
    }
}

#[test]
fn a_retry_whose_lane_hangs_makes_way_only_where_others_could_not_be_read_for_it() {
    let mut world = World::new();
    others_hold_all(&mut world);
    let first = world.offset;
    (0..3).for_each(|_| _ = world.receive(TIER, 0, Some(now_ms() - 1), 200_000));
    world.look();
    let Some(long_ago) = Instant::now().checked_sub(Duration::from_secs(60)) else { return };
    let hang = |world: &mut World| {
        world.waiting.paces[0] = Pace::new(long_ago);
        world.waiting.paces[0].gives(0, long_ago);
        world.look();
        world.told()
    };
    assert_eq!(hang(&mut world), (vec![first], vec![]), "its partition is read on");
    (0..4).for_each(|_| _ = world.receive(TIER, 0, Some(now_ms() - 1), 200_000));
    assert!(world.waiting.pause_wanted(TIER, 0));
    assert_eq!(hang(&mut world), (vec![], (first + 1..first + 7).collect()));
    assert!(!world.waiting.pause_wanted(TIER, 0));
    assert_eq!(world.buffer(TIER, 0).waiting.len(), 1, "the other's, which is not due");
}

#[test]
fn while_redis_is_away_a_retry_of_a_holding_account_makes_way_for_one_that_delivers_and_for_no_other() {
    for (delivers, parked) in [(false, 0), (true, 1)] {
        let mut world = World::with(|account| {
            if delivers && &*account.name == "zeta" {
                account.when_unavailable = crate::account::WhenUnavailable::Deliver;
            }
        });
        world.receive_for("zeta", TIER, 0, Some(now_ms() + LATER_MS), 1);
        let cap = (world.lane.account().limits.rps * 10.0) as usize;
        (0..cap).for_each(|_| world.lane.occupancy.released.add(1));
        world.waiting.health.failed("away");
        world.receive(TIER, 0, Some(now_ms() - 1), 1);
        world.look();
        assert_eq!(world.told().1.len(), parked, "the other one delivers: {delivers}");
    }
}

#[test]
fn a_retry_that_was_parked_for_too_long_waits_for_its_full_lane_and_ends_there() {
    let mut world = World::new();
    world.receive_for("zeta", TIER, 0, Some(now_ms() + LATER_MS), 1);
    let first = world.offset;
    let cap = (world.lane.account().limits.rps * 10.0) as usize;
    (0..cap).for_each(|_| world.lane.occupancy.released.add(1));
    let receive = |world: &mut World, parked_at_ms: i64| {
        world.receive(TIER, 0, Some(now_ms() + 1), 1);
        let buffer = world.waiting.buffers.get_mut(&(Arc::from(TIER), 0)).unwrap();
        let buffered = buffer.waiting.back_mut().unwrap();
        buffered.delivery.envelope.parked_at_ms = Some(parked_at_ms);
        buffered.overdue_ms = overdue_ms(&buffered.delivery);
    };
    receive(&mut world, now_ms());
    receive(&mut world, now_ms() - 100 * 3_600_000);
    std::thread::sleep(Duration::from_millis(5));
    world.look();
    assert_eq!(world.told(), (vec![], vec![first]), "whoever has time left parks beside the other one");
    // One place is for the record that was set aside, and one for this record.
    (0..2).for_each(|_| world.lane.occupancy.released.sub(1));
    world.look();
    assert_eq!(world.told(), (vec![first + 1], vec![]));

    // A closed lane still takes a record that has to end, although nothing more can be set aside.
    world.lane.halt("why");
    (2..cap).for_each(|_| world.lane.occupancy.released.sub(1));
    (0..ASIDE_RELEASED.0).for_each(|_| world.other.occupancy.set_aside(TopicKind::Tier, 0));
    receive(&mut world, now_ms());
    receive(&mut world, now_ms() - 100 * 3_600_000);
    std::thread::sleep(Duration::from_millis(5));
    world.look();
    assert_eq!(world.told(), (vec![first + 3], vec![]));
    (0..10).for_each(|_| world.other.occupancy.left_aside(TopicKind::Tier, 0));
    world.look();
    assert_eq!(world.told(), (vec![], vec![first + 2]));
}

#[test]
fn of_a_lane_that_got_only_throttled_answers_one_parked_record_is_let_go_as_the_push_back_ends() {
    fn look(world: &mut World) {
        world.waiting.next_glance = Instant::now();
        world.waiting.release();
    }
    let mut world = World::new();
    world.lane.throttle.push_back(Duration::from_secs(60));
    world.lane.throttle.set_only_throttled(true);
    (0..3).for_each(|_| drop(world.receive(PARKED, 0, None, 1)));
    look(&mut world);
    assert_eq!(world.delivered(), [0; 0], "pushed back");
    world.lane.throttle.forget();
    look(&mut world);
    let Ok(LaneMessage::Deliver(tried)) = world.inbox.try_recv() else { panic!("none is tried") };
    look(&mut world);
    assert_eq!(world.delivered(), [0; 0], "while one is tried no other goes");
    assert!(tried.len() == 1 && tried[0].probe.is_some() && tried[0].record.offset == 0);
    drop(tried);
    look(&mut world);
    let Ok(LaneMessage::Deliver(next)) = world.inbox.try_recv() else {
        panic!("none is tried after one that was not sent")
    };
    assert_eq!((next.len(), next[0].record.offset), (1, 1));
    world.lane.throttle.set_only_throttled(false);
    look(&mut world);
    assert_eq!(world.delivered(), [2], "open again");
}

/// Fails so many requests of the lane that its breaker opens.
fn break_lane(lane: &LaneHandle) {
    use crate::lane::handle::breaker::BreakerInput;
    (0..20).for_each(|_| _ = lane.report(BreakerInput::Failed, false, || "HTTP 500".into()));
    assert!(!lane.is_open());
}

#[test]
fn of_a_broken_lane_one_parked_record_is_let_go_when_a_probe_is_due_and_retries_that_are_due_park() {
    let mut world = World::new();
    break_lane(&world.lane);
    (0..3).for_each(|_| drop(world.receive(PARKED, 0, None, 1)));
    world.look();
    assert_eq!(world.told(), (vec![], vec![]), "nothing is sent");
    world.lane.breaker.make_probe_due(Duration::ZERO);
    let retry = world.offset;
    world.receive(TIER, 0, Some(now_ms() - 1), 1);
    world.look();
    let Ok(LaneMessage::Park(parked)) = world.inbox.try_recv() else { panic!("a parked one comes first") };
    assert_eq!(parked.record.offset, retry);
    let Ok(LaneMessage::Deliver(tried)) = world.inbox.try_recv() else { panic!("none is tried") };
    assert!(tried.len() == 1 && tried[0].probe.is_some() && tried[0].record.offset == 0);
    world.look();
    assert_eq!(world.told(), (vec![], vec![]), "one at a time");
    drop(tried);
    world.look();
    assert_eq!(world.told().0, [1], "the one before was not sent");
}

#[test]
fn of_a_halted_lane_one_parked_record_is_let_go_where_this_replica_may_try_one() {
    let mut world = World::new();
    world.lane.halt("errno 3");
    (0..3).for_each(|_| drop(world.receive(PARKED, 0, None, 1)));
    world.look();
    assert_eq!(world.told(), (vec![], vec![]));
    let halt = world.lane.switches.present().halted.unwrap();
    world.lane.halt_probe().grant(tokio::time::Instant::now() + Duration::from_secs(30), &halt);
    world.look();
    let Ok(LaneMessage::Deliver(tried)) = world.inbox.try_recv() else { panic!("none is tried") };
    assert!(tried[0].probe.as_ref().is_some_and(|probe| probe.is_through_halt()) && tried[0].record.offset == 0);
    world.look();
    assert_eq!(world.told(), (vec![], vec![]), "one at a time");
}

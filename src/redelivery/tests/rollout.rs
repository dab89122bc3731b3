//! What the loop does with events that a gray release does not send yet.

use super::*;
use crate::account::rollout::{Share, partition_of};
use crate::lane::handle::switches::{Switch, Switches};

const REMAINDER: &str = "postback.parked.acme.rollout";

/// A tenth of the events is sent.
fn world() -> World {
    World::with(|account| account.rollout = Share::of_hundredths(1_000))
}

impl World {
    /// Receives the event with this trans_id from this topic.
    fn receive_id(&mut self, trans_id: &str, topic: &str, partition: i32) -> Arc<Open> {
        let event = serde_json::json!({
            "trans_id": trans_id, "platform": PLATFORM, "account": "acme", "event_type": "install",
            "event_time_ms": now_ms()
        });
        self.receive_value(topic, partition, Some(now_ms() - 1), event.to_string(), 1)
    }

    fn oldest_seconds(&self) -> f64 {
        self.waiting.metrics.account(0).rollout_oldest.get()
    }
}

#[test]
fn a_partition_that_the_share_does_not_cover_rests_after_one_record_and_nothing_of_it_is_open() {
    let mut world = world();
    let pauses = world.waiting.pauses();
    world.receive_id("d", REMAINDER, 13);
    let open = world.receive_id("f", REMAINDER, 14);
    assert_ne!(world.waiting.pauses(), pauses);
    for (partition, rests) in [(13, true), (14, true), (15, false), (9, false)] {
        assert_eq!(world.waiting.pause_wanted(REMAINDER, partition), rests, "{partition}");
    }
    world.look();
    assert_eq!(world.told(), (vec![], vec![]));
    let metrics = world.waiting.metrics.clone();
    assert_eq!((metrics.account(0).open.get(), world.waiting.open, open.info.get()), (0, Load::default(), None));
    assert_eq!(open.stage(), Stage::Waiting);
    world.waiting.tick(Instant::now());
    let age = now_ms() as f64 / 1000.0 - 1_700_000_000.0;
    assert!((world.oldest_seconds() - age).abs() < 60.0, "since its origin: {}", world.oldest_seconds());
    // Its end counts nowhere either.
    world.waiting.returned(&open);
    assert_eq!((metrics.account(0).open.get(), world.waiting.open), (0, Load::default()));
    world.waiting.leaving(&Assignment::new(REMAINDER.into(), 13, 1));
    assert!(!world.waiting.pause_wanted(REMAINDER, 13) && world.waiting.pause_wanted(REMAINDER, 14));
}

#[test]
fn a_partition_that_the_share_covers_flows_into_its_lane_without_a_time_of_parking() {
    let mut world = world();
    world.receive_id("b", REMAINDER, partition_of("b"));
    world.look();
    let Ok(LaneMessage::Deliver(deliveries)) = world.inbox.try_recv() else { panic!("it is not released") };
    assert_eq!((deliveries.len(), deliveries[0].envelope.parked_at_ms), (1, None));
    assert!(deliveries[0].envelope.retry_since_ms.is_some() && deliveries[0].is_of_remainder());
    assert!(!world.lane.holds_back(&deliveries[0]), "the share was judged by the partition");
}

#[test]
fn of_several_partitions_the_one_with_the_oldest_event_flows_first() {
    let mut world = World::with(|account| account.limits.rps = 1.0);
    let paused = Switches { paused: Some(Switch::pause("x", "x", 1)), halted: None };
    world.lane.switches.obey(&paused);
    for (n, partition) in [30, 10, 20].into_iter().enumerate() {
        world.origin_ms = 1_700_000_000_000 + i64::from(partition);
        assert_eq!(n as i64, world.offset);
        world.receive_id("b", REMAINDER, partition);
    }
    world.origin_ms = 1_700_000_000_500;
    world.receive_id("b", PARKED, 0);
    world.look();
    assert_eq!(world.told(), (vec![], vec![]), "the lane is closed");
    world.lane.switches.obey(&Switches::default());
    world.look();
    assert_eq!(world.told(), (vec![3, 1, 2, 0], vec![]), "what was parked before, then by age");
}

#[test]
fn what_was_parked_is_judged_by_the_share_once_its_lane_is_open() {
    let mut world = world();
    let paused = Switches { paused: Some(Switch::pause("x", "x", 1)), halted: None };
    world.lane.switches.obey(&paused);
    world.receive_id("a", PARKED, 0);
    world.receive_id("b", PARKED, 0);
    world.receive_id("a", TIER, 0);
    world.look();
    assert_eq!(world.told(), (vec![], vec![2]), "the lane is closed: a retry is parked, what is parked stays");
    world.lane.switches.obey(&Switches::default());
    world.look();
    assert_eq!(world.told(), (vec![1], vec![0]), "the share takes the second one; the lane moves the first one on");
}

#[test]
fn a_larger_topic_or_an_account_that_is_gone_keeps_nothing_back() {
    let mut world = world();
    world.receive_id("a", REMAINDER, 100);
    assert!(!world.waiting.pause_wanted(REMAINDER, 100));
    let gone = "postback.parked.gone.rollout";
    world.receive_value(gone, 50, None, "{}".into(), 1);
    assert!(!world.waiting.pause_wanted(gone, 50));
    assert!(world.outbox.try_recv().is_ok(), "its events end");
}

#[test]
fn of_a_partition_whose_share_grew_nothing_goes_before_it_is_read_again_with_what_rests() {
    let mut world = world();
    world.receive_id("d", REMAINDER, 13);
    let mut account = Account::clone(&world.lane.account());
    account.rollout = Share::of_hundredths(2_000);
    world.lane.set_account(Arc::new(account));
    // The share covers the partition now, and the first record of it is not given back yet.
    world.receive_id("f", REMAINDER, 13);
    world.look();
    assert_eq!(world.told(), (vec![], vec![]), "the second record would be read twice");
    world.waiting.tick(Instant::now() + Duration::from_secs(1));
    world.receive_id("g", REMAINDER, 13);
    world.look();
    assert!(world.waiting.pause_wanted(REMAINDER, 13), "the consumer has not taken it away yet");
    assert_eq!(world.told(), (vec![], vec![]), "nor the third");
    world.waiting.leaving(&Assignment::new(REMAINDER.into(), 13, 1));
    assert!(!world.waiting.pause_wanted(REMAINDER, 13));
    world.receive_id("d", REMAINDER, 13);
    world.look();
    assert_eq!(world.told().0.len(), 1, "read again");
}

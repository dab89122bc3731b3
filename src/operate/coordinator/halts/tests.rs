use std::sync::Arc;

use super::*;
use crate::account::Halted;
use crate::delivery::TopicKind;
use crate::operate::audit::{self, AuditRecord};
use crate::operate::coordinator::tests::World;
use crate::operate::{Keys, SwitchesByAccount, lanes};

const PARKED: TopicKind = TopicKind::Parked;

/// A world whose account is halted, and has parked events at this replica.
async fn halted(reason: &str, by_hand: bool) -> (World, Arc<LaneHandle>) {
    let mut world = World::new().await;
    world.set_epoch("e1").await;
    world.look().await;
    let lane = world.coordinator.lanes.get(0).clone();
    lane.switches.halt(reason, by_hand);
    world.coordinator.halted(&mut world.memory.switches, Halted { index: 0, reason: reason.into(), by_hand });
    world.look().await;
    assert!(stored(&mut world).await.contains_key("acme"));
    world.coordinator.metrics.account(0).parked.set(3);
    (world, lane)
}

async fn stored(world: &mut World) -> SwitchesByAccount {
    lanes::read_lanes(&mut world.connection, &Keys::new("pb")).await.unwrap()
}

/// Lets the time between two probes pass, and takes the next step.
async fn pass(world: &mut World) {
    let () = ::redis::cmd("DEL").arg("pb:halt_probe:acme").query_async(&mut world.connection).await.unwrap();
    end_halts(world).await;
}

async fn end_halts(world: &mut World) {
    world.coordinator.end_halts(&mut world.connection).await.unwrap();
}

async fn audited(world: &mut World) -> Vec<AuditRecord> {
    audit::waiting(&mut world.connection, &Keys::new("pb")).await.unwrap()
}

#[tokio::test]
async fn one_parked_event_is_tried_after_the_interval_and_ends_the_halt_where_it_is_accepted() {
    let (mut world, lane) = halted("errno 3", false).await;
    end_halts(&mut world).await;
    assert!(lane.take_probe(PARKED).is_none(), "it was halted just now");
    let life: i64 = ::redis::cmd("PTTL").arg("pb:halt_probe:acme").query_async(&mut world.connection).await.unwrap();
    assert!((290_000..=300_000).contains(&life), "{life} ms");

    pass(&mut world).await;
    let probe = lane.take_probe(PARKED).unwrap();
    end_halts(&mut world).await;
    assert!(lane.is_open_for(&probe), "the lock is renewed while it goes on");
    lane.halt_probe().answered(false);
    drop(probe);
    end_halts(&mut world).await;
    assert!(lane.take_probe(PARKED).is_none() && !lane.is_open());
    end_halts(&mut world).await;
    assert!(lane.take_probe(PARKED).is_none(), "the next one waits for the interval");

    pass(&mut world).await;
    let probe = lane.take_probe(PARKED).unwrap();
    lane.halt_probe().answered(true);
    drop(probe);
    end_halts(&mut world).await;
    assert!(lane.is_open() && stored(&mut world).await.is_empty());
    let record = audited(&mut world).await.pop().unwrap();
    assert_eq!((record.what.as_str(), record.via, record.who.as_str()), ("resume", Via::Worker, "worker r1"));
    assert_eq!(record.why, "a parked event was accepted; the account was halted: errno 3");
    world.look().await;
    assert!(lane.is_open(), "what redis says is the same");
}

#[tokio::test]
async fn one_replica_at_a_time_tries() {
    let (mut world, lane) = halted("errno 3", false).await;
    let keys = Keys::new("pb");
    let () = ::redis::cmd("DEL").arg(keys.halt_probe("acme")).query_async(&mut world.connection).await.unwrap();
    assert!(ending::take_probe(&mut world.connection, &keys, "acme", "r2", LOCK).await.unwrap());
    end_halts(&mut world).await;
    assert!(lane.take_probe(PARKED).is_none(), "the other one does");
    pass(&mut world).await;
    assert!(lane.offers_probe(PARKED));
    assert!(!ending::take_probe(&mut world.connection, &keys, "acme", "r2", LOCK).await.unwrap());
}

#[tokio::test]
async fn nothing_is_tried_where_nothing_is_parked_the_lane_is_paused_or_the_halt_waits_for_a_person() {
    let (mut world, lane) = halted("errno 3", false).await;
    world.coordinator.metrics.account(0).parked.set(0);
    pass(&mut world).await;
    assert!(lane.take_probe(PARKED).is_none());
    world.coordinator.metrics.account(0).parked.set(1);
    pass(&mut world).await;
    assert!(lane.offers_probe(PARKED));
    let by = By::new(Via::Cli, "li", "audit");
    lanes::pause(&mut world.connection, &Keys::new("pb"), "acme", &by, 5).await.unwrap();
    world.look().await;
    world.coordinator.metrics.account(0).parked.set(1);
    pass(&mut world).await;
    assert!(lane.take_probe(PARKED).is_none());

    for by_hand in [true, false] {
        // A halt that an earlier version wrote says in its reason alone that it waits for a person.
        let (mut world, lane) = halted("20 permanent answers in a row: check the settings", by_hand).await;
        if !by_hand {
            let old = r#"{"reason":"20 permanent answers in a row: check, then resume","who":"worker 1","since_ms":7}"#;
            let words = ("pb:lanes", "acme:halted", old);
            let () = ::redis::cmd("HSET").arg(words).query_async(&mut world.connection).await.unwrap();
            world.look().await;
            world.coordinator.metrics.account(0).parked.set(3);
        }
        pass(&mut world).await;
        assert!(lane.take_probe(PARKED).is_none(), "{by_hand}");
        lane.halt_probe().credential_replaced();
        end_halts(&mut world).await;
        assert!(!lane.is_open() && stored(&mut world).await.contains_key("acme"), "{by_hand}");
    }
}

#[tokio::test]
async fn another_credential_ends_a_halt_and_what_was_halted_anew_stays() {
    let (mut world, lane) = halted("errno 3", false).await;
    lane.halt_probe().credential_replaced();
    end_halts(&mut world).await;
    assert!(lane.is_open() && stored(&mut world).await.is_empty());
    assert!(audited(&mut world).await.pop().unwrap().why.starts_with("another credential was loaded"));

    // The answer of a probe comes after an operator resumed the account, and after it was halted once more.
    let (mut world, lane) = halted("errno 3", false).await;
    pass(&mut world).await;
    let probe = lane.take_probe(PARKED).unwrap();
    let (keys, by) = (Keys::new("pb"), By::new(Via::Cli, "li", "mended"));
    lanes::resume(&mut world.connection, &keys, "acme", &by, 6).await.unwrap();
    let ends = lanes::Ends::ByProbe { every: Duration::from_secs(300) };
    let token = lanes::read_switches(&mut world.connection, &keys).await.unwrap().1["acme"].clone();
    assert!(lanes::halt(&mut world.connection, &keys, "acme", &by, ends, Some(&token), 8).await.unwrap());
    lane.halt_probe().answered(true);
    drop(probe);
    end_halts(&mut world).await;
    assert_eq!(stored(&mut world).await["acme"].halted.as_ref().unwrap().since_ms, 8);
    world.look().await;
    assert!(!lane.is_open());
}

#[tokio::test]
async fn an_account_may_do_without_probes() {
    let (mut world, _) = halted("errno 3", false).await;
    let mut account = (**world.coordinator.lanes.get(0).account()).clone();
    account.retry.halt_probe = Duration::ZERO;
    let bounds =
        crate::account::Intake { max_in_flight: 100, max_in_flight_bytes: 1 << 20, drain_timeout: Duration::ZERO };
    let inbox = tokio::sync::mpsc::unbounded_channel().0;
    let lane = Arc::new(LaneHandle::new(0, Arc::new(account), inbox, &bounds));
    world.coordinator.lanes = Arc::new(crate::lane::handle::lanes::Lanes::new(vec![lane.clone()], Vec::new()));
    world.look().await;
    world.coordinator.metrics.account(0).parked.set(3);
    pass(&mut world).await;
    assert!(!lane.is_open() && lane.take_probe(PARKED).is_none());
}

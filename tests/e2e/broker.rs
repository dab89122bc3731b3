//! Kafka away, and Kafka with one broker less.

use crate::support::ledger::Check;
use crate::support::platform::Platform;
use crate::support::world::{Setup, World};
use crate::support::{eventually, millis, secs};

#[test]
fn a_broker_stopped_and_started_under_load_loses_nothing() {
    let mut w = World::with("broker", Setup { brokers: 1, ..Setup::default() });
    let account = w.account("acme-ps", Platform::Qihoo360);
    account.latency(millis(30));
    w.set("accounts.acme-ps.limits.rps", 80);
    let mut worker = w.started();
    let events = w.make.orders("acme-ps", 500);
    w.publish(events);
    eventually(secs(30), "it flows", || account.executed() > 100);
    w.cluster.as_mut().unwrap().stop();
    eventually(secs(20), "not ready, and live", || !worker.ready() && worker.live());
    let held_by_kafka = || worker.metrics().total("worker_holds", &[("cause", "kafka")]);
    eventually(secs(20), "the metrics name the cause", || held_by_kafka() == 1.0);
    w.cluster.as_mut().unwrap().start();
    eventually(secs(60), "ready again", || worker.ready());
    eventually(secs(20), "nothing holds any more", || held_by_kafka() == 0.0);
    let events = w.make.orders("acme-ps", 100);
    w.publish(events);
    w.settle(secs(120));
    w.ledger(&Check::DISTURBED);
    assert!(worker.alive() && worker.launches() == 1);
}

#[test]
fn three_brokers_that_lose_one_under_load_lose_nothing() {
    let mut w = World::with("brokers", Setup { brokers: 3, ..Setup::default() });
    let account = w.account("acme-ps", Platform::Qihoo360);
    account.latency(millis(30));
    w.set("accounts.acme-ps.limits.rps", 80);
    let mut worker = w.started();
    let mut events = w.make.orders("acme-ps", 600);
    events.extend(
        (0..20).map(|_| w.make.order("acme-ps").spoiled("invalid", "trans_id", |e| e["trans_id"] = "a b".into())),
    );
    w.publish(events);
    eventually(secs(30), "it flows", || account.executed() > 100);
    w.cluster.as_mut().unwrap().kill_one(2);
    let events = w.make.orders("acme-ps", 200);
    w.publish(events);
    w.settle(secs(120));
    w.cluster.as_mut().unwrap().start_one(2);
    w.ledger(&Check::DISTURBED);
    assert!(worker.alive());
}

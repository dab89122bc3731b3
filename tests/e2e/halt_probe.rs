//! A halt that has lost its cause ends by itself: one parked event is tried now and then.

use crate::support::event::Expect;
use crate::support::ledger::Check;
use crate::support::platform::{Action, Platform, Rule};
use crate::support::world::World;
use crate::support::{eventually, millis, secs};
use std::time::Duration;

#[test]
fn a_credential_that_the_platform_accepts_again_lets_the_account_flow_without_a_hand() {
    let mut w = World::new("halt-probe");
    let account = w.account("acme-ps", Platform::Qihoo360);
    let other = w.account("acme-ms", Platform::Qihoo360);
    w.set("retry.halt_probe", "3s");
    let right = account.secret();
    account.set_secret("rotated-away");
    let worker = w.started();
    let mut events = Vec::new();
    for _ in 0..100 {
        events.extend(["acme-ps", "acme-ms"].map(|a| w.make.order(a)));
    }
    w.publish_at(events, Some(200.0), None);
    eventually(secs(20), "the account is halted", || worker.lane_state("acme-ps") == "halted");
    eventually(secs(20), "the other one is served", || other.executed() == 100);
    eventually(secs(20), "the work of the halted account is parked", || w.records("parked").len() >= 100);
    let list = worker.must(&["accounts", "list"]);
    assert!(list.contains("retry.halt_probe") && list.contains("accounts resume"), "how it ends: {list}");
    let refused = account.request_count();
    eventually(secs(20), "two probes were refused", || account.request_count() >= refused + 2);
    assert_eq!(worker.lane_state("acme-ps"), "halted");

    account.set_secret(&right);
    w.settle(secs(60));
    let books = w.ledger(&Check { bad_requests: true, ..Check::EXACT });
    w.counters(&worker, &books);
    assert!(books.dead.is_empty());
    assert!(w.events.iter().all(|e| books.receipt(e).attempts == 1), "a halt is no attempt");
    eventually(secs(10), "it flows", || worker.lane_state("acme-ps") == "flowing");
    eventually(secs(20), "the audit names the worker and why", || {
        w.records("audit").iter().any(|record| {
            let text = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default());
            text.contains("a parked event was accepted") && text.contains("\"via\":\"worker\"")
        })
    });
}

#[test]
fn of_two_replicas_one_at_a_time_tries_and_no_sooner_than_the_interval() {
    const EVERY: Duration = Duration::from_secs(3);
    let mut w = World::new("halt-probe-two");
    let account = w.account("acme-ps", Platform::Qihoo360);
    w.set("retry.halt_probe", "3s");
    let right = account.secret();
    account.set_secret("rotated-away");
    let mut workers = [w.started(), w.started()];
    let events = w.make.orders("acme-ps", 60);
    w.publish(events);
    for worker in &workers {
        eventually(secs(20), "the account is halted", || worker.lane_state("acme-ps") == "halted");
    }
    // What was under way when it halted has ended.
    std::thread::sleep(millis(2500));
    let before = account.request_count();
    eventually(secs(30), "three probes were refused", || account.request_count() >= before + 3);
    let probes = account.requests()[before..].to_vec();
    for pair in probes.windows(2) {
        let apart = pair[1].arrived.duration_since(pair[0].arrived).unwrap_or_default();
        assert!(apart + millis(300) >= EVERY, "two probes within {apart:?}");
    }
    // The parking topic moves to the other one, which goes on.
    workers[0].kill();
    account.set_secret(&right);
    w.settle(secs(90));
    eventually(secs(10), "it flows", || workers[1].lane_state("acme-ps") == "flowing");
    w.ledger(&Check { bad_requests: true, disturbed: true, exact: false });
}

#[test]
fn a_halt_for_twenty_permanent_answers_waits_for_a_hand() {
    let mut w = World::new("halt-by-hand");
    let account = w.account("acme-ps", Platform::Qihoo360);
    w.set("accounts.acme-ps.limits.concurrency", 1);
    w.set("retry.halt_probe", "1s");
    let worker = w.started();
    let mut events = w.make.orders("acme-ps", 30);
    for event in &mut events[..20] {
        event.expect = Expect::Dead { reason: "rejected", field: "" };
    }
    account.rules(vec![Rule::all(Action::Errno(3)).about(events[..20].iter().map(|e| e.ident()))]);
    w.publish_at(events, None, Some(0));
    eventually(secs(30), "the account is halted", || worker.lane_state("acme-ps") == "halted");
    eventually(secs(20), "what follows is parked", || w.records("parked").len() == 10);
    std::thread::sleep(secs(5));
    assert_eq!((account.request_count(), worker.lane_state("acme-ps").as_str()), (20, "halted"), "nothing is tried");
    let list = worker.must(&["accounts", "list"]);
    assert!(list.contains("waits for `accounts resume`"), "{list}");
    worker.must(&["accounts", "resume", "acme-ps", "--reason", "a test"]);
    w.settle(secs(60));
    let books = w.ledger(&Check::EXACT);
    w.counters(&worker, &books);
}

/// The oldest parked event is refused for reasons of its own, as if its credential were wrong. The others are fine.
#[test]
fn an_event_that_is_refused_alone_does_not_keep_its_account_halted() {
    let mut w = World::new("halt-alone");
    let account = w.account("acme-ps", Platform::Qihoo360);
    w.set("retry.halt_probe", "2s");
    let worker = w.started();
    let mut bad = w.make.order("acme-ps");
    bad.expect = Expect::Open;
    let ident = bad.ident().clone();
    account.rules(vec![Rule::all(Action::Errno(2)).about([&ident])]);
    w.publish(vec![bad]);
    eventually(secs(20), "the account is halted", || worker.lane_state("acme-ps") == "halted");
    eventually(secs(20), "it is the oldest in parking", || w.records("parked").len() == 1);
    let events = w.make.orders("acme-ps", 60);
    w.publish(events);
    eventually(secs(90), "another one was tried, and all others are delivered", || account.executed() == 60);
    // It halts the account again, and again the next probe is another event.
    for n in 1..=3 {
        let events = w.make.orders("acme-ps", 20);
        w.publish(events);
        eventually(secs(90), "what follows is delivered too", || account.executed() == 60 + 20 * n);
    }
    assert!(account.requests_about(&ident).len() >= 2, "it is tried again");
    w.settle(secs(60));
    w.ledger(&Check::EXACT);
}

//! A platform that fails: its lane stops calling it, and nothing but its own events waits.

use crate::support::event::{Event, Expect};
use crate::support::ledger::{Check, Ends};
use crate::support::platform::{Account, Action, Platform, Rule};
use crate::support::worker::Worker;
use crate::support::world::World;
use crate::support::{eventually, millis, secs};
use std::collections::HashMap;

fn outage() -> Vec<Rule> {
    vec![Rule::all(Action::Status(500, None))]
}

fn breaker_state(worker: &Worker, account: &str) -> String {
    let metrics = worker.metrics();
    let all = metrics.series.iter().filter(|s| s.name == "postback_breaker_state" && s.value > 0.5);
    let mut found = all.filter(|s| s.label("account") == Some(account)).filter_map(|s| s.label("state"));
    let state = found.next().unwrap_or_default().to_owned();
    assert_eq!(found.next(), None, "two states at once");
    state
}

/// Waits until the breaker has opened, and until requests that were under way have ended. Returns how many there were.
fn stopped(worker: &Worker, account: &Account) -> usize {
    eventually(secs(20), "the lane is broken", || worker.lane_state(&account.name) == "broken");
    let mut count = account.request_count();
    eventually(secs(10), "what was under way has ended", || {
        std::thread::sleep(millis(1500));
        std::mem::replace(&mut count, account.request_count()) == count
    });
    count
}

#[test]
fn an_outage_parks_its_events_burns_no_attempts_and_ends_without_a_second_trip() {
    let mut w = World::new("outage");
    let dead = w.account("acme-ps", Platform::Qihoo360);
    let live = w.account("acme-bz", Platform::Baizhu);
    let worker = w.started();
    assert_eq!(breaker_state(&worker, "acme-ps"), "closed", "born at rest");
    dead.rules(outage());
    let mut events = Vec::new();
    for _ in 0..1500 {
        events.push(w.make.order("acme-ps"));
        events.push(w.make.effective_user("acme-bz"));
    }
    w.publish_at(events, Some(300.0), None);
    let sent = stopped(&worker, &dead);
    assert!(sent < 150, "{sent} requests before the breaker opened");
    eventually(secs(15), "the other account has everything", || live.executed() == 1500);
    let (group, input) = (w.group(), w.topic("conversions"));
    eventually(secs(20), "parked work does not hold the offsets back", || w.admin.at_end(&group, &input));
    assert!(w.records("parked.acme-bz").is_empty(), "the other account was parked");
    for shown in [&["accounts", "list"][..], &["blocked"]] {
        let text = worker.must(shown);
        assert!(text.contains("broken") && text.contains("last failure: HTTP 500"), "{shown:?}: {text}");
    }
    assert_eq!(worker.lane_state("acme-bz"), "flowing");

    // Probes fail one by one.
    eventually(secs(40), "it is probed", || breaker_state(&worker, "acme-ps") == "probing");
    eventually(secs(20), "two probes have failed", || dead.request_count() >= sent + 2);
    let probed = dead.request_count();
    dead.rules(Vec::new());
    eventually(secs(30), "it flows again", || worker.lane_state("acme-ps") == "flowing");
    w.settle(secs(90));
    eventually(secs(20), "all permits are back", || breaker_state(&worker, "acme-ps") == "closed");
    assert_eq!(worker.log().matches("breaker open").count(), 1, "it opened a second time");
    let books = w.ledger(&Check::EXACT);
    w.counters(&worker, &books);
    assert!(books.dead.is_empty());

    // What goes to a tier is what was really tried: once in the beginning, or as a probe.
    let mut retried: HashMap<_, usize> = HashMap::new();
    w.records("retry").iter().filter_map(|record| record.origin()).for_each(|at| *retried.entry(at).or_default() += 1);
    let all: usize = retried.values().sum();
    assert!(all <= probed, "{all} hand-offs to tiers, and {probed} requests failed");
    assert!(retried.values().all(|times| *times <= 2), "{retried:?}");
    let ends = books.ends();
    let once = |e: &&Event| {
        let receipt = e.at.as_ref().and_then(|at| ends.get(at)).and_then(Ends::main);
        e.account == "acme-ps" && receipt.is_some_and(|receipt| receipt.attempts == 1)
    };
    let unharmed = w.events.iter().filter(once).count();
    assert!(unharmed >= 1500 - probed, "{unharmed} events needed one attempt");
}

#[test]
fn a_platform_that_comes_and_goes_loses_nothing_and_takes_nothing_from_others() {
    let mut w = World::new("flapping");
    let flaps = w.account("acme-ps", Platform::Qihoo360);
    let live = w.account("acme-bz", Platform::Baizhu);
    let worker = w.started();
    for _ in 0..3 {
        for rules in [outage(), Vec::new()] {
            flaps.rules(rules);
            let mut events = Vec::new();
            for _ in 0..300 {
                events.extend([w.make.order("acme-ps"), w.make.effective_user("acme-bz")]);
            }
            w.publish_at(events, Some(60.0), None);
        }
    }
    eventually(secs(15), "the other account has everything", || live.executed() == 1800);
    w.settle(secs(120));
    let books = w.ledger(&Check::EXACT);
    w.counters(&worker, &books);
    assert!(books.dead.is_empty() && w.records("parked.acme-bz").is_empty());
    assert!(worker.log().contains("breaker open"), "it never opened");
}

#[test]
fn a_worker_that_is_killed_while_its_lane_is_broken_begins_with_a_closed_breaker_and_loses_nothing() {
    let mut w = World::new("broken-kill");
    w.quick_lease(12);
    let dead = w.account("acme-ps", Platform::Qihoo360);
    let mut worker = w.started();
    dead.rules(outage());
    let events = w.make.orders("acme-ps", 400);
    w.publish(events);
    stopped(&worker, &dead);
    worker.kill();
    dead.rules(Vec::new());
    worker.start();
    w.settle(secs(60));
    assert_eq!(breaker_state(&worker, "acme-ps"), "closed");
    let books = w.ledger(&Check::DISTURBED);
    assert!(books.dead.is_empty());
}

#[test]
fn of_two_replicas_each_judges_for_itself_and_the_one_without_the_parking_topic_probes_with_what_arrives() {
    let mut w = World::new("broken-two");
    let dead = w.account("acme-ps", Platform::Qihoo360);
    let workers = [w.started(), w.started()];
    dead.rules(outage());
    let events = w.make.orders("acme-ps", 400);
    w.publish(events);
    for worker in &workers {
        stopped(worker, &dead);
    }
    dead.rules(Vec::new());
    // One of them alone owns the parking topic. Both get events from the input.
    for _ in 0..45 {
        let events = w.make.orders("acme-ps", 8);
        w.publish_at(events, Some(8.0), None);
    }
    for worker in &workers {
        eventually(secs(60), "each replica flows again", || worker.lane_state("acme-ps") == "flowing");
        assert_eq!(worker.log().matches("the platform answers again").count(), 1, "it probed by itself");
    }
    w.settle(secs(60));
    let books = w.ledger(&Check { disturbed: true, exact: true, ..Check::default() });
    assert!(books.dead.is_empty());
}

/// Each probe that fails takes its event out of parking, so that the next one is another event.
#[test]
fn an_event_that_always_fails_does_not_keep_the_breaker_open() {
    let mut w = World::new("broken-alone");
    let account = w.account("acme-ps", Platform::Qihoo360);
    w.set("retry.inline.max_retries", 0);
    w.set("retry.max_attempts", 6);
    let worker = w.started();
    account.rules(outage());
    let events = w.make.orders("acme-ps", 200);
    w.publish(events);
    let sent = stopped(&worker, &account);
    let oldest = w.records("parked").into_iter().min_by_key(|record| record.offset).and_then(|record| record.origin());
    let bad = w.events.iter_mut().find(|event| event.at == oldest).expect("an event that was parked");
    bad.expect = Expect::Dead { reason: "attempts_exhausted", field: "" };
    let ident = bad.ident().clone();
    account.rules(vec![Rule::all(Action::Status(500, None)).about([&ident])]);
    eventually(secs(60), "it flows again", || worker.lane_state("acme-ps") == "flowing");
    let requests = account.requests()[sent..].to_vec();
    let probes = requests.iter().take_while(|request| !request.executed).count();
    assert!(requests[0].ident.as_ref() == Some(&ident) && probes <= 2, "{probes} probes failed");
    w.settle(secs(90));
    assert_eq!(worker.log().matches("breaker open").count(), 1, "it opened a second time");
    let books = w.ledger(&Check::EXACT);
    w.counters(&worker, &books);
}

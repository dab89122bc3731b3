//! Failures that pass: inline tries on the first visit, then the tiers, with every attempt counted.

use crate::support::event::{Event, awkward_headers};
use crate::support::ledger::Check;
use crate::support::platform::{Action, Platform, Rule};
use crate::support::records::Record;
use crate::support::world::World;
use crate::support::{eventually, secs};
use std::time::UNIX_EPOCH;

#[test]
fn errors_of_the_server_go_inline_then_through_the_tiers_with_the_attempts_counted() {
    let mut w = World::new("retry");
    let account = w.account("acme-ps", Platform::Qihoo360);
    let worker = w.started();
    // One to six failures each.
    let events: Vec<(usize, Event)> =
        (0..12).map(|i| (1 + i % 6, w.make.order("acme-ps").with_headers(awkward_headers()))).collect();
    let failing = |k: usize| events.iter().filter(move |(n, _)| *n == k).map(|(_, e)| e.ident());
    account.rules(
        (1..=6)
            .map(|k| Rule::all(Action::Status(if k % 2 == 0 { 502 } else { 500 }, None)).about(failing(k)).first(k))
            .collect(),
    );
    // Their first tries leave enough of the lane's budget for quick ones.
    let filler = w.make.orders("acme-ps", 200);
    w.publish(filler);
    eventually(secs(30), "the others are delivered", || account.executed() == 200);
    // Enough others succeed meanwhile, so that the breaker stays closed.
    let mut mixed = Vec::new();
    for (n, filler) in w.make.orders("acme-ps", 900).into_iter().enumerate() {
        mixed.extend(events.get(n / 20).filter(|_| n % 20 == 0).map(|(_, event)| event.clone()));
        mixed.push(filler);
    }
    w.publish_at(mixed, Some(100.0), None);
    w.settle(secs(90));
    let books = w.ledger(&Check::EXACT);
    w.counters(&worker, &books);

    let retried = w.records("retry");
    for (failures, event) in &events {
        let requests = account.requests_about(event.ident());
        assert_eq!(requests.len(), failures + 1, "requests of an event that fails {failures} times");
        assert_eq!(books.receipt(event).attempts, *failures as u64 + 1);
        let published = w.events.iter().find(|e| e.json == event.json).unwrap();
        let source = &books.sources[published.at.as_ref().unwrap()];
        let mut passes: Vec<&Record> = retried.iter().filter(|r| r.origin() == published.at).collect();
        passes.sort_by_key(|r| r.timestamp);
        // Three tries on the first visit, one on each later visit.
        assert_eq!(passes.len(), failures.saturating_sub(2), "visits to a tier after {failures} failures");
        for (pass, record) in passes.iter().enumerate() {
            let tier = if pass == 0 { "retry.1s" } else { "retry.2s" };
            assert_eq!(record.topic, w.topic(tier), "pass {}", pass + 1);
            assert_eq!((&record.key, &record.value), (&source.key, &source.value));
            assert!(record.headers.starts_with(&source.headers), "the producer's headers are not in front");
            assert_eq!(record.number("pb-attempts"), Some(3 + pass as i64));
            assert_eq!(record.number("pb-pass"), Some(1 + pass as i64));
            assert_eq!(record.header("pb-last-error").as_deref(), Some("retry"));
            assert!(["500", "502"].contains(&record.header("pb-last-status").unwrap().as_str()));
            let delay = if pass == 0 { 1000 } else { 2000 };
            let due = record.number("pb-due").unwrap();
            assert!(
                (-150..=delay / 20 + 150).contains(&(due - record.timestamp - delay)),
                "pb-due {due}, written at {}",
                record.timestamp
            );
            let next = requests[3 + pass].arrived.duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
            assert!(next >= due - 60, "tried {} ms before it was due", due - next);
            assert!(next <= due + 8000, "tried {} ms after it was due", next - due);
        }
    }
    let metrics = worker.metrics();
    for tier in ["1s", "2s"] {
        let here = retried.iter().filter(|r| r.topic == w.topic(&format!("retry.{tier}"))).count();
        assert_eq!(metrics.total("retries_scheduled_total", &[("tier", tier)]), here as f64, "tier {tier}");
    }
    let failures: usize = events.iter().map(|(n, _)| n).sum();
    assert_eq!(metrics.total("attempts_total", &[("class", "retry")]), failures as f64);
    assert_eq!(metrics.total("events_handed_off_total", &[("to", "retry")]), retried.len() as f64);
}

#[test]
fn a_retry_goes_out_within_a_second_of_its_due_time_while_a_parking_backlog_drains() {
    const RPS: usize = 20;
    const BACKLOG: usize = 160;
    let mut w = World::new("retry-and-backlog");
    let account = w.account("acme-ps", Platform::Qihoo360);
    w.set("accounts.acme-ps.limits.rps", RPS as i64);
    w.set("accounts.acme-ps.limits.concurrency", 8);
    w.set("retry.tiers", vec!["2s"]);
    w.set("retry.inline.max_retries", 0);
    let worker = w.started();
    worker.must(&["accounts", "pause", "acme-ps", "--reason", "a test"]);
    eventually(secs(10), "the lane is paused", || worker.lane_state("acme-ps") == "paused");
    let backlog = w.make.orders("acme-ps", BACKLOG);
    w.publish(backlog.clone());
    eventually(secs(20), "everything is parked", || w.records("parked").len() == BACKLOG);

    let retried = w.make.orders("acme-ps", 5);
    let idents = || retried.iter().map(Event::ident);
    account.rules(vec![Rule::all(Action::Status(503, None)).about(idents()).first(1)]);
    worker.must(&["accounts", "resume", "acme-ps", "--reason", "a test"]);
    eventually(secs(10), "the backlog drains", || account.request_count() > 0);
    w.publish(retried.clone());
    w.settle(secs(60));
    let books = w.ledger(&Check::EXACT);
    w.counters(&worker, &books);
    assert_eq!(w.records("parked").len(), BACKLOG, "a retry was parked");

    let ms = |at: std::time::SystemTime| at.duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let copies = w.records("retry");
    let requests = account.requests();
    let mut late = Vec::new();
    for event in &retried {
        let published = w.events.iter().find(|e| e.json == event.json).unwrap();
        let copy = copies.iter().find(|r| r.origin() == published.at).unwrap();
        let (due, sent) = (copy.number("pb-due").unwrap(), ms(account.requests_about(event.ident())[1].arrived));
        late.push(sent - due);
        // A machine that is slow for a moment does not change this: no more than a second's work goes before it.
        let before = requests.iter().filter(|r| (due..sent).contains(&ms(r.arrived))).count();
        assert!(before <= RPS, "{before} requests between its due time and the retry, {} ms", sent - due);
        let after = requests.iter().filter(|r| ms(r.arrived) > sent).count();
        assert!(after > 0, "the backlog had drained");
    }
    assert!(late.iter().min().unwrap() <= &1000, "{late:?}");
}

#[test]
fn most_failures_of_a_platform_that_fails_go_to_their_tier_and_few_are_tried_again_at_once() {
    let mut w = World::new("retry-budget");
    let account = w.account("acme-ps", Platform::Qihoo360);
    let worker = w.started();
    // A third of the first tries fail, so that the breaker stays closed.
    let events = w.make.orders("acme-ps", 180);
    let failing = events.iter().step_by(3).map(|event| event.ident());
    account.rules(vec![Rule::all(Action::Status(500, None)).about(failing).first(1)]);
    w.publish_at(events, None, Some(0));
    w.settle(secs(60));
    let books = w.ledger(&Check::EXACT);
    w.counters(&worker, &books);
    assert_eq!(account.request_count(), 240, "a third fails once, and all are delivered");
    // Ten in each ten seconds are always allowed, and a fifth of the first tries.
    let in_tier = w.records("retry").len();
    assert!((15..=50).contains(&in_tier), "{in_tier} of 60 went to their tier");
}

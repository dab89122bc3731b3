//! A platform that asks for fewer requests gets fewer, and this does not count against the event.

use crate::support::ledger::Check;
use crate::support::platform::{Action, Platform, Rule};
use crate::support::secs;
use crate::support::world::World;
use std::time::Duration;

#[test]
fn retry_after_in_seconds_waits_in_the_lane_and_as_a_far_date_parks() {
    let mut w = World::new("throttle");
    let short = w.account("acme-short", Platform::Qihoo360);
    let long = w.account("acme-long", Platform::Qihoo360);
    let free = w.account("acme-free", Platform::Qihoo360);
    let worker = w.started();
    let marks = [w.make.order("acme-short"), w.make.order("acme-long")];
    short.rules(vec![Rule::all(Action::Status(429, Some(3))).about([marks[0].ident()]).first(1)]);
    long.rules(vec![Rule::all(Action::StatusUntil(429, 9)).about([marks[1].ident()]).first(1)]);
    w.publish(marks.to_vec());
    let mut rest = Vec::new();
    for _ in 0..80 {
        rest.extend(["acme-short", "acme-long", "acme-free"].map(|a| w.make.order(a)));
    }
    w.publish_at(rest, Some(80.0), None);
    w.settle(secs(90));
    let books = w.ledger(&Check::EXACT);
    w.counters(&worker, &books);

    for (account, mark) in [(&short, &marks[0]), (&long, &marks[1])] {
        let tries = account.requests_about(mark.ident());
        assert_eq!(tries.len(), 2, "{}", account.name);
        let (answered, until) = (tries[0].answered.unwrap(), tries[0].not_before.unwrap());
        assert!(
            tries[1].arrived >= until - Duration::from_millis(50),
            "{}: tried again before Retry-After",
            account.name
        );
        assert!(tries[1].arrived <= until + secs(20), "{}: tried again long after Retry-After", account.name);
        let inside = account.requests().into_iter().filter(|r| {
            r.arrived > answered + Duration::from_millis(500) && r.arrived < until - Duration::from_millis(100)
        });
        assert_eq!(inside.count(), 0, "{}: requests inside Retry-After", account.name);
        assert_eq!(books.receipt(mark).attempts, 1, "{}: a 429 is no attempt", account.name);
    }
    assert_eq!(free.executed(), 80);
    let parked: Vec<_> = w.records("parked").iter().filter_map(|r| r.header("pb-account")).collect();
    assert!(parked.iter().any(|a| a == "acme-long"), "nine seconds to wait, and nothing was parked");
    assert!(parked.iter().all(|a| a == "acme-long"), "parked although there was nothing to wait for long: {parked:?}");
    assert!(worker.metrics().total("attempts_total", &[("class", "throttled")]) >= 2.0);
}

#[test]
fn retry_after_on_a_503_chooses_the_tier_that_is_long_enough() {
    let mut w = World::new("retry-after");
    w.set("retry.tiers", vec!["1s", "2s", "6s"]);
    let account = w.account("acme-ps", Platform::Qihoo360);
    let _worker = w.started();
    let event = w.make.order("acme-ps");
    account.rules(vec![Rule::all(Action::Status(503, Some(4))).first(1)]);
    w.publish(vec![event.clone()]);
    w.settle(secs(60));
    let books = w.ledger(&Check::EXACT);
    let tries = account.requests_about(event.ident());
    assert_eq!((tries.len(), books.receipt(&event).attempts), (2, 2));
    assert!(tries[1].arrived >= tries[0].not_before.unwrap());
    let retried = w.records("retry");
    assert_eq!(retried.len(), 1);
    assert_eq!(retried[0].topic, w.topic("retry.6s"));
}

//! 360 repeats an event only within the natural day of its first attempt.

use crate::support::event::Expect;
use crate::support::ledger::Check;
use crate::support::platform::{Action, Platform, Rule};
use crate::support::world::World;
use crate::support::{eventually, now_ms, secs};

/// A guard that covers the whole day except its first second.
const WHOLE_DAY: &str = "86399s";
const DAY: i64 = 86_400_000;

#[test]
fn inside_the_guard_no_retry_starts_and_a_first_attempt_waits_for_midnight() {
    let mut w = World::new("natural-day");
    let account = w.account("acme-ps", Platform::Qihoo360);
    w.set("accounts.acme-ps.retry.inline.max_retries", 0);
    let mut worker = w.started();
    let mut failing = w.make.order("acme-ps");
    failing.expect = Expect::Dead { reason: "expired", field: "" };
    account.rules(vec![Rule::all(Action::Status(500, None)).about([failing.ident()])]);
    w.publish(vec![failing.clone()]);
    eventually(secs(20), "it waits for its retry", || !w.records("retry").is_empty());
    worker.stop();

    // The same moment is now inside the guard.
    w.set("accounts.acme-ps.natural_day.guard", WHOLE_DAY);
    let tried = account.request_count();
    let mut worker = w.started();
    let first = w.make.order("acme-ps");
    w.publish(vec![first.clone()]);
    eventually(secs(30), "the retry has expired", || w.dead_letters().len() == 1);
    let at = w.events[1].at.clone();
    let waiting = || w.records("retry").into_iter().filter(|r| r.origin() == at).collect::<Vec<_>>();
    // Its tier is shorter than the wait, so it comes back and waits again, without an attempt.
    eventually(secs(30), "the first attempt waits, again and again", || waiting().len() >= 2);
    for record in waiting() {
        let due = record.number("pb-due").unwrap();
        let zone_offset = due % DAY;
        assert!([0, 16 * 3_600_000].contains(&zone_offset), "due at {due}, which is no midnight of the zone");
        assert!(due > now_ms() && due < now_ms() + DAY);
        assert_eq!(record.topic, w.topic("retry.2s"), "the lease tier");
        assert_eq!((record.header("pb-attempts").as_deref(), record.header("pb-first-attempt")), (Some("0"), None));
    }
    assert_eq!(account.request_count(), tried, "something was sent inside the guard");
    worker.stop();

    w.set("accounts.acme-ps.natural_day.guard", "60s");
    let _worker = w.started();
    w.settle(secs(60));
    let books = w.ledger(&Check { disturbed: true, exact: true, ..Check::default() });
    assert_eq!((account.request_count(), books.receipt(&first).attempts), (tried + 1, 1));
    assert_eq!(books.receipt(&failing).attempts, tried as u64);
}

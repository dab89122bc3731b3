//! A process that stands still for longer than its claims last.

use crate::support::ledger::Check;
use crate::support::platform::{Action, Platform};
use crate::support::redis::State;
use crate::support::world::{LEASE, World, hold};
use crate::support::{eventually, millis, secs};

#[test]
fn a_member_frozen_for_longer_than_the_lease_sends_nothing_on_waking_that_is_not_declared() {
    let mut w = World::new("freeze");
    let account = w.account("acme-ps", Platform::Qihoo360);
    w.set("accounts.acme-ps.limits.concurrency", 4);
    w.set("limits.timeout", "3s");
    w.set("retry.inline.max_retries", 0);
    // Four are at the platform, the others wait in the lane of the member that freezes.
    let events = w.make.orders("acme-ps", 60);
    account.rules(hold(&events[..]));
    let mut frozen = w.started();
    w.publish(events.clone());
    eventually(secs(20), "four requests are held", || account.held() == 4);
    frozen.freeze();
    account.rules(Vec::new());
    let other = w.started();
    account.release(Action::Judge);
    w.settle(secs(LEASE + 60));
    assert_eq!(w.redis().count(&w.id, State::Claimed), 0);
    let before = account.request_count();
    frozen.thaw();
    std::thread::sleep(secs(4));
    w.settle(secs(60));
    let books = w.ledger(&Check::DISTURBED);
    let after = account.request_count();
    assert!(after - before <= 4, "{} requests after waking", after - before);
    assert!(books.declared() >= 4, "what was at the platform during the freeze was sent again, and is declared");
    drop(other);
}

#[test]
fn frozen_at_any_moment_nothing_is_lost_and_nothing_is_sent_undeclared() {
    let mut w = World::new("freeze-random");
    w.quick_lease(11);
    let account = w.account("acme-ps", Platform::Qihoo360);
    account.latency(millis(30));
    w.set("accounts.acme-ps.limits.rps", 60);
    let mut first = w.started();
    let _second = w.started();
    let events = w.make.orders("acme-ps", 1500);
    w.publish(events);
    for _ in 0..2 {
        let goal = account.request_count() + rand::random_range(20..80);
        eventually(secs(40), "it flows", || account.request_count() >= goal);
        first.freeze();
        std::thread::sleep(secs(12));
        first.thaw();
    }
    w.settle(secs(90));
    w.ledger(&Check::DISTURBED);
}

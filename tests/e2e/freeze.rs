//! A process that stands still for longer than its claims live.

use crate::support::event::Event;
use crate::support::ledger::Check;
use crate::support::platform::{Account, Action, Platform};
use crate::support::redis::State;
use crate::support::tls::{TlsFront, fixture};
use crate::support::worker::Worker;
use crate::support::world::{LEASE, World, hold};
use crate::support::{eventually, millis, secs};
use std::sync::Arc;

#[test]
fn a_member_frozen_for_longer_than_the_lease_sends_nothing_on_waking_that_is_not_declared() {
    let mut w = World::new("freeze");
    let account = w.account("acme-ps", Platform::Qihoo360);
    w.set("accounts.acme-ps.limits.concurrency", 4);
    w.set("limits.timeout", "3s");
    w.set("retry.inline.max_retries", 0);
    // Four are at the platform. The others wait in the lane of the member that is frozen.
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

/// A platform behind TLS, with timeouts so that one visit fits into the lease.
fn behind_tls(w: &mut World) -> (Arc<Account>, TlsFront) {
    let account = w.account("acme-ps", Platform::Qihoo360);
    let front = TlsFront::new(account.port);
    w.set("accounts.acme-ps.base_url", format!("https://localhost:{}", front.port));
    w.environment("SSL_CERT_FILE", &fixture("root.pem").display().to_string());
    w.set("limits.timeout", "3s");
    w.set("limits.connect_timeout", "2s");
    w.set("retry.inline.max_retries", 0);
    (account, front)
}

/// Another member takes over the frozen member's event. The frozen one sends nothing when it wakes.
fn taken_over(w: &mut World, mut frozen: Worker, account: &Account, last: &Event) {
    let sent = account.request_count();
    let other = w.started();
    eventually(secs(LEASE + 60), "the other member has sent it", || account.request_count() == sent + 1);
    w.settle(secs(60));
    frozen.thaw();
    std::thread::sleep(secs(4));
    w.settle(secs(60));
    let books = w.ledger(&Check::DISTURBED);
    assert_eq!(account.request_count(), sent + 1, "the stale claim has sent nothing");
    assert_eq!(books.receipt(last).resends, 1, "the take-over was declared");
    drop(other);
}

#[test]
fn a_member_frozen_while_the_platform_is_slow_to_shake_hands_sends_nothing_on_waking() {
    let mut w = World::new("freeze-handshake");
    let (account, front) = behind_tls(&mut w);
    front.hold();
    let events = w.make.orders("acme-ps", 1);
    let mut frozen = w.started();
    w.publish(events.clone());
    eventually(secs(20), "the handshake is held", || front.waiting() == 1);
    frozen.freeze();
    assert_eq!(w.redis().count(&w.id, State::Claimed), 1);
    // The other end of its connection is ready long before it wakes.
    front.let_go();
    taken_over(&mut w, frozen, &account, &events[0]);
}

#[test]
fn a_member_frozen_between_its_connection_and_the_first_byte_sends_nothing_on_waking() {
    let mut w = World::new("freeze-connected");
    let (account, _front) = behind_tls(&mut w);
    // The second event waits four seconds for its slot, with an open connection.
    w.set("accounts.acme-ps.limits.rps", 0.25);
    let events = w.make.orders("acme-ps", 2);
    let mut frozen = w.started();
    w.publish(events.clone());
    eventually(secs(20), "one is confirmed and the other claimed", || {
        let mut redis = w.redis();
        (redis.count(&w.id, State::Done), redis.count(&w.id, State::Claimed)) == (1, 1)
    });
    frozen.freeze();
    assert_eq!(account.request_count(), 1);
    let sent = &account.requests()[0].ident;
    let last = events.iter().find(|e| Some(e.ident()) != sent.as_ref()).unwrap();
    taken_over(&mut w, frozen, &account, last);
}

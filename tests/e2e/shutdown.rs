//! Signals.

use crate::support::ledger::Check;
use crate::support::platform::{Action, Platform, Rule};
use crate::support::world::{World, hold};
use crate::support::{eventually, millis, secs};
use std::time::Instant;

#[test]
fn sigterm_under_load_ends_with_0_and_nothing_is_sent_twice() {
    let mut w = World::new("sigterm");
    let account = w.account("acme-ps", Platform::Qihoo360);
    account.latency(millis(200));
    account.rules(vec![Rule::all(Action::Status(500, None)).one_in(10).first(3)]);
    let mut worker = w.started();
    let events = w.make.orders("acme-ps", 1200);
    w.publish(events);
    for _ in 0..3 {
        let before = account.executed();
        eventually(secs(30), "it flows", || account.executed() >= before + 100);
        let began = Instant::now();
        worker.stop();
        assert!(began.elapsed() < secs(15), "draining took {:?}", began.elapsed());
        worker.start();
    }
    w.settle(secs(90));
    let books = w.ledger(&Check { disturbed: true, exact: true, ..Check::default() });
    assert_eq!(books.declared(), 0);
}

#[test]
fn a_second_signal_ends_at_once_with_130_and_nothing_is_lost() {
    let mut w = World::new("second-signal");
    let account = w.account("acme-ps", Platform::Qihoo360);
    w.set("limits.timeout", "4s");
    w.set("retry.inline.max_retries", 0);
    let events = w.make.orders("acme-ps", 4);
    account.rules(hold(&events));
    let mut worker = w.started();
    w.publish(events);
    eventually(secs(20), "the platform holds every request", || account.held() == 4);
    worker.terminate();
    std::thread::sleep(millis(400));
    assert!(worker.alive(), "it did not wait for what is in flight");
    worker.terminate();
    let status = worker.wait(secs(2)).expect("a second signal did not end it");
    assert_eq!(status.code(), Some(130));
    account.release(Action::Judge);
    worker.launch();
    worker.wait_until_ready();
    w.settle(secs(90));
    w.ledger(&Check::DISTURBED);
}

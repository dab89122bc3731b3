//! A refused credential halts its account. No event is lost, and none uses up its attempts meanwhile.

use crate::support::ledger::Check;
use crate::support::platform::Platform;
use crate::support::records::Record;
use crate::support::world::World;
use crate::support::{eventually, secs};

#[test]
fn a_refused_credential_halts_the_account_and_its_events_flow_once_it_is_corrected_and_resumed() {
    let mut w = World::new("credentials");
    let broken = w.account("acme-ps", Platform::Qihoo360);
    let healthy = w.account("acme-ms", Platform::Qihoo360);
    let right = broken.secret();
    broken.set_secret("rotated-away");
    let worker = w.started();
    let mut events = Vec::new();
    for _ in 0..150 {
        events.extend(["acme-ps", "acme-ms"].map(|a| w.make.order(a)));
    }
    w.publish_at(events, Some(150.0), None);
    eventually(secs(20), "the account is halted", || worker.lane_state("acme-ps") == "halted");
    eventually(secs(20), "the healthy account is served", || healthy.executed() == 150);
    eventually(secs(20), "the work of the halted account is parked", || w.records("parked").len() >= 150);
    let refused = broken.request_count();
    assert!(refused <= 40, "{refused} requests with a credential that is refused");
    let (group, input) = (w.group(), w.topic("conversions"));
    eventually(secs(10), "parked work does not hold the offsets back", || w.admin.at_end(&group, &input));
    assert!(w.records("parked").iter().all(|r| r.header("pb-parked-at").is_some()));
    let list = worker.must(&["accounts", "list", "--json"]);
    assert!(list.contains("halted"), "accounts list does not say so: {list}");

    broken.set_secret(&right);
    worker.must(&["accounts", "resume", "acme-ps", "--reason", "a test"]);
    w.settle(secs(60));
    let books = w.ledger(&Check { bad_requests: true, ..Check::EXACT });
    for event in w.events.iter().filter(|e| e.account == "acme-ps") {
        assert_eq!(books.receipt(event).attempts, 1, "a halt is no attempt");
    }
    assert_eq!(worker.lane_state("acme-ps"), "flowing");
    assert!(books.dead.is_empty());
    w.counters(&worker, &books);
}

#[test]
fn a_paused_account_parks_its_work_on_every_replica_and_resumes_with_the_oldest_first() {
    let mut w = World::new("pause");
    let account = w.account("acme-ps", Platform::Qihoo360);
    // One request at a time, so that the platform sees the order of the events.
    w.set("accounts.acme-ps.limits.concurrency", 1);
    let workers = [w.started(), w.started()];
    workers[0].must(&["accounts", "pause", "acme-ps", "--reason", "a test"]);
    for worker in &workers {
        eventually(secs(10), "the replica knows of the pause", || worker.lane_state("acme-ps") == "paused");
    }
    let events = w.make.orders("acme-ps", 100);
    w.publish(events);
    eventually(secs(30), "everything is parked", || w.records("parked").len() == 100);
    assert_eq!(account.request_count(), 0);
    // The topic has one partition, so its offsets are the order in which events were parked.
    let mut parked = w.records("parked");
    parked.sort_by_key(|record| record.offset);
    workers[1].must(&["accounts", "resume", "acme-ps", "--reason", "a test"]);
    w.settle(secs(60));
    w.ledger(&Check { disturbed: true, exact: true, ..Check::default() });
    let ident = |record: &Record| w.events.iter().find(|e| e.at == record.origin()).map(|e| e.ident().clone());
    let oldest_first: Vec<_> = parked.iter().map(ident).collect();
    let sent: Vec<_> = account.requests().into_iter().map(|request| request.ident).collect();
    assert_eq!(sent, oldest_first);
}

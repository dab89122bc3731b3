//! One request per identity, whatever the distance between the copies.

use crate::support::ledger::Check;
use crate::support::platform::Platform;
use crate::support::world::World;
use crate::support::{eventually, millis, secs};

#[test]
fn copies_at_distance_0_1_and_1000_and_long_after_cause_one_request() {
    let mut w = World::new("duplicates");
    w.account("acme-ps", Platform::Qihoo360);
    let worker = w.started();
    let base = w.make.orders("acme-ps", 1200);
    let mut sequence = Vec::new();
    let mut copies = 0;
    for (i, event) in base.iter().enumerate() {
        sequence.push(event.copy());
        // At once, after one other event, after a thousand others.
        for (kind, distance) in [0, 1, 1000].into_iter().enumerate() {
            let of = i.checked_sub(distance).filter(|of| of % 10 == kind);
            if let Some(of) = of {
                sequence.push(base[of].copy());
                copies += 1;
            }
        }
    }
    w.publish(sequence);
    w.settle(secs(90));
    let late: Vec<_> = base.iter().step_by(20).map(|e| e.copy()).collect();
    copies += late.len();
    // It goes to another partition than the first copy, because the key does not bring them together.
    w.publish_at(late, None, Some(0));
    w.settle(secs(60));
    let books = w.ledger(&Check::EXACT);
    assert_eq!(books.outcomes("duplicate"), copies);
    w.counters(&worker, &books);
}

#[test]
fn thirty_two_copies_at_once_over_two_replicas_cause_one_request() {
    let mut w = World::new("concurrent");
    let account = w.account("acme-ps", Platform::Qihoo360);
    account.latency(millis(400));
    let workers = [w.started(), w.started()];
    let group = w.group();
    eventually(secs(30), "both replicas are in the group", || w.admin.members(&group) == (2, "Stable".into()));
    let event = w.make.order("acme-ps");
    for i in 0..32 {
        let copy = event.copy();
        w.publish_at(vec![copy], None, Some(i % 4));
    }
    w.settle(secs(90));
    let books = w.ledger(&Check { disturbed: true, exact: true, ..Check::default() });
    assert_eq!(account.request_count(), 1);
    assert_eq!((books.outcomes("delivered"), books.outcomes("duplicate")), (1, 31));
    drop(workers);
}

//! One platform that hangs takes nothing away from the others.

use crate::support::ledger::Check;
use crate::support::platform::{Action, Rule};
use crate::support::strict::Platform;
use crate::support::world::World;
use crate::support::{eventually, secs};

#[test]
fn while_one_platform_hangs_the_other_goes_on_and_what_hung_is_delivered_later() {
    let mut w = World::new("isolation");
    let dead = w.account("acme-dead", Platform::Qihoo360);
    let live = w.account("acme-bz", Platform::Baizhu);
    w.set("accounts.acme-dead.limits.concurrency", 8);
    let worker = w.started();
    dead.rules(vec![Rule::all(Action::Hang)]);
    let mut events = Vec::new();
    for _ in 0..60 {
        events.push(w.make.order("acme-dead"));
        events.extend((0..9).map(|_| w.make.effective_user("acme-bz")));
    }
    let began = std::time::Instant::now();
    w.publish(events);
    eventually(secs(15), "the live platform has everything while the other hangs", || live.executed() == 540);
    let waited = began.elapsed();
    assert!(dead.requests().iter().all(|r| r.answered.is_none()), "the dead platform is not dead");
    assert!(worker.ready(), "not ready because of one platform");
    dead.rules(Vec::new());
    w.settle(secs(90));
    let books = w.ledger(&Check::default());
    w.counters(&worker, &books);
    assert_eq!(live.request_count(), 540);
    assert!(waited < secs(15));
}

//! Members that join and leave.

use crate::support::ledger::Check;
use crate::support::platform::Platform;
use crate::support::world::{Setup, World};
use crate::support::{eventually, millis, secs};

#[test]
fn three_members_and_ten_restarts_under_load_send_nothing_twice() {
    let mut w = World::with("rebalance", Setup { partitions: 6, ..Setup::default() });
    let account = w.account("acme-ps", Platform::Qihoo360);
    account.latency(millis(50));
    w.set("accounts.acme-ps.limits.rps", 70);
    let mut workers = [w.started(), w.started(), w.started()];
    let group = w.group();
    eventually(secs(40), "three members are in the group", || w.admin.members(&group) == (3, "Stable".into()));
    // More than are delivered during the restarts, so that each restart happens under load.
    let events = w.make.orders("acme-ps", 4000);
    w.publish(events);
    eventually(secs(20), "it flows", || account.executed() > 50);
    for i in 0..10 {
        let worker = &mut workers[i % 3];
        worker.stop();
        worker.start();
    }
    let after = account.executed();
    assert!(after < 4000, "the restarts took longer than the load");
    w.settle(secs(120));
    let books = w.ledger(&Check { disturbed: true, exact: true, ..Check::default() });
    assert_eq!(books.declared(), 0, "a restart with time to drain declares nothing");
}

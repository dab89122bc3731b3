//! Accounts that send without Redis, and a Redis whose replica takes over.

use crate::support::ledger::Check;
use crate::support::platform::{Action, Platform, Rule};
use crate::support::redis::{RedisServer, State};
use crate::support::worker::Worker;
use crate::support::world::{Setup, World};
use crate::support::{eventually, secs};

const OWN: Setup = Setup { brokers: 0, redis: true, proxy: false, partitions: 0 };
const N: usize = 30;

/// Redis breaks. One account goes on and declares each send, the other one waits. After the repair both have delivered
/// everything, and the sends are known, also to a worker that was not there.
fn delivers_meanwhile(name: &str, known: usize, broken: fn(&mut RedisServer), mend: fn(&mut RedisServer, &Worker)) {
    let mut w = World::with(name, OWN);
    let goes_on = w.account("acme-go", Platform::Qihoo360);
    let waits = w.account("acme-wait", Platform::Qihoo360);
    w.set("accounts.acme-go.when_unavailable", "deliver");
    let mut worker = w.started();
    let both = |w: &mut World| {
        let mut events = w.make.orders("acme-go", N);
        events.extend(w.make.orders("acme-wait", N));
        w.publish(events.clone());
        events
    };
    both(&mut w);
    w.settle(secs(60));
    let doubtful = w.make.order("acme-go");
    broken(w.redis.as_mut().unwrap());
    // One answer gets lost meanwhile. Its mark has to wait as well, but it is sent again.
    goes_on.rules(vec![Rule::all(Action::ResetAfter).about([doubtful.ident()]).first(1)]);
    w.publish(vec![doubtful.clone()]);
    let meanwhile = both(&mut w);
    eventually(secs(20), "the account goes on without Redis", || goes_on.executed() == 2 * N + 2);
    eventually(secs(20), "its receipts do not wait for Redis", || w.receipts().len() == 3 * N + 1);
    assert_eq!(waits.request_count(), N, "sent although no claim can be made");
    mend(w.redis.as_mut().unwrap(), &worker);
    w.settle(secs(60));
    let id = w.id.clone();
    eventually(secs(20), "Redis knows what was sent without it", || w.redis().count(&id, State::Done) == known + 1);
    let books = w.ledger(&Check::default());
    w.counters(&worker, &books);
    assert_eq!((books.receipt(&doubtful).resends, books.receipt(&doubtful).attempts), (2, 2), "the lost answer");
    for event in &meanwhile {
        let declared = u64::from(event.account == "acme-go");
        assert_eq!(books.receipt(event).resends, declared, "{} of {}", event.trans_id(), event.account);
    }

    worker.stop();
    worker.start();
    w.publish(meanwhile.iter().chain([&doubtful]).map(|e| e.copy()).collect());
    w.settle(secs(60));
    w.ledger(&Check::DISTURBED);
    assert_eq!((goes_on.request_count(), waits.request_count()), (2 * N + 2, 2 * N), "a copy was sent");
}

#[test]
fn without_redis_an_account_that_may_goes_on_and_declares_each_send() {
    delivers_meanwhile("deliver-stop", 4 * N, RedisServer::stop, |redis, _| redis.start());
}

#[test]
fn after_a_flush_an_account_that_may_goes_on_and_declares_each_send() {
    delivers_meanwhile(
        "deliver-flush",
        2 * N,
        |redis| drop(redis.connect().run(&["FLUSHALL"])),
        |_, worker| drop(worker.must(&["unblock", "dedupe", "--reason", "the store was flushed by a test"])),
    );
}

#[test]
fn a_replica_that_takes_over_without_the_last_confirms_is_told_them_again() {
    let mut w = World::with("failover", Setup { redis: true, proxy: true, ..Setup::default() });
    let account = w.account("acme-ps", Platform::Qihoo360);
    w.set("accounts.acme-ps.limits.rps", 60);
    let mut worker = w.started();
    let replica = w.another_redis(&["--replicaof", "127.0.0.1", &w.redis.as_ref().unwrap().port.to_string()]);
    let synced = || format!("{:?}", replica.connect().run(&["INFO", "replication"])).contains("master_link_status:up");
    eventually(secs(20), "the replica follows", synced);
    let events = w.make.orders("acme-ps", 400);
    w.publish(events);
    eventually(secs(40), "it flows", || account.executed() >= 60);
    // From here on the primary's writes no longer reach the replica. What the primary confirms will be lost with it.
    replica.connect().run(&["REPLICAOF", "NO", "ONE"]);
    let (id, before) = (w.id.clone(), account.executed());
    eventually(secs(20), "more is confirmed", || account.executed() >= before + 100);
    w.redis.as_mut().unwrap().kill();
    eventually(secs(10), "not ready", || !worker.ready());
    assert!(replica.connect().count(&id, State::Done) < account.executed() - 80, "nothing would be lost");
    w.redis_is_now(replica);
    eventually(secs(20), "ready again", || worker.ready());
    w.settle(secs(60));
    eventually(secs(20), "the new primary knows every delivery", || w.redis().count(&id, State::Done) == 400);
    w.ledger(&Check::default());

    // A worker that remembers nothing.
    worker.stop();
    worker.start();
    let copies: Vec<_> = w.events.iter().map(|e| e.copy()).collect();
    let sent = account.request_count();
    w.publish(copies);
    w.settle(secs(60));
    w.ledger(&Check::DISTURBED);
    assert_eq!(account.request_count(), sent, "a copy was sent");
}

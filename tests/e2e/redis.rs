//! Redis is away, has lost its data, refuses writes, or is full. The worker holds, says so, and loses nothing.

use crate::support::ledger::Check;
use crate::support::platform::Platform;
use crate::support::redis::RedisServer;
use crate::support::worker::Worker;
use crate::support::world::{Setup, World};
use crate::support::{eventually, millis, secs};
use postback::claim::rules::Key;

const OWN: Setup = Setup { brokers: 0, redis: true, proxy: false, partitions: 0 };

/// Delivers some events, breaks Redis, publishes more, checks that nothing is sent and that the worker says why,
/// repairs Redis, and checks the ledger.
fn holds_meanwhile(
    name: &str,
    cause: &str,
    broken: impl FnOnce(&mut RedisServer),
    mend: impl FnOnce(&mut RedisServer, &Worker),
) {
    let mut w = World::with(name, OWN);
    let account = w.account("acme-ps", Platform::Qihoo360);
    let mut worker = w.started();
    let events = w.make.orders("acme-ps", 100);
    w.publish(events);
    w.settle(secs(60));
    broken(w.redis.as_mut().unwrap());
    let events = w.make.orders("acme-ps", 60);
    w.publish(events);
    eventually(secs(15), "not ready, and live", || !worker.ready() && worker.live());
    std::thread::sleep(secs(3));
    let holds = |cause: &str| worker.metrics().total("worker_holds", &[("cause", cause)]);
    eventually(secs(15), "the metrics name the cause", || holds(cause) == 1.0);
    assert_eq!(worker.metrics().total("worker_holds", &[]), 1.0, "no other cause is named");
    assert_eq!(account.request_count(), 100, "sent although no claim can be made");
    mend(w.redis.as_mut().unwrap(), &worker);
    eventually(secs(30), "ready again", || worker.ready());
    eventually(secs(15), "nothing holds any more", || worker.metrics().total("worker_holds", &[]) == 0.0);
    w.settle(secs(60));
    let books = w.ledger(&Check::EXACT);
    w.counters(&worker, &books);
    assert!(worker.alive() && worker.launches() == 1);
}

#[test]
fn stopped_and_started_redis_means_waiting() {
    holds_meanwhile("redis-stop", "redis", |r| r.stop(), |r, _| r.start());
}

#[test]
fn a_flushed_redis_holds_everything_until_an_operator_says_so() {
    holds_meanwhile(
        "redis-flush",
        "dedupe",
        |r| drop(r.connect().run(&["FLUSHALL"])),
        |_, worker| drop(worker.must(&["unblock", "dedupe", "--reason", "the store was flushed by a test"])),
    );
}

#[test]
fn a_redis_that_refuses_writes_means_waiting() {
    holds_meanwhile(
        "redis-readonly",
        "redis",
        |r| drop(r.connect().run(&["REPLICAOF", "127.0.0.1", "1"])),
        |r, _| drop(r.connect().run(&["REPLICAOF", "NO", "ONE"])),
    );
}

#[test]
fn a_redis_that_is_full_means_waiting() {
    holds_meanwhile(
        "redis-full",
        "redis",
        |r| drop(r.connect().run(&["CONFIG", "SET", "maxmemory", "1kb"])),
        |r, _| drop(r.connect().run(&["CONFIG", "SET", "maxmemory", "0"])),
    );
}

/// A list stands where one conversion's claim belongs, and another where the rate of an account is kept.
#[test]
fn a_key_that_no_worker_wrote_holds_what_needs_it_and_nothing_else() {
    let mut w = World::new("redis-foreign");
    let account = w.account("acme-ps", Platform::Qihoo360);
    let held = w.account("acme-ms", Platform::Qihoo360);
    w.set("accounts.acme-ms.limits.shared_as", "spoiled");
    let mut redis = w.redis();
    let events = w.make.orders("acme-ps", 200);
    let key = Key::new("qihoo360", "acme-ps", "ORDER", events[7].trans_id()).name(w.id());
    let bucket = format!("{}:rate:qihoo360:spoiled", w.id());
    for key in [&key[..], bucket.as_bytes()] {
        redis.run_bytes(&[b"LPUSH", key, b"x"]);
    }
    let worker = w.started();
    w.publish(events);
    let events = w.make.orders("acme-ms", 5);
    w.publish(events);
    eventually(secs(60), "all others of the account are sent", || account.executed() == 199);
    let named = || worker.must(&["blocked"]);
    let (key_name, bucket_name) = (key.escape_ascii().to_string(), format!("\"{bucket}\""));
    eventually(secs(20), "both keys are named", || named().contains(&key_name) && named().contains(&bucket_name));
    assert!(worker.ready() && worker.metrics().total("worker_holds", &[]) == 0.0, "Redis answers");
    // PostbackStuckLowTraffic and PostbackOldestEventOld count from these: both accounts are late, and neither is paused.
    let oldest = |name| worker.metrics().total("oldest_open_event_age_seconds", &[("account", name)]);
    eventually(secs(20), "both wait", || oldest("acme-ps") > 0.0 && oldest("acme-ms") > 0.0);
    let paused = worker.metrics().total("lane_state", &[("state", "paused")]);
    let delivered =
        worker.metrics().total("events_finished_total", &[("account", "acme-ms"), ("outcome", "delivered")]);
    assert_eq!((paused, delivered), (0.0, 0.0));
    assert!(worker.must(&["trace", w.events[7].trans_id()]).contains("foreign"));
    assert_eq!((account.executed(), held.request_count()), (199, 0));
    let log = worker.log();
    assert!(log.contains(w.events[7].trans_id()) && !log.contains("redis cannot be used"), "{log}");
    for key in [&key[..], bucket.as_bytes()] {
        redis.run_bytes(&[b"DEL", key]);
    }
    w.settle(secs(60));
    let books = w.ledger(&Check::EXACT);
    w.counters(&worker, &books);
}

/// Something else writes where all replicas and commands look.
#[test]
fn a_shared_key_that_no_worker_wrote_breaks_no_command_that_can_do_without_it_and_is_named() {
    let mut w = World::new("redis-shared");
    let account = w.account("acme-ps", Platform::Qihoo360);
    let mut redis = w.redis();
    let worker = w.started();
    let key = |name: &str| format!("{}:{name}", w.id());
    redis.run(&["SADD", &key("replicas"), "list", "garbage"]);
    redis.run_bytes(&[b"SET", key("replica:garbage").as_bytes(), b"\xff\xfe"]);
    redis.run(&["ZADD", &key("replays"), "1", "list"]);
    for name in ["replica:list", "replay:list", "audit:out", "replay:lock", "replay:running"] {
        redis.run(&["LPUSH", &key(name), "x"]);
    }
    let names = ["replica:list", "replica:garbage", "replay:list", "audit:out", "replay:lock", "replay:running"];
    let all_named = |said: &str| names.iter().all(|name| said.contains(&format!("\"{}\"", key(name))));
    for command in [&["blocked"][..], &["accounts", "list"]] {
        let output = worker.command(command);
        assert_eq!(output.code, Some(0), "{command:?}: {}{}", output.stdout, output.stderr);
        assert!(output.stdout.contains("acme-ps"), "{command:?}: {}", output.stdout);
        assert!(all_named(&format!("{}{}", output.stdout, output.stderr)), "{command:?}: {}", output.stderr);
    }
    let admin = format!("http://127.0.0.1:{}", worker.admin_port);
    assert!(worker.must(&["accounts", "list", "--admin", &admin]).contains("acme-ps"));
    eventually(secs(30), "the worker names them", || all_named(&worker.must(&["blocked", "--admin", &admin])));
    worker.must(&["replay", "list"]);
    // What needs one says which, and what to do.
    let refused = worker.command(&["accounts", "pause", "acme-ps", "--reason", "a test"]);
    assert_eq!(refused.code, Some(1), "{}", refused.stdout);
    assert!(refused.stderr.contains(&format!("\"{}\"", key("audit:out"))), "{}", refused.stderr);
    for name in names {
        redis.run(&["DEL", &key(name)]);
    }
    worker.must(&["accounts", "resume", "acme-ps", "--reason", "a test"]);
    // One after the other: each command either does without the key, or names it.
    let others = [
        "lanes",
        "storms",
        "orders",
        "positions",
        "unplaced",
        "topics",
        "replicas",
        "replays",
        "letter_topic",
        "audit:turn",
    ];
    for name in others {
        let key = key(name);
        redis.run(&["DEL", &key]);
        redis.run(&["LPUSH", &key, "x"]);
        for (command, needs_it) in [
            (&["blocked"][..], ""),
            (&["accounts", "list"], ""),
            (&["dead-letters", "stats", "--json"], "letter_topic"),
            (&["replay", "list"], "replays"),
            (&["accounts", "pause", "acme-ps", "--reason", "a test"], "lanes"),
        ] {
            let output = worker.command(command);
            let said = format!("{}{}", output.stdout, output.stderr);
            let is_fine = if name == needs_it { said.contains(&format!("\"{key}\"")) } else { output.code == Some(0) };
            assert!(is_fine, "{key}: postback {command:?}: {said}");
        }
        assert!(worker.ready(), "{key}");
        redis.run(&["DEL", &key]);
        worker.must(&["accounts", "resume", "acme-ps", "--reason", "a test"]);
    }
    let events = w.make.orders("acme-ps", 5);
    w.publish(events);
    eventually(secs(60), "they are sent", || account.executed() == 5);
    assert!(worker.ready());
}

#[test]
fn redis_killed_and_started_under_load_loses_nothing() {
    let mut w = World::with("redis-kill", OWN);
    let account = w.account("acme-ps", Platform::Qihoo360);
    account.latency(millis(30));
    w.set("accounts.acme-ps.limits.rps", 80);
    let _worker = w.started();
    let events = w.make.orders("acme-ps", 900);
    w.publish(events);
    for _ in 0..3 {
        let goal = account.executed() + 80;
        eventually(secs(40), "it flows", || account.executed() >= goal);
        // Redis is stopped properly, so that everything acknowledged is on disk. The worker's connections break all the
        // same.
        let redis = w.redis.as_mut().unwrap();
        redis.stop();
        std::thread::sleep(secs(1));
        redis.start();
    }
    w.settle(secs(90));
    w.ledger(&Check::default());
}

#[test]
fn answers_of_redis_that_get_lost_neither_lose_nor_repeat_an_event() {
    let mut w = World::with("redis-replies", Setup { proxy: true, ..Setup::default() });
    let account = w.account("acme-ps", Platform::Qihoo360);
    w.set("accounts.acme-ps.limits.rps", 60);
    let _worker = w.started();
    let events = w.make.orders("acme-ps", 500);
    w.publish(events);
    for _ in 0..3 {
        let goal = account.executed() + 40;
        eventually(secs(40), "it flows", || account.executed() >= goal);
        let proxy = w.proxy.as_ref().unwrap();
        proxy.set(crate::support::proxy::Mode::DropReplies);
        std::thread::sleep(millis(1500));
        proxy.set(crate::support::proxy::Mode::Pass);
        proxy.cut();
    }
    w.settle(secs(90));
    w.ledger(&Check::default());
}

//! Positions that are lost, out of range, or were never there. A partition on which only a person can decide is parked
//! and named, and the others flow.

use crate::support::event::Expect;
use crate::support::http;
use crate::support::ledger::Check;
use crate::support::platform::Platform;
use crate::support::worker::Worker;
use crate::support::world::{Setup, World};
use crate::support::{eventually, secs};

fn partitions(n: i32) -> Setup {
    Setup { partitions: n, ..Setup::default() }
}

fn publish_to(w: &mut World, partition: i32, n: usize) {
    let events = w.make.orders("acme-ps", n);
    w.publish_at(events, None, Some(partition));
}

/// `/ready` and `postback blocked` name exactly these partitions of the input.
#[track_caller]
fn parked(w: &World, worker: &Worker, wanted: &[i32]) {
    let names: Vec<String> = wanted.iter().map(|p| format!("{}/{p}", w.topic("conversions"))).collect();
    eventually(secs(30), &format!("/ready names {names:?}"), || {
        let (_, text) = http::get(worker.admin_port, "/ready").unwrap_or_default();
        let ready: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let mut told: Vec<&str> =
            ready["parked_partitions"].as_array().into_iter().flatten().filter_map(|n| n.as_str()).collect();
        told.sort_unstable();
        told == names
    });
    let unplaced = || worker.metrics().total("unplaced_partitions", &[]);
    eventually(secs(15), "the metric counts them", || unplaced() == wanted.len() as f64);
    eventually(secs(15), &format!("blocked names {names:?}"), || {
        let text = worker.must(&["blocked"]);
        let way_out = |p: i32| format!("unblock offsets --topic {} --partition {p} ", w.topic("conversions"));
        (0..4).all(|p| text.contains(&way_out(p)) == wanted.contains(&p))
    });
}

#[track_caller]
fn unblock(w: &World, worker: &Worker, partition: i32, to: &str) {
    let (topic, partition) = (w.topic("conversions"), partition.to_string());
    let args = ["unblock", "offsets", "--topic", &topic, "--partition", &partition, "--to", to, "--reason", "a test"];
    worker.must(&args);
}

#[test]
fn offsets_out_of_range_park_their_partitions_until_an_operator_says_where_to_go_on() {
    let mut w = World::with("offsets-range", partitions(3));
    w.account("acme-ps", Platform::Qihoo360);
    let mut worker = w.started();
    for partition in 0..3 {
        publish_to(&mut w, partition, 10);
    }
    w.settle(secs(60));
    worker.stop();
    let (group, input) = (w.group(), w.topic("conversions"));
    // One position is beyond the end, as after a topic was made again. One is before the beginning, as after an outage
    // that is longer than the retention.
    w.admin.commit(&group, &input, 0, 1000);
    for partition in 0..3 {
        publish_to(&mut w, partition, 10);
    }
    w.admin.delete_before(&input, 1, 15);
    let lost =
        w.events.iter_mut().filter(|e| e.at.as_ref().is_some_and(|o| o.partition == 1 && (10..15).contains(&o.offset)));
    for event in lost {
        event.expect = Expect::Open;
    }
    worker.start();
    parked(&w, &worker, &[0, 1]);
    eventually(secs(20), "the third partition flows", || {
        w.admin.committed(&group, &input).is_some_and(|c| c.get(&2) == Some(&20))
    });
    assert_eq!(w.receipts().len(), 40, "a parked partition was read");
    assert!(worker.ready());

    unblock(&w, &worker, 0, "10");
    unblock(&w, &worker, 1, "earliest");
    w.settle(secs(60));
    eventually(secs(20), "the group has committed the end", || w.admin.at_end(&group, &input));
    parked(&w, &worker, &[]);
    let books = w.ledger(&Check { disturbed: true, exact: true, ..Check::default() });
    assert_eq!((books.outcomes("delivered"), w.requests().len()), (55, 55));
    let refused = worker.command(&[
        "unblock",
        "offsets",
        "--topic",
        &input,
        "--partition",
        "2",
        "--to",
        "latest",
        "--reason",
        "a test",
    ]);
    assert_eq!(refused.code, Some(1), "a partition that flows was moved: {}", refused.stdout);
    assert!(refused.stderr.contains("is not parked"), "{}", refused.stderr);
}

/// Deleting a topic deletes the group's positions in it. They do not count as lost, because what they were positions of
/// is gone.
#[test]
fn a_topic_that_was_made_again_while_no_worker_ran_is_read_from_its_beginning() {
    let mut w = World::with("offsets-remade", partitions(2));
    let account = w.account("acme-ps", Platform::Qihoo360);
    let mut worker = w.started();
    publish_to(&mut w, 0, 10);
    publish_to(&mut w, 1, 10);
    w.settle(secs(60));
    worker.stop();
    let (group, input) = (w.group(), w.topic("conversions"));
    w.admin.delete_topic(&input);
    w.admin.create_topic(&input, 2, 1, &[]);
    // Beyond the old position in one of the partitions.
    publish_to(&mut w, 0, 30);
    publish_to(&mut w, 1, 5);
    worker.start();
    eventually(secs(30), "the new one is committed", || {
        w.admin.committed(&group, &input).is_some_and(|c| (c.get(&0), c.get(&1)) == (Some(&30), Some(&5)))
    });
    parked(&w, &worker, &[]);
    assert_eq!(account.executed(), 55, "each event of both once");
    assert!(worker.log().contains("the topic was deleted and made again"), "{}", worker.log());
}

#[test]
fn start_from_error_parks_everything_on_a_first_start() {
    let mut w = World::with("offsets-error", partitions(2));
    let account = w.account("acme-ps", Platform::Qihoo360);
    w.set("kafka.start_from", "error");
    publish_to(&mut w, 0, 10);
    publish_to(&mut w, 1, 10);
    let mut worker = w.worker();
    worker.launch();
    parked(&w, &worker, &[0, 1]);
    assert!(!worker.ready() && worker.live(), "nothing flows and it says ready");
    assert_eq!(account.request_count(), 0);
    let input = w.topic("conversions");
    for partition in ["0", "1"] {
        let of = |name: &str| worker.metrics().total(name, &[("topic", &input), ("partition", partition)]);
        eventually(secs(60), "what was never read shows how long Kafka still keeps it", || {
            let (all, left) = (of("retention_seconds"), of("retention_headroom_seconds"));
            all > 600.0 && left > all - 300.0 && left < all
        });
    }
    unblock(&w, &worker, 0, "earliest");
    worker.wait_until_ready();
    parked(&w, &worker, &[1]);
    unblock(&w, &worker, 1, "0");
    w.settle(secs(60));
    w.ledger(&Check { disturbed: true, exact: true, ..Check::default() });
    assert_eq!(account.request_count(), 20);
}

#[test]
fn start_from_latest_skips_what_was_there_before_and_nothing_else() {
    let mut w = World::with("offsets-latest", partitions(2));
    let account = w.account("acme-ps", Platform::Qihoo360);
    w.set("kafka.start_from", "latest");
    publish_to(&mut w, 0, 10);
    publish_to(&mut w, 1, 10);
    for event in &mut w.events {
        event.expect = Expect::Open;
    }
    let mut worker = w.started();
    publish_to(&mut w, 0, 10);
    w.settle(secs(60));
    worker.stop();
    // Only the first start skips records. What comes while no worker runs is not lost, also in a partition from which
    // nothing was ever read.
    publish_to(&mut w, 1, 10);
    worker.start();
    w.settle(secs(60));
    let books = w.ledger(&Check { disturbed: true, exact: true, ..Check::default() });
    assert_eq!((books.outcomes("delivered"), account.request_count()), (20, 20));
}

#[test]
fn three_members_that_make_the_first_start_together_deliver_everything_once() {
    let mut w = World::new("offsets-race");
    let account = w.account("acme-ps", Platform::Qihoo360);
    let events = w.make.orders("acme-ps", 200);
    w.publish(events);
    let mut workers = [w.worker(), w.worker(), w.worker()];
    for worker in &mut workers {
        worker.launch();
    }
    for worker in &mut workers {
        worker.wait_until_ready();
    }
    let events = w.make.orders("acme-ps", 50);
    w.publish(events);
    w.settle(secs(60));
    w.ledger(&Check { disturbed: true, exact: true, ..Check::default() });
    assert_eq!(account.request_count(), 250);
}

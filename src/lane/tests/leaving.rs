//! Records that hold the position of their partition back: each leaves its lane at the next moment at which it may.

use super::*;
use crate::delivery::progress::Open;
use std::sync::Arc;

/// Queues a record, and returns what its partition keeps of it too.
fn send(bench: &Bench, trans_id: &str) -> (Arc<Open>, Ended) {
    let (delivery, ended) = bench.delivery(TopicKind::Input, trans_id);
    let open = delivery.ack.open().clone();
    bench.queue(delivery);
    (open, ended)
}

fn leave(bench: &Bench, open: &Open) {
    assert!(open.set_leaves() && !open.set_leaves());
    bench.handle.changes.touch();
}

#[test]
fn from_a_queue_it_is_parked_and_all_others_stay() {
    run(async {
        let mut bench = Bench::new(|s| s.account.limits.concurrency = 1).await;
        let mut hangs = bench.send(TopicKind::Input, "hang-1");
        bench.start();
        eventually("one is sent", async || bench.sent().len() == 1).await;
        let mut before = bench.send(TopicKind::Input, "ok-before");
        let (open, mut end) = send(&bench, "ok-leaves");
        let mut after = bench.send(TopicKind::Input, "ok-after");
        leave(&bench, &open);
        assert_eq!(end.wait().await, End::Parked);
        assert_eq!((hangs.now(), before.now(), after.now()), (None, None, None));
        bench.let_go();
        all_delivered(&mut [hangs, before, after]).await;
        assert_eq!((bench.count(PARKED), bench.sent().len()), (1, 3));
        let copy = &bench.published(PARKED)[0];
        assert!(copy.is_of("ok-leaves") && copy.headers.get("pb-attempts").is_some_and(|n| n == "0"), "{copy:?}");
    });
}

#[test]
fn while_its_request_is_under_way_it_stays() {
    run(async {
        let mut bench = Bench::new(|_| {}).await;
        let (open, mut end) = send(&bench, "hang-1");
        bench.start();
        eventually("it is sent", async || bench.sent().len() == 1).await;
        leave(&bench, &open);
        assert_eq!(bench.send(TopicKind::Input, "ok-2").wait().await, End::Finished(Outcome::Delivered));
        assert_eq!(end.now(), None, "its outcome is not known");
        bench.let_go();
        assert_eq!(end.wait().await, End::Finished(Outcome::Delivered));
        assert_eq!(bench.count(PARKED), 0);
    });
}

#[test]
fn from_the_wait_for_a_slot_it_gives_its_claim_back_and_is_parked() {
    run(async {
        let mut bench = Bench::new(|s| s.account.limits.rps = 0.05).await;
        bench.start();
        assert_eq!(bench.send(TopicKind::Input, "ok-1").wait().await, End::Finished(Outcome::Delivered));
        let (open, mut end) = send(&bench, "ok-2");
        eventually("it is claimed", async || bench.value("ok-2").await.is_some()).await;
        leave(&bench, &open);
        assert_eq!(end.wait().await, End::Parked);
        assert_eq!((bench.value("ok-2").await, bench.count(PARKED)), (None, 1));
    });
}

#[test]
fn from_the_delay_before_another_try_it_goes_to_its_tier() {
    run(async {
        let edit = |s: &mut crate::stub::bench::Setting| {
            let inline = &mut s.account.retry.inline;
            (inline.max_retries, inline.initial, inline.max) =
                (2, Duration::from_secs(1_000_000), Duration::from_secs(1_000_000));
        };
        let mut bench = Bench::new(edit).await;
        let (open, mut end) = send(&bench, "500-1");
        bench.start();
        eventually("it is sent", async || bench.sent().len() == 1).await;
        eventually("it waits", async || open.stage() == Stage::Waiting).await;
        leave(&bench, &open);
        assert_eq!(end.wait().await, End::Retried);
        assert_eq!((bench.count(TIER_5S), bench.count(PARKED)), (1, 0));
        assert_eq!(bench.published(TIER_5S)[0].headers.get("pb-attempts").map(String::as_str), Some("1"));
    });
}

#[test]
fn from_the_wait_for_redis_it_is_parked() {
    run(async {
        let mut bench = Bench::new(|_| {}).await;
        bench.stop_redis();
        let (open, mut end) = send(&bench, "ok-1");
        bench.start();
        eventually("it waits", async || open.stage() == Stage::Claiming).await;
        leave(&bench, &open);
        assert_eq!(end.wait().await, End::Parked);
        assert!(bench.sent().is_empty());
    });
}

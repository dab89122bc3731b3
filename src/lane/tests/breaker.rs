//! A lane whose platform fails: it parks, tries one record at a time, and begins again step by step.

use super::*;
use crate::lane::handle::breaker::{JUDGED, OPEN_FOR, STEP};
use crate::lane::handle::halt_probe::Step;
use crate::metrics::{BreakerState, LaneState};

/// A lane without inline tries, whose breaker has opened.
async fn broken(concurrency: usize) -> Bench {
    let mut bench = Bench::new(|s| {
        s.account.retry.inline.max_retries = 0;
        s.account.limits.concurrency = concurrency;
    })
    .await;
    bench.start();
    let mut ends: Vec<_> = (0..JUDGED).map(|n| bench.send(TopicKind::Input, &format!("500-{n}"))).collect();
    for end in &mut ends {
        assert_eq!(end.wait().await, End::Retried);
    }
    assert_eq!(bench.handle.state(), LaneState::Broken);
    assert!(bench.handle.explain().2.contains("20 of the last 20 requests failed"), "{:?}", bench.handle.explain());
    bench
}

/// Queues a parked record as its reader does: with the right to be tried, if there is one.
fn parked(bench: &Bench, trans_id: &str) -> Ended {
    let (mut delivery, end) = bench.delivery(TopicKind::Parked, trans_id);
    delivery.probe = bench.handle.take_probe(TopicKind::Parked);
    bench.queue(delivery);
    end
}

#[test]
fn while_the_breaker_is_open_nothing_is_sent_no_attempt_is_burnt_and_what_comes_parks() {
    run(async {
        let bench = broken(4).await;
        let sent = bench.sent().len();
        for topic_kind in [TopicKind::Input, TopicKind::Tier] {
            assert_eq!(bench.send(topic_kind, "ok-later").wait().await, End::Parked);
        }
        let copy = &bench.published(PARKED)[0];
        assert_eq!((copy.text("pb-attempts"), copy.headers.contains_key("pb-parked-at")), ("0", true));
        assert!(bench.given_back.try_recv().is_err());
        let end = parked(&bench, "ok-held");
        eventually("it is held in place", async || bench.given_back.try_recv().is_ok()).await;
        drop(end);
        assert_eq!(bench.sent().len(), sent);
    });
}

#[test]
fn what_waits_for_its_slot_or_for_an_inline_try_leaves_as_the_breaker_opens() {
    run(async {
        let mut bench = Bench::new(|s| {
            s.account.limits.concurrency = 2;
            s.account.limits.rps = 50.0;
            (s.account.retry.inline.initial, s.account.retry.inline.max) =
                (Duration::from_secs(60), Duration::from_secs(60));
        })
        .await;
        bench.start();
        // Two tries wait for a minute. The others are answers that came meanwhile.
        let mut tried = ["500-1", "500-2"].map(|id| bench.send(TopicKind::Input, id));
        eventually("both are sent", async || bench.sent().len() == 2).await;
        let mut queued = bench.send(TopicKind::Input, "ok-3");
        (0..JUDGED).for_each(|_| {
            _ = bench.handle.report(crate::lane::handle::breaker::BreakerInput::Failed, false, String::new)
        });
        for end in &mut tried {
            assert_eq!(end.wait().await, End::Retried, "its tier");
        }
        assert_eq!(queued.wait().await, End::Parked);
        assert_eq!(bench.sent().len(), 2);
    });
}

#[test]
fn one_record_at_a_time_is_tried_and_each_that_fails_goes_to_its_tier() {
    run(async {
        let bench = broken(4).await;
        let sent = bench.sent().len();
        for n in 1..=2 {
            bench.handle.breaker.make_probe_due(OPEN_FOR);
            assert_eq!(parked(&bench, &format!("500-tried-{n}")).wait().await, End::Retried);
            assert_eq!((bench.sent().len(), bench.handle.breaker.state()), (sent + n, BreakerState::Probing));
            assert_eq!(bench.send(TopicKind::Input, "ok-later").wait().await, End::Parked, "the next one is not due");
        }
        // A record that ends without being sent lets the next one be tried at once.
        bench.handle.breaker.make_probe_due(OPEN_FOR);
        let (mut old, mut expired) = bench.delivery_of(TopicKind::Parked, "ok-old", 1_700_000_000_000);
        old.probe = bench.handle.take_probe(TopicKind::Parked);
        bench.queue(old);
        assert_eq!(expired.wait().await, End::Finished(Outcome::DeadLettered));
        eventually("the next one may be tried", async || bench.handle.offers_probe(TopicKind::Parked)).await;
        let mut hangs = parked(&bench, "hang-tried");
        eventually("it is sent", async || bench.sent().len() == sent + 3).await;
        assert!(bench.handle.take_probe(TopicKind::Parked).is_none(), "one at a time");
        assert_eq!(bench.send(TopicKind::Input, "ok-beside").wait().await, End::Parked);
        bench.let_go();
        assert_eq!(hangs.wait().await, End::Finished(Outcome::Delivered));
        assert!(bench.handle.is_open());
    });
}

#[test]
fn a_record_that_arrives_is_tried_where_no_parked_one_comes_and_the_ramp_bounds_what_follows() {
    run(async {
        let bench = broken(4).await;
        bench.handle.breaker.make_probe_due(OPEN_FOR);
        all_delivered(&mut [bench.send(TopicKind::Input, "ok-first")]).await;
        assert_eq!((bench.handle.breaker.state(), bench.handle.breaker.ramp_permits()), (BreakerState::Ramping, 1));
        let before = bench.sent().len();
        let mut ends: Vec<_> = (0..40).map(|n| bench.send(TopicKind::Input, &format!("hang-{n}"))).collect();
        eventually("one is sent", async || bench.sent().len() == before + 1).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(bench.sent().len(), before + 1, "one permit");
        bench.let_go();
        all_delivered(&mut ends).await;
        assert_eq!(bench.handle.breaker.state(), BreakerState::Closed);
        assert!(bench.published(PARKED).is_empty());
    });
}

#[test]
fn a_platform_that_fails_again_at_once_is_left_alone_for_the_whole_time_once_more() {
    run(async {
        let bench = broken(4).await;
        bench.handle.breaker.make_probe_due(OPEN_FOR);
        all_delivered(&mut [parked(&bench, "ok-first")]).await;
        let mut ends: Vec<_> = (1..STEP).map(|n| bench.send(TopicKind::Input, &format!("ok-{n}"))).collect();
        all_delivered(&mut ends).await;
        assert_eq!(bench.send(TopicKind::Input, "500-again").wait().await, End::Retried);
        assert_eq!(bench.handle.breaker.state(), BreakerState::Open);
        assert_eq!(bench.send(TopicKind::Input, "ok-later").wait().await, End::Parked);
    });
}

#[test]
fn a_parked_record_that_is_accepted_while_its_account_is_halted_is_reported_and_any_other_answer_leaves_the_halt() {
    run(async {
        let mut bench = Bench::new(|s| s.account.retry.inline.max_retries = 0).await;
        bench.start();
        bench.handle.halt("errno 3");
        let grant = || {
            let halt = bench.handle.switches.present().halted.unwrap();
            bench.handle.halt_probe().clear();
            bench.handle.halt_probe().grant(Instant::now() + Duration::from_secs(30), &halt);
        };
        for (id, end) in [("500-1", End::Retried), ("400-2", End::Finished(Outcome::DeadLettered))] {
            grant();
            assert_eq!(parked(&bench, id).wait().await, end);
            assert_eq!(bench.handle.halt_probe().step(), Step::Refused, "{id}");
        }
        grant();
        // Without a send the next one may be tried at once.
        let (mut old, mut expired) = bench.delivery_of(TopicKind::Parked, "ok-old", 1_700_000_000_000);
        old.probe = bench.handle.take_probe(TopicKind::Parked);
        bench.queue(old);
        assert_eq!(expired.wait().await, End::Finished(Outcome::DeadLettered));
        eventually("the next one may be tried", async || bench.handle.offers_probe(TopicKind::Parked)).await;
        assert_eq!(bench.send(TopicKind::Input, "ok-live").wait().await, End::Parked, "parked ones alone");
        all_delivered(&mut [parked(&bench, "ok-3")]).await;
        assert!(matches!(bench.handle.halt_probe().step(), Step::Accepted { .. }));
        assert_eq!(bench.sent(), ["500-1", "400-2", "ok-3"]);
    });
}

//! One lane with a store, a broker and a platform whose answers the events ask for.

mod breaker;
mod leaving;
mod quota;
mod replaced;

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::Instant;

use super::answers::{ONLY_THROTTLED, PERMANENT_RUN};
use super::*;
use crate::claim::rules::Value;
use crate::delivery::TopicKind;
use crate::delivery::progress::{End, Stage};
use crate::error::{Answer, Disposition, Fault, Outcome};
use crate::platforms::Receipt;
use crate::settle::{Attempted, Progress};
use crate::stub::bench::{Alone, Bench, DEAD, Ended, PARKED, RECEIPTS, TIER_5S, eventually, run};

fn permanent() -> Attempted {
    Err(DeliveryError::Permanent(Answer { status: Some(400), ..Answer::default() }))
}

fn throttled() -> Attempted {
    Err(DeliveryError::Throttled(Answer { status: Some(429), ..Answer::default() }))
}

async fn all_delivered(ends: &mut [Ended]) {
    for end in ends {
        assert_eq!(end.wait().await, End::Finished(Outcome::Delivered));
    }
}

#[test]
fn live_and_released_records_are_sent_in_turn() {
    run(async {
        let mut bench = Bench::new(|s| s.account.limits.concurrency = 1).await;
        // A retry is due, so it does not wait behind a parking backlog.
        let topic_kinds = [("ok-l", TopicKind::Input), ("ok-p", TopicKind::Parked), ("ok-t", TopicKind::Tier)];
        let queued =
            topic_kinds.iter().flat_map(|(name, topic_kind)| (1..=2).map(move |n| (format!("{name}{n}"), *topic_kind)));
        let mut ends: Vec<_> = queued.map(|(id, topic_kind)| bench.send(topic_kind, &id)).collect();
        bench.start();
        all_delivered(&mut ends).await;
        // Either of the two may come first.
        let mut sent = bench.sent();
        sent.chunks_mut(2).for_each(<[_]>::sort);
        assert_eq!(sent, ["ok-l1", "ok-t1", "ok-l2", "ok-t2", "ok-p1", "ok-p2"]);
    });
}

#[test]
fn a_retry_does_not_wait_behind_all_that_waits_for_a_slot() {
    run(async {
        let mut bench = Bench::new(|s| (s.account.limits.rps, s.account.limits.concurrency) = (10.0, 24)).await;
        let _backlog: Vec<_> = (0..60).map(|n| bench.send(TopicKind::Parked, &format!("ok-p{n}"))).collect();
        let task = bench.start();
        eventually("the backlog drains", async || bench.sent().len() == 2).await;
        eventually("all permits are taken", async || bench.handle.occupancy.in_flight.load(Relaxed) >= 24).await;
        let before = bench.sent().len();
        assert_eq!(bench.send(TopicKind::Tier, "ok-t").wait().await, End::Finished(Outcome::Delivered));
        task.abort();
        let behind = bench.sent().iter().position(|id| id == "ok-t").unwrap() - before;
        // One record frees its permit, and some are sent while this one is claimed; each takes 100 ms.
        assert!(behind <= 12, "{behind} were sent before it, with 24 permits");
    });
}

#[test]
fn what_is_throttled_for_a_moment_goes_on_at_the_head_of_its_lane() {
    run(async {
        let mut bench = Bench::new(|s| s.account.limits.concurrency = 1).await;
        let mut ends = ["429once-1", "ok-2", "ok-3"].map(|id| bench.send(TopicKind::Input, id));
        bench.start();
        all_delivered(&mut ends).await;
        // The answer of the first record freed the permit, and the second one took it.
        assert_eq!(bench.sent(), ["429once-1", "ok-2", "429once-1", "ok-3"]);
        let receipt = bench.published(RECEIPTS).into_iter().find(|p| p.is_of("429once-1")).unwrap();
        let receipt: serde_json::Value = serde_json::from_slice(&receipt.value).unwrap();
        assert_eq!((&receipt["attempts"], &receipt["resends"]), (&1.into(), &0.into()), "no attempt, and no doubt");
    });
}

/// A wall clock that is days ahead would let what is parked into a closed lane.
#[test]
fn while_this_machines_clock_is_off_what_is_parked_is_overdue_by_the_clock_of_redis() {
    const HOUR_MS: i64 = 3_600_000;
    run(async {
        let bench = Bench::new(|_| {}).await;
        let now_ms = crate::clock::now_ms();
        bench.lane.context.health.clock.saw((now_ms / 1000, 0), std::time::Instant::now());
        let (mut delivery, _end) = bench.delivery(TopicKind::Parked, "ok-1");
        let most_ms = i64::try_from(bench.lane.account.retry.max_parked.as_millis()).unwrap();
        for (parked_for_ms, is_overdue) in [(most_ms - HOUR_MS, false), (most_ms + HOUR_MS, true)] {
            delivery.envelope.parked_at_ms = Some(now_ms - parked_for_ms);
            for set_by_ms in [0, 2 * HOUR_MS, -2 * HOUR_MS] {
                crate::clock::set_by(set_by_ms);
                let found = bench.lane.is_overdue(&delivery);
                crate::clock::set_by(0);
                assert_eq!(found, is_overdue, "set by {set_by_ms} ms");
            }
        }
    });
}

#[test]
fn a_take_over_is_declared_once_whatever_its_platform_throttles() {
    run(async {
        let mut bench = Bench::new(|_| {}).await;
        let dead = format!("c|{}|in:0:9|0000000000|0", "0".repeat(16));
        bench.put("429once-1", &dead).await;
        let mut ends = [bench.send(TopicKind::Input, "429once-1")];
        bench.start();
        all_delivered(&mut ends).await;
        assert_eq!(bench.sent(), ["429once-1", "429once-1"]);
        let receipt = &bench.published(RECEIPTS)[0];
        let receipt: serde_json::Value = serde_json::from_slice(&receipt.value).unwrap();
        assert_eq!((bench.resends_counted(), &receipt["resends"]), (1, &1.into()));
    });
}

#[test]
fn a_lane_that_gets_only_throttled_answers_for_30_s_closes_and_one_record_at_a_time_is_tried() {
    run(async {
        let mut bench = Bench::new(|s| s.account.limits.concurrency = 4).await;
        bench.start();
        let begun = Instant::now().checked_sub(ONLY_THROTTLED).unwrap();
        // A push-back of 4 s, which the test does not wait for.
        bench.lane.throttles.set(2);
        bench.lane.throttled_since.set(Some(begun));
        assert_eq!(bench.send(TopicKind::Input, "429-1").wait().await, End::Parked, "it does not hold its partition");
        assert!(!bench.handle.is_open());
        bench.handle.throttle.push_back(Duration::from_secs(60));
        assert_eq!(bench.send(TopicKind::Input, "ok-2").wait().await, End::Parked, "closed for what comes");

        // The push-back is over: the first record that comes is tried, and is throttled again.
        bench.forget_push_back().await;
        bench.lane.throttles.set(6);
        let (mut tried, mut other) = (bench.send(TopicKind::Input, "429-3"), bench.send(TopicKind::Input, "ok-4"));
        assert_eq!((tried.wait().await, other.wait().await), (End::Parked, End::Parked));
        assert_eq!(bench.send(TopicKind::Input, "ok-5").wait().await, End::Parked);
        assert!(
            !bench.handle.is_open() && bench.handle.take_probe(TopicKind::Parked).is_none(),
            "pushed back once more"
        );

        // A record that was read from parking is held in place.
        bench.forget_push_back().await;
        bench.lane.throttles.set(6);
        let (mut parked, mut end) = bench.delivery(TopicKind::Parked, "429-6");
        parked.probe = bench.handle.take_probe(TopicKind::Parked);
        bench.queue(parked);
        eventually("it is tried", async || bench.sent().len() == 3).await;
        let mut back = None;
        eventually("it is held", async || {
            back = back.take().or_else(|| bench.given_back.try_recv().ok());
            back.is_some()
        })
        .await;
        let back = back.unwrap();
        assert!(back.probe.is_none() && end.now().is_none());
        assert_eq!(bench.sent(), ["429-1", "429-3", "429-6"]);

        // A record that ends without an answer of the platform does not open the lane, and the next one is tried.
        bench.forget_push_back().await;
        let (old, mut expired) = bench.delivery_of(TopicKind::Input, "ok-7", 1_700_000_000_000);
        bench.queue(old);
        assert_eq!(expired.wait().await, End::Finished(Outcome::DeadLettered));
        assert!(!bench.handle.is_open());
        let mut opens = bench.send(TopicKind::Input, "hang-8");
        eventually("it is tried", async || bench.sent().len() == 4).await;
        assert_eq!(bench.send(TopicKind::Input, "ok-9").wait().await, End::Parked, "one at a time");
        bench.let_go();
        assert_eq!(opens.wait().await, End::Finished(Outcome::Delivered));
        assert!(bench.handle.is_open());
        let mut flows = ["ok-10", "ok-11"].map(|id| bench.send(TopicKind::Input, id));
        all_delivered(&mut flows).await;
    });
}

#[test]
fn while_the_one_that_is_tried_gets_no_answer_the_next_one_waits_ever_longer() {
    run(async {
        let edit = |s: &mut crate::stub::bench::Setting| {
            s.account.retry.inline.max_retries = 0;
            s.no_platform = true;
        };
        let mut bench = Bench::new(edit).await;
        bench.start();
        bench.handle.throttle.set_only_throttled(true);
        // The push-backs begin at 32 s, which do not pass in a test.
        bench.lane.throttles.set(5);
        for n in 0..3 {
            assert_eq!(bench.send(TopicKind::Input, &format!("ok-tried-{n}")).wait().await, End::Retried);
            assert!(bench.handle.take_probe(TopicKind::Parked).is_none(), "{n}: kept back");
            assert_eq!(bench.send(TopicKind::Input, &format!("ok-parked-{n}")).wait().await, End::Parked);
            assert_eq!(bench.lane.throttles.get(), 5 + n + 1);
            bench.forget_push_back().await;
        }
        assert!(bench.handle.take_probe(TopicKind::Parked).is_some());
    });
}

#[test]
fn what_goes_back_to_its_lane_is_shown_as_queued() {
    run(async {
        let mut bench = Bench::new(|s| s.account.limits.concurrency = 1).await;
        let (delivery, mut end) = bench.delivery(TopicKind::Input, "429once-1");
        let open = delivery.ack.open().clone();
        bench.queue(delivery);
        let hangs = bench.send(TopicKind::Input, "hang-2");
        bench.start();
        // The answer of the first record freed the permit, and the second one took it.
        eventually("the second one is sent", async || bench.sent().len() == 2).await;
        eventually("the first one is queued", async || open.stage() == Stage::Queued).await;
        bench.let_go();
        all_delivered(&mut [hangs]).await;
        assert_eq!(end.wait().await, End::Finished(Outcome::Delivered));
    });
}

#[test]
fn whoever_counts_on_a_lane_is_told_of_what_it_got_through_with() {
    run(async {
        let mut bench = Bench::new(|s| s.account.retry.inline.max_retries = 0).await;
        bench.start();
        for (id, through) in [("ok-1", true), ("400-2", true), ("503-3", true), ("silent-4", false), ("401-5", false)] {
            let (delivery, mut end) = bench.delivery(TopicKind::Input, id);
            let open = delivery.ack.open().clone();
            bench.queue(delivery);
            end.wait().await;
            assert_eq!(open.got_through(), through, "{id}");
        }
    });
}

#[test]
fn only_what_has_a_permit_is_claimed_and_sent() {
    run(async {
        let mut bench = Bench::new(|s| s.account.limits.concurrency = 2).await;
        let ids: Vec<_> = (0..6).map(|n| format!("hang-{n}")).collect();
        let mut ends: Vec<_> = ids.iter().map(|id| bench.send(TopicKind::Input, id)).collect();
        bench.start();
        eventually("two are sent", async || bench.sent().len() == 2).await;
        // Each costs one round trip to the store, as a wrong third claim would.
        for id in ids.iter().cycle().take(60) {
            let claimed = matches!(bench.value(id).await, Some(Value::Claimed { .. }));
            assert_eq!(claimed, ["hang-0", "hang-1"].contains(&&**id), "{id}");
        }
        assert_eq!((bench.sent().len(), bench.handle.occupancy.live.records()), (2, 4));
        assert_eq!(bench.handle.occupancy.in_flight.load(Relaxed), 2);
        bench.let_go();
        all_delivered(&mut ends).await;
    });
}

#[test]
fn copies_of_one_slow_conversion_hold_one_permit_and_others_go_on() {
    run(async {
        let mut bench = Bench::new(|s| s.account.limits.concurrency = 2).await;
        let mut copies: Vec<_> = (0..6).map(|_| bench.send(TopicKind::Input, "hang-1")).collect();
        copies.push(bench.send(TopicKind::Parked, "hang-1"));
        bench.start();
        eventually("the first copy is sent", async || bench.sent().len() == 1).await;
        let mut others: Vec<_> = (0..4).map(|n| bench.send(TopicKind::Input, &format!("ok-{n}"))).collect();
        all_delivered(&mut others).await;
        assert!(copies.iter_mut().all(|c| c.now().is_none()));
        assert_eq!(
            (bench.handle.occupancy.live.records() + bench.handle.occupancy.released.records(), bench.sent().len()),
            (6, 5)
        );
        bench.let_go();
        let mut ends = Vec::new();
        for copy in &mut copies {
            ends.push(copy.wait().await);
        }
        let delivered = ends.iter().filter(|e| **e == End::Finished(Outcome::Delivered)).count();
        assert_eq!((delivered, bench.sent().len()), (1, 5), "{ends:?}");
        assert!(ends.iter().all(|e| matches!(e, End::Finished(Outcome::Delivered | Outcome::Duplicate))), "{ends:?}");
        assert_eq!((bench.handle.occupancy.live.records(), bench.handle.occupancy.released.records()), (0, 0));
    });
}

#[test]
fn a_lane_that_closes_parks_the_copies_of_what_is_under_way_too() {
    run(async {
        let mut bench = Bench::new(|s| s.account.limits.concurrency = 2).await;
        let mut copies: Vec<_> = (0..3).map(|_| bench.send(TopicKind::Input, "hang-1")).collect();
        bench.start();
        eventually("the first copy is sent", async || bench.sent().len() == 1).await;
        bench.lane.halt("told to");
        eventually("two are parked", async || {
            copies.iter_mut().map(Ended::now).filter(|end| *end == Some(End::Parked)).count() == 2
        })
        .await;
        copies.retain_mut(|c| c.now().is_none());
        bench.let_go();
        all_delivered(&mut copies).await;
    });
}

#[test]
fn an_answer_frees_its_permit_and_twice_the_concurrency_may_wait_for_what_follows() {
    run(async {
        // No record finishes, because its receipt is not written.
        let edit = |s: &mut crate::stub::bench::Setting| {
            s.account.limits.concurrency = 2;
            s.no_kafka = true;
        };
        let mut bench = Bench::new(edit).await;
        let mut ends: Vec<_> = (0..10).map(|n| bench.send(TopicKind::Input, &format!("ok-{n}"))).collect();
        bench.start();
        eventually("four are accepted", async || bench.sent().len() >= 4).await;
        for _ in 0..60 {
            assert_eq!(bench.value("ok-4").await, None, "claimed beside four that are not finished");
        }
        assert_eq!((bench.sent().len(), bench.handle.occupancy.live.records()), (4, 6));
        assert_eq!(bench.handle.occupancy.in_flight.load(Relaxed), 4);
        assert!(ends.iter_mut().all(|e| e.now().is_none()));
    });
}

#[test]
fn closing_empties_the_queue_at_once_without_touching_redis() {
    run(async {
        let mut bench = Bench::new(|s| s.account.limits.concurrency = 1).await;
        let mut hangs = bench.send(TopicKind::Input, "hang-1");
        bench.start();
        eventually("one is sent", async || bench.sent().len() == 1).await;
        let mut live = bench.send(TopicKind::Input, "ok-live");
        let mut tier = bench.send(TopicKind::Tier, "ok-tier");
        let mut parked = bench.send(TopicKind::Parked, "ok-parked");
        let (leaves, mut returned) = bench.delivery(TopicKind::Input, "ok-leaves");
        let (assignment, open) = (leaves.ack.assignment().clone(), leaves.ack.open().clone());
        bench.queue(leaves);
        eventually("all are queued", async || open.stage() == Stage::Queued).await;

        assignment.set_leaving();
        bench.handle.changes.touch();
        assert_eq!(returned.wait().await, End::Returned, "its partition leaves: given back, and not parked");
        bench.lane.halt("told to");
        assert_eq!(live.wait().await, End::Parked);
        assert_eq!(tier.wait().await, End::Parked);
        // Records that come now park too.
        let mut late = bench.send(TopicKind::Input, "ok-late");
        assert_eq!(late.wait().await, End::Parked);
        let back = bench.given_back.try_recv().expect("given back to the buffer of its partition");
        assert!(back.ack.open().stage() == Stage::Holding && parked.now().is_none(), "never parked twice");

        let published = bench.published(PARKED);
        assert_eq!(published.len(), 3);
        assert!(published.iter().all(|p| !p.text("pb-parked-at").is_empty() && p.text("pb-attempts") == "0"));
        for id in ["ok-live", "ok-tier", "ok-parked", "ok-leaves", "ok-late"] {
            assert_eq!(bench.value(id).await, None, "{id}");
        }
        assert_eq!(bench.alone().halts.try_recv().unwrap().reason, "told to");
        assert_eq!(hangs.now(), None);
        bench.let_go();
        assert_eq!(hangs.wait().await, End::Finished(Outcome::Delivered), "what was sent ends as its answer says");
    });
}

#[test]
fn a_panic_in_a_walk_ends_neither_the_lane_nor_its_record() {
    run(async {
        let mut bench = Bench::new(|_| {}).await;
        let task = bench.start();
        assert_eq!(bench.send(TopicKind::Input, "panic-1").wait().await, End::Retried);
        let published = bench.published(TIER_5S);
        assert_eq!(published[0].text("pb-last-error"), "ambiguous", "whether it was accepted nobody knows");
        assert_eq!(published[0].text("pb-attempts"), "1");
        assert!(matches!(bench.value("panic-1").await, Some(Value::Unknown { .. })));
        assert_eq!(bench.send(TopicKind::Input, "ok-2").wait().await, End::Finished(Outcome::Delivered));
        assert!(!task.is_finished());

        // It is sent again, and this time it is a second send.
        assert_eq!(bench.send(TopicKind::Input, "panic-1").wait().await, End::Retried);
        assert_eq!(bench.published(TIER_5S)[1].text("pb-resends"), "1");
        assert_eq!(bench.resends_counted(), 1);
    });
}

#[test]
fn a_panic_ends_in_the_dead_letters_where_nothing_may_be_sent_twice() {
    run(async {
        let mut bench = Bench::new(|s| s.account.on_ambiguous = crate::account::OnAmbiguous::DeadLetter).await;
        bench.start();
        assert_eq!(bench.send(TopicKind::Input, "panic-1").wait().await, End::Finished(Outcome::DeadLettered));
        assert_eq!(bench.published(DEAD)[0].text("pb-reason"), "unknown_outcome");
        assert!(matches!(bench.value("panic-1").await, Some(Value::Unknown { .. })));
    });
}

#[test]
fn twenty_permanent_answers_in_a_row_halt_and_any_other_answer_begins_anew() {
    let mut alone = Alone::new(|_| {});
    let retry = || Err(DeliveryError::Retry(Answer { status: Some(500), ..Answer::default() }));
    let breaks: [&dyn Fn() -> Attempted; 3] = [&|| Ok(Progress::Accepted(Receipt::default())), &retry, &throttled];
    for other in breaks {
        (1..PERMANENT_RUN).for_each(|_| alone.lane.note(false, &permanent()));
        alone.lane.note(false, &other());
    }
    (1..PERMANENT_RUN).for_each(|_| alone.lane.note(false, &permanent()));
    // These are no answers of the platform: they do not count, and they do not end the run.
    alone.lane.note(false, &Ok(Progress::Duplicate { resends: 0 }));
    alone.lane.note(false, &Err(DeliveryError::Retry(Answer::default())));
    alone.lane.note(false, &Err(DeliveryError::Invalid(Fault::whole("x"))));
    assert!(alone.handle.is_open());
    alone.lane.note(false, &permanent());
    assert!(!alone.handle.is_open());
    assert!(alone.halts.try_recv().unwrap().reason.starts_with("20 permanent answers in a row"));
    assert!(alone.halts.try_recv().is_err(), "made known once");
}

#[tokio::test]
async fn thirty_seconds_of_throttled_answers_close_the_lane_and_any_other_answer_begins_them_anew() {
    let alone = Alone::new(|_| {});
    let lane = &alone.lane;
    let second = Some(Duration::from_secs(1));
    let ago = |seconds| lane.throttled_since.set(Instant::now().checked_sub(Duration::from_secs(seconds)));
    lane.note(false, &throttled());
    ago(25);
    lane.note(false, &throttled());
    lane.push_back(second).await;
    assert!(alone.handle.is_open());
    for other in [Ok(Progress::Accepted(Receipt::default())), permanent()] {
        lane.note(false, &other);
        lane.note(false, &throttled());
        lane.push_back(second).await;
        assert!(alone.handle.is_open(), "it began anew");
        ago(31);
        // These are no answers of the platform.
        lane.note(false, &Ok(Progress::Duplicate { resends: 0 }));
        lane.note(false, &Err(DeliveryError::Retry(Answer::default())));
        lane.note(false, &throttled());
        lane.push_back(second).await;
        assert!(!alone.handle.is_open());
        alone.handle.throttle.forget();
        assert!(!alone.handle.is_open() && alone.handle.explain().2.contains("asked too often"));
    }
    lane.note(false, &permanent());
    assert!(alone.handle.is_open());
}

#[tokio::test]
async fn throttled_answers_between_which_nothing_was_sent_are_not_thirty_seconds_of_them() {
    let alone = Alone::new(|_| {});
    let lane = &alone.lane;
    let second = Duration::from_secs(1);
    let passes = |time: Duration| {
        for at in [&lane.throttled_since, &lane.throttled_until] {
            at.set(at.get().map(|at| at.checked_sub(time).unwrap()));
        }
        lane.limiter.forget_push_back();
        alone.handle.throttle.forget();
    };
    for n in 0..5 {
        lane.note(false, &throttled());
        assert_eq!(lane.push_back(None).await, second, "{n}: it doubles nothing either");
        assert!(alone.handle.is_open(), "{n}");
        passes(300 * second);
    }
    // Nothing was sent in between because the platform asked for that, so these answers are one run.
    for n in 0..2 {
        lane.note(false, &throttled());
        lane.push_back(Some(60 * second)).await;
        passes(61 * second);
        assert_eq!(alone.handle.is_open(), n == 0, "{n}");
    }
}

#[tokio::test]
async fn a_push_back_without_a_time_doubles_to_a_minute_and_a_volley_counts_once() {
    let alone = Alone::new(|_| {});
    let lane = &alone.lane;
    let second = Duration::from_secs(1);
    for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
        lane.limiter.forget_push_back();
        lane.note(false, &throttled());
        assert_eq!(lane.push_back(None).await, expected * second);
        assert_eq!(alone.handle.is_open(), expected <= 4, "{expected} s");
    }
    // The rest of the push-back is compared, because some of it passes meanwhile.
    let nearly = |found: Duration, expected: u32| expected * second - found < 20 * second;
    assert!(nearly(lane.push_back(Some(Duration::ZERO)).await, 60), "a Retry-After that says nothing");

    lane.limiter.forget_push_back();
    lane.note(false, &Ok(Progress::Accepted(Receipt::default())));
    assert_eq!(lane.push_back(None).await, second, "any other answer begins anew");
    assert_eq!(lane.push_back(Some(60 * second)).await, 60 * second, "the platform's own wait");
    assert!(nearly(lane.push_back(Some(5 * second)).await, 60), "which a shorter one does not end");
    for _ in 0..3 {
        lane.note(false, &throttled());
        assert!(nearly(lane.push_back(None).await, 60));
    }
    lane.limiter.forget_push_back();
    assert_eq!(lane.push_back(None).await, 2 * second, "a volley doubles nothing");
}

#[test]
fn a_queue_that_is_to_be_parked_parks_whole_and_nothing_else_does() {
    run(async {
        let mut bench = Bench::new(|s| s.account.limits.concurrency = 1).await;
        let mut hangs = bench.send(TopicKind::Input, "hang-1");
        bench.start();
        eventually("one is sent", async || bench.sent().len() == 1).await;
        let mut live = ["ok-1", "ok-2"].map(|id| bench.send(TopicKind::Input, id));
        let mut tier = bench.send(TopicKind::Tier, "ok-tier");
        bench.handle.inbox.park_queue();
        assert!(bench.handle.inbox.is_emptying());
        let mut later = bench.send(TopicKind::Input, "ok-later");
        for end in &mut live {
            assert_eq!(end.wait().await, End::Parked);
        }
        eventually("it is told", async || !bench.handle.inbox.is_emptying()).await;
        eventually("their copies are there", async || bench.handle.occupancy.aside.live.records() == 0).await;
        assert_eq!((bench.handle.occupancy.live.records(), bench.handle.occupancy.released.records()), (1, 1));
        assert_eq!((hangs.now(), tier.now(), later.now()), (None, None, None));
        bench.let_go();
        all_delivered(&mut [hangs, tier, later]).await;
        assert_eq!(bench.count(PARKED), 2);
    });
}

#[test]
fn what_is_to_be_parked_counts_until_its_copy_is_acknowledged() {
    run(async {
        // No copy is acknowledged.
        let edit = |s: &mut crate::stub::bench::Setting| {
            s.account.limits.rps = 20.0;
            s.no_kafka = true;
        };
        let mut bench = Bench::new(edit).await;
        bench.start();
        bench.lane.halt("told to");
        let mut ends: Vec<_> = (0..300).map(|n| bench.send(TopicKind::Input, &format!("ok-{n}"))).collect();
        let bytes = bench.delivery(TopicKind::Input, "ok-000").0.record.size();
        eventually("all are set aside", async || bench.handle.occupancy.aside.live.records() == 300).await;
        assert_eq!(bench.handle.occupancy.live.records(), 0);
        assert!(
            bench.handle.occupancy.is_full(TopicKind::Input)
                && bench.handle.is_aside_above(TopicKind::Input, 300, 2_500)
        );
        assert!(bench.handle.occupancy.aside.live.bytes() > 290 * (bytes - 2));
        assert!(ends.iter_mut().all(|e| e.now().is_none()));
        // Tiers have their own count, and a record that is held in place leaves at once.
        assert!(bench.handle.can_park(TopicKind::Tier));
        let mut parked = bench.send(TopicKind::Parked, "ok-parked");
        eventually("it is given back", async || bench.given_back.try_recv().is_ok()).await;
        assert_eq!((bench.handle.occupancy.aside.released.records(), parked.now()), (0, Some(End::Lost)));
    });
}

#[test]
fn twenty_requests_whose_records_are_all_refused_for_good_halt_and_one_with_another_answer_begins_anew() {
    let alone = Alone::new(|_| {});
    let note = |results: &[Attempted]| alone.lane.note_request(results.iter().map(|result| (false, result)));
    let refused = || note(&[permanent(), permanent(), permanent()]);
    for _ in 0..3 {
        (1..PERMANENT_RUN).for_each(|_| refused());
        assert!(alone.handle.is_open(), "requests are counted, and not their records");
        note(&[permanent(), Ok(Progress::Accepted(Receipt::default())), permanent()]);
    }
    (0..PERMANENT_RUN).for_each(|_| refused());
    assert!(!alone.handle.is_open());
}

fn live(results: &[Attempted]) -> impl Iterator<Item = (bool, &Attempted)> + Clone {
    results.iter().map(|result| (false, result))
}

#[test]
fn answers_to_replayed_records_make_no_run_of_permanent_ones_and_end_none() {
    let alone = Alone::new(|_| {});
    let lane = &alone.lane;
    let accepted = || Ok(Progress::Accepted(Receipt::default()));
    (0..3 * PERMANENT_RUN).for_each(|_| lane.note(true, &permanent()));
    let (replayed, refused) = (permanent(), permanent());
    (0..3 * PERMANENT_RUN).for_each(|_| lane.note_request([(true, &replayed), (true, &refused)].into_iter()));
    assert!(alone.handle.is_open());
    // A request of both counts by its live records.
    let good = accepted();
    (1..PERMANENT_RUN).for_each(|_| lane.note_request([(true, &good), (false, &refused)].into_iter()));
    lane.note(true, &accepted());
    assert!(alone.handle.is_open());
    lane.note_request([(true, &replayed), (false, &good)].into_iter());
    (1..PERMANENT_RUN).for_each(|_| lane.note(false, &permanent()));
    assert!(alone.handle.is_open(), "the accepted one has ended the run");
    lane.note(false, &permanent());
    assert!(!alone.handle.is_open());
    // That the platform asks for fewer requests is true of all of them.
    lane.note(true, &throttled());
    assert!(lane.throttled_since.get().is_some());
    lane.note(true, &accepted());
    assert!(lane.throttled_since.get().is_none());
}

#[test]
fn a_request_is_throttled_where_none_of_its_records_has_another_answer() {
    let alone = Alone::new(|_| {});
    let lane = &alone.lane;
    lane.note_request(live(&[throttled(), throttled()]));
    assert!(lane.throttled_since.get().is_some());
    lane.note_request(live(&[throttled(), permanent()]));
    assert!(lane.throttled_since.get().is_none());
    lane.note_request(live(&[throttled(), Err(DeliveryError::Retry(Answer::default()))]));
    assert!(lane.throttled_since.get().is_some(), "no answer is none");
}

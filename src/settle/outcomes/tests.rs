use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::*;
use crate::account::WhenUnavailable;
use crate::delivery::TopicKind;
use crate::delivery::progress::End;
use crate::envelope::{LastAttempt, Replay};
use crate::error::{Answer, DeliveryError, Fault, Reason};
use crate::platforms::Receipt;
use crate::settle::{Attempted, Progress, settle};
use crate::stub::bench::{Alone, Bench, DEAD, Ended, PARKED, Setting, TIER_5S, eventually, run};

const REPLAY: &str = "20261129-1";

fn replay() -> Option<Replay> {
    Some(Replay { id: REPLAY.into(), replays: 2, force: true })
}

fn replayed(alone: &Alone, topic_kind: TopicKind, id: &str) -> (Box<Delivery>, Ended) {
    let (mut delivery, ended) = alone.delivery(topic_kind, id);
    delivery.envelope.replay = replay();
    (delivery, ended)
}

async fn counts(bench: &Bench) -> BTreeMap<String, String> {
    bench.redis(&["HGETALL", "pb:replay:20261129-1:outcomes"]).await
}

fn no_receipts(setting: &mut Setting) {
    setting.receipts = false;
}

fn delivers(setting: &mut Setting) {
    no_receipts(setting);
    setting.account.when_unavailable = WhenUnavailable::Deliver;
}

fn answer() -> Answer {
    Answer { status: Some(500), code: "7".into(), sent: true, ..Answer::default() }
}

#[test]
fn every_end_of_a_replayed_record_is_counted_whatever_topic_it_ends_in_and_a_hand_off_is_not() {
    run(async {
        let bench = Bench::new(no_receipts).await;
        let permanent = || Err(DeliveryError::Permanent(answer()));
        let results: [(TopicKind, Attempted); 8] = [
            (TopicKind::Input, Ok(Progress::Accepted(Receipt::default()))),
            (TopicKind::Parked, Ok(Progress::Duplicate { resends: 0 })),
            (TopicKind::Input, permanent()),
            (TopicKind::Tier, permanent()),
            (TopicKind::Tier, Err(DeliveryError::Expired(Fault::new("event_time_ms", "too old")))),
            (TopicKind::Input, Err(DeliveryError::Retry(answer()))),
            (TopicKind::Input, Err(DeliveryError::Held { unknown: false })),
            (TopicKind::Input, Err(DeliveryError::Closed)),
        ];
        for (n, (topic_kind, result)) in results.into_iter().enumerate() {
            let id = format!("call:13812345678:{n}");
            let (mut delivery, mut ended) = replayed(&bench, topic_kind, &id);
            delivery.envelope.last =
                Some(LastAttempt { class: "permanent".into(), code: "E7".into(), status: Some(200) });
            let guard =
                if matches!(result, Ok(Progress::Accepted(_))) { Some(bench.claim(&mut delivery).await) } else { None };
            settle(&bench.lane.outbox, delivery, guard, result).await;
            assert!(ended.now().is_some(), "{n}");
        }
        // A record that was not replayed counts nothing, and one that ends at admission does.
        let (delivery, _ended) = bench.delivery(TopicKind::Input, "live");
        settle(&bench.lane.outbox, delivery, None, permanent()).await;
        let (mut delivery, mut ended) = bench.call_to("nobody", "c", "list", &json!({}), &json!({}));
        delivery.envelope.replay = replay();
        bench.lane.outbox.settle_ended(delivery).await;
        assert_eq!(ended.now(), Some(End::Finished(Outcome::DeadLettered)));

        let counts = counts(&bench).await;
        let found: BTreeMap<_, _> = counts.iter().filter(|(_, n)| n.parse::<u32>().is_ok()).collect();
        let found: Vec<_> = found.iter().map(|(field, n)| (field.as_str(), n.as_str())).collect();
        let expected = [
            ("dead_lettered:expired", "1"),
            ("dead_lettered:rejected", "2"),
            ("dead_lettered:unknown_account", "1"),
            ("delivered", "1"),
            ("duplicate", "1"),
            ("ended:acme", "5"),
            ("ended:nobody", "1"),
        ];
        assert_eq!(found, expected);
        let sample: Value = serde_json::from_str(&counts["sample:dead_lettered:expired"]).unwrap();
        let expected = json!({"trans_id": "call:138****5678:4", "account": "acme", "code": "E7",
                              "field": "event_time_ms", "detail": "too old"});
        assert_eq!(sample, expected, "masked");
        let lives: i64 = bench.redis(&["PTTL", "pb:replay:20261129-1:outcomes"]).await;
        assert!((29 * 86_400_000..=30 * 86_400_000).contains(&lives), "{lives}");
        let text = bench.lane.context.metrics.render();
        for (outcome, times) in [("delivered", 1), ("duplicate", 1), ("suppressed", 0), ("dead_lettered", 4)] {
            let series = format!("postback_replay_outcomes_total{{outcome=\"{outcome}\"}} {times}\n");
            assert!(text.contains(&series), "{series}");
        }
    });
}

#[test]
fn a_replay_whose_counts_cannot_be_written_holds_no_record_and_no_other_replay() {
    run(async {
        let bench = Bench::new(no_receipts).await;
        let _: i64 = bench.redis(&["LPUSH", "pb:replay:20261129-1:outcomes", "x"]).await;
        for replay in [REPLAY, "20261129-2", "20261129-3"] {
            let (mut delivery, mut ended) = replayed(&bench, TopicKind::Input, replay);
            delivery.envelope.replay = Some(Replay { id: replay.into(), replays: 1, force: false });
            settle(&bench.lane.outbox, delivery, None, Ok(Progress::Duplicate { resends: 0 })).await;
            assert_eq!(ended.now(), Some(End::Finished(Outcome::Duplicate)), "{replay}");
        }
        // What waits for the second one is written, and what waits for the first one goes on waiting.
        let outcomes = &bench.lane.outbox.outcomes;
        let (mut delivery, _ended) = replayed(&bench, TopicKind::Input, "t");
        delivery.envelope.replay = Some(Replay { id: "20261129-2".into(), replays: 1, force: false });
        let counted = Counted::of(&delivery, Outcome::Duplicate, None).unwrap();
        assert!(outcomes.keep(&counted, false));
        outcomes.write_waiting().await.unwrap();
        let second: BTreeMap<String, String> = bench.redis(&["HGETALL", "pb:replay:20261129-2:outcomes"]).await;
        assert_eq!((second["duplicate"].as_str(), outcomes.waiting.borrow().len()), ("2", 1));
        let _: i64 = bench.redis(&["DEL", "pb:replay:20261129-1:outcomes"]).await;
        outcomes.write_waiting().await.unwrap();
        assert_eq!(counts(&bench).await["duplicate"], "1");
        delivery.ack.complete(End::Returned);
    });
}

#[tokio::test]
async fn a_replayed_record_is_not_finished_before_its_end_is_counted() {
    // One that is not settled is waited for in vain, one that is settled for as long as a busy machine takes.
    let patience = |is_settled: bool| Duration::from_millis(if is_settled { 60_000 } else { 300 });
    let alone = Alone::new(no_receipts);
    for replay in [None, replay()] {
        let (mut delivery, mut ended) = alone.delivery(TopicKind::Input, "t");
        delivery.envelope.replay = replay.clone();
        let settles = settle(&alone.lane.outbox, delivery, None, Ok(Progress::Duplicate { resends: 0 }));
        let is_settled = timeout(patience(replay.is_none()), settles).await.is_ok();
        let is_finished = ended.now() == Some(End::Finished(Outcome::Duplicate));
        assert_eq!((is_settled, is_finished), (replay.is_none(), replay.is_none()));
    }
    // Once another member has the partition, that one counts it. Only a delivery is a fact.
    for (result, is_settled) in
        [(Ok(Progress::Duplicate { resends: 0 }), true), (Ok(Progress::Accepted(Receipt::default())), false)]
    {
        let (delivery, _ended) = replayed(&alone, TopicKind::Input, "t");
        delivery.ack.assignment().set_gone();
        let settles = settle(&alone.lane.outbox, delivery, None, result);
        assert_eq!(timeout(patience(is_settled), settles).await.is_ok(), is_settled);
    }
}

#[test]
fn a_delivery_that_another_member_reads_again_is_counted_and_says_that_it_may_count_twice() {
    run(async {
        let bench = Bench::new(no_receipts).await;
        let (mut delivery, _ended) = replayed(&bench, TopicKind::Input, "t");
        let guard = bench.claim(&mut delivery).await;
        delivery.ack.assignment().set_gone();
        settle(&bench.lane.outbox, delivery, Some(guard), Ok(Progress::Accepted(Receipt::default()))).await;
        let counts = counts(&bench).await;
        assert_eq!((&*counts["delivered"], &*counts["at_least"]), ("1", "1"));
        let text = bench.lane.context.metrics.render();
        assert!(
            text.contains("postback_replay_outcomes_total{outcome=\"delivered\"} 0\n"),
            "the next member's to count"
        );
    });
}

#[test]
fn an_account_that_delivers_without_redis_waits_for_no_count_and_counts_all_when_redis_is_back() {
    run(async {
        let bench = Bench::new(delivers).await;
        bench.lane.context.health.failed("away");
        for n in 0..3 {
            let (delivery, mut ended) = replayed(&bench, TopicKind::Input, &format!("t-{n}"));
            settle(&bench.lane.outbox, delivery, None, Ok(Progress::Duplicate { resends: 0 })).await;
            assert_eq!(ended.now(), Some(End::Finished(Outcome::Duplicate)));
        }
        // It ended at admission.
        let (mut delivery, mut ended) = bench.delivery_of(TopicKind::Input, "", 1);
        delivery.envelope.replay = replay();
        bench.lane.outbox.settle_ended(delivery).await;
        assert!(ended.now().is_some());
        assert_eq!(counts(&bench).await, BTreeMap::new());
        bench.lane.outbox.outcomes.write_waiting().await.unwrap();
        let counts = counts(&bench).await;
        assert_eq!((&*counts["duplicate"], &*counts["dead_lettered:invalid"], &*counts["ended:acme"]), ("3", "1", "4"));
        assert_eq!(counts["recent"].matches("duplicate ").count(), 3);
        assert!(bench.lane.outbox.outcomes.waiting.borrow().is_empty() && !counts.contains_key("at_least"));
    });
}

#[tokio::test]
async fn what_waits_for_redis_is_bounded_and_kept_while_redis_is_away() {
    let alone = Alone::new(delivers);
    let outcomes = &alone.lane.outbox.outcomes;
    let (delivery, _ended) = replayed(&alone, TopicKind::Input, "t");
    let counted = Counted::of(&delivery, Outcome::Delivered, None).unwrap();
    let of = |n: usize| {
        let mut counted = counted.clone();
        counted.kind.account = n.to_string().into();
        counted
    };
    assert!((0..MOST_WAITING).all(|n| outcomes.keep(&of(n), false)));
    assert!(!outcomes.keep(&of(MOST_WAITING), false), "its record has to wait");
    assert!(outcomes.keep(&of(7), false), "one more of a kind that waits takes no place");
    assert!(outcomes.write_waiting().await.is_err());
    let times: u64 = outcomes.waiting.borrow().values().map(|waiting| waiting.times).sum();
    assert_eq!(times, MOST_WAITING as u64 + 1);
    delivery.ack.complete(End::Returned);
}

/// The ends of records, one after the other.
async fn ends(bench: &Bench, outcomes: &[(Outcome, Option<Reason>)]) {
    let (delivery, _ended) = replayed(bench, TopicKind::Input, "t");
    for (outcome, reason) in outcomes {
        let died = reason.map(|reason| Died { reason, field: "a.b", detail: "why" });
        let counted = Counted::of(&delivery, *outcome, died).unwrap();
        bench.lane.outbox.outcomes.write(&counted, 1, false).await.unwrap();
    }
    delivery.ack.complete(End::Returned);
}

const GOOD: (Outcome, Option<Reason>) = (Outcome::Delivered, None);
const REJECTED: (Outcome, Option<Reason>) = (Outcome::DeadLettered, Some(Reason::Rejected));
const EXPIRED: (Outcome, Option<Reason>) = (Outcome::DeadLettered, Some(Reason::Expired));

#[test]
fn the_brake_is_set_where_more_than_half_of_fifty_died_with_one_reason() {
    run(async {
        let bench = Bench::new(no_receipts).await;
        ends(&bench, &[REJECTED; 49]).await;
        assert!(!counts(&bench).await.contains_key("brake"), "of the first 49 nothing is judged");
        ends(&bench, &[REJECTED]).await;
        let found = counts(&bench).await;
        let brake: Value = serde_json::from_str(&found["brake"]).unwrap();
        let expected = json!({"reason": "rejected", "sample": {"trans_id": "t", "account": "acme", "code": "",
                                                               "field": "a.b", "detail": "why"}});
        assert_eq!((brake, found.contains_key("recent")), (expected, false));
        // What was under way as the replay stopped is counted, and not judged again.
        ends(&bench, &[EXPIRED; 60]).await;
        let found = counts(&bench).await;
        assert!(found["brake"].contains("rejected") && !found.contains_key("recent"));
        assert_eq!((&*found["dead_lettered:rejected"], &*found["dead_lettered:expired"]), ("50", "60"));
        // An operator resumes it: the next 50 are judged.
        let () = bench.redis(&["HDEL", "pb:replay:20261129-1:outcomes", "brake", "recent"]).await;
        ends(&bench, &[EXPIRED; 49]).await;
        assert!(!counts(&bench).await.contains_key("brake"));
        ends(&bench, &[GOOD]).await;
        assert!(counts(&bench).await["brake"].contains("expired"));
    });
}

#[test]
fn half_of_fifty_is_not_more_than_half_and_any_fifty_in_a_row_are_judged() {
    run(async {
        let bench = Bench::new(no_receipts).await;
        let mixed: Vec<_> = (0..25).flat_map(|_| [REJECTED, EXPIRED]).collect();
        ends(&bench, &mixed).await;
        ends(&bench, &[GOOD; 30]).await;
        assert!(!counts(&bench).await.contains_key("brake"), "25 of 50 of each");
        // 20 good ones are the last but 25, and the next rejected one is the 26th of 50.
        ends(&bench, &[REJECTED; 25]).await;
        assert!(!counts(&bench).await.contains_key("brake"));
        ends(&bench, &[REJECTED]).await;
        assert!(counts(&bench).await["brake"].contains("rejected"));
    });
}

#[test]
fn marks_of_a_replay_survive_parking_a_tier_and_a_new_dead_letter() {
    run(async {
        let mut bench = Bench::new(no_receipts).await;
        let outbox = bench.lane.outbox.clone();
        let (delivery, _ended) = replayed(&bench, TopicKind::Input, "400-1");
        settle(&outbox, delivery, None, Err(DeliveryError::Closed)).await;
        let parked = bench.published(PARKED).pop().unwrap();
        let (delivery, _ended) = bench.copy(&parked);
        assert_eq!(delivery.envelope.replay, replay());
        settle(&outbox, delivery, None, Err(DeliveryError::Retry(answer()))).await;
        let retried = bench.published(TIER_5S).pop().unwrap();
        let (delivery, mut ended) = bench.copy(&retried);
        assert_eq!(delivery.envelope.replay, replay());
        bench.start();
        bench.queue(delivery);
        assert_eq!(ended.wait().await, End::Finished(Outcome::DeadLettered));
        let dead = bench.published(DEAD).pop().unwrap();
        let marks = ["pb-replay-id", "pb-replays", "pb-replay-force"].map(|name| dead.text(name));
        assert_eq!(marks, [REPLAY, "2", "true"]);
        assert_eq!((dead.reason(), dead.text("own")), (Some(Reason::Rejected), "kept"));
        assert_eq!(counts(&bench).await["dead_lettered:rejected"], "1");
    });
}

#[test]
fn a_call_counts_too() {
    run(async {
        let mut bench = Bench::new(|setting| {
            no_receipts(setting);
            setting.calls = Some(Default::default());
        })
        .await;
        bench.start();
        let (mut delivery, mut ended) = bench.call_of(TopicKind::Input, "c-1", "nonesuch", &json!({}), &json!({}));
        delivery.envelope.replay = replay();
        bench.lane.outbox.settle_ended(delivery).await;
        let end = ended.wait().await;
        assert_eq!(end, End::Finished(Outcome::DeadLettered));
        let counted = counts(&bench).await;
        assert_eq!(counted["ended:acme"], "1", "{counted:?}");
    });
}

/// A worker was killed between the confirm and the commit, or the runner between publishing and counting.
#[test]
fn a_replayed_record_that_was_delivered_before_says_that_its_outcome_may_count_twice() {
    run(async {
        let mut bench = Bench::new(no_receipts).await;
        bench.start();
        let (delivery, mut ended) = replayed(&bench, TopicKind::Input, "ok-1");
        bench.queue(delivery);
        ended.wait().await;
        // Of another lineage: nothing is counted twice.
        let (mut delivery, mut ended) = replayed(&bench, TopicKind::Input, "ok-1");
        crate::stub::bench::ready(&mut delivery).claim_request.origin = "in:0:99".into();
        bench.queue(delivery);
        assert_eq!(ended.wait().await, End::Finished(Outcome::Duplicate));
        assert!(!counts(&bench).await.contains_key("at_least"));
        let (delivery, mut ended) = replayed(&bench, TopicKind::Input, "ok-1");
        bench.queue(delivery);
        ended.wait().await;
        let counts = counts(&bench).await;
        assert_eq!((&*counts["delivered"], &*counts["duplicate"], &*counts["at_least"]), ("1", "2", "1"));
    });
}

/// A replay runs while the lane has other work: live records come first.
#[test]
fn a_lane_sends_its_live_records_before_replayed_ones() {
    run(async {
        let mut bench = Bench::new(|setting| {
            no_receipts(setting);
            setting.account.limits.concurrency = 1;
        })
        .await;
        let mut ends = Vec::new();
        for n in 0..3 {
            let (delivery, ended) = replayed(&bench, TopicKind::Input, &format!("ok-again-{n}"));
            bench.queue(delivery);
            ends.push(ended);
        }
        ends.extend((0..3).map(|n| bench.send(TopicKind::Input, &format!("ok-{n}"))));
        bench.start();
        for end in &mut ends {
            assert_eq!(end.wait().await, End::Finished(Outcome::Delivered));
        }
        assert_eq!(bench.sent(), ["ok-0", "ok-1", "ok-2", "ok-again-0", "ok-again-1", "ok-again-2"]);
        eventually("all are counted", async || counts(&bench).await.get("delivered").is_some_and(|n| n == "3")).await;
        // A closed lane parks them like live ones.
        bench.lane.halt("told to");
        let (delivery, mut ended) = replayed(&bench, TopicKind::Input, "ok-parks");
        bench.queue(delivery);
        assert_eq!(ended.wait().await, End::Parked);
        sleep(Duration::from_millis(20)).await;
        assert_eq!(counts(&bench).await["delivered"], "3");
    });
}

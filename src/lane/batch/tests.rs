//! Batches with a store, a broker and a platform that takes five events per request. At the end of each test the ledger
//! of `core.md` section 7 balances.

use super::*;
use crate::account::Inline;
use crate::claim::rules::Value;
use crate::delivery::TopicKind;
use crate::delivery::progress::{End, Stage};
use crate::error::{Outcome, Reason};
use crate::stub::bench::{Bench, DEAD, Ended, PARKED, RECEIPTS, Setting, TIER_5S, TIER_30S, TOPICS, eventually, run};
use crate::stub::five::Five;
use std::sync::Arc;

const DELIVERED: End = End::Finished(Outcome::Delivered);
const DUPLICATE: End = End::Finished(Outcome::Duplicate);
const DEAD_LETTERED: End = End::Finished(Outcome::DeadLettered);

fn five(setting: &mut Setting) {
    setting.account.sender = Some(Arc::new(Five));
    setting.account.limits.concurrency = 1;
}

/// Queues events before their lane starts, so that they get their permit together.
fn queued<const N: usize>(bench: &Bench, ids: [&str; N]) -> [Ended; N] {
    ids.map(|id| bench.send(TopicKind::Input, id))
}

async fn ends<const N: usize>(ends: &mut [Ended; N]) -> [End; N] {
    let mut found = [End::Lost; N];
    for (found, end) in found.iter_mut().zip(ends) {
        *found = end.wait().await;
    }
    found
}

async fn token(bench: &Bench, id: &str) -> Option<String> {
    match bench.value(id).await {
        Some(Value::Claimed { token, .. }) => Some(token.to_string()),
        _ => None,
    }
}

async fn all_claimed(bench: &Bench, ids: &[&str]) {
    for id in ids {
        eventually("it is claimed", async || token(bench, id).await.is_some()).await;
    }
}

fn receipts(bench: &Bench, id: &str) -> Vec<serde_json::Value> {
    let receipts = bench.published(RECEIPTS).into_iter().filter(|p| p.is_of(id));
    receipts.map(|p| serde_json::from_slice(&p.value).unwrap()).collect()
}

/// For each key the platform has a copy if it was delivered, and never more than one beside the declared re-sends and
/// the unknown outcomes.
fn balances(bench: &Bench, ids: &[&str]) {
    let published = TOPICS.map(|topic| (topic, bench.published(topic)));
    for id in ids {
        let of = |topic: &str| {
            let all = published.iter().filter(move |(t, _)| *t == topic).flat_map(|(_, all)| all);
            all.filter(|p| p.is_of(id)).collect::<Vec<_>>()
        };
        let headers = [TIER_5S, TIER_30S, PARKED, DEAD].into_iter().flat_map(of);
        let in_headers = headers.filter_map(|p| p.text("pb-resends").parse().ok());
        let receipts = receipts(bench, id);
        let in_receipts = receipts.iter().filter_map(|r| r["resends"].as_u64());
        let declared = in_headers.chain(in_receipts).max().unwrap_or(0) as usize;
        let unknown = of(DEAD).iter().filter(|p| p.reason() == Some(Reason::UnknownOutcome)).count();
        let copies = bench.seen.accepted(id);
        let delivered = receipts.iter().any(|r| r["outcome"] == "delivered");
        assert!(copies >= usize::from(delivered), "{id}: delivered, and the platform has none");
        assert!(copies <= 1 + declared + unknown, "{id}: {copies} copies, {declared} declared, {unknown} unknown");
    }
}

#[test]
fn each_item_of_a_batch_ends_as_its_own_verdict_says() {
    run(async {
        let mut bench = Bench::new(five).await;
        let ids = ["ok-1", "bad-2", "later-3", "mute-4", "ok-5"];
        let mut all = queued(&bench, ids);
        bench.start();
        assert_eq!(ends(&mut all).await, [DELIVERED, DEAD_LETTERED, End::Retried, End::Retried, DELIVERED]);
        assert_eq!(bench.sent(), [ids.join("\n")], "one request");
        for (id, done, marked) in [
            ("ok-1", true, false),
            ("bad-2", false, false),
            ("later-3", false, false),
            ("mute-4", false, true),
            ("ok-5", true, false),
        ] {
            let value = bench.value(id).await;
            assert_eq!(matches!(value, Some(Value::Done(_))), done, "{id}");
            assert_eq!(matches!(value, Some(Value::Unknown { .. })), marked, "{id}");
            assert!(done || marked || value.is_none(), "{id}: its claim is released");
        }
        let tier = bench.published(TIER_5S);
        let last = |id: &str| tier.iter().find(|p| p.is_of(id)).map(|p| p.text("pb-last-error").to_owned()).unwrap();
        assert_eq!((last("later-3").as_str(), last("mute-4").as_str()), ("retry", "ambiguous"));
        assert!(tier.iter().all(|p| p.text("pb-attempts") == "1"));
        assert_eq!(bench.published(DEAD)[0].reason(), Some(Reason::Rejected));
        assert_eq!(receipts(&bench, "ok-5")[0]["attempts"], 1);
        balances(&bench, &ids);
    });
}

#[test]
fn a_batch_that_is_refused_as_a_whole_is_sent_one_by_one_with_the_claims_that_it_has() {
    run(async {
        for (ids, refusal) in [(["ok-1", "spoils-2", "ok-3"], "split"), (["ok-1", "refused-2", "ok-3"], "a 400")] {
            let mut bench = Bench::new(five).await;
            let mut all = queued(&bench, ids);
            bench.start();
            assert_eq!(ends(&mut all).await, [DELIVERED, DEAD_LETTERED, DELIVERED], "{refusal}");
            assert_eq!(bench.sent(), [&*ids.join("\n"), ids[0], ids[1], ids[2]], "{refusal}");
            // The refusal of the whole request was no attempt, and nothing was claimed twice.
            for id in ["ok-1", "ok-3"] {
                assert_eq!(
                    (&receipts(&bench, id)[0]["attempts"], bench.seen.accepted(id)),
                    (&1.into(), 1),
                    "{refusal}"
                );
            }
            assert_eq!(bench.published(DEAD)[0].text("pb-attempts"), "1", "{refusal}");
            let metrics = bench.lane.metrics().render();
            let fresh = metrics.lines().find(|line| line.contains("claims_total{result=\"fresh\"}")).unwrap();
            assert!(fresh.ends_with(" 3"), "{refusal}: {fresh}");
            assert_eq!(bench.resends_counted(), 0, "{refusal}");
            balances(&bench, &ids);
        }
    });
}

#[test]
fn a_whole_batch_that_fails_is_tried_again_as_a_whole_and_otherwise_only_what_failed() {
    run(async {
        let edit = |s: &mut Setting| {
            five(s);
            s.account.retry.inline.max_retries = 1;
        };
        let mut bench = Bench::new(edit).await;
        let ids = ["ok-1", "once-2", "bad-3", "later-4"];
        let mut all = queued(&bench, ids);
        bench.start();
        assert_eq!(ends(&mut all).await, [DELIVERED, DELIVERED, DEAD_LETTERED, End::Retried]);
        assert_eq!(bench.sent(), [&*ids.join("\n"), "once-2\nlater-4"]);
        assert_eq!(receipts(&bench, "once-2")[0]["attempts"], 2);
        let mut away = [bench.send(TopicKind::Input, "away-5")];
        assert_eq!(ends(&mut away).await, [End::Retried]);
        assert_eq!(bench.sent()[2..], ["away-5", "away-5"]);
        balances(&bench, &ids);
    });
}

#[test]
fn a_duplicate_inside_a_batch_waits_for_the_first_and_is_not_sent() {
    run(async {
        let mut bench = Bench::new(five).await;
        let mut all = queued(&bench, ["slow-1", "slow-1", "ok-2"]);
        bench.start();
        eventually("the request is there", async || bench.sent().len() == 1).await;
        assert_eq!(bench.sent(), ["slow-1\nok-2"]);
        assert!(all[1].now().is_none());
        bench.let_go();
        assert_eq!(ends(&mut all).await, [DELIVERED, DUPLICATE, DELIVERED]);
        assert_eq!(bench.sent().len(), 1);
        balances(&bench, &["slow-1", "ok-2"]);
    });
}

#[test]
fn items_that_are_not_to_be_sent_leave_their_batch_and_the_others_go() {
    run(async {
        let mut bench = Bench::new(five).await;
        bench.hold("ok-held").await;
        bench.put("ok-other", "u|in:9:9|0000000007|0").await;
        let (old, mut expired) = bench.delivery_of(TopicKind::Input, "ok-old", 1_700_000_000_000);
        bench.queue(old);
        let mut all = queued(&bench, ["ok-held", "ok-other", "ok-1", "ok-2"]);
        // None of the records that leave waits for the slot of the others.
        bench.lane.limiter.push_back(Duration::from_secs(60)).await.unwrap();
        bench.start();
        assert_eq!(expired.wait().await, DEAD_LETTERED);
        assert_eq!(all[0].wait().await, End::Retried, "held: to the lease tier");
        assert_eq!(all[1].wait().await, DEAD_LETTERED, "other money");
        assert!(bench.sent().is_empty());
        bench.forget_push_back().await;
        assert_eq!(ends(&mut all).await[2..], [DELIVERED, DELIVERED]);
        assert_eq!(bench.sent(), ["ok-1\nok-2"]);
        assert_eq!(bench.published(TIER_30S)[0].text("pb-attempts"), "0");
        balances(&bench, &["ok-held", "ok-other", "ok-old", "ok-1", "ok-2"]);
    });
}

#[test]
fn a_batch_of_which_nobody_is_left_takes_no_slot() {
    run(async {
        let mut bench = Bench::new(five).await;
        for id in ["ok-1", "ok-2"] {
            bench.hold(id).await;
        }
        let mut all = queued(&bench, ["ok-1", "ok-2"]);
        bench.start();
        assert_eq!(ends(&mut all).await, [End::Retried; 2]);
        assert_eq!((bench.sent().len(), bench.slots_taken().await), (0, false));
        // The lane continues.
        let mut next = [bench.send(TopicKind::Input, "ok-3")];
        assert_eq!(ends(&mut next).await, [DELIVERED]);
        assert!(bench.slots_taken().await);
    });
}

#[test]
fn a_claim_that_another_took_from_a_batch_is_declared_for_that_item_alone() {
    run(async {
        let mut bench = Bench::new(five).await;
        let ids = ["slow-1", "ok-2", "ok-3"];
        let mut all = queued(&bench, ids);
        bench.start();
        eventually("the request is there", async || bench.sent().len() == 1).await;
        // Another process has taken over the claim and confirmed it.
        bench.put("ok-2", "12345").await;
        bench.let_go();
        assert_eq!(ends(&mut all).await, [DELIVERED; 3]);
        let resends = ids.map(|id| receipts(&bench, id)[0]["resends"].as_u64().unwrap());
        assert_eq!((resends, bench.resends_counted()), ([0, 1, 0], 1));
        balances(&bench, &ids);
    });
}

#[test]
fn a_take_over_in_a_batch_is_declared_when_the_request_goes_out_and_once() {
    run(async {
        let mut bench = Bench::new(five).await;
        for id in ["spoils-2", "ok-3"] {
            // Without an expiry it is older than any lease.
            bench.put(id, &format!("c|{}|in:0:9|0000000000|0", "0".repeat(16))).await;
        }
        let ids = ["ok-1", "spoils-2", "ok-3"];
        let mut all = queued(&bench, ids);
        bench.start();
        assert_eq!(ends(&mut all).await, [DELIVERED, DEAD_LETTERED, DELIVERED]);
        let resends = ["ok-1", "ok-3"].map(|id| receipts(&bench, id)[0]["resends"].as_u64().unwrap());
        assert_eq!((resends, bench.resends_counted()), ([0, 1], 2), "sent twice, declared once");
        assert_eq!(bench.published(DEAD)[0].text("pb-resends"), "1");
        balances(&bench, &ids);
    });
}

#[test]
fn an_item_whose_lease_gets_too_short_claims_again_and_the_others_keep_theirs() {
    run(async {
        let edit = |s: &mut Setting| {
            five(s);
            s.account.limits.timeout = Duration::from_secs(2);
            s.lease = Duration::from_millis(5_500);
        };
        let mut bench = Bench::new(edit).await;
        bench.lane.limiter.push_back(Duration::from_secs(60)).await.unwrap();
        let mut first = queued(&bench, ["ok-1"]);
        bench.start();
        all_claimed(&bench, &["ok-1"]).await;
        let old = token(&bench, "ok-1").await;
        // Two and a half seconds after its claim, the first record's lease has less left than a send needs.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let mut second = [bench.send(TopicKind::Input, "ok-2")];
        all_claimed(&bench, &["ok-2"]).await;
        let kept = token(&bench, "ok-2").await;
        eventually("it is claimed again", async || {
            let now = token(&bench, "ok-1").await;
            now.is_some() && now != old
        })
        .await;
        assert_eq!(token(&bench, "ok-2").await, kept);
        bench.forget_push_back().await;
        assert_eq!((ends(&mut first).await, ends(&mut second).await), ([DELIVERED], [DELIVERED]));
        assert_eq!(bench.sent().len(), 1, "{:?}", bench.sent());
        assert_eq!(bench.resends_counted(), 0);
        balances(&bench, &["ok-1", "ok-2"]);
    });
}

#[test]
fn what_arrives_while_a_batch_waits_for_its_slot_joins_it_after_its_own_claim() {
    run(async {
        let mut bench = Bench::new(five).await;
        bench.lane.limiter.push_back(Duration::from_secs(60)).await.unwrap();
        let mut first = queued(&bench, ["ok-1"]);
        bench.start();
        all_claimed(&bench, &["ok-1"]).await;
        let mut more = queued(&bench, ["ok-2", "ok-3", "ok-4", "ok-5", "ok-6"]);
        all_claimed(&bench, &["ok-2", "ok-3", "ok-4", "ok-5"]).await;
        assert_eq!(
            (
                bench.handle.occupancy.in_flight.load(std::sync::atomic::Ordering::Relaxed),
                bench.handle.occupancy.live.records()
            ),
            (5, 1)
        );
        assert_eq!(bench.value("ok-6").await, None, "it is full, and there is one permit");
        bench.forget_push_back().await;
        ends(&mut first).await;
        assert_eq!(ends(&mut more).await, [DELIVERED; 5]);
        let sent = bench.sent();
        assert_eq!(sent.len(), 2, "{sent:?}");
        assert_eq!((sent[0].lines().count(), &*sent[1]), (5, "ok-6"));
    });
}

#[test]
fn only_events_of_one_route_share_a_request_and_no_more_than_its_bytes() {
    run(async {
        let mut bench = Bench::new(five).await;
        let long = |n: u8| format!("ok-{n}-{}", "x".repeat(60));
        let (long_1, long_2) = (long(1), long(2));
        let mut all = queued(&bench, ["ok-1@a", "ok-2@b", "ok-3@a", "ok-4", "ok-5@b", &long_1, &long_2]);
        bench.start();
        assert_eq!(ends(&mut all).await, [DELIVERED; 7]);
        let mut sent = bench.sent();
        sent.sort();
        let alone = format!("ok-4\n{long_1}");
        let mut expected = ["ok-1@a\nok-3@a", "ok-2@b\nok-5@b", &alone, &long_2];
        expected.sort_unstable();
        assert_eq!(sent, expected);
    });
}

#[test]
fn only_events_whose_callbacks_lead_to_one_host_share_a_request() {
    run(async {
        let mut bench = Bench::new(five).await;
        let mut all = queued(&bench, ["ok-1^a.example", "ok-2^b.example", "ok-3^a.example", "ok-4"]);
        bench.start();
        assert_eq!(ends(&mut all).await, [DELIVERED; 4]);
        let mut sent = bench.sent();
        sent.sort();
        assert_eq!(sent, ["ok-1^a.example\nok-3^a.example", "ok-2^b.example", "ok-4"]);
    });
}

#[test]
fn nobody_who_joins_a_batch_overtakes_one_of_another_route_that_waits_for_its_permit() {
    run(async {
        let mut bench = Bench::new(five).await;
        bench.lane.limiter.push_back(Duration::from_secs(60)).await.unwrap();
        let mut first = queued(&bench, ["ok-1@a"]);
        bench.start();
        all_claimed(&bench, &["ok-1@a"]).await;
        // The last one is a copy of a conversion that is in flight. It waits for no permit.
        let mut more = queued(&bench, ["ok-2@a", "ok-1@a", "ok-3@a", "ok-4@b", "ok-5@a"]);
        all_claimed(&bench, &["ok-2@a", "ok-3@a"]).await;
        bench.forget_push_back().await;
        assert_eq!(ends(&mut first).await, [DELIVERED]);
        assert_eq!(ends(&mut more).await, [DELIVERED, DUPLICATE, DELIVERED, DELIVERED, DELIVERED]);
        assert_eq!(bench.sent(), ["ok-1@a\nok-2@a\nok-3@a", "ok-4@b", "ok-5@a"]);
    });
}

#[test]
fn who_is_behind_one_that_gets_a_permit_joins_the_batch_of_its_route() {
    run(async {
        let edit = |s: &mut Setting| {
            five(s);
            s.account.limits.concurrency = 3;
        };
        let mut bench = Bench::new(edit).await;
        bench.lane.limiter.push_back(Duration::from_secs(60)).await.unwrap();
        let mut first = queued(&bench, ["ok-1@a"]);
        bench.start();
        all_claimed(&bench, &["ok-1@a"]).await;
        let mut more = queued(&bench, ["ok-2@b", "ok-3@a", "ok-4@b"]);
        all_claimed(&bench, &["ok-2@b", "ok-3@a", "ok-4@b"]).await;
        bench.forget_push_back().await;
        assert_eq!((ends(&mut first).await, ends(&mut more).await), ([DELIVERED], [DELIVERED; 3]));
        let mut sent = bench.sent();
        sent.sort();
        assert_eq!(sent, ["ok-1@a\nok-3@a", "ok-2@b\nok-4@b"]);
    });
}

#[test]
fn a_lane_that_closes_while_a_batch_waits_for_its_slot_parks_it_and_holds_no_claim() {
    run(async {
        let mut bench = Bench::new(five).await;
        bench.lane.limiter.push_back(Duration::from_secs(60)).await.unwrap();
        let ids = ["ok-1", "ok-2", "ok-3"];
        let mut all = queued(&bench, ids);
        bench.start();
        all_claimed(&bench, &ids).await;
        bench.lane.halt("told to");
        assert_eq!(ends(&mut all).await, [End::Parked; 3]);
        for id in ids {
            assert_eq!(bench.value(id).await, None, "{id}");
        }
        assert_eq!((bench.count(PARKED), bench.sent().len()), (3, 0));
        assert!(bench.published(PARKED).iter().all(|p| p.text("pb-attempts") == "0"));
        balances(&bench, &ids);
    });
}

#[test]
fn partitions_that_leave_take_their_items_out_of_a_batch_and_the_others_go() {
    run(async {
        let mut bench = Bench::new(five).await;
        bench.lane.limiter.push_back(Duration::from_secs(60)).await.unwrap();
        let ids = ["ok-1", "ok-2", "ok-3", "ok-4"];
        let mut assignments = Vec::new();
        let mut all = ids.map(|id| {
            let (delivery, ended) = bench.delivery(TopicKind::Input, id);
            assignments.push(delivery.ack.assignment().clone());
            bench.queue(delivery);
            ended
        });
        bench.start();
        all_claimed(&bench, &ids).await;
        [1, 3].into_iter().for_each(|n: usize| assignments[n].set_leaving());
        bench.handle.changes.touch();
        assert_eq!((all[1].wait().await, all[3].wait().await), (End::Returned, End::Returned));
        assert_eq!((bench.value("ok-2").await, bench.value("ok-4").await), (None, None), "released for the next owner");
        bench.forget_push_back().await;
        assert_eq!((all[0].wait().await, all[2].wait().await), (DELIVERED, DELIVERED));
        assert_eq!(bench.sent(), ["ok-1\nok-3"]);
        balances(&bench, &ids);
    });
}

#[test]
fn a_process_that_is_killed_with_a_batch_under_way_leaves_claims_whose_next_sends_are_declared() {
    run(async {
        let edit = |s: &mut Setting| {
            five(s);
            s.account.limits.timeout = Duration::from_secs(2);
            s.lease = Duration::from_secs(4);
        };
        let mut bench = Bench::new(edit).await;
        let ids = ["slow-1", "ok-2", "bad-3"];
        let mut lost = queued(&bench, ids);
        let task = bench.start();
        eventually("the request is there", async || bench.sent().len() == 1).await;
        // The platform accepts it, but the answer reaches nobody.
        task.abort();
        assert!(task.await.is_err());
        bench.let_go();
        bench.restart(edit);
        assert!(lost.iter_mut().all(|end| end.now() == Some(End::Lost)));
        eventually("the platform has them", async || bench.seen.accepted("ok-2") == 1).await;

        // They are read again before the lease is over: they are held, and nothing is sent.
        let mut again = queued(&bench, ids);
        bench.start();
        assert_eq!(ends(&mut again).await, [End::Retried; 3]);
        assert_eq!(bench.sent().len(), 1);
        tokio::time::sleep(Duration::from_secs(4)).await;
        let mut due = ids.map(|id| bench.send(TopicKind::Tier, id));
        assert_eq!(ends(&mut due).await, [DELIVERED, DELIVERED, DEAD_LETTERED]);
        assert_eq!(bench.sent().len(), 2);
        assert_eq!(bench.resends_counted(), 3, "each of them may have been accepted before");
        assert_eq!((bench.seen.accepted("slow-1"), bench.seen.accepted("ok-2")), (2, 2));
        balances(&bench, &ids);
    });
}

#[test]
fn a_panic_makes_every_event_of_its_request_one_without_an_answer() {
    run(async {
        let mut bench = Bench::new(five).await;
        let task = bench.start();
        let ids = ["ok-1", "panic-2", "ok-3"];
        bench.lane.limiter.push_back(Duration::from_secs(60)).await.unwrap();
        let mut all = queued(&bench, ids);
        all_claimed(&bench, &ids).await;
        bench.forget_push_back().await;
        assert_eq!(ends(&mut all).await, [End::Retried; 3]);
        for id in ids {
            assert!(matches!(bench.value(id).await, Some(Value::Unknown { .. })), "{id}");
        }
        let copies = bench.published(TIER_5S);
        assert!(copies.iter().all(|p| p.text("pb-last-error") == "ambiguous" && p.text("pb-attempts") == "1"));
        assert!(!task.is_finished());
        let mut next = [bench.send(TopicKind::Input, "ok-4")];
        assert_eq!(ends(&mut next).await, [DELIVERED]);
        balances(&bench, &ids);
    });
}

#[test]
fn a_panic_while_a_batch_connects_ends_its_events_and_nothing_else() {
    run(async {
        let edit = |s: &mut Setting| {
            five(s);
            s.no_address = true;
        };
        let mut bench = Bench::new(edit).await;
        let ids = ["ok-1", "ok-2"];
        let mut all = queued(&bench, ids);
        let task = bench.start();
        assert_eq!(ends(&mut all).await, [End::Retried; 2]);
        for id in ids {
            assert!(matches!(bench.value(id).await, Some(Value::Unknown { .. })), "{id}: no claim is left behind");
        }
        let mut next = [bench.send(TopicKind::Input, "ok-3")];
        assert_eq!(ends(&mut next).await, [End::Retried]);
        assert!(!task.is_finished() && bench.sent().is_empty());
        balances(&bench, &["ok-1", "ok-2", "ok-3"]);
    });
}

#[test]
fn an_answer_to_a_whole_batch_whose_inline_try_is_not_made_breaks_a_run_of_permanent_answers() {
    run(async {
        let edit = |s: &mut Setting| {
            five(s);
            let hour = Duration::from_secs(3600);
            s.account.retry.inline = Inline { max_retries: 1, initial: hour, max: hour };
        };
        let mut bench = Bench::new(edit).await;
        bench.lane.permanents.set(19);
        let mut opens = Vec::new();
        let mut all = ["away-1", "away-2"].map(|id| {
            let (delivery, ended) = bench.delivery(TopicKind::Input, id);
            opens.push(delivery.ack.open().clone());
            bench.queue(delivery);
            ended
        });
        bench.start();
        eventually("both wait for their inline try", async || {
            bench.sent().len() == 1 && opens.iter().all(|open| open.stage() == Stage::Waiting)
        })
        .await;
        assert_eq!(bench.lane.permanents.get(), 19, "what is tried again as a whole says nothing yet");
        bench.lane.halt("told to");
        assert_eq!(ends(&mut all).await, [End::Retried; 2]);
        assert_eq!(bench.lane.permanents.get(), 0);
        assert!(bench.published(TIER_5S).iter().all(|p| p.text("pb-attempts") == "1"));
        balances(&bench, &["away-1", "away-2"]);
    });
}

#[test]
fn the_events_of_a_request_are_in_the_order_in_which_they_came_whichever_was_claimed_first() {
    run(async {
        let mut bench = Bench::new(five).await;
        bench.lane.limiter.push_back(Duration::from_secs(60)).await.unwrap();
        let (delivery, late) = bench.delivery(TopicKind::Input, "ok-1");
        let assignment = delivery.ack.assignment().clone();
        // It is not claimed until its partition is known to be still ours.
        assignment.set_unconfirmed(true);
        bench.queue(delivery);
        let [second, third] = queued(&bench, ["ok-2", "ok-3"]);
        bench.start();
        all_claimed(&bench, &["ok-2", "ok-3"]).await;
        assignment.set_unconfirmed(false);
        all_claimed(&bench, &["ok-1"]).await;
        bench.forget_push_back().await;
        assert_eq!(ends(&mut [late, second, third]).await, [DELIVERED; 3]);
        assert_eq!(bench.sent(), ["ok-1\nok-2\nok-3"]);
    });
}

#[test]
fn a_batch_that_is_throttled_goes_back_to_the_head_and_pushes_its_lane_back_once() {
    run(async {
        let mut bench = Bench::new(five).await;
        let ids = ["busy-1", "busy-2", "busy-3"];
        let mut all = queued(&bench, ids);
        bench.start();
        eventually("the request is there", async || bench.sent().len() == 1).await;
        eventually("it is pushed back", async || !bench.lane.limiter.kept_back().is_zero()).await;
        all_claimed(&bench, &ids).await;
        assert_eq!(bench.lane.throttles.get(), 1);
        bench.lane.halt("told to");
        assert_eq!(ends(&mut all).await, [End::Parked; 3]);
        assert!(bench.published(PARKED).iter().all(|p| p.text("pb-attempts") == "0"));
        balances(&bench, &ids);
    });
}

#[test]
fn an_answer_frees_the_permit_of_a_batch_and_as_many_as_two_batches_may_wait_for_what_follows() {
    run(async {
        // No record finishes, because its receipt is not written.
        let edit = |s: &mut Setting| {
            five(s);
            s.no_kafka = true;
        };
        let mut bench = Bench::new(edit).await;
        let ids: Vec<_> = (10..40).map(|n| format!("ok-{n}")).collect();
        let mut all: Vec<_> = ids.iter().map(|id| bench.send(TopicKind::Input, id)).collect();
        bench.start();
        eventually("two batches are accepted", async || bench.sent().len() == 2).await;
        for _ in 0..60 {
            assert_eq!(bench.value("ok-20").await, None, "claimed beside ten that are not finished");
        }
        assert_eq!((bench.sent().len(), bench.handle.occupancy.live.records()), (2, 20));
        assert!(all.iter_mut().all(|e| e.now().is_none()));
    });
}

#[test]
fn while_the_events_of_a_split_batch_are_sent_one_by_one_those_that_may_not_go_on_leave_at_once() {
    run(async {
        let mut bench = Bench::new(five).await;
        let ids = ["spoils-1", "lonely-2", "ok-3", "ok-4"];
        let mut assignments = Vec::new();
        let mut all = ids.map(|id| {
            let (delivery, ended) = bench.delivery(TopicKind::Input, id);
            assignments.push(delivery.ack.assignment().clone());
            bench.queue(delivery);
            ended
        });
        bench.start();
        eventually("the second one is sent alone", async || bench.sent().len() == 3).await;
        assert_eq!(all[0].wait().await, DEAD_LETTERED);
        assignments[2].set_leaving();
        bench.handle.changes.touch();
        assert_eq!(all[2].wait().await, End::Returned);
        bench.lane.halt("told to");
        assert_eq!(all[3].wait().await, End::Parked);
        assert_eq!((bench.value("ok-3").await, bench.value("ok-4").await), (None, None));
        assert!(all[1].now().is_none());
        bench.let_go();
        assert_eq!(all[1].wait().await, DELIVERED, "what was sent ends as its answer says");
        balances(&bench, &ids);
    });
}

#[test]
fn what_is_not_claimed_when_the_slot_is_there_goes_with_the_next_request() {
    run(async {
        let mut bench = Bench::new(five).await;
        let mut first = queued(&bench, ["ok-1", "ok-2"]);
        let (delivery, late) = bench.delivery(TopicKind::Input, "ok-3");
        let assignment = delivery.ack.assignment().clone();
        // It is not claimed until its partition is known to be still ours.
        assignment.set_unconfirmed(true);
        bench.queue(delivery);
        bench.start();
        assert_eq!(ends(&mut first).await, [DELIVERED; 2]);
        assert_eq!(bench.sent(), ["ok-1\nok-2"]);
        let joins = bench.send(TopicKind::Input, "ok-4");
        eventually("it joins what has the permit", async || bench.handle.occupancy.live.records() == 0).await;
        assignment.set_unconfirmed(false);
        assert_eq!(ends(&mut [late, joins]).await, [DELIVERED; 2]);
        balances(&bench, &["ok-1", "ok-2", "ok-3", "ok-4"]);
    });
}

#[test]
fn items_whose_nonce_is_refused_are_sent_once_more_together_and_the_second_refusal_halts() {
    run(async {
        let ids = ["ok-1", "nonce-2", "nonce-3"];
        let mut bench = Bench::new(five).await;
        let mut ended = queued(&bench, ids);
        bench.start();
        assert_eq!(ends(&mut ended).await, [DELIVERED; 3]);
        assert_eq!(bench.sent(), ["ok-1\nnonce-2\nnonce-3", "nonce-2\nnonce-3"]);
        for id in ids {
            let [receipt] = &receipts(&bench, id)[..] else { panic!("{id}") };
            assert_eq!((&receipt["attempts"], &receipt["resends"]), (&1.into(), &0.into()), "{id}");
        }
        balances(&bench, &ids);
        let mut end = bench.send(TopicKind::Input, "clock-4");
        assert_eq!(end.wait().await, End::Parked);
        let reason = bench.alone().halts.recv().await.unwrap().reason;
        assert!(reason.starts_with("a request that was signed anew is refused again"), "{reason}");
        assert_eq!(bench.sent()[2..], ["clock-4", "clock-4"]);
        balances(&bench, &["clock-4"]);
    });
}

//! Calls over a store, a broker and a platform. At the end of each test every call has its results, its offset is finished,
//! and nothing of a call that only reads was declared.

use std::time::Duration;

use serde_json::{Value, json};

use crate::claim::rules::Value as Claimed;
use crate::delivery::progress::End;
use crate::delivery::{Subject, TopicKind};
use crate::error::Outcome;
use crate::stub::bench::{Bench, DEAD, PARKED, RECEIPTS, RESULTS, Setting, TIER_5S, TIER_30S, eventually, run};
use crate::stub::calls::{CHUNK, MOST_PAGES, Script};

mod alternates;

const FINE: (&str, Value) = ("200 OK", Value::Bool(true));
const DELIVERED: End = End::Finished(Outcome::Delivered);
const DEAD_LETTERED: End = End::Finished(Outcome::DeadLettered);

fn page(n: i64, more: bool) -> (&'static str, Value) {
    ("200 OK", json!({"data": {"n": n}, "more": more}))
}

async fn bench(answers: &[(&str, Value)]) -> Bench {
    Bench::new(calls(answers)).await
}

fn calls(answers: &[(&str, Value)]) -> impl FnOnce(&mut Setting) + use<> {
    let script = Script::new(answers);
    move |setting| setting.calls = Some(script)
}

fn all() -> Value {
    json!({"paginate": "all"})
}

fn results(bench: &Bench) -> Vec<Value> {
    bench.published(RESULTS).iter().map(|result| serde_json::from_slice(&result.value).unwrap()).collect()
}

/// Page, whether it is the last one, and status of each result.
fn brief(results: &[Value]) -> Vec<(u64, bool, &str)> {
    let one = |r: &'_ Value| (r["page"].as_u64().unwrap(), r["final"].as_bool().unwrap());
    results.iter().map(|r| (one(r).0, one(r).1, r["status"].as_str().unwrap())).collect()
}

fn receipt(bench: &Bench) -> Value {
    serde_json::from_slice(&bench.published(RECEIPTS).last().unwrap().value).unwrap()
}

#[test]
fn each_page_gives_one_result_in_order_and_the_last_one_says_so() {
    run(async {
        let mut bench = bench(&[page(1, true), page(2, true), page(3, false)]).await;
        let mut end = bench.call(TopicKind::Input, "a", "list", &json!({}), &json!({"paginate": "all", "key": "acme"}));
        bench.start();
        assert_eq!(end.wait().await, DELIVERED);
        assert_eq!(bench.sent(), ["list 0 a", "list 1 a", "list 2 a"]);
        let results = results(&bench);
        assert_eq!(brief(&results), [(1, false, "ok"), (2, false, "ok"), (3, true, "ok")]);
        let first = &results[0];
        let expected = json!({
            "schema": "postback.result/1", "trans_id": "a", "platform": "third", "account": "acme", "call": "list",
            "status": "ok", "page": 1, "final": false, "attempts": 1, "http_status": 200, "platform_code": "0",
            "platform_message": "fine", "classification": "delivered", "started_at_ms": first["started_at_ms"],
            "finished_at_ms": first["finished_at_ms"], "data": {"n": 1}, "items": null, "error": null,
        });
        assert_eq!(*first, expected);
        let record = &bench.published(RESULTS)[2];
        assert_eq!(record.key.as_deref(), Some(&b"acme"[..]));
        assert_eq!((record.text("correlation-id"), record.text("pb-origin-topic")), ("a", "in"));
        assert_eq!((receipt(&bench)["attempts"].clone(), receipt(&bench)["event"].clone()), (json!(1), json!("list")));
        assert!(matches!(bench.value_of("list", "a").await, Some(Claimed::Done(_))));
    });
}

#[test]
fn pages_stop_where_the_event_or_the_platform_says() {
    run(async {
        for (reply, pages) in [
            (json!({}), 1),
            (json!({"paginate": "none", "max_pages": 3}), 1),
            (json!({"paginate": "all", "max_pages": 2}), 2),
            (json!({"paginate": "all", "max_pages": 1000}), MOST_PAGES),
        ] {
            // Every answer says that more follow.
            let mut bench = bench(&[]).await;
            let mut end = bench.call(TopicKind::Input, "a", "list", &json!({}), &reply);
            bench.start();
            assert_eq!(end.wait().await, DELIVERED);
            let results = results(&bench);
            assert_eq!(results.len() as u64, pages, "{reply}");
            assert!(results.iter().enumerate().all(|(n, r)| r["final"] == (n as u64 + 1 == pages)), "{reply}");
            assert_eq!(bench.sent().len() as u64, pages);
        }
    });
}

#[test]
fn a_retry_goes_on_with_the_first_page_whose_result_is_not_acknowledged() {
    run(async {
        let mut bench = bench(&[page(1, true), ("503 Away", json!({})), page(2, true), page(3, false)]).await;
        let mut end = bench.call(TopicKind::Input, "a", "list", &json!({}), &all());
        bench.start();
        assert_eq!(end.wait().await, End::Retried);
        let copy = bench.published(TIER_5S).remove(0);
        assert_eq!((copy.text("pb-page"), copy.text("pb-attempts"), copy.text("pb-pass")), ("1", "1", "1"));
        assert_eq!(bench.value_of("list", "a").await, None, "released");
        let (delivery, mut end) = bench.copy(&copy);
        bench.queue(delivery);
        assert_eq!(end.wait().await, DELIVERED);
        assert_eq!(bench.sent(), ["list 0 a", "list 1 a", "list 1 a", "list 2 a"]);
        let results = results(&bench);
        assert_eq!(brief(&results), [(1, false, "ok"), (2, false, "ok"), (3, true, "ok")]);
        assert_eq!((&results[1]["attempts"], &receipt(&bench)["attempts"]), (&json!(2), &json!(2)));
    });
}

#[test]
fn a_lost_answer_to_a_call_that_only_reads_is_a_failure_like_any_other() {
    run(async {
        let mut bench = bench(&[("silent", json!({})), page(1, false)]).await;
        let mut end = bench.call(TopicKind::Input, "a", "get", &json!({}), &json!({}));
        bench.start();
        assert_eq!(end.wait().await, End::Retried);
        assert_eq!(bench.value_of("get", "a").await, None, "it is not marked");
        let copy = bench.published(TIER_5S).remove(0);
        assert_eq!((copy.text("pb-last-error"), copy.text("pb-resends")), ("ambiguous", "0"));
        let (delivery, mut end) = bench.copy(&copy);
        bench.queue(delivery);
        assert_eq!(end.wait().await, DELIVERED);
        assert_eq!((bench.resends_counted(), &receipt(&bench)["resends"]), (0, &json!(0)));
    });
}

#[test]
fn a_lost_answer_to_a_destructive_call_ends_it_and_nothing_makes_it_again() {
    run(async {
        let mut bench = bench(&[("silent", json!({}))]).await;
        let mut end = bench.call(TopicKind::Input, "a", "wipe", &json!({}), &json!({}));
        bench.start();
        assert_eq!(end.wait().await, DEAD_LETTERED);
        let results = results(&bench);
        assert_eq!(brief(&results), [(0, true, "transport_error")]);
        assert_eq!(results[0]["error"]["reason"], "unknown_outcome");
        assert_eq!(bench.published(DEAD)[0].text("pb-reason"), "unknown_outcome");
        assert!(matches!(bench.value_of("wipe", "a").await, Some(Claimed::Unknown { .. })));
        // Another one, whose process has died under its claim.
        let stale = format!("c|{}|in:0:7|0000000000|0", "1".repeat(16));
        bench.put_of("wipe", "b", &stale).await;
        let mut end = bench.call(TopicKind::Input, "b", "wipe", &json!({}), &json!({}));
        assert_eq!(end.wait().await, DEAD_LETTERED);
        assert_eq!(bench.sent(), ["wipe 0 a"], "the second one was not sent");
    });
}

#[test]
fn a_process_that_is_killed_before_the_confirm_leaves_a_call_that_is_made_again_and_declares_nothing() {
    run(async {
        let edit = |setting: &mut Setting| {
            setting.account.limits.timeout = Duration::from_millis(1500);
            setting.lease = Duration::from_secs(3);
        };
        let script = Script::new(&[page(1, true), ("hang", json!({}))]);
        let calls = Some(script.clone());
        let mut bench = Bench::new(|setting| {
            edit(setting);
            setting.calls = calls;
        })
        .await;
        let mut end = bench.call(TopicKind::Input, "a", "list", &json!({}), &all());
        let task = bench.start();
        eventually("a page is published", async || bench.count(RESULTS) == 1).await;
        eventually("the next one is under way", async || bench.sent().len() == 2).await;
        task.abort();
        assert_eq!(end.now(), None, "its offset has not passed");
        tokio::time::sleep(Duration::from_millis(3200)).await;
        bench.let_go();
        script.add("200 OK", &page(1, true).1);
        script.add("200 OK", &page(2, false).1);
        bench.restart(|setting| {
            edit(setting);
            setting.calls = Some(script);
        });
        let mut end = bench.call(TopicKind::Input, "a", "list", &json!({}), &all());
        bench.start();
        assert_eq!(end.wait().await, DELIVERED);
        let results = results(&bench);
        assert_eq!(brief(&results), [(1, false, "ok"), (1, false, "ok"), (2, true, "ok")]);
        assert_eq!((bench.resends_counted(), &receipt(&bench)["resends"]), (0, &json!(0)));
    });
}

#[test]
fn a_call_with_many_slow_pages_keeps_its_claim() {
    run(async {
        let slow = ("slow", json!({"more": true}));
        let answers = [slow.clone(), slow.clone(), slow.clone(), slow.clone(), slow];
        let script = Script::new(&answers);
        let mut bench = Bench::new(|setting| {
            setting.account.limits.timeout = Duration::from_millis(1500);
            setting.lease = Duration::from_secs(3);
            setting.calls = Some(script);
        })
        .await;
        let mut end = bench.call(TopicKind::Input, "a", "list", &json!({}), &all());
        bench.start();
        eventually("the lease would be over", async || bench.sent().len() == 5).await;
        assert!(bench.claim_age_ms("list", "a").await < 2_500, "another process would take it over at 3 s");
        assert_eq!(end.wait().await, DELIVERED);
        assert_eq!(results(&bench).len(), 5);
        assert_eq!(bench.sent().len(), 5);
    });
}

#[test]
fn a_claim_that_was_taken_over_between_two_pages_sends_no_further_one() {
    run(async {
        let mut bench = bench(&[("hang", json!({"more": true}))]).await;
        let mut end = bench.call(TopicKind::Input, "a", "list", &json!({}), &all());
        bench.start();
        eventually("a page is asked for", async || bench.sent().len() == 1).await;
        bench.hold_of("list", "a").await;
        bench.let_go();
        assert_eq!(end.wait().await, End::Retried);
        assert_eq!(bench.sent().len(), 1);
        // The lease tier, and its copy goes on behind the page that it has published.
        assert_eq!(bench.published(TIER_30S)[0].text("pb-page"), "1");
        assert_eq!(brief(&results(&bench)), [(1, false, "ok")]);
    });
}

#[test]
fn chunks_make_one_result_with_their_items_in_order() {
    run(async {
        let chunk = |items: &[&str]| ("200 OK", json!({"items": items}));
        let mut bench = bench(&[chunk(&["13812345678", "b"]), chunk(&["c", "bad"]), chunk(&["e"])]).await;
        let args = json!({"items": ["1", "2", "3", "4", "5"]});
        let mut end = bench.call(TopicKind::Input, "a", "decrypt", &args, &json!({}));
        bench.start();
        assert_eq!(end.wait().await, DELIVERED);
        assert_eq!(bench.sent().len(), 5_usize.div_ceil(CHUNK));
        let results = results(&bench);
        assert_eq!(brief(&results), [(0, true, "partial")]);
        let items = results[0]["items"].as_array().unwrap();
        assert_eq!(items.iter().map(|item| item["index"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        let status = items.iter().map(|item| item["status"].as_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(status, ["ok", "ok", "ok", "error", "ok"]);
        assert_eq!(items[0]["data"]["text"], "138****5678", "no topic may have personal data");
        assert_eq!((&results[0]["data"], &results[0]["attempts"]), (&Value::Null, &json!(1)));
    });
}

#[test]
fn personal_data_goes_to_a_topic_that_the_account_names_for_it_and_to_no_other() {
    run(async {
        for (allow, topics, shown) in [
            (true, vec![RESULTS], "13812345678"),
            (true, vec!["others"], "138****5678"),
            (false, vec![RESULTS], "138****5678"),
        ] {
            let script = Script::new(&[("200 OK", json!({"data": {"text": "13812345678"}}))]);
            let mut bench = Bench::new(|setting| {
                setting.calls = Some(script);
                setting.account.reply.allow_pii = allow;
                setting.account.reply.restricted_topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
            })
            .await;
            let mut end = bench.call(TopicKind::Input, "a", "get", &json!({}), &json!({}));
            bench.start();
            assert_eq!(end.wait().await, DELIVERED);
            assert_eq!(results(&bench)[0]["data"]["text"], shown, "{allow} {topics:?}");
        }
    });
}

#[test]
fn a_call_past_its_time_is_expired_unless_it_was_answered_before() {
    run(async {
        let mut bench = bench(&[page(1, false)]).await;
        bench.start();
        let late = json!({"ttl_s": 1});
        let (delivery, mut end) = bench.call_of(TopicKind::Input, "a", "get", &json!({}), &json!({"ttl_s": 600}));
        bench.queue(delivery);
        assert_eq!(end.wait().await, DELIVERED);
        tokio::time::sleep(Duration::from_millis(10)).await;
        let hour_ago = crate::clock::now_ms() - 3_600_000;
        for (id, ends) in [("a", End::Finished(Outcome::Duplicate)), ("b", DEAD_LETTERED)] {
            let (delivery, mut end) = bench.call_at(TopicKind::Input, id, "get", &json!({}), &late, hour_ago);
            bench.queue(delivery);
            assert_eq!(end.wait().await, ends, "{id}");
        }
        let results = results(&bench);
        assert_eq!(brief(&results), [(0, true, "ok"), (0, true, "expired")]);
        let dead = &bench.published(DEAD)[0];
        assert_eq!((dead.text("pb-reason"), dead.text("pb-field")), ("expired", "reply.ttl_s"));
        assert_eq!(results[1]["error"]["field"], "reply.ttl_s");
        assert_eq!(bench.sent().len(), 1);
    });
}

#[test]
fn a_call_that_admission_refuses_has_a_result_too() {
    run(async {
        let bench = bench(&[]).await;
        let none = json!({});
        let rows = [
            ("list", json!({"x": 1}), json!({}), "acme", "invalid", "args.x"),
            ("drop", none.clone(), json!({}), "acme", "invalid", "call"),
            ("get", none.clone(), json!({"topic": "elsewhere"}), "acme", "invalid", "reply.topic"),
            ("get", none.clone(), json!({"topic": "elsewhere", "ttl_s": "x"}), "acme", "invalid", "reply.ttl_s"),
            ("get", none, json!({}), "nobody", "unknown_account", "account"),
        ];
        for (n, (call, args, reply, account, reason, field)) in rows.iter().enumerate() {
            let id = format!("c-{n}");
            let (delivery, mut end) = bench.call_to(account, &id, call, args, reply);
            assert!(matches!(delivery.subject, Subject::Ended(_)), "{field}");
            bench.lane.outbox.settle_ended(delivery).await;
            assert_eq!(end.wait().await, DEAD_LETTERED);
            let result = &results(&bench)[n];
            assert_eq!((&result["status"], &result["trans_id"]), (&json!("invalid"), &json!(id)));
            assert_eq!((&result["error"]["reason"], &result["error"]["field"]), (&json!(reason), &json!(field)));
            assert_eq!((&result["call"], &result["final"]), (&json!(call), &json!(true)));
            let dead = &bench.published(DEAD)[n];
            assert_eq!((dead.text("pb-reason"), dead.text("pb-event")), (*reason, *call));
        }
    });
}

#[test]
fn a_call_that_the_platform_refuses_is_a_result_and_a_dead_letter() {
    run(async {
        let mut bench = bench(&[("200 OK", json!({"refused": true}))]).await;
        let mut end = bench.call(TopicKind::Input, "a", "get", &json!({}), &json!({}));
        bench.start();
        assert_eq!(end.wait().await, DEAD_LETTERED);
        let results = results(&bench);
        assert_eq!(brief(&results), [(0, true, "platform_error")]);
        let said = (&results[0]["platform_code"], &results[0]["classification"], &results[0]["attempts"]);
        assert_eq!(said, (&json!("E7"), &json!("permanent"), &json!(1)));
        assert_eq!(bench.published(DEAD)[0].text("pb-reason"), "rejected");
    });
}

#[test]
fn a_result_that_is_too_large_says_so_and_the_call_is_delivered() {
    run(async {
        let long = "x".repeat(900 * 1024);
        let mut bench = bench(&[("200 OK", json!({"data": long, "more": true})), page(2, false)]).await;
        let mut end = bench.call(TopicKind::Input, "a", "list", &json!({}), &all());
        bench.start();
        assert_eq!(end.wait().await, DELIVERED);
        let results = results(&bench);
        assert_eq!(brief(&results), [(1, false, "platform_error"), (2, true, "ok")]);
        assert_eq!((&results[0]["data"], &results[0]["error"]["reason"]), (&Value::Null, &json!("result_too_large")));
    });
}

#[test]
fn a_lane_that_closes_between_two_pages_parks_what_is_left() {
    run(async {
        let mut bench = bench(&[("hang", json!({"more": true})), page(2, false)]).await;
        let mut end = bench.call(TopicKind::Input, "a", "list", &json!({}), &all());
        bench.start();
        eventually("a page is asked for", async || bench.sent().len() == 1).await;
        bench.handle.halt("test");
        bench.let_go();
        assert_eq!(end.wait().await, End::Parked);
        let copy = bench.published(PARKED).remove(0);
        assert_eq!((copy.text("pb-page"), copy.text("pb-event"), copy.text("pb-attempts")), ("1", "list", "0"));
        assert_eq!(bench.value_of("list", "a").await, None, "released");
    });
}

//! Calls over a store, a broker and a platform. At the end of each test every call has its results, its offset is
//! finished, and nothing of a call that only reads was declared.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::claim::rules::Value as Claimed;
use crate::delivery::progress::End;
use crate::delivery::{Probe, Subject, TopicKind};
use crate::error::{Answer, Class, DeliveryError, Outcome};
use crate::lane::answers::PERMANENT_RUN;
use crate::lane::calls::{begin_anew, doubt};
use crate::stub::bench::{Bench, DEAD, PARKED, RECEIPTS, RESULTS, Setting, TIER_5S, TIER_30S, eventually, run};
use crate::stub::calls::{MOST_PAGES, Script};

mod alternates;
mod chunks;

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
        let attempts = results.iter().map(|result| result["attempts"].clone()).collect::<Vec<_>>();
        assert_eq!((attempts, &receipt(&bench)["attempts"]), (vec![json!(1), json!(2), json!(1)], &json!(1)));
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
fn a_call_for_a_person_who_opted_out_ends_suppressed_and_its_result_says_so() {
    run(async {
        let bench = bench(&[]).await;
        for (n, kind) in ["call", "conversion"].into_iter().enumerate() {
            let event = json!({
                "kind": kind, "trans_id": format!("c-{n}"), "platform": bench.handle.id.platform, "account": "acme",
                "call": "get", "event_type": "install", "reply": {"topic": "elsewhere", "key": "k"},
                "event_time_ms": crate::clock::now_ms(), "consent": {"opt_out": true}
            });
            let (delivery, mut end) = bench.record_of(TopicKind::Input, event.to_string().into(), Vec::new());
            bench.lane.outbox.settle_ended(delivery).await;
            assert_eq!(end.wait().await, End::Finished(Outcome::Suppressed), "{kind}");
            assert_eq!(receipt(&bench)["outcome"], "suppressed", "{kind}");
        }
        let results = results(&bench);
        assert_eq!(brief(&results), [(0, true, "invalid")], "nobody waits for the result of a conversion");
        let said = (&results[0]["trans_id"], &results[0]["attempts"], &results[0]["classification"]);
        assert_eq!(said, (&json!("c-0"), &json!(0), &Value::Null));
        let error = (&results[0]["error"]["reason"], &results[0]["error"]["field"]);
        assert_eq!(error, (&json!("suppressed"), &json!("consent.opt_out")));
        assert_eq!(bench.published(DEAD).len(), 0);
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
fn an_answer_that_is_too_long_to_be_read_ends_a_call_with_pages() {
    run(async {
        let long = "x".repeat(crate::platforms::call::CALL_ANSWER_BYTES);
        let mut bench = bench(&[("200 OK", json!({"data": long, "more": true}))]).await;
        let mut end = bench.call(TopicKind::Input, "a", "list", &json!({}), &all());
        bench.start();
        assert_eq!(end.wait().await, DELIVERED);
        let results = results(&bench);
        assert_eq!(brief(&results), [(1, true, "platform_error")]);
        assert_eq!((&results[0]["error"]["reason"], bench.sent().len()), (&json!("result_too_large"), 1));
    });
}

#[test]
fn a_result_that_its_topic_refuses_by_size_leaves_out_its_data_then_its_key_and_then_holds_nothing_back() {
    run(async {
        let refused = ("200 OK", json!({"refused": true}));
        for (answer, ends, status) in
            [(page(1, false), DELIVERED, "platform_error"), (refused, DEAD_LETTERED, "platform_error")]
        {
            for refusals in 1..=3 {
                let mut bench = bench(std::slice::from_ref(&answer)).await;
                // A write that is refused by size is tried once more, alone.
                let by_size = rdkafka::bindings::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
                bench.broker.refuse_writes(&vec![by_size; 2 * refusals]);
                let mut end = bench.call(TopicKind::Input, "a", "get", &json!({}), &json!({"key": "acme"}));
                bench.start();
                assert_eq!(end.wait().await, ends, "{refusals}");
                let published = bench.published(RESULTS);
                let results = results(&bench);
                assert_eq!(results.len(), usize::from(refusals < 3), "{refusals}");
                for (record, result) in published.iter().zip(&results) {
                    let key = if refusals == 1 { "acme" } else { "a" };
                    assert_eq!(record.key.as_deref(), Some(key.as_bytes()));
                    assert_eq!((record.text("correlation-id"), &result["trans_id"]), ("a", &json!("a")));
                    assert_eq!((&result["status"], &result["final"]), (&json!(status), &json!(true)));
                    assert_eq!((&result["data"], &result["items"]), (&Value::Null, &Value::Null));
                    assert_eq!(result["error"]["reason"], "result_too_large");
                }
            }
        }
    });
}

#[test]
fn a_failure_after_which_a_destructive_call_may_have_been_made_ends_it_and_nothing_makes_it_again() {
    run(async {
        for status in ["500 Bad", "503 Away", "408 Late"] {
            let mut bench = bench(&[(status, json!({})), FINE]).await;
            let mut end = bench.call(TopicKind::Input, "a", "wipe", &json!({}), &json!({}));
            bench.start();
            assert_eq!(end.wait().await, DEAD_LETTERED, "{status}");
            assert_eq!(bench.sent(), ["wipe 0 a"], "{status}");
            assert_eq!(results(&bench)[0]["error"]["reason"], "unknown_outcome", "{status}");
            assert_eq!(bench.published(DEAD)[0].text("pb-reason"), "unknown_outcome", "{status}");
            assert!(matches!(bench.value_of("wipe", "a").await, Some(Claimed::Unknown { .. })), "{status}");
        }
    });
}

#[test]
fn only_a_failure_of_what_was_sent_puts_a_destructive_call_in_doubt() {
    run(async {
        let bench = bench(&[]).await;
        let class = |call: &str, failure: fn(Answer) -> DeliveryError, sent| {
            let (delivery, _) = bench.call_of(TopicKind::Input, "a", call, &json!({}), &json!({}));
            doubt(&delivery, failure(Answer { sent, unclassified: true, ..Answer::default() })).class()
        };
        assert_eq!(class("wipe", DeliveryError::Retry, true), Some(Class::Ambiguous));
        assert_eq!(class("wipe", DeliveryError::Retry, false), Some(Class::Retry));
        assert_eq!(class("wipe", DeliveryError::Throttled, true), Some(Class::Throttled));
        assert_eq!(class("get", DeliveryError::Retry, true), Some(Class::Retry));
    });
}

#[test]
fn each_page_has_all_tries_to_itself() {
    run(async {
        let away = ("503 Away", json!({}));
        let script = Script::new(&[page(1, true), away.clone(), page(2, true), away, page(3, false)]);
        let mut bench = Bench::new(|setting| {
            setting.account.retry.max_attempts = 2;
            setting.calls = Some(script);
        })
        .await;
        let mut end = bench.call(TopicKind::Input, "a", "list", &json!({}), &all());
        bench.start();
        for page in 1..=2 {
            assert_eq!(end.wait().await, End::Retried, "{page}");
            let copy = bench.published(TIER_5S).remove(page - 1);
            let said = (copy.text("pb-page"), copy.text("pb-attempts"), copy.text("pb-pass"));
            assert_eq!(said, (&*page.to_string(), "1", "1"));
            let delivery;
            (delivery, end) = bench.copy(&copy);
            bench.queue(delivery);
        }
        assert_eq!(end.wait().await, DELIVERED);
        assert_eq!(brief(&results(&bench)), [(1, false, "ok"), (2, false, "ok"), (3, true, "ok")]);
    });
}

#[test]
fn what_a_call_has_used_up_begins_anew_with_a_page_and_not_with_a_chunk() {
    run(async {
        let bench = bench(&[]).await;
        for (call, left) in [("list", (0, 0, 0, 0, None)), ("decrypt", (3, 2, 4, 5, Some(6)))] {
            let (mut delivery, _) = bench.call_of(TopicKind::Input, "a", call, &json!({}), &json!({}));
            (delivery.throttled, delivery.inline_used) = (3, 2);
            delivery.probe = Probe::take(&Arc::default());
            let envelope = &mut delivery.envelope;
            (envelope.attempts, envelope.pass, envelope.retry_since_ms) = (4, 5, Some(6));
            begin_anew(&mut delivery, &bench.lane, &mut None);
            let envelope = &delivery.envelope;
            let used =
                (delivery.throttled, delivery.inline_used, envelope.attempts, envelope.pass, envelope.retry_since_ms);
            assert_eq!(used, left, "{call}");
            assert!(delivery.probe.is_none(), "{call}");
        }
    });
}

#[test]
fn the_answer_to_a_page_ends_a_run_of_permanent_answers() {
    run(async {
        let mut bench = bench(&[page(1, true), ("200 OK", json!({"refused": true}))]).await;
        bench.lane.permanents.set(PERMANENT_RUN - 1);
        let mut end = bench.call(TopicKind::Input, "a", "list", &json!({}), &all());
        bench.start();
        assert_eq!(end.wait().await, DEAD_LETTERED);
        assert_eq!((bench.lane.permanents.get(), bench.handle.is_open()), (1, true));
    });
}

#[test]
fn an_answer_to_a_call_counts_although_the_lane_closes_while_the_next_try_waits_for_its_slot() {
    run(async {
        let script = calls(&[("hang 503 Away", Value::Null)]);
        let retries = |setting: &mut Setting| {
            script(setting);
            setting.account.retry.inline.max_retries = 2;
        };
        let mut bench = Bench::new(retries).await;
        bench.lane.permanents.set(5);
        let mut end = bench.call(TopicKind::Input, "a", "list", &json!({}), &all());
        bench.start();
        eventually("its first try is under way", async || bench.sent().len() == 1).await;
        // From here on there is no slot. The first try has its own.
        bench.lane.limiter.push_back(Duration::from_secs(600)).await.unwrap();
        bench.let_go();
        eventually("its failure is known", async || bench.lane.account_metrics().attempts_so_far(Class::Retry) == 1)
            .await;
        // An inline delay takes a millisecond at most here.
        sleep(Duration::from_millis(300)).await;
        bench.handle.halt("why");
        assert_eq!(end.wait().await, End::Parked);
        let sent_and_run = (bench.sent().len(), bench.lane.permanents.get());
        assert_eq!(sent_and_run, (1, 0), "its answer ends the run of permanent ones");
        assert_eq!(bench.published(PARKED).remove(0).text("pb-attempts"), "1");
    });
}

#[test]
fn a_call_that_admission_ends_between_two_pages_names_the_page_that_it_has_come_to() {
    run(async {
        let bench = bench(&[]).await;
        let (mut delivery, mut end) = bench.call_to("nobody", "a", "list", &json!({}), &json!({}));
        delivery.envelope.page = 3;
        bench.lane.outbox.settle_ended(delivery).await;
        assert_eq!(end.wait().await, DEAD_LETTERED);
        assert_eq!(brief(&results(&bench)), [(3, true, "invalid")]);
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

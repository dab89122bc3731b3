//! Calls about things that may be asked about now and then, and so many times a day.

use serde_json::{Value, json};

use crate::clock::now_ms;
use crate::delivery::TopicKind;
use crate::delivery::progress::End;
use crate::error::Outcome;
use crate::metrics::LaneState;
use crate::stub::bench::{Bench, PARKED, TIER_5S, TIER_30S, eventually, run};
use crate::stub::calls::{INTERVAL, Script};

const DELIVERED: End = End::Finished(Outcome::Delivered);
const FINE: (&str, Value) = ("200 OK", Value::Bool(true));

async fn bench(answers: &[(&str, Value)]) -> Bench {
    let script = Script::new(answers);
    Bench::new(|setting| setting.calls = Some(script)).await
}

fn about(thing: &str, per_day: u64) -> Value {
    json!({"about": thing, "per_day": per_day})
}

/// How many requests of the day are counted.
async fn counted(bench: &Bench) -> Option<String> {
    let key = format!("pb:quota:{}:acme:day", bench.handle.id.platform);
    let value: Option<String> = bench.redis(&["GET", &key]).await;
    value.and_then(|value| value.split_once(':').map(|(_, count)| count.to_owned()))
}

#[test]
fn a_second_call_about_the_same_thing_waits_in_a_tier_uncounted_until_the_interval_ends() {
    run(async {
        let mut bench = bench(&[FINE, FINE]).await;
        bench.start();
        let ask = |bench: &Bench, id: &str, thing: &str| {
            bench.call(TopicKind::Input, id, "get", &about(thing, 9), &json!({}))
        };
        assert_eq!(ask(&bench, "a", "w-1").wait().await, DELIVERED);
        let before = now_ms();
        assert_eq!(ask(&bench, "b", "w-1").wait().await, End::Retried);
        assert_eq!(ask(&bench, "c", "w-2").wait().await, DELIVERED);
        assert_eq!(bench.sent(), ["get 0 a", "get 0 c"]);
        assert_eq!(bench.value_of("get", "b").await, None, "its claim is released");
        let copy = bench.published(TIER_30S).remove(0);
        assert_eq!((copy.text("pb-attempts"), copy.text("pb-pass")), ("0", "0"));
        let waits_ms = copy.text("pb-due").parse::<i64>().unwrap() - before;
        let interval_ms = INTERVAL.as_millis() as i64;
        assert!((interval_ms - 60_000..=interval_ms + 60_000).contains(&waits_ms), "{waits_ms} ms");
        assert_eq!(counted(&bench).await.as_deref(), Some("2"), "one that waits is none of the day");
    });
}

#[test]
fn the_attempts_of_one_call_do_not_wait_for_the_interval_and_each_is_one_of_the_day() {
    run(async {
        let mut bench = bench(&[("503 Away", json!({})), FINE]).await;
        let mut end = bench.call(TopicKind::Input, "a", "get", &about("w-1", 9), &json!({}));
        bench.start();
        assert_eq!(end.wait().await, End::Retried);
        let (delivery, mut end) = bench.copy(&bench.published(TIER_5S).remove(0));
        bench.queue(delivery);
        assert_eq!(end.wait().await, DELIVERED);
        assert_eq!(bench.sent().len(), 2);
        assert_eq!(counted(&bench).await.as_deref(), Some("2"));
    });
}

#[test]
fn over_the_limit_of_the_day_calls_park_and_nothing_is_sent_until_midnight() {
    run(async {
        let mut bench = bench(&[FINE, FINE]).await;
        bench.start();
        for (id, end) in [("a", DELIVERED), ("b", DELIVERED), ("c", End::Parked), ("d", End::Parked)] {
            let mut ended = bench.call(TopicKind::Input, id, "get", &about(id, 2), &json!({}));
            assert_eq!(ended.wait().await, end, "{id}");
        }
        assert_eq!(bench.sent(), ["get 0 a", "get 0 b"]);
        assert_eq!(bench.handle.state(), LaneState::Throttled);
        assert!(!bench.handle.is_open());
        let parked = bench.published(PARKED);
        assert!(parked.iter().all(|copy| copy.text("pb-attempts") == "0" && !copy.text("pb-parked-at").is_empty()));
        assert_eq!((parked.len(), bench.value_of("get", "c").await), (2, None));
        assert_eq!(counted(&bench).await.as_deref(), Some("2"));
    });
}

#[test]
fn what_the_day_has_left_is_sent_although_others_come_too_late_at_the_same_moment() {
    run(async {
        let script = Script::new(&[FINE, FINE, FINE]);
        let mut bench = Bench::new(|setting| {
            // So slow that the second one still waits for its slot while the others learn that the day is over.
            (setting.account.limits.rps, setting.account.limits.concurrency) = (1.0, 4);
            setting.calls = Some(script);
        })
        .await;
        let mut calls =
            ["a", "b", "c", "d"].map(|id| bench.call(TopicKind::Input, id, "get", &about(id, 2), &json!({})));
        bench.start();
        let mut ends = Vec::new();
        for call in &mut calls {
            ends.push(call.wait().await);
        }
        assert_eq!(ends, [DELIVERED, DELIVERED, End::Parked, End::Parked]);
        assert_eq!(bench.sent(), ["get 0 a", "get 0 b"]);
        assert_eq!(counted(&bench).await.as_deref(), Some("2"));
        assert!(!bench.handle.is_open());
    });
}

#[test]
fn a_request_of_which_no_byte_went_out_is_none_of_the_day() {
    run(async {
        let script = Script::new(&[]);
        let mut bench = Bench::new(|setting| {
            setting.calls = Some(script);
            setting.no_platform = true;
        })
        .await;
        let mut end = bench.call(TopicKind::Input, "a", "get", &about("w-1", 9), &json!({}));
        bench.start();
        assert_eq!(end.wait().await, End::Retried);
        assert_eq!(counted(&bench).await.as_deref(), Some("0"));
    });
}

#[test]
fn a_process_that_dies_with_a_request_under_way_leaves_it_counted() {
    run(async {
        let mut bench = bench(&[("hang", json!({}))]).await;
        let _end = bench.call(TopicKind::Input, "a", "get", &about("w-1", 9), &json!({}));
        let task = bench.start();
        eventually("the request is under way", async || bench.sent().len() == 1).await;
        assert_eq!(counted(&bench).await.as_deref(), Some("1"), "counted before it was sent");
        task.abort();
        bench.let_go();
        assert_eq!(counted(&bench).await.as_deref(), Some("1"));
    });
}

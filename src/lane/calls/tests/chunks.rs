//! Calls in several chunks, which make one result together.

use serde_json::{Value, json};

use super::{DELIVERED, bench, brief, calls, results};
use crate::delivery::TopicKind;
use crate::delivery::progress::End;
use crate::stub::bench::{Bench, Ended, PARKED, TIER_5S, run};
use crate::stub::calls::CHUNK;

fn chunk(items: &[&str]) -> (&'static str, Value) {
    ("200 OK", json!({"items": items}))
}

/// Three chunks, and this answer before the second one.
async fn refused_once(status: &'static str) -> Bench {
    bench(&[chunk(&["a", "b"]), (status, json!({})), chunk(&["c", "d"]), chunk(&["e"])]).await
}

fn decrypt(bench: &Bench) -> Ended {
    let args = json!({"items": ["1", "2", "3", "4", "5"]});
    bench.call(TopicKind::Input, "a", "decrypt", &args, &json!({}))
}

/// One result has the items of all chunks, and no chunk was asked for again once it was answered.
#[track_caller]
fn is_whole(bench: &Bench) {
    assert_eq!(bench.sent(), ["decrypt 0 a", "decrypt 1 a", "decrypt 1 a", "decrypt 2 a"]);
    let results = results(bench);
    assert_eq!(brief(&results), [(0, true, "ok")]);
    let items = results[0]["items"].as_array().unwrap();
    assert_eq!(items.iter().map(|item| item["index"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
}

#[test]
fn chunks_make_one_result_with_their_items_in_order() {
    run(async {
        let mut bench = bench(&[chunk(&["13812345678", "b"]), chunk(&["c", "bad"]), chunk(&["e"])]).await;
        let mut end = decrypt(&bench);
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
fn a_call_that_is_throttled_between_two_chunks_goes_on_at_the_head_of_its_lane() {
    run(async {
        let mut bench = refused_once("429 Slow").await;
        let mut end = decrypt(&bench);
        bench.start();
        assert_eq!(end.wait().await, DELIVERED);
        is_whole(&bench);
        assert_eq!(results(&bench)[0]["attempts"], 1, "a throttled answer is no attempt");
    });
}

#[test]
fn a_call_goes_on_with_the_first_chunk_that_was_not_answered_after_a_tier_and_after_parking() {
    run(async {
        for (status, ended, topic) in
            [("503 Away", End::Retried, TIER_5S), ("429 Slow\r\nretry-after: 60", End::Parked, PARKED)]
        {
            let mut bench = refused_once(status).await;
            let mut end = decrypt(&bench);
            bench.start();
            assert_eq!(end.wait().await, ended, "{status}");
            assert_eq!(bench.value_of("decrypt", "a").await, None, "released");
            bench.forget_push_back().await;
            let (delivery, mut end) = bench.copy(&bench.published(topic)[0]);
            bench.queue(delivery);
            assert_eq!(end.wait().await, DELIVERED, "{status}");
            is_whole(&bench);
        }
    });
}

#[test]
fn in_another_process_a_call_begins_with_its_first_chunk() {
    run(async {
        let mut bench = refused_once("503 Away").await;
        let mut end = decrypt(&bench);
        bench.start();
        assert_eq!(end.wait().await, End::Retried);
        bench.restart(calls(&[]));
        bench.start();
        let (delivery, mut end) = bench.copy(&bench.published(TIER_5S)[0]);
        bench.queue(delivery);
        assert_eq!(end.wait().await, DELIVERED);
        assert_eq!(bench.sent()[2..], ["decrypt 0 a", "decrypt 1 a", "decrypt 2 a"]);
    });
}

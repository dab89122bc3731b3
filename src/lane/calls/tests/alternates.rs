//! Calls that another account may answer.

use std::time::Duration;

use serde_json::json;

use super::{DELIVERED, FINE, bench, calls, results};
use crate::delivery::TopicKind;
use crate::delivery::progress::End;
use crate::stub::bench::{Bench, PARKED, TIER_5S, ready, run};

/// Sends a call that so many other accounts may answer, in the turn of that one.
async fn send(bench: &Bench, id: &str, others: u32, turn: u32) -> End {
    let (mut delivery, mut end) = bench.call_of(TopicKind::Input, id, "get", &json!({}), &json!({}));
    ready(&mut delivery).call.as_mut().unwrap().alternates = others;
    delivery.envelope.alternate = turn;
    bench.queue(delivery);
    end.wait().await
}

#[test]
fn a_call_of_a_halted_account_goes_on_with_the_next_one_and_after_the_last_it_parks() {
    run(async {
        let mut bench = bench(&[("403 No", json!({}))]).await;
        bench.start();
        assert_eq!(send(&bench, "halts", 2, 0).await, End::Retried, "its answer halts the account");
        assert_eq!(send(&bench, "next", 2, 1).await, End::Retried, "the lane is closed");
        assert_eq!(send(&bench, "last", 2, 2).await, End::Parked);
        assert_eq!(send(&bench, "alone", 0, 0).await, End::Parked);
        assert_eq!(bench.sent(), ["get 0 halts"]);
        let copies = bench.published(TIER_5S);
        let turns: Vec<_> = copies.iter().map(|copy| (copy.text("pb-alternate"), copy.text("pb-attempts"))).collect();
        assert_eq!(turns, [("1", "0"), ("2", "0")]);
        assert!(bench.published(PARKED).iter().all(|copy| copy.text("pb-alternate").is_empty()));
        assert_eq!(bench.value_of("get", "halts").await, None, "released");
    });
}

#[test]
fn a_call_whose_visit_failed_goes_on_with_the_next_account_and_after_the_last_with_its_own() {
    run(async {
        let mut bench = bench(&[("503 Away", json!({})), ("silent", json!({}))]).await;
        bench.start();
        assert_eq!(send(&bench, "a", 1, 0).await, End::Retried);
        assert_eq!(send(&bench, "b", 1, 1).await, End::Retried);
        let copies = bench.published(TIER_5S);
        assert_eq!((copies[0].text("pb-alternate"), copies[0].text("pb-attempts")), ("1", "1"));
        assert_eq!((copies[1].text("pb-alternate"), copies[1].text("pb-attempts")), ("", "1"));
    });
}

#[test]
fn an_account_that_is_pushed_back_parks_its_calls() {
    run(async {
        let mut bench = bench(&[]).await;
        bench.start();
        bench.handle.throttle.push_back(Duration::from_secs(60));
        assert_eq!(send(&bench, "a", 1, 0).await, End::Parked, "it is not broken");
    });
}

#[test]
fn a_result_says_who_answered() {
    run(async {
        let mut bench = Bench::new(calls(&[FINE, FINE])).await;
        bench.start();
        for (id, asked, answered_by) in [("a", None, json!(null)), ("b", Some("first"), json!("acme"))] {
            let (mut delivery, mut end) = bench.call_of(TopicKind::Input, id, "get", &json!({}), &json!({}));
            ready(&mut delivery).call.as_mut().unwrap().asked =
                asked.map(|name| std::sync::Arc::new(crate::account::Account::stub(name)));
            bench.queue(delivery);
            assert_eq!(end.wait().await, DELIVERED);
            let result = results(&bench).pop().unwrap();
            assert_eq!((&result["account"], &result["answered_by"]), (&json!(asked.unwrap_or("acme")), &answered_by));
        }
    });
}

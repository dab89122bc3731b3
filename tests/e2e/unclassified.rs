//! Answers that no table lists: tried again, counted, logged once, and listed in the status with a masked sample.

use crate::support::http;
use crate::support::ledger::Check;
use crate::support::platform::{Action, Platform, Rule};
use crate::support::world::World;
use crate::support::{eventually, secs};
use serde_json::Value;

#[test]
fn a_code_that_no_table_lists_is_tried_again_and_stands_in_the_status_with_a_sample() {
    let mut w = World::new("unclassified");
    let account = w.account("acme-ps", Platform::Qihoo360);
    let worker = w.started();
    let events = w.make.orders("acme-ps", 3);
    account.rules(vec![Rule::all(Action::Errno(77)).about(events.iter().map(|event| event.ident())).first(1)]);
    w.publish(events);
    w.settle(secs(60));
    let books = w.ledger(&Check::EXACT);
    w.counters(&worker, &books);
    assert_eq!(worker.metrics().total("unclassified_codes_total", &[("account", "acme-ps")]), 3.0);

    let (status, text) = http::get(worker.admin_port, "/api/v1/status").unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    let listed = report["unclassified"].as_array().unwrap();
    assert_eq!((status, listed.len()), (200, 1), "{text}");
    let kind = &listed[0];
    assert_eq!(
        (&kind["account"], &kind["code"], &kind["count"]),
        (&"acme-ps".into(), &"77".into(), &3.into()),
        "{kind}"
    );
    assert_eq!(kind["status"], 200);
    assert!(kind["sample"].as_str().unwrap().contains("77"), "{kind}");
    assert!(kind["first_ms"].as_i64().unwrap() > 0 && kind["last_ms"].as_i64() >= kind["first_ms"].as_i64(), "{kind}");
    let lines = worker.log().lines().filter(|line| line.contains("unclassified_codes_total")).count();
    assert_eq!(lines, 1, "logged at first sight alone");
    eventually(secs(15), "the command shows it", || {
        let text = worker.must(&["accounts", "list"]);
        text.contains("answers that no table lists") && text.contains(" 77 ")
    });
}

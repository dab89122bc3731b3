//! `postback trace` over topics that hold far more than can be read in its two seconds.

use crate::support::platform::Platform;
use crate::support::records::Publisher;
use crate::support::world::World;
use crate::support::{eventually, now_ms, secs};
use serde_json::{Value, json};
use std::time::Instant;

/// Records that fill each of the two topics. `POSTBACK_TEST_TRACE` states more for a measurement.
fn fill() -> i64 {
    std::env::var("POSTBACK_TEST_TRACE").map_or(60_000, |n| n.parse().unwrap())
}

fn receipt(world: &World, trans_id: &str, n: i64, outcome: &str) -> Vec<u8> {
    let value = json!({
        "schema": "postback.receipt/1", "trans_id": trans_id, "platform": "qihoo360", "account": "acme-ps",
        "event": "ORDER", "outcome": outcome, "reason": (outcome == "dead_lettered").then_some("rejected"),
        "attempts": 1, "resends": 0, "platform_id": null,
        "origin": {"topic": world.topic("conversions"), "partition": 0, "offset": 1_000_000 + n},
        "first_seen_ms": now_ms(), "finished_at_ms": now_ms(),
    });
    value.to_string().into_bytes()
}

fn letter(world: &World, publisher: &Publisher, trans_id: &str, n: i64) {
    let text = |name: &str, value: String| (name.as_bytes().to_vec(), Some(value.into_bytes()));
    let headers = [
        text("pb-origin-topic", world.topic("conversions")),
        text("pb-origin-partition", "0".into()),
        text("pb-origin-offset", (1_000_000 + n).to_string()),
        text("pb-attempts", "1".into()),
        text("pb-platform", "qihoo360".into()),
        text("pb-account", "acme-ps".into()),
        text("pb-trans-id", trans_id.into()),
        text("pb-reason", "rejected".into()),
        text("pb-failed-at", now_ms().to_string()),
    ];
    let key = format!("qihoo360:acme-ps:o-{n}");
    let value =
        format!(r#"{{"trans_id":"{trans_id}","platform":"qihoo360","account":"acme-ps","event_type":"order"}}"#);
    publisher.publish(&world.topic("dlt"), None, Some(key.as_bytes()), Some(value.as_bytes()), &headers);
}

#[test]
fn an_old_event_is_found_within_two_seconds_by_its_claim_and_what_was_not_looked_at_is_said() {
    let mut w = World::new("trace-far");
    w.account("acme-ps", Platform::Qihoo360);
    let worker = w.started();
    let (mut done, mut refused) = (w.make.order("acme-ps"), w.make.order("acme-ps"));
    done.expect = crate::support::event::Expect::Delivered;
    refused = refused.spoiled("unmapped_event", "event_type", |e| e["event_type"] = "teleported".into());
    w.publish(vec![done.clone(), refused.clone()]);
    w.settle(secs(60));

    // Afterwards come the others.
    let (publisher, total, began) = (Publisher::new(&w.bootstrap()), fill(), Instant::now());
    for n in 0..total {
        let (topic, id) = (w.topic("receipts"), format!("other-{n}"));
        publisher.publish(&topic, None, Some(id.as_bytes()), Some(&receipt(&w, &id, n, "delivered")), &[]);
        letter(&w, &publisher, &format!("dead-{n}"), n);
        if n % 100_000 == 0 {
            publisher.poll();
        }
    }
    letter(&w, &publisher, "last-one", total);
    publisher.publish(
        &w.topic("receipts"),
        None,
        Some(b"last-one"),
        Some(&receipt(&w, "last-one", total, "dead_lettered")),
        &[],
    );
    publisher.flush();
    eprintln!("{total} receipts and {total} dead letters written in {:.1} s", began.elapsed().as_secs_f64());

    let trace = |args: &[&str]| {
        let (began, args) = (Instant::now(), [&["trace", "--json"], args].concat());
        let output = worker.command(&args);
        let took = began.elapsed();
        let found: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|_| json!({"stderr": output.stderr}));
        eprintln!("{args:?}: {took:?}, {}", found["looked_at"]);
        (output, found, took)
    };
    let count = |found: &Value, part: &str| found[part].as_array().map_or(0, Vec::len);
    for (id, claims, letters, receipts) in
        [(done.trans_id(), 1, 0, 1), ("last-one", 0, 1, 1), (&*format!("dead-{}", total - 10), 0, 1, 0)]
    {
        let (output, found, took) = trace(&[id]);
        assert_eq!(output.code, Some(0), "{}", output.stderr);
        let counts = (count(&found, "claims"), count(&found, "dead_letters"), count(&found, "receipts"));
        assert_eq!(counts, (claims, letters, receipts), "{id}: {found}");
        // It takes a part of a second; other tests run beside this one.
        assert!(took < secs(6), "{id} took {took:?}");
        // Only the partition of its key was read.
        let of =
            |what: &str| found["looked_at"].as_array().unwrap().iter().find(|p| p["what"] == what).unwrap().clone();
        assert!(of("receipts")["records"].as_i64().unwrap() < total / 2, "{found}");
        assert_eq!(of("dead_letters")["records"].as_i64(), Some(total + 2), "{found}");
    }
    // Nothing has told when this one ended, and it is the oldest.
    let (quick, found, took) = trace(&[refused.trans_id()]);
    assert!(took < secs(6), "{took:?}");
    let complete = found["looked_at"].as_array().is_some_and(|parts| parts.iter().all(|part| part["complete"] == true));
    assert!(complete || quick.stderr.contains("--all reads the rest") || count(&found, "dead_letters") == 1, "{found}");
    let (_, found, _) = trace(&["--all", refused.trans_id()]);
    assert_eq!((count(&found, "dead_letters"), count(&found, "receipts")), (1, 1), "{found}");
    assert!(found["looked_at"].as_array().unwrap().iter().all(|part| part["complete"] == true), "{found}");
    eventually(secs(1), "the worker still runs", || worker.live());
}

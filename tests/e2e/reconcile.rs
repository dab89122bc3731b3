//! `postback reconcile` against real Kafka: it finds one outcome that was deleted by hand, and knows what is open. Over
//! HTTP a worker does the same in the background.

use crate::support::event::{Event, Expect};
use crate::support::platform::{Action, Platform, Rule};
use crate::support::records::{Publisher, Record};
use crate::support::worker::{Output, Worker};
use crate::support::world::{World, receipt_origin};
use crate::support::{eventually, http, now_ms, secs};
use serde_json::{Value, json};

const HTTP: &str = "/api/v1/reconcile";

fn ask(worker: &Worker, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (status, body) = http::request_within(secs(20), worker.admin_port, method, path, &[], &body).unwrap();
    (status, serde_json::from_str(&body).unwrap_or_else(|e| panic!("{method} {path}: {e}: {body}")))
}

/// What a worker finds in this range over HTTP, once it has read all.
fn over_http(worker: &Worker, range: &Value) -> Value {
    let (status, started) = ask(worker, "POST", HTTP, range);
    assert_eq!(status, 202, "{started}");
    let path = format!("{HTTP}/{}", started["id"].as_str().unwrap());
    let mut last = Value::Null;
    eventually(secs(300), "the range was read", || {
        last = ask(worker, "GET", &path, &Value::Null).1;
        last["state"] != "running"
    });
    assert_eq!(last["state"], "completed", "{last}");
    last["ledger"].clone()
}

/// Runs the command. `config` is another file than the worker's.
fn reconcile(worker: &Worker, args: &[&str]) -> (Output, Value) {
    let output = worker.command(&[&["reconcile", "--json"], args].concat());
    let found = serde_json::from_str(&output.stdout).unwrap_or(Value::Null);
    (output, found)
}

#[test]
fn one_outcome_that_was_deleted_by_hand_is_found_and_named() {
    let mut w = World::new("reconcile");
    let account = w.account("acme-ps", Platform::Qihoo360);
    let worker = w.started();
    let mut events: Vec<_> = (0..940).map(|_| w.make.order("acme-ps")).collect();
    for event in &mut events[..20] {
        event.expect = Expect::Dead { reason: "rejected", field: "" };
    }
    account.rules(vec![Rule::all(Action::Errno(3)).about(events[..20].iter().map(|event| event.ident()))]);
    events.extend((0..20).map(|_| {
        w.make.order("acme-ps").spoiled("unmapped_event", "event_type", |e| e["event_type"] = "teleported".into())
    }));
    w.publish(events.clone());
    let copies = events[100..140].to_vec();
    w.settle(secs(90));
    w.publish(copies);
    w.settle(secs(90));

    let (whole, found) = reconcile(&worker, &["--from", "1h"]);
    assert_eq!(whole.code, Some(0), "{}", whole.stderr);
    let counts = ["produced", "distinct", "delivered", "duplicate", "dead_lettered", "open", "lost", "unknown"];
    assert_eq!(counts.map(|name| found[name].as_u64().unwrap()), [1000, 960, 920, 40, 40, 0, 0, 0], "{found}");
    assert_eq!((&found["balanced"], &found["missing"]), (&true.into(), &json!([])));
    assert_eq!(found["dead_letters"], json!({"rejected": 20, "unmapped_event": 20}));
    // Offsets of one partition, and a time without a record.
    let one = events[500].at.clone().or(w.events[500].at.clone()).unwrap();
    let (partition, offset) = (one.partition.to_string(), one.offset.to_string());
    let next = (one.offset + 1).to_string();
    let range = ["--topic", &one.topic, "--partition", &partition, "--from", &offset, "--to", &next];
    let (output, found) = reconcile(&worker, &range);
    assert_eq!((output.code, &found["produced"], &found["delivered"]), (Some(0), &1.into(), &1.into()), "{found}");
    let (output, found) = reconcile(&worker, &["--from", "2h", "--to", "1h"]);
    assert_eq!((output.code, &found["produced"]), (Some(0), &0.into()), "{}", output.stderr);
    assert_eq!(found["empty"]["topics"], json!([w.topic("conversions")]), "{found}");
    let newest = found["empty"]["newest_record_ms"].as_i64().unwrap();
    assert!((now_ms() - 600_000..=now_ms()).contains(&newest), "{found}");
    let text = worker.command(&["reconcile", "--from", "2h", "--to", "1h"]).stdout;
    assert!(text.contains("nothing was produced in this range: "), "{text}");
    let (output, _) = reconcile(&worker, &["--from", "2999-01-01T00:00:00Z"]);
    assert!(output.code == Some(2) && output.stderr.contains("--from: lies in the future"), "{}", output.stderr);
    let (output, _) = reconcile(&worker, &[&range[..6], &["--to", "999999999"]].concat());
    assert!(output.code == Some(2) && output.stderr.contains("lies behind it"), "{}", output.stderr);
    assert_eq!(reconcile(&worker, &["--from", "1h", "--topic", "nothing"]).0.code, Some(2));

    // The receipts topic is made again without one of its records.
    let topic = w.topic("receipts");
    let victim = w.events[333].clone();
    let kept: Vec<Record> = w.receipts().into_iter().filter(|receipt| receipt_origin(receipt) != victim.at).collect();
    assert_eq!(kept.len(), 999);
    w.set("kafka.receipts", w.topic("receipts-2"));
    w.admin.create_topic(&w.topic("receipts-2"), 3, 1, &[]);
    let publisher = Publisher::new(&w.bootstrap());
    for receipt in &kept {
        publisher.publish(&w.topic("receipts-2"), None, receipt.key.as_deref(), receipt.value.as_deref(), &[]);
    }
    publisher.flush();
    let other = w.worker();
    let (output, found) = reconcile(&other, &["--from", "1h"]);
    assert_eq!(output.code, Some(1));
    assert!(output.stderr.contains("missing is 1"), "{}", output.stderr);
    assert_eq!((&found["lost"], &found["balanced"], &found["delivered"]), (&1.into(), &false.into(), &919.into()));
    let missing = found["missing"].as_array().unwrap();
    let at = victim.at.clone().unwrap();
    let named = (&missing[0]["trans_id"], &missing[0]["topic"], &missing[0]["partition"], &missing[0]["offset"]);
    assert_eq!(missing.len(), 1);
    assert_eq!(
        named,
        (&victim.trans_id().into(), &at.topic.clone().into(), &at.partition.into(), &at.offset.into()),
        "{missing:?}"
    );
    assert_eq!(missing[0]["found"], "neither a receipt nor a dead letter");
    let text = other.command(&["reconcile", "--from", "1h"]).stdout;
    assert!(text.contains(victim.trans_id()) && text.contains(" NO "), "{text}");

    // Without receipts only the dead letters are known.
    w.set("kafka.receipts", "");
    let (output, found) = reconcile(&w.worker(), &["--from", "1h"]);
    assert_eq!((output.code, &found["unknown"], &found["dead_lettered"]), (Some(1), &960.into(), &40.into()));
    assert!(output.stderr.contains("kafka.receipts names no topic"), "{}", output.stderr);
    assert!(w.admin.topics().contains(&topic));
}

#[test]
fn what_waits_is_open_and_a_replayed_copy_counts_to_what_it_repeats() {
    let mut w = World::new("reconcile-open");
    let account = w.account("acme-ps", Platform::Qihoo360);
    w.account("acme-ms", Platform::Qihoo360);
    w.set("retry.tiers", vec!["25s"]);
    w.set("retry.inline.max_retries", 0);
    let mut worker = w.started();
    let (mut tried, mut parked) = (w.make.order("acme-ps"), w.make.order("acme-ms"));
    let (mut refused, mut refused_too) = (w.make.order("acme-ps"), w.make.order("acme-ps"));
    (tried.expect, parked.expect) = (Expect::Open, Expect::Open);
    refused.expect = Expect::Dead { reason: "rejected", field: "" };
    refused_too.expect = Expect::Dead { reason: "rejected", field: "" };
    account.rules(vec![
        Rule::all(Action::Status(500, None)).about([tried.ident()]),
        Rule::all(Action::Errno(3)).about([refused.ident()]).first(1),
        Rule::all(Action::Errno(3)).about([refused_too.ident()]).first(1),
    ]);
    worker.must(&["accounts", "pause", "acme-ms", "--reason", "tests"]);
    eventually(secs(10), "the lane is closed", || worker.lane_state("acme-ms") == "paused");
    w.publish(vec![tried, parked, refused.clone(), refused_too.clone(), w.make.order("acme-ps")]);
    w.settle(secs(60));
    eventually(secs(20), "both wait", || w.records("retry").len() + w.records("parked").len() >= 2);
    eventually(secs(10), "what was read is committed", || w.admin.at_end(&w.group(), &w.topic("conversions")));
    let (output, found) = reconcile(&worker, &["--from", "1h"]);
    let counts = ["produced", "delivered", "dead_lettered", "open", "lost", "replayed"];
    assert_eq!(counts.map(|name| found[name].as_u64().unwrap()), [5, 1, 2, 2, 0, 0], "{found}");
    assert!(output.code == Some(1) && output.stderr.contains("open is 2"), "{}", output.stderr);

    // A replay as the worker writes it: the event again, with the block of its dead letter.
    let publisher = Publisher::new(&w.bootstrap());
    let replay = |w: &World, event: &Event| {
        let at = w.events.iter().find(|other| other.trans_id() == event.trans_id()).and_then(|e| e.at.clone()).unwrap();
        let text = |name: &str, value: String| (name.as_bytes().to_vec(), Some(value.into_bytes()));
        let block = [
            text("pb-origin-topic", at.topic.clone()),
            text("pb-origin-partition", at.partition.to_string()),
            text("pb-origin-offset", at.offset.to_string()),
            text("pb-origin-timestamp", now_ms().to_string()),
            text("pb-first-seen", now_ms().to_string()),
            text("pb-replay-id", "r-1".into()),
            text("pb-replays", "1".into()),
        ];
        publisher.publish(&w.topic("conversions"), None, event.key.as_deref(), event.value().as_deref(), &block);
        publisher.flush();
    };
    replay(&w, &refused);
    eventually(secs(30), "the replayed event is delivered", || {
        reconcile(&worker, &["--from", "1h"]).1["delivered"] == 2
    });
    let (_, found) = reconcile(&worker, &["--from", "1h"]);
    assert_eq!(counts.map(|name| found[name].as_u64().unwrap()), [5, 2, 1, 2, 0, 1], "{found}");

    // What was not read yet is open: an event, and a dead letter whose replayed copy it is, in the range or behind it.
    worker.stop();
    let until = now_ms().to_string();
    let mut unread = w.make.order("acme-ps");
    unread.expect = Expect::Open;
    w.publish(vec![unread]);
    replay(&w, &refused_too);
    let (_, found) = reconcile(&worker, &["--from", "1h"]);
    assert_eq!(counts.map(|name| found[name].as_u64().unwrap()), [6, 2, 0, 4, 0, 2], "{found}");
    let (_, found) = reconcile(&worker, &["--from", "1h", "--to", &until]);
    assert_eq!(counts.map(|name| found[name].as_u64().unwrap()), [5, 2, 0, 3, 0, 1], "{found}");
    let other = w.started();
    eventually(secs(60), "the replayed copy is delivered", || reconcile(&other, &["--from", "1h"]).1["delivered"] == 4);
}

#[test]
fn over_http_a_worker_finds_what_the_command_finds() {
    let mut w = World::new("reconcile-http");
    let account = w.account("acme-ps", Platform::Qihoo360);
    let mut worker = w.started();
    let mut events: Vec<_> = (0..60).map(|_| w.make.order("acme-ps")).collect();
    for event in &mut events[..3] {
        event.expect = Expect::Dead { reason: "rejected", field: "" };
    }
    account.rules(vec![Rule::all(Action::Errno(3)).about(events[..3].iter().map(|event| event.ident()))]);
    w.publish(events.clone());
    w.settle(secs(90));
    w.publish(events[10..15].to_vec());
    w.settle(secs(90));
    let hour = json!({"from": "1h"});
    let found = over_http(&worker, &hour);
    assert_eq!(found, reconcile(&worker, &["--from", "1h"]).1);
    let counts = ["produced", "distinct", "delivered", "duplicate", "dead_lettered", "lost"];
    assert_eq!(counts.map(|name| found[name].as_u64().unwrap()), [65, 60, 57, 5, 3, 0], "{found}");
    assert_eq!(found["balanced"], true);
    let at = w.events[40].at.clone().unwrap();
    let one = json!({"topic": at.topic, "partition": at.partition, "from": at.offset, "to": at.offset + 1});
    assert_eq!(over_http(&worker, &one)["delivered"], 1);
    let (status, refused) = ask(&worker, "POST", HTTP, &json!({"topic": at.topic, "partition": 99}));
    assert_eq!((status, &refused["error"]["code"]), (400, &"bad_request".into()), "{refused}");
    for (range, field) in [
        (json!({"topic": at.topic, "partition": 99}), "partition"),
        (json!({"topic": "nothing", "from": "1h"}), "topic"),
        (json!({"topic": at.topic, "partition": at.partition, "to": 999_999_999}), "to"),
        (json!({"from": "2999-01-01T00:00:00Z"}), "from"),
    ] {
        let (status, refused) = ask(&worker, "POST", HTTP, &range);
        assert_eq!((status, &refused["error"]["field"]), (400, &field.into()), "{refused}");
    }

    // The receipts are written again without one of them, and a worker reads those.
    let victim = w.events[33].clone();
    let kept: Vec<Record> = w.receipts().into_iter().filter(|receipt| receipt_origin(receipt) != victim.at).collect();
    worker.stop();
    let topic = w.topic("receipts-2");
    w.admin.create_topic(&topic, 3, 1, &[]);
    let publisher = Publisher::new(&w.bootstrap());
    for receipt in &kept {
        publisher.publish(&topic, None, receipt.key.as_deref(), receipt.value.as_deref(), &[]);
    }
    publisher.flush();
    w.set("kafka.receipts", topic);
    let mut worker = w.started();
    let found = over_http(&worker, &hour);
    assert_eq!((&found["lost"], &found["balanced"], &found["delivered"]), (&1.into(), &false.into(), &56.into()));
    assert_eq!(found["missing"][0]["trans_id"], victim.trans_id(), "{found}");
    assert_eq!(found, reconcile(&worker, &["--from", "1h"]).1);

    // Without receipts only the dead letters tell an end.
    worker.stop();
    w.set("kafka.receipts", "");
    let worker = w.started();
    let found = over_http(&worker, &hour);
    assert_eq!((&found["unknown"], &found["dead_lettered"], &found["lost"]), (&62.into(), &3.into(), &0.into()));
    assert_eq!(found, reconcile(&worker, &["--from", "1h"]).1);
}

#[test]
fn over_http_one_reads_at_a_time_and_can_be_stopped() {
    let mut w = World::new("reconcile-stop");
    w.account("acme-ps", Platform::Qihoo360);
    let worker = w.started();
    w.publish(vec![w.make.order("acme-ps")]);
    w.settle(secs(60));
    // So much in the topic of the receipts that reading it takes seconds.
    let (topic, text) = (w.topic("receipts"), "x".repeat(20));
    let publisher = Publisher::new(&w.bootstrap());
    for _ in 0..300_000 {
        publisher.publish(&topic, None, None, Some(text.as_bytes()), &[]);
    }
    publisher.flush();
    let hour = json!({"from": "1h"});
    let (status, first) = ask(&worker, "POST", HTTP, &hour);
    assert_eq!((status, &first["state"]), (202, &"running".into()), "{first}");
    let id = first["id"].as_str().unwrap();
    let (status, second) = ask(&worker, "POST", HTTP, &hour);
    let said = second["error"]["message"].as_str().unwrap_or_default();
    assert!(status == 409 && said.contains(id), "{second}");
    let path = format!("{HTTP}/{id}");
    // The total grows as further topics begin.
    eventually(secs(60), "the receipts are being read", || {
        ask(&worker, "GET", &path, &Value::Null).1["total"].as_u64() > Some(1000)
    });
    let (status, stopped) = ask(&worker, "DELETE", &path, &Value::Null);
    assert_eq!((status, &stopped["ledger"]), (200, &Value::Null), "{stopped}");
    eventually(secs(120), "the reading has stopped", || {
        ask(&worker, "GET", &path, &Value::Null).1["state"] == "stopped"
    });
    let last = ask(&worker, "GET", &path, &Value::Null).1;
    assert!(last["scanned"].as_u64() < last["total"].as_u64(), "{last}");
    let found = over_http(&worker, &hour);
    assert_eq!((&found["produced"], &found["delivered"], &found["balanced"]), (&1.into(), &1.into(), &true.into()));
    assert_eq!(ask(&worker, "GET", &format!("{HTTP}/none"), &Value::Null).0, 404);
}

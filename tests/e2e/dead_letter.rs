//! Every reason of the closed list, each with the original bytes.

use crate::support::event::{Event, Expect, awkward_headers};
use crate::support::ledger::Check;
use crate::support::platform::{Action, Platform, Rule};
use crate::support::records::Record;
use crate::support::world::World;
use crate::support::{eventually, now_ms, secs};
use sha2::{Digest, Sha256};

#[test]
fn every_reason_ends_in_a_dead_letter_that_is_the_original_byte_for_byte() {
    let mut w = World::new("dead-letter");
    let search = w.account("acme-ps", Platform::Qihoo360);
    let strict = w.account("acme-strict", Platform::Qihoo360);
    w.set("accounts.acme-strict.on_ambiguous", "dead_letter");
    w.set("accounts.acme-strict.validate.max_event_age", "1h");
    w.set("accounts.acme-strict.retry.max_attempts", 4);
    let worker = w.started();
    let first = w.make.order("acme-ps");
    w.publish(vec![first.clone()]);
    w.settle(secs(60));

    let ps = || w.make.order("acme-ps");
    let dead = |mut e: Event, reason, field| {
        e.expect = Expect::Dead { reason, field };
        e
    };
    let refused = dead(ps(), "rejected", "");
    let exhausted = dead(w.make.order("acme-strict"), "attempts_exhausted", "");
    let unknown = dead(w.make.order("acme-strict"), "unknown_outcome", "");
    search.rules(vec![Rule::all(Action::Errno(3)).about([refused.ident()])]);
    strict.rules(vec![
        Rule::all(Action::Status(500, None)).about([exhausted.ident()]),
        Rule::all(Action::ResetAfter).about([unknown.ident()]),
    ]);
    let mut events = vec![
        Event::bytes(Some(b"hello"), "malformed", ""),
        Event::bytes(Some(b""), "malformed", ""),
        Event::bytes(None, "malformed", ""),
        ps().spoiled("malformed", "schema", |e| e["schema"] = "postback.event/2".into()),
        ps().spoiled("invalid", "trans_id", |e| e["trans_id"] = "a b".into()),
        ps().spoiled("invalid", "event_type", |e| drop(e.as_object_mut().unwrap().remove("event_type"))),
        ps().spoiled("invalid", "click.qhclickid", |e| e["click"] = serde_json::json!({})),
        ps().spoiled("invalid", "order.amount.minor", |e| e["order"]["amount"]["minor"] = "12".into()),
        ps().spoiled("invalid", "event_time_ms", |e| e["event_time_ms"] = (now_ms() + 3_600_000).into()),
        ps().spoiled("unmapped_event", "event_type", |e| e["event_type"] = "teleported".into()),
        ps().spoiled("unknown_account", "platform", |e| e["platform"] = "teleport".into()),
        ps().spoiled("unknown_account", "account", |e| e["account"] = "nobody".into()),
        first.spoiled("conflict", "", |e| e["order"]["amount"]["minor"] = 1.into()),
        w.make.order("acme-strict").spoiled("expired", "event_time_ms", |e| {
            e["event_time_ms"] = (now_ms() - 7_200_000).into();
        }),
        refused.clone(),
        exhausted.clone(),
        unknown.clone(),
    ];
    for event in &mut events {
        event.headers = awkward_headers();
    }
    events[1].key = None;
    events[2].key = Some(Vec::new());
    let mut header = awkward_headers();
    header.insert(1, (b"\xff\xfeA".to_vec(), Some(b"unreadable".to_vec())));
    events.push(dead(Event { ident: None, ..ps() }, "quarantined", "").with_headers(header));
    // The good events among them are delivered.
    let good = w.make.orders("acme-ps", 40);
    let wanted = events.len();
    w.publish(events.into_iter().chain(good).collect());
    w.settle(secs(90));
    let books = w.ledger(&Check::EXACT);
    assert_eq!((books.outcomes("dead_lettered"), books.outcomes("delivered")), (wanted, 41));
    w.counters(&worker, &books);

    let letter = |e: &Event| {
        let at = w.events.iter().find(|p| p.json == e.json).unwrap().at.clone();
        books.dead.iter().find(|d| d.origin() == at).unwrap()
    };
    assert_eq!(letter(&exhausted).header("pb-attempts").as_deref(), Some("4"));
    assert_eq!(letter(&exhausted).header("pb-last-status").as_deref(), Some("500"));
    assert_eq!(letter(&exhausted).header("pb-last-error").as_deref(), Some("retry"));
    assert_eq!(letter(&refused).header("pb-last-code").as_deref(), Some("3"));
    assert_eq!(letter(&refused).header("pb-attempts").as_deref(), Some("1"));
    assert_eq!(letter(&unknown).header("pb-last-error").as_deref(), Some("ambiguous"));
    for (name, value) in
        [("platform", "qihoo360"), ("account", "acme-ps"), ("event", "ORDER"), ("trans-id", refused.trans_id())]
    {
        assert_eq!(letter(&refused).header(&format!("pb-{name}")).as_deref(), Some(value));
    }
    let metrics = worker.metrics();
    for reason in [
        "malformed",
        "invalid",
        "unmapped_event",
        "unknown_account",
        "conflict",
        "rejected",
        "expired",
        "attempts_exhausted",
        "unknown_outcome",
        "quarantined",
    ] {
        let here = books.dead.iter().filter(|d| d.header("pb-reason").as_deref() == Some(reason)).count();
        assert!(here > 0, "no dead letter of reason {reason}");
        assert_eq!(metrics.total("dead_letters_total", &[("reason", reason)]), here as f64, "{reason}");
    }

    // The operator's commands say the same, and what to do.
    let listed = worker.must(&["dead-letters", "list", "--json"]);
    let listed: Vec<serde_json::Value> = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed.len(), wanted);
    for reason in
        listed.iter().map(|letter| letter["reason"].as_str().unwrap()).collect::<std::collections::HashSet<_>>()
    {
        let all = listed.iter().filter(|letter| letter["reason"] == reason).count();
        let dead = books.dead.iter().filter(|d| d.header("pb-reason").as_deref() == Some(reason)).count();
        assert_eq!(all, dead, "{reason}");
        let one = listed.iter().find(|letter| letter["reason"] == reason).unwrap();
        let shown = worker.must(&["dead-letters", "show", &format!("{}:{}", one["partition"], one["offset"])]);
        for part in ["what to do", "the request it would cause today", &format!("what {reason} means")] {
            assert!(shown.contains(part), "{part} is missing in:\n{shown}");
        }
    }
}

/// Letters that cannot be compressed.
fn noise(n: usize) -> Vec<u8> {
    let block = |i: usize| Sha256::digest(i.to_le_bytes()).iter().map(|b| b'0' + b % 64).collect::<Vec<u8>>();
    (0..n.div_ceil(32)).flat_map(block).take(n).collect()
}

#[test]
fn a_dead_letter_too_large_for_its_topic_keeps_everything_but_its_value_and_that_as_a_hash() {
    let mut w = World::new("dead-large");
    w.account("acme-ps", Platform::Qihoo360);
    w.admin.create_topic(&w.topic("dlt"), 1, 1, &[("max.message.bytes", "20000")]);
    let worker = w.started();
    let large = |n: usize| Event::bytes(Some(&noise(n)), "malformed", "").with_headers(awkward_headers());
    let mut events = w.make.orders("acme-ps", 5);
    events.extend([large(15_000), large(60_000), large(900_000)]);
    // Its headers are too large as well, and so is its key.
    let (mut headers, mut key) = (large(700), large(800));
    headers.headers.push((b"history".to_vec(), Some(noise(50_000))));
    key.headers.push((b"history".to_vec(), Some(noise(60_000))));
    key.key = Some(noise(40_000));
    // If compression makes it small enough, it stays whole.
    let soft = Event::bytes(Some("x".repeat(500_000).as_bytes()), "malformed", "").with_headers(awkward_headers());
    events.extend([headers, key, soft]);
    w.publish(events);
    w.settle(secs(60));
    let books = w.ledger(&Check::EXACT);
    w.counters(&worker, &books);
    let cut: Vec<String> = books.dead.iter().filter_map(|d| d.header("pb-truncated")).collect();
    let of = |what: &str| cut.iter().filter(|told| told.contains(what)).count();
    assert_eq!((cut.len(), of("headers="), of("history:60000 key=40000")), (4, 2, 1), "{cut:?}");
    for told in ["60000", "900000"] {
        assert!(cut.iter().any(|cut| cut == told), "no {told} in {cut:?}");
    }
    assert!(worker.log().contains("max.message.bytes"), "the log does not say what to do");
}

#[test]
fn a_copy_too_large_for_its_tier_or_parking_ends_and_its_lane_goes_on() {
    let mut w = World::new("tier-large");
    let account = w.account("acme-ps", Platform::Qihoo360);
    w.set("retry.inline.max_retries", 0);
    for part in ["retry.1s", "retry.2s", "parked.acme-ps"] {
        w.admin.create_topic(&w.topic(part), 1, 1, &[("max.message.bytes", "20000")]);
    }
    let worker = w.started();
    let with = |value: Vec<u8>, expect: Expect| {
        let event = w.make.order("acme-ps").with_headers(vec![(b"history".to_vec(), Some(value))]);
        Event { expect, ..event }
    };
    let lost = || Expect::Dead { reason: "attempts_exhausted", field: "" };
    // Two events of the same size. The one that can be compressed fits, the other fits nowhere.
    let (soft, hard) = (with(vec![b'x'; 300_000], Expect::Delivered), with(noise(300_000), lost()));
    let parked = with(noise(200_000), lost());
    account.rules(vec![Rule::all(Action::Status(503, None)).about([soft.ident(), hard.ident()]).first(1)]);
    w.publish(vec![soft.clone(), hard.clone()]);
    w.settle(secs(30));
    worker.must(&["accounts", "pause", "acme-ps", "--reason", "a test"]);
    eventually(secs(10), "the lane is paused", || worker.lane_state("acme-ps") == "paused");
    w.publish(vec![parked]);
    w.settle(secs(30));
    worker.must(&["accounts", "resume", "acme-ps", "--reason", "a test"]);
    let after = w.make.orders("acme-ps", 5);
    w.publish(after);
    w.settle(secs(30));
    let books = w.ledger(&Check::EXACT);
    w.counters(&worker, &books);
    assert_eq!((books.outcomes("delivered"), books.outcomes("dead_lettered")), (6, 2));
    for topic in ["retry.1s", "parked.acme-ps"] {
        let refusal = format!("{} refuses its copy by size", w.topic(topic));
        let told = |d: &&Record| d.header("pb-detail").is_some_and(|detail| detail.contains(&refusal));
        let letter = books.dead.iter().find(told).unwrap_or_else(|| panic!("no dead letter says: {refusal}"));
        assert_eq!(letter.header("pb-truncated"), None, "the dead letters took it whole");
    }
    for said in ["a topic refuses a copy by size", "max.message.bytes"] {
        assert!(worker.log().contains(said), "the log does not say {said}");
    }
}

//! Every reason of the closed list, each with the original bytes.

use crate::support::event::{Event, Expect, awkward_headers};
use crate::support::ledger::Check;
use crate::support::platform::{Action, Rule};
use crate::support::strict::Platform;
use crate::support::world::World;
use crate::support::{now_ms, secs};

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
    // Good ones among them pass.
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

    // What an operator reads says the same, and what to do.
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

#[test]
fn a_dead_letter_too_large_for_its_topic_keeps_everything_but_its_value_and_that_as_a_hash() {
    let mut w = World::new("dead-large");
    w.account("acme-ps", Platform::Qihoo360);
    w.admin.create_topic(&w.topic("dlt"), 1, 1, &[("max.message.bytes", "20000")]);
    let worker = w.started();
    let large = |n: usize| {
        let event = Event::bytes(Some("x".repeat(n).as_bytes()), "malformed", "");
        event.with_headers(awkward_headers())
    };
    let mut events = w.make.orders("acme-ps", 5);
    events.extend([large(15_000), large(60_000), large(900_000)]);
    w.publish(events);
    w.settle(secs(60));
    let books = w.ledger(&Check::EXACT);
    w.counters(&worker, &books);
    let mut cut: Vec<_> = books.dead.iter().filter_map(|d| d.number("pb-truncated")).collect();
    cut.sort_unstable();
    assert_eq!(cut, [60_000, 900_000]);
    assert!(worker.log().contains("max.message.bytes"), "the log does not say what to do");
}

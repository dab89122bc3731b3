//! Five hundred inputs that try to break the worker.

use crate::support::event::{Event, Expect, Generator};
use crate::support::ledger::Check;
use crate::support::platform::Platform;
use crate::support::records::Headers;
use crate::support::secs;
use crate::support::world::World;

fn nested(depth: usize, open: &str, close: &str) -> String {
    open.repeat(depth) + &close.repeat(depth)
}

/// A valid event with `,"x":…` at its end.
fn with_member(make: &Generator, member: &str) -> Vec<u8> {
    let mut text = serde_json::to_string(&make.order("acme-ps").json).unwrap();
    text.pop();
    format!("{text},{member}}}").into_bytes()
}

fn malformed(value: impl Into<Vec<u8>>) -> Event {
    Event::bytes(Some(&value.into()), "malformed", "")
}

/// Inputs that no event can be built from.
fn broken_bytes(make: &Generator) -> Vec<Event> {
    let mut all = vec![
        Event::bytes(None, "malformed", ""),
        malformed(""),
        malformed("null"),
        malformed("42"),
        malformed("[1,2]"),
        malformed("{} {}"),
        malformed("\u{feff}"),
        malformed((0..=255).collect::<Vec<u8>>()),
        malformed(nested(10_000, "[", "]")),
        malformed(nested(10_000, r#"{"a":"#, "}")),
        malformed("[".repeat(1_000_000)),
        malformed(r#"{"a":"#.repeat(100_000)),
        malformed(with_member(make, &format!(r#""x":{}"#, nested(10_000, "[", "]")))),
        malformed(with_member(make, &format!(r#""x":{}"#, nested(64, "[", "]")))),
        malformed(with_member(make, r#""trans_id":"another""#)),
        malformed(with_member(make, r#""tr\u0061ns_id":"another""#)),
        malformed(with_member(make, r#""x":{"a":1,"a":2}"#)),
        malformed(with_member(make, r#""x":NaN"#)),
        malformed(with_member(make, r#""x":"\ud800""#)),
        malformed(with_member(make, &format!(r#""x":"{}""#, "y".repeat(300 << 10)))),
        malformed(with_member(make, "\"x\":\"\u{0}\"")),
    ];
    // Cut anywhere, with a byte anywhere that is not UTF-8, with anything appended.
    for i in 0..60 {
        let whole = make.order("acme-ps").value().unwrap();
        let at = 1 + (whole.len() - 2) * i / 60;
        all.push(malformed(&whole[..at]));
        let mut odd = whole.clone();
        odd.insert(at, 0xff);
        all.push(malformed(odd));
        all.push(malformed([&whole[..], &[b'}', b'x', 0, b','][i % 4..i % 4 + 1]].concat()));
    }
    for n in 0..80 {
        let bytes: Vec<u8> = (0..n * 7 + 1).map(|_| rand::random()).collect();
        // Random bytes are not an event, except that very short ones might be JSON by chance.
        all.push(malformed([&b"\x80"[..], &bytes].concat()));
    }
    all
}

/// Events with one member of a wrong kind.
fn broken_members(make: &Generator) -> Vec<Event> {
    let values = [
        serde_json::json!([]),
        serde_json::json!({}),
        serde_json::json!(1.5),
        serde_json::json!(true),
        serde_json::json!(-1),
        serde_json::json!("\u{0}\r\n"),
        serde_json::json!("x".repeat(5000)),
    ];
    let mut all = Vec::new();
    for pointer in [
        "/trans_id",
        "/platform",
        "/account",
        "/event_type",
        "/event_time_ms",
        "/kind",
        "/click/qhclickid",
        "/order/amount/minor",
    ] {
        for value in &values {
            let spoil = |e: &mut serde_json::Value| *e.pointer_mut(pointer).unwrap() = value.clone();
            all.push(make.order("acme-ps").spoiled("", "", spoil));
        }
    }
    for pointer in ["/click", "/order", "/user"] {
        for value in &values[2..] {
            let spoil = |e: &mut serde_json::Value| *e.pointer_mut(pointer).unwrap() = value.clone();
            all.push(make.order("acme-ps").spoiled("", "", spoil));
        }
    }
    all
}

/// Events whose headers cannot be read, and events whose headers only look bad.
fn broken_headers(make: &Generator) -> Vec<Event> {
    let mut all = Vec::new();
    for i in 0_u8..60 {
        let name = [&[0xff, 0xfe, i][..], b"A"].concat();
        let mut event = make.order("acme-ps");
        (event.ident, event.expect) = (None, Expect::Dead { reason: "quarantined", field: "" });
        all.push(event.with_headers(vec![(name, Some(vec![i]))]));
    }
    for i in 0_usize..40 {
        let forged: Headers = [
            ("pb-origin-topic", "elsewhere"),
            ("pb-origin-partition", "-1"),
            ("pb-origin-offset", "99999999999999999999"),
            ("pb-attempts", "18446744073709551616"),
            ("pb-due", "never"),
            ("pb-resends", "-1"),
            ("pb-last-error", "ambiguous"),
            ("pb-replay-force", ""),
            ("pb-truncated", "1"),
        ]
        .into_iter()
        .skip(i % 5)
        .map(|(n, v)| (n.as_bytes().to_vec(), Some(v.as_bytes().to_vec())))
        .collect();
        let many = (0..i * 10).map(|n| (b"h".to_vec(), (n % 2 == 0).then(|| vec![0xff; n])));
        // Without the mark of a replay these headers are the producer's own and have no meaning: the event is
        // delivered.
        all.push(make.order("acme-ps").with_headers(forged.into_iter().chain(many).collect()));
    }
    all
}

#[test]
fn five_hundred_hostile_inputs_each_have_their_end_and_stop_nothing() {
    let mut w = World::new("nasty");
    w.account("acme-ps", Platform::Qihoo360);
    let mut worker = w.started();
    let mut hostile = broken_bytes(&w.make);
    hostile.extend(broken_members(&w.make));
    hostile.extend(broken_headers(&w.make));
    while hostile.len() < 500 {
        hostile.push(malformed(format!("{}\u{1b}[31m{}", hostile.len(), "\r\n".repeat(hostile.len() % 9))));
    }
    for (i, event) in hostile.iter_mut().enumerate() {
        match i % 7 {
            0 => event.key = None,
            1 => event.key = Some(Vec::new()),
            2 => event.key = Some(vec![0xff, 0, 10]),
            _ => {}
        }
    }
    let good = w.make.orders("acme-ps", 250);
    let mut mixed = Vec::new();
    let mut good = good.into_iter();
    for pair in hostile.chunks(2) {
        mixed.extend_from_slice(pair);
        mixed.extend(good.next());
    }
    w.publish(mixed);
    w.settle(secs(120));
    let books = w.ledger(&Check::EXACT);
    w.counters(&worker, &books);
    assert!(worker.alive() && worker.launches() == 1);
    assert_eq!(books.outcomes("delivered"), 250 + 40);
    assert!(!worker.log().contains("panicked"), "a panic in the log");
    assert!(worker.memory_mib() < 500, "{} MiB", worker.memory_mib());
}

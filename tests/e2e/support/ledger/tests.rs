//! The ledger itself is tested by planting what it must find.

use super::*;
use crate::support::event::Generator;
use crate::support::now_ms;

/// Books of one conversion that was delivered once, one that was opted out and one dead letter: all in order.
fn books() -> Books {
    let make = Generator::default();
    let good = make.order("acme-ps");
    let mut quiet = make.order("acme-ps");
    quiet.expect = Expect::Suppressed;
    let bad = make.order("acme-ps").spoiled("invalid", "trans_id", |e| e["trans_id"] = "a b".into());
    let mut books = Books {
        events: Vec::new(),
        requests: Vec::new(),
        receipts: Vec::new(),
        dead: Vec::new(),
        sources: HashMap::new(),
    };
    for (offset, (mut event, outcome)) in
        [(good, "delivered"), (quiet, "suppressed"), (bad, "dead_lettered")].into_iter().enumerate()
    {
        let at = Origin { topic: "in".into(), partition: 0, offset: offset as i64 };
        event.at = Some(at.clone());
        let source = Record {
            topic: "in".into(),
            partition: 0,
            offset: offset as i64,
            timestamp: 1000,
            key: event.key.clone(),
            value: event.value(),
            headers: vec![(b"tag".to_vec(), None), (b"tag".to_vec(), Some(b"2".to_vec()))],
        };
        if outcome == "delivered" {
            books.requests.push(request(&event));
        }
        if outcome == "dead_lettered" {
            books.dead.push(letter(&source));
        }
        books.receipts.push(receipt(&event, outcome, 0));
        books.sources.insert(at, source);
        books.events.push(event);
    }
    books
}

fn request(event: &Event) -> Request {
    Request { ident: event.ident.clone(), ..Request::taken(&event.account, "") }
}

fn receipt(event: &Event, outcome: &str, resends: u64) -> Record {
    let at = event.at.as_ref().unwrap();
    let reason = (outcome == "dead_lettered").then_some("invalid");
    let json = serde_json::json!({
        "schema": "postback.receipt/1", "trans_id": event.trans_id(), "platform": "qihoo360", "account": event.account,
        "event": "ORDER", "outcome": outcome, "reason": reason, "attempts": u64::from(outcome == "delivered"),
        "resends": resends, "platform_id": null, "first_seen_ms": 1, "finished_at_ms": 2,
        "origin": {"topic": at.topic, "partition": at.partition, "offset": at.offset},
    });
    let key = Some(event.trans_id().as_bytes().to_vec());
    let value = Some(json.to_string().into_bytes());
    Record { topic: "receipts".into(), partition: 0, offset: 0, timestamp: 0, key, value, headers: Vec::new() }
}

fn letter(source: &Record) -> Record {
    let mut letter = Record { topic: "dlt".into(), offset: 0, ..source.clone() };
    let own = [
        ("pb-origin-topic", "in".to_owned()),
        ("pb-origin-partition", "0".to_owned()),
        ("pb-origin-offset", source.offset.to_string()),
        ("pb-origin-timestamp", "1000".to_owned()),
        ("pb-first-seen", now_ms().to_string()),
        ("pb-attempts", "0".to_owned()),
        ("pb-reason", "invalid".to_owned()),
        ("pb-field", "trans_id".to_owned()),
        ("pb-failed-at", now_ms().to_string()),
        ("pb-worker", "1".to_owned()),
    ];
    letter.headers.extend(own.map(|(n, v)| (n.as_bytes().to_vec(), Some(v.into_bytes()))));
    letter
}

#[track_caller]
fn finds(plant: impl FnOnce(&mut Books), check: Check, what: &str) {
    let mut books = books();
    plant(&mut books);
    let problems = books.problems(&check);
    assert!(problems.iter().any(|p| p.contains(what)), "not found: {what}; found: {problems:?}");
}

const PLAIN: Check = Check::EXACT;

#[test]
fn books_in_order_have_no_problem() {
    assert_eq!(books().problems(&Check::EXACT), Vec::<String>::new());
    assert_eq!(books().problems(&Check::DISTURBED), Vec::<String>::new());
}

#[test]
fn a_loss_is_found() {
    finds(|b| drop(b.receipts.remove(0)), PLAIN, "lost: no receipt");
    finds(|b| b.requests.clear(), PLAIN, "lost: the platform never took it");
    finds(|b| b.dead.clear(), PLAIN, "no dead letter");
    finds(|b| b.requests[0].executed = false, Check::DISTURBED, "lost: the platform never took it");
}

#[test]
fn a_copy_that_nobody_declared_is_found() {
    let twice = |b: &mut Books| b.requests.push(request(&b.events[0].clone()));
    finds(twice, PLAIN, "2 copies at the platform, 0 re-sends declared");
    finds(twice, Check::DISTURBED, "2 copies at the platform, 0 re-sends declared");
    let mut declared = books();
    twice(&mut declared);
    declared.receipts[0] = receipt(&declared.events[0], "delivered", 1);
    assert_eq!(declared.problems(&PLAIN), Vec::<String>::new());
    finds(|b| b.receipts[0] = receipt(&b.events[0], "delivered", 1), PLAIN, "exactly 2 expected");
}

#[test]
fn a_second_end_is_found() {
    let again = |b: &mut Books| b.receipts.push(receipt(&b.events[0], "duplicate", 0));
    finds(again, PLAIN, "more than one receipt in an undisturbed run");
    let mut disturbed = books();
    again(&mut disturbed);
    assert_eq!(disturbed.problems(&Check::DISTURBED), Vec::<String>::new());
    finds(|b| b.receipts.push(receipt(&b.events[0], "delivered", 0)), Check::DISTURBED, "more than one end");
    finds(|b| b.receipts.push(receipt(&b.events[0], "dead_lettered", 0)), Check::DISTURBED, "more than one end");
}

#[test]
fn a_dead_letter_that_is_not_the_original_is_found() {
    finds(|b| b.dead[0].value = Some(b"{}".to_vec()), PLAIN, "the value differs");
    finds(|b| b.dead[0].key = None, PLAIN, "the key differs");
    finds(|b| b.dead[0].headers[0].1 = Some(Vec::new()), PLAIN, "the producer's headers differ");
    finds(|b| drop(b.dead[0].headers.remove(1)), PLAIN, "the producer's headers differ");
    finds(|b| b.dead[0].headers.push((b"pb-reason".to_vec(), Some(b"x".to_vec()))), PLAIN, "not in order");
    finds(|b| b.dead[0].headers[9].1 = Some(b"order".to_vec()), PLAIN, "expected trans_id");
}

#[test]
fn what_nobody_published_and_what_opted_out_is_found_at_the_platform() {
    finds(|b| b.requests[0].ident = Some("ORDER:other".into()), PLAIN, "sent, and never published");
    finds(|b| b.requests.push(request(&b.events[1].clone())), PLAIN, "opted out and sent");
    finds(|b| b.requests[0].problem = Some("App-Sign".into()), PLAIN, "bad request");
    finds(|b| b.receipts[0] = receipt(&b.events[0], "dead_lettered", 0), PLAIN, "ended as dead_lettered");
}

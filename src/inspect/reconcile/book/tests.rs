use serde_json::json;

use super::*;
use crate::error::Reason;
use crate::kafka::record::Header;

fn span(partition: i32, from: i64, end: i64) -> Span {
    Span { topic: "conversions".into(), partition, from, end }
}

/// A book of the offsets 0 to 9, whose group has committed 8.
fn ten(has_receipts: bool) -> Book {
    let committed = BTreeMap::from([(("conversions".to_owned(), 0), 8)]);
    let mut book = Book::new(&[span(0, 0, 10)], &committed, has_receipts);
    (0..10).for_each(|offset| book.input(&record(offset, &format!("t-{offset}"), &[])));
    book
}

fn record(offset: i64, trans_id: &str, headers: &[(&str, &str)]) -> Record {
    let value = json!({"trans_id": trans_id, "platform": "qihoo360", "account": "acme-ps", "event_type": "order"});
    Record {
        topic: "conversions".into(),
        partition: 0,
        offset,
        timestamp_ms: Some(1_000 + offset),
        key: None,
        value: Some(value.to_string().into()),
        headers: headers.iter().map(|(name, value)| Header::text(name, *value)).collect(),
        unreadable_headers: 0,
    }
}

fn copy_of(offset: &str) -> [(&str, &str); 3] {
    [("pb-origin-topic", "conversions"), ("pb-origin-partition", "0"), ("pb-origin-offset", offset)]
}

fn delivered(offset: i64) -> Told {
    receipt(offset, Outcome::Delivered)
}

fn receipt(offset: i64, outcome: Outcome) -> Told {
    Told::Receipt(ReceiptRecord { topic: "conversions".into(), place: (0, offset), outcome, resends: 0, account: None })
}

fn letter(offset: i64, reason: Reason, replays: i64) -> Told {
    Told::DeadLetter(DeadLetterRecord { topic: "conversions".into(), place: (0, offset), reason, replays })
}

const NO_TIME: Written = Written { partition: 0, offset: 0, at_ms: None };

/// Written at this time, in a partition of its own.
fn at(at_ms: i64) -> Written {
    Written { partition: at_ms as i32, offset: 0, at_ms: Some(at_ms) }
}

fn places(book: &Book) -> Vec<(i64, &'static str)> {
    book.missing(100).into_values().flatten().map(|((_, offset), found)| (offset, found)).collect()
}

#[test]
fn what_was_not_committed_or_waits_is_open_and_only_the_rest_is_missing() {
    let mut book = ten(true);
    book.close_input();
    (0..6).for_each(|offset| book.end(delivered(offset), at(5_000)));
    book.waiting(&record(77, "t-6", &copy_of("6")));
    let (ledger, unknown, replayed) = book.ledger();
    assert_eq!((ledger.produced, ledger.distinct, ledger.delivered), (10, 10, 6));
    assert_eq!((ledger.open, ledger.lost, unknown, replayed), (3, 1, 0, 0), "6 waits, 8 and 9 are not committed");
    assert_eq!((book.lost(), places(&book)), (1, vec![(7, "neither a receipt nor a dead letter")]));
    assert!(!ledger.balanced && ledger.platform_accepted.is_none());
    assert_eq!(ledger.seconds, 4.0);
    book.end(delivered(7), at(5_000));
    (8..10).for_each(|offset| book.end(delivered(offset), at(5_000)));
    book.end(delivered(6), at(5_000));
    assert!(book.ledger().0.balanced, "an end counts although the record waits still");
}

#[test]
fn a_replayed_copy_is_no_event_and_its_end_is_that_of_its_origin() {
    let committed = BTreeMap::from([(("conversions".to_owned(), 0), 10)]);
    let mut book = Book::new(&[span(0, 0, 2)], &committed, true);
    book.input(&record(0, "t-0", &[]));
    let marks = [&copy_of("0")[..], &[("pb-replay-id", "r-1"), ("pb-replays", "1")]].concat();
    book.input(&record(1, "t-0", &marks));
    book.close_input();
    book.end(receipt(0, Outcome::DeadLettered), at(2_000));
    book.end(letter(0, Reason::Rejected, 0), at(2_000));
    let (ledger, _, replayed) = book.ledger();
    assert_eq!((ledger.produced, ledger.dead_lettered, replayed, ledger.balanced), (1, 1, 1, true));
    book.end(delivered(0), at(3_000));
    let (ledger, ..) = book.ledger();
    assert_eq!((ledger.produced, ledger.dead_lettered, ledger.delivered, ledger.balanced), (1, 0, 1, true));
    assert!(ledger.dead_letters.is_empty());
}

#[test]
fn a_dead_letter_whose_replayed_copy_is_unread_or_waits_is_open_until_the_copy_ends() {
    let committed = BTreeMap::from([(("conversions".to_owned(), 0), 10)]);
    let mut book = Book::new(&[span(0, 0, 5)], &committed, true);
    (0..5).for_each(|offset| book.input(&record(offset, &format!("t-{offset}"), &[])));
    book.close_input();
    for offset in 0..5 {
        book.end(receipt(offset, Outcome::DeadLettered), at(2_000));
        book.end(letter(offset, Reason::Expired, i64::from(offset == 3)), at(2_000));
    }
    assert!(book.may_be_replayed());
    let copy = |of: &str, at_ms: i64, is_replay: bool| {
        let marks: &[_] = if is_replay { &[("pb-replay-id", "r-1"), ("pb-replays", "1")] } else { &[] };
        let copy = record(30, "t", &[&copy_of(of)[..], marks].concat());
        Record { timestamp_ms: Some(at_ms), ..copy }
    };
    // The clock of the worker of the dead letter was ahead.
    book.unread(&copy("0", 1_900, true));
    book.waiting(&copy("1", 3_000, true));
    book.unread(&copy("2", 3_000, true));
    book.end(delivered(2), at(4_000));
    // The copy ended as a dead letter again, and its position is not committed yet.
    book.unread(&copy("3", 1_500, true));
    // A producer that uses our names, and a record of another range.
    book.unread(&copy("4", 3_000, false));
    book.unread(&copy("99", 3_000, true));
    book.close_ends();
    let (ledger, ..) = book.ledger();
    let counts = (ledger.open, ledger.lost, ledger.delivered, ledger.dead_lettered);
    assert_eq!((counts, ledger.balanced), ((2, 0, 1, 2), false));
    assert_eq!((ledger.dead_letters, places(&book)), (BTreeMap::from([("expired", 2)]), vec![]));
}

#[test]
fn a_producer_that_uses_our_names_publishes_an_event() {
    let mut book = Book::new(&[span(0, 0, 1)], &BTreeMap::new(), true);
    book.input(&record(0, "t-0", &copy_of("5")));
    book.close_input();
    assert_eq!((book.ledger().0.produced, book.ledger().2), (1, 0));
}

#[test]
fn without_receipts_only_dead_letters_are_known() {
    let mut book = ten(false);
    book.close_input();
    book.end(letter(3, Reason::Invalid, 0), at(2_000));
    let (ledger, unknown, _) = book.ledger();
    assert_eq!((ledger.dead_lettered, ledger.open, ledger.lost, unknown), (1, 2, 0, 7));
    assert_eq!((ledger.balanced, book.lost(), places(&book).len()), (false, 0, 0));
}

#[test]
fn half_an_end_is_missing_and_says_which_half() {
    let mut book = ten(true);
    book.close_input();
    (2..10).for_each(|offset| book.end(delivered(offset), NO_TIME));
    book.end(receipt(0, Outcome::DeadLettered), NO_TIME);
    book.end(letter(1, Reason::Invalid, 0), NO_TIME);
    let wanted = [(0, "a receipt of a dead letter, but no dead letter"), (1, "a dead letter, but no receipt")];
    assert_eq!(places(&book), wanted);
}

#[test]
fn copies_of_an_event_are_one_key_and_offsets_without_a_record_are_none() {
    let committed = BTreeMap::from([(("conversions".to_owned(), 0), 9)]);
    let mut book = Book::new(&[span(0, 0, 6)], &committed, true);
    for (offset, trans_id) in [(0, "t-0"), (1, "t-0"), (3, "t-3")] {
        book.input(&record(offset, trans_id, &[]));
    }
    book.input(&Record { value: Some("hello".into()), ..record(4, "", &[]) });
    book.input(&Record { value: Some("hello".into()), ..record(5, "", &[]) });
    book.close_input();
    let (ledger, ..) = book.ledger();
    assert_eq!((ledger.produced, ledger.distinct), (5, 4), "offset 2 is a marker of a transaction");
}

#[test]
fn a_call_that_was_answered_needs_its_result() {
    let committed = BTreeMap::from([(("conversions".to_owned(), 0), 9)]);
    let mut book = Book::new(&[span(0, 0, 1)], &committed, true);
    let value = json!({"trans_id": "t-0", "platform": "kdniao", "account": "acme-kd", "kind": "call"});
    book.input(&Record { value: Some(value.to_string().into()), ..record(0, "", &[]) });
    book.close_input();
    book.end(delivered(0), NO_TIME);
    assert_eq!((book.ledger().0.calls, book.ledger().0.results, book.ledger().0.balanced), (1, 0, false));
    book.end(Told::Result("conversions".into(), (0, 0)), NO_TIME);
    assert!(book.ledger().0.balanced);
}

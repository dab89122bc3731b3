use serde_json::Value;

use super::dead_letter::FIELDS;
use super::*;
use crate::error::Reason;
use crate::kafka::record::{Header, Record};

/// A dead letter with these headers. The names stand without `pb-`.
pub(crate) fn letter(partition: i32, offset: i64, headers: &[(&str, &str)]) -> DeadLetter {
    DeadLetter::read(&record(partition, offset, headers))
}

pub(crate) fn record(partition: i32, offset: i64, headers: &[(&str, &str)]) -> Record {
    let mut all = vec![Header::text("pb-reason", "a producer's own"), Header::text("pb-origin-topic", "conversions")];
    all.push(Header::text("pb-origin-partition", "0"));
    if !headers.iter().any(|(name, _)| *name == "origin-offset") {
        all.push(Header::text("pb-origin-offset", offset.to_string()));
    }
    all.extend(headers.iter().map(|(name, value)| Header::text(&format!("pb-{name}"), *value)));
    Record {
        topic: "dlt".into(),
        partition,
        offset,
        timestamp_ms: Some(1),
        key: None,
        value: None,
        headers: all,
        unreadable_headers: 0,
    }
}

#[test]
fn the_object_has_every_header_and_numbers_are_numbers() {
    let json = letter(
        2,
        7,
        &[("reason", "invalid"), ("attempts", "4"), ("detail", "tel 13812345678"), ("replay-force", "true")],
    )
    .json();
    assert_eq!(json["partition"], 2);
    assert_eq!(json["offset"], 7);
    assert_eq!(json["attempts"], 4);
    assert_eq!(json["reason"], "invalid");
    assert_eq!(json["detail"], "tel 138****5678");
    assert_eq!(json["replay_force"], true);
    assert_eq!(json["last_status"], Value::Null);
    assert_eq!(json.len(), 2 + FIELDS.len());
}

#[test]
fn headers_that_a_worker_writes_are_all_known() {
    use crate::envelope::{Copy, Cut, DeadLetterCause, Envelope, LastAttempt, Named, Replay, Source};
    let (mut envelope, _) = Envelope::read(&record(0, 1, &[]), Source::Owned, 5);
    envelope.first_attempt_ms = Some(3);
    envelope.last = Some(LastAttempt { class: "retry".into(), code: "3".into(), status: Some(500) });
    envelope.replay = Some(Replay { id: "r".into(), replays: 1, force: true });
    let text = || Some("x".to_owned());
    let named = Named { platform: text(), account: text(), trans_id: text(), event: text() };
    let cause = DeadLetterCause {
        reason: "invalid",
        field: "f".into(),
        detail: "d".into(),
        failed_at_ms: 9,
        worker: "w".into(),
        truncated: Some(Cut { value: 1, ..Cut::default() }),
    };
    let written: Vec<String> =
        envelope.write(Copy::Dead(&named, &cause)).into_iter().map(|header| header.name.to_string()).collect();
    let known: Vec<String> = FIELDS.iter().map(|(name, _)| format!("pb-{name}")).collect();
    assert_eq!(written, known);
}

#[test]
fn the_newest_of_an_origin_counts_and_hides_the_older_ones_reason() {
    let of = |offset, origin, reason, at: &str| {
        letter(0, offset, &[("origin-offset", origin), ("reason", reason), ("failed-at", at)])
    };
    let letters = [of(1, "1", "invalid", "10"), of(2, "1", "rejected", "20"), of(3, "2", "invalid", "15")];
    let found = |filter: Filter, reversed: bool| {
        let mut gathering = LatestPerOrigin::new(filter);
        let mut letters = letters.to_vec();
        if reversed {
            letters.reverse();
        }
        letters.into_iter().for_each(|letter| gathering.add(letter));
        gathering.finish().iter().map(|letter| letter.offset).collect::<Vec<_>>()
    };
    let invalid = Filter { reason: Some(Reason::Invalid), ..Filter::default() };
    for reversed in [false, true] {
        assert_eq!(found(Filter::default(), reversed), [2, 3]);
        assert_eq!(found(invalid.clone(), reversed), [3]);
        assert_eq!(found(Filter { limit: Some(1), ..Filter::default() }, reversed), [2]);
    }
}

#[test]
fn the_last_one_of_a_partition_is_the_newest_whatever_its_clock_said() {
    let of = |partition, offset, at, replays| {
        letter(partition, offset, &[("origin-offset", "1"), ("failed-at", at), ("replays", replays)])
    };
    let newest = |letters: &[DeadLetter]| {
        let found = [letters.to_vec(), letters.iter().rev().cloned().collect()].map(|letters: Vec<_>| {
            let mut gathering = LatestPerOrigin::new(Filter::default());
            letters.into_iter().for_each(|letter| gathering.add(letter));
            gathering.finish().iter().map(|letter| (letter.partition, letter.offset)).collect::<Vec<_>>()
        });
        assert_eq!(found[0], found[1], "in whatever order they come");
        found[0].clone()
    };
    assert_eq!(newest(&[of(0, 1, "20", "0"), of(0, 2, "10", "1")]), [(0, 2)], "its worker's clock is behind");
    assert_eq!(newest(&[of(0, 9, "20", "0"), of(1, 2, "10", "1")]), [(1, 2)], "of two partitions: replayed more often");
    assert_eq!(newest(&[of(0, 9, "20", "1"), of(1, 2, "30", "1")]), [(1, 2)], "replayed equally often: the later one");
    assert_eq!(newest(&[of(0, 1, "40", "2"), of(0, 2, "10", "0"), of(1, 1, "30", "1")]), [(1, 1)]);
}

#[test]
fn an_event_of_an_input_topic_that_was_made_again_hides_none_of_the_earlier_one() {
    let of = |offset, at| letter(0, offset, &[("origin-offset", "1"), ("origin-timestamp", at), ("failed-at", at)]);
    let mut gathering = LatestPerOrigin::new(Filter::default());
    [of(1, "10"), of(2, "10"), of(3, "90")].into_iter().for_each(|letter| gathering.add(letter));
    assert_eq!(gathering.finish().iter().map(|letter| letter.offset).collect::<Vec<_>>(), [3, 2]);
}

#[test]
fn a_record_that_no_worker_wrote_is_a_letter_without_headers() {
    let mut foreign = record(0, 1, &[]);
    foreign.headers.truncate(1);
    let letter = DeadLetter::read(&foreign);
    assert_eq!((letter.reason(), letter.text("reason"), letter.failed_at_ms()), (None, None, 1));
}

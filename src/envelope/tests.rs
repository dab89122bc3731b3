use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::kafka::record::{Header, Record};

const NOW: i64 = 1_780_000_000_000;

fn record(headers: Vec<Header>) -> Record {
    Record {
        topic: "postback.retry.5s".into(),
        partition: 2,
        offset: 77,
        timestamp_ms: Some(NOW - 5),
        key: None,
        value: Some(Bytes::from_static(b"{}")),
        headers,
        unreadable_headers: 0,
    }
}

fn envelope() -> Envelope {
    Envelope {
        origin: Origin { topic: "conversions".into(), partition: 3, offset: 12345, timestamp_ms: NOW - 9_000 },
        first_seen_ms: NOW - 8_000,
        first_attempt_ms: Some(NOW - 7_000),
        attempts: 4,
        resends: 1,
        pass: 2,
        due_ms: Some(NOW + 5_000),
        retry_since_ms: Some(NOW - 6_000),
        page: 3,
        alternate: 1,
        parked_at_ms: Some(NOW - 5_000),
        last: Some(LastAttempt { class: "retry".into(), code: "-9".into(), status: Some(503) }),
        replay: Some(Replay { id: "r-1".into(), replays: 1, force: true }),
    }
}

fn named() -> Named {
    Named {
        platform: Some("qihoo360".into()),
        account: Some("acme-ps".into()),
        trans_id: Some("t-1".into()),
        event: None,
    }
}

fn cause(detail: &str) -> DeadLetterCause {
    DeadLetterCause {
        reason: "rejected",
        field: "order.amount".into(),
        detail: detail.into(),
        failed_at_ms: NOW,
        worker: "0.1.0".into(),
        truncated: None,
    }
}

fn names(headers: &[Header]) -> Vec<&str> {
    headers.iter().map(|h| &*h.name).collect()
}

fn value<'a>(headers: &'a [Header], name: &str) -> Option<&'a str> {
    let header = headers.iter().find(|h| &*h.name == name)?;
    Some(std::str::from_utf8(header.value.as_deref()?).unwrap())
}

fn bytes(headers: &[Header]) -> usize {
    headers.iter().map(|h| h.name.len() + h.value.as_ref().map_or(0, Bytes::len)).sum()
}

#[test]
fn each_copy_carries_the_headers_of_the_contract() {
    let common = ["pb-origin-topic", "pb-origin-partition", "pb-origin-offset", "pb-origin-timestamp"];
    let common = common.into_iter().chain(["pb-first-seen", "pb-first-attempt", "pb-attempts", "pb-resends"]);
    let waiting = ["pb-due", "pb-retry-since", "pb-parked-at", "pb-pass", "pb-page", "pb-alternate"];
    let last = ["pb-last-error", "pb-last-code", "pb-last-status"];
    let who = ["pb-platform", "pb-account", "pb-trans-id"];
    let why = ["pb-reason", "pb-field", "pb-detail", "pb-failed-at", "pb-worker"];
    let replay = ["pb-replay-id", "pb-replays", "pb-replay-force"];

    let retry: Vec<_> = common.clone().chain(waiting).chain(last).chain(replay).collect();
    assert_eq!(names(&envelope().write(Copy::Retry)), retry);
    let parked: Vec<_> = common.clone().chain(waiting).chain(last).chain(who).chain(replay).collect();
    assert_eq!(names(&envelope().write(Copy::Parked(&named()))), parked);
    let dead: Vec<_> = common.chain(last).chain(who).chain(why).chain(replay).collect();
    assert_eq!(names(&envelope().write(Copy::Dead(&named(), &cause("no")))), dead);
}

#[test]
fn a_record_without_a_block_is_its_own_origin() {
    let mut record = record(vec![Header::text("trace", "1")]);
    record.timestamp_ms = None;
    let (read, own) = Envelope::read(&record, Source::Owned, NOW);
    assert_eq!(own, 1);
    assert_eq!((&*read.origin.topic, read.origin.partition, read.origin.offset), ("postback.retry.5s", 2, 77));
    assert_eq!((read.origin.timestamp_ms, read.first_seen_ms, read.first_attempt_ms), (0, NOW, None));
    assert_eq!(value(&read.write(Copy::Retry), "pb-first-attempt"), None);
}

#[test]
fn an_input_record_that_looks_like_ours_is_plain_bytes_unless_it_was_replayed() {
    let mut block = envelope().write(Copy::Retry);
    block.retain(|h| !h.name.starts_with("pb-replay"));
    let forged = record(block.clone());
    let (read, own) = Envelope::read(&forged, Source::Input, NOW);
    assert_eq!(own, forged.headers.len());
    assert_eq!((read.origin.offset, read.attempts), (77, 0));

    // An id that cannot be one of ours marks no replay.
    for id in [
        Header::text("pb-replay-id", ""),
        Header::text("pb-replay-id", "a:b"),
        Header::text("pb-replay-id", "x".repeat(65)),
        Header { name: "pb-replay-id".into(), value: None },
    ] {
        let forged = record([block.clone(), vec![id]].concat());
        let (read, own) = Envelope::read(&forged, Source::Input, NOW);
        assert_eq!((own, read.origin.offset, read.replay), (forged.headers.len(), 77, None));
    }

    block.push(Header::text("pb-replay-id", "r-9"));
    block.push(Header::text("pb-replays", "2"));
    let (read, own) = Envelope::read(&record(block), Source::Input, NOW);
    assert_eq!(own, 0);
    assert_eq!((&*read.origin.topic, read.origin.offset, read.first_seen_ms), ("conversions", 12345, NOW - 8_000));
    assert_eq!((read.first_attempt_ms, read.resends), (Some(NOW - 7_000), 1));
    assert_eq!(read.last.map(|l| l.class), Some("retry".into()));
    assert_eq!(read.replay, Some(Replay { id: "r-9".into(), replays: 2, force: false }));
    assert_eq!(
        (read.attempts, read.pass, read.due_ms, read.retry_since_ms, read.parked_at_ms),
        (0, 0, None, None, None)
    );
}

#[test]
fn headers_of_a_producer_that_look_like_ours_survive_every_pass() {
    let producer = vec![
        Header::text("pb-origin-topic", "forged"),
        Header { name: "pb-attempts".into(), value: None },
        Header::text("pb-attempts", "9999"),
        Header { name: "x".into(), value: Some(Bytes::from_static(b"\xff\x00")) },
        Header { name: "x".into(), value: Some(Bytes::new()) },
    ];
    let mut current = record(producer.clone());
    let (mut envelope, mut own) = Envelope::read(&current, Source::Input, NOW);
    for _ in 0..5 {
        assert_eq!(current.headers[..own], producer);
        current.headers.truncate(own);
        current.headers.extend(envelope.write(Copy::Retry));
        (envelope, own) = Envelope::read(&current, Source::Owned, NOW);
        assert_eq!(envelope.origin.offset, 77);
        assert_eq!(envelope.attempts, 0);
    }
}

#[test]
fn a_golden_record_keeps_its_origin_and_its_size_through_five_passes() {
    let mut current = record(vec![Header::text("trace", "1")]);
    current.topic = "conversions".into();
    let (mut envelope, mut own) = Envelope::read(&current, Source::Input, NOW);
    let mut sizes = Vec::new();
    for pass in 1..=5 {
        envelope.attempts = pass;
        envelope.pass = pass;
        envelope.first_attempt_ms = Some(NOW);
        envelope.last = Some(LastAttempt { class: "ambiguous".into(), code: String::new(), status: Some(500) });
        current.headers.truncate(own);
        current.headers.extend(envelope.write(Copy::Retry));
        current.topic = "postback.retry.5s".into();
        current.partition = 0;
        current.offset += 1000;
        sizes.push(bytes(&current.headers));
        (envelope, own) = Envelope::read(&current, Source::Owned, NOW);
        let origin = &envelope.origin;
        assert_eq!((&*origin.topic, origin.partition, origin.offset), ("conversions", 2, 77));
        assert_eq!((envelope.attempts, own), (pass, 1));
    }
    assert!(sizes.windows(2).all(|w| w[0] == w[1]), "{sizes:?}");
}

#[test]
fn missing_negative_huge_and_unreadable_numbers_do_no_harm() {
    for bad in ["", "-1", "abc", "1e9", "99999999999999999999999999", " 7", "\u{0}"] {
        let mut block = vec![Header::text("pb-origin-topic", "conversions")];
        for name in ["partition", "offset", "timestamp"] {
            block.push(Header::text(&format!("pb-origin-{name}"), bad));
        }
        for name in ["first-seen", "first-attempt", "attempts", "resends", "due", "retry-since", "parked-at", "pass"] {
            block.push(Header::text(&format!("pb-{name}"), bad));
        }
        let (read, own) = Envelope::read(&record(block), Source::Owned, NOW);
        assert_eq!(own, 0);
        assert_eq!((read.origin.offset, read.first_seen_ms), (77, NOW), "{bad:?}");
        assert_eq!((read.attempts, read.resends, read.pass), (0, 0, 0), "{bad:?}");
        assert_eq!((read.due_ms, read.retry_since_ms, read.parked_at_ms), (None, None, None), "{bad:?}");
    }
    let block = vec![
        Header::text("pb-origin-topic", "conversions"),
        Header::text("pb-origin-partition", "0"),
        Header::text("pb-origin-offset", "1"),
        Header::text("pb-attempts", "4294967299"),
        Header::text("pb-due", "9223372036854775807"),
        Header::text("pb-first-attempt", "9223372036854775807"),
        Header { name: "pb-pass".into(), value: Some(Bytes::from_static(b"\xff")) },
    ];
    let (read, _) = Envelope::read(&record(block), Source::Owned, NOW);
    assert_eq!((read.attempts, read.pass), (1_000_000, 0));
    assert_eq!((read.due_ms, read.first_attempt_ms), (None, Some(NOW)));
}

#[test]
fn a_spell_of_retrying_begins_later_than_now_only_as_far_as_its_record_is_not_due() {
    let since = |since_ms: i64, due_ms: Option<i64>| {
        let written = Envelope { retry_since_ms: Some(since_ms), due_ms, ..envelope() }.write(Copy::Retry);
        Envelope::read(&record(written), Source::Owned, NOW).0.retry_since_ms
    };
    assert_eq!(since(NOW + 20_000, Some(NOW + 30_000)), Some(NOW + 20_000));
    assert_eq!(since(NOW + 40_000, Some(NOW + 30_000)), Some(NOW + 30_000));
    for due_ms in [None, Some(NOW - 5), Some(i64::MAX)] {
        assert_eq!(since(NOW + 20_000, due_ms), Some(NOW), "{due_ms:?}");
    }
}

#[test]
fn the_detail_is_short_and_harmless() {
    let dead = envelope().write(Copy::Dead(&named(), &cause(&format!("a\r\nb\u{1b}[31m{}", "名".repeat(400)))));
    let detail = value(&dead, "pb-detail").unwrap();
    assert!(detail.len() <= 512 && detail.starts_with("a  b [31m名"), "{detail}");
    assert!(detail.ends_with('名'));
}

#[test]
fn what_was_left_out_is_told_in_the_order_in_which_it_goes() {
    let cut = |headers: &[(&str, usize)], key| {
        let headers = headers.iter().map(|(name, bytes)| ((*name).into(), *bytes)).collect();
        Cut { value: 7000, headers, key }.to_string()
    };
    assert_eq!(cut(&[], None), "7000");
    assert_eq!(cut(&[("trace", 55), ("a b,c", 0)], None), "7000 headers=trace:55,a_b_c:0");
    assert_eq!(cut(&[("trace", 55)], Some(12)), "7000 headers=trace:55 key=12");
    assert_eq!(cut(&[], Some(12)), "7000 key=12");
    let many: Vec<(String, usize)> = (0..200).map(|n| (format!("{n:0>100}"), 10)).collect();
    let many: Vec<(&str, usize)> = many.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
    let text = cut(&many, Some(1));
    let listed = text.matches(",").count();
    assert!(
        text.len() < 2200 && text.ends_with(&format!(",+{}:{} key=1", 200 - listed, (200 - listed) * 10)),
        "{text}"
    );
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![".{0,20}", "(名|a|\u{1}|\u{10ffff}){500,3000}"]
}

fn arbitrary() -> impl Strategy<Value = Envelope> {
    let time = || proptest::option::of(1..=NOW);
    let origin = ("[a-zA-Z0-9._-]{1,249}", 0..i32::MAX, 0..i64::MAX, 0..=NOW)
        .prop_map(|(t, partition, offset, timestamp_ms)| Origin { topic: t.into(), partition, offset, timestamp_ms });
    let last = ("[a-z]{1,20}", "[ -~]{0,250}", proptest::option::of(100..1000u16))
        .prop_map(|(class, code, status)| LastAttempt { class, code, status });
    let replay = ("[a-zA-Z0-9._-]{1,64}", 0..1_000_000u32, any::<bool>()).prop_map(|(id, replays, force)| Replay {
        id,
        replays,
        force,
    });
    let count = || 0..=1_000_000u32;
    let counts = (count(), count(), count(), count(), count());
    let times = (1..=NOW, time(), proptest::option::of(1..NOW + 1_000_000), time(), time());
    (origin, counts, times, proptest::option::of(last), proptest::option::of(replay)).prop_map(
        |(origin, (attempts, resends, pass, page, alternate), times, last, replay)| Envelope {
            origin,
            first_seen_ms: times.0,
            first_attempt_ms: times.1,
            attempts,
            resends,
            pass,
            due_ms: times.2,
            retry_since_ms: times.3,
            page,
            alternate,
            parked_at_ms: times.4,
            last,
            replay,
        },
    )
}

fn producer() -> impl Strategy<Value = Vec<Header>> {
    let name = prop_oneof!["[a-z]{0,8}", "pb-(origin-topic|attempts|replay-id|due)"];
    let value = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..12));
    let header = (name, value).prop_map(|(n, v)| Header { name: n.into(), value: v.map(Bytes::from) });
    proptest::collection::vec(header, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read_back(envelope in arbitrary(), producer in producer()) {
        for kind in [Copy::Retry, Copy::Parked(&named())] {
            let mut headers = producer.clone();
            headers.extend(envelope.write(kind));
            let (read, own) = Envelope::read(&record(headers), Source::Owned, NOW);
            prop_assert_eq!(own, producer.len());
            prop_assert_eq!(&read, &envelope);
        }
    }

    #[test]
    fn own_headers_stay_within_eight_kibibytes(
        envelope in arbitrary(),
        texts in proptest::collection::vec(text(), 7),
        lost in proptest::collection::vec((text(), any::<usize>()), 0..60),
    ) {
        let headers = lost.into_iter().map(|(name, bytes)| (name.into(), bytes / 64)).collect();
        let cut = Cut { value: usize::MAX, headers, key: Some(usize::MAX) };
        let whole = cut.to_string();
        let [platform, account, trans_id, event, field, detail, worker] = texts.try_into().unwrap();
        let named = Named {
            platform: Some(platform), account: Some(account), trans_id: Some(trans_id), event: Some(event),
        };
        let cause = DeadLetterCause {
            reason: "unknown_outcome", field: field.into(), detail, failed_at_ms: NOW, worker, truncated: Some(cut),
        };
        let headers = envelope.write(Copy::Dead(&named, &cause));
        prop_assert!(bytes(&headers) <= 8 * 1024);
        prop_assert_eq!(value(&headers, "pb-truncated"), Some(&*whole), "cut once more");
        for header in &headers {
            let text = std::str::from_utf8(header.value.as_deref().unwrap()).unwrap();
            prop_assert!(!text.chars().any(char::is_control));
        }
    }
}

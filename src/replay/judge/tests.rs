use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::claim::rules::Key;
use crate::envelope::{DeadLetterCause, LastAttempt, Named, Origin};
use crate::settings::Config;

const NOW: i64 = 1_736_899_201_000;
const DAY: i64 = 24 * 3_600_000;

fn previewer() -> Previewer {
    let config = Config::load(None, []).unwrap_or_else(|found| panic!("{found}")).config;
    Previewer::new(&config.accounts, config.kafka.result_topics(), &config.redis.prefix)
}

fn rules(force: bool) -> Rules {
    Rules { force, window: Duration::from_secs(12 * 24 * 3600), forgotten_ms: None, now_ms: NOW }
}

/// A dead letter of 360 as a worker writes it, with the producer's header before the block.
fn letter(
    edit_event: impl FnOnce(&mut serde_json::Value),
    edit: impl FnOnce(&mut Envelope, &mut DeadLetterCause),
) -> Record {
    let mut event = json!({
        "trans_id": "t-1", "platform": "qihoo360", "account": "demo-360-ps", "event_type": "order",
        "event_time_ms": NOW - 1000, "click": {"qhclickid": "a1b2c3d4e5f60718"},
        "order": {"order_id": "1", "amount": {"minor": 2345, "currency": "CNY"}},
    });
    edit_event(&mut event);
    let source = Record {
        topic: "conversions".into(),
        partition: 3,
        offset: 17,
        timestamp_ms: Some(NOW - 900),
        key: Some("k".into()),
        value: Some(event.to_string().into_bytes().into()),
        headers: vec![Header::text("pb-reason", "a producer's own"), Header { name: "x".into(), value: None }],
        unreadable_headers: 0,
    };
    let (mut envelope, _) = Envelope::read(&source, Source::Input, NOW - 800);
    (envelope.attempts, envelope.first_attempt_ms, envelope.resends) = (4, Some(NOW - 700), 0);
    envelope.last = Some(LastAttempt { class: "permanent".into(), code: "3".into(), status: Some(200) });
    let named = Named { platform: Some("qihoo360".into()), account: Some("demo-360-ps".into()), ..Named::default() };
    let mut cause = DeadLetterCause {
        reason: "rejected",
        field: "".into(),
        detail: "no".into(),
        failed_at_ms: NOW - 600,
        worker: "w".into(),
        truncated: None,
    };
    edit(&mut envelope, &mut cause);
    let mut headers = source.headers.clone();
    headers.extend(envelope.write(Copy::Dead(&named, &cause)));
    Record { topic: "postback.dlt".into(), partition: 0, offset: 5, headers, ..source }
}

fn judge(force: bool, record: &Record) -> Judged {
    rules(force).judge(&previewer(), &|topic| topic == "conversions", record)
}

#[test]
fn what_a_platform_refused_is_published_again_with_its_history_and_none_of_its_attempts() {
    let record = letter(|_| {}, |_, _| {});
    let judged = judge(false, &record);
    assert_eq!((judged.skip, judged.failure, judged.forecast.clone()), (None, None, Some(Forecast::Sent)));
    assert_eq!(
        (judged.origin_topic(), judged.claim.unwrap().0),
        ("conversions", Key::new("qihoo360", "demo-360-ps", "ORDER", "t-1"))
    );
    let headers = judged.headers(&record, "r-1", false);
    assert_eq!(headers[..2], record.headers[..2], "the producer's headers stay as they are");
    let names: Vec<&str> = headers[2..].iter().map(|h| &*h.name).collect();
    assert_eq!(
        names,
        [
            "pb-origin-topic",
            "pb-origin-partition",
            "pb-origin-offset",
            "pb-origin-timestamp",
            "pb-first-seen",
            "pb-first-attempt",
            "pb-attempts",
            "pb-resends",
            "pb-last-error",
            "pb-last-code",
            "pb-last-status",
            "pb-replay-id",
            "pb-replays",
        ]
    );
    let replayed = Record { topic: "conversions".into(), partition: 1, offset: 99, headers, ..record };
    let (envelope, producer) = Envelope::read(&replayed, Source::Input, NOW);
    assert_eq!((producer, envelope.attempts, envelope.first_attempt_ms), (2, 0, Some(NOW - 700)));
    assert_eq!(envelope.first_seen_ms, NOW - 800);
    let origin = Origin { topic: "conversions".into(), partition: 3, offset: 17, timestamp_ms: NOW - 900 };
    assert_eq!(envelope.origin, origin);
    assert_eq!(envelope.replay, Some(Replay { id: "r-1".into(), replays: 1, force: false }));
    assert_eq!(envelope.last.unwrap().class, "permanent");
}

#[test]
fn added_bytes_stay_the_same_through_five_passes() {
    let mut record = letter(|_| {}, |_, _| {});
    let mut sizes = BTreeSet::new();
    for pass in 1..=5 {
        let headers = judge(true, &record).headers(&record, "r-1", true);
        sizes.insert(headers.iter().map(|h| h.name.len() + h.value.as_ref().map_or(0, |v| v.len())).sum::<usize>());
        let replayed =
            Record { topic: "conversions".into(), partition: 1, offset: 99 + pass, headers, ..record.clone() };
        let (envelope, producer) = Envelope::read(&replayed, Source::Input, NOW);
        assert_eq!((envelope.replay.as_ref().unwrap().replays, envelope.origin.offset), (pass as u32, 17));
        let cause = DeadLetterCause {
            reason: "rejected",
            field: "".into(),
            detail: "no".into(),
            failed_at_ms: NOW,
            worker: "w".into(),
            truncated: None,
        };
        let mut headers = replayed.headers[..producer].to_vec();
        headers.extend(envelope.write(Copy::Dead(&Named::default(), &cause)));
        record = Record { topic: "postback.dlt".into(), headers, ..replayed };
    }
    assert_eq!(sizes.len(), 1, "{sizes:?}");
}

#[test]
fn each_refusal_has_its_cause_and_force_overrules_those_that_a_person_may_judge() {
    let refused = |record: &Record| [false, true].map(|force| judge(force, record).skip);
    let reason = |reason: &'static str| letter(|_| {}, |_, cause| cause.reason = reason);
    assert_eq!(refused(&reason("conflict")), [Some(Skip::Conflict); 2]);
    assert_eq!(refused(&reason("malformed")), [Some(Skip::Malformed); 2]);
    let cut =
        letter(|_| {}, |_, cause| cause.truncated = Some(crate::envelope::Cut { value: 9, ..Default::default() }));
    assert_eq!(refused(&cut), [Some(Skip::Truncated); 2]);
    assert_eq!(refused(&reason("unknown_outcome")), [Some(Skip::UnknownOutcome), None]);
    let thrice = |replays| {
        letter(
            |_| {},
            |envelope, _| {
                envelope.replay = Some(Replay { id: "r-0".into(), replays, force: false });
            },
        )
    };
    assert_eq!(refused(&thrice(3)), [Some(Skip::ThreeReplays), None]);
    assert_eq!(refused(&thrice(2)), [None, None]);
    let old = |days: i64| letter(|_| {}, |envelope, _| envelope.first_seen_ms = NOW - days * DAY);
    assert_eq!(refused(&old(13)), [Some(Skip::PastWindow), None]);
    assert_eq!(refused(&old(11)), [None, None]);
    let bad = letter(|event| event["click"] = json!({}), |_, cause| cause.reason = "invalid");
    assert_eq!(refused(&bad), [Some(Skip::Predicted), None]);
    let forecast = Forecast::Refused { reason: "invalid", field: "click.qhclickid".into() };
    assert_eq!(judge(false, &bad).forecast, Some(forecast));
}

#[test]
fn what_was_seen_before_the_store_lost_its_claims_is_past_the_window() {
    let record = letter(|_| {}, |_, _| {});
    for (forgotten_ms, wanted) in [(NOW, Some(Skip::PastWindow)), (NOW - 800, None)] {
        let rules = Rules { forgotten_ms: Some(forgotten_ms), ..rules(false) };
        assert_eq!(rules.judge(&previewer(), &|_| true, &record).skip, wanted);
    }
}

#[test]
fn a_natural_day_that_is_over_needs_force_and_then_the_first_attempt_is_dropped() {
    let record = letter(|_| {}, |envelope, _| envelope.first_attempt_ms = Some(NOW - DAY));
    assert_eq!(judge(false, &record).skip, Some(Skip::NaturalDay));
    let forced = judge(true, &record);
    assert_eq!((forced.skip, &forced.forecast), (None, &Some(Forecast::Sent)));
    let headers = forced.headers(&record, "r-1", true);
    assert!(!headers.iter().any(|h| &*h.name == "pb-first-attempt"));
    assert!(headers.iter().any(|h| &*h.name == "pb-replay-force"));
}

#[test]
fn an_opt_out_is_published_and_ends_suppressed() {
    let record = letter(|event| event["consent"] = json!({"opt_out": true}), |_, cause| cause.reason = "expired");
    let judged = judge(false, &record);
    assert_eq!((judged.skip, judged.forecast), (None, Some(Forecast::Suppressed)));
}

#[test]
fn a_record_without_an_origin_or_of_a_topic_that_is_not_read_cannot_be_published() {
    let mut foreign = letter(|_| {}, |_, _| {});
    foreign.headers.truncate(2);
    assert_eq!(judge(false, &foreign).failure, Some(Failure::NoOrigin));
    let judged = rules(false).judge(&previewer(), &|_| false, &letter(|_| {}, |_, _| {}));
    assert_eq!(judged.failure, Some(Failure::NoInput));
}

#[test]
fn a_confirmed_event_is_skipped_and_another_one_under_its_name_is_a_conflict() {
    let judged = judge(false, &letter(|_| {}, |_, _| {}));
    let (_, fingerprint) = judged.claim.unwrap();
    let done = |fingerprint: u64| (fingerprint << 23).to_string().into_bytes();
    assert_eq!(judged.settled(Some(&done(fingerprint))), Some(Skip::Confirmed));
    assert_eq!(judged.settled(Some(&done(fingerprint ^ 1))), Some(Skip::Conflict));
    assert_eq!(judged.settled(Some(b"c|0011223344556677|o|0000000001|0")), None);
    assert_eq!(judged.settled(None), None);
}

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::claim::rules::{CLAIM_LIFE_MS, ClaimRequest, Done, Key, Spare, Token};
use crate::kafka::record::Header;
use crate::metrics::LaneState;
use crate::settings::Config;

const NOW: i64 = 1_736_899_201_000;

fn demo() -> Config {
    Config::load(None, []).unwrap_or_else(|found| panic!("{found}")).config
}

fn wanted() -> Wanted {
    Wanted { trans_id: "t-1".into(), ..Wanted::default() }
}

fn record(topic: &str, value: Value, headers: &[(&str, &str)]) -> Record {
    let mut all = vec![
        Header::text("pb-origin-topic", "conversions"),
        Header::text("pb-origin-partition", "3"),
        Header::text("pb-origin-offset", "17"),
    ];
    all.extend(headers.iter().map(|(name, value)| Header::text(name, *value)));
    Record {
        topic: topic.into(),
        partition: 0,
        offset: 5,
        timestamp_ms: Some(NOW),
        key: None,
        value: Some(value.to_string().into()),
        headers: all,
        unreadable_headers: 0,
    }
}

fn event(account: &str) -> Value {
    serde_json::json!({"trans_id": "t-1", "platform": "qihoo360", "account": account, "event_type": "order"})
}

#[test]
fn every_account_and_native_event_is_a_candidate_unless_narrowed() {
    let config = demo();
    // Four accounts of 360, two of 百助, one of 腾讯广告 with the codes that its file maps, and one of 快递鸟 with two calls.
    let mapped = config.accounts["demo-tencent"].natives().len();
    assert!(mapped > 10, "{mapped}");
    assert_eq!(candidates(&wanted(), &config.accounts).len(), 4 * 53 + 2 * 3 + mapped + 2);
    let one = Wanted { account: Some("demo-baizhu".into()), ..wanted() };
    let found = candidates(&one, &config.accounts);
    assert_eq!(found.iter().map(|c| &*c.event).collect::<Vec<_>>(), ["install", "register", "back"]);
    assert_eq!(found[0].key, Key::new("baizhu", "demo-baizhu", "install", "t-1"));
    let platform = Wanted { platform: Some("baizhu"), ..wanted() };
    assert_eq!(candidates(&platform, &config.accounts).len(), 6);
}

#[test]
fn each_state_of_a_claim_is_read_with_its_age() {
    let (window, lease) = (Duration::from_secs(1_036_800), Duration::from_secs(30));
    let config = demo();
    let of = candidates(&wanted(), &config.accounts).remove(0);
    let claim_request = ClaimRequest {
        key: of.key,
        origin: "conversions:3:17".into(),
        fingerprint: 7,
        own: 2,
        in_doubt: false,
        spare: Spare::None,
        force: false,
        possible: 0,
    };
    let token = Token::random();
    let row = |value: String, pttl| ClaimRow::new(&of, "pb", value.as_bytes(), pttl, window, lease);
    let claimed = row(claim_request.claimed(token, false), CLAIM_LIFE_MS as i64 - 29_000);
    assert_eq!((claimed.state, claimed.meaning, claimed.age_ms), ("claimed", "being sent now", Some(29_000)));
    assert_eq!(claimed.origin.as_deref(), Some("conversions:3:17"));
    let stale = row(claim_request.claimed(token, true), CLAIM_LIFE_MS as i64 - 30_000);
    assert!(stale.meaning.contains("takes it over") && stale.resends == 3);
    let unknown = row(claim_request.unknown(), 1_036_800_000 - 5_000);
    assert_eq!((unknown.state, unknown.age_ms, unknown.resends), ("unknown", Some(5_000), 2));
    let done = Done::new(&claim_request, token);
    let row_done = row(done.to_int().to_string(), 1_036_800_000);
    assert_eq!((row_done.state, row_done.age_ms, row_done.resends), ("done", Some(0), 2));
    assert_eq!((row_done.origin, row_done.origin_tag), (None, Some(done.origin_tag())));
    assert_eq!((row("hello".into(), -1).state, row("hello".into(), -1).expires_in_ms), ("foreign", None));
    // The claim was written under a longer window.
    assert_eq!(row(done.to_int().to_string(), 1_036_800_001).age_ms, None);
}

#[test]
fn a_copy_says_what_it_waits_for_and_until_when() {
    let config = demo();
    let halted = (LaneState::Halted, 1_736_899_200_000);
    let rules = Rules::new(&config.kafka, &config.accounts, BTreeMap::from([("demo-360-zs".to_owned(), halted)]));
    assert!(rules.holds_waiting("postback.retry.30s") && rules.holds_waiting("postback.parked.demo-360-ps"));
    assert!(!rules.holds_waiting("postback.retry"));
    let mut gatherer = Gatherer::new(wanted(), rules);
    let due = (NOW + 4_000).to_string();
    let headers = [("pb-due", &*due), ("pb-attempts", "2"), ("pb-last-error", "retry"), ("pb-last-status", "500")];
    gatherer.add(&record("postback.retry.5s", event("demo-360-ps"), &headers), NOW);
    gatherer.add(&record("postback.retry.30s", event("demo-360-ps"), &[]), NOW);
    let parked_at = (NOW - 1_000).to_string();
    gatherer.add(&record("postback.parked.demo-360-zs", event("demo-360-zs"), &[("pb-parked-at", &parked_at)]), NOW);
    let mut other = event("demo-360-ps");
    other["trans_id"] = "t-2".into();
    assert!(!gatherer.add(&record("postback.retry.30s", other.clone(), &[]), NOW), "a record that was taken before");
    gatherer.add(&Record { offset: 6, ..record("postback.retry.5s", other, &[]) }, NOW);
    let trace = gatherer.finish(Vec::new());
    assert_eq!(trace.waiting.len(), 3);
    let parked = &trace.waiting[0];
    assert_eq!((parked.kind, parked.due_ms, parked.parked_at_ms), ("parked", None, Some(NOW - 1_000)));
    assert_eq!(parked.until, "account demo-360-zs is resumed: halted since 2025-01-15T00:00:00Z");
    assert_eq!(parked.parked_until_ms, Some(NOW - 1_000 + 72 * 3_600_000));
    assert_eq!(trace.waiting[1].due_ms, Some(NOW + 30_000), "without pb-due: record time and the tier's delay");
    let retry = &trace.waiting[2];
    assert_eq!((retry.due_ms, retry.until.as_str(), retry.attempts), (Some(NOW + 4_000), "it is due", 2));
    assert_eq!((retry.last_status, retry.origin.as_str()), (Some(500), "conversions:3:17"));
}

#[test]
fn a_copy_whose_origin_has_ended_since_it_was_written_does_not_wait() {
    let mut config = demo();
    config.kafka.receipts = "receipts".into();
    let waiting_after = |end: &dyn Fn(i64) -> Record, at: i64| {
        let mut gatherer = Gatherer::new(wanted(), Rules::new(&config.kafka, &config.accounts, BTreeMap::new()));
        gatherer.add(&end(at), NOW);
        gatherer.add(&record("postback.retry.5s", event("demo-360-ps"), &[]), NOW);
        gatherer.finish(Vec::new()).waiting.len()
    };
    let receipt = |offset: i64| {
        move |at: i64| {
            let mut value = event("demo-360-ps");
            value["finished_at_ms"] = at.into();
            value["origin"] = serde_json::json!({"topic": "conversions", "partition": 3, "offset": offset});
            record("receipts", value, &[])
        }
    };
    let letter = |at: i64| {
        let at = at.to_string();
        record("postback.dlt", event("demo-360-ps"), &[("pb-trans-id", "t-1"), ("pb-failed-at", &*at)])
    };
    assert_eq!((waiting_after(&receipt(17), NOW), waiting_after(&letter, NOW + 1)), (0, 0));
    assert_eq!(
        (waiting_after(&receipt(17), NOW - 1), waiting_after(&letter, NOW - 1)),
        (1, 1),
        "ended before: replayed"
    );
    assert_eq!(waiting_after(&receipt(18), NOW + 1), 1, "another origin");
}

#[test]
fn a_replayed_copy_waits_although_the_clock_of_its_dead_letter_was_ahead() {
    let mut config = demo();
    config.kafka.receipts = "receipts".into();
    let waiting = |letter: &[(&str, &str)], copy: &[(&str, &str)]| {
        let mut gatherer = Gatherer::new(wanted(), Rules::new(&config.kafka, &config.accounts, BTreeMap::new()));
        let letter = [&[("pb-trans-id", "t-1")], letter].concat();
        gatherer.add(&record("postback.dlt", event("demo-360-ps"), &letter), NOW);
        let mut receipt = event("demo-360-ps");
        (receipt["outcome"], receipt["finished_at_ms"]) = ("dead_lettered".into(), (NOW + 9).into());
        receipt["origin"] = serde_json::json!({"topic": "conversions", "partition": 3, "offset": 17});
        gatherer.add(&record("receipts", receipt, &[]), NOW);
        gatherer.add(&record("postback.retry.5s", event("demo-360-ps"), copy), NOW);
        gatherer.finish(Vec::new()).waiting.len()
    };
    let (ahead, behind) = ((NOW + 9).to_string(), (NOW - 9).to_string());
    let replayed = [("pb-replay-id", "r-1"), ("pb-replays", "1")];
    assert_eq!(waiting(&[("pb-failed-at", &ahead)], &replayed), 1, "its dead letter is older");
    assert_eq!(waiting(&[("pb-failed-at", &behind), replayed[1]], &[]), 0, "it was replayed, and died again");
    assert_eq!(waiting(&[("pb-failed-at", &ahead), replayed[1]], &replayed), 0);
}

#[test]
fn the_event_of_a_copy_is_named_as_its_dead_letter_and_receipt_would_name_it() {
    let config = demo();
    let named = |value: Value| {
        let mut gatherer = Gatherer::new(wanted(), Rules::new(&config.kafka, &config.accounts, BTreeMap::new()));
        gatherer.add(&record("postback.retry.5s", value, &[]), NOW);
        gatherer.finish(Vec::new()).waiting.remove(0).event
    };
    assert_eq!(named(event("demo-360-ps")).as_deref(), Some("ORDER"));
    assert_eq!(named(event("not-configured")).as_deref(), Some("order"));
    let mut unmapped = event("demo-360-ps");
    unmapped["event_type"] = "teleported".into();
    assert_eq!(named(unmapped).as_deref(), Some("teleported"));
}

#[test]
fn what_a_producer_or_a_platform_wrote_is_masked_in_each_part() {
    const PHONE: &str = "13912345678";
    let mut config = demo();
    config.kafka.receipts = "receipts".into();
    let wanted = Wanted { trans_id: format!("t-{PHONE}"), ..Wanted::default() };
    let mut gatherer = Gatherer::new(wanted, Rules::new(&config.kafka, &config.accounts, BTreeMap::new()));
    let mut value = event(PHONE);
    (value["trans_id"], value["platform"]) = (format!("t-{PHONE}").into(), format!("p-{PHONE}").into());
    value["event_type"] = format!("li@example.com {PHONE}").into();
    gatherer
        .add(&record("postback.retry.5s", value.clone(), &[("pb-last-code", PHONE), ("pb-last-error", PHONE)]), NOW);
    (value["event"], value["platform_id"]) = (PHONE.into(), format!("accepted for {PHONE}").into());
    value["finished_at_ms"] = (NOW - 1).into();
    gatherer.add(&record("receipts", value.clone(), &[]), NOW);
    let names = ["pb-trans-id", "pb-account", "pb-platform", "pb-event", "pb-field", "pb-detail", "pb-last-code"];
    let trans_id = format!("t-{PHONE}");
    let failed_at = (NOW - 2).to_string();
    let value_of = |name: &str| if name == "pb-trans-id" { trans_id.clone() } else { PHONE.to_owned() };
    let mut values: Vec<_> = names.iter().map(|name| (*name, value_of(name))).collect();
    values.push(("pb-failed-at", failed_at));
    let headers: Vec<_> = values.iter().map(|(name, value)| (*name, &**value)).collect();
    gatherer.add(&record("postback.dlt", value, &headers), NOW - 2);
    let trace = gatherer.finish(Vec::new());
    assert_eq!((trace.waiting.len(), trace.receipts.len(), trace.dead_letters.len()), (1, 1, 1));
    let shown = serde_json::to_string(&trace).unwrap();
    assert!(!shown.contains(PHONE) && !shown.contains("li@") && shown.contains("139****5678"), "{shown}");
}

#[test]
fn dead_letters_and_receipts_of_other_accounts_are_left_out_where_one_is_named() {
    let mut config = demo();
    config.kafka.receipts = "receipts".into();
    let one = Wanted { account: Some("demo-360-ps".into()), ..wanted() };
    let (mut all, mut narrow) = (
        Gatherer::new(wanted(), Rules::new(&config.kafka, &config.accounts, BTreeMap::new())),
        Gatherer::new(one, Rules::new(&config.kafka, &config.accounts, BTreeMap::new())),
    );
    for account in ["demo-360-ps", "demo-360-zs"] {
        let mut receipt = event(account);
        receipt["finished_at_ms"] = NOW.into();
        let mut letter = record("postback.dlt", event(account), &[("pb-trans-id", "t-1"), ("pb-account", account)]);
        letter.headers[2] = Header::text("pb-origin-offset", "1");
        letter.partition = if account.ends_with("ps") { 1 } else { 2 };
        letter.headers[1] = Header::text("pb-origin-partition", if account.ends_with("ps") { "1" } else { "2" });
        for gatherer in [&mut all, &mut narrow] {
            gatherer.add(&Record { partition: letter.partition, ..record("receipts", receipt.clone(), &[]) }, NOW);
            gatherer.add(&letter, NOW);
        }
    }
    let (all, narrow) = (all.finish(Vec::new()), narrow.finish(Vec::new()));
    assert_eq!((all.receipts.len(), all.dead_letters.len()), (2, 2));
    assert_eq!((narrow.receipts.len(), narrow.dead_letters.len()), (1, 1));
    assert!(!narrow.is_empty());
    let json = serde_json::to_value(&narrow).unwrap();
    assert_eq!(json["dead_letters"][0]["account"], "demo-360-ps");
    assert_eq!(json["receipts"][0]["offset"], 5);
}

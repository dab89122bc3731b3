use proptest::prelude::*;

use super::account::{event, sender};
use crate::error::{Class, DeliveryError};
use crate::platforms::headers::Headers;
use crate::platforms::http_status::judge;
use crate::platforms::reading::{HttpAnswer, Reading, Verdicts};
use crate::platforms::{Prepared, Sender};

pub(super) const PLATFORM: &str = r#"
name = "ans"
title = "Answers"
base_url = "https://a.example.com"
[account.keys]
position_base = { values = [0, 1], default = 0 }
[events]
pay = 1
[[request]]
url = "/x"
json = { list = "{{ items }}" }
[batch]
max_items = 10
item = { id = "{{ event.trans_id }}" }
[answer]
delivered = "status == 200 and body.header.status == 0"
refresh = "body.header.status == 3"
halt = "body.header.status in [7, 8]"
throttled = "body.header.status == 5"
permanent = "body.header.status == 2"
once_more = "body.header.status == 9"
retry = "body.header.status == 4"
code = "body.header.status"
platform_id = "body.id"
split = "body.header.status == 6"
[answer.items]
at = "body.header.errors"
index = "position"
index_base = "{{ account.position_base }}"
unmentioned = "delivered"
retry = "item.code == 1"
throttled = "item.code == 2"
permanent = "item.code == 3"
code = "item.code"
"#;

fn items(sender: &dyn Sender, count: usize) -> Vec<Prepared> {
    (0..count).map(|_| sender.prepare(&event(serde_json::json!({}))).unwrap()).collect()
}

fn read(keys: &str, count: usize, status: u16, body: &[u8]) -> Reading {
    let sender = sender(PLATFORM, keys);
    let items = items(&*sender, count);
    sender.read(&items.iter().collect::<Vec<_>>(), &HttpAnswer { status, body, ..answer() })
}

fn answer() -> HttpAnswer<'static> {
    HttpAnswer { status: 200, body: b"", retry_after: Some("7"), headers: Headers::default(), now_ms: 0 }
}

fn all(status: u16, body: &str) -> DeliveryError {
    match read("", 1, status, body.as_bytes()) {
        Reading::All(Err(error)) => error,
        other => panic!("{body}: {other:?}"),
    }
}

#[test]
fn the_first_class_that_holds_is_the_answers() {
    let Reading::All(Ok(receipt)) = read("", 1, 200, br#"{"header":{"status":0.0},"id":77}"#) else {
        panic!("no receipt")
    };
    assert_eq!(receipt.platform_id.as_deref(), Some("77"));
    let rows = [(3, Class::Refresh), (7, Class::Halt), (5, Class::Throttled), (2, Class::Permanent), (4, Class::Retry)];
    for (code, class) in rows {
        let error = all(200, &format!("{{\"header\":{{\"status\":{code}}}}}"));
        assert_eq!(error.class(), Some(class), "{code}");
        let answer = error.answer().unwrap();
        assert_eq!((answer.code.as_str(), answer.unclassified, answer.sent), (code.to_string().as_str(), false, true));
        assert_eq!(answer.retry_after.is_some(), class == Class::Throttled);
    }
    assert!(matches!(read("", 2, 200, br#"{"header":{"status":6}}"#), Reading::Split));
}

#[test]
fn a_refused_nonce_or_timestamp_is_sent_once_more_and_the_answers_date_says_whose_clock_is_wrong() {
    let sender = sender(PLATFORM, "");
    let items = items(&*sender, 1);
    let refused = |date: Option<&str>| {
        let mut headers = http::HeaderMap::new();
        date.map(|date| headers.insert("date", date.parse().unwrap()));
        let http = HttpAnswer {
            body: br#"{"header":{"status":9}}"#,
            headers: Headers::new(&headers),
            now_ms: 1_736_899_200_000,
            ..answer()
        };
        match sender.read(&[&items[0]], &http) {
            Reading::All(Err(DeliveryError::Refresh(answer))) => answer,
            other => panic!("{other:?}"),
        }
    };
    for (date, says) in [
        (None, "no Date says whether"),
        (Some("Wed, 15 Jan 2025 00:00:30 GMT"), "agrees with the platform's Date"),
        (Some("Wed, 15 Jan 2025 00:01:30 GMT"), "clock is 90 s from the platform's Date: set it (NTP)"),
    ] {
        let answer = refused(date);
        assert!(answer.sign_again && answer.code == "9" && answer.detail.contains(says), "{date:?}: {answer:?}");
    }
}

#[test]
fn an_unknown_code_is_tried_again_and_counted_and_what_is_no_json_says_nothing() {
    for (body, code) in
        [(r#"{"header":{"status":99}}"#, "99"), ("{}", ""), ("[]", ""), (r#"{"header":{"status":"x y"}}"#, "x?y")]
    {
        let error = all(200, body);
        let answer = error.answer().unwrap();
        assert_eq!(
            (error.class(), answer.code.as_str(), answer.unclassified),
            (Some(Class::Retry), code, true),
            "{body}"
        );
    }
    for body in ["", "ok", "<html>", "{\"header\":", "\u{0}"] {
        assert!(matches!(read("", 1, 200, body.as_bytes()), Reading::Nothing), "{body}");
    }
    // Under a status that refuses, an unknown body leaves the word to the status.
    assert!(matches!(read("", 1, 400, br#"{"header":{"status":99}}"#), Reading::Nothing));
    assert_eq!(all(400, r#"{"header":{"status":7}}"#).class(), Some(Class::Halt));
}

#[test]
fn each_item_has_the_verdict_that_the_answer_gives_it() {
    let body = br#"{"header":{"status":1,"errors":[{"position":1,"code":3},{"position":3,"code":2},
                    {"position":"2","code":1},{"position":1,"code":1}]}}"#;
    let (retry, permanent, throttled) = (Some(Class::Retry), Some(Class::Permanent), Some(Class::Throttled));
    assert_eq!(classes("", 5, body), [Some(None), Some(permanent), Some(retry), Some(throttled), Some(None)]);
    assert_eq!(classes("position_base = 1", 4, body), [Some(permanent), Some(retry), Some(throttled), Some(None)]);
    // Without the list nobody knows which failed.
    assert_eq!(all(200, r#"{"header":{"status":1}}"#).class(), Some(Class::Retry));
}

#[test]
fn a_code_in_no_rule_is_kept_where_the_status_decides() {
    let sender = sender(PLATFORM, "");
    let items = items(&*sender, 2);
    let items: Vec<_> = items.iter().collect();
    let code = |count: usize, status, body: &str| {
        let http = HttpAnswer { status, body: body.as_bytes(), ..answer() };
        let verdicts = judge(count, &http, || sender.read(&items[..count], &http)).with_code(|| sender.code(&http));
        match verdicts {
            Verdicts::All(Err(error)) => vec![error.answer().unwrap().code.clone()],
            Verdicts::Each(verdicts) => {
                verdicts.iter().map(|verdict| verdict.as_ref().unwrap_err().answer().unwrap().code.clone()).collect()
            }
            other => panic!("{other:?}"),
        }
    };
    for status in [400, 401, 429, 500] {
        assert_eq!(code(1, status, r#"{"header":{"status":99}}"#), ["99"], "{status}");
        assert_eq!(code(1, status, "<html>"), [""], "{status}");
    }
    assert_eq!(code(1, 400, r#"{"header":{"status":7}}"#), ["7"], "the code of a rule");
    // An item's own code stays.
    assert_eq!(code(2, 200, r#"{"header":{"status":1,"errors":[{"position":0,"code":3},{"code":3}]}}"#), ["3", "1"]);
}

/// What is said of each item: nothing, a success, or a class.
fn classes(keys: &str, count: usize, body: &[u8]) -> Vec<Option<Option<Class>>> {
    let Reading::Each(verdicts) = read(keys, count, 200, body) else { panic!("not one per item") };
    verdicts.into_iter().map(|verdict| Some(verdict?.err().and_then(|e| e.class()))).collect()
}

#[test]
fn an_entry_that_cannot_be_placed_leaves_what_is_not_mentioned_ambiguous() {
    let permanent = Some(Some(Class::Permanent));
    for entry in
        [r#"{"code":3}"#, r#"{"position":9,"code":3}"#, r#"{"position":-1}"#, r#"{"position":"x"}"#, "7", "null"]
    {
        let body = format!(r#"{{"header":{{"status":1,"errors":[{{"position":1,"code":3}},{entry}]}}}}"#);
        assert_eq!(classes("", 3, body.as_bytes()), [None, permanent, None], "{entry}");
    }
    // With the wrong base each entry is one off, so that the first one has no place.
    let body = br#"{"header":{"status":1,"errors":[{"position":0,"code":3},{"position":2,"code":3}]}}"#;
    assert_eq!(classes("position_base = 1", 3, body), [None, permanent, None]);
    let none = br#"{"header":{"status":1,"errors":[]}}"#;
    assert_eq!(classes("", 2, none), [None, None], "some failed, and nobody knows which");
}

#[test]
fn an_item_that_nobody_mentions_is_ambiguous_unless_the_file_says_otherwise() {
    let platform = PLATFORM.replace("unmentioned = \"delivered\"", "").replace("index = \"position\"", "");
    let sender = sender(&platform, "");
    let items = items(&*sender, 2);
    let body = br#"{"header":{"status":1,"errors":[{"code":3}]}}"#;
    let Reading::Each(verdicts) = sender.read(&items.iter().collect::<Vec<_>>(), &HttpAnswer { body, ..answer() })
    else {
        panic!("not one per item")
    };
    assert!(matches!(&verdicts[0], Some(Err(DeliveryError::Permanent(_)))) && verdicts[1].is_none());
}

proptest! {
    #[test]
    fn any_bytes_have_a_class(status in 100_u16..700, body in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..64),
        r#"\{"header":(\{"status":(-?[0-9]{1,20}|null|"x"|\[\]|1e400|0\.0),"errors":(null|5|\[(\{"position":[0-9-]{1,20}\}|7|null|"x"),\{\}\])\}|7|null)\}"#
            .prop_map(String::into_bytes),
    ], count in 1_usize..5) {
        let sender = sender(PLATFORM, "");
        let items = items(&*sender, count);
        let items: Vec<_> = items.iter().collect();
        let http = HttpAnswer { status, body: &body, ..answer() };
        match judge(count, &http, || sender.read(&items, &http)) {
            Verdicts::All(verdict) => prop_assert!(verdict.is_ok() || verdict.unwrap_err().class().is_some()),
            Verdicts::Each(verdicts) => prop_assert_eq!(verdicts.len(), count),
            Verdicts::Split => prop_assert!(count > 1),
        }
    }
}

#[test]
fn a_limit_of_the_minute_or_the_day_says_how_long_it_lasts_by_the_platforms_clock() {
    let platform = LIMITS.replace("TZ", "Asia/Shanghai");
    let sender = sender(&platform, "");
    // 16:00:30 in Shanghai.
    let now_ms = 1_736_928_030_000;
    let read = |body: &str, headers: &http::HeaderMap| {
        let http =
            HttpAnswer { headers: Headers::new(headers), body: body.as_bytes(), now_ms, retry_after: None, ..answer() };
        (sender.read(&[], &http), sender.pause(&http).map(|pause| pause.as_secs()))
    };
    let waits = |body: &str| match read(body, &http::HeaderMap::new()) {
        (Reading::All(Err(DeliveryError::Throttled(answer))), pause) => {
            (answer.retry_after.map(|wait| wait.as_secs()), answer.quota_wait.map(|wait| wait.as_secs()), pause)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(waits(r#"{"code":7}"#), (Some(31), None, Some(31)), "until the next minute, and a second more");
    assert_eq!(waits(r#"{"code":8}"#), (None, Some(7 * 3600 + 59 * 60 + 31), None), "until midnight");
    assert_eq!(waits(r#"{"code":9}"#), (None, None, None));
    let mut headers = http::HeaderMap::new();
    headers.insert("x-left", "50,0".parse().unwrap());
    let (reading, pause) = read(r#"{"code":0}"#, &headers);
    assert!(matches!(reading, Reading::All(Ok(_))) && pause == Some(31), "an answer that delivers can end the minute");
}

#[test]
fn a_refused_request_of_tencent_ads_waits_for_midnight_where_nothing_of_the_day_is_left() {
    let platform = include_str!("../../../../config/platforms/tencent_ads.toml");
    let sender = sender(platform, "account_id = 1\nuser_action_set_id = 2\naccess_token = 't'");
    // 16:00:30 in Shanghai.
    let now_ms = 1_736_928_030_000;
    let midnight = Some(7 * 3600 + 59 * 60 + 31);
    for (code, left, expected) in [
        (11018, "60,60", (None, midnight)),
        (11016, "60,0", (Some(31), None)),
        (11016, "0,60", (None, midnight)),
        (11008, "0,0", (None, midnight)),
        (11016, "10,10", (Some(31), None)),
    ] {
        let mut headers = http::HeaderMap::new();
        headers.insert("x-ratelimit-remaining", left.parse().unwrap());
        let body = format!("{{\"code\":{code}}}");
        let http = HttpAnswer {
            headers: Headers::new(&headers),
            body: body.as_bytes(),
            now_ms,
            retry_after: None,
            ..answer()
        };
        let Reading::All(Err(DeliveryError::Throttled(answer))) = sender.read(&[], &http) else { panic!("{code}") };
        let waits = (answer.retry_after.map(|wait| wait.as_secs()), answer.quota_wait.map(|wait| wait.as_secs()));
        assert_eq!(waits, expected, "{code} {left}");
    }
}

const LIMITS: &str = r#"
name = "limits"
title = "Limits"
base_url = "https://ad.example.com"
[events]
pay = 1
[[request]]
url = "/x"
[answer]
delivered = "body.code == 0"
throttled = "body.code in [7, 8, 9]"
minute = "body.code == 7 or headers['x-left'] is endingwith(',0')"
day = "body.code == 8"
tz = "TZ"
"#;

#[test]
fn a_limit_of_the_day_needs_a_zone() {
    let told = |zone: &str| match super::super::program::compile("p.toml", &LIMITS.replace("\"TZ\"", zone)) {
        Ok(_) => String::new(),
        Err(found) => found.to_string(),
    };
    assert!(told("\"\"").contains("answer.day: stands without `tz`"), "{}", told("\"\""));
    assert!(told("\"Mars\"").contains("answer.tz: \"Mars\" is no time zone"), "{}", told("\"Mars\""));
}

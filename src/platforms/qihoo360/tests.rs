use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::event::decode;
use crate::platforms::Credential;
use crate::platforms::headers::Headers;
use crate::platforms::http_status::judge;
use crate::platforms::reading::{Verdict, Verdicts};

mod matrix_walk;
mod rules;
mod vectors;

const NOW: i64 = 1_736_899_201_000;
const ALL_PARAMS: [&str; 5] = ["value", "score", "outeruserid", "bname", "urtime"];

fn config(text: &str) -> Config {
    toml::from_str(text).unwrap()
}

fn sender(text: &str) -> Qihoo360 {
    Qihoo360::new(config(text), BTreeMap::new()).unwrap()
}

fn problems(text: &str, map: &[(&str, &str)]) -> Vec<String> {
    let map = map.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Qihoo360::new(config(text), map).err().unwrap_or_default().into_iter().map(|(key, _)| key).collect()
}

fn credential(secret: &str) -> Credential {
    Credential {
        id: "a".into(),
        key: "abcdefghij0123456789".into(),
        secret: SecretString::new(secret),
        not_before_ms: None,
        not_after_ms: None,
    }
}

/// An event that has every member that any line takes.
fn full() -> Value {
    json!({
        "trans_id": "5d41402abc4b2a76b9719d911017c592", "platform": "qihoo360", "account": "a", "event_type": "order",
        "event_time_ms": 1_736_899_200_123_i64,
        "click": {"qhclickid": "a1b2c3d4e5f60718", "impression_id": "9f8e7d6c5b4a39281706"},
        "order": {"order_id": "1001", "amount": {"minor": 2345, "currency": "CNY"}},
        "user": {"user_id": "user001", "registered_at_ms": 1_705_487_632_000_i64},
        "params": {"score": 123, "bname": "RPG"}
    })
}

/// The full event, after a change.
fn edited(edit: impl FnOnce(&mut Value)) -> ConversionEvent {
    let mut value = full();
    edit(&mut value);
    decode(Some(value.to_string().as_bytes())).unwrap()
}

fn body(sender: &Qihoo360, event: &ConversionEvent) -> Value {
    let prepared = sender.prepare(event).unwrap();
    let credential = credential("s");
    let request =
        sender.request(&[&prepared], &Context { now_ms: NOW, credential: Some(&credential), token: None }).unwrap();
    serde_json::from_slice(&request.body).unwrap()
}

/// The reason and the field of a refusal.
fn refusal(sender: &Qihoo360, event: &ConversionEvent) -> (&'static str, String) {
    match sender.prepare(event) {
        Err(DeliveryError::Invalid(fault)) => ("invalid", fault.field.into_owned()),
        Err(DeliveryError::UnmappedEvent(fault)) => ("unmapped_event", fault.field.into_owned()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_problem_of_an_account_is_found_at_once() {
    let text = r#"
        data_industry = "ocpc_tv_convert"
        natural_day = { tz = "Mars/Olympus", guard = "soon" }
        event_param = { value_events = ["PAY", "BUY"] }
    "#;
    assert_eq!(
        problems(text, &[("lead", "CUSTOMIZE"), ("pay", "PAY")]),
        ["data_industry", "natural_day.tz", "natural_day.guard", "event_param.value_events", "map.lead"]
    );
}

#[test]
fn display_without_jzqs_is_a_problem_at_load() {
    assert_eq!(problems("data_industry = 'ocpc_zs_convert'", &[]), ["jzqs"]);
    assert_eq!(problems("data_industry = 'ocpc_zs_convert'\njzqs = ''", &[]), ["jzqs"]);
    assert_eq!(problems("data_industry = 'ocpc_zs_convert'\njzqs = \"1\\n\"", &[]), ["jzqs"]);
    assert!(problems("data_industry = 'ocpc_zs_convert'\njzqs = '1000001'", &[]).is_empty());
    assert!(problems("", &[]).is_empty());
}

#[test]
fn a_guard_is_a_duration_under_a_day() {
    for good in ["0s", "500ms", "60s", "10m", "23h"] {
        assert!(problems(&format!("natural_day.guard = '{good}'"), &[]).is_empty(), "{good}");
    }
    for bad in ["", "60", "s", "1d", "24h", "-1s", "1.5s", "1 s", "99999999999999999999s", "18446744073709551615d"] {
        assert_eq!(problems(&format!("natural_day.guard = '{bad}'"), &[]), ["natural_day.guard"], "{bad}");
    }
}

#[test]
fn a_setting_outside_its_list_does_not_parse() {
    for text in
        ["trans_id_mode = 'sha1'", "errno2 = 'retry'", "validate.click_len = 'maybe'", "event_param.disallowed = 'x'"]
    {
        assert!(toml::from_str::<Config>(text).is_err(), "{text}");
    }
}

#[test]
fn every_documented_key_is_read() {
    let all = r#"
        data_industry = "ocpc_zs_convert"
        data_source = "tool"
        jzqs = "1000001"
        trans_id_mode = "md5_with_event"
        natural_day = { tz = "Asia/Tokyo", anchor = "event_time", guard = "2m" }
        validate = { click_len = "strict", max_event_age = "2d" }
        event_param = { disallowed = "reject", value_events = ["PAY"] }
        errno2 = "permanent"
    "#;
    let table: toml::Table = toml::from_str(all).unwrap();
    let mut keys: Vec<String> = Vec::new();
    for (key, value) in &table {
        match value.as_table() {
            Some(inner) => keys.extend(inner.keys().map(|k| format!("{key}.{k}"))),
            None => keys.push(key.clone()),
        }
    }
    keys.retain(|key| key != "validate.max_event_age");
    keys.sort_unstable();
    let mut known = PLATFORM.keys();
    known.sort_unstable();
    assert_eq!(keys, known);

    let day = sender(all).natural_day().unwrap();
    assert_eq!(day.tz, chrono_tz::Asia::Tokyo);
    assert!(day.anchor_event_time);
    assert_eq!(day.guard, std::time::Duration::from_secs(120));
}

#[test]
fn the_natural_day_defaults_to_shanghai_first_attempt_and_a_minute() {
    let day = sender("").natural_day().unwrap();
    assert_eq!((day.tz, day.anchor_event_time, day.guard.as_secs()), (chrono_tz::Asia::Shanghai, false, 60));
}

#[test]
fn a_map_to_a_code_that_the_line_lacks_is_warned_of() {
    let map = BTreeMap::from([("cart".to_owned(), "CART_BUTTON".to_owned()), ("pay".into(), "PAY".into())]);
    let display = Qihoo360::new(config("data_industry = 'ocpc_zs_convert'\njzqs = '1'"), map.clone()).unwrap();
    assert_eq!(display.warnings().into_iter().map(|(key, _)| key).collect::<Vec<_>>(), ["map.cart"]);
    let search = Qihoo360::new(config("data_industry = 'ocpc_ps_convert'"), map).unwrap();
    assert!(search.warnings().is_empty());
}

fn verdict(sender: &Qihoo360, status: u16, body: &[u8]) -> Verdict {
    let http = HttpAnswer { status, retry_after: None, headers: Headers::default(), body, now_ms: NOW };
    let Verdicts::All(verdict) = judge(1, &http, || sender.read(&[], &http)) else { panic!("not one verdict") };
    verdict
}

#[test]
fn every_row_of_the_errno_table_has_its_class() {
    let lenient = sender("errno2 = 'permanent'");
    let strict = sender("");
    let class =
        |sender: &Qihoo360, status, body: &str| verdict(sender, status, body.as_bytes()).err().and_then(|e| e.class());
    let rows = [
        (r#"{"errno":0,"error":"Success"}"#, None),
        (r#"{"errno":"0","error":"Success"}"#, None),
        (r#" { "error" : "Success" , "errno" : 0 } "#, None),
        (r#"{"errno":1,"error":"Parameter [app_key] is unverified"}"#, Some(Class::Halt)),
        (r#"{"errno":2,"error":"Parameter [app_sign] is unverified"}"#, Some(Class::Halt)),
        (r#"{"errno":3,"error":"Parameter [data] is unverified"}"#, Some(Class::Permanent)),
        (r#"{"errno":"3"}"#, Some(Class::Permanent)),
        // A number counts by its value, however it is written.
        (r#"{"errno":0.0}"#, None),
        (r#"{"errno":0e0}"#, None),
        (r#"{"errno":-0}"#, None),
        (r#"{"errno":-0.00E1}"#, None),
        (r#"{"errno":1.0}"#, Some(Class::Halt)),
        (r#"{"errno":20e-1}"#, Some(Class::Halt)),
        (r#"{"errno":3.0}"#, Some(Class::Permanent)),
        (r#"{"errno":0.5}"#, Some(Class::Retry)),
        (r#"{"errno":0.00000000000000000000000000001}"#, Some(Class::Retry)),
        (r#"{"errno":1e-400}"#, Some(Class::Retry)),
        (r#"{"errno":"0.0"}"#, Some(Class::Retry)),
        (r#"{"errno":4}"#, Some(Class::Retry)),
        (r#"{"errno":-1}"#, Some(Class::Retry)),
        (r#"{"errno":"busy"}"#, Some(Class::Retry)),
        (r#"{"errno":" 0"}"#, Some(Class::Retry)),
        ("", Some(Class::Ambiguous)),
        ("{}", Some(Class::Ambiguous)),
        ("[0]", Some(Class::Ambiguous)),
        ("0", Some(Class::Ambiguous)),
        ("null", Some(Class::Ambiguous)),
        (r#"{"errno":null}"#, Some(Class::Ambiguous)),
        (r#"{"errno":true}"#, Some(Class::Ambiguous)),
        (r#"{"errno":{}}"#, Some(Class::Ambiguous)),
        (r#"{"errno":0"#, Some(Class::Ambiguous)),
        (r#"{"errno":0,"errno":1}"#, Some(Class::Ambiguous)),
        ("<html>502</html>", Some(Class::Ambiguous)),
    ];
    for (body, expected) in rows {
        assert_eq!(class(&strict, 200, body), expected, "{body}");
    }
    assert_eq!(class(&lenient, 200, r#"{"errno":2}"#), Some(Class::Permanent));
    assert_eq!(class(&lenient, 200, r#"{"errno":2.0}"#), Some(Class::Permanent));
    assert_eq!(class(&lenient, 200, r#"{"errno":1}"#), Some(Class::Halt));
    // The body decides first under a status that refuses, but a success in the body proves nothing there.
    assert_eq!(class(&strict, 400, r#"{"errno":2}"#), Some(Class::Halt));
    assert_eq!(class(&strict, 422, r#"{"errno":9}"#), Some(Class::Retry));
    assert_eq!(class(&strict, 400, r#"{"errno":0}"#), Some(Class::Permanent));
    assert_eq!(class(&strict, 500, r#"{"errno":0}"#), Some(Class::Retry));
    assert_eq!(class(&strict, 503, r#"{"errno":3}"#), Some(Class::Retry));
    assert_eq!(class(&strict, 429, r#"{"errno":0}"#), Some(Class::Throttled));
    assert_eq!(class(&strict, 307, r#"{"errno":0}"#), Some(Class::Halt));
}

#[test]
fn an_error_text_in_another_encoding_hides_no_code() {
    // "参数错误" (wrong parameter) in GBK.
    let body = b"{\"error\":\"\xb2\xce\xca\xfd\xb4\xed\xce\xf3\",\"errno\":3}";
    let verdict = verdict(&sender(""), 200, body).unwrap_err();
    assert_eq!((verdict.class(), verdict.answer().unwrap().code.as_str()), (Some(Class::Permanent), "3"));
}

#[test]
fn an_answer_keeps_code_and_status_and_never_the_body() {
    let body = r#"{"errno":"70\u001b[31m","error":"13812345678"}"#;
    let refused = verdict(&sender(""), 200, body.as_bytes()).unwrap_err();
    let answer = refused.answer().unwrap();
    assert_eq!((answer.code.as_str(), answer.status, answer.sent), ("70?[31m", Some(200), true));
    assert!(answer.unclassified);
    assert!(!answer.detail.contains("138"));

    let refused = verdict(&sender(""), 200, br#"{"errno":3}"#).unwrap_err();
    let answer = refused.answer().unwrap();
    assert_eq!((answer.code.as_str(), answer.unclassified), ("3", false));
}

#[test]
fn an_unmapped_event_is_told_the_names_of_its_line_that_are_most_like_it() {
    let detail = |edit: fn(&mut Value)| match sender("data_industry = \"ocpc_web_convert\"").prepare(&edited(edit)) {
        Err(DeliveryError::UnmappedEvent(fault)) => fault.detail,
        other => panic!("{other:?}"),
    };
    let canonical = detail(|event| event["event_type"] = "form_submitted".into());
    assert!(canonical.starts_with("no event code of 360; most like it: form_submit, "), "{canonical}");
    let code = detail(|event| event["platform_event"] = "SUBMITS".into());
    assert!(code.starts_with("no event code of 360; most like it: SUBMIT, "), "{code}");
    let other_line = detail(|event| event["platform_event"] = "APP_PAY".into());
    assert!(other_line.starts_with("the product line does not know the event code; most like it: "), "{other_line}");
    assert!(!other_line.contains("PAY"), "{other_line}");
}

#[test]
fn the_platform_is_named() {
    let sender = sender("");
    assert_eq!(PLATFORM.name(), "qihoo360");
    assert_eq!(sender.native("pay", None).as_deref(), Some("PAY"));
    assert_eq!(sender.native("pay", Some("ORDER")).as_deref(), Some("ORDER"));
    assert_eq!(sender.native("pay", Some("BUY")), None);
    assert_eq!(sender.native("teleported", None), None);
}

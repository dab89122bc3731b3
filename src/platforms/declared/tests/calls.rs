//! `[calls.NAME]`: a request of the event's arguments, and a result of the answer.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::account::{NOW, configure};
use super::problems::told_of;
use crate::error::{Class, DeliveryError};
use crate::event::{ConversionEvent, decode};
use crate::platforms::call::{Call, CallAnswer, CallEvent, PersonalKind, PreparedCall};
use crate::platforms::headers::Headers;
use crate::platforms::http_status::judge_call;
use crate::platforms::reading::HttpAnswer;
use crate::platforms::{Context, Part, Request};
use crate::secret::SecretString;

/// A tracking service that is asked with a path and a header.
pub(super) const TRACKER: &str = r#"
name = "tracker"
title = "Tracker"
base_url = "https://t.example.com"
[account.keys]
api_key = { secret = true, required = true }
min_interval = { default = "30m" }
per_day = { default = 100 }
[calls."kdniao.track_query"]
reads_only = true
message = "body.words | default('')"
[calls."kdniao.track_query".args]
ShipperCode = "true"
LogisticCode = "true"
CustomerName = "event.args.ShipperCode == 'SF'"
[calls."kdniao.track_query".check]
"args.LogisticCode" = { when = "event.args.LogisticCode | length > 20", says = "longer than 20" }
[calls."kdniao.track_query".request]
url = "/v1/{{ event.args.LogisticCode | urlencode }}"
query = { carrier = "{{ event.args.ShipperCode }}", phone = "{{ event.args.CustomerName | default('') }}", at = "{{ now_ms }}" }
headers = { X-Key = "{{ account.api_key }}" }
[calls."kdniao.track_query".limit]
about = "{{ event.args.LogisticCode }}"
interval = "{{ account.min_interval }}"
per_day = "{{ account.per_day }}"
tz = "Asia/Shanghai"
[calls."kdniao.track_query".answer]
delivered = "body.code in [0, 404]"
refresh = "body.code == 3"
halt = "body.code == 7"
throttled = "body.code == 5"
day = "body.code == 5"
tz = "Asia/Shanghai"
permanent = "body.code == 2"
retry = "body.code == 4"
code = "body.code"
[calls."kdniao.track_query".result]
LogisticCode = "{{ event.args.LogisticCode }}"
carrier = "{{ event.args.ShipperCode | lower }}"
State = "{{ '0' if body.code == 404 else body.state }}"
driver = "{{ body.driver | default(none) }}"
Traces = "{{ [] if body.code == 404 else body.steps | pick(AcceptTime = 'at', AcceptStation = 'what.text') }}"
[calls."kdniao.track_query".personal]
"Traces.*.AcceptStation" = "text"
driver = "value"
"#;

const NAME: &str = "kdniao.track_query";

fn calls(platform: &str, keys: &str) -> Arc<dyn Call> {
    configure(platform, keys, &[]).unwrap_or_else(|told| panic!("{told:?}")).call.unwrap()
}

fn call(args: &Value) -> ConversionEvent {
    let event = json!({
        "kind": "call", "call": NAME, "trans_id": "c-1", "platform": "kdniao", "account": "a", "args": args,
        "event_time_ms": 1_736_899_200_123_i64,
    });
    decode(Some(event.to_string().as_bytes())).unwrap()
}

fn prepare(calls: &dyn Call, event: &ConversionEvent) -> Result<PreparedCall, DeliveryError> {
    let (args, published, paginate) = (&event.args, &event.published, event.reply.paginate);
    let name = event.call.as_deref().unwrap_or_default();
    calls.prepare(&CallEvent { trans_id: &event.trans_id, name, args, paginate, max_pages: None, published }, NOW)
}

fn refused(args: &Value) -> (String, String) {
    match prepare(&*calls(TRACKER, "api_key = 'K'"), &call(args)).unwrap_err() {
        DeliveryError::Invalid(fault) => (fault.field.into_owned(), fault.detail),
        other => panic!("{other:?}"),
    }
}

fn request(calls: &dyn Call, prepared: &PreparedCall) -> Request {
    let token = SecretString::new("TOKEN-7");
    let token = calls.tokens().map(|_| &token);
    calls.request(prepared, 0, &Context { now_ms: NOW, credential: None, token }).unwrap()
}

fn good() -> Value {
    json!({"ShipperCode": "ZTO", "LogisticCode": "7310 0#1"})
}

fn read(status: u16, body: &[u8]) -> Result<Box<CallAnswer>, DeliveryError> {
    let calls = calls(TRACKER, "api_key = 'K'");
    let prepared = prepare(&*calls, &call(&good())).unwrap();
    let http = HttpAnswer { status, body, retry_after: None, headers: Headers::default(), now_ms: NOW };
    judge_call(&http, || calls.read(&prepared, 0, &http))
}

#[test]
fn a_request_is_made_of_the_arguments_and_its_secrets_are_masked() {
    let calls = calls(TRACKER, "api_key = 'KEY-1'");
    assert_eq!(calls.names(), [NAME]);
    let prepared = prepare(&*calls, &call(&good())).unwrap();
    assert_eq!((prepared.name, prepared.destructive), (NAME, false));
    let request = request(&*calls, &prepared);
    assert_eq!((request.method, request.body.len()), ("GET", 0));
    assert_eq!(request.path, "/v1/7310%200%231?carrier=ZTO&at=1736899201000");
    let key = Part::Header("X-Key");
    assert_eq!(request.headers, [("X-Key", "KEY-1".to_owned())]);
    assert_eq!(request.masked_text(key, "KEY-1", "***"), "***");
}

#[test]
fn arguments_are_a_closed_list_and_the_first_one_at_fault_is_named() {
    let field = |args: Value| refused(&args).0;
    assert_eq!(field(json!({})), "args.ShipperCode");
    assert_eq!(field(json!({"ShipperCode": "", "LogisticCode": "1"})), "args.ShipperCode");
    assert_eq!(field(json!({"ShipperCode": "ZTO", "LogisticCode": "__NO__"})), "args.LogisticCode");
    assert_eq!(field(json!({"ShipperCode": "ZTO", "LogisticCode": "a\nb"})), "args.LogisticCode");
    assert_eq!(field(json!({"ShipperCode": "SF", "LogisticCode": "1"})), "args.CustomerName");
    assert_eq!(
        refused(&json!({"ShipperCode": "ZTO", "LogisticCode": "123456789012345678901"})),
        ("args.LogisticCode".into(), "longer than 20".into())
    );
    assert_eq!(field(json!({"ShipperCode": "ZTO", "LogisticCode": "1", "host": "x"})), "args.host");
    // What goes into the query holds no control character, also where it need not be there.
    assert_eq!(
        field(json!({"ShipperCode": "ZTO", "LogisticCode": "1", "CustomerName": "a\r\nb"})),
        "args.CustomerName"
    );
}

#[test]
fn a_limit_takes_its_numbers_from_the_account() {
    let limit = |keys: &str| prepare(&*calls(TRACKER, keys), &call(&good())).unwrap().limit.unwrap();
    let limit_of_defaults = limit("api_key = 'K'");
    assert_eq!((limit_of_defaults.about.as_str(), limit_of_defaults.per_day), ("7310 0#1", Some(100)));
    assert_eq!(limit_of_defaults.interval.as_secs(), 1800);
    assert_eq!(limit("api_key = 'K'\nmin_interval = '5s'\nper_day = 7").interval.as_secs(), 5);
    let told = |keys: &str| configure(TRACKER, keys, &[]).map(drop).unwrap_err();
    let interval = "a.min_interval: has to be a duration up to a day, e.g. \"30m\": calls.kdniao.track_query.limit.interval is made of it";
    assert_eq!(told("api_key = 'K'\nmin_interval = 'soon'"), [interval]);
    assert!(told("api_key = 'K'\nper_day = 0")[0].starts_with("a.per_day: has to be a whole number from 1"));
}

#[test]
fn a_result_is_made_of_the_answer_and_the_event() {
    let body =
        r#"{"code": 0, "state": "3", "driver": null, "words": "ok", "steps": [{"at": "9:00", "what": {"text": "x"}}]}"#;
    let answer = read(200, body.as_bytes()).unwrap();
    let data = json!({"LogisticCode": "7310 0#1", "carrier": "zto", "State": "3",
                      "Traces": [{"AcceptTime": "9:00", "AcceptStation": "x"}]});
    assert_eq!((answer.code.as_str(), answer.message.as_str(), &answer.data), ("0", "ok", &data));
    let places: Vec<_> = answer.personal.iter().map(|place| (&*place.at, place.kind)).collect();
    assert_eq!(places, [("Traces.*.AcceptStation", PersonalKind::Text), ("driver", PersonalKind::Value)]);
    let nothing = read(200, br#"{"code": 404}"#).unwrap();
    assert_eq!(nothing.data["Traces"], json!([]), "no trace yet is an answer");
    assert!(read(500, body.as_bytes()).is_err(), "a status that refuses is believed first");
}

#[test]
fn every_class_of_an_answer_is_that_of_the_calls_own_rules() {
    let class = |body: &str| read(200, body.as_bytes()).unwrap_err();
    let rows = [
        (r#"{"code": 3}"#, Class::Refresh),
        (r#"{"code": 7}"#, Class::Halt),
        (r#"{"code": 5}"#, Class::Throttled),
        (r#"{"code": 2}"#, Class::Permanent),
        (r#"{"code": 4}"#, Class::Retry),
        (r#"{"code": 99}"#, Class::Retry),
    ];
    for (body, expected) in rows {
        assert_eq!(class(body).class(), Some(expected), "{body}");
    }
    let DeliveryError::Throttled(day) = class(r#"{"code": 5}"#) else { panic!() };
    assert!(day.quota_wait.is_some(), "a limit of the day waits for its midnight");
    assert!(class(r#"{"code": 99}"#).answer().unwrap().unclassified);
}

#[test]
fn an_answer_of_which_no_result_can_be_made_is_no_answer() {
    let rows = [
        r#"{"code": 0, "state": "3"}"#,
        r#"{"code": 0, "state": "3", "steps": "none"}"#,
        r#"{"code": 0, "state": "3", "steps": [7]}"#,
    ];
    for body in rows {
        let error = read(200, body.as_bytes()).unwrap_err();
        let answer = error.answer().unwrap();
        assert!(matches!(error, DeliveryError::Retry(_)) && answer.unclassified, "{body}: {error:?}");
        assert!(answer.detail.contains("calls.kdniao.track_query.result"), "{body}: {}", answer.detail);
    }
    assert!(read(200, b"<html>").is_err() && read(200, b"").is_err());
}

const TOKENS: &str = r#"
name = "both"
title = "Both"
base_url = "https://b.example.com"
[account.keys]
app_id = { required = true }
[events]
pay = 1
[[request]]
url = "/pay"
json = { t = "{{ token.access }}", n = "{{ native }}" }
[calls.find]
reads_only = true
args = { id = "true" }
request = { url = "/find", form = { id = "{{ event.args.id }}", app = "{{ account.app_id }}" }, sign = { form = "sig", value = "{{ (form.id ~ form.app ~ token.access) | md5 }}" } }
result = { found = "{{ body.found }}" }
[answer]
delivered = "body.ok"
[token]
request = { url = "/token" }
access = "body.access"
"#;

#[test]
fn a_platform_can_send_conversions_and_make_calls_with_one_token() {
    let configured = configure(TOKENS, "app_id = 'i'\ntoken = { access = 'A' }", &[]).unwrap();
    let (sender, calls) = (configured.sender.unwrap(), configured.call.unwrap());
    assert!(sender.tokens().is_some() && calls.tokens().is_some());
    let event = ConversionEvent { call: Some("find".into()), ..call(&json!({"id": "7 8"})) };
    let prepared = prepare(&*calls, &event).unwrap();
    let request = request(&*calls, &prepared);
    let body = std::str::from_utf8(&request.body).unwrap();
    assert_eq!(body, "id=7+8&app=i&sig=065d6dfd0c3311c8323f3084d7c48c16");
    assert_eq!(request.signature_input.as_ref().unwrap().expose(), "7 8iTOKEN-7");
    assert!(request.has_secret(Part::SignatureInput));
    let http = HttpAnswer {
        status: 200,
        body: br#"{"ok": true, "found": [1]}"#,
        retry_after: None,
        headers: Headers::default(),
        now_ms: 0,
    };
    assert_eq!(judge_call(&http, || calls.read(&prepared, 0, &http)).unwrap().data, json!({"found": [1]}));
    assert_eq!(
        configure(TOKENS, "", &[]).map(drop).unwrap_err(),
        ["a.app_id: is missing"],
        "what a call needs is told when the account is read"
    );
}

#[test]
fn a_platform_of_calls_alone_takes_no_conversions() {
    let configured = configure(TRACKER, "api_key = 'K'", &[]).unwrap();
    assert!(configured.sender.is_none());
    let told = configure(TRACKER, "api_key = 'K'", &[("pay", "1")]).map(drop).unwrap_err();
    assert_eq!(told, ["a.map.pay: the platform takes calls alone, and no conversions"]);
}

const CALL: &str = "[calls.x]\nreads_only = true\nresult = { a = 1 }\n[calls.x.request]\nurl = \"/x\"\n";

#[test]
fn what_is_wrong_with_a_call_is_told_with_its_line_and_key() {
    let answer = "[answer]\ndelivered = \"true\"\n";
    assert_eq!(told_of(&format!("{CALL}{answer}")), [""; 0]);
    let instead = |from: &str, to: &str| told_of(&format!("{}{answer}", CALL.replace(from, to)));
    let rows = [
        (
            "reads_only = true\n",
            "",
            "1: calls.x.reads_only: has to be true: a call is made again if its answer does not come, so that only a request \
             that changes nothing can be declared; any other one is written in code",
        ),
        ("result = { a = 1 }\n", "", "1: calls.x.result: is missing: what the caller gets"),
        (
            "url = \"/x\"",
            "url = \"/x\"\nmethod = \"DELETE\"",
            "6: calls.x.request.method: has to be GET or POST: a declared call only reads, and DELETE changes something",
        ),
        (
            "url = \"/x\"",
            "url = \"/x\"\nwhen = \"true\"",
            "6: calls.x.request.when: is for conversions: here is one request, below base_url",
        ),
        (
            "{ a = 1 }",
            "{ a = \"{{ body.x | pikc(a = 'b') }}\" }",
            "3: calls.x.result.a: at character 13 (`pikc`): there is no filter `pikc`; did you mean `pick`?",
        ),
        (
            "{ a = 1 }",
            "{ a = \"{{ native }}\" }",
            "3: calls.x.result.a: at character 4 (`native`): nothing is called `native` here; there are status, headers, body, text, account, event",
        ),
        (
            "{ a = 1 }",
            "{ a = 1 }\npersonal = { b = \"text\" }",
            "4: calls.x.personal.b: is no place of the result, which has a",
        ),
        (
            "{ a = 1 }",
            "{ a = 1 }\npersonal = { a = \"name\" }",
            "4: calls.x.personal.a: has to be \"value\" or \"text\", not \"name\"",
        ),
        (
            "{ a = 1 }",
            "{ a = 1 }\nlimit = { about = \"{{ event.args.n }}\", interval = \"soon\" }",
            "4: calls.x.limit.interval: has to be a duration up to a day, e.g. \"30m\"",
        ),
        (
            "{ a = 1 }",
            "{ a = 1 }\nlimit = { per_day = 5 }",
            "4: calls.x.limit.about: is missing: what a call asks about, e.g. a number of the event",
        ),
        (
            "{ a = 1 }",
            "{ a = 1 }\nargs = { \"a.b\" = \"true\" }",
            "4: calls.x.args.a.b: has to be a member of `args` itself",
        ),
        (
            "{ a = 1 }",
            "{ a = 1 }\nanswer = { code = \"body.c\" }",
            "4: calls.x.answer.delivered: is missing: without it no answer would be one to this call",
        ),
        (
            "{ a = 1 }",
            "{ a = 1 }\nanswer = { delivered = \"true\", split = \"true\" }",
            "4: calls.x.answer.split: is for conversions: a call has one answer, which is its result",
        ),
        ("[calls.x]\n", "[calls.x]\npages = 3\n", "2: calls.x.pages: is no key of this table"),
        (
            "url = \"/x\"",
            "url = \"/x\"\nsign = { form = \"s\", value = \"{{ form.a }}\" }",
            "6: calls.x.request.sign.form: stands in a request without a form",
        ),
    ];
    for (from, to, expected) in rows {
        let told = instead(from, to);
        assert!(told.iter().any(|told| told.starts_with(expected)), "{expected} is not in {told:#?}");
    }
    let dotted = CALL.replace("calls.x", "calls.\"a.b\"").replace("\"/x\"", "\"x\"");
    assert_eq!(
        told_of(&format!("{dotted}{answer}")),
        ["5: calls.a.b.request.url: has to be a path below base_url, beginning with /"]
    );
    assert_eq!(told_of(""), ["request: is missing: write at least one [[request]], or one [calls.NAME]"]);
}

proptest! {
    #[test]
    fn any_answer_has_a_class(status in 100_u16..600, body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(status, &body);
    }

    #[test]
    fn any_json_has_a_class(code in 0..8, state in "\\PC*", steps in proptest::collection::vec("\\PC*", 0..4)) {
        let body = json!({"code": code, "state": state, "steps": steps}).to_string();
        let read = read(200, body.as_bytes());
        prop_assert!(read.is_err() || code == 0);
    }
}

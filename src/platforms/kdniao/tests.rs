use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::error::Class;
use crate::event::{Members, Paginate, Published};
use crate::platforms::Credential;
use crate::platforms::call::CallAnswer;
use crate::platforms::headers::Headers;

/// 2025-01-15 08:00:01 in Shanghai: 15:59:59 before midnight.
const NOW: i64 = 1_736_899_201_000;

fn account(text: &str) -> Kdniao {
    Kdniao::new(toml::from_str(text).unwrap(), &BTreeMap::new()).unwrap()
}

fn problems(text: &str) -> Vec<String> {
    let made = Kdniao::new(toml::from_str(text).unwrap(), &BTreeMap::new());
    made.err().unwrap_or_default().into_iter().map(|(key, _)| key).collect()
}

fn credential(id: &str, key: &str) -> Credential {
    let secret = SecretString::new(key);
    Credential { id: "a".into(), key: id.into(), secret, not_before_ms: None, not_after_ms: None }
}

fn prepare(account: &Kdniao, name: &str, args: &Value) -> Result<PreparedCall, DeliveryError> {
    let args: Members = serde_json::from_value(args.clone()).unwrap();
    let published = Published::default();
    let (args, published) = (&args, &published);
    let call = CallEvent { trans_id: "c-1", name, args, paginate: Paginate::None, max_pages: None, published };
    account.prepare(&call, NOW)
}

fn prepared(account: &Kdniao, args: &Value) -> PreparedCall {
    prepare(account, TRACK_QUERY, args).unwrap()
}

fn refusal(args: &Value) -> (String, String) {
    match prepare(&account(""), TRACK_QUERY, args).unwrap_err() {
        DeliveryError::Invalid(fault) => (fault.field.into_owned(), fault.detail),
        other => panic!("{other:?}"),
    }
}

fn request(account: &Kdniao, call: &PreparedCall) -> Request {
    let credential = credential("1237100", "00000000-1111-2222-3333-444444444444");
    account.request(call, 0, &Context { now_ms: NOW, credential: Some(&credential), token: None }).unwrap()
}

fn body(account: &Kdniao, call: &PreparedCall) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(&request(account, call).body).into_owned().collect()
}

#[test]
fn a_query_is_the_request_of_the_vector() {
    let args = json!({"LogisticCode": "73100-123 456789", "ShipperCode": "ZTO"});
    let all: Value = serde_json::from_str(include_str!("../../../tests/fixtures/vectors.json")).unwrap();
    for (mode, id) in [("base64_md5", "kdn-03-json-public-recipe"), ("md5_upper", "kdn-04-json-seed-recipe")] {
        let vector = all["signatures"].as_array().unwrap().iter().find(|v| v["id"] == id).unwrap();
        let account = account(&format!("data_sign = '{mode}'"));
        let request = request(&account, &prepared(&account, &args));
        assert_eq!(request.body, vector["form_body"].as_str().unwrap(), "{id}");
        assert_eq!(request.signature_input.unwrap().expose(), vector["string_to_sign"].as_str().unwrap());
        assert_eq!((request.method, &*request.path), ("POST", "/Ebusiness/EbusinessOrderHandle.aspx"));
        assert_eq!(request.headers, [("Content-Type", CONTENT_TYPE.to_owned())]);
        assert_eq!(request.answer_bytes, CALL_ANSWER_BYTES);
    }
}

#[test]
fn members_stand_in_their_order_and_an_absent_order_code_is_empty() {
    let data = |args: Value| body(&account(""), &prepared(&account(""), &args))["RequestData"].clone();
    assert_eq!(
        data(json!({"CustomerName": "1234", "LogisticCode": "SF118", "ShipperCode": "SF", "OrderCode": "订单1"})),
        r#"{"OrderCode":"订单1","ShipperCode":"SF","LogisticCode":"SF118","CustomerName":"1234"}"#
    );
    let short = r#"{"OrderCode":"","ShipperCode":"YTO","LogisticCode":"7"}"#;
    assert_eq!(data(json!({"LogisticCode": "7", "ShipperCode": "YTO"})), short);
    let nulls = json!({"LogisticCode": "7", "ShipperCode": "YTO", "OrderCode": null, "CustomerName": ""});
    assert_eq!(data(nulls), short);
}

#[test]
fn a_waybill_is_letters_and_digits() {
    let number = |text: &str| {
        let args = json!({"LogisticCode": text, "ShipperCode": "YTO"});
        prepared(&account(""), &args).limit.unwrap().about
    };
    for text in ["YT 7310-0123", "YT73100123", " YT7310.0123\t", "YT\u{3000}7310_0123", "'YT7310&0123'", "YT７73100123"]
    {
        assert_eq!(number(text), "YTO:YT73100123", "{text:?}");
    }
    for text in ["", " ", "---", "中通", "{{waybill}}", "__WAYBILL__", "null", "undefined"] {
        assert_eq!(refusal(&json!({"LogisticCode": text, "ShipperCode": "YTO"})).0, "args.LogisticCode", "{text:?}");
    }
}

#[test]
fn the_first_field_at_fault_is_named() {
    let good = json!({"LogisticCode": "7", "ShipperCode": "SF", "CustomerName": "1234", "OrderCode": "1"});
    let rows: [(&str, Value, &str); 19] = [
        ("OrderCode", json!(7), "args.OrderCode"),
        ("OrderCode", json!("a&b"), "args.OrderCode"),
        ("OrderCode", json!("a\nb"), "args.OrderCode"),
        ("OrderCode", json!("it's"), "args.OrderCode"),
        ("OrderCode", json!("\""), "args.OrderCode"),
        ("OrderCode", json!("50%"), "args.OrderCode"),
        ("OrderCode", json!("<a>"), "args.OrderCode"),
        ("OrderCode", json!("a+b"), "args.OrderCode"),
        ("OrderCode", json!("#1"), "args.OrderCode"),
        ("ShipperCode", Value::Null, "args.ShipperCode"),
        ("ShipperCode", json!(""), "args.ShipperCode"),
        ("ShipperCode", json!(["SF"]), "args.ShipperCode"),
        ("ShipperCode", json!("sf"), "args.ShipperCode"),
        ("LogisticCode", Value::Null, "args.LogisticCode"),
        ("LogisticCode", json!(731_001), "args.LogisticCode"),
        ("CustomerName", Value::Null, "args.CustomerName"),
        ("CustomerName", json!("13812345678"), "args.CustomerName"),
        ("CustomerName", json!({}), "args.CustomerName"),
        ("Phone", json!("1"), "args.Phone"),
    ];
    for (name, value, field) in rows {
        let mut args = good.clone();
        args[name] = value;
        assert_eq!(refusal(&args).0, field, "{args}");
    }
    assert!(prepare(&account(""), TRACK_QUERY, &good).is_ok());
    let both = json!({"LogisticCode": "-", "ShipperCode": "no such", "Phone": "1"});
    assert_eq!(refusal(&both).0, "args.ShipperCode");
    for name in ["kdniao.track", "track_query", "", "doudian.order_list"] {
        let Err(DeliveryError::Invalid(fault)) = prepare(&account(""), name, &good) else { panic!("{name}") };
        assert_eq!(fault.field, "call");
    }
}

#[test]
fn an_unknown_carrier_is_refused_with_the_nearest_ones_and_without_its_value() {
    let (field, detail) = refusal(&json!({"LogisticCode": "7", "ShipperCode": "圆通快递"}));
    assert_eq!(field, "args.ShipperCode");
    assert!(detail.contains("YTO (圆通速递)") && !detail.contains("圆通快递"), "{detail}");
    let (_, detail) = refusal(&json!({"LogisticCode": "7", "ShipperCode": "13812345678"}));
    assert!(detail.contains("carriers") && !detail.contains("138"), "{detail}");
    let own = account("carriers = ['NEW1']");
    assert!(prepare(&own, TRACK_QUERY, &json!({"LogisticCode": "7", "ShipperCode": "NEW1"})).is_ok());
}

#[test]
fn carriers_that_may_ask_for_a_phone_are_warned_of() {
    let warnings = |args: Value| prepared(&account(""), &args).warnings;
    assert_eq!(warnings(json!({"LogisticCode": "7", "ShipperCode": "ZTO"})).len(), 1);
    assert!(warnings(json!({"LogisticCode": "7", "ShipperCode": "ZTO", "CustomerName": "1234"})).is_empty());
    assert!(warnings(json!({"LogisticCode": "7", "ShipperCode": "YTO"})).is_empty());
}

#[test]
fn each_request_type_has_its_number_and_address_and_a_subscription_no_limit() {
    let args = json!({"LogisticCode": "7", "ShipperCode": "YTO"});
    let (query, dist) = ("/Ebusiness/EbusinessOrderHandle.aspx", "/api/dist");
    for (config, name, number, path, limited) in [
        ("", TRACK_QUERY, "1002", query, true),
        ("request_type = 8001", TRACK_QUERY, "8001", query, true),
        ("request_type = 8002", TRACK_QUERY, "8002", query, true),
        ("request_type = 1008", TRACK_QUERY, "1008", dist, false),
        ("", SUBSCRIBE, "1008", dist, false),
        ("request_type = 8001", SUBSCRIBE, "1008", dist, false),
    ] {
        let account = account(config);
        let call = prepare(&account, name, &args).unwrap();
        assert_eq!((call.name, call.parts, call.destructive), (name, Parts::One, false));
        assert_eq!(body(&account, &call)["RequestType"], number, "{config} {name}");
        assert_eq!((&*request(&account, &call).path, call.limit.is_some()), (path, limited), "{config} {name}");
    }
    let without = json!({"LogisticCode": "7"});
    let finds = account("request_type = 8002");
    assert_eq!(body(&finds, &prepared(&finds, &without))["RequestData"], r#"{"OrderCode":"","LogisticCode":"7"}"#);
    assert!(prepare(&finds, SUBSCRIBE, &without).is_err(), "a subscription needs its carrier");
}

#[test]
fn the_limits_are_those_of_the_account() {
    let args = json!({"LogisticCode": "7-1", "ShipperCode": "YTO"});
    let limit = |text: &str| prepared(&account(text), &args).limit.unwrap();
    let about = "YTO:71".to_owned();
    let standard = CallLimit { about, interval: Duration::from_secs(1800), per_day: Some(500), tz: ZONE };
    assert_eq!(limit(""), standard);
    let own = CallLimit { interval: Duration::ZERO, per_day: Some(7), ..standard };
    assert_eq!(limit("min_interval = '0s'\ndaily_limit = 7"), own);
}

#[test]
fn every_problem_of_an_account_is_found_at_once() {
    let text = "request_type = 2002\nmin_interval = 'soon'\ndaily_limit = 0\ncarriers = ['a b', '']";
    assert_eq!(problems(text), ["request_type", "min_interval", "daily_limit", "carriers", "carriers"]);
    assert_eq!(problems("min_interval = '25h'"), ["min_interval"]);
    assert_eq!(problems("min_interval = '1d'"), [""; 0]);
    let map = BTreeMap::from([("pay".to_owned(), "x".to_owned())]);
    assert_eq!(Kdniao::new(Config::default(), &map).err().unwrap()[0].0, "map.pay");
}

#[test]
fn every_documented_key_is_read() {
    let all = "data_sign = 'md5_upper'\nrequest_type = 8001\nmin_interval = '1h'\ndaily_limit = 9\ncarriers = ['X']\n\
               alternates = ['other']";
    let mut keys: Vec<String> = toml::from_str::<toml::Table>(all).unwrap().keys().cloned().collect();
    keys.sort_unstable();
    let mut known = PLATFORM.keys();
    known.sort_unstable();
    assert_eq!(keys, known);
    assert!(toml::from_str::<Config>("data_sign = 'md5'").is_err());
    assert!(problems(all).is_empty());
}

#[test]
fn nothing_is_signed_without_a_credential() {
    let call = prepared(&account(""), &json!({"LogisticCode": "7", "ShipperCode": "YTO"}));
    for credential in [None, Some(credential("1237100", "")), Some(credential("", "key"))] {
        let context = Context { now_ms: NOW, credential: credential.as_ref(), token: None };
        assert_eq!(account("").request(&call, 0, &context).unwrap_err().field, "secrets");
    }
}

fn reading(text: &str) -> CallReading {
    let account = account("");
    let call = prepared(&account, &json!({"LogisticCode": "7", "ShipperCode": "YTO"}));
    account.read(
        &call,
        0,
        &HttpAnswer { status: 200, retry_after: None, headers: Headers::default(), body: text.as_bytes(), now_ms: NOW },
    )
}

fn answer(body: &Value) -> CallAnswer {
    match reading(&body.to_string()) {
        CallReading::Answer(answer) => *answer,
        other => panic!("{other:?}"),
    }
}

fn failure(reason: &str) -> DeliveryError {
    match reading(&json!({"EBusinessID": "1237100", "Success": false, "Reason": reason}).to_string()) {
        CallReading::Failed(error) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_answer_is_given_on_as_it_came_with_the_names_of_its_states() {
    let traces = json!([{"AcceptTime": "2025-01-15 08:05:37", "AcceptStation": "已揽收", "Remark": ""}]);
    let body = json!({"Success": true, "State": "2", "StateEx": "202", "LogisticCode": "7", "Traces": traces});
    let read = answer(&body);
    let mut expected = body;
    expected["state_name"] = json!("in_transit");
    expected["state_ex_name"] = json!("in_delivery");
    assert_eq!((read.data, read.code.as_str(), read.items, read.more), (expected, "2", None, false));
    for (state, name) in [("0", "none"), ("1", "picked_up"), ("3", "signed"), ("4", "problem")] {
        let read = answer(&json!({"Success": true, "State": state}));
        assert_eq!((&read.data["state_name"], read.data.get("state_ex_name")), (&json!(name), None));
    }
    assert_eq!(answer(&json!({"Success": "true", "State": 3})).data["state_name"], "signed");
    assert_eq!(answer(&json!({"Success": true, "State": "77"})).data["state_name"], Value::Null);
    let subscribed = json!({"Success": true, "UpdateTime": "2025-01-15", "Reason": ""});
    assert_eq!(answer(&subscribed).data, subscribed);
}

#[test]
fn no_trace_yet_is_an_answer() {
    let read = answer(&json!({"Success": true, "State": "0", "Traces": [], "Reason": "暂无轨迹信息"}));
    assert_eq!((read.message.as_str(), &read.data["Traces"]), ("暂无轨迹信息", &json!([])));
}

#[test]
fn every_row_of_the_reason_table_has_its_class() {
    for (reason, class) in [
        ("签名错误", Class::Halt),
        ("DataSign验证失败", Class::Halt),
        ("EBusinessID不存在", Class::Halt),
        ("没有可用套餐", Class::Halt),
        ("查询次数不足", Class::Halt),
        ("今日查询次数已达上限", Class::Throttled),
        ("单号有误", Class::Retry),
        ("", Class::Retry),
    ] {
        let error = failure(reason);
        assert_eq!(error.class(), Some(class), "{reason}");
        let answer = error.answer().unwrap();
        assert_eq!((answer.status, answer.sent, answer.unclassified), (Some(200), true, class == Class::Retry));
        // With the second that is added to the end of a day.
        let until_midnight = Duration::from_secs(16 * 3600);
        assert_eq!(answer.quota_wait, (class == Class::Throttled).then_some(until_midnight), "{reason}");
    }
    let said = failure("请联系13812345678\n或重试，签收人：张三").answer().unwrap().detail.clone();
    assert!(said.contains("138****5678") && !said.contains('\n') && !said.contains("张三"), "{said}");
}

#[test]
fn what_is_no_answer_is_left_to_the_status() {
    for text in ["", "<html>", "[]", "[true]", "{}", r#"{"Success":1}"#, r#"{"Success":null}"#, r#"{"Success":true"#] {
        assert!(matches!(reading(text), CallReading::Nothing), "{text}");
    }
}

#[test]
fn any_bytes_are_read_without_a_panic() {
    proptest::proptest!(|(text in "\\PC*", state in "\\PC{0,4}")| {
        reading(&text);
        reading(&json!({"Success": true, "State": state, "Traces": text}).to_string());
        reading(&json!({"Success": false, "Reason": text}).to_string());
    });
}

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::prepare::yuan;
use super::*;
use crate::error::Class;
use crate::event::decode;
use crate::platforms::headers::Headers;
use crate::platforms::http_status::judge;
use crate::platforms::reading::{Verdict, Verdicts};

const UID: &str = "0123456789abcdef0123456789abcdef";
const ACCOUNT: &str = "product = { install = 'acc', register = 'acc', back = 'P-0193' }\n";

fn sender(text: &str) -> Baizhu {
    Baizhu::new(toml::from_str(&format!("{ACCOUNT}{text}")).unwrap(), BTreeMap::new()).unwrap()
}

fn edited(edit: impl FnOnce(&mut Value)) -> ConversionEvent {
    let mut value = json!({
        "trans_id": "t", "platform": "baizhu", "account": "a", "event_type": "effective_user",
        "event_time_ms": 1_736_899_200_123_i64,
        "user": {"user_id": UID},
        "order": {"order_id": "1001", "amount": {"minor": 2345, "currency": "CNY"}, "refund": {"minor": 5, "currency": "CNY"}},
        "params": {"product_name": "斗地主"}
    });
    edit(&mut value);
    decode(Some(value.to_string().as_bytes())).unwrap()
}

fn fields(sender: &Baizhu, event: &ConversionEvent) -> Vec<(String, String)> {
    let item = sender.prepare(event).unwrap().item;
    let form = Form::of(&item).unwrap();
    form.fields().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn field(sender: &Baizhu, event: &ConversionEvent, name: &str) -> Option<String> {
    fields(sender, event).into_iter().find(|(n, _)| n == name).map(|(_, value)| value)
}

fn refusal(sender: &Baizhu, event: &ConversionEvent) -> (&'static str, String) {
    match sender.prepare(event) {
        Err(DeliveryError::Invalid(fault)) => ("invalid", fault.field.into_owned()),
        Err(DeliveryError::UnmappedEvent(fault)) => ("unmapped_event", fault.field.into_owned()),
        other => panic!("{other:?}"),
    }
}

fn request(sender: &Baizhu, event: &ConversionEvent) -> Request {
    let prepared = sender.prepare(event).unwrap();
    sender.request(&[&prepared], &Context { now_ms: 0, credential: None, token: None }).unwrap()
}

#[test]
fn each_event_has_its_url_and_its_product() {
    let rows = [("install", "install", "acc"), ("register", "register", "acc"), ("effective_user", "back", "P-0193")];
    for (event_type, native, product) in rows {
        let event = edited(|e| e["event_type"] = json!(event_type));
        let sender = sender("");
        let prepared = sender.prepare(&event).unwrap();
        assert_eq!(prepared.native, native);
        assert_eq!(field(&sender, &event, "product").as_deref(), Some(product));
        let request = request(&sender, &event);
        assert_eq!((request.method, request.path.as_ref()), ("POST", format!("/data/{native}").as_str()));
        assert_eq!(request.signature_input, None);
    }
}

#[test]
fn a_sale_carries_every_field_in_the_order_of_the_table() {
    let pairs = fields(&sender(""), &edited(|_| {}));
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(
        pairs,
        [
            ("product", "P-0193"),
            ("uid", UID),
            ("product-name", "斗地主"),
            ("money", "23.45"),
            ("order_number", "1001"),
            ("returned_money", "0.05"),
        ]
    );
}

#[test]
fn installs_and_registrations_carry_product_and_uid_alone() {
    for event_type in ["install", "register"] {
        let event = edited(|e| e["event_type"] = json!(event_type));
        assert_eq!(fields(&sender(""), &event).len(), 2);
        assert_eq!(sender("").prepare(&event).unwrap().warnings.len(), 3);
    }
}

#[test]
fn a_product_settled_by_action_drops_amounts_with_a_warning() {
    let cpa = sender("settlement = 'cpa'");
    let prepared = cpa.prepare(&edited(|e| e["order"]["amount"]["currency"] = json!("USD"))).unwrap();
    assert_eq!(prepared.warnings.len(), 2);
    assert!(!prepared.never_repeat);
    let names: Vec<String> = fields(&cpa, &edited(|_| {})).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["product", "uid", "product-name", "order_number"]);
}

#[test]
fn money_without_an_order_number_is_never_repeated() {
    let sale = sender("");
    let never = |edit: fn(&mut Value)| sale.prepare(&edited(edit)).unwrap().never_repeat;
    assert!(!never(|_| {}));
    assert!(never(|e| e["order"]["order_id"] = Value::Null));
    assert!(never(|e| e["order"]["order_id"] = json!("")));
    assert!(never(|e| e["order"] = json!({"refund": {"minor": 5, "currency": "CNY"}})));
    assert!(never(|e| e["order"] = json!({"amount": {"minor": 0, "currency": "CNY"}})));
    assert!(!never(|e| e["order"] = Value::Null));
    assert!(!never(|e| {
        e["event_type"] = json!("install");
        e["order"]["order_id"] = Value::Null;
    }));
}

#[test]
fn each_missing_or_wrong_field_is_named() {
    type Edit = fn(&mut Value);
    let rows: [(&str, Edit); 16] = [
        ("user.user_id", |e| e["user"] = Value::Null),
        ("user.user_id", |e| e["user"]["user_id"] = json!("")),
        ("user.user_id", |e| e["user"]["user_id"] = json!("a".repeat(31))),
        ("user.user_id", |e| e["user"]["user_id"] = json!("a".repeat(33))),
        ("user.user_id", |e| e["user"]["user_id"] = json!(format!("{}\n", "a".repeat(31)))),
        ("user.user_id", |e| e["user"]["user_id"] = json!(format!("__{}__", "a".repeat(28)))),
        ("order.amount.minor", |e| e["order"]["amount"]["minor"] = json!(-1)),
        ("order.amount.currency", |e| e["order"]["amount"]["currency"] = json!("JPY")),
        ("order.refund.minor", |e| e["order"]["refund"]["minor"] = json!(-1)),
        ("order.refund.currency", |e| e["order"]["refund"]["currency"] = json!("USD")),
        ("order.order_id", |e| e["order"]["order_id"] = json!("1\r\n2")),
        ("params.product_name", |e| e["params"]["product_name"] = json!("a\r\nb")),
        ("params.product_name", |e| e["params"]["product_name"] = json!(["a"])),
        // The first step decides.
        ("user.user_id", |e| {
            e["user"] = Value::Null;
            e["order"]["amount"]["minor"] = json!(-1);
        }),
        ("order.amount.minor", |e| {
            e["user"]["user_id"] = json!("short");
            e["order"]["amount"]["minor"] = json!(-1);
        }),
        ("user.user_id", |e| {
            e["user"]["user_id"] = json!("short");
            e["order"]["order_id"] = json!("\n");
        }),
    ];
    for (i, (field, edit)) in rows.into_iter().enumerate() {
        assert_eq!(refusal(&sender(""), &edited(edit)), ("invalid", field.into()), "row {i}");
    }
    // 32 characters, not bytes
    assert!(sender("").prepare(&edited(|e| e["user"]["user_id"] = json!("游".repeat(32)))).is_ok());
}

#[test]
fn an_endpoint_without_a_product_refuses_its_events() {
    let partial = Baizhu::new(toml::from_str("product.install = 'acc'").unwrap(), BTreeMap::new()).unwrap();
    assert_eq!(refusal(&partial, &edited(|_| {})), ("invalid", "event_type".into()));
    assert!(partial.prepare(&edited(|e| e["event_type"] = json!("install"))).is_ok());
    let warned: Vec<String> = partial.warnings().into_iter().map(|(key, _)| key).collect();
    assert_eq!(warned, ["product.register", "product.back"]);
    assert!(sender("").warnings().is_empty());
}

#[test]
fn native_names_override_and_mappings_add() {
    let event = edited(|e| e["platform_event"] = json!("install"));
    assert_eq!(sender("").prepare(&event).unwrap().native, "install");
    let event = edited(|e| e["platform_event"] = json!("effective_user"));
    assert_eq!(refusal(&sender(""), &event), ("unmapped_event", "platform_event".into()));
    assert_eq!(
        refusal(&sender(""), &edited(|e| e["event_type"] = json!("pay"))),
        ("unmapped_event", "event_type".into())
    );

    let map = BTreeMap::from([("pay".to_owned(), "back".to_owned())]);
    let mapped = Baizhu::new(toml::from_str(ACCOUNT).unwrap(), map).unwrap();
    assert_eq!(mapped.prepare(&edited(|e| e["event_type"] = json!("pay"))).unwrap().native, "back");
    assert_eq!(mapped.native("pay", None).as_deref(), Some("back"));
    assert_eq!(mapped.native("effective_user", None).as_deref(), Some("back"));
    assert_eq!(mapped.native("other", None), None);
}

#[test]
fn every_problem_of_an_account_is_found_at_once() {
    let text = r#"
        product = { install = "", back = "a\nb" }
        field = { product_name = "name", returned_money = "re turned" }
        success_values = []
    "#;
    let map = BTreeMap::from([("pay".to_owned(), "pay".to_owned())]);
    let problems = Baizhu::new(toml::from_str(text).unwrap(), map).err().unwrap();
    let keys: Vec<&str> = problems.iter().map(|(key, _)| key.as_str()).collect();
    let expected =
        ["product.install", "product.back", "field.product_name", "field.returned_money", "success_values", "map.pay"];
    assert_eq!(keys, expected);
    let clash = Baizhu::new(toml::from_str("field.returned_money = 'money'").unwrap(), BTreeMap::new());
    assert_eq!(clash.err().unwrap().len(), 1);
}

#[test]
fn every_documented_key_is_read() {
    let all = "product = { install = 'a', register = 'b', back = 'c' }\nsettlement = 'cpa'\nencoding = 'urlencoded'\n\
               field = { product_name = 'both', returned_money = 'refund' }\namount_unit = 'fen'\nsuccess_values = ['ok']";
    let mut keys = Vec::new();
    for (key, value) in &toml::from_str::<toml::Table>(all).unwrap() {
        match value.as_table() {
            Some(inner) => keys.extend(inner.keys().map(|k| format!("{key}.{k}"))),
            None => keys.push(key.clone()),
        }
    }
    keys.sort_unstable();
    let mut known = PLATFORM.keys();
    known.sort_unstable();
    assert_eq!(keys, known);
    for wrong in ["settlement = 'cpm'", "encoding = 'json'", "amount_unit = 'jiao'"] {
        assert!(toml::from_str::<Config>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn fields_take_the_configured_names_and_units() {
    let event = edited(|_| {});
    assert_eq!(
        field(&sender("field.product_name = 'product_name'"), &event, "product_name").as_deref(),
        Some("斗地主")
    );
    assert_eq!(field(&sender("field.product_name = 'product_name'"), &event, "product-name"), None);
    let both = sender("field.product_name = 'both'");
    assert!(field(&both, &event, "product_name").is_some() && field(&both, &event, "product-name").is_some());
    assert_eq!(field(&sender("field.returned_money = 'refund'"), &event, "refund").as_deref(), Some("0.05"));
    let fen = sender("amount_unit = 'fen'");
    assert_eq!(field(&fen, &event, "money").as_deref(), Some("2345"));
    assert_eq!(field(&fen, &event, "returned_money").as_deref(), Some("5"));
}

#[test]
fn both_encodings_are_written_and_repeat_to_the_byte() {
    let multipart = request(&sender(""), &edited(|_| {}));
    assert_eq!(multipart, request(&sender(""), &edited(|_| {})));
    assert!(multipart.headers[0].1.starts_with("multipart/form-data; boundary="));
    let urlencoded = request(&sender("encoding = 'urlencoded'"), &edited(|_| {}));
    assert_eq!(urlencoded.headers, [("Content-Type", "application/x-www-form-urlencoded".to_owned())]);
    assert!(urlencoded.body.starts_with(b"product=P-0193&uid="));
}

#[test]
fn amounts_are_decimals_as_the_vectors_say() {
    let all: Value = serde_json::from_str(include_str!("../../../tests/fixtures/vectors.json")).unwrap();
    for v in all["amounts"].as_array().unwrap() {
        let event = edited(|e| e["order"]["amount"] = json!({"minor": v["minor"], "currency": v["currency"]}));
        match v.get("baizhu.money") {
            Some(money) => assert_eq!(field(&sender(""), &event, "money").as_deref(), money.as_str()),
            None => assert_eq!(refusal(&sender(""), &event), ("invalid", "order.amount.currency".into())),
        }
    }
}

fn verdict(sender: &Baizhu, status: u16, body: &str) -> Verdict {
    let http = HttpAnswer { status, retry_after: None, headers: Headers::default(), body: body.as_bytes(), now_ms: 0 };
    let Verdicts::All(verdict) = judge(1, &http, || sender.read(&[], &http)) else { panic!("not one verdict") };
    verdict
}

#[test]
fn every_row_of_the_verdict_table_has_its_class() {
    let class = |sender: &Baizhu, status, body: &str| verdict(sender, status, body).err().and_then(|e| e.class());
    let rows = [
        (200, r#"{"code":"success"}"#, None),
        (201, " {\r\n \"code\" : \"success\" } ", None),
        (200, r#"{"code":"Success"}"#, Some(Class::Retry)),
        (200, r#"{"code":"error"}"#, Some(Class::Retry)),
        (200, r#"{"code":0}"#, Some(Class::Retry)),
        (200, r#"{"code":null}"#, Some(Class::Retry)),
        (200, "{}", Some(Class::Retry)),
        (200, "", Some(Class::Ambiguous)),
        (200, "success", Some(Class::Ambiguous)),
        (200, r#"["success"]"#, Some(Class::Ambiguous)),
        (200, r#"{"code":"success""#, Some(Class::Ambiguous)),
        (400, r#"{"code":"success"}"#, Some(Class::Permanent)),
        (400, r#"{"code":"error"}"#, Some(Class::Permanent)),
        (401, r#"{"code":"success"}"#, Some(Class::Halt)),
        (403, "", Some(Class::Halt)),
        (302, "", Some(Class::Halt)),
        (408, "", Some(Class::Retry)),
        (429, r#"{"code":"success"}"#, Some(Class::Throttled)),
        (500, r#"{"code":"success"}"#, Some(Class::Retry)),
    ];
    for (status, body, expected) in rows {
        assert_eq!(class(&sender(""), status, body), expected, "{status} {body}");
    }
    assert_eq!(class(&sender("success_values = ['0', 'ok']"), 200, r#"{"code":"ok"}"#), None);
    assert_eq!(class(&sender("success_values = ['0', 'ok']"), 200, r#"{"code":0}"#), Some(Class::Retry));
    assert_eq!(class(&sender("success_values = ['0', 'ok']"), 200, r#"{"code":"success"}"#), Some(Class::Retry));
}

#[test]
fn a_code_that_is_a_number_is_shown_by_its_value_and_is_no_success_text() {
    let sender = sender("success_values = ['0', 'ok']");
    for (number, code) in [("0", "0"), ("0.0", "0"), ("-0", "0"), ("1e0", "1"), ("40.0", "40"), ("0.5", "0.5")] {
        let body = format!(r#"{{"code":{number}}}"#);
        let error = verdict(&sender, 200, &body).unwrap_err();
        assert_eq!((error.class(), error.answer().unwrap().code.as_str()), (Some(Class::Retry), code), "{number}");
    }
}

#[test]
fn an_unknown_code_is_kept_and_counted_and_its_body_is_not() {
    let error = verdict(&sender(""), 200, r#"{"code":"bad\n","msg":"13812345678"}"#).unwrap_err();
    let answer = error.answer().unwrap();
    assert_eq!(
        (answer.code.as_str(), answer.status, answer.unclassified, answer.sent),
        ("bad?", Some(200), true, true)
    );
    assert!(!answer.detail.contains("138"));
}

proptest! {
    #[test]
    fn decimals_hold_every_minor_unit_exactly(minor in any::<i64>()) {
        let text = yuan(minor);
        let (whole, places) = text.split_once('.').unwrap();
        prop_assert_eq!(places.len(), 2);
        let digits: String = [whole, places].concat();
        prop_assert_eq!(digits.parse::<i64>().unwrap(), minor);
        prop_assert!(text.trim_start_matches('-').starts_with("0.") || !text.trim_start_matches('-').starts_with('0'));
    }
}

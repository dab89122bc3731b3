use std::borrow::Cow;

use serde_json::{Value, json};

use super::fields::{FIRST_MS, LAST_MS};
use super::*;
use crate::error::{DeliveryError, Reason};

mod envelope;
mod schema;
mod strict;

/// An event with every member of SPEC section 7.
fn full() -> Value {
    json!({
        "schema": "postback.event/1", "kind": "conversion", "trans_id": "9f0c2a7e-order-1001-pay",
        "platform": "qihoo360", "account": "acme-ps", "event_type": "pay", "platform_event": null,
        "event_time_ms": 1_736_899_200_123_i64, "produced_at_ms": 1_736_899_201_000_i64, "deadline_ms": null,
        "click": {"qhclickid": "a1b2c3d4e5f60718", "landing_url": "https://x.example/?a=1", "click_time_ms": 1_736_890_000_000_i64},
        "order": {"order_id": "1001", "amount": {"minor": 2345, "currency": "CNY"}, "refund": null,
                  "items": [{"id": "sku-1", "name": "x", "quantity": 1, "unit": {"minor": 2345, "currency": "CNY"}}]},
        "user": {"user_id": "user001", "phone": null, "email": null, "ip": null, "ip_v6": null, "user_agent": null,
                 "registered_at_ms": 1_705_487_632_000_i64,
                 "device": {"os": "android", "imei": null, "idfa": null, "oaid": null, "android_id": null, "caid": null},
                 "wechat": {"app_id": null, "openid": null, "unionid": null},
                 "hashed": {"phone_md5": null, "phone_sha256": null, "email_sha256": null}},
        "consent": {"ad_user_data": "granted", "ad_personalization": "granted", "opt_out": false},
        "params": {"score": 123, "bname": "RPG"},
        "platform_params": {"data_industry": "ocpc_ps_convert"},
        "call": null, "args": {"page": 0},
        "reply": {"topic": "postback.results", "key": "acme", "paginate": "all", "max_pages": 50, "ttl_s": 600}
    })
}

/// The bytes of the full event after an edit.
fn bytes(edit: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut value = full();
    edit(&mut value);
    value.to_string().into_bytes()
}

fn edited(edit: impl FnOnce(&mut Value)) -> ConversionEvent {
    decode(Some(&bytes(edit))).unwrap()
}

/// The reason and the field of a value that cannot be decoded.
fn refusal(value: &[u8]) -> (&'static str, String) {
    let error = decode(Some(value)).unwrap_err();
    match error {
        DeliveryError::Malformed(fault) => (Reason::Malformed.as_str(), fault.field.into_owned()),
        DeliveryError::Invalid(fault) => (Reason::Invalid.as_str(), fault.field.into_owned()),
        other => panic!("{other:?}"),
    }
}

/// The text of `config/event.schema.json`, with a line break at its end.
fn json_schema() -> Result<String, serde_json::Error> {
    let mut schema = schemars::schema_for!(ConversionEvent).to_value();
    join_lines(&mut schema);
    // A schema is written with its members in the usual order, a value with them sorted.
    Ok(serde_json::to_string_pretty(&schemars::Schema::try_from(schema)?)? + "\n")
}

#[test]
fn the_committed_schema_is_the_generated_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/event.schema.json");
    let generated = json_schema().unwrap();
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == generated, "config/event.schema.json is stale: run `UPDATE_SCHEMA=1 cargo test --lib schema`");
}

#[test]
fn the_schema_names_every_member_of_an_event() {
    fn walk(schema: &Value, root: &Value, event: &Value, path: &str) {
        let schema = match schema.get("anyOf").and_then(|any| any[0].get("$ref")).or_else(|| schema.get("$ref")) {
            Some(reference) => root.pointer(reference.as_str().unwrap().trim_start_matches('#')).unwrap(),
            None => schema,
        };
        match event {
            Value::Object(members) if schema.get("properties").is_some() => {
                for (name, member) in members {
                    let inner = schema["properties"].get(name).unwrap_or_else(|| panic!("{path}.{name} is missing"));
                    walk(inner, root, member, &format!("{path}.{name}"));
                }
            }
            Value::Array(items) => items.iter().for_each(|item| walk(&schema["items"], root, item, path)),
            _ => {}
        }
    }
    let schema: Value = serde_json::from_str(&json_schema().unwrap()).unwrap();
    walk(&schema, &schema, &full(), "event");
    assert_eq!(schema["required"], json!(["trans_id", "platform", "account", "event_time_ms"]));
    assert_eq!(schema["else"]["required"], json!(["event_type"]), "a conversion needs its type, a call does not");
    assert_eq!(schema["then"]["required"], json!(["call"]));
    assert!(schema["properties"].as_object().unwrap().values().all(|member| member.get("description").is_some()));
}

#[test]
fn the_fingerprint_covers_order_and_money_and_nothing_else() {
    let base = edited(|_| {}).fingerprint();
    assert!(base < 1 << 40);
    let same = edited(|e| {
        for name in ["click", "user", "consent", "params", "platform_params", "produced_at_ms"] {
            e[name] = Value::Null;
        }
        e["event_time_ms"] = json!(FIRST_MS);
        e["event_type"] = json!("order");
        e["trans_id"] = json!("other");
        e["order"]["items"] = json!([]);
    });
    assert_eq!(same.fingerprint(), base);

    type Edit = fn(&mut Value);
    let others: [Edit; 9] = [
        |e| e["order"]["order_id"] = json!("1002"),
        |e| e["order"]["order_id"] = json!(""),
        |e| e["order"]["order_id"] = Value::Null,
        |e| e["order"]["amount"]["minor"] = json!(2346),
        |e| e["order"]["amount"]["minor"] = json!(-2345),
        |e| e["order"]["amount"]["currency"] = json!("USD"),
        |e| e["order"]["amount"] = Value::Null,
        |e| e["order"]["refund"] = json!({"minor": 2345, "currency": "CNY"}),
        |e| e["order"] = json!({"order_id": "1001", "refund": {"minor": 2345, "currency": "CNY"}}),
    ];
    let mut seen = std::collections::BTreeSet::from([base]);
    for edit in others {
        assert!(seen.insert(edited(edit).fingerprint()));
    }
}

#[test]
fn the_fingerprint_of_a_known_event_never_changes() {
    // SHA-256 of 01 00000004 "1001" 01 00000004 "2345" 01 00000003 "CNY" 00 00, and of five zero bytes.
    assert_eq!(edited(|_| {}).fingerprint(), 0xcc_ce07_3bd4);
    assert_eq!(edited(|e| e["order"] = Value::Null).fingerprint(), 0x88_5550_8aad);
}

#[test]
fn raw_identifiers_are_named_in_order_and_the_system_is_none() {
    assert_eq!(edited(|_| {}).raw_identifier(), None);
    let raw = |path: &str| {
        let event = edited(|e| *e.pointer_mut(&format!("/{}", path.replace('.', "/"))).unwrap() = json!("x"));
        assert_eq!(event.raw_identifier().as_deref(), Some(path));
    };
    for path in [
        "user.phone",
        "user.email",
        "user.device.imei",
        "user.device.idfa",
        "user.device.oaid",
        "user.device.android_id",
        "user.device.caid",
    ] {
        raw(path);
    }
    let event = edited(|e| e["user"]["device"]["mac"] = json!("00:00"));
    assert_eq!(event.raw_identifier().as_deref(), Some("user.device.mac"));
    let event = edited(|e| e["user"]["device"]["a\nb"] = json!(1));
    assert_eq!(event.raw_identifier().as_deref(), Some("user.device.?"));
    let event = edited(|e| {
        e["user"]["device"]["caid"] = json!("x");
        e["user"]["email"] = json!("x");
    });
    assert_eq!(event.raw_identifier().as_deref(), Some("user.email"));
    let event = edited(|e| {
        e["user"]["phone"] = json!("");
        e["user"]["hashed"]["phone_md5"] = json!("");
        e["user"]["wechat"]["openid"] = json!("x");
    });
    assert_eq!(event.raw_identifier(), None);
}

#[test]
fn what_is_called_a_hash_and_is_none_is_a_raw_identifier() {
    for (name, digits) in [("phone_md5", 32), ("phone_sha256", 64), ("email_sha256", 64)] {
        let found = |text: &str| {
            let event = edited(|e| e["user"]["hashed"][name] = json!(text));
            event.raw_identifier().map(Cow::into_owned)
        };
        for hash in ["0123456789abcdef".repeat(digits / 16), "0123456789ABCDEF".repeat(digits / 16), String::new()] {
            assert_eq!(found(&hash), None, "{name} {hash}");
        }
        let short = "a".repeat(digits - 1);
        for raw in ["13812345678", "li@example.com", &short, &format!("{short}aa"), &format!("{short}g"), " "] {
            assert_eq!(found(raw), Some(format!("user.hashed.{name}")), "{raw}");
        }
    }
}

#[test]
fn only_a_true_opt_out_counts() {
    assert!(edited(|e| e["consent"]["opt_out"] = json!(true)).opted_out());
    assert!(!edited(|_| {}).opted_out());
    assert!(!edited(|e| e["consent"]["opt_out"] = Value::Null).opted_out());
    assert!(!edited(|e| e["consent"] = Value::Null).opted_out());
}

//! Checks that the published schema (`config/event.schema.json`) and the decoder agree on which events are valid. A
//! validator of JSON Schema judges the one side.
//!
//! The tests leave out what a schema cannot express: lengths in bytes (4096 of a click's text, 8 KiB of `params`, 256
//! KiB of the whole event), the depth, and duplicate keys. The validator compares numbers as doubles, so the last of
//! the 64 bits have tests of their own.

use std::sync::LazyLock;

use boon::{Compiler, SchemaIndex, Schemas};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

static PUBLISHED: LazyLock<(Schemas, SchemaIndex)> = LazyLock::new(|| {
    // Another test compares the committed file with this text.
    let text = json_schema().unwrap();
    let mut schemas = Schemas::new();
    let mut compiler = Compiler::new();
    compiler.add_resource("event.schema.json", serde_json::from_str(&text).unwrap()).unwrap();
    let index = compiler.compile("event.schema.json", &mut schemas).unwrap();
    (schemas, index)
});

/// The judgement of the schema about a text; `None`: it is not JSON.
fn by_schema(text: &str) -> Option<Result<(), String>> {
    let value: Value = serde_json::from_str(text).ok()?;
    let (schemas, index) = &*PUBLISHED;
    Some(schemas.validate(&value, *index).map_err(|error| format!("{error:#}")))
}

fn by_worker(text: &str) -> Result<(), String> {
    decode(Some(text.as_bytes())).map(drop).map_err(|error| format!("{error:?}"))
}

/// The dotted path of every member, objects included, of an event that has all members.
fn paths(of: &Value, parent: &str, found: &mut Vec<String>) {
    let members: Vec<(String, &Value)> = match of {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(i, value)| (i.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (name, value) in members {
        let path = format!("{parent}/{name}");
        paths(value, &path, found);
        found.push(path);
    }
}

/// The full event with some members replaced by raw JSON, or removed (`None`).
fn replaced(edits: &[(String, Option<String>)]) -> String {
    let mut event = full();
    let mut raws = Vec::new();
    for (path, raw) in edits {
        let (parent, name) = path.rsplit_once('/').unwrap();
        // An earlier edit may have removed the parent.
        let Some(Value::Object(members)) = event.pointer_mut(parent) else { continue };
        match raw {
            None => _ = members.remove(name),
            Some(raw) => {
                members.insert(name.to_owned(), format!("\u{1}{}\u{1}", raws.len()).into());
                raws.push(raw);
            }
        }
    }
    let mut text = event.to_string();
    for (n, raw) in raws.iter().enumerate() {
        text = text.replace(&format!("\"\\u0001{n}\\u0001\""), raw);
    }
    text
}

/// JSON values at the border of some rule.
const RAW: &[&str] = &[
    "null",
    "true",
    "false",
    "{}",
    "[]",
    "[null]",
    "[{}]",
    "[{\"quantity\":1.0},{\"quantity\":1.5}]",
    "{\"a\":null}",
    "{\"a\":1}",
    "0",
    "-0",
    "-0.0",
    "0e5",
    "1",
    "-1",
    "5.0",
    "5.5",
    "50e-1",
    "2345.0",
    "1e3",
    "1e300",
    "0.1",
    "1E-2",
    // Moments: the limits, then other units.
    "978307199999",
    "978307200000",
    "978307200000.0",
    "978307200000.5",
    "4133980799999",
    "4133980800000",
    "41339807999990e-1",
    "1.795e12",
    "1795000000",
    "1.795e9",
    "1795000000000000",
    "1.795e18",
    // 64-bit numbers that a double can still tell apart.
    "9223372036854770000",
    "9223372036854780000",
    "-9223372036854770000",
    "-9223372036854780000",
    "18446744073709551616",
    "\"\"",
    "\"x\"",
    "\"a b\"",
    "\"标识\"",
    "\"\\u0000\"",
    "\"~!\"",
    // Placeholders, and texts that only look like one.
    "\"null\"",
    "\"Null\"",
    "\"(null)\"",
    "\"(Null)\"",
    "\"%28null%29\"",
    "\"undefined\"",
    "\"__TRANS_ID__\"",
    "\"____\"",
    "\"___\"",
    "\"${trans_id}\"",
    "\"{transid}\"",
    "\"{x}y\"",
    "\"%%X%%\"",
    "\"%%%\"",
    "\"[x]\"",
    "\"x[0]\"",
    "\"<x>\"",
    "\"%7bx%7D\"",
    "\"%5Bx%5d\"",
    "\"%24%7Bx%7d\"",
    "\"%7Bx\"",
    "\"{3F2504E0-4F89-11d3-9a0c-0305e82c3301}\"",
    "\"{3F2504E0-4F89-11d3-9a0c-0305e82c330}\"",
    "\"{3G2504E0-4F89-11d3-9a0c-0305e82c3301}\"",
    "\"call\"",
    "\"conversion\"",
    "\"Call\"",
    "\"1736899200123\"",
    "\"postback.event/1\"",
    "\"postback.event/2\"",
    "\"CNY\"",
    "\"cny\"",
    "\"CNYY\"",
    "\"ＣＮＹ\"",
    "\"granted\"",
    "\"all\"",
    "\"none\"",
    "1000000000",
    "1000000001",
];

fn raw() -> impl Strategy<Value = Option<String>> {
    let long = |length: usize| format!("\"{}\"", "x".repeat(length));
    let members = |count: usize| Value::Object((0..count).map(|i| (format!("k{i}"), json!(i))).collect()).to_string();
    prop_oneof![
        1 => Just(None),
        8 => select(RAW).prop_map(|raw| Some(raw.to_owned())),
        1 => select(vec![128, 129, 4096, 4097]).prop_map(move |length| Some(long(length))),
        1 => select(vec![32, 33]).prop_map(move |count| Some(members(count))),
        1 => (-1_000_000_000_000_000_i64..1_000_000_000_000_000).prop_map(|n| Some(n.to_string())),
        1 => (-1_000_000_i64..1_000_000).prop_map(|n| Some(format!("{n}.0"))),
        1 => any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(|n| Some(Value::from(n).to_string())),
    ]
}

/// Up to three members replaced or removed; some of them are unknown members.
fn edits() -> impl Strategy<Value = Vec<(String, Option<String>)>> {
    let mut found = Vec::new();
    paths(&full(), "", &mut found);
    found.extend(
        ["/x", "/click/bd_vid", "/order/x", "/user/device/mac", "/params/x", "/platform_params/x"].map(str::to_owned),
    );
    prop::collection::vec((any::<Index>(), raw()), 0..4)
        .prop_map(move |edits| edits.into_iter().map(|(at, raw)| (at.get(&found).clone(), raw)).collect())
}

/// Texts made of the parts of placeholders.
fn near_placeholder() -> impl Strategy<Value = String> {
    let part = select(vec![
        "__",
        "_",
        "{",
        "}",
        "${",
        "$",
        "#{",
        "%{",
        "%%",
        "%",
        "[",
        "]",
        "<",
        ">",
        "%7B",
        "%7b",
        "%7D",
        "%24",
        "%5B",
        "%5d",
        "(",
        ")",
        "null",
        "NULL",
        "None",
        "nil",
        "NaN",
        "undefined",
        "%28null%29",
        "x",
        "-",
    ]);
    prop::collection::vec(part, 1..5).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_schema_and_the_worker_agree_on_what_is_a_placeholder(text in near_placeholder()) {
        let raw = Value::from(text).to_string();
        let text = replaced(&[("/trans_id".into(), Some(raw))]);
        prop_assert_eq!(by_schema(&text).unwrap().is_ok(), by_worker(&text).is_ok(), "{}", text);
    }

    #[test]
    fn the_schema_and_the_worker_agree_on_every_event(edits in edits()) {
        let text = replaced(&edits);
        // Two long texts may exceed the 8 KiB of `params`, which the schema cannot express.
        prop_assume!(text.len() < 8 * 1024);
        if let Some(schema) = by_schema(&text) {
            let worker = by_worker(&text);
            prop_assert_eq!(schema.is_ok(), worker.is_ok(), "schema {:?}, worker {:?}: {}", schema, worker, text);
        }
    }
}

#[test]
fn the_schema_and_the_worker_agree_on_each_border_in_each_place() {
    let mut found = Vec::new();
    paths(&full(), "", &mut found);
    let mut valid = 0;
    for path in found {
        for raw in RAW.iter().map(|raw| Some((*raw).to_owned())).chain([None]) {
            let text = replaced(&[(path.clone(), raw.clone())]);
            let (schema, worker) = (by_schema(&text).unwrap(), by_worker(&text));
            assert_eq!(schema.is_ok(), worker.is_ok(), "{path} {raw:?}: schema {schema:?}, worker {worker:?}");
            valid += usize::from(worker.is_ok());
        }
    }
    assert!(valid > 500, "{valid} valid events compare nothing");
}

#[test]
fn a_call_needs_no_event_type_and_a_conversion_does() {
    for (kind, wanted) in [("\"call\"", true), ("\"conversion\"", false), ("null", false)] {
        for missing in [None, Some("null".to_owned())] {
            let call = ("/call".into(), Some("\"list\"".into()));
            let edits = [("/kind".into(), Some(kind.into())), ("/event_type".into(), missing), call];
            let text = replaced(&edits);
            assert_eq!(by_schema(&text).unwrap().is_ok(), wanted, "{text}");
            assert_eq!(by_worker(&text).is_ok(), wanted, "{text}");
        }
    }
}

#[test]
fn whole_numbers_are_taken_however_they_are_written_and_exactly() {
    let event = |edits: &[(&str, &str)]| {
        let edits: Vec<_> = edits.iter().map(|(path, raw)| ((*path).to_owned(), Some((*raw).to_owned()))).collect();
        decode(Some(replaced(&edits).as_bytes())).unwrap()
    };
    let read = event(&[
        ("/event_time_ms", "1.795e12"),
        ("/order/amount/minor", "2345.0"),
        ("/params/score", "123.00"),
        ("/user/registered_at_ms", "17050e8"),
    ]);
    let plain = event(&[("/event_time_ms", "1795000000000"), ("/user/registered_at_ms", "1705000000000")]);
    assert_eq!(read, plain);
    assert_eq!(read.fingerprint(), plain.fingerprint());
    assert_eq!(read.params.get("score").and_then(Value::as_i64), Some(123));
    // No double holds these numbers.
    for raw in ["9007199254740993.0", "9007199254740993e0", "900719925474099.3e1"] {
        let minor = event(&[("/x", "[1.5,\"2.5\"]"), ("/order/amount/minor", raw)]).order.amount.unwrap().minor;
        assert_eq!(minor, 9_007_199_254_740_993, "{raw}");
    }
    let last = [("9223372036854775807", true), ("9223372036854775807.0", true), ("9223372036854775808", false)];
    for (raw, taken) in last.into_iter().chain([("2345.5", false), ("2345.00000000000000000001", false)]) {
        let text = replaced(&[("/order/amount/minor".into(), Some(raw.into()))]);
        assert_eq!(by_worker(&text).is_ok(), taken, "{raw}");
    }
}

//! Tests the strict reader with hostile input, and compares it with serde_json.

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::event::json::{Node, read};

const NOWHERE: (&str, &str) = ("malformed", "");

fn malformed(value: &[u8]) {
    let (reason, field) = refusal(value);
    assert_eq!((reason, field.as_str()), NOWHERE, "{}", String::from_utf8_lossy(&value[..value.len().min(200)]));
}

/// The full event with one more member as raw text.
fn with(member: &str) -> Vec<u8> {
    let mut text = String::from_utf8(bytes(|_| {})).unwrap();
    text.pop();
    format!("{text},{member}}}").into_bytes()
}

fn deep(levels: usize) -> String {
    "[".repeat(levels) + &"]".repeat(levels)
}

#[test]
fn what_is_no_event_object_is_malformed() {
    assert!(matches!(decode(None), Err(DeliveryError::Malformed(f)) if f.field.is_empty()));
    let broken: [&[u8]; 26] = [
        b"",
        b" ",
        b"hello",
        br#"{"trans_id":"a","platform":"#,
        b"{} {}",
        b"{}x",
        b"{},",
        b"[1,2]",
        b"42",
        b"null",
        b"true",
        b"\"text\"",
        b"\0\0\0",
        b"{\"trans_id\":\"\xff\xfe\"}",
        b"\xff{}",
        b"\xef\xbb\xbf",
        b"\xef\xbb\xbf\xef\xbb\xbf{}",
        b"\xff\xfe{\0}\0",
        b"{'a':1}",
        b"{a:1}",
        b"{\"a\":1,}",
        b"{,\"a\":1}",
        b"{\"a\":\"\t\"}",
        b"{\"a\":\"\\x\"}",
        b"{\"a\" 1}",
        b"// no\n{}",
    ];
    for value in broken {
        malformed(value);
    }
}

#[test]
fn a_byte_order_mark_before_an_event_is_skipped() {
    let plain = bytes(|_| {});
    let marked = [b"\xef\xbb\xbf", &plain[..]].concat();
    assert_eq!(decode(Some(&marked)), decode(Some(&plain)));
    assert!(decode(Some(&marked)).is_ok());
    assert_eq!(identify(Some(&marked)), identify(Some(&plain)));
    assert_eq!(identify(Some(&marked)).trans_id.as_deref(), Some("9f0c2a7e-order-1001-pay"));
    // Between members the mark is a syntax error as always; inside a text it is a character.
    malformed(&with("\u{feff}\"x\":1"));
    assert!(decode(Some(&with("\"x\":\"\u{feff}\""))).is_ok());
}

#[test]
fn an_event_in_utf_16_is_malformed_and_the_detail_says_so() {
    for value in [&b"\xff\xfe{\0}\0"[..], b"\xfe\xff\0{\0}"] {
        let DeliveryError::Malformed(fault) = decode(Some(value)).unwrap_err() else { panic!("not malformed") };
        assert_eq!((&*fault.field, &*fault.detail), ("", "UTF-16; it has to be UTF-8"));
        assert_eq!(identify(Some(value)), Identity::default());
    }
}

#[test]
fn numbers_that_json_does_not_know_are_malformed() {
    for number in ["NaN", "Infinity", "-Infinity", "01", "0x10", "-", "+1", ".5", "1.", "1e", "1e999"] {
        malformed(&with(&format!("\"n\":{number}")));
    }
    for number in ["-0", "1e-999", "1E+2", "0.1", "18446744073709551616"] {
        assert!(decode(Some(&with(&format!("\"n\":{number}")))).is_ok(), "{number}");
    }
}

#[test]
fn lone_surrogates_are_malformed_anywhere() {
    for escape in ["\\ud800", "\\udc00", "\\udc00\\ud800", "\\ud800\\ud800", "\\ud800x", "\\uD83C\\u0041"] {
        malformed(&with(&format!("\"x\":\"{escape}\"")));
        malformed(&with(&format!("\"{escape}\":1")));
        malformed(&with(&format!("\"x\":[{{\"y\":\"{escape}\"}}]")));
    }
    assert!(decode(Some(&with("\"x\":\"\\ud83c\\udfae\""))).is_ok());
}

#[test]
fn duplicate_keys_are_malformed_at_any_depth_and_however_written() {
    malformed(&with("\"trans_id\":\"other\""));
    malformed(&with("\"trans_id\":\"9f0c2a7e-order-1001-pay\""));
    malformed(&with("\"x\":{\"a\":1,\"a\":1}"));
    malformed(&with("\"x\":[[{\"a\":{\"b\":1,\"c\":2,\"b\":3}}]]"));
    malformed(&with("\"x\":{\"a\":1,\"\\u0061\":2}"));
    malformed(&with("\"x\":{\"\":1,\"\":2}"));
    assert!(decode(Some(&with("\"x\":{\"a\":1,\"A\":2,\" a\":3}"))).is_ok());
    assert!(decode(Some(&with("\"x\":[{\"a\":1},{\"a\":1}]"))).is_ok());
}

#[test]
fn objects_of_every_size_are_searched_for_duplicates() {
    for size in [2, 23, 24, 25, 26, 1000] {
        let names = |last: &str| {
            let members: Vec<String> =
                (0..size).map(|i| format!("\"k{i}\":0")).chain([format!("\"{last}\":0")]).collect();
            format!("\"x\":{{{}}}", members.join(","))
        };
        assert!(decode(Some(&with(&names("other")))).is_ok(), "{size}");
        malformed(&with(&names("k0")));
        malformed(&with(&names(&format!("k{}", size - 1))));
    }
}

#[test]
fn sixty_four_levels_are_read_and_the_sixty_fifth_is_not() {
    assert!(decode(Some(&with(&format!("\"x\":{}", deep(63))))).is_ok());
    malformed(&with(&format!("\"x\":{}", deep(64))));
    let objects = |levels: usize| format!("\"x\":{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    assert!(decode(Some(&with(&objects(63)))).is_ok());
    malformed(&with(&objects(64)));
}

#[test]
fn nesting_without_end_is_refused_and_costs_no_stack() {
    let small_stack = std::thread::Builder::new().stack_size(256 * 1024).spawn(|| {
        malformed(deep(10_000).as_bytes());
        malformed(&with(&format!("\"x\":{}", deep(10_000))));
        for unit in ["[", "{\"a\":", "[[{\"b\":", "{\"trans_id\":["] {
            malformed(unit.repeat(100).as_bytes());
            malformed(unit.repeat(20_000).as_bytes());
        }
    });
    small_stack.unwrap().join().unwrap();
}

#[test]
fn size_is_judged_to_the_byte_and_before_anything_is_read() {
    let padded = |size: usize| {
        let mut value = with("\"x\":\"\"");
        let padding = "y".repeat(size - value.len());
        value.truncate(value.len() - 2);
        [value, padding.into_bytes(), b"\"}".to_vec()].concat()
    };
    assert_eq!(padded(262_144).len(), 262_144);
    assert!(decode(Some(&padded(262_144))).is_ok());
    malformed(&padded(262_145));
    malformed(&vec![b'['; 1 << 20]);
}

#[test]
fn a_message_never_quotes_the_event() {
    for value in [&b"{\"phone\":\"13812345678\",\"phone\":1}"[..], b"{\"a\":13812345678x}", b"13812345678 1"] {
        let error = decode(Some(value)).unwrap_err();
        assert!(!error.fault().unwrap().detail.contains("138"), "{error:?}");
    }
}

#[test]
fn texts_without_escapes_are_borrowed() {
    let Ok(Node::Object(members)) = read(r#"{"a":"b","c\u0064":"e\u0066"}"#) else { panic!("no object") };
    assert!(matches!(&members[0], (Cow::Borrowed("a"), Node::Text(Cow::Borrowed("b")))));
    assert!(matches!(&members[1], (Cow::Owned(name), Node::Text(Cow::Owned(text))) if name == "cd" && text == "ef"));
}

/// Any JSON value within the depth. By construction it has no duplicate names.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(8, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Whether the values are equal. The reader gives a whole number exactly where serde_json gives the nearest double.
fn alike(read: &Value, given: &Value) -> bool {
    match (read, given) {
        (Value::Number(n), Value::Number(double)) if double.is_f64() => {
            let (read, given) = (n.as_f64().unwrap(), double.as_f64().unwrap());
            (read - given).abs() <= given.abs() * 4.0 * f64::EPSILON
        }
        (Value::Array(read), Value::Array(given)) => {
            read.len() == given.len() && read.iter().zip(given).all(|(a, b)| alike(a, b))
        }
        (Value::Object(read), Value::Object(given)) => {
            read.len() == given.len() && read.iter().zip(given).all(|((n, a), (m, b))| n == m && alike(a, b))
        }
        _ => read == given,
    }
}

/// Checks that both readers agree, with numbers compared by value.
fn agrees(text: &str) -> Result<(), TestCaseError> {
    match (read(text), serde_json::from_str::<Value>(text)) {
        (Ok(node), Ok(value)) => {
            let read = Value::deserialize(node).unwrap();
            prop_assert!(alike(&read, &value), "{read} {value}");
        }
        (Err(_), Err(_)) => {}
        // serde_json accepts duplicate keys (the last one wins) and 128 levels.
        (Err(error), Ok(_)) => {
            let why = error.to_string();
            prop_assert!(why.starts_with("duplicate key") || why.starts_with("nested deeper"), "{}: {}", why, text);
        }
        (Ok(_), Err(error)) => prop_assert!(false, "{}: {}", error, text),
    }
    Ok(())
}

/// Damages a text in a few places.
fn mutated(mut bytes: Vec<u8>, edits: Vec<(u8, prop::sample::Index, u8)>) -> Vec<u8> {
    for (what, at, byte) in edits {
        if bytes.is_empty() {
            break;
        }
        let at = at.index(bytes.len());
        match what % 5 {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            2 => _ = bytes.remove(at),
            3 => bytes.truncate(at),
            _ => {
                let end = (at + usize::from(byte)).min(bytes.len());
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
        }
    }
    bytes
}

fn edits() -> impl Strategy<Value = Vec<(u8, prop::sample::Index, u8)>> {
    prop::collection::vec((any::<u8>(), any::<prop::sample::Index>(), any::<u8>()), 0..6)
}

proptest! {
    #[test]
    fn every_value_is_read_as_serde_json_reads_it(value in any_json()) {
        agrees(&value.to_string())?;
        agrees(&serde_json::to_string_pretty(&value).unwrap())?;
    }

    #[test]
    fn damaged_texts_are_judged_as_serde_json_judges_them(value in any_json(), edits in edits()) {
        if let Ok(text) = String::from_utf8(mutated(value.to_string().into_bytes(), edits)) {
            agrees(&text)?;
        }
    }

    #[test]
    fn no_bytes_crash_decoding(value in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = (decode(Some(&value)), identify(Some(&value)));
    }

    #[test]
    fn no_damaged_event_crashes_decoding(edits in edits()) {
        let value = mutated(bytes(|_| {}), edits);
        identify(Some(&value));
        if let Ok(event) = decode(Some(&value)) {
            event.fingerprint();
            event.raw_identifier();
        }
    }

    #[test]
    fn any_value_in_any_place_ends_as_an_event_or_a_named_member(at in 0..16_usize, value in any_json()) {
        let name = full().as_object().unwrap().keys().nth(at).cloned().unwrap();
        if let Err(error) = decode(Some(&bytes(|e| e[&name] = value))) {
            let field = error.fault().unwrap().field.clone();
            prop_assert!(field.split('.').next() == Some(name.as_str()), "{} {:?}", name, error);
        }
    }
}

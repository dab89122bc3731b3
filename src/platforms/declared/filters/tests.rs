use bytes::Bytes;
use minijinja::{Error, context};

use super::*;
use crate::platforms::declared::engine::strict;
use crate::platforms::declared::json::JsonObject;

fn eval(expression: &str, json: &'static str) -> Result<Value, Error> {
    let event = Value::from_dyn_object(JsonObject::event(Bytes::from_static(json.as_bytes())));
    strict().compile_expression_owned(expression.to_owned())?.eval(context!(event))
}

fn text(expression: &str) -> String {
    eval(expression, "{}").unwrap_or_else(|error| panic!("{expression}: {error:#}")).to_string()
}

#[test]
fn amounts_reproduce_the_published_vectors() {
    let rows = [
        (r#"{"order":{"amount":{"minor":2345,"currency":"CNY"}}}"#, "2345", "23.45", "23.45"),
        (r#"{"order":{"amount":{"minor":5,"currency":"CNY"}}}"#, "5", "0.05", "0.05"),
        (r#"{"order":{"amount":{"minor":1500,"currency":"JPY"}}}"#, "", "", "1500"),
        (r#"{"order":{"amount":{"minor":1234,"currency":"KWD"}}}"#, "", "", "1.234"),
        (r#"{"order":{"amount":{"minor":0,"currency":"USD"}}}"#, "", "", "0.00"),
        (
            r#"{"order":{"amount":{"minor":9223372036854775807,"currency":"CNY"}}}"#,
            "9223372036854775807",
            "92233720368547758.07",
            "92233720368547758.07",
        ),
    ];
    for (json, fen, yuan, decimal) in rows {
        assert_eq!(eval("event.order.amount | decimal", json).unwrap().to_string(), decimal);
        for (filter, expected) in [("fen", fen), ("yuan", yuan)] {
            match eval(&format!("event.order.amount | {filter}"), json) {
                Ok(value) => assert_eq!(value.to_string(), expected),
                Err(error) => {
                    assert_eq!(Refusal::of(&error).unwrap().field, "order.amount.currency", "{error:?}");
                    assert_eq!(expected, "");
                }
            }
        }
    }
    let negative = r#"{"order":{"amount":{"minor":-1,"currency":"CNY"}}}"#;
    let error = eval("event.order.amount | decimal", negative).unwrap_err();
    assert_eq!(Refusal::of(&error).unwrap().field, "order.amount.minor");
}

#[test]
fn an_amount_that_is_not_there_stays_away() {
    assert!(eval("event.order.amount | yuan", "{}").unwrap().is_undefined());
    assert_eq!(text("event.order.amount | fen | default('')"), "");
    assert!(eval("event.order | fen", "{}").is_err(), "an object that is no amount");
}

#[test]
fn digests_and_encodings_give_what_their_standards_say() {
    let rows = [
        ("'123' | md5", "202cb962ac59075b964b07152d234b70"),
        ("'abc' | sha1", "a9993e364706816aba3e25717850c26c9cd0d89d"),
        ("'abc' | sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            "'what do ya want for nothing?' | hmac_sha256('Jefe')",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        ("'what do ya want for nothing?' | hmac_sha1('Jefe')", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
        ("'616263' | unhex | base64", "YWJj"),
        ("'YWJj' | unbase64 | md5", "900150983cd24fb0d6963f7d28e17f72"),
        ("'a b&c=斗~' | urlencode", "a%20b%26c%3D%E6%96%97~"),
        ("'a%20b+c' | urldecode", "a b+c"),
        ("'https://x/y?a=1&callback=p%2Bq+r#z' | url_query('callback')", "p+q r"),
        ("{'b': 'x y', 'a': 1, 'c': ''} | sorted_query", "a=1&b=x%20y"),
        ("{'b': 'x y', 'a': 1} | sorted_query(raw=true)", "a=1&b=x y"),
        ("'+86 138-1234-5678' | digits | sha256", "f32dd5bb1e1e0ce7de6509513f1147fe420b2e69122319cea71268990236ed95"),
        (
            "' John.Doe@Example.com ' | trim | lower | sha256",
            "836f82db99121b3481011f16b49dfa5fbc714a0d1b1b9f784a1ebbbf5b39577f",
        ),
        (
            "'35209900176148A' | lower | md5 | sha256",
            "c697868362fb03fedd0ff5c3071bdade64218e854ce06898ca92bb08ff05294f",
        ),
        ("1736899201999 | seconds", "1736899201"),
        ("{'b': 1, 'a': [1.5, none, true]} | json", "{\"b\":1,\"a\":[1.5,null,true]}"),
        ("{'b': 1, 'a': 2.0} | canonical_json", "{\"a\":2,\"b\":1}"),
        (
            "[{'t': 1, 'c': {'x': 'y'}, 'z': 3}, {'c': none}] | reverse | pick(A = 't', B = 'c.x') | json",
            "[{},{\"A\":1,\"B\":\"y\"}]",
        ),
        ("[] | pick(A = 't') | json", "[]"),
    ];
    for (expression, expected) in rows {
        assert_eq!(text(expression), expected, "{expression}");
    }
    for wrong in [
        "'abc' | unhex",
        "'zz' | unhex",
        "'***' | unbase64",
        "'x' | seconds",
        "nobody | md5",
        "nobody | json",
        "nobody | pick(a = 'x')",
        "'text' | pick(a = 'x')",
        "[1] | pick(a = 'x')",
        "[{}] | pick(a = 1)",
    ] {
        assert!(eval(wrong, "{}").is_err(), "{wrong}");
    }
}

#[test]
fn a_signature_tells_what_it_hashed_last() {
    let (signed, input) = signature_input(|| text("('a' | md5 ~ 'b') | sha256"));
    assert_eq!((signed.len(), input.as_deref()), (64, Some("0cc175b9c0f1b6a831c399e269772661b")));
    assert_eq!(signature_input(|| text("'plain'")).1, None);
}

#[test]
fn a_secret_is_known_in_every_form_that_it_gets() {
    let (_, forms) = while_masking(vec!["s/1".into()], || {
        text("('u:' ~ 's/1') | base64");
        text("'s/1' | urlencode");
        text("'other' | base64")
    });
    assert_eq!(forms, ["s/1", "dTpzLzE=", "s%2F1"]);
}

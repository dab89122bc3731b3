use super::*;

fn event(text: &'static str) -> Arc<JsonObject> {
    JsonObject::event(Bytes::from_static(text.as_bytes()))
}

#[test]
fn members_are_found_at_their_paths_and_null_is_absent() {
    let event = event(
        r#"{"trans_id": "t\u0031", "n": 5.0, "big": 12345678901234567890, "x": {"y": [1, {"z": "é"}]},
            "click": null, "order": {"order_id": null}, "f": 2.5, "yes": true}"#,
    );
    assert_eq!(event.at("trans_id"), Some(Value::from("t1")));
    assert_eq!(event.at("n"), Some(Value::from(5)));
    assert_eq!(event.at("big"), Some(Value::from(12_345_678_901_234_567_890_u64)));
    assert_eq!(event.at("x.y.1.z"), Some(Value::from("é")));
    assert_eq!(event.at("f"), Some(Value::from(2.5)));
    assert_eq!(event.at("yes"), Some(Value::from(true)));
    for absent in ["order.order_id", "nobody", "x.y.7", "x.y.z", "trans_id.x", "click.a.b", "user.hashed.phone_md5"] {
        assert_eq!(event.at(absent), None, "{absent}");
    }
    // Sections count as there, so that asking for a member of one is no error.
    assert!(event.at("click").is_some() && event.at("user.device").is_some());
}

#[test]
fn an_empty_text_of_click_order_or_user_is_absent_and_elsewhere_it_is_there() {
    let event = event(
        r#"{"click":{"a":"","b":" "},"order":{"order_id":"","items":[{"name":""}],"amount":{"currency":""}},
            "user":{"email":"","hashed":{"email_sha256":"  "},"tags":[""]},"params":{"x":""},"trans_id":""}"#,
    );
    let absent = ["click.a", "click.b", "order.order_id", "order.items.0.name", "order.amount.currency", "user.email"];
    for path in absent.iter().chain(&["user.hashed.email_sha256"]) {
        assert_eq!(event.at(path), None, "{path}");
    }
    for there in ["params.x", "trans_id", "user.tags.0"] {
        assert_eq!(event.at(there), Some(Value::from("")), "{there}");
    }
    let mut out = String::new();
    compact(event.raw(), &mut out);
    assert!(out.contains("\"email\":\"\""), "what was published keeps it: {out}");
}

#[test]
fn compact_json_is_what_was_published_without_white_space() {
    let mut out = String::new();
    compact("{ \"a b\" : [ 1.0 ,\t\"\\\" x \\\\\" ],\r\n \"汉\": -0 }".as_bytes(), &mut out);
    assert_eq!(out, "{\"a b\":[1.0,\"\\\" x \\\\\"],\"汉\":-0}");
}

//! Shows an event to people, with personal values masked (pure).

use serde_json::{Map, Value};

use crate::byte_order_mark;
use crate::redact::members::mask_members;
use crate::redact::names::{Kind, is_harmless};
use crate::redact::{SECRET, mask_text};

/// Longer texts that are not JSON are cut.
pub const LONGEST_TEXT: usize = 4096;
/// Masking reads this many bytes of such a text. It reads more than is shown, so that the cut cannot show half of a
/// number.
const MASKED_BYTES: usize = 65_536;

/// Shows an event to people: the values of personal and secret names, and all values under `user`, are masked. Bytes
/// that are not JSON become a text, in which names are found by their form.
pub fn mask_event(bytes: &[u8]) -> Value {
    let bytes = byte_order_mark::skip(bytes);
    match serde_json::from_slice::<Value>(bytes) {
        Ok(value) => walk(value, "", false),
        Err(_) => damaged(bytes).into(),
    }
}

/// Shows bytes that are not JSON.
pub(super) fn damaged(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MASKED_BYTES)]);
    mask_members(&text).chars().take(LONGEST_TEXT).collect()
}

/// Masks the value of the member `name`. `personal`: the member stands under `user`.
pub(super) fn walk(value: Value, name: &str, personal: bool) -> Value {
    let kind = Kind::of(name);
    let hidden = personal || kind != Kind::Plain;
    match value {
        Value::Null => Value::Null,
        _ if kind == Kind::Secret => SECRET.into(),
        Value::String(text) if hidden => if name == "os" { text } else { kind.hide(&text) }.into(),
        // The text may contain an event, a form or a URL.
        Value::String(text) if text.contains(['"', '=', '{']) => mask_members(&text).into(),
        Value::String(text) => mask_text(&text).into(),
        // A phone number may be written as a JSON number. A moment must not be taken for a phone number.
        Value::Number(number) => {
            let text = number.to_string();
            match hidden {
                true if is_harmless(name, &text) => Value::Number(number),
                true => kind.hide(&text).into(),
                false if name.ends_with("_ms") => Value::Number(number),
                false => {
                    let masked = mask_text(&text);
                    if masked == text { Value::Number(number) } else { masked.into() }
                }
            }
        }
        Value::Array(items) => Value::Array(items.into_iter().map(|item| walk(item, name, personal)).collect()),
        Value::Object(members) => {
            let members = members.into_iter().map(|(name, value)| {
                let lower = name.to_ascii_lowercase();
                (mask_text(&name).into_owned(), walk(value, &lower, hidden))
            });
            Value::Object(members.collect::<Map<_, _>>())
        }
        Value::Bool(_) => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_personal_is_masked_and_what_is_not_stays() {
        let event = json!({
            "trans_id": "t-1", "event_time_ms": 1_736_899_200_123_i64, "click": {"qhclickid": "a1b2c3d4e5f60718"},
            "order": {"order_id": "1001", "amount": {"minor": 2345, "currency": "CNY"}},
            "user": {"user_id": "0123456789abcdef0123456789abcdef", "phone": "13812345678", "email": "li@example.com",
                     "ip": "203.0.113.7", "registered_at_ms": 1_705_487_632_000_i64,
                     "device": {"os": "android", "imei": "490154203237518"}},
            "params": {"note": "call 13912345678", "Mobile": 13_712_345_678_i64, "score": 3},
        });
        let text = mask_event(event.to_string().as_bytes()).to_string();
        for raw in
            ["89abcdef01", "13812345678", "li@example", "203.0.113.7", "490154203237518", "13912345678", "13712345678"]
        {
            assert!(!text.contains(raw), "{raw} in {text}");
        }
        for kept in
            ["t-1", "a1b2c3d4e5f60718", "1001", "2345", "android", "1736899200123", "1705487632000", "138****5678"]
        {
            assert!(text.contains(kept), "{kept} not in {text}");
        }
    }

    #[test]
    fn short_and_numeric_ids_under_user_and_secrets_anywhere_are_masked() {
        let event = json!({
            "user": {"user_id": "li", "age": 37, "uid_number": 4_711_471_147_114_711_i64, "registered_at_ms": 1_705_487_632_000_i64},
            "params": {"uid": 4711, "api_key": "K3Y", "X-Api-Key": ["K3Y"], "session_cookie": {"a": "K3Y"}, "pwd": 90_210},
            "note": "{\"openid\":\"0pen\",\"n\":1}", "callback": "https://example.com/?imei=49015&x=1",
        });
        let masked = mask_event(event.to_string().as_bytes());
        let text = masked.to_string();
        for raw in ["\"li\"", "37", "4711471147114711", ":4711", "K3Y", "90210", "0pen", "49015"] {
            assert!(!text.contains(raw), "{raw} in {text}");
        }
        assert_eq!(masked["user"]["registered_at_ms"], 1_705_487_632_000_i64);
        assert_eq!(masked["callback"], "https://example.com/?imei=***&x=1");
    }

    #[test]
    fn bytes_that_are_no_json_are_shown_as_text_and_masked() {
        assert_eq!(mask_event(b"tel 13812345678 \xff"), "tel 138****5678 \u{fffd}");
        let text =
            mask_event(br#"{"trans_id":"t-1","user":{"user_id":"user-0001-of-li","device":{"imei":"490154203237518"}"#);
        assert_eq!(text, r#"{"trans_id":"t-1","user":{"user_id":"***","device":{"imei":"***"}"#);
        assert!(mask_event(&[b'x'; 10_000]).as_str().unwrap().len() <= LONGEST_TEXT);
    }
}

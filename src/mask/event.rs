//! An event for people: what is personal in it is masked (pure).

use serde_json::{Map, Value};

use super::{mask_phone, mask_text, mask_token};

/// Longer texts that are no JSON are cut.
const LONGEST_TEXT: usize = 4096;
/// Names of members that are personal wherever they stand, beside everything under `user`.
const PERSONAL: [&str; 16] = [
    "phone",
    "mobile",
    "tel",
    "email",
    "mail",
    "ip",
    "ip_v6",
    "imei",
    "idfa",
    "oaid",
    "android_id",
    "caid",
    "openid",
    "unionid",
    "id_card",
    "address",
];

/// An event whose personal data are masked, and what was masked in it.
#[derive(Clone, Debug)]
pub struct Masked {
    /// The event; a text where it is no JSON.
    pub value: Value,
    /// What stood there, and what stands there now.
    pairs: Vec<(String, String)>,
}

impl Masked {
    /// Masks an event.
    pub fn event(bytes: &[u8]) -> Self {
        let mut pairs = Vec::new();
        let value = match serde_json::from_slice::<Value>(bytes) {
            Ok(value) => walk(value, false, "", &mut pairs),
            Err(_) => {
                let text: String = String::from_utf8_lossy(bytes).chars().take(LONGEST_TEXT).collect();
                Value::String(mask_text(&text).into_owned())
            }
        };
        // Long ones first, so that a part of another is not replaced in it.
        pairs.sort_by_key(|(raw, _)| std::cmp::Reverse(raw.len()));
        Self { value, pairs }
    }

    /// A text made from the event, e.g. a request's body, with the same data masked.
    pub fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (raw, masked) in self.pairs.iter().filter(|(raw, _)| raw.chars().count() >= 4) {
            text = text.replace(raw, masked);
        }
        mask_text(&text).into_owned()
    }
}

fn walk(value: Value, personal: bool, name: &str, pairs: &mut Vec<(String, String)>) -> Value {
    match value {
        Value::String(text) => {
            let masked = match name {
                _ if !personal => mask_text(&text).into_owned(),
                "os" => text.clone(),
                "phone" | "mobile" | "tel" => mask_phone(&text),
                "email" | "mail" if text.contains('@') => mask_text(&text).into_owned(),
                _ => mask_token(&text),
            };
            if masked != text && personal {
                pairs.push((text, masked.clone()));
            }
            Value::String(masked)
        }
        // A phone may be written as a number; a moment may not be taken for one.
        Value::Number(number) if !name.ends_with("_ms") => {
            let text = number.to_string();
            let masked = if PERSONAL.contains(&name) { mask_phone(&text) } else { mask_text(&text).into_owned() };
            if masked == text { Value::Number(number) } else { Value::String(masked) }
        }
        Value::Array(items) => Value::Array(items.into_iter().map(|item| walk(item, personal, name, pairs)).collect()),
        Value::Object(members) => {
            let members = members.into_iter().map(|(name, value)| {
                let lower = name.to_ascii_lowercase();
                let personal = personal || lower == "user" || PERSONAL.contains(&&*lower);
                (mask_text(&name).into_owned(), walk(value, personal, &lower, pairs))
            });
            Value::Object(members.collect::<Map<_, _>>())
        }
        other => other,
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
        let masked = Masked::event(event.to_string().as_bytes());
        let text = masked.value.to_string();
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
    fn a_request_made_from_the_event_hides_the_same() {
        let event = json!({"user": {"user_id": "user-0001-of-li"}, "click": {"id": "abcd"}});
        let masked = Masked::event(event.to_string().as_bytes());
        let body = masked.text(r#"{"outeruserid":"user-0001-of-li","id":"abcd"}"#);
        assert_eq!(body, r#"{"outeruserid":"***","id":"abcd"}"#);
    }

    #[test]
    fn bytes_that_are_no_json_are_shown_as_text_and_masked() {
        let masked = Masked::event(b"tel 13812345678 \xff");
        assert_eq!(masked.value, Value::String("tel 138****5678 \u{fffd}".into()));
        assert!(Masked::event(&[b'x'; 10_000]).value.as_str().unwrap().len() <= LONGEST_TEXT);
    }
}

//! Masks an event in the text as it was written: what is not masked stays byte for byte (pure).

use std::borrow::Cow;

use serde_json::Value;

use crate::redact::event::{damaged, walk};
use crate::redact::names::Kind;
use crate::redact::{SECRET, mask_text};

/// Shows the bytes of an event to people: the same values are masked as by `mask_event`, and all else stays as it was
/// written, so that numbers keep their digits and members their order.
pub fn mask_event_text(bytes: &[u8]) -> Cow<'_, str> {
    let plain = crate::byte_order_mark::skip(bytes);
    match std::str::from_utf8(plain) {
        // The check bounds the depth, too.
        Ok(text) if serde_json::from_str::<Value>(text).is_ok() => {
            let mut writing = Writing { text, at: 0, out: String::with_capacity(text.len()) };
            if writing.value("", false).is_none() {
                return damaged(plain).into();
            }
            writing.copy_blanks();
            if writing.out == text { Cow::Borrowed(text) } else { Cow::Owned(writing.out) }
        }
        _ => {
            let masked = damaged(plain);
            match std::str::from_utf8(plain) {
                Ok(text) if text == masked => Cow::Borrowed(text),
                _ => Cow::Owned(masked),
            }
        }
    }
}

/// Valid JSON on its way from `text` to `out`.
struct Writing<'a> {
    text: &'a str,
    at: usize,
    out: String,
}

impl<'a> Writing<'a> {
    fn next(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn copy_blanks(&mut self) {
        while let Some(blank) = self.next().filter(u8::is_ascii_whitespace) {
            self.out.push(blank.into());
            self.at += 1;
        }
    }

    /// Copies one of the signs `{}[],:`.
    fn copy_sign(&mut self) -> Option<u8> {
        let sign = self.next()?;
        self.out.push(sign.into());
        self.at += 1;
        self.copy_blanks();
        Some(sign)
    }

    /// The text of a string, number or word.
    fn scalar(&mut self) -> Option<&'a str> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        if bytes.get(start) == Some(&b'"') {
            self.at += 1;
            while *bytes.get(self.at)? != b'"' {
                self.at += if bytes[self.at] == b'\\' { 2 } else { 1 };
            }
            self.at += 1;
        } else {
            let ends = |byte: &u8| byte.is_ascii_whitespace() || b",]}:".contains(byte);
            self.at = (start..).find(|at| bytes.get(*at).is_none_or(ends))?;
        }
        self.text.get(start..self.at)
    }

    /// Writes the value of the member `name`. `personal`: the member stands under `user`. `None`: it is no JSON.
    fn value(&mut self, name: &str, personal: bool) -> Option<()> {
        self.copy_blanks();
        let hidden = personal || Kind::of(name) != Kind::Plain;
        match self.next()? {
            b'{' | b'[' if Kind::of(name) == Kind::Secret => {
                let kept = self.out.len();
                self.inside(name, hidden)?;
                self.out.truncate(kept);
                self.out.push_str(&format!("\"{SECRET}\""));
            }
            b'{' | b'[' => self.inside(name, hidden || personal)?,
            _ => {
                let written = self.scalar()?;
                let value: Value = serde_json::from_str(written).ok()?;
                let masked = walk(value.clone(), name, personal);
                self.out.push_str(&if masked == value { written.to_owned() } else { masked.to_string() });
            }
        }
        Some(())
    }

    /// Writes an object or an array.
    fn inside(&mut self, name: &str, hidden: bool) -> Option<()> {
        let is_object = self.copy_sign()? == b'{';
        while !matches!(self.next()?, b'}' | b']') {
            if is_object {
                let written = self.scalar()?;
                let member: String = serde_json::from_str(written).ok()?;
                let masked = mask_text(&member);
                self.out.push_str(&if masked == member {
                    written.to_owned()
                } else {
                    Value::from(&*masked).to_string()
                });
                self.copy_blanks();
                self.copy_sign()?;
                self.value(&member.to_ascii_lowercase(), hidden)?;
            } else {
                self.value(name, hidden)?;
            }
            self.copy_blanks();
            if self.next()? == b',' {
                self.copy_sign()?;
            }
        }
        let end = self.next()?;
        self.out.push(end.into());
        self.at += 1;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::redact::mask_event;

    #[test]
    fn what_is_not_masked_stays_as_it_was_written() {
        let text =
            "\n{ \"b\" : 73314510714175488123, \"a\":1.50e0,\"note\":\"\\u4f60</script>\", \"a\": [ ] , \"x\" :{}\t}  ";
        assert!(matches!(mask_event_text(text.as_bytes()), Cow::Borrowed(same) if same == text));
        assert_eq!(mask_event_text(b"not json, and \x01 no harm"), "not json, and \x01 no harm");
    }

    #[test]
    fn what_is_personal_or_secret_is_masked_in_its_place() {
        let text = r#"{ "id": 73314510714175488123, "user": {"user_id": "li", "phone": "13812345678", "age" : 37 },
            "app_token": {"deep": ["t0k3n"]}, "note": "call 13912345678", "n": [13712345678, 5], "call 13612345678": 1 }"#;
        let masked = mask_event_text(text.as_bytes());
        for raw in ["\"li\"", "13812345678", "37 ", "t0k3n", "13912345678", "13712345678", "13612345678"] {
            assert!(!masked.contains(raw), "{raw} in {masked}");
        }
        for kept in [
            "{ \"id\": 73314510714175488123, \"user\": {\"user_id\": ",
            "\"app_token\": \"***\", \"note\": \"call 139****5678\"",
            ", 5]",
        ] {
            assert!(masked.contains(kept), "{kept} not in {masked}");
        }
        let twice = mask_event_text(br#"{"phone":"13812345678","phone":"13912345678"}"#);
        assert_eq!(twice, r#"{"phone":"138****5678","phone":"139****5678"}"#);
    }

    fn event() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "(13[0-9]{9}|[a-z@.]{0,12}|\\PC{0,6}|phone=13[0-9]{9})".prop_map(Value::from),
        ];
        let name = prop_oneof![
            "[a-z_]{1,5}",
            Just("user".to_owned()),
            Just("phone".to_owned()),
            Just("token".to_owned()),
            Just("event_time_ms".to_owned())
        ];
        leaf.prop_recursive(4, 40, 5, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(name.clone(), inner, 0..5).prop_map(|members| json!(members)),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_masks_the_same_as_the_value(event in event(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&event).unwrap() } else { event.to_string() };
            let masked = mask_event_text(text.as_bytes());
            prop_assert_eq!(serde_json::from_str::<Value>(&masked).unwrap(), mask_event(text.as_bytes()));
        }
    }
}

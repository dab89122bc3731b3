//! A platform's own code, as the JSON of an answer holds it.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::event::whole;

/// The code as text. A string stays as it is. A whole number is read by its value (`0.0`, `0e0` and `-0` are `0`). Any
/// other number stays as it is written. `None`: it is neither a string nor a number.
pub fn code(raw: &RawValue) -> Option<Cow<'_, str>> {
    let raw = raw.get();
    match raw.bytes().next()? {
        b'"' => serde_json::from_str::<String>(raw).ok().map(Cow::Owned),
        b'-' | b'0'..=b'9' => Some(whole(raw).map_or(Cow::Borrowed(raw), |number| number.to_string().into())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_codes_by_their_value_and_texts_as_they_are() {
        let rows = [
            ("0", Some("0")),
            ("0.0", Some("0")),
            ("0e0", Some("0")),
            ("-0", Some("0")),
            ("-0.00E3", Some("0")),
            ("1.0", Some("1")),
            ("10e-1", Some("1")),
            ("-1.0", Some("-1")),
            ("4e4", Some("40000")),
            ("0.5", Some("0.5")),
            ("1e30", Some("1e30")),
            ("\"0\"", Some("0")),
            ("\"0.0\"", Some("0.0")),
            ("\"\\u0030\"", Some("0")),
            ("\"success\"", Some("success")),
            ("null", None),
            ("true", None),
            ("{}", None),
            ("[0]", None),
        ];
        for (json, expected) in rows {
            let raw: &RawValue = serde_json::from_str(json).unwrap();
            assert_eq!(code(raw).as_deref(), expected, "{json}");
        }
    }
}

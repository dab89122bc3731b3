//! One dead letter as the API and `show --json` give it: nothing that a reader of JSON could round, reorder or merge.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::inspect::dead_letters::dead_letter::DeadLetter;
use crate::inspect::dead_letters::meaning::{advice, meaning};
use crate::inspect::dead_letters::state::State;
use crate::inspect::dead_letters::today::Today;
use crate::kafka::record::{Header, Record};
use crate::redact::{LONGEST_TEXT, mask_event_text, mask_header, mask_text};

/// Integers above this lose digits where JSON numbers are floats.
const EXACT: u64 = 1 << 53;

/// A dead letter. Personal data and secrets are masked.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Item {
    /// Null: not known yet, because the search has not come that far.
    pub state: Option<State>,
    pub key: Option<Bytes>,
    /// All headers in order. A name may repeat.
    pub headers: Vec<(String, Option<Bytes>)>,
    /// The value as text; null: the record has none.
    pub value: Option<String>,
    /// The bytes of the value, with the same parts masked.
    pub value_base64: Option<String>,
    /// `value` and `value_base64` are the beginning of a longer value.
    pub value_cut: bool,
    /// The worker's own headers by name, without `pb-` and with underscores, and `partition` and `offset`.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

/// A text, or bytes that are none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Bytes {
    Text(String),
    Binary { base64: String },
}

impl Item {
    /// Reads a record of the dead-letter topic. At most `longest` bytes of the value are shown.
    pub fn new(record: &Record, state: Option<State>, longest: usize) -> Self {
        let value = record.value.as_deref().map(|bytes| shown_value(bytes, longest));
        let (value, value_base64, value_cut) = match value {
            Some((text, base64, cut)) => (Some(text), Some(base64), cut),
            None => (None, None, false),
        };
        let fields = DeadLetter::read(record).json().into_iter().map(|(name, value)| (name, exact(value)));
        Self {
            state,
            key: record.key.as_deref().map(|key| bytes(key, |text| mask_text(text).into_owned())),
            headers: record.headers.iter().map(header).collect(),
            value,
            value_base64,
            value_cut,
            fields: fields.collect(),
        }
    }
}

/// A dead letter, and what there is to say about it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Full {
    #[serde(flatten)]
    pub item: Item,
    /// What the reason means; null where it cannot be read.
    pub meaning: Option<&'static str>,
    /// What to do about it.
    pub advice: Option<&'static str>,
    /// What the event would come to today, as `preview` says it.
    pub today: Value,
}

impl Full {
    /// Reads a record of the dead-letter topic.
    pub fn new(record: &Record, state: Option<State>, today: &Today) -> Self {
        let reason = DeadLetter::read(record).reason();
        Self {
            item: Item::new(record, state, usize::MAX),
            meaning: reason.map(meaning),
            advice: reason.map(advice),
            today: today.json(),
        }
    }
}

/// Text and base64 of a value, and whether a part is missing.
fn shown_value(bytes: &[u8], longest: usize) -> (String, String, bool) {
    let (masked, text) = (mask_event_text(bytes), String::from_utf8_lossy(bytes));
    if masked == text && masked.len() <= longest {
        // Nothing was masked: the exact bytes are shown, also those that are no text.
        return (masked.into_owned(), STANDARD.encode(bytes), false);
    }
    // The masking cuts long texts that are no JSON.
    let is_cut = masked.chars().count() == LONGEST_TEXT && text.chars().count() > LONGEST_TEXT;
    let end = (0..=longest.min(masked.len())).rev().find(|end| masked.is_char_boundary(*end)).unwrap_or(0);
    (masked[..end].to_owned(), STANDARD.encode(&masked.as_bytes()[..end]), is_cut || end < masked.len())
}

fn header(header: &Header) -> (String, Option<Bytes>) {
    let value = header.value.as_deref().map(|value| bytes(value, |text| mask_header(&header.name, text)));
    (mask_text(&header.name).into_owned(), value)
}

/// A text, masked; or bytes that are no text, unless a part of them would be masked.
fn bytes(bytes: &[u8], mask: impl Fn(&str) -> String) -> Bytes {
    let text = String::from_utf8_lossy(bytes);
    let masked = mask(&text);
    if std::str::from_utf8(bytes).is_err() && masked == text {
        return Bytes::Binary { base64: STANDARD.encode(bytes) };
    }
    Bytes::Text(masked)
}

/// Writes large integers as texts.
fn exact(value: Value) -> Value {
    match value {
        Value::Number(number) if number.as_i64().is_some_and(|n| n.unsigned_abs() > EXACT) => number.to_string().into(),
        Value::Number(number) if number.as_u64().is_some_and(|n| n > EXACT) => number.to_string().into(),
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::dead_letters::tests::record;

    fn item(value: &[u8], headers: Vec<Header>) -> Value {
        let mut record = record(1, 2, &[("reason", "rejected"), ("origin-offset", "9007199254740993")]);
        record.value = Some(value.to_vec().into());
        record.headers.splice(0..0, headers);
        serde_json::to_value(Item::new(&record, Some(State::Open), 65_536)).unwrap()
    }

    #[test]
    fn numbers_header_order_and_bytes_stay_exact() {
        let headers = vec![
            Header::text("a", "1"),
            Header { name: "bin".into(), value: Some(vec![0xff, 0x00].into()) },
            Header { name: "a".into(), value: None },
            Header::text("a", ""),
        ];
        let value = br#"{"id":73314510714175488,"note":"</script>"}"#;
        let item = item(value, headers);
        assert_eq!(
            item["headers"].as_array().unwrap()[..4],
            serde_json::json!([["a", "1"], ["bin", {"base64": "/wA="}], ["a", null], ["a", ""]]).as_array().unwrap()[..]
        );
        assert_eq!(item["value"], std::str::from_utf8(value).unwrap());
        assert_eq!(STANDARD.decode(item["value_base64"].as_str().unwrap()).unwrap(), value);
        assert_eq!((&item["origin_offset"], &item["offset"]), (&"9007199254740993".into(), &2.into()));
        assert_eq!((&item["state"], &item["reason"]), (&"open".into(), &"rejected".into()));
    }

    #[test]
    fn bytes_that_are_no_text_are_exact_and_a_missing_value_is_null() {
        let zeros = item(&[0, 0, 0xfe], Vec::new());
        assert_eq!(zeros["value_base64"], "AAD+");
        let mut record = record(1, 2, &[]);
        record.value = None;
        let none = serde_json::to_value(Item::new(&record, None, 100)).unwrap();
        assert_eq!([&none["value"], &none["value_base64"], &none["state"], &none["key"]], [&Value::Null; 4]);
        record.value = Some("".into());
        assert_eq!(Item::new(&record, None, 100).value.as_deref(), Some(""));
    }

    #[test]
    fn text_and_base64_are_masked_alike_and_a_long_value_says_so() {
        let headers = vec![Header::text("X-Api-Key", "k3y-of-the-shop-000001"), Header::text("x-phone", "13812345678")];
        let mut item = item(r#"{"user":{"phone":"13812345678"},"名":"13912345678"}"#.as_bytes(), headers);
        let base64 = STANDARD.decode(item["value_base64"].as_str().unwrap()).unwrap();
        assert_eq!(std::str::from_utf8(&base64).unwrap(), item["value"].as_str().unwrap());
        item["value_base64"] = Value::Null;
        let text = item.to_string();
        assert!(!text.contains("13812345678") && !text.contains("13912345678") && !text.contains("k3y-of"), "{text}");
        let mut record = record(1, 2, &[]);
        record.value = Some(format!(r#"{{"a":"{}"}}"#, "é".repeat(100)).into());
        let cut = Item::new(&record, None, 50);
        assert!(cut.value_cut && cut.value.as_ref().unwrap().len() <= 50);
        assert!(!Item::new(&record, None, 500).value_cut);
        record.value = Some(vec![b'x'; 10_000].into());
        assert!(Item::new(&record, None, 65_536).value_cut, "text that is no JSON is cut by the masking");
    }
}

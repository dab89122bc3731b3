//! Where personal data stands in the data of orders. 抖店 adds members from time to time, so names are looked for at
//! every level.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::platforms::call::{Personal, PersonalKind};
use crate::platforms::solinkup::catalog::{Family, Name};

/// A member with one of these words in its name is about a person, with all that stands in it.
const PARTS: [&str; 13] = [
    "receiver",
    "post_tel",
    "poi_tel",
    "phone",
    "mobile",
    "post_addr",
    "address",
    "id_card",
    "open_id",
    "account_id",
    "account_name",
    "user_id",
    "decrypt_text",
];
/// Words that somebody wrote.
const WORDS: [&str; 3] = ["buyer_words", "seller_words", "cancel_reason"];

/// The places in the answer to a call.
pub(super) fn places(call: Name, data: &Value) -> Vec<Personal> {
    let mut found = BTreeMap::new();
    if call.family() == Family::Doudian {
        walk(data, "", None, &mut found);
    }
    found.into_iter().map(|(at, kind)| Personal { at: at.into(), kind }).collect()
}

/// `kind` is what all below this place is.
fn walk(value: &Value, path: &str, kind: Option<PersonalKind>, found: &mut BTreeMap<String, PersonalKind>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                walk(value, &below(name), kind.or_else(|| kind_of(name)), found);
            }
        }
        Value::Array(items) => {
            for item in items {
                walk(item, &below("*"), kind, found);
            }
        }
        Value::String(_) | Value::Number(_) => {
            if let Some(kind) = kind {
                found.insert(path.to_owned(), kind);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

fn kind_of(name: &str) -> Option<PersonalKind> {
    if WORDS.contains(&name) {
        return Some(PersonalKind::Text);
    }
    PARTS.iter().any(|part| name.contains(part)).then_some(PersonalKind::Value)
}

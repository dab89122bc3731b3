//! Adds rules to the published schema (`config/event.schema.json`) that types cannot express.

use schemars::Schema;
use serde_json::{Value, json};

use super::fields::MAX_CLICK_BYTES;
use super::placeholder;

/// A macro that nobody filled in is not an id.
pub(super) fn no_placeholder(schema: &mut Schema) {
    let guid = json!({"pattern": placeholder::guid_pattern()});
    schema.insert("not".into(), json!({"pattern": placeholder::pattern(), "not": guid}));
}

/// Only a call may lack its event type, because its member `call` says what is wanted.
pub(super) fn require_type_or_call(schema: &mut Schema) {
    schema.insert("if".into(), json!({"properties": {"kind": {"const": "call"}}, "required": ["kind"]}));
    schema.insert("then".into(), json!({"properties": {"call": {"type": "string"}}, "required": ["call"]}));
    schema.insert("else".into(), json!({"properties": {"event_type": {"type": "string"}}, "required": ["event_type"]}));
}

/// The texts of a click may have any name; the schema describes those that platforms ask for.
pub(super) fn click_texts(schema: &mut Schema) {
    let known = [
        ("qhclickid", "The click id of search ads (16 characters) and of display ads (12 characters)."),
        ("impression_id", "The click id of 移动推广."),
        ("sourceid", "Display ads: the same id under the name it has in landing links; `qhclickid` wins."),
        ("landing_url", "The landing page as it was opened."),
    ];
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for (name, description) in known {
            let text = json!({"type": ["string", "null"], "maxLength": MAX_CLICK_BYTES, "description": description});
            properties.insert(name.to_owned(), text);
        }
    }
    schema.insert("additionalProperties".into(), json!({"type": ["string", "null"], "maxLength": MAX_CLICK_BYTES}));
}

/// Makes each description in a schema one line. Its line breaks are those of the comment in the code.
pub fn join_lines(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::String(text)) = members.get_mut("description") {
                *text = text.replace('\n', " ");
            }
            members.values_mut().for_each(join_lines);
        }
        Value::Array(items) => items.iter_mut().for_each(join_lines),
        _ => {}
    }
}

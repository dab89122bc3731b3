//! The JSON Schema of events, generated from the types; `config/event.schema.json` is its committed copy.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::json;

use super::{Click, placeholder};
use crate::event::decode::{FIRST_MS, LAST_MS, MAX_CLICK_BYTES};

/// A macro that was never filled in is no id.
pub(super) fn no_placeholder(schema: &mut Schema) {
    schema.insert("not".into(), json!({"pattern": placeholder::pattern()}));
}

/// Only a call may lack its event type: its `call` says what is wanted.
pub(super) fn require_event_type(schema: &mut Schema) {
    schema.insert("if".into(), json!({"properties": {"kind": {"const": "call"}}, "required": ["kind"]}));
    schema.insert("else".into(), json!({"properties": {"event_type": {"type": "string"}}, "required": ["event_type"]}));
}

impl JsonSchema for Click {
    fn schema_name() -> Cow<'static, str> {
        "Click".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let text =
            |what: &str| json_schema!({"type": ["string", "null"], "maxLength": MAX_CLICK_BYTES, "description": what});
        json_schema!({
            "type": "object",
            "description": "Click ids and other texts of the click, at most 4096 bytes each. They are opaque: never trimmed, re-cased, truncated or re-encoded.",
            "properties": {
                "qhclickid": text("360 search (16 characters) and display (12 characters)."),
                "impression_id": text("360 移动推广."),
                "sourceid": text("360 display: the same id under the name it has in landing links; `qhclickid` wins."),
                "landing_url": text("The landing page as it was opened."),
                "click_time_ms": {
                    "type": ["integer", "null"],
                    "format": "int64",
                    "minimum": FIRST_MS,
                    "maximum": LAST_MS,
                    "description": "When the click happened, UTC epoch milliseconds."
                }
            },
            "additionalProperties": {"type": ["string", "null"], "maxLength": MAX_CLICK_BYTES}
        })
    }
}

//! What an expression comes to.

use serde_json::Value;

/// A value. Bytes are what `unhex` and `unbase64` make.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Val {
    /// The name exists nowhere.
    Undefined,
    Json(Value),
    Bytes(Vec<u8>),
}

impl Val {
    pub(super) fn text(text: impl Into<String>) -> Val {
        Val::Json(Value::String(text.into()))
    }

    pub(super) fn flag(flag: bool) -> Val {
        Val::Json(Value::Bool(flag))
    }

    /// Undefined, none or an empty text: what a request leaves out.
    pub(super) fn is_absent(&self) -> bool {
        match self {
            Val::Undefined | Val::Json(Value::Null) => true,
            Val::Json(Value::String(text)) => text.is_empty(),
            _ => false,
        }
    }

    pub(super) fn is_true(&self) -> bool {
        match self {
            Val::Undefined | Val::Json(Value::Null) => false,
            Val::Json(Value::Bool(flag)) => *flag,
            Val::Json(Value::Number(number)) => number.as_f64() != Some(0.0),
            Val::Json(Value::String(text)) => !text.is_empty(),
            Val::Json(Value::Array(list)) => !list.is_empty(),
            Val::Json(Value::Object(members)) => !members.is_empty(),
            Val::Bytes(bytes) => !bytes.is_empty(),
        }
    }

    /// As it is printed into a text.
    pub(super) fn printed(&self) -> Option<String> {
        match self {
            Val::Undefined | Val::Json(Value::Null) => Some(String::new()),
            Val::Json(Value::String(text)) => Some(text.clone()),
            Val::Json(other) => Some(other.to_string()),
            Val::Bytes(bytes) => String::from_utf8(bytes.clone()).ok(),
        }
    }

    /// As it is hashed.
    pub(super) fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Val::Bytes(bytes) => Some(bytes.clone()),
            other => other.printed().map(String::into_bytes),
        }
    }

    pub(super) fn json(&self) -> Option<&Value> {
        match self {
            Val::Json(value) => Some(value),
            Val::Undefined | Val::Bytes(_) => None,
        }
    }
}

//! Filters of values of any kind.

use minijinja::{Error, ErrorKind, Value};

use super::encoding::derived;
use crate::platforms::declared::write;

/// Milliseconds to whole seconds.
pub(super) fn seconds(ms: &Value) -> Result<Value, Error> {
    if ms.is_undefined() || ms.is_none() {
        return Ok(ms.clone());
    }
    let ms = ms.as_i64().ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "seconds takes milliseconds"))?;
    Ok(Value::from(ms.div_euclid(1000)))
}

/// The ASCII digits of a text, e.g. of a phone number. Undefined where it has none, because the digest of nothing is
/// the same for everybody.
pub(super) fn digits(text: &Value) -> Result<Value, Error> {
    let mut whole = String::new();
    write::text(text, &mut whole)?;
    whole.retain(|c| c.is_ascii_digit());
    Ok(if whole.is_empty() { Value::UNDEFINED } else { Value::from(whole) })
}

pub(super) fn to_json(value: &Value, canonical: bool) -> Result<Value, Error> {
    let mut text = String::new();
    write::json(value, canonical, &mut text)?;
    derived(value, &text);
    Ok(Value::from(text))
}

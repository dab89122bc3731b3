//! Values as JSON and as text.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use minijinja::value::{Object, ObjectRepr, ValueKind};
use minijinja::{Error, ErrorKind, Value};

use super::json::{JsonObject, compact, pairs, split_list};
use crate::event::whole;

/// A decimal number that was made of whole ones: no double stands between. In a text it is its digits, in JSON a
/// number.
#[derive(Debug)]
pub(super) struct Decimal(pub String);

impl Object for Decimal {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// JSON that is written already, e.g. the items of a batch.
pub(super) struct Written(pub String);

impl Written {
    /// The members of the list that it is.
    fn list(&self) -> Vec<Bytes> {
        split_list(&Bytes::copy_from_slice(self.0.as_bytes()))
    }
}

impl Object for Written {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let raw = self.list().get(key.as_usize()?)?.clone();
        serde_json::from_slice(&raw).ok()
    }

    fn enumerate(self: &Arc<Self>) -> minijinja::value::Enumerator {
        minijinja::value::Enumerator::Values(
            self.list().iter().filter_map(|raw| serde_json::from_slice(raw).ok()).collect(),
        )
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// By hand: it holds what events say of persons.
impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Written({} bytes)", self.0.len())
    }
}

/// Appends a text in quotes.
pub(super) fn quoted(text: &str, out: &mut String) {
    if text.bytes().all(|b| b >= b' ' && b != b'"' && b != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
        return;
    }
    // Writing a text as JSON cannot fail.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

/// Appends a value as compact JSON. `canonical`: with the members of objects in the order of their names, and numbers
/// by their value.
pub(super) fn json(value: &Value, canonical: bool, out: &mut String) -> Result<(), Error> {
    if let Some(object) = value.downcast_object_ref::<JsonObject>() {
        raw(object.raw(), canonical, out);
        return Ok(());
    }
    if let Some(Decimal(digits)) = value.downcast_object_ref() {
        out.push_str(digits);
        return Ok(());
    }
    if let Some(Written(text)) = value.downcast_object_ref() {
        raw(text.as_bytes(), canonical, out);
        return Ok(());
    }
    match value.kind() {
        ValueKind::Undefined => return Err(Error::from(ErrorKind::UndefinedError)),
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number if value.is_integer() => _ = write!(out, "{value}"),
        ValueKind::Number => number(value, canonical, out)?,
        ValueKind::String => quoted(value.as_str().unwrap_or_default(), out),
        ValueKind::Seq | ValueKind::Iterable => {
            out.push('[');
            for (at, member) in value.try_iter()?.enumerate() {
                if at > 0 {
                    out.push(',');
                }
                json(&member, canonical, out)?;
            }
            out.push(']');
        }
        ValueKind::Map => {
            let mut names: Vec<_> = value.try_iter()?.collect();
            if canonical {
                names.sort_by_key(ToString::to_string);
            }
            out.push('{');
            for (at, name) in names.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                quoted(&name.to_string(), out);
                out.push(':');
                json(&value.get_item(name)?, canonical, out)?;
            }
            out.push('}');
        }
        _ => return Err(Error::new(ErrorKind::BadSerialization, "is nothing that JSON has")),
    }
    Ok(())
}

fn number(value: &Value, canonical: bool, out: &mut String) -> Result<(), Error> {
    let text = serde_json::to_string(value).map_err(|_| Error::from(ErrorKind::BadSerialization))?;
    match whole(&text).filter(|_| canonical) {
        Some(number) => _ = write!(out, "{number}"),
        None => out.push_str(&text),
    }
    Ok(())
}

/// JSON that came as text.
fn raw(text: &[u8], canonical: bool, out: &mut String) {
    if canonical { sorted(&Bytes::copy_from_slice(text), out) } else { compact(text, out) }
}

fn sorted(raw: &Bytes, out: &mut String) {
    match raw.trim_ascii_start().first() {
        Some(b'{') => {
            let mut members = pairs(raw);
            members.sort_by(|a, b| a.0.cmp(&b.0));
            out.push('{');
            for (at, (name, value)) in members.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                quoted(&String::from_utf8_lossy(name), out);
                out.push(':');
                sorted(value, out);
            }
            out.push('}');
        }
        Some(b'[') => {
            out.push('[');
            for (at, value) in split_list(raw).iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                sorted(value, out);
            }
            out.push(']');
        }
        Some(b'"') => match serde_json::from_slice::<String>(raw) {
            Ok(text) => quoted(&text, out),
            Err(_) => compact(raw, out),
        },
        _ => match std::str::from_utf8(raw).ok().and_then(|text| whole(text.trim())) {
            Some(number) => _ = write!(out, "{number}"),
            None => compact(raw, out),
        },
    }
}

/// A value as the bytes that are hashed or encoded: bytes as they are, anything else as its text.
pub(super) fn bytes(value: &Value) -> Result<Cow<'_, [u8]>, Error> {
    match value.kind() {
        ValueKind::Undefined => Err(Error::from(ErrorKind::UndefinedError)),
        ValueKind::Bytes => Ok(Cow::Borrowed(value.as_bytes().unwrap_or_default())),
        ValueKind::String => Ok(Cow::Borrowed(value.as_str().unwrap_or_default().as_bytes())),
        ValueKind::None => Ok(Cow::Borrowed(b"")),
        _ => Ok(Cow::Owned(value.to_string().into_bytes())),
    }
}

/// Appends a value as text; none is empty.
pub(super) fn text(value: &Value, out: &mut String) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Undefined => return Err(Error::from(ErrorKind::UndefinedError)),
        ValueKind::None => {}
        ValueKind::String => out.push_str(value.as_str().unwrap_or_default()),
        ValueKind::Bytes => match value.as_bytes().map(std::str::from_utf8) {
            Some(Ok(text)) => out.push_str(text),
            _ => {
                return Err(Error::new(
                    ErrorKind::InvalidOperation,
                    "bytes that are no text; write | base64 after them",
                ));
            }
        },
        _ => _ = write!(out, "{value}"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: &Value, canonical: bool) -> String {
        let mut out = String::new();
        json(value, canonical, &mut out).unwrap();
        out
    }

    #[test]
    fn canonical_json_reproduces_the_published_vectors() {
        let vectors = [
            (r#"{"c": 3, "b": 2, "a": {"c": 3, "b": 2, "a": 1}}"#, r#"{"a":{"a":1,"b":2,"c":3},"b":2,"c":3}"#),
            (r#"{"a": 1.0}"#, r#"{"a":1}"#),
            (r#"{"a": "&<>='/ô汉😀"}"#, r#"{"a":"&<>='/ô汉😀"}"#),
            (
                r#"{"list": [{"b": 1, "a": 2.5}, {"z": null, "y": true}], "n": 0.1}"#,
                r#"{"list":[{"a":2.5,"b":1},{"y":true,"z":null}],"n":0.1}"#,
            ),
        ];
        for (input, canonical) in vectors {
            let object = JsonObject::event(Bytes::from_static(input.as_bytes()));
            assert_eq!(written(&Value::from_dyn_object(object), true), canonical);
            let value: Value = serde_json::from_str(input).unwrap();
            assert_eq!(written(&value, true), canonical, "as a value");
        }
    }

    #[test]
    fn a_decimal_is_a_number_in_json_and_its_digits_in_a_text() {
        let decimal = Value::from_object(Decimal("0.05".into()));
        assert_eq!(written(&decimal, false), "0.05");
        let mut out = String::new();
        text(&decimal, &mut out).unwrap();
        assert_eq!(out, "0.05");
    }

    #[test]
    fn members_keep_the_order_in_which_they_are_written() {
        let value: Value = serde_json::from_str(r#"{"z":1,"a":[true,null,"x\"y"],"m":{"b":1,"a":2}}"#).unwrap();
        assert_eq!(written(&value, false), r#"{"z":1,"a":[true,null,"x\"y"],"m":{"b":1,"a":2}}"#);
    }
}

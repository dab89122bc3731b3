//! The filters of contract section 10, beside those that minijinja brings along.
//!
//! A money filter passes on what is undefined or none, so that `{{ event.order.amount | yuan | default('') }}` and a JSON
//! member of an event without an amount need no condition.

mod digest;
mod encoding;
mod money;
mod refusal;

use minijinja::{Environment, Error, ErrorKind, Value};

use super::write;

pub(super) use digest::signature_input;
pub(super) use encoding::{percent, while_masking};
pub(super) use refusal::Refusal;

/// A filter without arguments.
pub(super) type Filter = fn(&Value) -> Result<Value, Error>;
/// A filter with one.
pub(super) type FilterBy = fn(&Value, &Value) -> Result<Value, Error>;

/// The names of these filters, for "did you mean".
pub(super) const NAMES: [&str; 24] = [
    "fen",
    "yuan",
    "decimal",
    "seconds",
    "md5",
    "sha1",
    "sha256",
    "hmac_sha256",
    "hmac_sha1",
    "unhex",
    "base64",
    "unbase64",
    "urlencode",
    "urldecode",
    "url_query",
    "upper",
    "lower",
    "digits",
    "sorted_query",
    "json",
    "canonical_json",
    "default",
    "replace",
    "trim",
];

/// Those that refuse some events.
pub(super) const REFUSING: [&str; 3] = ["fen", "yuan", "decimal"];

/// Adds them to an environment.
pub(super) fn add(env: &mut Environment<'static>) {
    env.add_filter("fen", money::fen);
    env.add_filter("yuan", money::yuan);
    env.add_filter("decimal", money::decimal);
    env.add_filter("seconds", seconds);
    env.add_filter("md5", digest::md5);
    env.add_filter("sha1", digest::sha1);
    env.add_filter("sha256", digest::sha256);
    env.add_filter("hmac_sha256", digest::hmac_sha256);
    env.add_filter("hmac_sha1", digest::hmac_sha1);
    env.add_filter("unhex", encoding::unhex);
    env.add_filter("base64", encoding::base64);
    env.add_filter("unbase64", encoding::unbase64);
    env.add_filter("urlencode", encoding::urlencode);
    env.add_filter("urldecode", encoding::urldecode);
    env.add_filter("url_query", encoding::url_query);
    env.add_filter("upper", encoding::upper);
    env.add_filter("lower", encoding::lower);
    env.add_filter("digits", digits);
    env.add_filter("sorted_query", encoding::sorted_query);
    env.add_filter("json", |value: &Value| to_json(value, false));
    env.add_filter("canonical_json", |value: &Value| to_json(value, true));
}

/// A filter without arguments, for what is evaluated directly.
pub(super) fn direct(name: &str) -> Option<Filter> {
    Some(match name {
        "fen" => money::fen,
        "yuan" => money::yuan,
        "decimal" => money::decimal,
        "seconds" => seconds,
        "md5" => |value| digest::md5(value).map(Value::from),
        "sha1" => |value| digest::sha1(value).map(Value::from),
        "sha256" => |value| digest::sha256(value).map(Value::from),
        "unhex" => encoding::unhex,
        "base64" => |value| encoding::base64(value).map(Value::from),
        "unbase64" => encoding::unbase64,
        "urlencode" => |value| encoding::urlencode(value).map(Value::from),
        "urldecode" => |value| encoding::urldecode(value).map(Value::from),
        "upper" => |value| encoding::upper(value).map(Value::from),
        "lower" => |value| encoding::lower(value).map(Value::from),
        "digits" => digits,
        "json" => |value| to_json(value, false),
        "canonical_json" => |value| to_json(value, true),
        _ => return None,
    })
}

/// One with a key.
pub(super) fn direct_by(name: &str) -> Option<FilterBy> {
    Some(match name {
        "hmac_sha256" => |value, key| digest::hmac_sha256(value, key).map(Value::from),
        "hmac_sha1" => |value, key| digest::hmac_sha1(value, key).map(Value::from),
        _ => return None,
    })
}

/// Milliseconds to whole seconds.
fn seconds(ms: &Value) -> Result<Value, Error> {
    if ms.is_undefined() || ms.is_none() {
        return Ok(ms.clone());
    }
    let ms = ms.as_i64().ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "seconds takes milliseconds"))?;
    Ok(Value::from(ms.div_euclid(1000)))
}

/// The ASCII digits of a text, e.g. of a phone number.
fn digits(text: &Value) -> Result<Value, Error> {
    let mut whole = String::new();
    write::text(text, &mut whole)?;
    whole.retain(|c| c.is_ascii_digit());
    Ok(Value::from(whole))
}

fn to_json(value: &Value, canonical: bool) -> Result<Value, Error> {
    let mut text = String::new();
    write::json(value, canonical, &mut text)?;
    encoding::derived(value, &text);
    Ok(Value::from(text))
}

#[cfg(test)]
mod tests;

//! Encodings. Those that can be undone tell what became of a secret, so that it is masked in its new form as well.

use std::cell::RefCell;
use std::fmt::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::value::Kwargs;
use minijinja::{Error, ErrorKind, Value};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::platforms::declared::write::{self, bytes};

/// Everything but what RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

thread_local! {
    /// The secrets of the request that is being built, in each form that they have got.
    static SECRETS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Does something while these secrets are looked out for, and returns every form that they have got meanwhile.
pub(in crate::platforms::declared) fn while_masking<T>(
    secrets: Vec<String>,
    act: impl FnOnce() -> T,
) -> (T, Vec<String>) {
    SECRETS.with(|all| *all.borrow_mut() = secrets);
    let done = act();
    (done, SECRETS.with(RefCell::take))
}

/// Notes a new form of a secret. It is as long as it has to be: the whole text around the secret counts as secret.
pub(super) fn derived(value: &Value, encoded: &str) {
    SECRETS.with(|all| {
        let mut all = all.borrow_mut();
        if all.is_empty() {
            return;
        }
        let Ok(plain) = bytes(value) else { return };
        let holds = |secret: &String| plain.windows(secret.len().max(1)).any(|part| part == secret.as_bytes());
        if all.iter().any(holds) && !all.iter().any(|known| known == encoded) {
            all.push(encoded.to_owned());
        }
    });
}

/// Percent-encodes a text for a query or a path.
pub(in crate::platforms::declared) fn percent(text: &str, out: &mut String) {
    // Writing into a text cannot fail.
    let _ = write!(out, "{}", utf8_percent_encode(text, RESERVED));
}

fn refuse(why: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, why)
}

fn plain(value: &Value) -> Result<String, Error> {
    let mut text = String::new();
    write::text(value, &mut text)?;
    Ok(text)
}

pub(super) fn unhex(value: &Value) -> Result<Value, Error> {
    let text = plain(value)?;
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    let decoded: Option<Vec<u8>> = text.as_bytes().chunks(2).map(pair).collect();
    decoded.map(Value::from_bytes).ok_or_else(|| refuse("unhex takes pairs of hexadecimal digits"))
}

pub(super) fn base64(value: &Value) -> Result<String, Error> {
    let encoded = STANDARD.encode(bytes(value)?);
    derived(value, &encoded);
    Ok(encoded)
}

pub(super) fn unbase64(value: &Value) -> Result<Value, Error> {
    let text = plain(value)?;
    STANDARD.decode(text.trim()).map(Value::from_bytes).map_err(|_| refuse("unbase64 takes base64"))
}

pub(super) fn urlencode(value: &Value) -> Result<String, Error> {
    let mut encoded = String::new();
    percent(&plain(value)?, &mut encoded);
    derived(value, &encoded);
    Ok(encoded)
}

pub(super) fn urldecode(value: &Value) -> Result<String, Error> {
    let text = plain(value)?;
    Ok(percent_decode_str(&text).decode_utf8().map_err(|_| refuse("urldecode gives no UTF-8"))?.into_owned())
}

/// The value of a parameter in the query of a URL, decoded; undefined where it has none.
pub(super) fn url_query(value: &Value, name: &str) -> Result<Value, Error> {
    let text = plain(value)?;
    let query = text.split_once('?').map_or("", |(_, query)| query);
    let query = query.split_once('#').map_or(query, |(query, _)| query);
    let found = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name);
    Ok(found.map_or(Value::UNDEFINED, |(_, value)| Value::from(value.as_ref())))
}

pub(super) fn upper(value: &Value) -> Result<String, Error> {
    let changed = plain(value)?.to_uppercase();
    derived(value, &changed);
    Ok(changed)
}

pub(super) fn lower(value: &Value) -> Result<String, Error> {
    let changed = plain(value)?.to_lowercase();
    derived(value, &changed);
    Ok(changed)
}

/// `name=value` joined by `&`, in the order of the names; percent-encoded unless `raw=true`. Empty values are left out.
pub(super) fn sorted_query(value: &Value, options: Kwargs) -> Result<String, Error> {
    let raw = options.get::<Option<bool>>("raw")?.unwrap_or_default();
    options.assert_all_used()?;
    let mut pairs = Vec::new();
    for name in value.try_iter()? {
        let text = plain(&value.get_item(&name)?)?;
        if !text.is_empty() {
            pairs.push((name.to_string(), text));
        }
    }
    pairs.sort();
    let mut query = String::new();
    for (name, text) in &pairs {
        if !query.is_empty() {
            query.push('&');
        }
        if raw {
            _ = write!(query, "{name}={text}");
        } else {
            percent(name, &mut query);
            query.push('=');
            percent(text, &mut query);
        }
    }
    derived(&Value::from(pairs.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("\n")), &query);
    Ok(query)
}

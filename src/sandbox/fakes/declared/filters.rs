//! The filters of the language, written for the sandbox alone: a digest that the worker gets wrong must not agree here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use ring::{digest, hmac};
use serde_json::{Map, Value};

use super::value::Val;

/// What the filter makes of the value; `None`: the sandbox does not know.
pub(super) fn apply(name: &str, of: &Val, arguments: &[Val]) -> Option<Val> {
    let first = arguments.first();
    let text = || of.printed();
    Some(match name {
        "md5" => Val::text(hex(&Md5::digest(of.bytes()?))),
        "sha1" => Val::text(hex(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &of.bytes()?).as_ref())),
        "sha256" => Val::text(hex(digest::digest(&digest::SHA256, &of.bytes()?).as_ref())),
        "hmac_sha256" => Val::text(mac(hmac::HMAC_SHA256, of, first?)?),
        "hmac_sha1" => Val::text(mac(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, of, first?)?),
        "unhex" => Val::Bytes(unhex(&text()?)?),
        "base64" => Val::text(STANDARD.encode(of.bytes()?)),
        "unbase64" => Val::Bytes(STANDARD.decode(text()?).ok()?),
        "urlencode" => Val::text(urlencode(&text()?)),
        "urldecode" => Val::text(urldecode(&text()?)?),
        "upper" => Val::text(text()?.to_uppercase()),
        "lower" => Val::text(text()?.to_lowercase()),
        "trim" => Val::text(text()?.trim()),
        "digits" => Val::text(text()?.chars().filter(char::is_ascii_digit).collect::<String>()),
        "replace" => Val::text(text()?.replace(&first?.printed()?, &arguments.get(1)?.printed()?)),
        "url_query" => url_query(&text()?, &first?.printed()?)?,
        "split" => Val::Json(text()?.split(&first?.printed()?).map(Value::from).collect()),
        "first" => Val::Json(of.json()?.as_array()?.first()?.clone()),
        "last" => Val::Json(of.json()?.as_array()?.last()?.clone()),
        "length" => Val::Json(length(of)?.into()),
        "int" => Val::Json(text()?.parse::<i64>().ok()?.into()),
        "string" => Val::text(text()?),
        "list" => Val::Json(of.json()?.clone()),
        "seconds" => Val::Json(of.json()?.as_i64()?.div_euclid(1000).into()),
        "json" => Val::text(of.json()?.to_string()),
        "canonical_json" => Val::text(sorted(of.json()?).to_string()),
        "sorted_query" => Val::text(sorted_query(of.json()?.as_object()?)?),
        "default" | "d" => match of {
            Val::Undefined => first.cloned().unwrap_or_else(|| Val::text("")),
            other if arguments.get(1).is_some_and(Val::is_true) && !other.is_true() => first?.clone(),
            other => other.clone(),
        },
        _ => return None,
    })
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let nibbles: Vec<u32> = text.chars().map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    if !nibbles.len().is_multiple_of(2) {
        return None;
    }
    nibbles.chunks(2).map(|pair| u8::try_from(pair.iter().fold(0, |sum, nibble| sum * 16 + nibble)).ok()).collect()
}

fn mac(algorithm: hmac::Algorithm, of: &Val, key: &Val) -> Option<String> {
    let key = hmac::Key::new(algorithm, &key.bytes()?);
    Some(hex(hmac::sign(&key, &of.bytes()?).as_ref()))
}

fn urlencode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// Undoes one layer of percent encoding. A `+` stays as it is, because it means a blank only in forms.
pub(super) fn urldecode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        if *byte == b'%' {
            bytes.extend(unhex(std::str::from_utf8(after.get(..2)?).ok()?)?);
            rest = after.get(2..)?;
        } else {
            bytes.push(*byte);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

/// A parameter in the query of a URL.
fn url_query(url: &str, name: &str) -> Option<Val> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let query = query.split('#').next().unwrap_or_default();
    let value = query.split('&').find_map(|pair| pair.split_once('=').filter(|(known, _)| *known == name));
    match value {
        Some((_, value)) => Some(Val::text(urldecode(&value.replace('+', " "))?)),
        None => Some(Val::Undefined),
    }
}

fn length(of: &Val) -> Option<usize> {
    match of {
        Val::Json(Value::String(text)) => Some(text.chars().count()),
        Val::Json(Value::Array(list)) => Some(list.len()),
        Val::Json(Value::Object(members)) => Some(members.len()),
        Val::Bytes(bytes) => Some(bytes.len()),
        _ => None,
    }
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(list) => list.iter().map(sorted).collect(),
        Value::Object(members) => {
            let mut names: Vec<_> = members.iter().collect();
            names.sort_by_key(|(name, _)| name.as_str());
            Value::Object(names.into_iter().map(|(name, value)| (name.clone(), sorted(value))).collect::<Map<_, _>>())
        }
        other => other.clone(),
    }
}

fn sorted_query(members: &Map<String, Value>) -> Option<String> {
    let mut pairs: Vec<_> = members.iter().collect();
    pairs.sort_by_key(|(name, _)| name.as_str());
    let pair = |(name, value): (&String, &Value)| Some(format!("{name}={}", Val::Json(value.clone()).printed()?));
    Some(pairs.into_iter().map(pair).collect::<Option<Vec<_>>>()?.join("&"))
}

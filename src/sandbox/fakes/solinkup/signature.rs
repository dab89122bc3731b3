//! The signature as the platform computes it, with none of the worker's code.

use md5::Md5;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::account::Sign;

/// The signature of a body in lower-case hex.
pub(super) fn of(sign: &Sign, secret: &str, body: &Map<String, Value>) -> String {
    let mut signed = match sign.profile.as_str() {
        "text" => vec!["accessToken", "appKey", "method", "timestamp", "version"],
        _ => vec![
            "accessToken",
            "appKey",
            "authCode",
            "method",
            "openId",
            "redirectUrl",
            "signMethod",
            "timestamp",
            "version",
        ],
    };
    signed.extend(sign.extra_params.iter().map(String::as_str));
    signed.sort_unstable();
    signed.dedup();
    let mut text = secret.to_owned();
    for name in signed {
        let value = match body.get(name) {
            None | Some(Value::Null) => continue,
            Some(Value::String(value)) if value.is_empty() => continue,
            Some(Value::String(value)) => value.clone(),
            Some(other) => canonical(other),
        };
        // Both labels have the same place in the order.
        let label = if name == "version" { sign.version_label.as_str() } else { name };
        text = text + label + &value;
    }
    text += secret;
    match sign.algorithm.as_str() {
        "hmac-sha256" => hex(&hmac(secret.as_bytes(), text.as_bytes())),
        "sha256" => hex(&Sha256::digest(&text)),
        _ => hex(&Md5::digest(&text)),
    }
}

/// RFC 2104.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let key = if key.len() > 64 { Sha256::digest(key).to_vec() } else { key.to_vec() };
    let pad = |with: u8| -> Vec<u8> { (0..64).map(|n| key.get(n).copied().unwrap_or(0) ^ with).collect() };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
}

/// JSON with its keys in order and without `.0`.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(key, _)| *key);
            let members =
                members.into_iter().map(|(key, value)| format!("{}:{}", Value::from(key.clone()), canonical(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        other => {
            let text = other.to_string();
            text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(64);
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            hex.push(char::from_digit(nibble.into(), 16).unwrap_or('0'));
        }
    }
    hex
}

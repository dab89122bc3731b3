//! Decides which keys hold a secret, and finds characters that a secret contains only by accident. A file, a terminal
//! or a chat may have damaged a secret. It still gives a signature, and then the platform refuses every request.

use crate::byte_order_mark::MARK;

/// Whether a dotted key of the configuration holds a secret.
pub(crate) fn is_named(key: &str) -> bool {
    let last = key.rsplit('.').next().unwrap_or(key);
    matches!(key, "redis.url" | "redis.token_key" | "admin.token")
        || (key.starts_with("accounts.")
            && (last == "proxy" || is_called_secret(last) || is_half(key, last) || is_token(key, last)))
        || key.strip_prefix("kafka.properties.").is_some_and(is_property)
}

/// Whether the name of an account's key says that it holds a secret: `access_token`, `app_secret`, `akey`. The file of
/// the platform says it for sure, but is read later.
fn is_called_secret(name: &str) -> bool {
    ["secret", "key", "token", "password"].iter().any(|end| name.ends_with(end))
}

/// Whether the key is one half of a credential, no matter how its platform calls it.
fn is_half(key: &str, last: &str) -> bool {
    key.contains(".secrets.") && !matches!(last, "id" | "not_before" | "not_after")
}

/// Whether the key is one of the tokens with which an account begins.
fn is_token(key: &str, last: &str) -> bool {
    key.contains(".token.") && last != "refresh_before"
}

/// Whether a setting of librdkafka holds a secret.
pub(crate) fn is_property(name: &str) -> bool {
    name.ends_with("password") || name.ends_with("secret") || name.ends_with(".pem")
}

/// Says why a secret cannot be meant as it is written. The reason never repeats its text.
pub(crate) fn intact(text: &str) -> Result<(), String> {
    no_marks(text)?;
    if text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
        return Err("begins or ends with a blank or a line break, which would be a part of the secret".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("holds a control character, e.g. a line break".to_owned());
    }
    Ok(())
}

/// Checks like [`intact`] a text that consists of lines and may end with a line break.
pub(crate) fn intact_lines(text: &str) -> Result<(), String> {
    no_marks(text)?;
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return Err("holds a control character".to_owned());
    }
    Ok(())
}

/// Refuses characters that nobody can see.
fn no_marks(text: &str) -> Result<(), String> {
    if text.contains(MARK) {
        return Err("holds a byte order mark; save its file as UTF-8 without one".to_owned());
    }
    if text.contains(['\u{200b}', '\u{200c}', '\u{200d}', '\u{200e}', '\u{200f}', '\u{2060}', '\u{ad}']) {
        return Err("holds an invisible character, as copying from a page leaves them".to_owned());
    }
    Ok(())
}

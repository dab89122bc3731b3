//! Masks members by their names, in text that may be damaged JSON and in the bodies of requests (pure).

use std::sync::LazyLock;

use regex::Regex;

use crate::redact::names::{Kind, is_harmless};
use crate::redact::{SECRET, mask_text, pattern};

/// Shows a request's body or URL to people: the values of personal and secret fields are masked. The text may be JSON,
/// a form, or in parts.
pub fn mask_fields(text: &str) -> String {
    match text.split_once("\r\n") {
        Some((boundary, _)) if boundary.starts_with("--") && text.contains("form-data") => parts(text, boundary),
        _ => mask_members(text),
    }
}

/// Shows the value of a header that somebody else wrote to people.
pub fn mask_header(name: &str, value: &str) -> String {
    match Kind::of(name) {
        Kind::Plain => mask_members(value),
        kind => kind.hide(value),
    }
}

/// Masks the value after every personal or secret name, and everything under `user`. The text need not be JSON: names
/// and values are found by their form, and in doubt more is masked.
pub(super) fn mask_members(text: &str) -> String {
    mask_text(&members(text)).into_owned()
}

fn parts(text: &str, boundary: &str) -> String {
    let part = |part: &str| {
        let named = part.split_once("name=\"").and_then(|(_, rest)| rest.split_once('"'));
        match (named, part.split_once("\r\n\r\n")) {
            (Some((name, _)), Some((head, value))) if Kind::of(name) != Kind::Plain => {
                let value = value.strip_suffix("\r\n").unwrap_or(value);
                format!("{head}\r\n\r\n{}\r\n", Kind::of(name).hide(value))
            }
            (_, Some((head, value))) => format!("{head}\r\n\r\n{}", mask_members(value)),
            _ => part.to_owned(),
        }
    };
    text.split(boundary).map(part).collect::<Vec<_>>().join(boundary)
}

fn members(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // All text up to `user_until` stands under `user`, so every value in it is masked. There is no recursion, because
    // the producer chooses the depth.
    let (mut at, mut user_until) = (0, 0);
    while let Some(found) = NAME.captures_at(text, at) {
        let (Some(whole), Some(name)) = (found.get(0), found.name("name")) else { break };
        out.push_str(&text[at..whole.end()]);
        at = whole.end();
        let (name, rest) = (name.as_str().to_lowercase(), &text[at..]);
        let (kind, is_user) = (Kind::of(&name), name.rsplit('.').next() == Some("user"));
        let personal = at < user_until;
        if kind == Kind::Plain && !personal {
            continue;
        }
        if rest.starts_with('{') && kind != Kind::Secret && (personal || is_user) {
            if !personal {
                user_until = at + close(rest);
            }
        } else if rest.starts_with(['{', '[']) {
            out.push_str(&format!("\"{SECRET}\""));
            at += close(rest);
        } else {
            let (open, inner) = value(rest);
            let trimmed = inner.trim_end();
            out.push_str(open);
            let keep = trimmed.is_empty() || trimmed == "null" || (kind != Kind::Secret && is_harmless(&name, trimmed));
            out.push_str(&if keep { trimmed.to_owned() } else { kind.hide(trimmed) });
            out.push_str(&inner[trimmed.len()..]);
            at += open.len() + inner.len();
        }
    }
    out.push_str(&text[at..]);
    out
}

/// Returns the opening mark of a value, and the value. It may stand in quotes, or in quotes that are escaped any number
/// of times; without quotes it ends where something follows that can follow a value.
fn value(text: &str) -> (&str, &str) {
    let escapes = text.bytes().take_while(|b| *b == b'\\').count();
    let Some(quote) = text[escapes..].chars().next().filter(|c| ['"', '\''].contains(c)) else {
        let end = text.find(['"', '\'', '&', ',', ';', '}', ']', '\n', '\\']).unwrap_or(text.len());
        return ("", &text[..end]);
    };
    let (open, rest) = text.split_at(escapes + 1);
    let mut run = 0;
    for (at, c) in rest.char_indices() {
        match c {
            '\\' => run += 1,
            // Each level of escaping doubles the backslashes and adds one. A quote of an outer level ends the value
            // too. A quote without any escape is a part of the value, unless the text behind it can follow a value.
            _ if c == quote
                && (run < escapes || run % (2 * (escapes + 1)) == escapes)
                && FOLLOWS.is_match(&rest[at + 1..]) =>
            {
                return (open, &rest[..at - run.min(escapes)]);
            }
            _ => run = 0,
        }
    }
    (open, rest)
}

/// Returns the end of the bracket that opens first; without a closing bracket, the end of the text.
fn close(text: &str) -> usize {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            '{' | '[' if !quoted => depth += 1,
            '}' | ']' if !quoted => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + c.len_utf8();
                }
            }
            _ => {}
        }
    }
    text.len()
}

/// A name, and the characters between it and its value. Quotes may be escaped or missing.
static NAME: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"(?P<name>[\w.-]+)(?:\]?\\*["']?\s*(?:[:=：]>?|%3[AaDd])\s*|\\*["']\s+)"#));

/// The text that can follow a value: the end, a closing bracket, or a separator and then a name.
static FOLLOWS: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r#"^(?:[\s,;&]*(?:$|[}\])])|\\*["']|[\s,;&]+(?:\\*["']?[\w.-]+\\*["']?\s*(?:[:=：]|%3[Dd])|"#,
        r#"\\*["']?[\w.-]*$|\\*["'][\w.-]+\\*["']\s+["']))"#,
    ))
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_json_shows_no_value_of_a_personal_or_secret_name() {
        for text in [
            r#"{"trans_id":"t-1","imei":"RAW0RAW","#,
            r#"{"trans_id":"t-1","imei":"RAW0RAW"#,
            r#"{"trans_id":"t-1",'uid':'RAW0RAW'}}"#,
            r#"{"trans_id":"t-1",uid: RAW0RAW}"#,
            r#"{"trans_id":"t-1","uid" "RAW0RAW"}"#,
            r#"{"trans_id":"t-1","ip":"RAW0RAW","user_agent":"Mozilla RAW0RAW, like"#,
            r#"{"trans_id":"t-1","idfa":["RAW0RAW","RAW0RAW"],,}"#,
            r#"{"trans_id":"t-1","address":{"street":"RAW0RAW"},,}"#,
            r#"{"trans_id":"t-1","app_secret":"RAW0RAW" "x-api-key":{"a":"RAW0RAW"},}"#,
            r#"{"trans_id":"t-1","user":{"nick":"RAW0RAW","device":{"model":"RAW0RAW","others":["RAW0RAW"]},"age":"RAW0RAW""#,
            r#"{"trans_id":"t-1","body":"{\"uid\":\"RAW0\\\"RAW0RAW\\\\\",\"x\":1}","#,
            r#"{"trans_id":"t-1","uid":"\"RAW0\\","openid":"RAW0RAW",,"#,
            r#"{"trans_id":"t-1","user_agent":"a "RAW0RAW", RAW0RAW "RAW0","x":1}"#,
            r#"{"trans_id":"t-1","uid":"a"RAW0RAW","ord"#,
            r#"trans_id=t-1&uid=RAW0RAW&user%3DRAW0RAW"#,
            r#"trans_id=t-1&data[user_id]=RAW0RAW&user.device.model.imei=RAW0RAW"#,
        ] {
            let masked = mask_members(text);
            assert!(!masked.contains("RAW"), "{text} -> {masked}");
            assert!(masked.contains("t-1"), "{text} -> {masked}");
        }
    }

    #[test]
    fn members_nested_without_end_are_masked_all_the_same() {
        let masked = mask_members(&(r#"{"user":"#.repeat(100_000) + r#"{"nick":"RAW"#));
        assert!(masked.ends_with(r#""nick":"***"#));
    }

    #[test]
    fn what_is_not_personal_stays_in_broken_json() {
        let text = r#"{"trans_id":"t-1","event_time_ms":1736899200123,"click":{"qhclickid":"a1b2"},"order_id":"1001""#;
        assert_eq!(mask_members(text), text);
        let user = r#"{"user":{"registered_at_ms":1705487632000,"device":{"os":"android","imei":null}},"score":3,"#;
        assert_eq!(mask_members(user), user);
        let around = r#"{"uid":"abc",,"order_id":"1001","ip":"1.2.3.4" "score":3,"oaid":"x" }"#;
        let masked = r#"{"uid":"***",,"order_id":"1001","ip":"***" "score":3,"oaid":"***" }"#;
        assert_eq!(mask_members(around), masked);
        assert_eq!(mask_members(r#"{"phone":"13812345678",}"#), r#"{"phone":"138****5678",}"#);
    }

    #[test]
    fn a_request_is_masked_by_field_in_every_encoding() {
        let json = r#"{"data":{"request_time":1736899201,"data_detail":{"outeruserid":"a\"b","transid":"1736"}}}"#;
        assert_eq!(
            mask_fields(json),
            r#"{"data":{"request_time":1736899201,"data_detail":{"outeruserid":"***","transid":"1736"}}}"#
        );
        assert_eq!(mask_fields("product=p&uid=%E5%BC%A0&money=1.00"), "product=p&uid=***&money=1.00");
        let head = "--postback-1\r\nContent-Disposition: form-data; name=";
        let parts = format!("{head}\"uid\"\r\n\r\na\r\nb \"c\r\n{head}\"money\"\r\n\r\n1.00\r\n--postback-1--\r\n");
        assert_eq!(
            mask_fields(&parts),
            format!("{head}\"uid\"\r\n\r\n***\r\n{head}\"money\"\r\n\r\n1.00\r\n--postback-1--\r\n")
        );
        assert_eq!(mask_fields("http://127.0.0.1:9470/a?uid=abc&x=1"), "http://127.0.0.1:9470/a?uid=***&x=1");
    }
}

//! Decides what people may see of personal data and secrets: phone numbers, e-mails, addresses, tokens (pure).
//!
//! Log lines have named fields, so most personal data never reaches them. [`mask_text`] is the last protection for any
//! text that somebody else wrote (a platform's error, a driver's message) before it reaches logs, headers or a
//! terminal.

mod event;
mod members;
mod names;
mod people;
mod phone;
mod secret;
#[cfg(test)]
mod tests;
mod text;

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

pub use event::{LONGEST_TEXT, mask_event};
pub use members::{mask_fields, mask_header};
pub use people::mask_sentence;
pub use phone::{mask_phone, mask_phones};
pub use secret::{SECRET, mask_token};
pub use text::mask_event_text;

/// Hides the numbers of an address: digits and letters before 号, 栋, 幢, 单元, 楼, 层, 室 become `***`.
pub fn mask_address(text: &str) -> Cow<'_, str> {
    ADDRESS.replace_all(text, "***$gap$unit")
}

/// Hides all but the first two digits of every number of twelve or more: a device or a person may be known by it, as by
/// an IMEI (15) or an identity card (18). Amounts, codes and times in seconds have fewer.
pub fn mask_long_numbers(text: &str) -> Cow<'_, str> {
    LONG_NUMBER.replace_all(text, "$first***")
}

/// Shows a trans_id to people, with any phone number or mail address in it masked. Data for other programs (headers,
/// keys and receipts in Kafka) has the trans_id as given.
pub fn mask_trans_id(trans_id: &str) -> String {
    mask_text(trans_id).into_owned()
}

/// Masks phone numbers, e-mails, house numbers, credentials of the form `name=value` and credentials in URLs.
///
/// The order matters. Credentials come first, because a password may look like anything else. E-mails come before phone
/// numbers, because a number before the `@` is a part of the mail address.
pub fn mask_text(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    if text.contains("://") {
        apply(&mut text, |t| USERINFO.replace_all(t, "://***@"));
    }
    if MAY_HOLD_SECRET.is_match(&text) {
        apply(&mut text, |t| NAMED_SECRET.replace_all(t, |c: &Captures<'_>| hide(c, |_| SECRET.to_owned())));
        apply(&mut text, |t| TOKEN.replace_all(t, |c: &Captures<'_>| hide(c, mask_token)));
    }
    if text.contains('@') || text.contains("%40") {
        apply(&mut text, |t| EMAIL.replace_all(t, "${first}***${at}${domain}"));
    }
    apply(&mut text, mask_phones);
    if !text.is_ascii() {
        apply(&mut text, mask_address);
    }
    text
}

/// Hides the credential in a match and keeps its name. Prose stays: in `secret: missing` a plain word follows a colon
/// without quotes. A token that shows only its ends was masked before and stays too.
fn hide(found: &Captures<'_>, mask: impl Fn(&str) -> String) -> String {
    let part = |name| found.name(name).map(|m| m.as_str());
    let (Some(name), Some(value)) = (part("name"), part("value")) else {
        return mask(&found[0]);
    };
    let prose = name.trim_end().ends_with(':') && !name.contains(['"', '\'']) && value.chars().all(char::is_alphabetic);
    let masked_before = value.chars().count() == 9 && value.contains('…');
    if prose || masked_before { found[0].to_owned() } else { format!("{name}{}", mask(value)) }
}

/// Replaces `text` if `f` changed it.
fn apply(text: &mut Cow<'_, str>, f: impl FnOnce(&str) -> Cow<'_, str>) {
    if let Cow::Owned(changed) = f(text) {
        *text = Cow::Owned(changed);
    }
}

#[expect(clippy::expect_used, reason = "the patterns are constants; a test compiles each one")]
fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a constant pattern is valid")
}

/// Whether the text is one mail address and nothing else. Other letters than those of ASCII are more often a name
/// before it.
pub fn is_mail(text: &str) -> bool {
    text.is_ascii() && EMAIL.find(text).is_some_and(|found| found.as_str().len() == text.len())
}

static LONG_NUMBER: LazyLock<Regex> = LazyLock::new(|| pattern("(?P<first>[0-9]{2})[0-9]{10,}"));

static USERINFO: LazyLock<Regex> = LazyLock::new(|| pattern(r#"://[^/?#@\s"'<>]*@"#));

static MAY_HOLD_SECRET: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"(?i)secret|passw|pwd|token|authorization|bearer|api[_-]?key|private[_-]?key|credential")
});

/// `secret=…`, `"app_secret":"…"`, `sasl.password: …`, even with escaped quotes; and the form `AppSecret@…`.
static NAMED_SECRET: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r#"(?i)AppSecret@\w+|(?P<name>[\w.-]*(?:secret|password|passwd|passphrase|pwd|api[_-]?key|private[_-]?key|"#,
        r#"credential)[\\"']*\s*(?:[=:]|%3D)\s*[\\"']*)(?P<value>[^\s"'\\,;&}]+)"#,
    ))
});

/// The same forms for tokens, with or without `Bearer`, and the form `AccessToken@…`. A token keeps its ends.
static TOKEN: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r#"(?i)(?:Access|Refresh)Token@\w+|(?P<name>(?:(?:[\w.-]*token[\\"']*\s*(?:[=:]|%3D)\s*|"#,
        r#"authorization[\\"']*\s*[=:]\s*)[\\"']*(?:(?:bearer|basic)\s+)?|\bbearer\s+))(?P<value>[^\s"'\\,;&}]+)"#,
    ))
});

static EMAIL: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"(?i)(?P<first>[\p{L}\p{N}])[\p{L}\p{N}._+-]*(?P<at>@|%40)",
        r"(?P<domain>[\p{L}\p{N}](?:[\p{L}\p{N}-]*[\p{L}\p{N}])?(?:\.[\p{L}\p{N}](?:[\p{L}\p{N}-]*[\p{L}\p{N}])?)*",
        r"\.[\p{L}]{2,})",
    ))
});

static ADDRESS: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"(?:[0-9A-Za-z０-９Ａ-Ｚａ-ｚ]+(?:-[0-9A-Za-z]+)*|[0-9]+(?P<gap>\s))(?P<unit>号|栋|幢|单元|楼|层|室)")
});

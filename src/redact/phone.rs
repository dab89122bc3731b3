//! Finds phone numbers in running text.
//!
//! A mobile number is 1, then 3 to 9, then nine more digits, ASCII or full-width, whole or in groups. It is masked
//! unless something attaches it to a longer text. These are the rules:
//! - No digit may stand next to it, and no ASCII letter or `_`-free word. So hex ids, epoch milliseconds (13 digits)
//!   and longer offsets stay as they are. A word that announces a number (`phone`, `tel`, `mobile`, …), a JSON escape
//!   (`\n`) and a percent escape (`%22`) do not attach.
//! - No `digits.` may stand before it, because that is a decimal fraction.
//! - `+86`, `86`, `0086` or `0` may stand before it, and are kept.
//! - Groups are separated by one space, dash, `%20`, `%2D` or `+`. The first group has three digits or more, or all
//!   groups have one digit. Dots separate only in the form 138.1234.5678; other texts with dots are addresses of hosts.
//!
//! An 11-digit offset of the form 1[3-9]… looks like a phone number and is masked. Other international numbers are
//! masked if they begin with `+` and have 8 to 15 digits.

use std::borrow::Cow;

use super::secret::SECRET;

const LABELS: [&str; 10] = ["phone", "tel", "mobile", "mob", "cell", "msisdn", "number", "num", "no", "to"];

/// Masks a whole field that is a phone number: it keeps the first three digits, the last four and the country code, and
/// removes separators. A field that does not look like a phone number is hidden completely.
pub fn mask_phone(field: &str) -> String {
    let chars: Vec<char> = field.chars().collect();
    match find(&chars, 0) {
        Some(found) if found.end == chars.len() => found.masked,
        _ => SECRET.to_owned(),
    }
}

/// Masks every phone number in a text.
pub fn mask_phones(text: &str) -> Cow<'_, str> {
    if digits_at_least(text, 8) {
        let chars: Vec<char> = text.chars().collect();
        let mut out = String::with_capacity(text.len());
        let (mut at, mut changed) = (0, false);
        while at < chars.len() {
            if may_begin(&chars, at)
                && let Some(found) = find(&chars, at)
            {
                out.push_str(&found.masked);
                at = found.end;
                changed = true;
            } else {
                out.push(chars[at]);
                at += 1;
            }
        }
        if changed {
            return Cow::Owned(out);
        }
    }
    Cow::Borrowed(text)
}

struct Found {
    end: usize,
    masked: String,
}

/// Finds a number that begins exactly at `at`.
fn find(chars: &[char], at: usize) -> Option<Found> {
    let plus = matches!(chars.get(at), Some('+' | '＋'));
    let start = at + usize::from(plus);
    let prefixes: &[&str] = if plus { &["86"] } else { &["", "0086", "86", "0"] };
    for prefix in prefixes {
        let Some(after) = literal(chars, start, prefix) else { continue };
        // Only a country code may stand apart from its number.
        let mut begins = vec![after];
        if *prefix == "86" || *prefix == "0086" {
            begins.extend(separator(chars, after).map(|s| s.end));
        }
        for begin in begins {
            if let Some((digits, end)) = mobile(chars, begin) {
                let sign = if plus { "+" } else { "" };
                let masked = format!("{sign}{prefix}{}****{}", &digits[..3], &digits[7..]);
                return Some(Found { end, masked });
            }
        }
    }
    if plus { international(chars, start) } else { None }
}

/// Reads eleven digits in one of the usual groupings, and returns where they end.
fn mobile(chars: &[char], begin: usize) -> Option<(String, usize)> {
    let (mut digits, mut groups, mut at) = (String::new(), vec![0usize], begin);
    let mut dots = 0;
    while digits.len() < 11 {
        if let Some(d) = digit(chars, at) {
            digits.push(d);
            at += 1;
            if let Some(last) = groups.last_mut() {
                *last += 1;
            }
        } else {
            let gap = if digits.is_empty() { None } else { separator(chars, at) }?;
            dots += usize::from(gap.dot);
            groups.push(0);
            at = gap.end;
            digit(chars, at)?;
        }
    }
    let mut first = digits.bytes();
    let looks = first.next() == Some(b'1') && first.next().is_some_and(|d| (b'3'..=b'9').contains(&d));
    let grouped = groups.len() == 1 || groups[0] >= 3 || groups.len() == 11;
    let dotted = dots == 0 || groups == [3, 4, 4];
    (looks && grouped && dotted && ends_here(chars, at)).then_some((digits, at))
}

fn international(chars: &[char], start: usize) -> Option<Found> {
    let digits: String = (start..).map_while(|i| digit(chars, i)).collect();
    let end = start + digits.len();
    if !(8..=15).contains(&digits.len()) || !ends_here(chars, end) {
        return None;
    }
    Some(Found { end, masked: format!("+{}****{}", &digits[..2], &digits[digits.len() - 4..]) })
}

/// Whether a number may begin here: no character before it makes it a part of something longer.
fn may_begin(chars: &[char], at: usize) -> bool {
    let here = chars[at];
    if !matches!(here, '+' | '＋') && digit(chars, at).is_none() {
        return false;
    }
    let Some(before) = at.checked_sub(1).map(|i| chars[i]) else { return true };
    if digit_of(before).is_some() {
        return escape_before(chars, at);
    }
    if before == '.' {
        return at < 2 || digit(chars, at - 2).is_none();
    }
    !before.is_ascii_alphabetic() || escape_before(chars, at) || label_before(chars, at)
}

/// Whether an escape such as `\n`, `\u002b` or `%2B` ends at `at`. Its letters and digits belong to the escape.
fn escape_before(chars: &[char], at: usize) -> bool {
    let hex = |from: usize| chars[from..at].iter().all(char::is_ascii_hexdigit);
    (at >= 2 && chars[at - 2] == '\\' && matches!(chars[at - 1], 'n' | 'r' | 't' | 'b' | 'f'))
        || (at >= 3 && chars[at - 3] == '%' && hex(at - 2))
        || (at >= 6 && chars[at - 6] == '\\' && chars[at - 5] == 'u' && hex(at - 4))
}

/// Whether the word that ends at `at` announces a number.
fn label_before(chars: &[char], at: usize) -> bool {
    let word: String = chars[..at].iter().rev().take_while(|c| c.is_ascii_alphanumeric()).collect();
    let word: String = word.chars().rev().collect::<String>().to_ascii_lowercase();
    LABELS.iter().any(|label| word.ends_with(label) && (label.len() > 2 || word == *label))
}

fn ends_here(chars: &[char], end: usize) -> bool {
    chars.get(end).is_none_or(|c| digit_of(*c).is_none() && !c.is_ascii_alphabetic())
}

struct Gap {
    end: usize,
    dot: bool,
}

fn separator(chars: &[char], at: usize) -> Option<Gap> {
    let one = |dot| Some(Gap { end: at + 1, dot });
    match chars.get(at)? {
        ' ' | '\t' | '-' | '+' | '\u{a0}' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{3000}' | '－' => one(false),
        '.' | '·' => one(true),
        '%' => {
            let code: String = chars.get(at + 1..at + 3)?.iter().collect();
            let known = matches!(code.to_ascii_uppercase().as_str(), "20" | "2D");
            known.then_some(Gap { end: at + 3, dot: false })
        }
        _ => None,
    }
}

fn literal(chars: &[char], at: usize, text: &str) -> Option<usize> {
    let found = text.chars().enumerate().all(|(i, c)| digit(chars, at + i) == Some(c));
    found.then_some(at + text.len())
}

fn digit(chars: &[char], at: usize) -> Option<char> {
    chars.get(at).copied().and_then(digit_of)
}

/// The ASCII digit for a character.
fn digit_of(c: char) -> Option<char> {
    match c {
        '0'..='9' => Some(c),
        '０'..='９' => char::from_digit(c as u32 - '０' as u32, 10),
        _ => None,
    }
}

fn digits_at_least(text: &str, least: usize) -> bool {
    text.chars().filter(|c| digit_of(*c).is_some()).take(least).count() == least
}

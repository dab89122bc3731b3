//! The forms that values have.

use serde_json::Value;

use super::expression::Expr;
use super::filters;
use super::value::Val;

/// Whether it comes from the account's keys or tokens.
pub(super) fn says_who(expr: &Expr) -> bool {
    let mut who = false;
    expr.walk(&mut |part| {
        if let Expr::Name(name) = part {
            who |= name.starts_with("account.") || name.starts_with("token.");
        }
    });
    who
}

pub(super) fn same(expected: &Val, given: &Value, as_text: bool) -> bool {
    if as_text {
        return given.as_str().is_some_and(|given| expected.printed().is_some_and(|expected| expected == given));
    }
    match (expected.json(), given) {
        (Some(Value::Number(a)), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Some(expected), given) => expected == given,
        (None, _) => false,
    }
}

pub(super) fn native(given: &Value, numbers: bool) -> Option<Val> {
    match given {
        Value::String(text) if numbers => text.parse::<i64>().ok().map(|number| Val::Json(number.into())),
        Value::Number(number) if numbers => number.as_i64().map(|number| Val::Json(number.into())),
        Value::String(text) if !numbers && !text.is_empty() => Some(Val::text(text)),
        _ => None,
    }
}

/// An amount that is not negative, with so many places.
pub(super) fn decimal(text: &str, places: Option<usize>) -> bool {
    let (whole, part) = text.split_once('.').map_or((text, None), |(whole, part)| (whole, Some(part)));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits(whole) && part.is_none_or(digits) && places.is_none_or(|places| part.map(str::len) == Some(places))
}

/// The parameters of a query or form, in order. `None`: not encoded as it must be.
pub(super) fn parameters(text: &str) -> Option<Vec<(String, String)>> {
    let decode = |text: &str| filters::urldecode(&text.replace('+', " "));
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name)?, decode(value)?))
        })
        .collect()
}

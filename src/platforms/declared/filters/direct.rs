//! Filters as they are applied without minijinja's machine. Where one fails, the machine says why.

use std::borrow::Cow;

use minijinja::{Error, Value};

use super::{digest, encoding, money, plain};
use crate::platforms::declared::operand::Operand;
use crate::platforms::declared::write;

/// A filter without arguments.
pub(in crate::platforms::declared) enum Filter {
    Seconds,
    /// The characters of a text.
    Length,
    /// The digest of bytes.
    Digest(fn(&[u8]) -> String),
    Other(fn(&Value) -> Result<Value, Error>),
}

/// A filter with one argument.
pub(in crate::platforms::declared) enum FilterBy {
    /// The digest of bytes with a key.
    Digest(fn(&[u8], &[u8]) -> String),
    UrlQuery,
}

impl Filter {
    /// Its value of what is there.
    pub fn apply(&self, of: Operand<'_>) -> Option<Operand<'static>> {
        match (self, of) {
            (Self::Seconds, Operand::Int(ms)) => Some(Operand::Int(ms.div_euclid(1000))),
            (Self::Seconds, of) => plain::seconds(&of.into_value()).ok().map(Operand::Other),
            (Self::Length, of) => Some(Operand::Int(i64::try_from(of.as_str()?.chars().count()).ok()?)),
            (Self::Digest(digest), of) => Some(digest(&bytes(&of)?).into()),
            (Self::Other(filter), of) => filter(&of.into_value()).ok().map(Operand::Other),
        }
    }
}

impl FilterBy {
    pub fn apply(&self, of: Operand<'_>, by: Operand<'_>) -> Option<Operand<'static>> {
        match self {
            Self::Digest(digest) => Some(digest(&bytes(&of)?, &bytes(&by)?).into()),
            Self::UrlQuery => encoding::url_query(&of.into_value(), by.as_str()?).ok().map(Operand::Other),
        }
    }
}

/// The bytes that are hashed.
fn bytes<'o>(of: &'o Operand<'_>) -> Option<Cow<'o, [u8]>> {
    match of {
        Operand::Text(text) => Some(Cow::Borrowed(text.as_bytes())),
        Operand::Int(number) => Some(Cow::Owned(number.to_string().into_bytes())),
        Operand::Other(value) => write::bytes(value).ok(),
    }
}

/// The filter of this name; `None`: only the machine has it.
pub(in crate::platforms::declared) fn direct(name: &str) -> Option<Filter> {
    Some(match name {
        "seconds" => Filter::Seconds,
        "length" => Filter::Length,
        "md5" => Filter::Digest(digest::md5_of),
        "sha1" => Filter::Digest(digest::sha1_of),
        "sha256" => Filter::Digest(digest::sha256_of),
        "fen" => Filter::Other(money::fen),
        "yuan" => Filter::Other(money::yuan),
        "decimal" => Filter::Other(money::decimal),
        "unhex" => Filter::Other(encoding::unhex),
        "base64" => Filter::Other(|value| encoding::base64(value).map(Value::from)),
        "unbase64" => Filter::Other(encoding::unbase64),
        "urlencode" => Filter::Other(|value| encoding::urlencode(value).map(Value::from)),
        "urldecode" => Filter::Other(|value| encoding::urldecode(value).map(Value::from)),
        "upper" => Filter::Other(|value| encoding::upper(value).map(Value::from)),
        "lower" => Filter::Other(|value| encoding::lower(value).map(Value::from)),
        "digits" => Filter::Other(plain::digits),
        "json" => Filter::Other(|value| plain::to_json(value, false)),
        "canonical_json" => Filter::Other(|value| plain::to_json(value, true)),
        _ => return None,
    })
}

/// One with an argument.
pub(in crate::platforms::declared) fn direct_by(name: &str) -> Option<FilterBy> {
    Some(match name {
        "hmac_sha256" => FilterBy::Digest(digest::hmac_sha256_of),
        "hmac_sha1" => FilterBy::Digest(digest::hmac_sha1_of),
        "url_query" => FilterBy::UrlQuery,
        _ => return None,
    })
}

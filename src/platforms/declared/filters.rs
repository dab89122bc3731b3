//! The filters of contract section 10, beside those that minijinja brings along.
//!
//! A money filter passes on what is undefined or none, so that `{{ event.order.amount | yuan | default('') }}` and a
//! JSON member of an event without an amount need no condition.

mod digest;
mod direct;
mod encoding;
mod money;
mod objects;
mod plain;
mod refusal;

use minijinja::{Environment, Value};

pub(super) use digest::signature_input;
pub(super) use direct::{Filter, FilterBy, direct, direct_by};
pub(super) use encoding::{percent, while_masking};
pub(super) use refusal::Refusal;

/// The names of these filters, for "did you mean".
pub(super) const NAMES: [&str; 25] = [
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
    "pick",
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
    env.add_filter("seconds", plain::seconds);
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
    env.add_filter("digits", plain::digits);
    env.add_filter("sorted_query", encoding::sorted_query);
    env.add_filter("json", |value: &Value| plain::to_json(value, false));
    env.add_filter("canonical_json", |value: &Value| plain::to_json(value, true));
    env.add_filter("pick", objects::pick);
}

#[cfg(test)]
mod tests;

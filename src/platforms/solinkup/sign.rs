//! The signature. The platform's own text, its example and its sample code contradict each other (SPEC 4.3), so every
//! part of the recipe is a setting, and none of them is decided here.

use std::fmt::Write as _;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::platforms::signing::{hmac_sha256_hex, md5_hex, sha256_hex};

/// `sign.profile`: which members of the body are signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Those that the platform's sample code signs.
    #[default]
    Demo,
    /// The five that the platform's text names.
    Text,
}

impl Profile {
    fn signs(self, name: &str) -> bool {
        match self {
            Profile::Demo => matches!(
                name,
                "accessToken"
                    | "appKey"
                    | "authCode"
                    | "method"
                    | "openId"
                    | "redirectUrl"
                    | "signMethod"
                    | "timestamp"
                    | "version"
            ),
            Profile::Text => matches!(name, "accessToken" | "appKey" | "method" | "timestamp" | "version"),
        }
    }
}

/// `sign.version_label`: the name under which the version is signed. The body always calls it `version`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionLabel {
    #[default]
    Version,
    V,
}

impl VersionLabel {
    pub(super) const ALL: [VersionLabel; 2] = [VersionLabel::Version, VersionLabel::V];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            VersionLabel::Version => "version",
            VersionLabel::V => "v",
        }
    }
}

/// `sign.algorithm`. The `base64` of the sample code is none of them: it would publish the secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Algorithm {
    #[default]
    Md5,
    HmacSha256,
    Sha256,
}

impl Algorithm {
    pub(super) const ALL: [Algorithm; 3] = [Algorithm::Md5, Algorithm::HmacSha256, Algorithm::Sha256];

    /// As configuration and `signMethod` call it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Algorithm::Md5 => "md5",
            Algorithm::HmacSha256 => "hmac-sha256",
            Algorithm::Sha256 => "sha256",
        }
    }

    pub(super) fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text)
    }

    pub(super) fn digest(self, secret: &str, text: &str) -> String {
        match self {
            Algorithm::Md5 => md5_hex(text),
            Algorithm::HmacSha256 => hmac_sha256_hex(secret, text),
            Algorithm::Sha256 => sha256_hex(text),
        }
    }
}

/// How an account signs.
#[derive(Clone, Debug, Default)]
pub(super) struct Recipe {
    pub(super) profile: Profile,
    pub(super) label: VersionLabel,
    pub(super) algorithm: Algorithm,
    /// Members of the body that are signed as well.
    pub(super) extra: Vec<String>,
}

/// One member of the body as it is signed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Param<'a> {
    pub(super) name: &'a str,
    pub(super) value: &'a str,
    /// The value is a token.
    pub(super) secret: bool,
}

/// The text that is hashed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SignText {
    pub(super) text: String,
    /// Where the secret and the tokens stand in it.
    pub(super) secrets: Vec<Range<usize>>,
}

impl Recipe {
    /// Secret, then name and value of every member that is signed and not empty, in the order of their names, then the
    /// secret again. The five names of the platform's text stand there in that order, too.
    pub(super) fn text(&self, secret: &str, params: &[Param<'_>]) -> SignText {
        let signed = |param: &&Param<'_>| {
            !param.value.is_empty() && (self.profile.signs(param.name) || self.extra.iter().any(|e| e == param.name))
        };
        let label = |name| if name == "version" { self.label.as_str() } else { name };
        let mut pairs: Vec<_> = params.iter().filter(signed).map(|p| (label(p.name), p.value, p.secret)).collect();
        pairs.sort_unstable_by_key(|(name, ..)| *name);

        let mut text = String::with_capacity(256);
        let mut secrets = Vec::with_capacity(3);
        let mut push_secret = |text: &mut String, value: &str| {
            secrets.push(text.len()..text.len() + value.len());
            text.push_str(value);
        };
        push_secret(&mut text, secret);
        for (name, value, is_secret) in pairs {
            text.push_str(name);
            if is_secret { push_secret(&mut text, value) } else { text.push_str(value) }
        }
        push_secret(&mut text, secret);
        SignText { text, secrets }
    }
}

/// How a member of the body is written in the text: a text as it is, everything else as canonical JSON. `None`: it is
/// empty.
pub(super) fn signed_value(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(canonical_json(other)),
    }
}

/// JSON as the platform's text asks for it: keys in order at every level, no useless decimals, nothing escaped that
/// need not be.
pub(super) fn canonical_json(value: &Value) -> String {
    let mut text = String::new();
    write_canonical(value, &mut text);
    text
}

fn write_canonical(value: &Value, into: &mut String) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(key, _)| key.as_str());
            into.push('{');
            for (n, (key, value)) in members.into_iter().enumerate() {
                into.push_str(if n == 0 { "" } else { "," });
                let _ = write!(into, "{}:", Value::from(key.as_str()));
                write_canonical(value, into);
            }
            into.push('}');
        }
        Value::Array(items) => {
            into.push('[');
            for (n, value) in items.iter().enumerate() {
                into.push_str(if n == 0 { "" } else { "," });
                write_canonical(value, into);
            }
            into.push(']');
        }
        Value::Number(number) => match number.as_f64().filter(|f| number.is_f64() && f.fract() == 0.0) {
            Some(whole) if whole.abs() < 1e15 => _ = write!(into, "{whole:.0}"),
            _ => _ = write!(into, "{number}"),
        },
        other => _ = write!(into, "{other}"),
    }
}

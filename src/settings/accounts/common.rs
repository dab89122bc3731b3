//! The keys of `[accounts.NAME]` that every account has.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::{Error, IgnoredAny};
use serde::{Deserialize, Deserializer};

use crate::account::proxy::Proxy;
use crate::account::rollout::Share;
use crate::account::{OnAmbiguous, ReplyRules, WhenUnavailable, max_event_age};
use crate::config::fields::{MONTH, duration, list, words};
use crate::platforms::declared::Native;
use crate::settings::proxy;

/// The keys that every account has. The keys of its platform stand beside them.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Common {
    pub(super) platform: Option<String>,
    pub(super) allow_http: bool,
    pub(super) allow_private: bool,
    pub(super) base_url: Option<Word>,
    #[serde(deserialize_with = "base_urls")]
    pub(super) base_urls: Option<Vec<String>>,
    #[serde(deserialize_with = "path")]
    pub(super) path: Option<String>,
    #[serde(deserialize_with = "proxy::read")]
    pub(super) proxy: Option<Proxy>,
    pub(super) when_unavailable: Option<WhenUnavailable>,
    pub(super) on_ambiguous: Option<OnAmbiguous>,
    pub(super) enabled: Option<bool>,
    pub(super) rollout: Rollout,
    pub(super) map: BTreeMap<String, Code>,
    pub(super) reply: Option<ReplyRules>,
    pub(super) validate: OwnValidate,
    /// Read separately, with the top sections as defaults.
    #[serde(rename = "limits")]
    _limits: IgnoredAny,
    /// Read over `limits`.
    #[serde(rename = "call_limits")]
    _call_limits: IgnoredAny,
    #[serde(rename = "retry")]
    _retry: IgnoredAny,
    /// Read separately, by the shape that the platform states.
    #[serde(rename = "secrets")]
    _secrets: IgnoredAny,
}

/// A text that is not empty.
#[derive(Deserialize)]
pub(super) struct Word(#[serde(deserialize_with = "words")] pub(super) String);

/// A native event: a text that is not empty, or a whole number.
pub(super) struct Code(pub(super) String);

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match Native::deserialize(from)? {
            Native::Text(text) if text.is_empty() => Err(D::Error::custom("is empty")),
            Native::Flag(_) | Native::Decimal(_) => Err(D::Error::custom("has to be a text or a whole number")),
            native => Ok(Self(native.to_string())),
        }
    }
}

/// `rollout` of an account.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Rollout {
    pub(super) percent: Share,
}

/// The part of `[validate]` that an account may override.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct OwnValidate {
    #[serde(deserialize_with = "max_event_age")]
    pub(super) max_event_age: Option<Duration>,
    #[serde(deserialize_with = "max_future")]
    pub(super) max_future: Option<Duration>,
}

fn base_urls<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<String>>, D::Error> {
    let urls = list(from)?;
    if urls.is_empty() { Err(D::Error::custom("has to be a list of at least one URL")) } else { Ok(Some(urls)) }
}

fn path<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let path = String::deserialize(from)?;
    let fine = path.starts_with('/') && !path.starts_with("//") && !path.contains('#');
    if fine && path.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(Some(path));
    }
    Err(D::Error::custom("has to be a path that begins with one /, in visible ASCII characters, without #"))
}

fn max_future<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    duration::<_, 0, MONTH>(from).map(Some)
}

//! The settings of the pipeline's parts: `[dedupe]`, `[retry]`, `[limits]`, `[validate]`, `[intake]`.

pub mod address;
pub mod proxy;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use url::Url;

use crate::config::fields::{HOUR, MINUTE, MONTH, duration, list, rate, size, whole};
use crate::error::Fault;
use crate::platforms::{Context, Credential, Prepared, Request, SecretString, Sender};
use crate::units::parse_duration;

/// `[dedupe]`.
#[derive(Clone, Debug, Deserialize)]
pub struct Dedupe {
    /// How long a confirmed key is remembered.
    #[serde(deserialize_with = "duration::<_, 1, MONTH>")]
    pub window: Duration,
    /// How long a claim is not taken over.
    #[serde(deserialize_with = "duration::<_, 1, HOUR>")]
    pub lease: Duration,
    /// What an account does while Redis is away, unless it says otherwise.
    pub when_unavailable: WhenUnavailable,
    /// What becomes of a window that is too short.
    pub window_check: WindowCheck,
}

/// `dedupe.window_check`: a window not longer than every way back of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowCheck {
    /// Refuses the start; where it cannot be judged, the start waits.
    Refuse,
    Warn,
}

/// `when_unavailable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenUnavailable {
    /// Send nothing.
    Hold,
    /// Send unclaimed, each send declared.
    Deliver,
}

/// `on_ambiguous`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnAmbiguous {
    /// Send again, declared.
    Retry,
    /// Dead letter `unknown_outcome`.
    DeadLetter,
}

/// One retry topic with a fixed delay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryTier {
    /// The delay as configured, e.g. `5s`: the end of the topic's name.
    pub name: String,
    pub delay: Duration,
}

/// `[retry]`; an account may override any of it but the tiers' topics, which all accounts share.
#[derive(Clone, Debug, Deserialize)]
pub struct Retry {
    /// Tiers in ascending order; the last one repeats.
    #[serde(deserialize_with = "tiers")]
    pub tiers: Vec<RetryTier>,
    /// Attempts really made before a dead letter.
    #[serde(deserialize_with = "whole::<_, _, 1, 10_000>")]
    pub max_attempts: u32,
    /// Of retrying; time in parking is not counted.
    #[serde(deserialize_with = "duration::<_, 1, MONTH>")]
    pub max_age: Duration,
    /// Of parking, from the first time.
    #[serde(deserialize_with = "duration::<_, 1, MONTH>")]
    pub max_parked: Duration,
    /// Quick tries inside the lane, on the first visit.
    pub inline: Inline,
}

/// `retry.inline`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Inline {
    /// Tries after the first one.
    #[serde(deserialize_with = "whole::<_, _, 0, 100>")]
    pub max_retries: u32,
    /// First delay, before jitter.
    #[serde(deserialize_with = "duration::<_, 0, MINUTE>")]
    pub initial: Duration,
    /// Longest delay.
    #[serde(deserialize_with = "duration::<_, 0, MINUTE>")]
    pub max: Duration,
}

/// `[limits]`, as an account has them.
#[derive(Clone, Debug, Deserialize)]
pub struct Limits {
    /// Requests per second of the shared bucket.
    #[serde(deserialize_with = "rate::<_, 1_000_000>")]
    pub rps: f64,
    /// Requests under way at once.
    #[serde(deserialize_with = "whole::<_, _, 1, 65_536>")]
    pub concurrency: usize,
    /// Of one attempt, all in all.
    #[serde(deserialize_with = "duration::<_, 1, TIMEOUT>")]
    pub timeout: Duration,
    /// Of DNS, TCP and TLS.
    #[serde(deserialize_with = "duration::<_, 1, TIMEOUT>")]
    pub connect_timeout: Duration,
    /// Name of the bucket; accounts with one value share one rate. Never empty here.
    pub shared_as: String,
}

/// `[validate]`, as an account has it.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Validate {
    /// Older events are `expired`; `None`: any age is sent.
    #[serde(deserialize_with = "max_event_age")]
    pub max_event_age: Option<Duration>,
    /// Events further ahead are `invalid`.
    #[serde(deserialize_with = "duration::<_, 0, MONTH>")]
    pub max_future: Duration,
    /// `false`: raw phone, e-mail and device ids are `invalid`.
    pub accept_raw_identifiers: bool,
}

/// `[intake]`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Intake {
    /// Records read and not finished.
    #[serde(deserialize_with = "whole::<_, _, 1, 10_000_000>")]
    pub max_in_flight: usize,
    /// Their bytes. The largest record that is accepted has to fit in.
    #[serde(deserialize_with = "size::<_, MIB, TIB>")]
    pub max_in_flight_bytes: usize,
    /// How long shutdown waits for what is under way.
    #[serde(deserialize_with = "duration::<_, 1, HOUR>")]
    pub drain_timeout: Duration,
}

/// Of one attempt, in milliseconds.
const TIMEOUT: u64 = 10 * MINUTE;
const MIB: usize = 1 << 20;
const TIB: usize = 1 << 40;

fn tiers<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<RetryTier>, D::Error> {
    let mut tiers: Vec<RetryTier> = Vec::new();
    for name in list(from)? {
        let delay = parse_duration(&name)
            .filter(|delay| (1..=u128::from(MONTH)).contains(&delay.as_millis()) && !name.starts_with('0'))
            .ok_or_else(|| {
                D::Error::custom("holds a member that is no delay such as \"5s\" or \"30m\", from 1ms to 30d")
            })?;
        if tiers.last().is_some_and(|last| last.delay >= delay) {
            return Err(D::Error::custom("has to ascend, and no delay may stand there twice"));
        }
        tiers.push(RetryTier { name, delay });
    }
    if tiers.is_empty() { Err(D::Error::custom("is empty: at least one tier is needed")) } else { Ok(tiers) }
}

/// How old an event may be: any age is what a platform says, never the configuration.
pub(crate) fn max_event_age<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    duration::<_, 1, { 120 * MONTH }>(from).map(Some)
}

/// One account, checked and ready.
pub struct Account {
    /// Its name, `[a-z0-9][a-z0-9-]{0,62}`.
    pub name: Arc<str>,
    /// The name of its platform.
    pub platform: &'static str,
    /// Base URLs without a trailing `/`, in order of preference; at least one.
    pub base_urls: Vec<String>,
    /// Replaces the platform's path.
    pub path: Option<String>,
    /// Private and loopback addresses are allowed.
    pub allow_private: bool,
    /// Through which it reaches its platform; `None`: directly, whatever the environment says.
    pub proxy: Option<proxy::Proxy>,
    /// Takes events; `false`: they are `unknown_account`.
    pub enabled: bool,
    pub limits: Limits,
    pub retry: Retry,
    /// Its rules of time.
    pub validate: Validate,
    /// What it does while Redis is away.
    pub when_unavailable: WhenUnavailable,
    /// What follows an answer that did not come.
    pub on_ambiguous: OnAmbiguous,
    /// Its credentials; empty where the platform has none.
    pub credentials: Vec<Credential>,
    pub sender: Box<dyn Sender>,
    /// Its platform's own keys as configured: what a fake of the platform agrees to.
    pub settings: Map<String, Value>,
}

impl Account {
    /// The request of these items at this moment, signed.
    ///
    /// # Errors
    /// No credential holds.
    pub fn request(&self, items: &[&Prepared], token: Option<&SecretString>, now_ms: i64) -> Result<Request, Fault> {
        let credential = Credential::in_force(&self.credentials, now_ms);
        self.sender.request(items, &Context { now_ms, credential, token })
    }

    /// Where a request goes: one of the base URLs, then the account's own path or the platform's.
    pub fn url(&self, base: usize, path: &str) -> Option<Url> {
        let path = self.path.as_deref().unwrap_or(path);
        Url::parse(&format!("{}{path}", self.base_urls.get(base)?)).ok()
    }
}

/// All accounts by name.
pub type Accounts = BTreeMap<Arc<str>, Arc<Account>>;

/// An account was halted here.
#[derive(Clone, Debug)]
pub struct Halted {
    /// Index of the lane.
    pub index: usize,
    /// Safe text.
    pub reason: String,
}

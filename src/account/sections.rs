//! The sections of the configuration that accounts share or override: `[dedupe]`, `[retry]`, `[limits]`, `[validate]`,
//! `[intake]`.

use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::config::fields::{HOUR, MINUTE, MONTH, duration, list, rate, size, whole};
use crate::units::parse_duration;

/// `[dedupe]`.
#[derive(Clone, Debug, Deserialize)]
pub struct Dedupe {
    /// How long Redis remembers a confirmed key.
    #[serde(deserialize_with = "duration::<_, 1, MONTH>")]
    pub window: Duration,
    /// How long no other worker takes over a claim.
    #[serde(deserialize_with = "duration::<_, 1, HOUR>")]
    pub lease: Duration,
    /// The behaviour of an account while Redis is away, unless the account has its own setting.
    pub when_unavailable: WhenUnavailable,
    /// What follows if the window is too short.
    pub window_check: WindowCheck,
}

/// `dedupe.window_check`: what follows if the window is shorter than the longest way by which a record can come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowCheck {
    /// The worker refuses to start. If it cannot judge the window, the start waits.
    Refuse,
    Warn,
}

/// `when_unavailable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenUnavailable {
    /// The worker sends nothing.
    Hold,
    /// The worker sends without a claim, and declares each send.
    Deliver,
}

/// `on_ambiguous`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnAmbiguous {
    /// The worker sends the event again, and declares it.
    Retry,
    /// The event becomes a dead letter, `unknown_outcome`.
    DeadLetter,
}

/// One retry topic with a fixed delay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryTier {
    /// The delay as configured, e.g. `5s`. The name of the topic ends with it.
    pub name: String,
    pub delay: Duration,
}

/// `[retry]`; an account may override everything but the topics of the tiers, which all accounts share.
#[derive(Clone, Debug, Deserialize)]
pub struct Retry {
    /// The tiers in ascending order. The last one repeats.
    #[serde(deserialize_with = "tiers")]
    pub tiers: Vec<RetryTier>,
    /// The number of attempts before a dead letter; only attempts that were really made count.
    #[serde(deserialize_with = "whole::<_, _, 1, 10_000>")]
    pub max_attempts: u32,
    /// The longest time of retrying. Time in a parking topic does not count.
    #[serde(deserialize_with = "duration::<_, 1, MONTH>")]
    pub max_age: Duration,
    /// The longest time in parking topics, from the first parking.
    #[serde(deserialize_with = "duration::<_, 1, MONTH>")]
    pub max_parked: Duration,
    /// How often one parked event of a halted account is tried; 0: never.
    #[serde(deserialize_with = "duration::<_, 0, MONTH>")]
    pub halt_probe: Duration,
    /// Quick tries inside the lane, only on the first visit.
    pub inline: Inline,
}

/// `retry.inline`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Inline {
    /// The number of tries after the first one.
    #[serde(deserialize_with = "whole::<_, _, 0, 100>")]
    pub max_retries: u32,
    /// The first delay, before jitter.
    #[serde(deserialize_with = "duration::<_, 0, MINUTE>")]
    pub initial: Duration,
    /// The longest delay.
    #[serde(deserialize_with = "duration::<_, 0, MINUTE>")]
    pub max: Duration,
}

/// `[limits]`, with the account's own values over it.
#[derive(Clone, Debug, Deserialize)]
pub struct Limits {
    /// Requests per second of the shared bucket.
    #[serde(deserialize_with = "rate::<_, 1_000_000>")]
    pub rps: f64,
    /// The number of requests under way at once.
    #[serde(deserialize_with = "whole::<_, _, 1, 65_536>")]
    pub concurrency: usize,
    /// The time limit of one whole attempt.
    #[serde(deserialize_with = "duration::<_, 1, TIMEOUT>")]
    pub timeout: Duration,
    /// The time limit of DNS, TCP and TLS together.
    #[serde(deserialize_with = "duration::<_, 1, TIMEOUT>")]
    pub connect_timeout: Duration,
    /// The name of the bucket. Accounts with the same name share one rate. It is never empty here.
    pub shared_as: String,
}

/// `[validate]`, with the account's own values over it.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Validate {
    /// Older events end as `expired`; `None`: events of any age are sent.
    #[serde(deserialize_with = "max_event_age")]
    pub max_event_age: Option<Duration>,
    /// Events that lie further in the future end as `invalid`.
    #[serde(deserialize_with = "duration::<_, 0, MONTH>")]
    pub max_future: Duration,
    /// `false`: events with raw phone, e-mail or device ids end as `invalid`.
    pub accept_raw_identifiers: bool,
}

/// `[intake]`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Intake {
    /// The largest number of records that are read and not finished.
    #[serde(deserialize_with = "whole::<_, _, 1, 10_000_000>")]
    pub max_in_flight: usize,
    /// The largest number of bytes in these records. It is at least the size of the largest accepted record.
    #[serde(deserialize_with = "size::<_, MIB, TIB>")]
    pub max_in_flight_bytes: usize,
    /// How long a shutdown waits for deliveries under way.
    #[serde(deserialize_with = "duration::<_, 1, HOUR>")]
    pub drain_timeout: Duration,
}

impl Intake {
    /// The most records of one partition that may be read beyond its first unfinished one.
    pub fn window(&self) -> u64 {
        (self.max_in_flight as u64).saturating_mul(10).max(1_000)
    }
}

/// The longest time limit of an attempt, in milliseconds.
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

/// Reads the largest age of an event. Only a platform can allow any age; the configuration cannot.
pub(crate) fn max_event_age<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    duration::<_, 1, { 120 * MONTH }>(from).map(Some)
}

//! The settings of the pipeline's parts: `[dedupe]`, `[retry]`, `[limits]`, `[validate]`, `[intake]`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::platforms::{Credential, Sender};

/// `[dedupe]`.
#[derive(Clone, Debug)]
pub struct Dedupe {
    /// How long a confirmed key is remembered.
    pub window: Duration,
    /// How long a claim is not taken over.
    pub lease: Duration,
    /// What an account does while Redis is away, unless it says otherwise.
    pub when_unavailable: WhenUnavailable,
    /// What becomes of a window that is too short.
    pub window_check: WindowCheck,
}

/// `dedupe.window_check`: a window not longer than every way back of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowCheck {
    /// Refuses the start; where it cannot be judged, the start waits.
    Refuse,
    /// Is warned of.
    Warn,
}

/// `when_unavailable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// The delay.
    pub delay: Duration,
}

/// `[retry]`; an account may override any of it but the tiers' topics, which all accounts share.
#[derive(Clone, Debug)]
pub struct Retry {
    /// Tiers in ascending order; the last one repeats.
    pub tiers: Vec<RetryTier>,
    /// Attempts really made before a dead letter.
    pub max_attempts: u32,
    /// Of retrying; time in parking is not counted.
    pub max_age: Duration,
    /// Of parking, from the first time.
    pub max_parked: Duration,
    /// Quick tries inside the lane, on the first visit.
    pub inline: Inline,
}

/// `retry.inline`.
#[derive(Clone, Copy, Debug)]
pub struct Inline {
    /// Tries after the first one.
    pub max_retries: u32,
    /// First delay, before jitter.
    pub initial: Duration,
    /// Longest delay.
    pub max: Duration,
}

/// `[limits]`, as an account has them.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Requests per second of the shared bucket.
    pub rps: f64,
    /// Requests under way at once.
    pub concurrency: usize,
    /// Of one attempt, all in all.
    pub timeout: Duration,
    /// Of DNS, TCP and TLS.
    pub connect_timeout: Duration,
    /// Name of the bucket; accounts with one value share one rate. Never empty here.
    pub shared_as: String,
}

/// `[validate]`, as an account has it.
#[derive(Clone, Copy, Debug)]
pub struct Validate {
    /// Older events are `expired`; `None`: any age is sent.
    pub max_event_age: Option<Duration>,
    /// Events further ahead are `invalid`.
    pub max_future: Duration,
    /// `false`: raw phone, e-mail and device ids are `invalid`.
    pub accept_raw_identifiers: bool,
}

/// `[intake]`.
#[derive(Clone, Copy, Debug)]
pub struct Intake {
    /// Records read and not finished.
    pub max_in_flight: usize,
    /// Their bytes.
    pub max_in_flight_bytes: usize,
    /// How long shutdown waits for what is under way.
    pub drain_timeout: Duration,
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
    /// Takes events; `false`: they are `unknown_account`.
    pub enabled: bool,
    /// Its limits.
    pub limits: Limits,
    /// Its retrying.
    pub retry: Retry,
    /// Its rules of time.
    pub validate: Validate,
    /// What it does while Redis is away.
    pub when_unavailable: WhenUnavailable,
    /// What follows an answer that did not come.
    pub on_ambiguous: OnAmbiguous,
    /// Its credentials; empty where the platform has none.
    pub credentials: Vec<Credential>,
    /// Speaks for it.
    pub sender: Box<dyn Sender>,
    /// Its platform's own keys as configured: what a fake of the platform agrees to.
    pub settings: Map<String, Value>,
}

/// All accounts by name.
pub type Accounts = BTreeMap<Arc<str>, Arc<Account>>;

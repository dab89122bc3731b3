//! One account, checked and ready, and the settings that accounts share or override: `[dedupe]`, `[retry]`, `[limits]`,
//! `[validate]`, `[intake]`.

pub mod address;
pub mod proxy;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use url::Url;

use crate::config::fields::{HOUR, MINUTE, MONTH, duration, list, rate, size, whole};
use crate::error::{DeliveryError, Fault};
use crate::event::ConversionEvent;
use crate::platforms::call::{Call, CallEvent, PreparedCall};
use crate::platforms::reading::BatchLimits;
use crate::platforms::tokens::{Seed, TokenSource};
use crate::platforms::{CallbackHost, Context, Credential, NaturalDay, Prepared, Request, Sender};
use crate::secret::SecretString;
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

/// One account, checked and ready.
#[derive(Clone)]
pub struct Account {
    /// Its name, `[a-z0-9][a-z0-9-]{0,62}`.
    pub name: Arc<str>,
    /// The name of its platform.
    pub platform: &'static str,
    /// Base URLs without a trailing `/`, in order of preference; at least one.
    pub base_urls: Vec<String>,
    /// The configuration states them; `false`: the platform's own host.
    pub has_own_base: bool,
    /// Replaces the path of the platform.
    pub path: Option<String>,
    /// Requests may go over plain `http://`.
    pub allow_http: bool,
    /// Requests may go to private and loopback addresses.
    pub allow_private: bool,
    /// The proxy to the platform; `None`: the account connects directly, whatever the environment says.
    pub proxy: Option<proxy::Proxy>,
    /// The account takes events; `false`: its events end as `unknown_account`.
    pub enabled: bool,
    pub limits: Limits,
    /// The limits of its calls, which have a lane and a bucket of their own.
    pub call_limits: Limits,
    pub retry: Retry,
    /// Its rules of time.
    pub validate: Validate,
    /// The behaviour while Redis is away.
    pub when_unavailable: WhenUnavailable,
    /// What follows an attempt without a usable answer.
    pub on_ambiguous: OnAmbiguous,
    /// Its credentials; empty where the platform has none.
    pub credentials: Vec<Credential>,
    /// Sends its conversions, where its platform takes any.
    pub sender: Option<Arc<dyn Sender>>,
    /// Makes its calls, where its platform takes any.
    pub call: Option<Arc<dyn Call>>,
    /// The platform's own keys as configured. The sandbox uses them for its fake account.
    pub settings: Map<String, Value>,
    /// What its calls may publish of persons.
    pub reply: ReplyRules,
}

/// `reply` of an account that makes calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ReplyRules {
    /// Personal data may be published, in `restricted_topics` alone.
    pub allow_pii: bool,
    /// Topics whose readers may see personal data.
    #[serde(deserialize_with = "list")]
    pub restricted_topics: Vec<String>,
}

impl ReplyRules {
    /// Whether results in this topic show personal data as the platform gave it.
    pub fn shows_personal(&self, topic: &str) -> bool {
        self.allow_pii && self.restricted_topics.iter().any(|restricted| restricted == topic)
    }
}

/// Every lane that these accounts need: the index of its account, and the account as the lane sees it. First comes one for
/// each account, in their order; then a second one for the calls of each account that sends conversions as well, so that
/// neither kind can starve the other.
pub fn lanes(accounts: &[Arc<Account>]) -> Vec<(usize, Arc<Account>)> {
    let first = |account: &Arc<Account>| {
        if account.sender.is_none() && account.call.is_some() { account.for_calls() } else { account.clone() }
    };
    let firsts = accounts.iter().map(first).enumerate();
    let both = accounts.iter().enumerate().filter(|(_, account)| account.sender.is_some() && account.call.is_some());
    firsts.chain(both.map(|(index, account)| (index, account.for_calls()))).collect()
}

impl Account {
    /// The account as the lane of its calls sees it.
    fn for_calls(&self) -> Arc<Account> {
        Arc::new(Account { sender: None, limits: self.call_limits.clone(), ..self.clone() })
    }

    /// Whether only calls go through a lane of this account.
    pub fn is_for_calls(&self) -> bool {
        self.sender.is_none() && self.call.is_some()
    }

    /// Builds and signs the request for these items at this moment.
    ///
    /// # Errors
    /// No credential is valid.
    pub fn request(&self, items: &[&Prepared], token: Option<&SecretString>, now_ms: i64) -> Result<Request, Fault> {
        let credential = Credential::in_force(&self.credentials, now_ms);
        let sender = self.sender.as_ref().ok_or_else(|| Fault::new("platform", "sends no conversions"))?;
        sender.request(items, &Context { now_ms, credential, token })
    }

    /// Builds and signs the request for one part of a call at this moment.
    ///
    /// # Errors
    /// No credential is valid.
    pub fn call_request(
        &self,
        call: &PreparedCall,
        part: u64,
        token: Option<&SecretString>,
        now_ms: i64,
    ) -> Result<Request, Fault> {
        let credential = Credential::in_force(&self.credentials, now_ms);
        let maker = self.call.as_ref().ok_or_else(|| Fault::new("platform", "makes no calls"))?;
        maker.request(call, part, &Context { now_ms, credential, token })
    }

    /// Judges a call of the account.
    ///
    /// # Errors
    /// `Invalid`, with the first field at fault.
    pub fn prepare_call(&self, event: &ConversionEvent, now_ms: i64) -> Result<PreparedCall, DeliveryError> {
        let Some(call) = &self.call else {
            return Err(DeliveryError::Invalid(Fault::new("kind", format!("{} takes no calls", self.platform))));
        };
        let name = event.call.as_deref().unwrap_or_default();
        if !call.names().contains(&name) {
            let detail = format!("no such call of {}: it has {}", self.platform, call.names().join(", "));
            return Err(DeliveryError::Invalid(Fault::new("call", detail)));
        }
        let max_pages = event.reply.max_pages.and_then(|most| u64::try_from(most).ok());
        let (args, paginate) = (&event.args, event.reply.paginate);
        call.prepare(&CallEvent { trans_id: &event.trans_id, name, args, paginate, max_pages }, now_ms)
    }

    /// The natural day that binds repeats of its conversions.
    pub fn natural_day(&self) -> Option<NaturalDay> {
        self.sender.as_ref().and_then(|sender| sender.natural_day())
    }

    /// How much one request may carry.
    pub fn batch(&self) -> BatchLimits {
        self.sender.as_ref().map_or(BatchLimits { items: 1, bytes: usize::MAX }, |sender| sender.batch())
    }

    /// How it gets access tokens, and the values that it begins with; `None`: it sends without one.
    pub fn tokens(&self) -> Option<(Arc<dyn TokenSource>, Seed)> {
        let of_sender = self.sender.as_ref().and_then(|sender| sender.tokens());
        of_sender.or_else(|| self.call.as_ref().and_then(|call| call.tokens()))
    }

    /// Every native name that stands in the key of one of its claims.
    pub fn natives(&self) -> Vec<Cow<'static, str>> {
        let of_sender = self.sender.iter().flat_map(|sender| sender.natives());
        of_sender.chain(self.call.iter().flat_map(|call| call.names()).map(|name| Cow::Borrowed(*name))).collect()
    }

    /// The native name that a conversion of these names has, where one is mapped.
    pub fn native(&self, event_type: &str, platform_event: Option<&str>) -> Option<Cow<'static, str>> {
        self.sender.as_ref()?.native(event_type, platform_event)
    }

    /// Maps and validates a conversion of the account.
    ///
    /// # Errors
    /// `UnmappedEvent` or `Invalid`, with the first field at fault.
    pub fn prepare(&self, event: &ConversionEvent) -> Result<Prepared, DeliveryError> {
        let Some(sender) = &self.sender else {
            let field = if event.platform_event.is_some() { "platform_event" } else { "event_type" };
            let detail = format!("{} takes no conversions, only calls (kind = \"call\")", self.platform);
            return Err(DeliveryError::UnmappedEvent(Fault::new(field, detail)));
        };
        let prepared = sender.prepare(event)?;
        if let Some(callback) = prepared.callback.as_ref().filter(|_| !self.has_own_base) {
            let refuse = |detail: &str| Err(DeliveryError::Invalid(Fault::new(callback.field.clone(), detail)));
            if !callback.is_https && !self.allow_http {
                return refuse(
                    "is plain http://, which anybody on the way can read: set allow_http = true on the account if that \
                     is meant",
                );
            }
            if !sender.callback_hosts().iter().any(|host| host.eq_ignore_ascii_case(&callback.host)) {
                return refuse("leads to a host that is not on the platform's list of callback hosts");
            }
        }
        Ok(prepared)
    }

    /// The hosts to which callbacks of its events may go beside its base URLs, each over https (`true`) and, where the
    /// account allows it, over plain http.
    pub fn callback_hosts(&self) -> Vec<(&str, bool)> {
        if self.has_own_base {
            return Vec::new();
        }
        let schemes = if self.allow_http { &[true, false][..] } else { &[true] };
        let hosts = self.sender.as_ref().map_or_else(Vec::new, |sender| sender.callback_hosts());
        hosts.iter().flat_map(|host| schemes.iter().map(|is_https| (*host, *is_https))).collect()
    }

    /// The account's own path, with the query of the platform's; or the platform's path.
    pub fn own_path(&self, path: Cow<'static, str>) -> Cow<'static, str> {
        let Some(own) = &self.path else { return path };
        let Some((_, query)) = path.split_once('?') else { return own.clone().into() };
        format!("{own}{}{query}", if own.contains('?') { '&' } else { '?' }).into()
    }

    /// Builds the URL of a request with this path: at one of the base URLs, or at the callback host.
    pub fn url(&self, base: usize, path: Cow<'static, str>, callback: Option<&CallbackHost>) -> Option<String> {
        let base = self.base_urls.get(base)?;
        let url = match callback {
            None => format!("{base}{}", self.own_path(path)),
            // Its path is its own; the account's host alone takes the place of the callback's.
            Some(_) if self.has_own_base => format!("{}{path}", Url::parse(base).ok()?.origin().ascii_serialization()),
            Some(callback) => format!("{callback}{path}"),
        };
        Url::parse(&url).ok().map(|_| url)
    }
}

/// All accounts by name.
pub type Accounts = BTreeMap<Arc<str>, Arc<Account>>;

/// A halt of an account in this process.
#[derive(Clone, Debug)]
pub struct Halted {
    /// The index of the account.
    pub index: usize,
    /// Safe text.
    pub reason: String,
}

//! What each platform wants to hear: event in, request out; answer in, verdict out.
//!
//! A sender has no network, no clock and no state of its own. One value speaks for one account.
//!
//! To add a platform: one file here, its `mod` line and its line in [`Platform`], a strict fake in `sandbox/`, an
//! example in `config/`. Metrics, limits, retries, admin and console go by name.

pub mod baizhu;
pub mod code;
pub mod http_status;
pub mod natural_day;
pub mod qihoo360;
pub mod retry_after;
mod rules;
pub mod signing;
pub mod tokens;

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;

use crate::error::{DeliveryError, Fault};
use crate::event::ConversionEvent;

/// A platform by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Platform {
    /// 360 点睛.
    Qihoo360,
    /// 百助.
    Baizhu,
}

impl Platform {
    /// Every platform that can be configured.
    pub const ALL: [Platform; 2] = [Platform::Qihoo360, Platform::Baizhu];

    /// The name in configuration, events, headers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Platform::Qihoo360 => "qihoo360",
            Platform::Baizhu => "baizhu",
        }
    }
}

/// A credential in force. Printing one shows `***`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretString(String);

impl SecretString {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
    /// The secret itself; for signing alone.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for SecretString {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// What is wrong with an account's configuration: the key below `[accounts.<name>]`, dotted, and the reason.
pub type Problem = (String, String);

/// One credential of an account; two may overlap while rotating.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Its name in logs.
    pub id: String,
    /// The public half (360: App-Key).
    pub key: String,
    /// The secret half.
    pub secret: SecretString,
    /// Holds from, epoch ms; `None`: always did.
    pub not_before_ms: Option<i64>,
    /// Holds until, exclusive, epoch ms; `None`: for ever.
    pub not_after_ms: Option<i64>,
}

impl Credential {
    /// The last listed one that holds at `now_ms` (SPEC section 12, 14).
    pub fn in_force(all: &[Credential], now_ms: i64) -> Option<&Credential> {
        all.iter().rev().find(|c| {
            c.not_before_ms.is_none_or(|from| from <= now_ms) && c.not_after_ms.is_none_or(|until| now_ms < until)
        })
    }
}

/// The platform-specific part of a validated event, ready to be put into a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// Native event name: 360 its code; 百助 `install`, `register`, `back`.
    pub native: Cow<'static, str>,
    /// What goes on the wire, as far as it does not depend on the time of sending.
    pub payload: Payload,
    /// Things that were dropped or doubted; shown by `preview`, counted nowhere.
    pub warnings: Vec<String>,
    /// A repeat could count money twice: an answer that does not come ends in the dead letters (SPEC 1.4).
    pub never_repeat: bool,
}

/// What a sender keeps between preparing and sending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A fragment of a text body.
    Text(String),
    /// Form fields in order.
    Fields(Vec<(Cow<'static, str>, String)>),
}

/// What changes from attempt to attempt.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The present, epoch ms.
    pub now_ms: i64,
    /// The credential in force, where the platform has one.
    pub credential: Option<&'a Credential>,
}

/// An HTTP request: exactly these bytes are signed and sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// HTTP method, e.g. `POST`.
    pub method: &'static str,
    /// Path and query, beginning with `/`; the account's base URL goes before it.
    pub path: Cow<'static, str>,
    /// Headers in order.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Bytes,
    /// The exact text that was hashed, secret included; `None` where nothing is signed. Only `preview` reads it.
    pub signature_input: Option<SecretString>,
}

/// The platform's acceptance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The platform's own id of the conversion, if it gives one.
    pub platform_id: Option<String>,
}

/// 360's rule: repeats only within the natural day of the anchor (SPEC 2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NaturalDay {
    /// The zone whose midnight ends the day.
    pub tz: chrono_tz::Tz,
    /// `true`: the day of the event's own time binds the repeats, else the day of the first attempt.
    pub anchor_event_time: bool,
    /// No repeat starts so shortly before the day's end.
    pub guard: Duration,
}

/// A destination's protocol, for one account.
pub trait Sender: Send + Sync {
    /// Which platform this is.
    fn platform(&self) -> Platform;

    /// The native name that an event of these names has, where one is mapped: the `pb-event` of a dead letter, also of
    /// an event that fails another rule.
    fn native(&self, _event_type: &str, _platform_event: Option<&str>) -> Option<Cow<'static, str>> {
        None
    }

    /// Every native name that an event of this platform can have: with one of them it stands in its claim's key.
    fn natives(&self) -> Vec<&'static str>;

    /// Maps and validates an event (SPEC section 9, steps 4 to 8).
    ///
    /// # Errors
    /// `UnmappedEvent` or `Invalid`, with the first field at fault.
    fn prepare(&self, event: &ConversionEvent) -> Result<Prepared, DeliveryError>;

    /// The request that carries `items`, at most [`Sender::max_batch`] of them.
    ///
    /// # Errors
    /// A fault where no credential is in force: the account halts, nothing is signed with an empty secret.
    fn request(&self, items: &[&Prepared], context: &Context<'_>) -> Result<Request, Fault>;

    /// One verdict per item. `retry_after` is the header's text as it came, `now_ms` the time of the answer by the clock that
    /// wrote it, where it told, else by ours.
    fn verdict(
        &self,
        items: usize,
        status: u16,
        retry_after: Option<&str>,
        body: &[u8],
        now_ms: i64,
    ) -> Vec<Result<Receipt, DeliveryError>>;

    /// How many items one request may carry.
    fn max_batch(&self) -> usize {
        1
    }

    /// The natural day that binds repeats, where the platform has one.
    fn natural_day(&self) -> Option<NaturalDay> {
        None
    }
}

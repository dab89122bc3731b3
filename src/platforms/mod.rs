//! What each platform wants to hear: event in, request out; answer in, verdict out.
//!
//! A [`Platform`] is a destination as the rest of the program knows it, one value in [`list`]. A [`Sender`] speaks for one
//! account of it and has no network, no clock and no state of its own.
//!
//! To add a platform:
//!
//! 1. One file or folder here with the platform's [`Platform`] value, the struct of its accounts' own keys (see [`keys`]) and
//!    its `Sender`. The docs say whether the platform itself ignores repeats, and what a timeout after sending means there.
//! 2. Its line in [`list`].
//! 3. A strict fake in `sandbox/fakes/`, with its line in the list there. It shares no code with the sender.
//! 4. One event per kind in `config/examples/`.
//!
//! Configuration, metrics, limits, retries, `preview`, sandbox, admin and console need no change: they go by the list and by
//! names. `third_platform` is such a file, for tests alone.

pub mod baizhu;
pub mod code;
mod context;
mod credential;
pub mod http_status;
mod item;
pub mod keys;
pub mod list;
pub mod natural_day;
pub mod qihoo360;
pub mod reading;
mod request;
pub mod retry_after;
mod rules;
pub mod signing;
#[cfg(test)]
mod third_platform;
pub mod tokens;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::config::read::Rest;
use crate::error::{DeliveryError, Fault};
use crate::event::ConversionEvent;
use crate::platforms::reading::{BatchLimits, HttpAnswer, Reading};
use crate::platforms::tokens::{Seed, TokenSource};

pub use crate::secret::SecretString;
pub use context::Context;
pub use credential::{Credential, CredentialShape};
pub use item::Item;
pub use reading::Receipt;
pub use request::{ANSWER_BYTES, Part, Request, SecretPlace};

/// What is wrong with an account's configuration: the key below `[accounts.<name>]`, dotted, and the reason.
pub type Problem = (String, String);

/// A destination: what it is called, and what an account of it configures.
pub trait Platform: Sync {
    /// The name in configuration, events, headers and metrics: `[a-z][a-z0-9_]*`.
    fn name(&self) -> &'static str;

    /// What people call it.
    fn title(&self) -> &'static str;

    /// Where real conversions go, unless an account has a `base_url`. Without a trailing `/`.
    fn base_url(&self) -> &'static str;

    /// What a credential of its accounts consists of; `None`: it signs nothing.
    fn credential(&self) -> Option<CredentialShape> {
        None
    }

    /// The keys below `[accounts.<name>]` that only its accounts have, dotted.
    fn keys(&self) -> Vec<String>;

    /// Builds what speaks for an account, of the keys that only accounts of this platform have (read as its own struct) and
    /// the account's `map` (canonical event to native name).
    ///
    /// # Errors
    /// Every problem with its key, all at once.
    fn configure(&self, keys: &mut Rest<'_>, map: BTreeMap<String, String>) -> Result<Configured, Vec<Problem>>;

    /// Whose rate an account shares unless it says so: the default of `limits.shared_as`.
    fn shared_as<'a>(&self, account: &'a str, _credentials: &'a [Credential]) -> &'a str {
        account
    }

    /// Whether it takes events of any age, so that `validate.max_event_age` applies only where an account sets it.
    fn takes_any_age(&self) -> bool {
        false
    }
}

/// An account as its platform made it of its keys.
pub struct Configured {
    /// Speaks for it.
    pub sender: Box<dyn Sender>,
    /// The keys as its fake in the sandbox reads them.
    pub settings: Map<String, Value>,
    /// What is no error but will refuse events.
    pub warnings: Vec<Problem>,
}

/// The platform-specific part of a validated event, ready to be put into a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// Native event name, e.g. the platform's code for an order.
    pub native: Cow<'static, str>,
    /// What its sender made of it, for [`Sender::request`].
    pub item: Item,
    /// Things that were dropped or doubted; shown by `preview`, counted nowhere.
    pub warnings: Vec<String>,
    /// What all items of a request have in common, where the platform asks for that: only items of one route share one.
    pub route: Option<Box<str>>,
    /// A repeat could count money twice: an answer that does not come ends in the dead letters (SPEC 1.4).
    pub never_repeat: bool,
}

impl Prepared {
    /// How many bytes it adds to a request, about.
    pub fn bytes(&self) -> usize {
        self.item.bytes().len()
    }
}

/// A platform's rule that repeats go out only within the natural day of the anchor (SPEC 2.6).
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
    /// The native name that an event of these names has, where one is mapped: the `pb-event` of a dead letter, also of
    /// an event that fails another rule.
    fn native(&self, _event_type: &str, _platform_event: Option<&str>) -> Option<Cow<'static, str>> {
        None
    }

    /// Every native name that an event of this platform can have: with one of them it stands in its claim's key.
    fn natives(&self) -> Vec<Cow<'static, str>>;

    /// Maps and validates an event (SPEC section 9, steps 4 to 8).
    ///
    /// # Errors
    /// `UnmappedEvent` or `Invalid`, with the first field at fault.
    fn prepare(&self, event: &ConversionEvent) -> Result<Prepared, DeliveryError>;

    /// The request that carries `items`, all of one route and within [`Sender::batch`].
    ///
    /// # Errors
    /// A fault where no credential is in force: the account halts, nothing is signed with an empty secret.
    fn request(&self, items: &[&Prepared], context: &Context<'_>) -> Result<Request, Fault>;

    /// What the answer to a request of `items` says of them. It is not asked where the status alone decides (SPEC section
    /// 0.2).
    fn read(&self, items: &[&Prepared], answer: &HttpAnswer<'_>) -> Reading;

    /// How much one request may carry.
    fn batch(&self) -> BatchLimits {
        BatchLimits { items: 1, bytes: usize::MAX }
    }

    /// How its account gets access tokens, and the values that it begins with; `None`: it sends without one. A refusal of the
    /// token is an answer of class `Refresh`, and so is a status 401, 403 or 407.
    fn tokens(&self) -> Option<(Arc<dyn TokenSource>, Seed)> {
        None
    }

    /// The natural day that binds repeats, where the platform has one.
    fn natural_day(&self) -> Option<NaturalDay> {
        None
    }
}

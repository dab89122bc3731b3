//! The platforms: each makes requests of events, and verdicts of answers.
//!
//! A [`Platform`] is a destination as the rest of the program knows it: one value in [`list`]. A [`Sender`] speaks for
//! one account of a platform. It has no network, no clock and no state of its own. A [`call::Call`] is the same for
//! requests whose answer is wanted.
//!
//! To add a platform:
//!
//! 1. Write one file or folder here with the platform's [`Platform`] value, the struct of its accounts' own keys (see
//!    [`keys`]) and its `Sender`, its `Call` or both. The docs say whether the platform itself ignores repeats, and
//!    what a timeout after sending means there.
//! 2. Add its line to [`list`].
//! 3. Write a strict fake in `sandbox/fakes/`, and add its line to the list there. The fake shares no code with the
//!    sender.
//! 4. Add one event per kind to `config/examples/`.
//!
//! Configuration, metrics, limits, retries, `preview`, sandbox, admin and console need no change: they go by the list
//! and by names. `third_platform` is such a file; only tests use it.

pub mod baizhu;
pub mod call;
pub mod callback;
pub mod code;
mod context;
mod credential;
pub mod declared;
pub mod description;
pub mod example_account;
pub mod headers;
pub mod http_status;
mod item;
pub mod kdniao;
pub mod keys;
pub mod list;
#[cfg(test)]
mod mapping;
pub mod natural_day;
pub mod probe;
pub mod qihoo360;
pub mod quota;
pub mod reading;
mod request;
pub mod retry_after;
mod rules;
pub mod signing;
pub mod solinkup;
#[cfg(test)]
pub(crate) mod third_platform;
pub mod tokens;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::config::read::Rest;
use crate::error::{DeliveryError, Fault};
use crate::event::ConversionEvent;
use crate::platforms::call::Call;
use crate::platforms::description::Description;
use crate::platforms::reading::{BatchLimits, HttpAnswer, Reading};
use crate::platforms::tokens::{Seed, TokenSource};

pub use callback::CallbackHost;
pub use context::Context;
pub use credential::{Credential, CredentialShape};
pub use item::Item;
pub use reading::Receipt;
pub use request::{ANSWER_BYTES, Part, Request, SecretPlace};

/// What is wrong with an account's configuration: the key below `[accounts.<name>]`, dotted, and the reason.
pub type Problem = (String, String);

/// A destination: its name, and the keys that an account of it has.
pub trait Platform: Sync {
    /// The name in configuration, events, headers and metrics: `[a-z][a-z0-9_]*`.
    fn name(&self) -> &'static str;

    /// What people call it.
    fn title(&self) -> &'static str;

    /// The URL that conversions go to, unless the account has a `base_url`. It has no `/` at its end.
    fn base_url(&self) -> &'static str;

    /// The members of a credential of its accounts. `None`: the platform signs nothing and has no credentials.
    fn credential(&self) -> Option<CredentialShape> {
        None
    }

    /// The keys below `[accounts.<name>]` that only its accounts have, dotted.
    fn keys(&self) -> Vec<String>;

    /// Builds the sender of an account. `keys` holds the keys that only accounts of this platform have; the platform
    /// reads them as its own struct. `map` is the account's `map` (canonical event to native name).
    ///
    /// # Errors
    /// Every problem with its key, all at once.
    fn configure(&self, keys: &mut Rest<'_>, map: BTreeMap<String, String>) -> Result<Configured, Vec<Problem>>;

    /// The name of the shared rate that an account belongs to: the default of `limits.shared_as`.
    fn shared_as<'a>(&self, account: &'a str, _credentials: &'a [Credential]) -> &'a str {
        account
    }

    /// What people want to know of it.
    fn describe(&self) -> Description {
        Description::of(self.keys())
    }

    /// Whether the platform takes events of any age. Then `validate.max_event_age` applies only where an account sets
    /// it.
    fn takes_any_age(&self) -> bool {
        false
    }
}

/// What a platform made of an account's keys.
#[derive(Default)]
pub struct Configured {
    /// Sends its conversions; `None`: the platform takes none.
    pub sender: Option<Arc<dyn Sender>>,
    /// Makes its calls; `None`: the platform takes none.
    pub call: Option<Arc<dyn Call>>,
    /// The keys, in the form that the platform's fake in the sandbox reads.
    pub settings: Map<String, Value>,
    /// Settings that are no error, but will cause events to be refused.
    pub warnings: Vec<Problem>,
    /// The keys whose value is a whole URL, and that URL. Requests take only its path, so it has to lead to the base
    /// URL of the account.
    pub addresses: Vec<(String, String)>,
}

/// The platform-specific part of a validated event, ready to be put into a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// Native event name, e.g. the platform's code for an order.
    pub native: Cow<'static, str>,
    /// What the sender made of the event. [`Sender::request`] reads it.
    pub item: Item,
    /// What was left out or is doubtful. `preview` shows it; no counter counts it.
    pub warnings: Vec<String>,
    /// What all items of one request must have in common, if the platform demands that. Only items of the same route
    /// share a request.
    pub route: Option<Box<str>>,
    /// The request goes to this host of [`Sender::callback_hosts`] and not to the account's base URL. The path of the
    /// request is sent as it is. Only items of the same host share a request.
    pub callback: Option<Box<CallbackHost>>,
    /// Whether a repeat could count money twice. If the answer to such an item does not come, the event ends in the
    /// dead letters (SPEC 1.4).
    pub never_repeat: bool,
}

impl Prepared {
    /// About how many bytes the item adds to a request.
    pub fn bytes(&self) -> usize {
        self.item.bytes().len()
    }
}

/// A platform's rule that repeats go out only within the natural day of the anchor (SPEC 2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NaturalDay {
    /// The zone whose midnight ends the day.
    pub tz: chrono_tz::Tz,
    /// Whether the day of the event's own time binds the repeats. If not, the day of the first attempt does.
    pub anchor_event_time: bool,
    /// No repeat starts in this last part of the day.
    pub guard: Duration,
}

/// The protocol of a destination, for one account.
pub trait Sender: Send + Sync {
    /// The native name that an event with these names has, if there is one. The dead letter of an event carries it as
    /// `pb-event`, also when the event breaks another rule.
    fn native(&self, _event_type: &str, _platform_event: Option<&str>) -> Option<Cow<'static, str>> {
        None
    }

    /// Every native name that an event of this platform can have. The native name is a part of the claim's key.
    fn natives(&self) -> Vec<Cow<'static, str>>;

    /// Maps and validates an event (SPEC section 9, steps 4 to 8).
    ///
    /// # Errors
    /// `UnmappedEvent` or `Invalid`, with the first field at fault.
    fn prepare(&self, event: &ConversionEvent) -> Result<Prepared, DeliveryError>;

    /// Makes the request that carries `items`. They all have one route and fit into [`Sender::batch`].
    ///
    /// # Errors
    /// A fault if no credential is in force. Then the account halts; nothing is signed with an empty secret.
    fn request(&self, items: &[&Prepared], context: &Context<'_>) -> Result<Request, Fault>;

    /// The same request for somebody who looks at it: with the text that is signed, and with the places of its secrets.
    /// A platform that finds these only by searching leaves them out of what is sent.
    ///
    /// # Errors
    /// Those of [`Sender::request`].
    fn shown_request(&self, items: &[&Prepared], context: &Context<'_>) -> Result<Request, Fault> {
        self.request(items, context)
    }

    /// Reads what the answer to a request of `items` says of them. It is not called where the status alone decides
    /// (SPEC section 0.2).
    fn read(&self, items: &[&Prepared], answer: &HttpAnswer<'_>) -> Reading;

    /// The platform's own code in an answer; empty: it has none. It stands in the dead letter also where the status
    /// decides the class.
    fn code(&self, _answer: &HttpAnswer<'_>) -> String {
        String::new()
    }

    /// How long an answer demands that the whole account sends nothing, beyond what its verdicts say: e.g. a header
    /// says that the limit of the minute is used up. At most 15 minutes are obeyed.
    fn pause(&self, _answer: &HttpAnswer<'_>) -> Option<Duration> {
        None
    }

    /// How much one request may carry.
    fn batch(&self) -> BatchLimits {
        BatchLimits { items: 1, bytes: usize::MAX }
    }

    /// The hosts to which the URL in an event may lead (see [`callback`]). If the account has a `base_url` of its own,
    /// the requests go there instead.
    fn callback_hosts(&self) -> Vec<&str> {
        Vec::new()
    }

    /// How the account gets access tokens, and the values that it begins with. `None`: the account sends without a
    /// token. If the platform refuses a token, the answer has the class `Refresh`; a status 401, 403 or 407 counts as
    /// such a refusal.
    fn tokens(&self) -> Option<(Arc<dyn TokenSource>, Seed)> {
        None
    }

    /// The natural day that binds repeats, if the platform has one.
    fn natural_day(&self) -> Option<NaturalDay> {
        None
    }
}

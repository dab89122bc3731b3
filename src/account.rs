//! One account, checked and ready.

pub mod address;
mod platform_keys;
pub mod proxy;
pub mod rollout;
pub mod roster;
mod sections;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use url::Url;

use crate::config::fields::list;
use crate::error::{DeliveryError, Fault};
use crate::event::ConversionEvent;
use crate::platforms::call::{Call, CallEvent, PreparedCall};
use crate::platforms::reading::BatchLimits;
use crate::platforms::tokens::{Seed, TokenSource};
use crate::platforms::{CallbackHost, Context, Credential, NaturalDay, Prepared, Request, Sender};
use crate::secret::SecretString;

pub use platform_keys::PlatformKeys;
pub(crate) use sections::max_event_age;
pub use sections::{
    Dedupe, Inline, Intake, Limits, OnAmbiguous, Retry, RetryTier, Validate, WhenUnavailable, WindowCheck,
};

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
    pub settings: PlatformKeys,
    /// What its calls may publish of persons.
    pub reply: ReplyRules,
    /// The part of its events that is sent. The others wait in its remainder.
    pub rollout: rollout::Share,
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

/// How many accounts send at the rate of this account's bucket while Redis is away.
pub fn sharers<'a>(accounts: impl IntoIterator<Item = &'a Arc<Account>>, of: &Account) -> usize {
    let bucket = |a: &Account| match of.is_for_calls() {
        true => a.call.is_some().then(|| a.call_limits.shared_as.clone()),
        false => a.sender.is_some().then(|| a.limits.shared_as.clone()),
    };
    let own = Some(&of.limits.shared_as);
    let shares = |a: &&Arc<Account>| a.platform == of.platform && bucket(a).as_ref() == own;
    let delivers = |a: &&Arc<Account>| a.enabled && a.when_unavailable == WhenUnavailable::Deliver;
    accounts.into_iter().filter(shares).filter(delivers).count()
}

impl Account {
    /// The account as its first lane sees it.
    fn first_lane(self: &Arc<Self>) -> Arc<Self> {
        if self.is_for_calls() { self.for_calls() } else { self.clone() }
    }

    /// The account as the lane of its calls sees it, where it sends conversions as well.
    fn second_lane(&self) -> Option<Arc<Self>> {
        (self.sender.is_some() && self.call.is_some()).then(|| self.for_calls())
    }

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

    /// The same request for somebody who looks at it.
    ///
    /// # Errors
    /// No credential is valid.
    pub fn shown_request(
        &self,
        items: &[&Prepared],
        token: Option<&SecretString>,
        now_ms: i64,
    ) -> Result<Request, Fault> {
        let credential = Credential::in_force(&self.credentials, now_ms);
        let sender = self.sender.as_ref().ok_or_else(|| Fault::new("platform", "sends no conversions"))?;
        sender.shown_request(items, &Context { now_ms, credential, token })
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
        let published = &event.published;
        call.prepare(&CallEvent { trans_id: &event.trans_id, name, args, paginate, max_pages, published }, now_ms)
    }

    /// The natural day that binds repeats of its conversions.
    pub fn natural_day(&self) -> Option<NaturalDay> {
        self.sender.as_ref().and_then(|sender| sender.natural_day())
    }

    /// How much one request may carry.
    pub fn batch(&self) -> BatchLimits {
        self.sender.as_ref().map_or(BatchLimits { items: 1, bytes: usize::MAX }, |sender| sender.batch())
    }

    /// How many events it may send in a second. The rate counts requests, and each of them may carry a batch.
    pub fn events_per_second(&self) -> f64 {
        self.limits.rps * self.batch().items.max(1) as f64
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
        // A URL that the platform states obeys the account's keys as a path below its base URL does.
        let is_the_events = callback.is_some_and(|callback| !callback.is_fixed);
        let path = if is_the_events { path } else { self.own_path(path) };
        let url = match callback {
            Some(callback) if !self.has_own_base => format!("{callback}{path}"),
            // The event's path is its own; the account's host alone takes the place of the callback's.
            Some(_) if is_the_events => format!("{}{path}", Url::parse(base).ok()?.origin().ascii_serialization()),
            _ => format!("{base}{path}"),
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
    /// Whether only an operator may end it.
    pub by_hand: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_redis_a_rate_is_shared_by_the_accounts_of_its_bucket_that_deliver() {
        let account = |name: &str, shared_as: &str, when_unavailable, enabled| {
            let mut account = Account::stub(name);
            account.limits.shared_as = shared_as.into();
            (account.when_unavailable, account.enabled) = (when_unavailable, enabled);
            (account.name.clone(), Arc::new(account))
        };
        let (deliver, hold) = (WhenUnavailable::Deliver, WhenUnavailable::Hold);
        let accounts: Accounts = [
            account("a", "key", deliver, true),
            account("b", "key", deliver, true),
            account("c", "key", deliver, true),
            account("holds", "key", hold, true),
            account("is-off", "key", deliver, false),
            account("other", "other", deliver, true),
        ]
        .into();
        let counted = accounts.values().map(|a| (&*a.name, sharers(accounts.values(), a))).collect::<Vec<_>>();
        assert_eq!(counted, [("a", 3), ("b", 3), ("c", 3), ("holds", 3), ("is-off", 3), ("other", 1)]);

        // Calls have a bucket of their own, which the accounts share that make calls.
        let calling = |of: &Arc<Account>| {
            let mut account = Account { call: Some(Arc::new(crate::stub::calls::Caller)), ..Account::clone(of) };
            account.call_limits.shared_as = "key".into();
            Arc::new(account)
        };
        let with_calls = [calling(&accounts["a"]), calling(&accounts["b"]), accounts["c"].clone()];
        let of_lane = |of: &Arc<Account>| sharers(&with_calls, of);
        assert_eq!((of_lane(&with_calls[0]), of_lane(&with_calls[0].for_calls())), (3, 2));
    }
}

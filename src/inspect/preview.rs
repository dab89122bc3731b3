//! Shows what the worker would do with an event at a given moment. It judges the event and builds the request with the
//! worker's own code, and sends nothing (pure).

mod shown;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Map, Value, json};

pub use self::shown::Shown;
use crate::account::Accounts;
use crate::account::roster::{LiveRoster, Roster};
use crate::admit::examine::Examiner;
use crate::claim::rules::Key;
use crate::delivery::{Ready, Subject};
use crate::envelope::{Envelope, Source};
use crate::error::{DeliveryError, Disposition, Outcome};
use crate::kafka::ResultTopics;
use crate::kafka::record::{Header, Record};
use crate::metrics::{Metrics, Setup};
use crate::platforms::list::Platforms;
use crate::platforms::{Credential, Part};
use crate::redact::SECRET;
use crate::settle::policy::{Policy, field_and_detail, timing};

/// The warning where the shown URL or body differs from the bytes that the worker would send.
const MASKED: &str = "a secret in the URL or the body is shown as ***: --show-secrets shows the exact bytes";

/// Judges events as a worker with this configuration would.
pub struct Previewer {
    examiner: Examiner,
    prefix: String,
}

/// What would become of an event.
#[derive(Clone, Debug)]
pub enum Preview {
    /// The worker would send the event.
    Accepted(Box<Accepted>),
    /// The event would end without being sent.
    Refused(Refused),
    /// The account has no valid credential: the account would halt, and the event would be parked.
    Halted(String),
}

/// What would become of a record that was seen before.
#[derive(Clone, Debug)]
pub struct Foreseen {
    pub preview: Preview,
    /// The key of the claim that it would make, and its fingerprint. `None`: it is refused before it would claim.
    pub claim: Option<(Key, u64)>,
    /// The natural day in which it may be repeated has ended.
    pub day_is_over: bool,
}

/// An event that would be sent.
#[derive(Clone, Debug)]
pub struct Accepted {
    pub platform: &'static str,
    /// The account. Its lane has the same name.
    pub account: Arc<str>,
    /// Native event name.
    pub event: String,
    /// The key of its claim in Redis. The hash is written in hexadecimal digits.
    pub dedupe_key: String,
    /// The last moment an attempt may start, epoch ms.
    pub deadline_ms: Option<i64>,
    /// From this time the event is too old for a first attempt, epoch ms.
    pub too_old_ms: Option<i64>,
    /// Members that would be left out, and doubtful values.
    pub warnings: Vec<String>,
    pub request: Shown,
}

/// An event that would not be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// Always false. JSON readers tell the two forms apart by this key.
    pub accepted: bool,
    /// The reason of the dead letter, or `suppressed`.
    pub reason: &'static str,
    /// The dotted path of the faulty field; may be empty.
    pub field: String,
    /// Safe text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Previewer {
    /// Makes a previewer for these accounts. `results` are the topics that calls may name, and `prefix` is the prefix
    /// of keys in Redis.
    pub fn new(accounts: &Accounts, results: ResultTopics, prefix: &str) -> Self {
        Self::over(Roster::new(accounts.values().cloned()).live(), results, prefix)
    }

    /// Knows the platforms of the configuration's own files too, whether or not they have an account.
    pub fn knowing(self, platforms: &Platforms) -> Self {
        Self { examiner: self.examiner.knowing(platforms.clone()), ..self }
    }

    /// The same for the accounts that are in force whenever it is asked.
    pub fn over(roster: LiveRoster, results: ResultTopics, prefix: &str) -> Self {
        // Nothing is counted: it only tells for which platform an event without an account would be.
        let examiner = Examiner::new(roster, results, Metrics::new(Setup::default()));
        Self { examiner, prefix: prefix.to_owned() }
    }

    /// Judges the value of a record at `now_ms`, as if it came from an input topic for the first time.
    pub fn look(&self, value: Option<&[u8]>, headers: Vec<Header>, now_ms: i64) -> Preview {
        let record = Record {
            topic: "preview".into(),
            partition: 0,
            offset: 0,
            timestamp_ms: Some(now_ms),
            key: None,
            value: value.map(|v| v.to_vec().into()),
            headers,
            unreadable_headers: 0,
        };
        let (envelope, _) = Envelope::read(&record, Source::Input, now_ms);
        self.foresee(&record, &envelope, now_ms).preview
    }

    /// Judges a record with the history that its envelope states.
    pub fn foresee(&self, record: &Record, envelope: &Envelope, now_ms: i64) -> Foreseen {
        match self.examiner.judge(record, envelope, now_ms) {
            Subject::Ready(ready) => Foreseen {
                preview: self.ready(&ready, envelope, now_ms),
                claim: Some((ready.claim_request.key, ready.claim_request.fingerprint)),
                day_is_over: Policy::of(&ready).last_retry_ms(envelope).is_some_and(|end| now_ms >= end),
            },
            Subject::Ended(ended) => {
                let preview = match ended.end {
                    Ok(outcome) => Preview::Refused(not_sent(outcome)),
                    Err(error) => refused(&error),
                };
                Foreseen { preview, claim: None, day_is_over: false }
            }
        }
    }

    fn ready(&self, ready: &Ready, envelope: &Envelope, now_ms: i64) -> Preview {
        let mut warnings = ready.prepared.warnings.clone();
        let first_ms = match timing::check(ready, envelope, now_ms) {
            Ok(()) => now_ms,
            Err(DeliveryError::Later { until_ms }) => {
                warnings.push("too late in the natural day for a first attempt: it waits for midnight".to_owned());
                until_ms
            }
            Err(error) => return refused(&error),
        };
        let account = &ready.account;
        // The one in force is known to Redis alone, which `preview` does not ask.
        let token = account.tokens().map(|(_, seed)| seed.access.unwrap_or_default());
        if token.as_ref().is_some_and(|token| token.expose().is_empty()) {
            warnings.push("no access token is configured: the request is shown with an empty one".to_owned());
        }
        let request = match &ready.call {
            // A call with several requests is shown by its first one.
            Some(call) => account.call_request(&call.prepared, u64::from(envelope.page), token.as_ref(), now_ms),
            None => account.shown_request(&[&ready.prepared], token.as_ref(), now_ms),
        };
        let request = match request {
            Ok(request) => request,
            Err(fault) => {
                return Preview::Halted(format!("accounts.{}.{}: {}", account.name, fault.field, fault.detail));
            }
        };
        let masked_path = request.masked_text(Part::Path, &request.path, SECRET);
        let url = |path| account.url(0, path, ready.prepared.callback.as_deref());
        let urls = url(request.path.clone()).zip(url(masked_path.into_owned().into()));
        let Some((url, masked_url)) = urls else {
            return Preview::Halted(format!("accounts.{}: base_url and path make no URL", account.name));
        };
        let secret = Credential::in_force(&account.credentials, now_ms).map(|c| c.secret.clone());
        let age = account.validate.max_event_age.and_then(|max| i64::try_from(max.as_millis()).ok());
        Preview::Accepted(Box::new(Accepted {
            platform: account.platform,
            account: account.name.clone(),
            event: ready.prepared.native.to_string(),
            dedupe_key: ready.claim_request.key.shown(&self.prefix),
            deadline_ms: timing::deadline_ms(ready, first_ms),
            too_old_ms: age.map(|max| ready.event_time_ms.saturating_add(max)),
            warnings,
            request: Shown { url, masked_url, secret, request },
        }))
    }
}

fn refused(error: &DeliveryError) -> Preview {
    let Disposition::DeadLetter(reason) = error.disposition() else {
        return Preview::Halted("cannot be judged without a running worker".to_owned());
    };
    let (field, detail) = field_and_detail(reason, error);
    Preview::Refused(Refused {
        accepted: false,
        reason: reason.as_str(),
        field: field.into_owned(),
        detail: Some(detail),
    })
}

/// The only outcome at admission is that the person opted out (SPEC section 12, 5).
fn not_sent(outcome: Outcome) -> Refused {
    Refused { accepted: false, reason: outcome.as_str(), field: "consent.opt_out".to_owned(), detail: None }
}

impl Accepted {
    /// The event's warnings, and one more if a part of the request is masked.
    pub fn warnings(&self, show_secrets: bool) -> impl Iterator<Item = &str> {
        let request = &self.request.request;
        let masked = !show_secrets && [Part::Path, Part::Body].into_iter().any(|part| request.has_secret(part));
        self.warnings.iter().map(String::as_str).chain(masked.then_some(MASKED))
    }

    /// Builds the object of contract section 1.
    pub fn json(&self, show_secrets: bool) -> Value {
        let request = &self.request;
        let headers: Map<String, Value> =
            request.headers(show_secrets).map(|(name, value)| (name.to_owned(), value.into())).collect();
        json!({
            "accepted": true,
            "platform": self.platform,
            "account": &*self.account,
            "lane": &*self.account,
            "event": self.event,
            "dedupe_key": self.dedupe_key,
            "deadline_ms": self.deadline_ms,
            "warnings": self.warnings(show_secrets).collect::<Vec<_>>(),
            "request": {
                "method": request.request.method,
                "url": request.url(show_secrets),
                "headers": headers,
                "body": request.text(show_secrets),
                "body_base64": STANDARD.encode(request.body(show_secrets)),
                "signature_input": request.signature_input(show_secrets),
            },
        })
    }
}

#[cfg(test)]
mod tests;

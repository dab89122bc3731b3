//! What a record is, judged before it enters a lane: decode, validate, find its account (`core.md` section 1).

use std::sync::Arc;

use crate::error::{DeliveryError, Fault, Outcome};
use crate::event::{ConversionEvent, Identity, decode, identify};
use crate::kafka::consumer::Ticket;
use crate::kafka::envelope::{Envelope, Source};
use crate::kafka::record::Record;
use crate::metrics::Metrics;
use crate::pipeline::claim::{Applicant, Key};
use crate::pipeline::config::Account;
use crate::pipeline::delivery::{Delivery, Ended, Ready, Subject, Visit, in_doubt};
use crate::senders::Platform;

/// Finds accounts by name; their index is their place in lanes and metrics.
pub struct Gate {
    accounts: Vec<Arc<Account>>,
    metrics: Arc<Metrics>,
}

impl Gate {
    /// Over all configured accounts, in the order of the lanes.
    pub fn new(accounts: Vec<Arc<Account>>, metrics: Arc<Metrics>) -> Self {
        Self { accounts, metrics }
    }

    /// Examines one record. Never fails: what is no event ends at the gate.
    pub fn examine(&self, record: Record, visit: Visit, ticket: Ticket, now_ms: i64) -> Box<Delivery> {
        let source = if visit == Visit::Input { Source::Input } else { Source::Owned };
        let (envelope, producer_headers) = Envelope::read(&record, source, now_ms);
        let subject = self.judge(&record, &envelope);
        Box::new(Delivery {
            record,
            envelope,
            producer_headers,
            visit,
            ticket,
            subject,
            attempted: false,
            inline_used: 0,
        })
    }

    /// What a record's value is, with no lane and no offset behind it: also what `preview` shows.
    pub fn judge(&self, record: &Record, envelope: &Envelope) -> Subject {
        match self.subject(record, envelope) {
            Ok(ready) => Subject::Ready(ready),
            Err(end) => self.ended(record, end),
        }
    }

    fn subject(&self, record: &Record, envelope: &Envelope) -> Result<Ready, Result<Outcome, DeliveryError>> {
        if record.unreadable_headers > 0 {
            return Err(Err(DeliveryError::Quarantined(Fault::whole(format!(
                "{} header name(s) are not UTF-8 and were left out; key, value and the other headers are kept",
                record.unreadable_headers
            )))));
        }
        let event = decode(record.value.as_deref()).map_err(Err)?;
        let (index, account) = self.account(&event).map_err(|f| Err(DeliveryError::UnknownAccount(f)))?;
        if event.opted_out() {
            return Err(Ok(Outcome::Suppressed));
        }
        if !account.validate.accept_raw_identifiers
            && let Some(field) = event.raw_identifier()
        {
            let detail = "raw identifiers are not accepted (validate.accept_raw_identifiers): send a hashed one";
            return Err(Err(DeliveryError::Invalid(Fault::new(field, detail))));
        }
        let prepared = account.sender.prepare(&event).map_err(Err)?;
        let platform = account.platform.as_str();
        let applicant = Applicant {
            key: Key::new(platform, &account.name, &prepared.native, &event.trans_id),
            origin: origin_text(envelope),
            fingerprint: event.fingerprint(),
            own: envelope.resends,
            in_doubt: in_doubt(envelope),
            force: envelope.replay.as_ref().is_some_and(|r| r.force),
            possible: 0,
        };
        Ok(Ready {
            account: account.clone(),
            index,
            prepared,
            trans_id: event.trans_id.into(),
            applicant,
            event_time_ms: event.event_time_ms,
            deadline_ms: event.deadline_ms,
        })
    }

    fn account(&self, event: &ConversionEvent) -> Result<(usize, &Arc<Account>), Fault> {
        if !Platform::ALL.iter().any(|p| p.as_str() == event.platform) {
            return Err(Fault::new("platform", "no such platform"));
        }
        let found = self.accounts.iter().enumerate().find(|(_, a)| *a.name == *event.account);
        match found {
            Some((_, account)) if account.platform.as_str() != event.platform => {
                Err(Fault::new("account", format!("is an account of {}", account.platform.as_str())))
            }
            Some((_, account)) if !account.enabled => Err(Fault::new("account", "is disabled")),
            Some(found) => Ok(found),
            None => Err(Fault::new("account", "no such account")),
        }
    }

    fn ended(&self, record: &Record, end: Result<Outcome, DeliveryError>) -> Subject {
        let mut identity = identify(record.value.as_deref());
        let platform = Platform::ALL.into_iter().find(|p| identity.platform.as_deref() == Some(p.as_str()));
        let configured = self
            .accounts
            .iter()
            .position(|a| Some(&*a.name) == identity.account.as_deref() && Some(a.platform) == platform);
        // The native code where the event has one, else the event type as given.
        if let Some(index) = configured
            && let Some(native) = self.native(index, &identity)
        {
            identity.event = Some(native);
        }
        let index = configured.unwrap_or_else(|| self.metrics.unknown(platform));
        Subject::Ended(Ended { identity, index, end })
    }

    fn native(&self, index: usize, identity: &Identity) -> Option<String> {
        let sender = &self.accounts.get(index)?.sender;
        sender.native(identity.event.as_deref()?, identity.platform_event.as_deref()).map(|n| n.into_owned())
    }
}

/// The lineage as it stands in claims. A topic name that is none of Kafka's is a forgery and cannot break the value.
pub fn origin_text(envelope: &Envelope) -> Box<str> {
    let origin = &envelope.origin;
    let topic: String = origin.topic.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).collect();
    format!("{topic}:{}:{}", origin.partition, origin.offset).into()
}

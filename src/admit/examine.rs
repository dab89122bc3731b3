//! Examines a record before it enters a lane: decodes and validates it, and finds its account (`core.md` section 1).

use std::fmt::Write;
use std::sync::Arc;

use crate::account::roster::{LiveRoster, Place, Roster};
use crate::account::{Account, WhenUnavailable};
use crate::claim::rules::{ClaimRequest, Key};
use crate::delivery::progress::AckHandle;
use crate::delivery::{Called, Delivery, Ended, Ready, Refused, ReplyTo, Subject, TopicKind, in_doubt, spare};
use crate::envelope::{Envelope, Source};
use crate::error::{DeliveryError, Fault, Outcome};
use crate::event::{ConversionEvent, Identity, Kind, NamedReply, Paginate, decode, identify};
use crate::kafka::ResultTopics;
use crate::kafka::record::Record;
use crate::metrics::Metrics;
use crate::platforms::call::{Parts, PreparedCall};
use crate::platforms::list::Platforms;
use crate::platforms::{Item, Prepared};

/// Examines records, and finds their accounts by name, as they are configured at this moment.
pub struct Examiner {
    roster: LiveRoster,
    results: ResultTopics,
    metrics: Arc<Metrics>,
}

impl Examiner {
    /// Builds the examiner from the accounts in force, now and later, and the topics that calls may name.
    pub fn new(roster: LiveRoster, results: ResultTopics, metrics: Arc<Metrics>) -> Self {
        Self { roster, results, metrics }
    }

    /// Builds the examiner from accounts that stay as they are.
    pub fn of(accounts: Vec<Arc<Account>>, results: ResultTopics, metrics: Arc<Metrics>) -> Self {
        Self::new(Roster::new(accounts).live(), results, metrics)
    }

    /// The same, for the accounts as they are now, with the platforms of the configuration's own files.
    pub fn knowing(self, platforms: Platforms) -> Self {
        let roster = Roster::clone(&self.roster.load()).knowing(platforms).live();
        Self { roster, ..self }
    }

    /// Examines one record. It never fails: a record that is not a valid event becomes a delivery that has ended.
    pub fn examine(&self, record: Record, topic_kind: TopicKind, ack: AckHandle, now_ms: i64) -> Box<Delivery> {
        let source = if topic_kind == TopicKind::Input { Source::Input } else { Source::Owned };
        let (envelope, producer_headers) = Envelope::read(&record, source, now_ms);
        let mut subject = self.judge(&record, &envelope, now_ms);
        if let Subject::Ready(ready) = &mut subject {
            // Only `preview` shows them, and thousands of records wait in memory.
            ready.prepared.warnings = Vec::new();
        }
        Box::new(Delivery {
            record,
            envelope,
            producer_headers,
            topic_kind,
            ack,
            subject,
            is_read_again: false,
            attempted: false,
            inline_used: 0,
            place: 0,
            throttled: 0,
            probe: None,
            refused: Refused::default(),
        })
    }

    /// Judges the value of a record, without a lane and an offset. `preview` uses it too.
    pub fn judge(&self, record: &Record, envelope: &Envelope, now_ms: i64) -> Subject {
        let roster = self.roster.load();
        match self.subject(&roster, record, envelope, now_ms) {
            Ok(ready) => Subject::Ready(ready),
            Err(end) => self.ended(&roster, record, end),
        }
    }

    /// Judges an event again that was judged before its account was removed from the configuration.
    pub fn judge_again(&self, delivery: &mut Delivery, now_ms: i64) {
        if let Subject::Ready(_) = delivery.subject {
            delivery.subject = self.judge(&delivery.record, &delivery.envelope, now_ms);
        }
    }

    fn subject(
        &self,
        roster: &Roster,
        record: &Record,
        envelope: &Envelope,
        now_ms: i64,
    ) -> Result<Ready, Result<Outcome, DeliveryError>> {
        if record.unreadable_headers > 0 {
            return Err(Err(DeliveryError::Quarantined(Fault::whole(format!(
                "{} header name(s) are not UTF-8 and were left out; key, value and the other headers are kept",
                record.unreadable_headers
            )))));
        }
        let event = decode(record.value.as_deref()).map_err(Err)?;
        let mut place = account(roster, &event).map_err(|f| Err(DeliveryError::UnknownAccount(f)))?;
        let asked = &place.account;
        if event.opted_out() {
            return Err(Ok(Outcome::Suppressed));
        }
        if !asked.validate.accept_raw_identifiers
            && let Some(field) = event.raw_identifier()
        {
            let detail = match field.starts_with("user.hashed.") {
                true => "no hash, and raw identifiers are not accepted (validate.accept_raw_identifiers)",
                false => "raw identifiers are not accepted (validate.accept_raw_identifiers): send a hashed one",
            };
            return Err(Err(DeliveryError::Invalid(Fault::new(field, detail))));
        }
        // A call that was made once is judged as it was then: a later page of it is not too old.
        let now_ms = envelope.first_attempt_ms.unwrap_or(now_ms);
        let call = match event.kind {
            Kind::Conversion => None,
            Kind::Call => Some(Box::new(self.call(asked, &event, now_ms).map_err(Err)?)),
        };
        let mut call = call;
        if let Some(call) = &mut call
            && let Some((other, prepared)) = self.alternate(roster, asked, envelope, &event, now_ms)
        {
            place = other;
            (call.prepared, call.asked) = (prepared, Some(asked.clone()));
        }
        let prepared = match &call {
            None => asked.prepare(&event).map_err(Err)?,
            Some(call) => of_call(&call.prepared),
        };
        let lane = if call.is_some() { place.calls } else { place.index };
        let only_reads = call.as_ref().is_some_and(|call| !call.prepared.destructive);
        let claim_request = ClaimRequest {
            // Of the account that the event names, whoever makes the call.
            key: Key::new(asked.platform, &asked.name, &prepared.native, &event.trans_id),
            origin: origin_text(envelope),
            fingerprint: event.fingerprint(),
            own: envelope.resends,
            in_doubt: in_doubt(envelope) && !only_reads,
            spare: spare(envelope),
            force: envelope.replay.as_ref().is_some_and(|r| r.force),
            possible: 0,
        };
        Ok(Ready {
            account: roster.lanes()[lane].1.clone(),
            index: place.index,
            lane,
            prepared,
            trans_id: event.trans_id.into(),
            claim_request,
            event_time_ms: event.event_time_ms,
            deadline_ms: event.deadline_ms,
            call,
        })
    }

    fn call(&self, account: &Account, event: &ConversionEvent, now_ms: i64) -> Result<Called, DeliveryError> {
        let prepared = account.prepare_call(event, now_ms)?;
        let reply = &event.reply;
        let Some(topic) = self.results.find(reply.topic.as_deref()) else {
            let detail = "is neither kafka.results nor one of kafka.result_topics";
            return Err(DeliveryError::Invalid(Fault::new("reply.topic", detail)));
        };
        let wanted = match reply.paginate {
            Paginate::None => 1,
            Paginate::All => reply.max_pages.and_then(|most| u64::try_from(most).ok()).unwrap_or(u64::MAX),
        };
        let possible = if let Parts::Pages { most, .. } = prepared.parts { most } else { 1 };
        Ok(Called {
            most_pages: wanted.min(possible).max(1),
            ends_ms: reply.ttl_s.map(|seconds| event.event_time_ms.saturating_add(seconds.saturating_mul(1000))),
            shows_personal: account.reply.shows_personal(topic),
            reply: ReplyTo { topic: topic.clone(), key: reply.key.as_deref().map(Box::from) },
            alternates: self.alternates(account, prepared.name).len().try_into().unwrap_or(u32::MAX),
            asked: None,
            is_counted: false,
            prepared,
        })
    }

    fn alternates<'a>(&self, account: &'a Account, call: &str) -> &'a [String] {
        account.call.as_ref().map_or(&[], |maker| maker.alternates(call))
    }

    /// The account that makes this visit in place of the one that the event names, and the call as it makes it. `None`:
    /// it is its own account's turn, or the other one is gone, is disabled or cannot make this call.
    fn alternate<'a>(
        &self,
        roster: &'a Roster,
        asked: &Account,
        envelope: &Envelope,
        event: &ConversionEvent,
        now_ms: i64,
    ) -> Option<(&'a Place, PreparedCall)> {
        let number = usize::try_from(envelope.alternate).ok()?.checked_sub(1)?;
        let name = self.alternates(asked, event.call.as_deref()?).get(number)?;
        let other = roster.find(name)?;
        let prepared = other.account.prepare_call(event, now_ms).ok().filter(|prepared| !prepared.destructive)?;
        other.account.enabled.then_some((other, prepared))
    }

    /// Where the result of a call goes that is refused: the usual topic, if the call may not name its own.
    fn reply_to(&self, named: NamedReply) -> ReplyTo {
        let topic = self.results.find(named.topic.as_deref()).unwrap_or(&self.results.usual).clone();
        ReplyTo { topic, key: named.key.map(Box::from) }
    }

    fn ended(&self, roster: &Roster, record: &Record, end: Result<Outcome, DeliveryError>) -> Subject {
        let mut identity = identify(record.value.as_deref());
        let platform = identity.platform.as_deref();
        let named = identity.account.as_deref().and_then(|name| roster.find(name));
        let configured = named.filter(|place| Some(place.account.platform) == platform);
        let index = configured.map_or_else(|| self.metrics.unknown(platform), |place| place.index);
        let when_unavailable = configured.map_or(WhenUnavailable::Hold, |place| place.account.when_unavailable);
        // The native event code if the event has one, else the event type as given.
        if let Some(place) = configured
            && identity.reply.is_none()
            && let Some(native) = native(&place.account, &identity)
        {
            identity.event = Some(native);
        }
        let reply = identity.reply.take().map(|named| self.reply_to(named));
        Subject::Ended(Box::new(Ended { identity, index, end, reply, when_unavailable }))
    }
}

/// The account that an event names.
fn account<'a>(roster: &'a Roster, event: &ConversionEvent) -> Result<&'a Place, Fault> {
    if roster.platforms().find(&event.platform).is_none() {
        return Err(Fault::new("platform", "no such platform"));
    }
    match roster.find(&event.account) {
        Some(place) if place.account.platform != event.platform => {
            Err(Fault::new("account", format!("is an account of {}", place.account.platform)))
        }
        Some(place) if !place.account.enabled => Err(Fault::new("account", "is disabled")),
        Some(place) => Ok(place),
        None => Err(Fault::new("account", unknown(roster, &event.account))),
    }
}

/// What is wrong with a name that is configured for no account.
fn unknown(roster: &Roster, name: &str) -> String {
    match roster.similar(name) {
        Some(similar) => format!("no such account; did you mean {similar}?"),
        None => "no such account".into(),
    }
}

fn native(account: &Account, identity: &Identity) -> Option<String> {
    account.native(identity.event.as_deref()?, identity.platform_event.as_deref()).map(|n| n.into_owned())
}

/// What a call has in common with conversions. Its requests are made of the call itself.
fn of_call(call: &PreparedCall) -> Prepared {
    Prepared {
        native: call.name.into(),
        item: Item::new([]),
        warnings: call.warnings.clone(),
        route: None,
        never_repeat: call.destructive,
        callback: None,
    }
}

/// The origin as it is written into claims. Kafka allows no other characters in a topic name, so a name that contains
/// them is a forgery; without them it cannot break the value.
pub fn origin_text(envelope: &Envelope) -> Box<str> {
    let origin = &envelope.origin;
    // Made once per event, so it has room for the largest partition and offset from the start.
    let mut text = String::with_capacity(origin.topic.len() + 33);
    text.extend(origin.topic.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)));
    // Writing to a string cannot fail.
    let _ = write!(text, ":{}:{}", origin.partition, origin.offset);
    text.into()
}

#[cfg(test)]
mod tests;

//! What moves through the pipeline: a record, its envelope, and what was made of its value.

mod probe;
pub mod progress;

use std::sync::Arc;

use crate::account::{Account, OnAmbiguous, WhenUnavailable};
use crate::claim::rules::{ClaimRequest, Spare};
use crate::delivery::progress::AckHandle;
use crate::envelope::{Copy, Envelope, Named};
use crate::error::{DeliveryError, Outcome};
use crate::event::Identity;
use crate::kafka::REMAINDER;
use crate::kafka::record::{Header, Record};
use crate::platforms::Prepared;
use crate::platforms::call::{Parts, PreparedCall};

pub use probe::Probe;

/// The kind of topic that a record was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicKind {
    /// An input topic: the first visit.
    Input,
    /// A retry tier.
    Tier,
    /// A parking topic.
    Parked,
}

/// A record on its way through the stages.
pub struct Delivery {
    /// The record as Kafka gave it.
    pub record: Record,
    /// Its delivery metadata.
    pub envelope: Envelope,
    /// How many of the record's headers are the producer's. The rest is ours.
    pub producer_headers: usize,
    /// The kind of topic that it was read from.
    pub topic_kind: TopicKind,
    /// Finishes its offset.
    pub ack: AckHandle,
    /// What was made of its value.
    pub subject: Subject,
    /// An earlier visit of the same event, or of a copy of it, was delivered: most likely the record is read again.
    pub is_read_again: bool,
    /// Whether this visit made an attempt that counts.
    pub attempted: bool,
    /// The number of inline retries of this visit.
    pub inline_used: u32,
    /// Its place in the order in which its lane received its records. 0: it was not queued yet.
    pub place: u64,
    /// How often it went back to its lane's head because the platform throttled.
    pub throttled: u32,
    /// The record is sent although its lane counts as closed. Its answer may open the lane.
    pub probe: Option<Probe>,
    /// What its answers did to its lane since it was read.
    pub refused: Refused,
}

/// What the answers to one record did to its lane since it was read. A record may be refused for reasons of its own, so
/// that it must not decide alone whether its lane is closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// How often its answer closed the lane or left it closed.
    pub times: u32,
    /// How often of these it halted an account that was not halted before.
    pub halted: u32,
}

/// What was made of a record's value.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every record is an event, and another box would cost each of them"
)]
pub enum Subject {
    /// An event that its lane can send.
    Ready(Ready),
    /// A record that ends without being sent. Boxed, because few records do, and it is larger than an event.
    Ended(Box<Ended>),
}

/// An event that passed every rule except those of time.
pub struct Ready {
    pub account: Arc<Account>,
    /// The index of the account in the metrics.
    pub index: usize,
    /// The index of its lane.
    pub lane: usize,
    /// What its sender made of it.
    pub prepared: Prepared,
    /// Its trans_id, as given.
    pub trans_id: Box<str>,
    /// What it states when it claims.
    pub claim_request: ClaimRequest,
    /// When the event happened, epoch ms.
    pub event_time_ms: i64,
    /// No attempt starts after this, epoch ms.
    pub deadline_ms: Option<i64>,
    /// What only a call has. Boxed, because most events are conversions.
    pub call: Option<Box<Called>>,
}

/// A call that passed every rule except those of time.
pub struct Called {
    pub prepared: PreparedCall,
    pub reply: ReplyTo,
    /// The most pages to ask for.
    pub most_pages: u64,
    /// No part is asked for at or after this time, epoch ms: `reply.ttl_s`.
    pub ends_ms: Option<i64>,
    /// Results show personal data as the platform gave it.
    pub shows_personal: bool,
    /// How many other accounts may answer it.
    pub alternates: u32,
    /// Its next request is counted among those of the account's day, and no byte of it has gone out.
    pub is_counted: bool,
    /// The account that the event names, where another one makes this visit.
    pub asked: Option<Arc<Account>>,
}

impl Called {
    /// The number of the first page as results name it.
    pub fn first_page(&self) -> u64 {
        if let Parts::Pages { first, .. } = self.prepared.parts { first } else { 0 }
    }
}

/// Where the results of a call go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyTo {
    pub topic: Arc<str>,
    /// The Kafka key. `None`: the trans_id.
    pub key: Option<Box<str>>,
}

impl Ready {
    /// Whether it is a call that only reads. Such a call may be repeated without harm, so it is never in doubt.
    pub fn only_reads(&self) -> bool {
        self.call.as_ref().is_some_and(|call| !call.prepared.destructive)
    }

    /// The account that the event names. Another one may make the visit.
    pub fn asked(&self) -> &Arc<Account> {
        self.call.as_ref().and_then(|call| call.asked.as_ref()).unwrap_or(&self.account)
    }

    /// Whether an answer that does not come ends in the dead letters.
    pub fn dead_letters_ambiguous(&self) -> bool {
        !self.only_reads() && (self.account.on_ambiguous == OnAmbiguous::DeadLetter || self.prepared.never_repeat)
    }
}

/// A record that ends at admission.
pub struct Ended {
    /// What could be read of it.
    pub identity: Identity,
    /// Index into the metrics.
    pub index: usize,
    /// How it ends: suppressed, or the error that names the reason.
    pub end: Result<Outcome, DeliveryError>,
    /// Where its result goes, if it is a call.
    pub reply: Option<ReplyTo>,
    /// What its account does while Redis is away; of no configured account: it waits.
    pub when_unavailable: WhenUnavailable,
}

impl Delivery {
    /// Index into the metrics.
    pub fn index(&self) -> usize {
        match &self.subject {
            Subject::Ready(ready) => ready.index,
            Subject::Ended(ended) => ended.index,
        }
    }

    /// Whether the event may have been accepted, even if Redis has forgotten it (`core.md` section 3).
    pub fn in_doubt(&self) -> bool {
        in_doubt(&self.envelope) && !self.only_reads()
    }

    /// The index of its lane; `None`: it has none, because it ends.
    pub fn lane(&self) -> Option<usize> {
        if let Subject::Ready(ready) = &self.subject { Some(ready.lane) } else { None }
    }

    /// Whether it is a call that its lane can make.
    pub fn is_call(&self) -> bool {
        matches!(&self.subject, Subject::Ready(Ready { call: Some(_), .. }))
    }

    /// As [`Called::is_counted`].
    pub fn is_counted(&self) -> bool {
        matches!(&self.subject, Subject::Ready(Ready { call: Some(called), .. }) if called.is_counted)
    }

    /// Notes whether the next request of a call is counted among those of the day.
    pub fn set_counted(&mut self, is_counted: bool) {
        if let Subject::Ready(Ready { call: Some(called), .. }) = &mut self.subject {
            called.is_counted = is_counted;
        }
    }

    /// Whether an operator replayed it, in whatever topic it is now.
    pub fn is_replayed(&self) -> bool {
        self.envelope.replay.is_some()
    }

    /// Whether it waited in the remainder of a gray release.
    pub fn is_of_remainder(&self) -> bool {
        self.topic_kind == TopicKind::Parked && self.record.topic.ends_with(REMAINDER)
    }

    /// What its account does while Redis is away.
    pub fn when_unavailable(&self) -> WhenUnavailable {
        match &self.subject {
            Subject::Ready(ready) => ready.account.when_unavailable,
            Subject::Ended(ended) => ended.when_unavailable,
        }
    }

    /// As [`Ready::only_reads`].
    pub fn only_reads(&self) -> bool {
        matches!(&self.subject, Subject::Ready(ready) if ready.only_reads())
    }

    /// Notes that its answer closes its lane. `was_halted_by_it`: the account was not halted before.
    pub fn note_refused(&mut self, was_halted_by_it: bool) {
        self.refused.times = self.refused.times.saturating_add(1);
        self.refused.halted = self.refused.halted.saturating_add(u32::from(was_halted_by_it));
    }

    /// Copies what this visit learned of re-sends to the envelope and to the next claim.
    pub fn carry_count(&mut self) {
        if let Subject::Ready(ready) = &mut self.subject {
            self.envelope.resends = self.envelope.resends.max(ready.claim_request.own);
            ready.claim_request.in_doubt = in_doubt(&self.envelope) && !ready.only_reads();
        }
    }

    /// The headers of a copy: the producer's as they are, then the worker's own.
    pub fn with_own(&self, kind: Copy<'_>) -> Vec<Header> {
        let mut headers = self.record.headers[..self.producer_headers].to_vec();
        headers.extend(self.envelope.write(kind));
        headers
    }

    /// Its names, for headers and receipts.
    pub fn named(&self) -> Named {
        match &self.subject {
            Subject::Ready(ready) => Named {
                platform: Some(ready.asked().platform.to_owned()),
                account: Some(ready.asked().name.to_string()),
                trans_id: Some(ready.trans_id.to_string()),
                event: Some(ready.prepared.native.to_string()),
            },
            Subject::Ended(ended) => Named {
                platform: ended.identity.platform.clone(),
                account: ended.identity.account.clone(),
                trans_id: ended.identity.trans_id.clone(),
                event: ended.identity.event.clone(),
            },
        }
    }
}

/// The same as [`Delivery::in_doubt`], for an envelope.
pub fn in_doubt(envelope: &Envelope) -> bool {
    envelope.resends != 0 || may_be_accepted(envelope)
}

/// Whether a declared send that was refused is spare. If a declared send was not refused, the last error is
/// `ambiguous`, and no later try replaces that without a declared send of its own.
pub fn spare(envelope: &Envelope) -> Spare {
    if envelope.resends != 0 && !may_be_accepted(envelope) { Spare::Earlier } else { Spare::None }
}

fn may_be_accepted(envelope: &Envelope) -> bool {
    envelope.last.as_ref().is_some_and(|l| l.class == crate::error::Class::Ambiguous.as_str())
}

//! Why an event was not delivered, and what that asks for.
//!
//! The class of an error is the instruction: it stays typed until `settle` has decided, and only then
//! becomes text. The variants are the attempt classes and the dead-letter reasons of the contract, by the same names.

mod labels;

use std::borrow::Cow;
use std::time::Duration;

pub use labels::{Class, Outcome, Reason};

/// What is wrong with an event that was never sent: the offending field and a text that is safe to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Dotted path of the input event, e.g. `order.amount.minor`; empty where no field is at fault.
    pub field: Cow<'static, str>,
    /// Safe text: no values of personal fields, no secrets.
    pub detail: String,
}

impl Fault {
    /// A fault of one field.
    pub fn new(field: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self { field: field.into(), detail: detail.into() }
    }

    /// A fault that no single field has.
    pub fn whole(detail: impl Into<String>) -> Self {
        Self::new("", detail)
    }
}

/// What the platform, or the way to it, answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The platform's own code as text, e.g. `3`; empty where none was given.
    pub code: String,
    /// HTTP status; `None` where no answer came.
    pub status: Option<u16>,
    /// Safe text for headers, console and logs: never a body, a URL or a credential.
    pub detail: String,
    /// `Retry-After` of the answer, already relative and capped.
    pub retry_after: Option<Duration>,
    /// The code is in no table: counted, treated as `retry`.
    pub unclassified: bool,
    /// Whether the first byte of the request may have gone out.
    pub sent: bool,
}

/// Why an event has not been delivered. What each variant does to claim, attempts, account and record is
/// [`DeliveryError::disposition`], and nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryError {
    /// Never sent: no event object could be built.
    Malformed(Fault),
    /// Never sent: a header that cannot be read.
    Quarantined(Fault),
    /// Never sent: platform or account unknown, mismatched or disabled.
    UnknownAccount(Fault),
    /// Never sent: no native code.
    UnmappedEvent(Fault),
    /// Never sent: a rule is broken.
    Invalid(Fault),
    /// Never sent (again): too late.
    Expired(Fault),
    /// Never sent: the same identity with other money.
    Conflict(Fault),
    /// Failed clearly.
    Retry(Answer),
    /// The platform asks for less.
    Throttled(Answer),
    /// The token has expired.
    Refresh(Answer),
    /// The account cannot send at all.
    Halt(Answer),
    /// Refused for good.
    Permanent(Answer),
    /// Bytes went out and no usable answer came.
    Ambiguous(Answer),
    /// Another copy is being sent.
    Held {
        /// It was sent by another lineage, and nobody will ever know how that ended.
        unknown: bool,
    },
    /// A first attempt in the last moments of its natural day waits for midnight.
    Later {
        /// Until then, epoch ms.
        until_ms: i64,
    },
    /// Our own Redis or Kafka is away.
    Unavailable(String),
    /// The lane closed before anything was sent.
    Closed,
    /// The partition leaves this member; nothing was sent.
    Returned,
}

/// What a [`DeliveryError`] asks for. `core.md` section 2 is this table in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Ends in the dead-letter topic with this reason.
    DeadLetter(Reason),
    /// The next tier, or a dead letter at a limit; counts as an attempt.
    Retry,
    /// As `Retry`, after the claim was marked `unknown`.
    MarkThenRetry,
    /// Back to the lane's head, or parked, by the length of the wait; no attempt.
    Throttle,
    /// The account halts, the record parks; no attempt.
    Halt,
    /// The record parks, or is held where it was read from parking; no attempt.
    Park,
    /// The lease tier; no attempt.
    LeaseTier,
    /// Stays unfinished and is tried again in place.
    Hold,
    /// Given back unfinished.
    Return,
}

impl DeliveryError {
    /// The instruction of this error.
    pub fn disposition(&self) -> Disposition {
        match self {
            DeliveryError::Malformed(_) => Disposition::DeadLetter(Reason::Malformed),
            DeliveryError::Quarantined(_) => Disposition::DeadLetter(Reason::Quarantined),
            DeliveryError::UnknownAccount(_) => Disposition::DeadLetter(Reason::UnknownAccount),
            DeliveryError::UnmappedEvent(_) => Disposition::DeadLetter(Reason::UnmappedEvent),
            DeliveryError::Invalid(_) => Disposition::DeadLetter(Reason::Invalid),
            DeliveryError::Expired(_) => Disposition::DeadLetter(Reason::Expired),
            DeliveryError::Conflict(_) => Disposition::DeadLetter(Reason::Conflict),
            DeliveryError::Permanent(_) => Disposition::DeadLetter(Reason::Rejected),
            DeliveryError::Retry(_) => Disposition::Retry,
            DeliveryError::Ambiguous(_) => Disposition::MarkThenRetry,
            DeliveryError::Throttled(_) => Disposition::Throttle,
            // Without tokens there is nothing to refresh; with them the token cache has tried already.
            DeliveryError::Refresh(_) | DeliveryError::Halt(_) => Disposition::Halt,
            DeliveryError::Closed => Disposition::Park,
            DeliveryError::Held { .. } | DeliveryError::Later { .. } => Disposition::LeaseTier,
            DeliveryError::Unavailable(_) => Disposition::Hold,
            DeliveryError::Returned => Disposition::Return,
        }
    }

    /// The attempt class, where an attempt was made.
    pub fn class(&self) -> Option<Class> {
        match self {
            DeliveryError::Retry(_) => Some(Class::Retry),
            DeliveryError::Throttled(_) => Some(Class::Throttled),
            DeliveryError::Refresh(_) => Some(Class::Refresh),
            DeliveryError::Halt(_) => Some(Class::Halt),
            DeliveryError::Permanent(_) => Some(Class::Permanent),
            DeliveryError::Ambiguous(_) => Some(Class::Ambiguous),
            DeliveryError::Malformed(_)
            | DeliveryError::Quarantined(_)
            | DeliveryError::UnknownAccount(_)
            | DeliveryError::UnmappedEvent(_)
            | DeliveryError::Invalid(_)
            | DeliveryError::Expired(_)
            | DeliveryError::Conflict(_)
            | DeliveryError::Held { .. }
            | DeliveryError::Later { .. }
            | DeliveryError::Unavailable(_)
            | DeliveryError::Closed
            | DeliveryError::Returned => None,
        }
    }

    /// What the platform answered, where an attempt was made.
    pub fn answer(&self) -> Option<&Answer> {
        match self {
            DeliveryError::Retry(a)
            | DeliveryError::Throttled(a)
            | DeliveryError::Refresh(a)
            | DeliveryError::Halt(a)
            | DeliveryError::Permanent(a)
            | DeliveryError::Ambiguous(a) => Some(a),
            _ => None,
        }
    }

    /// Field and text of an event that was never sent.
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            DeliveryError::Malformed(f)
            | DeliveryError::Quarantined(f)
            | DeliveryError::UnknownAccount(f)
            | DeliveryError::UnmappedEvent(f)
            | DeliveryError::Invalid(f)
            | DeliveryError::Expired(f)
            | DeliveryError::Conflict(f) => Some(f),
            _ => None,
        }
    }
}

//! Says why an event was not delivered, and what has to follow.
//!
//! The class of an error is the instruction. It stays typed until `settle` has decided, and becomes text only then. The
//! variants have the names of the contract's attempt classes and dead-letter reasons.

mod labels;

use std::borrow::Cow;
use std::time::Duration;

pub use labels::{Class, Outcome, Reason};

/// A fault of an event that was never sent: the field, and a text that is safe to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The dotted path in the event, e.g. `order.amount.minor`; empty if no single field is wrong.
    pub field: Cow<'static, str>,
    /// A safe text without values of personal fields and without secrets.
    pub detail: String,
}

impl Fault {
    /// A fault of one field.
    pub fn new(field: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self { field: field.into(), detail: detail.into() }
    }

    /// A fault that is not about a single field.
    pub fn whole(detail: impl Into<String>) -> Self {
        Self::new("", detail)
    }
}

/// The answer of the platform, or the failure on the way to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The platform's own code as text, e.g. `3`; empty without one.
    pub code: String,
    /// HTTP status; `None` where no answer came.
    pub status: Option<u16>,
    /// A safe text for headers, console and logs. It never contains a body, a URL or a credential.
    pub detail: String,
    /// The `Retry-After` of the answer as a span with an upper limit.
    pub retry_after: Option<Duration>,
    /// How long the platform's own limit of a day still lasts. It stands only in `Throttled`. The account sends nothing
    /// before it is over, however long that is.
    pub quota_wait: Option<Duration>,
    /// The code is in no table. It is counted, and treated as `retry`.
    pub unclassified: bool,
    /// What the request says of its own moment is refused: its nonce or its timestamp. It stands only in `Refresh`. The
    /// event is signed anew and sent once more, with the same token.
    pub sign_again: bool,
    /// Whether the first byte of the request may have gone out.
    pub sent: bool,
    /// The beginning of the answer, masked, where its code is in no table. Only the status shows it.
    pub sample: Option<Box<str>>,
}

/// Why an event has not been delivered. Only [`DeliveryError::disposition`] says what each variant does to claim,
/// attempts, account and record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryError {
    /// Never sent: the bytes are not an event object.
    Malformed(Fault),
    /// Never sent: a header cannot be read.
    Quarantined(Fault),
    /// Never sent: the platform or the account is unknown, mismatched or disabled.
    UnknownAccount(Fault),
    /// Never sent: the platform has no native code for the event.
    UnmappedEvent(Fault),
    /// Never sent: the event breaks a rule.
    Invalid(Fault),
    /// Never sent, or not sent again: it is too late.
    Expired(Fault),
    /// Never sent: the same identity was seen with other money.
    Conflict(Fault),
    /// The attempt clearly failed.
    Retry(Answer),
    /// The platform asks for fewer requests.
    Throttled(Answer),
    /// The token has expired.
    Refresh(Answer),
    /// The account cannot send at all.
    Halt(Answer),
    /// The platform refused the event for good.
    Permanent(Answer),
    /// Bytes went out, and no usable answer came.
    Ambiguous(Answer),
    /// Another copy is being sent.
    Held {
        /// A copy of another lineage was sent, and nobody will ever know how that ended.
        unknown: bool,
    },
    /// The event waits for a moment: for midnight, because it is too late in its natural day for a first attempt, or
    /// for the end of the interval in which its platform may not be asked again.
    Later {
        /// The time until which it waits, epoch ms.
        until_ms: i64,
    },
    /// Our own Redis or Kafka does not answer.
    Unavailable(String),
    /// The lane closed before anything was sent.
    Closed,
    /// This worker loses the partition, and nothing was sent.
    Returned,
    /// The account has other settings since, and nothing was sent with the old ones.
    Replaced,
}

/// The instruction of a [`DeliveryError`]. `core.md` section 2 is this table in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// The event ends in the dead-letter topic with this reason.
    DeadLetter(Reason),
    /// The record goes to the next tier, or at a limit to the dead letters. This counts as an attempt.
    Retry,
    /// The claim is marked `unknown`; then the same as `Retry`.
    MarkThenRetry,
    /// The record goes back to the head of the lane, or is parked if the wait is long. This is no attempt.
    Throttle,
    /// The account halts, and the record is parked. This is no attempt.
    Halt,
    /// The record is parked, or held if it was read from a parking topic. This is no attempt.
    Park,
    /// The record goes to the lease tier. This is no attempt.
    LeaseTier,
    /// The record stays unfinished and is tried again in place.
    Hold,
    /// The record is given back unfinished.
    Return,
    /// The record goes back to the head of its lane and begins anew. This is no attempt.
    Again,
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
            // Without tokens there is nothing to refresh. With tokens the token cache has already tried.
            DeliveryError::Refresh(_) | DeliveryError::Halt(_) => Disposition::Halt,
            DeliveryError::Closed => Disposition::Park,
            DeliveryError::Held { .. } | DeliveryError::Later { .. } => Disposition::LeaseTier,
            DeliveryError::Unavailable(_) => Disposition::Hold,
            DeliveryError::Returned => Disposition::Return,
            DeliveryError::Replaced => Disposition::Again,
        }
    }

    /// The attempt class; `None`: no attempt was made.
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
            | DeliveryError::Returned
            | DeliveryError::Replaced => None,
        }
    }

    /// The answer of the platform; `None`: no attempt was made.
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

    pub fn answer_mut(&mut self) -> Option<&mut Answer> {
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

    /// The field and the text; `None`: the event may have been sent.
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

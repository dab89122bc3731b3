//! The closed lists of the contract: reasons, classes, outcomes. Their names are used in labels, headers and receipts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Dead-letter reasons: the closed list of the header `pb-reason` and of the label `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The bytes are not an event object.
    Malformed,
    /// The event breaks a rule of the envelope or of the platform; the field says which.
    Invalid,
    /// The event has no native code on its platform.
    UnmappedEvent,
    /// The platform or the account is unknown, mismatched or disabled.
    UnknownAccount,
    /// The same identity was seen with another order, amount, refund or currency.
    Conflict,
    /// The platform refused the event for good.
    Rejected,
    /// The event is too old, or is past its deadline, its natural day or its time of retrying.
    Expired,
    /// The allowed number of attempts is used up.
    AttemptsExhausted,
    /// The platform may have accepted the event, and nothing can tell.
    UnknownOutcome,
    /// The record has a header that cannot be read.
    Quarantined,
}

impl Reason {
    /// Every reason, in the order of the contract.
    pub const ALL: [Reason; 10] = [
        Reason::Malformed,
        Reason::Invalid,
        Reason::UnmappedEvent,
        Reason::UnknownAccount,
        Reason::Conflict,
        Reason::Rejected,
        Reason::Expired,
        Reason::AttemptsExhausted,
        Reason::UnknownOutcome,
        Reason::Quarantined,
    ];

    /// The name in headers, receipts, metrics and output.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Malformed => "malformed",
            Reason::Invalid => "invalid",
            Reason::UnmappedEvent => "unmapped_event",
            Reason::UnknownAccount => "unknown_account",
            Reason::Conflict => "conflict",
            Reason::Rejected => "rejected",
            Reason::Expired => "expired",
            Reason::AttemptsExhausted => "attempts_exhausted",
            Reason::UnknownOutcome => "unknown_outcome",
            Reason::Quarantined => "quarantined",
        }
    }
}

/// Attempt classes: the label `class` and the header `pb-last-error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The platform accepted the event, or had already received it.
    Delivered,
    /// The attempt clearly failed and may succeed later.
    Retry,
    /// The platform asks for fewer requests.
    Throttled,
    /// The token has expired.
    Refresh,
    /// Credentials, signature or permission are refused: no event of this account can succeed now.
    Halt,
    /// The platform refused the event for good.
    Permanent,
    /// Bytes went out, and no usable answer came.
    Ambiguous,
}

impl Class {
    /// Every class, in the order of the contract.
    pub const ALL: [Class; 7] = [
        Class::Delivered,
        Class::Retry,
        Class::Throttled,
        Class::Refresh,
        Class::Halt,
        Class::Permanent,
        Class::Ambiguous,
    ];

    /// The name in headers, metrics and output.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Delivered => "delivered",
            Class::Retry => "retry",
            Class::Throttled => "throttled",
            Class::Refresh => "refresh",
            Class::Halt => "halt",
            Class::Permanent => "permanent",
            Class::Ambiguous => "ambiguous",
        }
    }
}

/// How an event ended. A hand-off to a tier or to a parking topic is not an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The platform accepted the event.
    Delivered,
    /// The platform accepted the same identity before.
    Duplicate,
    /// The event was not sent because the user opted out.
    Suppressed,
    /// The event is in the dead-letter topic.
    DeadLettered,
}

impl Outcome {
    /// Every outcome, in the order of the contract.
    pub const ALL: [Outcome; 4] = [Outcome::Delivered, Outcome::Duplicate, Outcome::Suppressed, Outcome::DeadLettered];

    /// The name in receipts, metrics and output.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Delivered => "delivered",
            Outcome::Duplicate => "duplicate",
            Outcome::Suppressed => "suppressed",
            Outcome::DeadLettered => "dead_lettered",
        }
    }
}

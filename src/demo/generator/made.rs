//! An event of the generator, and what must become of it.

use serde_json::Value;

/// What must become of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    Fresh,
    /// A copy of an earlier one: one of the two is delivered, the other ends as `duplicate`.
    Duplicate,
    /// The same identity with another amount: one of the two is delivered, the other ends as `conflict`.
    Conflict,
    OptOut,
    /// Dead letter `invalid`.
    Invalid,
    /// Dead letter `expired`: older than the worker takes.
    Expired,
    /// Dead letter `malformed`.
    Malformed,
    /// Dead letter `unmapped_event`.
    Unmapped,
    /// Dead letter `unknown_account`.
    UnknownAccount,
}

/// One event, ready to be published.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// Index into [`PROFILES`](super::PROFILES), where the record can be told to belong to one of them.
    pub account: Option<usize>,
    /// `platform:account:` and the order, else the trans_id.
    pub key: Option<String>,
    /// The bytes; `None` is a record without a value.
    pub value: Option<Vec<u8>>,
    /// What must become of it.
    pub fate: Fate,
}

impl Made {
    pub(super) fn of(account: usize, event: &Value, fate: Fate) -> Self {
        Self { account: Some(account), key: key(event), value: Some(event.to_string().into_bytes()), fate }
    }
}

/// As `postback send` keys its events.
pub(super) fn key(event: &Value) -> Option<String> {
    let last = event["order"]["order_id"].as_str().or(event["trans_id"].as_str())?;
    Some(format!("{}:{}:{last}", event["platform"].as_str()?, event["account"].as_str()?))
}

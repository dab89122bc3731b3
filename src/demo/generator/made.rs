//! An event of the generator, and its expected end.

use serde_json::Value;

/// The expected end of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    Fresh,
    /// A copy of an earlier event: one of the two is delivered, the other ends as `duplicate`.
    Duplicate,
    /// The identity of an earlier event with another amount: one of the two is delivered, the other ends as `conflict`.
    Conflict,
    OptOut,
    /// The event ends as dead letter `invalid`.
    Invalid,
    /// The event is older than the worker accepts and ends as dead letter `expired`.
    Expired,
    /// The event ends as dead letter `malformed`.
    Malformed,
    /// The event ends as dead letter `unmapped_event`.
    Unmapped,
    /// The event ends as dead letter `unknown_account`.
    UnknownAccount,
}

/// One event, ready to be published.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// Index into [`PROFILES`](super::PROFILES); `None`: the record names none of these accounts.
    pub account: Option<usize>,
    /// `platform:account:` and the order id, or the trans_id without an order.
    pub key: Option<String>,
    /// The bytes of the record; `None`: the record has no value.
    pub value: Option<Vec<u8>>,
    /// The expected end.
    pub fate: Fate,
}

impl Made {
    pub(super) fn of(account: usize, event: &Value, fate: Fate) -> Self {
        Self { account: Some(account), key: key(event), value: Some(event.to_string().into_bytes()), fate }
    }
}

/// Makes the same key as `postback send`.
pub(super) fn key(event: &Value) -> Option<String> {
    let last = event["order"]["order_id"].as_str().or(event["trans_id"].as_str())?;
    Some(format!("{}:{}:{last}", event["platform"].as_str()?, event["account"].as_str()?))
}

//! `[calls.NAME]`: a request whose answer is published.

use serde::Deserialize;

use super::parts::{Answer, Check, RequestPart};
use super::values::{Ordered, Shape, Template};
use crate::platforms::call::PersonalKind;

/// One call: one request, one result.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct CallPart {
    /// Whoever writes the file vouches that the request changes nothing: a call is made again if its answer does not
    /// come.
    pub reads_only: bool,
    /// Every member that `args` of an event may have, with the expression that says when it must be there. Empty:
    /// never.
    pub args: Ordered<String>,
    /// As `[check]`; judged after `args`.
    pub check: Ordered<Check>,
    pub request: RequestPart,
    /// What its answers mean. Absent: `[answer]` says it.
    pub answer: Option<Answer>,
    /// An expression over the answer: what the platform says in its own words.
    pub message: String,
    /// `data` of the result: its texts are templates over the answer and the event, as those of `json` are. A value
    /// that is undefined makes the answer one that cannot be read, unless its expression can do without it.
    pub result: Option<Shape>,
    /// Where personal data stands in the result (`Traces.*.AcceptStation`), and what it is.
    pub personal: Ordered<PersonalKind>,
    /// Absent: the rate alone limits it.
    pub limit: Option<Limit>,
}

/// A limit beside the rate. Its numbers are templates over the keys of an account.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Limit {
    /// A template over the event: what a call asks about.
    pub about: String,
    /// From one request about it to the next, e.g. `30m`; empty: any time.
    pub interval: Template,
    /// The most requests of an account a day; empty: any number.
    pub per_day: Template,
    /// The zone whose midnight ends the day; empty: UTC.
    pub tz: String,
}

//! The judgement of a fake about one request.

use super::request::Answer;

/// The verdict, and the ids for the ledger.
#[derive(Debug)]
pub struct Judgement {
    /// The index of the account; `None`: the request does not tell it.
    pub account: Option<usize>,
    /// The platform's dedupe key, where it has one.
    pub trans_id: Option<String>,
    /// The platform's own name of the event.
    pub event: Option<String>,
    /// The ids by which a platform without trans_id knows an event: names and values for the ledger.
    pub ids: Vec<(&'static str, Option<String>)>,
    /// An id that stays the same over all attempts of one event. It decides whether a fault with a `share` hits the
    /// event.
    pub id: Option<String>,
    /// Whether it reports conversions. A request for tokens does not: it is written down, and counts as none.
    pub conversion: bool,
    /// The events of a request that can carry several. Empty: the request is one event, and the fields above are about
    /// it.
    pub items: Vec<JudgedItem>,
    /// The answer to a request that passes every check, or the refusal.
    pub verdict: Result<Answer, Refusal>,
}

/// One event of a request that carries several.
#[derive(Debug, Default)]
pub struct JudgedItem {
    /// As in [`Judgement`].
    pub trans_id: Option<String>,
    /// As in [`Judgement`].
    pub event: Option<String>,
    /// As in [`Judgement`].
    pub ids: Vec<(&'static str, Option<String>)>,
    /// As in [`Judgement`].
    pub id: Option<String>,
    /// Why the platform does not take this event, although it takes others of the request.
    pub problem: Option<String>,
}

/// The refusal of a request.
#[derive(Debug)]
pub struct Refusal {
    /// The platform's own answer.
    pub answer: Answer,
    /// The broken rule, for the ledger.
    pub problem: String,
}

//! What a fake makes of one request.

use super::request::Answer;

/// The ids that the ledger needs, and the verdict.
#[derive(Debug)]
pub struct Judgement {
    /// Index of the account; `None`: it cannot be told.
    pub account: Option<usize>,
    /// The platform's dedupe key, where it has one.
    pub trans_id: Option<String>,
    /// Native event.
    pub event: Option<String>,
    /// What the platform knows an event by where it has no trans_id: names and values for the ledger.
    pub ids: Vec<(&'static str, Option<String>)>,
    /// What stays the same on each attempt of one event; a fault's share is drawn by it.
    pub id: Option<String>,
    /// The answer to a request that passes every check, or why it does not.
    pub verdict: Result<Answer, Refusal>,
}

/// A request that is not taken.
#[derive(Debug)]
pub struct Refusal {
    /// The platform's own answer.
    pub answer: Answer,
    /// For the ledger: the rule that is broken.
    pub problem: String,
}

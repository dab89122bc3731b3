//! What a fake makes of one request.

use super::request::Answer;

/// The ids that the ledger needs, and the verdict.
#[derive(Debug)]
pub(super) struct Judgement {
    /// Index of the account; `None`: it cannot be told.
    pub(super) account: Option<usize>,
    pub(super) trans_id: Option<String>,
    pub(super) event: Option<String>,
    /// What the platform knows an event by where it has no trans_id: names and values for the ledger.
    pub(super) ids: Vec<(&'static str, Option<String>)>,
    /// What stays the same on each attempt of one event; a fault's share is drawn by it.
    pub(super) id: Option<String>,
    /// The answer to a request that passes every check, or why it does not.
    pub(super) verdict: Result<Answer, Refusal>,
}

/// A request that is not taken.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The platform's own answer.
    pub(super) answer: Answer,
    /// For the ledger: the rule that is broken.
    pub(super) problem: String,
}

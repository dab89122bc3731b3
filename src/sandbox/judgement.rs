//! What a fake platform makes of one request.

use super::http::Response;
use super::ledger::BaizhuIds;

/// The ids the ledger needs, and the verdict.
#[derive(Debug)]
pub(super) struct Judgement {
    /// Index of the account; `None`: it cannot be told.
    pub(super) account: Option<usize>,
    pub(super) trans_id: Option<String>,
    pub(super) event: Option<String>,
    pub(super) baizhu: Option<BaizhuIds>,
    /// What stays the same on each attempt of one event; a fault's share is drawn by it.
    pub(super) id: Option<String>,
    /// The answer to a request that passes every check, or why it does not.
    pub(super) verdict: Result<Response, Refusal>,
}

/// A request that is not taken.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The platform's own answer.
    pub(super) response: Response,
    /// For the ledger: the rule that is broken.
    pub(super) problem: String,
}

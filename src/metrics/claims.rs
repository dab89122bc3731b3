//! The results of claims, as the label `result` shows them.

/// The result of one claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimResult {
    /// No claim: the key is now ours.
    Fresh,
    /// A stale claim or a doubtful outcome, which we took over.
    TakenOver,
    /// A confirmed delivery.
    Done,
    /// Another copy that is being sent.
    Held,
    /// The same identity with another order, amount, refund or currency.
    Conflict,
    /// No answer of Redis, or a Redis that lost its data.
    Unavailable,
}

impl ClaimResult {
    /// Every result, in the order of the contract.
    pub const ALL: [ClaimResult; 6] = [
        ClaimResult::Fresh,
        ClaimResult::TakenOver,
        ClaimResult::Done,
        ClaimResult::Held,
        ClaimResult::Conflict,
        ClaimResult::Unavailable,
    ];

    /// The value of the label `result`.
    pub fn as_str(self) -> &'static str {
        match self {
            ClaimResult::Fresh => "fresh",
            ClaimResult::TakenOver => "taken_over",
            ClaimResult::Done => "done",
            ClaimResult::Held => "held",
            ClaimResult::Conflict => "conflict",
            ClaimResult::Unavailable => "unavailable",
        }
    }
}

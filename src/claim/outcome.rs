//! What came of a claim, and the outcomes in which nothing is claimed.

use crate::claim::in_flight_keys::InFlightKey;
use crate::claim::rules::{Claim, ClaimRequest, Judgement};

pub enum ClaimOutcome {
    /// The claim was made: this process sends the conversion.
    Claim(ClaimGuard),
    /// An earlier send was accepted.
    Duplicate {
        /// The number of re-sends that its receipt states.
        resends: u32,
        /// It was a send of the same lineage.
        is_own: bool,
    },
    /// The same identity with other amounts.
    Conflict,
    /// Another copy is being sent, or another lineage sent it and got no answer.
    Busy {
        /// Another lineage sent it and got no answer, so its outcome will never be known.
        unknown: bool,
    },
    /// The key holds what no worker wrote. Nothing is sent, and the value stays.
    Foreign,
}

/// A claim. While it lives, every other copy in this process waits.
pub struct ClaimGuard {
    pub claim: Claim,
    pub(super) _turn: InFlightKey,
}

/// The outcome of a verdict that claims nothing.
pub(super) fn settled(verdict: Judgement, claim_request: &mut ClaimRequest) -> ClaimOutcome {
    match verdict {
        Judgement::Conflict { possible_duplicate } => {
            if possible_duplicate {
                claim_request.count_possible(0);
            }
            ClaimOutcome::Conflict
        }
        Judgement::Duplicate { possible_duplicate, own_lineage } => {
            if possible_duplicate {
                claim_request.count_possible(0);
            }
            let resends = claim_request.own.max(own_lineage.unwrap_or(0));
            ClaimOutcome::Duplicate { resends, is_own: own_lineage.is_some() }
        }
        Judgement::Held => ClaimOutcome::Busy { unknown: true },
        Judgement::Fresh | Judgement::OwnToken | Judgement::TakeOver | Judgement::TakeOverIfStale => {
            // A remembered `done` cannot lead here. `Busy` is the outcome that sends nothing.
            ClaimOutcome::Busy { unknown: false }
        }
    }
}

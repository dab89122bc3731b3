//! How a claim was answered, and the answers that hold nothing.

use crate::claim::in_flight_keys::InFlightKey;
use crate::claim::rules::{Claim, ClaimRequest, Judgement};

/// How a claim was answered.
pub enum ClaimOutcome {
    /// The conversion is ours to send.
    Claim(Held),
    /// Accepted before.
    Duplicate {
        /// What its receipt says.
        resends: u32,
    },
    /// The same identity with other money.
    Conflict,
    /// Another copy is being sent, or was sent by another lineage with an unknown end.
    Busy {
        /// It is the latter: nobody will ever know.
        unknown: bool,
    },
}

/// A claim, and the promise that no other copy in this process goes on before it ends.
pub struct Held {
    pub claim: Claim,
    pub(super) _turn: InFlightKey,
}

/// The answer where nothing is claimed.
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
            ClaimOutcome::Duplicate { resends: claim_request.own.max(own_lineage.unwrap_or(0)) }
        }
        Judgement::Held => ClaimOutcome::Busy { unknown: true },
        Judgement::Fresh | Judgement::OwnToken | Judgement::TakeOver | Judgement::TakeOverIfStale => {
            // Not reachable from a remembered `done`; held is the answer that sends nothing.
            ClaimOutcome::Busy { unknown: false }
        }
    }
}

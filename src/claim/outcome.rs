//! How a claim was answered, and the answers that hold nothing.

use crate::claim::in_flight_keys::Turn;
use crate::claim::rules::{Applicant, Claim, Judgement};

/// How a claim was answered.
pub enum Granted {
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
    /// The claim.
    pub claim: Claim,
    pub(super) _turn: Turn,
}

/// The answer where nothing is claimed.
pub(super) fn settled(verdict: Judgement, applicant: &mut Applicant) -> Granted {
    match verdict {
        Judgement::Conflict { possible_duplicate } => {
            if possible_duplicate {
                applicant.count_possible(0);
            }
            Granted::Conflict
        }
        Judgement::Duplicate { possible_duplicate, own_lineage } => {
            if possible_duplicate {
                applicant.count_possible(0);
            }
            Granted::Duplicate { resends: applicant.own.max(own_lineage.unwrap_or(0)) }
        }
        Judgement::Held => Granted::Busy { unknown: true },
        Judgement::Fresh | Judgement::OwnToken | Judgement::TakeOver | Judgement::TakeOverIfStale => {
            // Not reachable from a remembered `done`; held is the answer that sends nothing.
            Granted::Busy { unknown: false }
        }
    }
}

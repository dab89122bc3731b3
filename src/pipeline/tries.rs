//! A claim or a confirm over all its tries: what has to be remembered where a reply is lost.

use tokio::time::Instant;

use crate::pipeline::claim::{Applicant, Replaced, Token};

/// One claim over all its tries: a claim whose reply was lost is repeated with the same token.
pub struct ClaimTry {
    pub(super) token: Token,
    pub(super) since: Instant,
    /// A take-over that went out; whether it was carried out shows when our own token is found.
    pub(super) taking_over: Option<TakingOver>,
    /// A command went out: it may have been carried out although no reply came.
    pub(super) sent: bool,
}

pub(super) struct TakingOver {
    pub(super) old: Vec<u8>,
    pub(super) stale: bool,
    pub(super) own: u32,
}

impl ClaimTry {
    /// What its claim would have replaced, had it been made.
    pub(super) fn replaced(&self) -> Replaced {
        match &self.taking_over {
            Some(TakingOver { old, stale: true, .. }) => Replaced::Stale(old.clone()),
            Some(TakingOver { old, .. }) => Replaced::Unknown(old.clone()),
            None => Replaced::Nothing,
        }
    }
}

/// One confirm over all its tries.
pub struct ConfirmTry {
    pub(super) changes: u64,
    /// Replication id as known before the first try.
    pub(super) primary: String,
    /// The count that the first try wrote; none: no try yet.
    pub(super) first: Option<u32>,
    pub(super) counted: bool,
}

impl Default for ClaimTry {
    fn default() -> Self {
        Self { token: Token::random(), since: Instant::now(), taking_over: None, sent: false }
    }
}

impl ConfirmTry {
    /// The first try; `changes`: how often the primary has changed before it, `primary`: its replication id.
    pub(super) fn new(changes: u64, primary: String) -> Self {
        Self { changes, primary, first: None, counted: false }
    }
}

impl TakingOver {
    pub(super) fn succeeded(self, applicant: &mut Applicant) -> (bool, Replaced) {
        applicant.own = applicant.own.max(self.own);
        (true, if self.stale { Replaced::Stale(self.old) } else { Replaced::Unknown(self.old) })
    }
}

//! A claim or a confirm over all its tries: what has to be remembered if a reply is lost.

use ::redis::Value as Reply;
use tokio::time::Instant;

use crate::claim::rules::{ClaimRequest, Replaced, Spare, Token, Value};

/// One claim over all its tries. If its reply is lost, it is repeated with the same token.
pub struct ClaimAttempt {
    pub(crate) token: Token,
    pub(crate) since: Instant,
    /// A take-over that was sent. If a later try finds our own token, it was carried out.
    pub(crate) taking_over: Option<TakingOver>,
    /// A command was sent. It may have been carried out although no reply came.
    pub(crate) sent: bool,
}

pub(crate) struct TakingOver {
    old: Vec<u8>,
    stale: bool,
    own: u32,
    covered: bool,
}

impl ClaimAttempt {
    /// What the claim replaced, if it was made.
    pub(crate) fn replaced(&self) -> Replaced {
        self.taking_over.as_ref().map_or(Replaced::Nothing, TakingOver::replaced)
    }
}

/// One confirm over all its tries.
#[derive(Default)]
pub struct ConfirmAttempt {
    /// The count that the first try wrote. `None`: there was no try yet.
    pub(crate) first: Option<u32>,
    /// Whether the value that an earlier try may have replaced on another primary is counted already.
    pub(crate) counted: bool,
}

impl Default for ClaimAttempt {
    fn default() -> Self {
        Self { token: Token::random(), since: Instant::now(), taking_over: None, sent: false }
    }
}

impl TakingOver {
    /// A take-over of the value `old`; `found` is `old`, parsed.
    pub(crate) fn new(claim_request: &ClaimRequest, old: Vec<u8>, found: Option<&Value>, stale: bool) -> Self {
        let own = claim_request.own.max(found.map_or(0, Value::resends));
        Self { old, stale, own, covered: claim_request.is_covered(found) }
    }

    /// Adds the sends that the take-over has found to the request. They count even if the take-over was not carried
    /// out.
    pub(crate) fn tell(&self, claim_request: &mut ClaimRequest) {
        claim_request.own = claim_request.own.max(self.own);
        if !self.covered {
            claim_request.spare = Spare::None;
        }
    }

    pub(crate) fn succeeded(&self, claim_request: &mut ClaimRequest) -> Won {
        self.tell(claim_request);
        Won { resend: true, declared: self.covered, replaced: self.replaced() }
    }

    fn replaced(&self) -> Replaced {
        let old = self.old.clone();
        if self.stale { Replaced::Stale(old) } else { Replaced::Unknown(old) }
    }
}

/// A claim that was made.
pub(crate) struct Won {
    pub(crate) resend: bool,
    /// Whether an earlier send, which was refused, has declared this one too.
    pub(crate) declared: bool,
    pub(crate) replaced: Replaced,
}

impl Won {
    /// The key was absent.
    pub(crate) fn fresh(claim_request: &ClaimRequest) -> Self {
        let resend = claim_request.in_doubt;
        Self { resend, declared: resend && claim_request.is_covered(None), replaced: Replaced::Nothing }
    }
}

/// The result of a take-over.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Took {
    /// The key is ours, by this command or by an earlier one that was carried out although its reply was lost.
    Ours,
    /// The claim is younger than the lease.
    TooYoung,
    /// Another process changed the key in between.
    Changed,
}

impl Took {
    pub(crate) fn by(reply: &Reply, token: Token) -> Self {
        match reply {
            Reply::Int(1) => Took::Ours,
            Reply::Int(_) => Took::TooYoung,
            Reply::BulkString(value) if value.starts_with(token.holder().as_bytes()) => Took::Ours,
            _ => Took::Changed,
        }
    }
}

//! What Redis can know of a conversion, and what each state means for the one that finds it (pure).
//!
//! `core.md` section 3 is the source of every rule here. The rules were found by a search of all states of the
//! protocol, and each one is needed. The I/O is in `claim`.

use std::sync::Arc;

use sha2::{Digest, Sha256};

pub use crate::claim::value::{Done, MAX_DONE_RESENDS, Token, Value};

/// How long the key of a claim lives: longer than every way in which the record can come back. The age of a claim is
/// this value less the remaining time that Redis reports.
pub const CLAIM_LIFE_MS: u64 = 30 * 24 * 3600 * 1000;

/// Identity of a conversion: platform, account, native event and trans_id, as 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(pub [u8; 16]);

impl Key {
    /// The first 16 bytes of SHA-256 over the four parts, each preceded by its length, bytes as given.
    pub fn new(platform: &str, account: &str, native: &str, trans_id: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [platform, account, native, trans_id] {
            hash.update((part.len() as u32).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let digest = hash.finalize();
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        Self(key)
    }

    /// Its name in Redis: the prefix, a colon and the 16 bytes.
    pub fn name(self, prefix: &str) -> Vec<u8> {
        [prefix.as_bytes(), b":", &self.0].concat()
    }

    /// The name for people: the 16 bytes are hexadecimal digits.
    pub fn shown(self, prefix: &str) -> String {
        let digits: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{prefix}:{digits}")
    }
}

/// What a record states when it claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRequest {
    /// Identity of the conversion.
    pub key: Key,
    /// The lineage of the record: `topic:partition:offset` of its `pb-origin-*` headers.
    pub origin: Box<str>,
    /// 40 bits over order, amount, refund and currency.
    pub fingerprint: u64,
    /// The number of declared re-sends that this record knows of.
    pub own: u32,
    /// It may have been accepted, even if Redis has forgotten it.
    pub in_doubt: bool,
    /// Whether a declared send that was refused covers the next one.
    pub spare: Spare,
    /// The operator replayed it with `--force`.
    pub force: bool,
    /// The sends that were found to be possible duplicates. `own` counts them already; the metric still has to.
    pub possible: u32,
}

/// A declared send that the platform clearly refused. It was no second delivery, so its declaration, the last one that
/// `own` counts, is spare: it covers the next send. So one take-over is declared once, however often it is tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Spare {
    /// Nothing was declared, or the declared send may have been accepted.
    #[default]
    None,
    /// From an earlier visit, according to the headers. The value in Redis decides whether it still covers a send.
    Earlier,
    /// From this visit, with the value that its release put back (`None`: nothing). If Redis holds exactly that value,
    /// nobody has sent in between.
    Here(Option<Box<Value>>),
    /// From this visit, sent while Redis was away, so that nothing was put back. It covers another send without a
    /// claim. For a send with a claim it counts like `Earlier`.
    Unclaimed,
}

impl ClaimRequest {
    /// Whether a declared send that was refused covers the send of a claim that finds `found`. A value whose count is
    /// as high as ours was written after that send, so it is not covered.
    pub fn is_covered(&self, found: Option<&Value>) -> bool {
        match (&self.spare, found) {
            (
                Spare::Earlier | Spare::Unclaimed,
                Some(Value::Claimed { origin, resends, .. } | Value::Unknown { origin, resends, .. }),
            ) => **origin == *self.origin && self.own > *resends,
            (Spare::Here(back), found) => back.as_deref() == found && self.own > found.map_or(0, Value::resends),
            (Spare::None | Spare::Earlier | Spare::Unclaimed, _) => false,
        }
    }

    /// Counts one possible duplicate. `found` is the count of the value that was found.
    pub fn count_possible(&mut self, found: u32) {
        self.own = self.own.max(found).saturating_add(1);
        self.possible += 1;
    }

    /// The value of a claim. A take-over or a claim in doubt is a re-send and counts one more.
    pub fn claimed(&self, token: Token, resend: bool) -> String {
        self.claimed_as(token, if resend { self.own.saturating_add(1) } else { 0 })
    }

    /// The value of a claim on an absent key.
    pub fn claiming(&self, token: Token) -> String {
        if self.in_doubt { self.taking_over(token, None) } else { self.claimed(token, false) }
    }

    /// The value of a claim that replaces `found`, as a re-send.
    pub fn taking_over(&self, token: Token, found: Option<&Value>) -> String {
        let own = self.own.max(found.map_or(0, Value::resends));
        self.claimed_as(token, if self.is_covered(found) { own } else { own.saturating_add(1) })
    }

    fn claimed_as(&self, token: Token, count: u32) -> String {
        format!("c|{token}|{}|{:010x}|{count}", self.origin, self.fingerprint)
    }

    /// The value that says: sent, no answer.
    pub fn unknown(&self) -> String {
        format!("u|{}|{:010x}|{}", self.origin, self.fingerprint, self.own)
    }
}

impl Done {
    /// The value that confirms the send of this request under `token`.
    pub fn new(claim_request: &ClaimRequest, token: Token) -> Self {
        let ClaimRequest { fingerprint, own, origin, .. } = claim_request;
        Self::of(*fingerprint, *own, token, origin)
    }
}

/// What a claim has to do after it found a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The key was absent: it is ours.
    Fresh,
    /// The key is ours by an earlier try with the same token, whose reply was lost.
    OwnToken,
    /// Take it over if it is older than the lease, else it is held. Only Redis knows its age.
    TakeOverIfStale,
    /// Take it over, whatever its age.
    TakeOver,
    /// Another lineage sent it and got no answer.
    Held,
    /// The same identity with other amounts.
    Conflict {
        /// The record was in doubt: its own send may have been accepted as well.
        possible_duplicate: bool,
    },
    /// An earlier send was accepted.
    Duplicate {
        /// The record was in doubt, and the value does not prove that its own send is the accepted one.
        possible_duplicate: bool,
        /// The count of re-sends in the value, if it is of the record's own lineage.
        own_lineage: Option<u32>,
    },
}

/// Judges the value that `SET … NX GET` found.
pub fn judge(found: Option<&Value>, token: Token, claim_request: &ClaimRequest) -> Judgement {
    match found {
        None => Judgement::Fresh,
        Some(Value::Claimed { token: holder, .. }) if *holder == token.to_string() => Judgement::OwnToken,
        Some(Value::Claimed { .. }) => Judgement::TakeOverIfStale,
        Some(Value::Unknown { fingerprint, .. }) if *fingerprint != claim_request.fingerprint => {
            Judgement::Conflict { possible_duplicate: claim_request.in_doubt }
        }
        Some(Value::Unknown { origin, .. }) => {
            if claim_request.force || **origin == *claim_request.origin {
                Judgement::TakeOver
            } else {
                Judgement::Held
            }
        }
        Some(Value::Done(done)) if done.fingerprint() != claim_request.fingerprint => {
            Judgement::Conflict { possible_duplicate: claim_request.in_doubt }
        }
        Some(Value::Done(done)) => {
            let own_lineage = done.is_of_origin(&claim_request.origin);
            let declared = own_lineage && done.resends() >= claim_request.own.clamp(1, MAX_DONE_RESENDS);
            Judgement::Duplicate {
                possible_duplicate: claim_request.in_doubt && !declared,
                own_lineage: own_lineage.then(|| done.resends()),
            }
        }
        Some(Value::Foreign) => Judgement::Held,
    }
}

/// Judges the value that our confirm replaced. `None`: it was our claim or our own earlier try. Else it was another
/// value, or none, which is one possible duplicate; then it returns the count of that value. `first` is the count that
/// the earliest try of this confirm wrote, if there was one. It is needed because a `done` holds only a few bits of the
/// token, so that another claim's may look like ours.
pub fn judge_confirm(
    old: Option<&Value>,
    token: Token,
    claim_request: &ClaimRequest,
    first: Option<u32>,
) -> Option<u32> {
    let written = |done: &Done| {
        let capped = |count: u32| count.min(MAX_DONE_RESENDS);
        first.is_some_and(|first| (capped(first)..=capped(claim_request.own)).contains(&done.resends()))
    };
    match old {
        Some(Value::Claimed { token: holder, .. }) if *holder == token.to_string() => None,
        Some(Value::Done(done))
            if written(done)
                && done.is_of_token(token)
                && done.is_of_origin(&claim_request.origin)
                && done.fingerprint() == claim_request.fingerprint =>
        {
            None
        }
        Some(other) => Some(other.resends()),
        None => Some(0),
    }
}

/// What a claim replaced. It is put back after a try that clearly failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// Nothing: a release deletes the key.
    Nothing,
    /// A stale claim. A release puts it back so that it is stale at once.
    Stale(Vec<u8>),
    Unknown(Vec<u8>),
}

impl Replaced {
    /// The value that a release puts back.
    pub fn back(&self) -> Option<Value> {
        match self {
            Replaced::Nothing => None,
            Replaced::Stale(old) | Replaced::Unknown(old) => Some(Value::parse(old)),
        }
    }
}

/// The primary, as this process knew it at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Primary {
    /// How many changes of the primary the process had noticed.
    pub changes: u64,
    /// The replication id that the last check returned; empty before the first check.
    pub id: Arc<str>,
}

/// A claim that this process holds.
#[derive(Clone, Debug)]
pub struct Claim {
    pub token: Token,
    /// Its send is a re-send, which is declared once, when the first byte goes out.
    pub resend: bool,
    /// Its send has been declared, or an earlier send that covers it has.
    pub declared: bool,
    pub replaced: Replaced,
    /// When the lease began, by our own clock. It is taken before the command goes out.
    pub since: tokio::time::Instant,
    /// Redis was away and the account delivers without it: Redis holds nothing of this claim.
    pub unclaimed: bool,
    /// The key may hold a claim with this token all the same, because the reply to an earlier try was lost.
    pub may_stand: bool,
    /// The primary before the claim was made. A confirm may find another one.
    pub primary: Primary,
}

impl Claim {
    /// Records that the first byte of its send went out. `true` if that has to be counted as a re-send, which happens
    /// once per claim.
    pub fn declare(&mut self) -> bool {
        self.resend && !std::mem::replace(&mut self.declared, true)
    }

    /// Whether its send would be a second one, as far as is known. A send without a claim is always declared, but it is
    /// a second one only if the record was in doubt, or if the claim that could not be made has found an earlier send.
    pub fn is_second(&self, in_doubt: bool) -> bool {
        self.resend && (!self.unclaimed || in_doubt || self.taken_over())
    }

    /// Whether an earlier send of this conversion may have been accepted.
    pub fn taken_over(&self) -> bool {
        self.replaced != Replaced::Nothing
    }
}

#[cfg(test)]
mod tests;

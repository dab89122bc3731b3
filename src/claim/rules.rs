//! What Redis knows of one conversion, and what each state means for who finds it (pure).
//!
//! `core.md` section 3 is the source of every rule here; the rules were found by searching all states of the protocol,
//! so each one is needed. The I/O is in `claim`.

use std::sync::Arc;

use sha2::{Digest, Sha256};

pub use crate::claim::value::{Done, MAX_DONE_RESENDS, Token, Value};

/// How long a claim's key lives; its age is this less what Redis still gives it. Longer than every way back.
pub const CLAIM_LIFE_MS: u64 = 30 * 24 * 3600 * 1000;

/// Identity of a conversion: platform, account, native event and trans_id, as 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(pub [u8; 16]);

impl Key {
    /// First 16 bytes of SHA-256 over the four parts, each with its length before it, bytes as given.
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

    /// The same for people: the bytes as hexadecimal digits.
    pub fn shown(self, prefix: &str) -> String {
        let digits: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{prefix}:{digits}")
    }
}

/// What a record brings to its claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRequest {
    /// Identity of the conversion.
    pub key: Key,
    /// The lineage as `topic:partition:offset` of `pb-origin-*`.
    pub origin: Box<str>,
    /// 40 bits over order, amount, refund and currency.
    pub fingerprint: u64,
    /// Declared re-sends so far, as this record knows them.
    pub own: u32,
    /// It may have been accepted even where Redis has forgotten.
    pub in_doubt: bool,
    /// Whether a declared send that was refused covers the next one.
    pub spare: Spare,
    /// An operator's `--force`.
    pub force: bool,
    /// Sends found to be possible second ones, counted in `own` already; the counter takes them.
    pub possible: u32,
}

/// A declared send that the platform refused clearly was no second one. It is as if it had not been made, so that its
/// declaration, the last one in `own`, covers the next send: one take-over is declared once, however often it is tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Spare {
    /// None: nothing was declared, or what was declared may have been accepted.
    #[default]
    None,
    /// An earlier visit's, as the headers tell; only what stands in Redis tells whether it still covers.
    Earlier,
    /// Of this visit, and what its release put back (`None`: nothing). Only where exactly that is found has nobody sent in
    /// between.
    Here(Option<Box<Value>>),
    /// Of this visit, sent while Redis was away: nothing was put back. It covers a send that is made so too; what a claim
    /// finds is judged as an earlier visit's.
    Unclaimed,
}

impl ClaimRequest {
    /// Whether a declared send that was refused covers the send of a claim that finds this. What counts as much as we do was
    /// written after it.
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

    /// Counts one possible duplicate, beside a value that counts `found`.
    pub fn count_possible(&mut self, found: u32) {
        self.own = self.own.max(found).saturating_add(1);
        self.possible += 1;
    }

    /// The value that claims. A take-over or a claim in doubt is a re-send, which counts one more.
    pub fn claimed(&self, token: Token, resend: bool) -> String {
        self.claimed_as(token, if resend { self.own.saturating_add(1) } else { 0 })
    }

    /// The value that claims where nothing stands.
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

/// What a claim that found something must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The key is ours: nothing was there.
    Fresh,
    /// The key is ours by an earlier try with the same token, whose reply was lost.
    OwnToken,
    /// Take it over if it is older than the lease, else `held`. Only Redis knows its age.
    TakeOverIfStale,
    /// Take it over whatever its age.
    TakeOver,
    /// Another copy is being sent, or was sent with an unknown end.
    Held,
    /// The same identity with other money. `possible_duplicate`: found in doubt.
    Conflict {
        /// One more send may have been a second one.
        possible_duplicate: bool,
    },
    /// Accepted before.
    Duplicate {
        /// One more send may have been a second one.
        possible_duplicate: bool,
        /// The count of the value where it is of our own lineage: read again after its own confirm.
        own_lineage: Option<u32>,
    },
}

/// Judges what `SET … NX GET` found.
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

/// Judges what our confirm replaced: `None` where it was our claim or our own earlier try, else the count of what stood
/// there, nil included: one possible duplicate. `first`: the count that the earliest try of this confirm wrote, if there
/// was one; a `done` holds few bits of the token, so that another's may look like ours.
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

/// What our claim replaced, to be put back when the attempt failed clearly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// Nothing: release deletes.
    Nothing,
    /// A stale claim: put back stale.
    Stale(Vec<u8>),
    /// An `unknown`.
    Unknown(Vec<u8>),
}

impl Replaced {
    /// What a release puts back.
    pub fn back(&self) -> Option<Value> {
        match self {
            Replaced::Nothing => None,
            Replaced::Stale(old) | Replaced::Unknown(old) => Some(Value::parse(old)),
        }
    }
}

/// The primary as it was known at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Primary {
    /// How many changes of it this process had noticed.
    pub changes: u64,
    /// Its replication id at the last look; empty: not yet.
    pub id: Arc<str>,
}

/// A claim that this process holds.
#[derive(Clone, Debug)]
pub struct Claim {
    pub token: Token,
    /// Its send, if any, is a second one: declared when the first byte goes out, once.
    pub resend: bool,
    /// The send was declared, or one before it that covers it.
    pub declared: bool,
    pub replaced: Replaced,
    /// Since when the lease runs, on our own clock: taken before the command went out.
    pub since: tokio::time::Instant,
    /// Redis was away and the account delivers all the same: nothing is held there.
    pub unclaimed: bool,
    /// Though unclaimed, a try whose reply was lost may stand there.
    pub may_stand: bool,
    /// As it was before the claim was made: a confirm may find another.
    pub primary: Primary,
}

impl Claim {
    /// The first byte of its send went out. `true` where that has to be counted as a re-send: once per claim.
    pub fn declare(&mut self) -> bool {
        self.resend && !std::mem::replace(&mut self.declared, true)
    }

    /// Whether its send would be a second one as far as is known. An unclaimed one is declared by rule; it is a second one
    /// where the record was in doubt, or where the claim that could not be made has found a send before it.
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

//! Claims, confirms, marks and releases conversions in Redis, rule by rule as in `core.md` section 3.
//!
//! There is one value per runtime thread. All events of an account are on one thread, so two copies of one conversion
//! in this process always meet here. `rules` says what the states of a key mean. This module carries them out up to the
//! send, `after_answer` once the platform has answered.

mod after_answer;
pub(crate) mod claim_attempt;
pub(crate) mod failover;
pub(crate) mod in_flight_keys;
mod outcome;
pub mod recent_claims;
pub mod rules;
pub mod value;

use std::cell::{Cell, RefCell};
use std::time::Duration;

use ::redis::Value as Reply;
use tokio::sync::Mutex;
use tokio::time::Instant;

pub use self::claim_attempt::{ClaimAttempt, ConfirmAttempt};
use self::claim_attempt::{TakingOver, Took, Won};
use crate::claim::in_flight_keys::{InFlightKey, InFlightKeys};
use crate::claim::recent_claims::Recent;
use crate::claim::rules::{
    CLAIM_LIFE_MS, Claim, ClaimRequest, Done, Judgement, Key, Primary, Replaced, Spare, Token, Value, judge,
};
use crate::redis::batcher::{Batcher, StoreError};
use crate::redis::scripts::Script;

use outcome::settled;
pub use outcome::{ClaimGuard, ClaimOutcome};

/// The claims of one runtime thread.
pub struct Dedupe {
    pub(crate) batcher: Batcher,
    prefix: Box<str>,
    pub(crate) window_ms: u64,
    lease: Duration,
    in_flight_keys: InFlightKeys,
    pub(crate) recent: RefCell<Recent>,
    /// How many changes of the primary this process has noticed.
    pub(crate) changes: Cell<u64>,
    pub(crate) rewriting: Mutex<()>,
}

impl Dedupe {
    /// Uses one batcher, and `window` and `lease` as configured.
    pub fn new(batcher: Batcher, prefix: &str, window: Duration, lease: Duration) -> Self {
        Self {
            batcher,
            prefix: prefix.into(),
            window_ms: window.as_millis() as u64,
            lease,
            in_flight_keys: InFlightKeys::default(),
            recent: RefCell::default(),
            changes: Cell::new(0),
            rewriting: Mutex::default(),
        }
    }

    /// How much of the lease is left. A send without a claim in Redis has no lease, so its answer is the whole lease.
    pub fn lease_left(&self, claim: &Claim) -> Duration {
        if claim.unclaimed { Duration::MAX } else { self.lease.saturating_sub(claim.since.elapsed()) }
    }

    /// Claims at the head of the lane. It raises `claim_request.own` to the count that a take-over found, or by a
    /// possible duplicate.
    ///
    /// # Errors
    /// [`StoreError::Forgotten`]: the store was flushed, and what this claim wrote is released. Any other error: claim
    /// again with the same `attempt`.
    pub async fn claim(
        &self,
        claim_request: &mut ClaimRequest,
        attempt: &mut ClaimAttempt,
    ) -> Result<ClaimOutcome, StoreError> {
        let turn = InFlightKey::take(&self.in_flight_keys, claim_request.key).await;
        if let Some(verdict) = self.remembered(claim_request, attempt.token) {
            return Ok(settled(verdict, claim_request));
        }
        let key = self.redis_key(claim_request.key);
        let primary = self.primary();
        attempt.sent = true;
        let won = loop {
            let found = match self.batcher.claim(set_claim(&key, &claim_request.claiming(attempt.token))).await {
                Err(StoreError::Forgotten) => {
                    // Boxed, here and below, because it is seldom needed and larger than the rest of a claim.
                    let _ = Box::pin(self.give_back(&key, attempt.token, &attempt.replaced())).await;
                    return Err(StoreError::Forgotten);
                }
                Err(StoreError::Foreign) => return Ok(ClaimOutcome::Foreign),
                reply => bytes(reply?)?,
            };
            let value = found.as_deref().map(Value::parse);
            if value == Some(Value::Foreign) {
                self.batcher.met_foreign(&key);
                return Ok(ClaimOutcome::Foreign);
            }
            let verdict = judge(value.as_ref(), attempt.token, claim_request);
            match verdict {
                Judgement::Fresh => break Won::fresh(claim_request),
                Judgement::OwnToken => match attempt.taking_over.take() {
                    Some(taken) => break taken.succeeded(claim_request),
                    None => break Won::fresh(claim_request),
                },
                verdict @ (Judgement::TakeOver | Judgement::TakeOverIfStale) => {
                    let (old, stale) = (found.unwrap_or_default(), verdict == Judgement::TakeOverIfStale);
                    let took = Box::pin(self.take_over(claim_request, attempt, &key, (old, stale))).await?;
                    match (took, attempt.taking_over.take()) {
                        (Took::Ours, Some(taken)) => break taken.succeeded(claim_request),
                        (Took::TooYoung, _) => return Ok(ClaimOutcome::Busy { unknown: false }),
                        // Judges the new value.
                        _ => {}
                    }
                }
                verdict => return Ok(settled(verdict, claim_request)),
            }
        };
        let claim = Claim {
            token: attempt.token,
            resend: won.resend,
            declared: won.declared,
            replaced: won.replaced,
            since: attempt.since,
            unclaimed: false,
            may_stand: true,
            primary,
        };
        Ok(ClaimOutcome::Claim(ClaimGuard { claim, _turn: turn }))
    }

    /// Replaces the value `old`, unless it has changed; a `stale` one only if it is as old as the lease.
    async fn take_over(
        &self,
        claim_request: &ClaimRequest,
        attempt: &mut ClaimAttempt,
        key: &[u8],
        (old, stale): (Vec<u8>, bool),
    ) -> Result<Took, StoreError> {
        let found = Value::parse(&old);
        let new = claim_request.taking_over(attempt.token, Some(&found));
        let min_age = if stale { self.lease.as_millis() as i64 } else { -1 };
        let args = [&old[..], new.as_bytes(), &number(CLAIM_LIFE_MS), &number(min_age)];
        attempt.taking_over = Some(TakingOver::new(claim_request, old.clone(), Some(&found), stale));
        match self.batcher.script(Script::TakeOver, key, &args).await {
            Err(StoreError::Foreign) => Ok(Took::Changed),
            reply => Ok(Took::by(&reply?, attempt.token)),
        }
    }

    /// The claim of an account that delivers while Redis is away. Redis holds nothing of it, and the send is declared.
    pub async fn unclaimed(&self, claim_request: &mut ClaimRequest, attempt: &ClaimAttempt) -> ClaimOutcome {
        let turn = InFlightKey::take(&self.in_flight_keys, claim_request.key).await;
        let token = attempt.token;
        if let Some(verdict) = self.remembered(claim_request, token) {
            return settled(verdict, claim_request);
        }
        if let Some(taking_over) = &attempt.taking_over {
            taking_over.tell(claim_request);
        }
        let claim = Claim {
            token,
            resend: true,
            declared: claim_request.spare == Spare::Unclaimed,
            replaced: attempt.replaced(),
            since: Instant::now(),
            unclaimed: true,
            may_stand: attempt.sent,
            primary: self.primary(),
        };
        ClaimOutcome::Claim(ClaimGuard { claim, _turn: turn })
    }

    /// Begins the lease of a claim again, if it is still ours. `false`: it is not, and nothing may be sent under it.
    ///
    /// # Errors
    /// Redis did not answer. The lease goes on as it was.
    pub async fn renew(&self, claim_request: &ClaimRequest, claim: &mut Claim) -> Result<bool, StoreError> {
        if claim.unclaimed {
            return Ok(true);
        }
        // Before the command goes out, so that the lease never seems longer than it is.
        let since = Instant::now();
        let args = [claim.token.holder().into_bytes(), number(CLAIM_LIFE_MS)];
        let args = args.each_ref().map(Vec::as_slice);
        let is_ours = match self.batcher.script(Script::Renew, &self.redis_key(claim_request.key), &args).await {
            Err(StoreError::Foreign) => false,
            reply => reply? == Reply::Int(1),
        };
        if is_ours {
            claim.since = since;
        }
        Ok(is_ours)
    }

    /// Gives up a claim whose reply never came, so that it may or may not have been made. Best effort.
    pub async fn abandon(&self, claim_request: &ClaimRequest, attempt: &ClaimAttempt) {
        let _ = self.give_back(&self.redis_key(claim_request.key), attempt.token, &attempt.replaced()).await;
    }

    /// Releases the claim: puts back what it replaced if the key still holds our token. Best effort: a claim that is
    /// left behind becomes stale.
    pub async fn release(&self, claim_request: &mut ClaimRequest, guard: ClaimGuard) {
        if guard.claim.declared {
            let claim = &guard.claim;
            claim_request.spare =
                if claim.unclaimed { Spare::Unclaimed } else { Spare::Here(claim.replaced.back().map(Box::new)) };
        }
        if guard.claim.may_stand {
            let key = self.redis_key(claim_request.key);
            let _ = self.give_back(&key, guard.claim.token, &guard.claim.replaced).await;
        }
    }

    async fn give_back(&self, key: &[u8], token: Token, replaced: &Replaced) -> Result<Reply, StoreError> {
        let (old, life): (&[u8], u64) = match replaced {
            Replaced::Nothing => (b"", 0),
            // It is stale at once, because its remaining time makes it as old as the lease.
            Replaced::Stale(old) => (old, CLAIM_LIFE_MS - self.lease.as_millis() as u64),
            Replaced::Unknown(old) => (old, self.window_ms),
        };
        self.batcher.script(Script::Release, key, &[token.holder().as_bytes(), old, &number(life)]).await
    }

    /// Judges the claim by the confirm of its key that this process remembers.
    fn remembered(&self, claim_request: &ClaimRequest, token: Token) -> Option<Judgement> {
        let remembered = self.recent.borrow().done(&claim_request.key, self.window_ms).map(Value::Done);
        remembered.as_ref().map(|done| judge(Some(done), token, claim_request))
    }

    fn primary(&self) -> Primary {
        Primary { changes: self.changes.get(), id: self.batcher.known_primary() }
    }

    /// Writes a confirm, whatever the key holds, and returns the value that it replaced.
    pub(crate) async fn write_done(&self, key: &[u8], done: Done) -> Result<Option<Value>, StoreError> {
        let set_done = || {
            let mut cmd = ::redis::Cmd::with_capacity(6, key.len() + "SETPXGET".len() + 2 * DIGITS);
            cmd.arg("SET").arg(key).arg(done.to_int()).arg("PX").arg(self.window_ms);
            cmd
        };
        let mut returning = set_done();
        returning.arg("GET");
        match self.batcher.call(returning).await {
            // Only without GET does SET replace a value of another type. An acceptance is a fact.
            Err(StoreError::Foreign) => self.batcher.call(set_done()).await.map(|_| Some(Value::Foreign)),
            reply => value(reply?),
        }
    }

    pub(crate) fn redis_key(&self, key: Key) -> Vec<u8> {
        key.name(&self.prefix)
    }
}

/// The most digits of a number.
const DIGITS: usize = 20;

/// Has no spare room, because in a burst thousands of claims wait for their turn.
fn set_claim(key: &[u8], value: &str) -> ::redis::Cmd {
    let mut cmd = ::redis::Cmd::with_capacity(7, key.len() + value.len() + "SETPXNXGET".len() + 10);
    cmd.arg("SET").arg(key).arg(value).arg("PX").arg(CLAIM_LIFE_MS).arg("NX").arg("GET");
    cmd
}

fn number(n: impl ToString) -> Vec<u8> {
    n.to_string().into_bytes()
}

pub(crate) fn bytes(reply: Reply) -> Result<Option<Vec<u8>>, StoreError> {
    match reply {
        Reply::Nil => Ok(None),
        Reply::BulkString(bytes) => Ok(Some(bytes)),
        Reply::Int(n) => Ok(Some(number(n))),
        _ => Err(StoreError::Unavailable("gave an answer of another type".into())),
    }
}

/// The value that a command found.
pub(crate) fn value(reply: Reply) -> Result<Option<Value>, StoreError> {
    Ok(bytes(reply)?.as_deref().map(Value::parse))
}

#[cfg(test)]
mod tests;

//! Confirm and mark: what is written to a claim's key after an answer, or when no answer came (`core.md` section 3,
//! "After the answer"). The release is in `claim`, because it puts back what the claim replaced.

use ::redis::Value as Reply;

use crate::claim::claim_attempt::ConfirmAttempt;
use crate::claim::recent_claims::{Mark, Remembered};
use crate::claim::rules::{Claim, ClaimRequest, Done, Primary, Spare, judge_confirm};
use crate::claim::{Dedupe, number};
use crate::redis::batcher::StoreError;
use crate::redis::scripts::Script;

impl Dedupe {
    /// Confirms an acceptance, unconditionally. If it replaces a value that is not ours, that counts one possible
    /// duplicate.
    ///
    /// # Errors
    /// Redis did not answer. The caller repeats the call with the same `attempt` until it works; the record stays
    /// unfinished until then.
    pub async fn confirm(
        &self,
        claim_request: &mut ClaimRequest,
        claim: &Claim,
        account: usize,
        attempt: &mut ConfirmAttempt,
    ) -> Result<(), StoreError> {
        if claim.unclaimed {
            self.remember(claim_request, Remembered::Done(Done::new(claim_request, claim.token)), account, true);
            return Ok(());
        }
        let key = self.redis_key(claim_request.key);
        // The same attempt again: an earlier try's reply was lost.
        let repeated = attempt.first.is_some();
        let mut rewritten = false;
        loop {
            let done = Done::new(claim_request, claim.token);
            let (first, changes) = (attempt.first, self.changes.get());
            attempt.first.get_or_insert(claim_request.own);
            let reply = self.write_done(&key, done).await;
            if reply.as_ref().is_err_and(|error| !error.may_have_run()) {
                attempt.first = first;
            }
            let found = match reply? {
                // The earlier primary lost our value, and nobody has claimed since.
                None if rewritten => None,
                old => judge_confirm(old.as_ref(), claim.token, claim_request, first),
            };
            // Finding our own value may hide that the earlier try replaced another value on another primary.
            // Boxed, because few confirms are repeated.
            let hides = found.is_none()
                && repeated
                && !attempt.counted
                && Box::pin(self.spans_a_change(&claim.primary)).await?;
            match found {
                None if hides => {
                    attempt.counted = true;
                    claim_request.count_possible(0);
                }
                None => {
                    self.remember(claim_request, Remembered::Done(done), account, false);
                    if self.changes.get() == changes {
                        return Ok(());
                    }
                    // The earlier primary may have answered this confirm after the recent values had been written to
                    // the new one without it. So it is written once more.
                    rewritten = true;
                }
                // It is written again with the new count. That write finds our own value.
                Some(count) => claim_request.count_possible(count),
            }
        }
    }

    /// Whether the primary may have changed since `then`. This asks Redis, because the check of each second may not
    /// have noticed the change yet.
    async fn spans_a_change(&self, then: &Primary) -> Result<bool, StoreError> {
        if self.changes.get() != then.changes {
            return Ok(true);
        }
        let now = self.batcher.primary().await?;
        Ok(!then.id.is_empty() && !now.is_empty() && *now != *then.id)
    }

    /// Marks the key `unknown`: the event was sent and no answer came. Nothing may be published before. If the key
    /// holds a value that is not ours, the value stays, and that counts one possible duplicate. Without a claim, only
    /// an absent key is marked.
    ///
    /// # Errors
    /// Redis did not answer. The caller repeats the call until it works.
    pub async fn mark(
        &self,
        claim_request: &mut ClaimRequest,
        claim: Option<&Claim>,
        account: usize,
    ) -> Result<(), StoreError> {
        claim_request.spare = Spare::None;
        let value: Box<str> = claim_request.unknown().into();
        let mark = Remembered::Unknown(Box::new(Mark { value: value.clone(), origin: claim_request.origin.clone() }));
        if claim.is_some_and(|c| c.unclaimed) {
            self.remember(claim_request, mark, account, true);
            return Ok(());
        }
        let holder = claim.map_or_else(String::new, |c| c.token.holder());
        let args = [holder.as_bytes(), value.as_bytes(), &number(self.window_ms)];
        let is_marked = match self.batcher.script(Script::Mark, &self.redis_key(claim_request.key), &args).await {
            Err(StoreError::Foreign) => false,
            reply => reply? == Reply::Int(1),
        };
        if is_marked {
            self.remember(claim_request, mark, account, false);
        } else if claim.is_some() {
            claim_request.count_possible(0);
        }
        Ok(())
    }

    fn remember(&self, claim_request: &ClaimRequest, what: Remembered, account: usize, pending: bool) {
        self.recent.borrow_mut().insert(claim_request.key, what, account, pending);
    }
}

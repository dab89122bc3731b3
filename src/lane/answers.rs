//! What answers do to a lane: some halt it at once, permanent ones in a row do, throttling pushes it back, ever longer.

use std::time::Duration;

use tokio::time::Instant;

use crate::claim::Held;
use crate::delivery::progress::Stage;
use crate::delivery::{Delivery, Subject};
use crate::error::{Answer, DeliveryError, Disposition};
use crate::lane::handle::LONGEST_WAIT_IN_LANE;
use crate::lane::state::Lane;
use crate::settle::{Attempted, Progress};

/// So many permanent answers in a row halt an account: we or they broke, not the events.
pub(super) const PERMANENT_RUN: u32 = 20;
/// Without a usable Retry-After: from here, doubling.
const FIRST_PUSH_BACK: Duration = Duration::from_secs(1);
const LAST_PUSH_BACK: Duration = Duration::from_secs(60);
/// After so long with nothing but throttled answers records park, and the lane counts as closed.
pub(super) const ONLY_THROTTLED: Duration = Duration::from_secs(30);
/// So often one record goes back to its lane's head: it holds up its partition meanwhile.
const ROUNDS: u32 = 10;

impl Lane {
    /// Raises the bucket for all who share it; returns how long this account is pushed back.
    pub async fn push_back(&self, retry_after: Option<Duration>) -> Duration {
        let kept = self.limiter.kept_back();
        let wait = match retry_after.filter(|w| !w.is_zero()) {
            Some(wait) => wait.max(kept),
            // Answers of one volley count once.
            None if !kept.is_zero() => kept,
            None => self.next_push_back(),
        };
        // Before the lane counts as closed, so that nothing is tried before the push-back is over.
        self.keep_back(wait);
        if self.throttled_since.get().is_some_and(|since| since.elapsed() >= ONLY_THROTTLED) {
            self.handle.set_only_throttled(true);
        }
        let _ = self.limiter.push_back(wait).await;
        wait
    }

    fn next_push_back(&self) -> Duration {
        let n = self.throttles.replace(self.throttles.get().saturating_add(1));
        (FIRST_PUSH_BACK * 2_u32.saturating_pow(n.min(10))).min(LAST_PUSH_BACK)
    }

    fn keep_back(&self, wait: Duration) {
        self.throttled_until.set(self.throttled_until.get().max(Some(Instant::now() + wait)));
        self.handle.throttle(wait);
    }

    /// Whether a record that was throttled goes back to the lane's head for `wait`, and counts that.
    fn takes_back(&self, delivery: &mut Delivery, wait: Duration) -> bool {
        let Subject::Ready(ready) = &delivery.subject else { return false };
        let past_the_last_tier = delivery.envelope.pass as usize >= ready.account.retry.tiers.len();
        let takes =
            wait <= LONGEST_WAIT_IN_LANE && delivery.throttled < ROUNDS && !past_the_last_tier && self.handle.is_open();
        delivery.throttled += u32::from(takes);
        takes
    }

    /// Pushes the lane back as a record's answer asks. `true`: the same visit goes on from the lane's head, its claim released.
    pub(super) async fn give_back(
        &self,
        delivery: &mut Delivery,
        held: &mut Option<Held>,
        retry_after: Option<Duration>,
    ) -> bool {
        delivery.ack.open().set_stage(Stage::Settling);
        delivery.carry_count();
        let wait = self.push_back(retry_after).await;
        // Its answer is known: another one may be tried.
        delivery.trial = None;
        let goes_back = self.takes_back(delivery, wait);
        if goes_back {
            self.outbox.release(delivery, held.take()).await;
        }
        goes_back
    }

    /// Halts the account where an answer says that it cannot send at all.
    pub(super) fn halt_if_asked(&self, result: &Attempted) {
        if let Err(error) = result
            && error.disposition() == Disposition::Halt
        {
            self.halt(error.answer().map_or("", |a| &a.detail));
        }
    }

    /// Counts an answer that no table lists, and logs the first of its kind.
    pub fn note_unclassified(&self, answer: &Answer) {
        self.account_metrics().unclassified.inc();
        if !self.unclassified.is_new(answer) {
            return;
        }
        tracing::warn!(
            account = &*self.account.name,
            platform = self.account.platform,
            http.status = answer.status,
            code = answer.code.as_str(),
            "{}; it counts in unclassified_codes_total, and this line is not repeated",
            answer.detail
        );
    }

    /// Takes what came of a record: a lane that gets through with its events keeps up, and where the one that was tried got
    /// no answer the next one waits, ever longer, as after an answer that throttles.
    pub(super) fn note_record(&self, delivery: &Delivery, result: &Attempted) {
        if gets_through(result) {
            delivery.ack.open().set_got_through();
        }
        let unanswered = delivery.attempted && result.is_err() && !is_answered(result);
        if delivery.trial.is_some() && unanswered {
            self.keep_back(self.next_push_back());
        }
    }

    /// Counts runs of answers; this one is to a request of one record.
    pub(super) fn note(&self, result: &Attempted) {
        self.note_request(std::iter::once(result));
    }

    /// Counts runs of answers. A request counts as permanent where all its records do, and as throttled where none of them has
    /// another answer.
    pub(super) fn note_request<'a>(&self, results: impl Iterator<Item = &'a Attempted> + Clone) {
        let is_permanent = |result: &Attempted| matches!(result, Err(DeliveryError::Permanent(_)));
        let is_throttled = |result: &Attempted| matches!(result, Err(DeliveryError::Throttled(_)));
        let answered = results.clone().any(is_answered);
        if results.clone().all(is_permanent) {
            let run = self.permanents.get() + 1;
            self.permanents.set(run);
            if run >= PERMANENT_RUN {
                self.permanents.set(0);
                self.halt(&format!(
                    "{PERMANENT_RUN} permanent answers in a row: check the account's settings and the dead letters, \
                     then resume"
                ));
            }
        } else if answered {
            self.permanents.set(0);
        }
        let other = results.clone().any(|result| is_answered(result) && !is_throttled(result));
        if !other && results.clone().any(is_throttled) {
            self.note_throttled(Instant::now());
        } else if answered {
            self.throttles.set(0);
            self.throttled_since.set(None);
            self.throttled_until.set(None);
            self.handle.set_only_throttled(false);
        }
    }

    /// One more answer that throttles. It begins anew where the one before it is long past: nothing was sent meanwhile, which
    /// says nothing of the platform.
    fn note_throttled(&self, now: Instant) {
        let apart = self.account.limits.timeout + LONGEST_WAIT_IN_LANE;
        let goes_on = self.throttled_until.get().is_none_or(|until| now <= until + apart);
        if !goes_on {
            self.throttles.set(0);
            self.throttled_since.set(None);
        }
        self.throttled_since.set(self.throttled_since.get().or(Some(now)));
        self.throttled_until.set(self.throttled_until.get().max(Some(now)));
    }
}

/// Whether the platform answered.
fn is_answered(result: &Attempted) -> bool {
    match result {
        Ok(Progress::Accepted(_)) => true,
        Ok(Progress::Duplicate { .. }) => false,
        Err(error) => error.answer().is_some_and(|a| a.status.is_some()),
    }
}

/// Whether a lane gets on with such results: the platform answered for the event, or nothing had to be sent for it.
fn gets_through(result: &Attempted) -> bool {
    match result.as_ref().map_err(DeliveryError::disposition) {
        Ok(_) | Err(Disposition::DeadLetter(_) | Disposition::LeaseTier) => true,
        Err(Disposition::Retry | Disposition::MarkThenRetry) => is_answered(result),
        Err(
            Disposition::Throttle | Disposition::Halt | Disposition::Park | Disposition::Hold | Disposition::Return,
        ) => false,
    }
}

//! What answers do to a lane: some halt it at once, permanent ones halt it after a run of them, and throttled ones push
//! it back for longer each time.

use std::time::Duration;

use tokio::time::Instant;

use crate::claim::ClaimGuard;
use crate::clock::now_ms;
use crate::delivery::progress::Stage;
use crate::delivery::{Delivery, Subject};
use crate::error::{Answer, DeliveryError, Disposition};
use crate::lane::handle::switches::PERMANENT_ANSWERS;
use crate::lane::handle::throttle::LONGEST_WAIT_IN_LANE;
use crate::lane::state::Lane;
use crate::platforms::reading::Verdict;
use crate::send::rate::LONGEST_PUSH_BACK;
use crate::settle::{Attempted, Progress};

/// This many permanent answers in a row halt an account: they mean that we or the platform broke, not the events.
pub(super) const PERMANENT_RUN: u32 = 20;
/// The first push-back without a usable Retry-After. Each further one is twice as long.
const FIRST_PUSH_BACK: Duration = Duration::from_secs(1);
const LAST_PUSH_BACK: Duration = Duration::from_secs(60);
/// After this long with nothing but throttled answers, records park and the lane counts as closed.
pub(super) const ONLY_THROTTLED: Duration = Duration::from_secs(30);
/// The most times that one record goes back to its lane's head, because it holds up its partition meanwhile.
const ROUNDS: u32 = 10;

impl Lane {
    /// Pushes back the bucket for all accounts that share it. Returns how long this account is pushed back.
    pub async fn push_back(&self, retry_after: Option<Duration>) -> Duration {
        let kept = self.limiter.kept_back();
        let wait = match retry_after.filter(|w| !w.is_zero()) {
            Some(wait) => wait.max(kept),
            // The answers of requests that were in flight together count once.
            None if !kept.is_zero() => kept,
            None => self.next_push_back(),
        };
        // This comes before the lane counts as closed, so that nothing is tried before the push-back ends.
        self.keep_back(wait);
        if self.throttled_since.get().is_some_and(|since| since.elapsed() >= ONLY_THROTTLED) {
            self.handle.throttle.set_only_throttled(true);
        }
        let _ = self.limiter.push_back(wait).await;
        wait
    }

    /// The limit of a day is used up: nothing more is begun before `wait` is over. After the platform's own limit one
    /// record is tried at first, and it is remembered for all replicas and over restarts. The account's own limit is
    /// not: its count is in Redis, where each call asks, so that a limit that was raised applies as soon as it is read.
    async fn wait_for_quota(&self, wait: Duration, is_the_platforms: bool) -> Duration {
        if !is_the_platforms {
            self.handle.throttle.end_day(wait);
            return wait;
        }
        let wait = wait.max(self.limiter.kept_back());
        self.throttled_until.set(self.throttled_until.get().max(Some(Instant::now() + wait)));
        self.handle.throttle.wait_for_quota(wait);
        let _ = self.limiter.push_back(wait).await;
        wait
    }

    /// Sends nothing for `wait`, because an answer demands it of the whole account.
    pub(super) async fn pause(&self, wait: Duration) {
        let wait = wait.min(LONGEST_PUSH_BACK);
        self.handle.throttle.push_back(wait);
        let _ = self.limiter.push_back(wait).await;
    }

    fn next_push_back(&self) -> Duration {
        let n = self.throttles.replace(self.throttles.get().saturating_add(1));
        (FIRST_PUSH_BACK * 2_u32.saturating_pow(n.min(10))).min(LAST_PUSH_BACK)
    }

    fn keep_back(&self, wait: Duration) {
        self.throttled_until.set(self.throttled_until.get().max(Some(Instant::now() + wait)));
        self.handle.throttle.push_back(wait);
    }

    /// Whether a record that was throttled goes back to the lane's head for `wait`. If it does, this counts it.
    fn takes_back(&self, delivery: &mut Delivery, wait: Duration) -> bool {
        let Subject::Ready(ready) = &delivery.subject else { return false };
        let past_the_last_tier = delivery.envelope.pass as usize >= ready.account.retry.tiers.len();
        let takes =
            wait <= LONGEST_WAIT_IN_LANE && delivery.throttled < ROUNDS && !past_the_last_tier && self.handle.is_open();
        delivery.throttled += u32::from(takes);
        takes
    }

    /// Pushes the lane back as a record's answer demands. `true`: the record goes back to the lane's head, its claim is
    /// released, and its visit continues there.
    pub(super) async fn give_back(
        &self,
        delivery: &mut Delivery,
        guard: &mut Option<ClaimGuard>,
        answer: &Answer,
    ) -> bool {
        delivery.ack.open().set_stage(Stage::Settling);
        delivery.carry_count();
        let wait = match answer.quota_wait {
            Some(wait) => self.wait_for_quota(wait, answer.sent).await,
            None => self.push_back(answer.retry_after).await,
        };
        // The answer of the probe is known, so another probe may begin.
        delivery.probe = None;
        let goes_back = self.takes_back(delivery, wait);
        if goes_back {
            self.outbox.release(delivery, guard.take()).await;
        }
        goes_back
    }

    /// Takes back a record whose account has other settings since. Its claim is released, and its visit begins anew at
    /// the lane's head.
    pub(super) async fn take_back(&self, delivery: &mut Delivery, guard: &mut Option<ClaimGuard>) {
        delivery.carry_count();
        delivery.probe = None;
        self.outbox.release(delivery, guard.take()).await;
    }

    /// Halts the account if an answer says that the account cannot send at all.
    pub(super) fn halt_if_asked(&self, result: &Attempted) {
        if let Err(error) = result
            && error.disposition() == Disposition::Halt
        {
            self.halt(error.answer().map_or("", |a| &a.detail));
        }
    }

    /// Counts a verdict that no table lists, and logs the first one of its kind.
    pub(super) fn note_unclassified(&self, verdict: &Verdict) {
        let answer = verdict.as_ref().err().and_then(DeliveryError::answer);
        let Some(answer) = answer.filter(|answer| answer.unclassified) else { return };
        self.account_metrics().unclassified.inc();
        if !self.handle.unclassified.note(answer, now_ms()) {
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

    /// Notes the result of a record. If it got an answer or needed none, the lane keeps up. If a probe of a lane that
    /// got only throttled answers got none, the next probe waits, for longer each time, as after a throttled answer.
    pub(super) fn note_record(&self, delivery: &Delivery, result: &Attempted) {
        if gets_through(result) {
            delivery.ack.open().set_got_through();
        }
        let unanswered = delivery.attempted && result.is_err() && !is_answered(result);
        if delivery.probe.is_some() && unanswered && self.handle.throttle.awaits_probe() {
            self.keep_back(self.next_push_back());
        }
    }

    /// Counts runs of answers, for the answer to a request of one record.
    pub(super) fn note(&self, is_replayed: bool, result: &Attempted) {
        self.note_request(std::iter::once((is_replayed, result)));
    }

    /// Counts runs of answers, for the answer to one request: of each record, whether it was replayed, and its result.
    /// The request counts as throttled if no record got another kind of answer, and as permanent if it is so for all
    /// live records. A request of replayed ones alone tells nothing of the events that arrive now, so it neither makes
    /// a run of permanent answers longer nor ends it.
    pub(super) fn note_request<'a>(&self, answers: impl Iterator<Item = (bool, &'a Attempted)> + Clone) {
        let is_permanent = |result: &Attempted| matches!(result, Err(DeliveryError::Permanent(_)));
        let is_throttled = |result: &Attempted| matches!(result, Err(DeliveryError::Throttled(_)));
        let live = answers.clone().filter(|(is_replayed, _)| !is_replayed).map(|(_, result)| result);
        let results = answers.map(|(_, result)| result);
        let answered = results.clone().any(is_answered);
        if live.clone().next().is_some() && live.clone().all(is_permanent) {
            let run = self.permanents.get() + 1;
            self.permanents.set(run);
            if run >= PERMANENT_RUN {
                self.permanents.set(0);
                let why =
                    format!("{PERMANENT_RUN} {PERMANENT_ANSWERS}: check the account's settings and the dead letters");
                self.halt_until(&why, true);
            }
        } else if live.clone().any(is_answered) {
            self.permanents.set(0);
        }
        let other = results.clone().any(|result| is_answered(result) && !is_throttled(result));
        if !other && results.clone().any(is_throttled) {
            self.note_throttled(Instant::now());
        } else if answered {
            self.throttles.set(0);
            self.throttled_since.set(None);
            self.throttled_until.set(None);
            self.handle.throttle.set_only_throttled(false);
        }
    }

    /// Counts one more throttled answer. The run begins again if the previous one is long past: nothing was sent in
    /// between, which says nothing about the platform.
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

/// Whether a lane with such results makes progress: the platform answered for the event, or nothing had to be sent.
fn gets_through(result: &Attempted) -> bool {
    match result.as_ref().map_err(DeliveryError::disposition) {
        Ok(_) | Err(Disposition::DeadLetter(_) | Disposition::LeaseTier) => true,
        Err(Disposition::Retry | Disposition::MarkThenRetry) => is_answered(result),
        Err(
            Disposition::Throttle
            | Disposition::Halt
            | Disposition::Park
            | Disposition::Hold
            | Disposition::Return
            | Disposition::Again,
        ) => false,
    }
}

//! Attempts to deliver one event at the head of its lane, with a permit: claim, time check, connection, slot, send,
//! verdict. `settle` takes the result.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::account::Inline;
use crate::claim::ClaimGuard;
use crate::clock::now_ms;
use crate::delivery::progress::Stage;
use crate::delivery::{Delivery, TopicKind};
use crate::error::{Answer, DeliveryError};
use crate::lane::claiming::{LONGEST_WAIT, check_time, claim_to_send, event, give_up, spare_lease};
use crate::lane::counting::{count, panicked};
use crate::lane::state::Lane;
use crate::lane::tokens::{Refused, wait_for_token};
use crate::platforms::Receipt;
use crate::platforms::reading::Verdict;
use crate::send::client::Unanswered;
use crate::send::rate::{Priority, Slot};
use crate::send::ready::{Ready, ready};
use crate::send::token::{Token, Turn};
use crate::settle::policy::InlineDelays;
use crate::settle::{Attempted, Progress};

/// Turns the end of [`attempt`] into a result, and counts it among the lane's answers. A panic is treated as an answer
/// that did not come.
pub(super) fn ended(
    attempted: std::thread::Result<Attempted>,
    delivery: &mut Delivery,
    lane: &Lane,
    guard: &mut Option<ClaimGuard>,
    attempts_before: u32,
) -> Attempted {
    let result = attempted.unwrap_or_else(|_| Err(panicked(delivery, lane, guard, attempts_before)));
    let result = lane.with_present_settings(result);
    lane.note(delivery.is_replayed(), &result);
    result
}

/// Attempts one event that has a permit to itself. `guard` receives the claim; `settle` ends it, whatever the result. If
/// `guard` is a claim already, it is used while its lease lasts.
///
/// # Errors
/// The reason why the event was not delivered.
pub async fn attempt(delivery: &mut Delivery, lane: &Lane, guard: &mut Option<ClaimGuard>) -> Attempted {
    let mut failed = None;
    let attempted = visit(delivery, lane, guard, &mut failed).await;
    count_failed(delivery, lane, failed);
    attempted
}

/// `failed` is the failure of the last try where no other try has followed it and the result does not tell it.
async fn visit(
    delivery: &mut Delivery,
    lane: &Lane,
    guard: &mut Option<ClaimGuard>,
    failed: &mut Option<DeliveryError>,
) -> Attempted {
    let mut delays: Option<InlineDelays> = None;
    let mut turn = Turn::default();
    loop {
        if let Some(done) = claim_to_send(delivery, lane, guard).await? {
            return Ok(done);
        }
        let mut unused = None;
        loop {
            // Boxed, here and below, because most accounts send without a token, and few records wait for one.
            if lane.token().is_err() && !Box::pin(wait_for_token(delivery, lane, guard, &mut turn, None)).await? {
                break;
            }
            let Some(ready) = wait_for_slot(delivery, lane, guard, unused.take()).await? else { break };
            let slot = ready.slot;
            let Ok(token) = lane.token() else {
                // The token ended during the wait for the slot.
                unused = Some(slot);
                continue;
            };
            // Boxed, because it is the largest part of an attempt, and in a burst most attempts still wait for their
            // claim or their slot.
            let failure = match Box::pin(send(delivery, lane, guard, ready, token.as_ref())).await {
                Ok(receipt) => {
                    *failed = None;
                    return Ok(Progress::Accepted(receipt));
                }
                Err(Unanswered::Failed(failure)) => failure,
                // Another connection takes the request, in the same slot if that is still in time.
                Err(Unanswered::Closed) => {
                    unused = Some(slot);
                    continue;
                }
                Err(Unanswered::Stopped(Stop::SlotMissed)) => continue,
                Err(Unanswered::Stopped(Stop::ClaimAgain)) => break,
                Err(Unanswered::Stopped(Stop::Closed(why))) => return Err(why),
                Err(Unanswered::Stopped(Stop::Late(late))) => return Err(failed.take().unwrap_or(late)),
            };
            if let DeliveryError::Refresh(answer) = &failure
                && answer.sign_again
            {
                turn.sign_again(answer)?;
                continue;
            }
            if let (Some(token), DeliveryError::Refresh(answer)) = (token, &failure) {
                let refused = Some(Refused { token, answer: answer.clone() });
                match Box::pin(wait_for_token(delivery, lane, guard, &mut turn, refused)).await? {
                    true => continue,
                    false => break,
                }
            }
            turn.answered();
            *failed = None;
            let Some(delay) = inline_delay(delivery, lane, &mut delays, &failure) else { return Err(failure) };
            tokio::select! {
                () = sleep(delay) => {}
                // If the lane closes during an inline delay, the record goes to its tier.
                _ = lane.interrupted(delivery) => return Err(failure),
            }
            *failed = Some(failure);
        }
        count_failed(delivery, lane, failed.take());
        // The lease has become too short for a send, so the claim is released and made again with a new token.
        give_up(delivery, lane, guard).await;
    }
}

/// Counts the answer to the last try among the lane's answers. If another try follows at once it does not count; this one
/// does not follow, or only after the event is claimed again.
pub(super) fn count_failed(delivery: &Delivery, lane: &Lane, failed: Option<DeliveryError>) {
    if let Some(failed) = failed {
        lane.note(delivery.is_replayed(), &Err(failed));
    }
}

/// How long to wait before the next inline try, which counts as used from now on. `None`: there is no further one, or the
/// lane's budget for them is used up.
pub(super) fn inline_delay(
    delivery: &mut Delivery,
    lane: &Lane,
    delays: &mut Option<InlineDelays>,
    failure: &DeliveryError,
) -> Option<Duration> {
    let DeliveryError::Retry(Answer { retry_after: None, .. }) = failure else { return None };
    let inline = &lane.account.retry.inline;
    let left = inline.max_retries.saturating_sub(delivery.inline_used);
    let is_first_visit = delivery.topic_kind == TopicKind::Input;
    let delays =
        delays.get_or_insert_with(|| InlineDelays::new(Inline { max_retries: left, ..*inline }, is_first_visit));
    let delay = delays.next().filter(|_| delivery.envelope.attempts < lane.account.retry.max_attempts)?;
    if !lane.retry_budget.take(Instant::now()) {
        return None;
    }
    delivery.inline_used += 1;
    delivery.ack.open().set_stage(Stage::Waiting);
    Some(delay)
}

/// Why nothing was sent although connection, slot and request were there.
pub(super) enum Stop {
    /// The process was stopped for so long that the slot has passed.
    SlotMissed,
    /// The lease is too short, the broker confirms no commit, or the clock cannot be trusted. The claim is released and
    /// made again, which waits until that is over.
    ClaimAgain,
    /// The lane closed, or the partition leaves.
    Closed(DeliveryError),
    /// A deadline or the natural day's guard began during the wait for a slot or during an inline delay.
    Late(DeliveryError),
}

/// Waits for a connection and a slot of the shared rate. `None`: the claim has to be released and made again.
pub(super) async fn wait_for_slot<'a>(
    delivery: &Delivery,
    lane: &'a Lane,
    guard: &Option<ClaimGuard>,
    unused: Option<Slot>,
) -> Result<Option<Ready<'a>>, DeliveryError> {
    let Some(spare) = spare_lease(lane, guard) else { return Ok(None) };
    // Bounded, because an account that sends without a lease (Redis is away) needs a timer too.
    let spare = spare.min(LONGEST_WAIT);
    let priority = priority_of(delivery);
    // A connection attempt gets only a part of the lease, and then counts as failed. If it used up the whole lease, the
    // claim would be made again and the same slow connection begun again, without end.
    let connect = spare.mul_f64(0.75);
    let to = lane.dispatcher.destination(&event(delivery)?.prepared);
    let ready = tokio::select! {
        biased;
        ready = ready((&lane.dispatcher, to), &lane.limiter, priority, connect, unused) => ready,
        why = lane.interrupted(delivery) => return Err(why),
        () = sleep(spare) => return Ok(None),
    };
    lane.account_metrics().rate_wait(ready.waited);
    Ok(Some(ready))
}

/// In which order a record gets its slot.
pub(super) fn priority_of(delivery: &Delivery) -> Priority {
    match delivery.topic_kind {
        TopicKind::Tier => Priority::Due,
        TopicKind::Input if delivery.is_replayed() => Priority::Replayed,
        TopicKind::Input | TopicKind::Parked => Priority::Usual,
    }
}

/// The last check before the first byte, when connection, slot and request are there: the process may have been stopped
/// at any moment before, and another one may have taken over the claim.
pub(super) fn judge(delivery: &Delivery, lane: &Lane, guard: &Option<ClaimGuard>, slot: Slot) -> Result<(), Stop> {
    if let Some(why) = lane.interruption(delivery) {
        return Err(Stop::Closed(why));
    }
    let is_stale = spare_lease(lane, guard).is_none() || delivery.ack.assignment().is_unconfirmed();
    if is_stale || lane.context.health.clock.trouble().is_some() {
        return Err(Stop::ClaimAgain);
    }
    if !lane.limiter.is_in_time(slot) {
        return Err(Stop::SlotMissed);
    }
    check_time(delivery, lane).map_err(Stop::Late)
}

async fn send(
    delivery: &mut Delivery,
    lane: &Lane,
    guard: &mut Option<ClaimGuard>,
    ready: Ready<'_>,
    token: Option<&Token>,
) -> Result<Receipt, Unanswered<DeliveryError, Stop>> {
    delivery.ack.open().set_stage(Stage::Sending);
    let Ready { line, slot, connecting, waited: _ } = ready;
    let began = Instant::now();
    let began_ms = now_ms();
    let result: Verdict = match line {
        Err(failure) => Err(failure),
        Ok(line) => {
            let item = &event(delivery).map_err(Unanswered::Failed)?.prepared;
            match line
                .attempt(&[item], token.map(|token| &token.access), began_ms, || judge(delivery, lane, guard, slot))
                .await
            {
                Ok(verdicts) => verdicts.one(),
                Err(Unanswered::Failed(failure)) => Err(failure),
                Err(nothing_sent) => return Err(nothing_sent),
            }
        }
    };
    lane.account_metrics().attempt_duration(connecting + began.elapsed());
    note_unclassified(lane, &result);
    count(delivery, lane, guard, &result, began_ms);
    lane.report_answer(delivery, result.as_ref().map(drop));
    if let Some(wait) = lane.dispatcher.take_pause() {
        // Boxed, because few answers demand it.
        Box::pin(lane.pause(wait)).await;
    }
    result.map_err(Unanswered::Failed)
}

/// Counts a verdict that no table lists.
pub(super) fn note_unclassified(lane: &Lane, verdict: &Verdict) {
    let answer = verdict.as_ref().err().and_then(DeliveryError::answer);
    if let Some(answer) = answer.filter(|a| a.unclassified) {
        lane.note_unclassified(answer);
    }
}

#[cfg(test)]
mod tests;

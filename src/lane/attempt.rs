//! The walk at the head of a lane, a permit in hand: claim, time check, slot, send, verdict. What came of it is
//! settled elsewhere.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::account::{Inline, WhenUnavailable};
use crate::claim::{ClaimAttempt, ClaimOutcome, Held};
use crate::clock::now_ms;
use crate::delivery::progress::Stage;
use crate::delivery::{self, Delivery, Subject, TopicKind};
use crate::envelope::LastAttempt;
use crate::error::{Answer, Class, DeliveryError, Fault};
use crate::lane::state::Lane;
use crate::metrics::ClaimResult;
use crate::platforms::Receipt;
use crate::redis::batcher::StoreError;
use crate::send::client::Unanswered;
use crate::send::rate::Slot;
use crate::send::ready::{Ready, ready};
use crate::settle::policy::{InlineDelays, timing};
use crate::settle::{Attempted, Progress};

/// Between two looks whether the broker confirms commits again.
const UNCONFIRMED_PAUSE: Duration = Duration::from_millis(200);

/// Beside the timeout, a send needs this much of its lease.
const LEASE_MARGIN: Duration = Duration::from_secs(1);

/// Walks one event. `held` is the claim, whatever the result: settle ends it.
///
/// # Errors
/// Why it was not delivered.
pub async fn process(delivery: &mut Delivery, lane: &Lane, held: &mut Option<Held>) -> Attempted {
    let mut delays: Option<InlineDelays> = None;
    loop {
        if let Some(done) = claim(delivery, lane, held).await? {
            return Ok(done);
        }
        check_time(delivery, lane)?;
        refuse_second_send(delivery, held)?;
        let mut failed = None;
        let mut unused = None;
        loop {
            let Some(ready) = admit(delivery, lane, held, unused.take()).await? else { break };
            let slot = ready.slot;
            // Boxed: it is most of what a walk carries, and most walks of a burst wait for their claim or their slot.
            let failure = match Box::pin(attempt(delivery, lane, held, ready)).await {
                Ok(receipt) => return Ok(Progress::Accepted(receipt)),
                Err(Unanswered::Failed(failure)) => failure,
                // Another connection takes it, in the same slot if there is still time.
                Err(Unanswered::Closed) => {
                    unused = Some(slot);
                    continue;
                }
                Err(Unanswered::Stopped(Stop::SlotMissed)) => continue,
                Err(Unanswered::Stopped(Stop::ClaimAgain)) => break,
                Err(Unanswered::Stopped(Stop::Closed(why))) => return Err(why),
                Err(Unanswered::Stopped(Stop::Late(late))) => return Err(failed.unwrap_or(late)),
            };
            let DeliveryError::Retry(Answer { retry_after: None, .. }) = &failure else { return Err(failure) };
            let inline = &lane.account.retry.inline;
            let delay = delays
                .get_or_insert_with(|| {
                    let left = inline.max_retries.saturating_sub(delivery.inline_used);
                    InlineDelays::new(Inline { max_retries: left, ..*inline }, delivery.topic_kind == TopicKind::Input)
                })
                .next()
                .filter(|_| delivery.envelope.attempts < lane.account.retry.max_attempts);
            let Some(delay) = delay else { return Err(failure) };
            delivery.inline_used += 1;
            delivery.ack.open().set_stage(Stage::Waiting);
            tokio::select! {
                () = sleep(delay) => {}
                // An inline delay ends in its tier.
                _ = lane.interrupted(delivery) => return Err(failure),
            }
            failed = Some(failure);
        }
        // A send starts only with enough of its lease left: given up, and claimed again with a new token.
        if let Some(held) = held.take() {
            lane.dedupe.release(&mut ready_mut(delivery)?.claim_request, held).await;
        }
        delivery.carry_count();
    }
}

fn ready_mut(delivery: &mut Delivery) -> Result<&mut delivery::Ready, DeliveryError> {
    match &mut delivery.subject {
        Subject::Ready(ready) => Ok(ready),
        // Only ready events enter a lane's walk; anything else is refused rather than sent.
        Subject::Ended(_) => Err(DeliveryError::Malformed(Fault::whole("no event"))),
    }
}

fn event(delivery: &Delivery) -> Result<&delivery::Ready, DeliveryError> {
    match &delivery.subject {
        Subject::Ready(ready) => Ok(ready),
        Subject::Ended(_) => Err(DeliveryError::Malformed(Fault::whole("no event"))),
    }
}

/// `Some`: nothing to send. `None`: `held` is ours.
async fn claim(
    delivery: &mut Delivery,
    lane: &Lane,
    held: &mut Option<Held>,
) -> Result<Option<Progress>, DeliveryError> {
    let deliver = lane.account.when_unavailable == WhenUnavailable::Deliver;
    let mut attempt = ClaimAttempt::default();
    let mut pause = Duration::from_millis(100);
    let mut uncertain = false;
    loop {
        if let Some(why) = lane.interruption(delivery) {
            if uncertain {
                lane.dedupe.abandon(&ready_mut(delivery)?.claim_request, &attempt).await;
            }
            return Err(why);
        }
        if delivery.ack.assignment().is_unconfirmed() {
            // Another member may have the partition by now, and sends what it reads.
            delivery.ack.open().set_stage(Stage::Held);
            tokio::select! {
                () = sleep(UNCONFIRMED_PAUSE) => {}
                _ = lane.interrupted(delivery) => {}
            }
            continue;
        }
        delivery.ack.open().set_stage(Stage::Claiming);
        let ready = ready_mut(delivery)?;
        // An account that delivers without Redis does not wait for a command to time out first.
        let health = &lane.shared.health;
        let clock = health.clock.trouble();
        let is_judged = clock.is_none();
        let answer = match clock.or_else(|| if deliver { health.trouble() } else { health.hold() }) {
            Some(why) => Err(StoreError::Unreached(why)),
            None => lane.dedupe.claim(&mut ready.claim_request, &mut attempt).await,
        };
        let claim_outcome = match answer {
            Ok(claim_outcome) => claim_outcome,
            Err(_) if deliver && is_judged => {
                lane.metrics().claim(ClaimResult::Unavailable);
                lane.dedupe.unclaimed(&mut ready.claim_request, &attempt).await
            }
            Err(error) => {
                lane.metrics().claim(ClaimResult::Unavailable);
                uncertain |= error.may_have_run() && error != StoreError::Forgotten;
                tokio::select! {
                    () = sleep(pause) => pause = (pause * 2).min(Duration::from_secs(2)),
                    _ = lane.interrupted(delivery) => {}
                }
                continue;
            }
        };
        lane.outbox.count_possible(ready);
        return Ok(match claim_outcome {
            ClaimOutcome::Claim(claimed) => {
                if !claimed.claim.unclaimed {
                    let taken = claimed.claim.taken_over();
                    lane.metrics().claim(if taken { ClaimResult::TakenOver } else { ClaimResult::Fresh });
                }
                *held = Some(claimed);
                None
            }
            ClaimOutcome::Duplicate { resends } => {
                lane.metrics().claim(ClaimResult::Done);
                Some(Progress::Duplicate { resends })
            }
            ClaimOutcome::Conflict => {
                lane.metrics().claim(ClaimResult::Conflict);
                let detail = "the same trans_id was seen with another order, amount, refund or currency";
                return Err(DeliveryError::Conflict(Fault::whole(detail)));
            }
            ClaimOutcome::Busy { unknown } => {
                lane.metrics().claim(ClaimResult::Held);
                return Err(DeliveryError::Held { unknown });
            }
        });
    }
}

/// After the claim, so that an old copy of a delivered event is a duplicate.
fn check_time(delivery: &Delivery, lane: &Lane) -> Result<(), DeliveryError> {
    let ready = event(delivery)?;
    let judged = timing::check(ready, &delivery.envelope, now_ms());
    let Err(DeliveryError::Invalid(fault) | DeliveryError::Expired(fault)) = &judged else { return judged };
    // Platforms have said that our clock is wrong and fell silent. It buries no event whose time is right by theirs: that one
    // is sent, and its answer tells which clock is right.
    match lane.shared.health.clock.doubted_now_ms() {
        Some(now) if fault.field == timing::EVENT_TIME => timing::check(ready, &delivery.envelope, now),
        _ => judged,
    }
}

/// Where a lost answer ends in the dead letters, nothing that may have been accepted is sent again.
fn refuse_second_send(delivery: &mut Delivery, held: &Option<Held>) -> Result<(), DeliveryError> {
    let ready = ready_mut(delivery)?;
    let resend = held.as_ref().is_some_and(|h| h.claim.is_second(ready.claim_request.in_doubt));
    if resend && !ready.claim_request.force && ready.dead_letters_ambiguous() {
        return Err(DeliveryError::Ambiguous(Answer {
            detail: "an earlier send may have been accepted, and this account sends nothing twice".into(),
            ..Answer::default()
        }));
    }
    Ok(())
}

/// Why nothing was sent although all was ready.
enum Stop {
    /// The process was stopped for so long that its slot has passed.
    SlotMissed,
    /// The lease is too short, or the broker confirms no commit, or no time can be judged: the claim is given up and made
    /// again, which waits until that is over.
    ClaimAgain,
    /// The lane closed, or the partition leaves.
    Closed(DeliveryError),
    /// The wait for a slot or an inline delay has passed a deadline or into a guard.
    Late(DeliveryError),
}

/// What a send needs of its lease.
fn needed(lane: &Lane) -> Duration {
    lane.account.limits.timeout + LEASE_MARGIN
}

fn lease_left(lane: &Lane, held: &Option<Held>) -> Duration {
    held.as_ref().map_or(Duration::ZERO, |h| lane.dedupe.lease_left(&h.claim))
}

/// A connection and a slot of the shared rate. `None`: the claim is given up and made again.
async fn admit<'a>(
    delivery: &Delivery,
    lane: &'a Lane,
    held: &Option<Held>,
    unused: Option<Slot>,
) -> Result<Option<Ready<'a>>, DeliveryError> {
    let Some(spare) = lease_left(lane, held).checked_sub(needed(lane)) else { return Ok(None) };
    // Bounded, so that an account without a lease (Redis away) has a timer too.
    let spare = spare.min(Duration::from_secs(3600));
    let due = delivery.topic_kind == TopicKind::Tier;
    // A connection that takes longer has failed: given up with its claim, it would be begun again and again.
    let connect = spare.mul_f64(0.75);
    let ready = tokio::select! {
        biased;
        ready = ready(&lane.dispatcher, &lane.limiter, due, connect, unused) => ready,
        why = lane.interrupted(delivery) => return Err(why),
        () = sleep(spare) => return Ok(None),
    };
    lane.account_metrics().rate_wait(ready.waited);
    Ok(Some(ready))
}

/// The last word before the first byte, when connection, slot and request are there: the process may have been stopped at any
/// moment until now, and another one may have taken its claim over.
fn judge(delivery: &Delivery, lane: &Lane, held: &Option<Held>, slot: Slot) -> Result<(), Stop> {
    if let Some(why) = lane.interruption(delivery) {
        return Err(Stop::Closed(why));
    }
    let is_stale = lease_left(lane, held) < needed(lane) || delivery.ack.assignment().is_unconfirmed();
    if is_stale || lane.shared.health.clock.trouble().is_some() {
        return Err(Stop::ClaimAgain);
    }
    if !lane.limiter.is_in_time(slot) {
        return Err(Stop::SlotMissed);
    }
    check_time(delivery, lane).map_err(Stop::Late)
}

async fn attempt(
    delivery: &mut Delivery,
    lane: &Lane,
    held: &mut Option<Held>,
    ready: Ready<'_>,
) -> Result<Receipt, Unanswered<DeliveryError, Stop>> {
    delivery.ack.open().set_stage(Stage::Sending);
    let Ready { line, slot, connecting, waited: _ } = ready;
    let began = Instant::now();
    let began_ms = now_ms();
    let result = match line {
        Err(failure) => Err(failure),
        Ok(line) => {
            let item = &event(delivery).map_err(Unanswered::Failed)?.prepared;
            match line.attempt(&[item], began_ms, || judge(delivery, lane, held, slot)).await {
                Ok(verdicts) => verdicts.one(),
                Err(Unanswered::Failed(failure)) => Err(failure),
                Err(nothing_sent) => return Err(nothing_sent),
            }
        }
    };
    let class = result.as_ref().err().map_or(Class::Delivered, |e| e.class().unwrap_or(Class::Halt));
    let metrics = lane.account_metrics();
    metrics.attempt(class);
    metrics.attempt_duration(connecting + began.elapsed());
    let answer = result.as_ref().err().and_then(DeliveryError::answer);
    if let Some(answer) = answer.filter(|a| a.unclassified) {
        lane.note_unclassified(answer);
    }
    let sent = answer.is_none_or(|a| a.sent);
    if sent
        && let Some(held) = held
        && held.claim.declare()
    {
        ready_mut(delivery).map_err(Unanswered::Failed)?.claim_request.own += 1;
        metrics.ambiguous_resends.inc();
    }
    // The classes that count as attempts; a hand-off without one leaves the last attempt as it was.
    if matches!(class, Class::Delivered | Class::Retry | Class::Permanent | Class::Ambiguous) {
        let envelope = &mut delivery.envelope;
        envelope.attempts += 1;
        envelope.first_attempt_ms.get_or_insert(began_ms);
        delivery.attempted = true;
        // What may have been accepted stays so, whatever a try says whose first byte did not go out.
        let doubtful = envelope.last.as_ref().is_some_and(|l| l.class == Class::Ambiguous.as_str());
        if let Some(answer) = answer
            && (sent || !doubtful)
        {
            envelope.last = Some(LastAttempt {
                class: class.as_str().to_owned(),
                code: answer.code.clone(),
                status: answer.status,
            });
        }
    }
    result.map_err(Unanswered::Failed)
}

#[cfg(test)]
mod tests;

//! Decides what becomes of each delivery and carries it out, in the one safe order of `core.md` section 7. Nothing else
//! confirms, publishes, dead-letters or finishes.
//!
//! A crash between two steps leaves a trace that the next reader of the record finds: a claim that outlives its lease,
//! an `unknown` of the record's own lineage, a `done`, or a second copy that ends as a duplicate. Do not reorder the
//! steps.

pub mod context;
pub mod outbox;
pub mod outcomes;
pub mod policy;
pub(crate) mod receipt;
pub mod result;

use rand::Rng;

use crate::claim::{ClaimGuard, ConfirmAttempt};
use crate::clock::now_ms;
use crate::delivery::progress::{AckHandle, End, Stage};
use crate::delivery::{Delivery, Subject};
use crate::error::{DeliveryError, Disposition, Outcome, Reason};
use crate::platforms::Receipt;
use crate::settle::outbox::{Outbox, until_it_works};
use crate::settle::policy::{Next, Policy};

/// The good ends of an event's visit to the head of its lane.
pub enum Progress {
    /// The platform accepted it.
    Accepted(Receipt),
    /// An earlier send was accepted.
    Duplicate {
        /// The number of re-sends that its receipt states.
        resends: u32,
    },
}

/// The result of an event's visit to the head of its lane.
pub type Attempted = Result<Progress, DeliveryError>;

/// Gives back a record that holds no claim and of which nothing was sent. The next owner of the partition reads it
/// again.
pub fn give_back(delivery: Box<Delivery>) {
    delivery.ack.complete(End::Returned);
}

/// Gives back a record of which nothing was read but that it is there.
pub fn give_back_unread(ack: AckHandle) {
    ack.complete(End::Returned);
}

/// Settles an event that was at the head of its lane. The caller has already applied to the lane itself what the answer
/// demands of it.
pub async fn settle(outbox: &Outbox, mut delivery: Box<Delivery>, guard: Option<ClaimGuard>, result: Attempted) {
    delivery.ack.open().set_stage(Stage::Settling);
    delivery.carry_count();
    match result {
        Ok(Progress::Accepted(receipt)) => {
            if let (Subject::Ready(ready), Some(guard)) = (&mut delivery.subject, &guard) {
                // A replayed event is late by intent, so its age says nothing about how fast events are delivered.
                if delivery.envelope.replay.is_none() {
                    let age_ms = (now_ms() - ready.event_time_ms).max(0);
                    outbox.context.metrics.account(ready.index).age_at_delivery(age_ms as f64 / 1000.0);
                }
                let mut attempt = ConfirmAttempt::default();
                until_it_works(async || {
                    outbox.dedupe.confirm(&mut ready.claim_request, &guard.claim, ready.index, &mut attempt).await
                })
                .await;
                outbox.count_possible(ready);
            }
            delivery.carry_count();
            drop(guard);
            let resends = delivery.envelope.resends;
            outbox.finish(delivery, Outcome::Delivered, None, resends, receipt.platform_id).await;
        }
        Ok(Progress::Duplicate { resends }) => {
            outbox.finish(delivery, Outcome::Duplicate, None, resends, None).await;
        }
        // Boxed, because this future is several times as large as the one of a delivered event.
        Err(error) => Box::pin(settle_unsent(outbox, delivery, guard, error)).await,
    }
}

/// Settles an event that was not delivered: it goes to a tier, a parking topic or the dead letters, or is given back.
async fn settle_unsent(outbox: &Outbox, mut delivery: Box<Delivery>, guard: Option<ClaimGuard>, error: DeliveryError) {
    // The answer of the probe is known, so another probe may begin.
    let was_tried = delivery.probe.take().is_some();
    match error.disposition() {
        Disposition::Halt => delivery.note_refused(!was_tried),
        Disposition::Throttle => delivery.note_refused(false),
        _ => {}
    }
    if std::mem::take(&mut delivery.attempted) {
        delivery.envelope.pass += 1;
    }
    let Subject::Ready(ready) = &delivery.subject else { return };
    let policy = Policy::of(ready);
    let now = outbox.context.health.clock.now_ms();
    let jitter = rand::rng().random();
    let disposition = match error.disposition() {
        // It may be made again, whatever became of it.
        Disposition::MarkThenRetry if ready.only_reads() => Disposition::Retry,
        disposition => disposition,
    };
    match disposition {
        Disposition::DeadLetter(reason) => outbox.dead_letter(delivery, guard, reason, &error).await,
        Disposition::Retry => {
            let retry_after = error.answer().and_then(|a| a.retry_after);
            match policy.after_attempt(&delivery.envelope, retry_after, now, jitter) {
                Next::Tier { index, due_ms } => {
                    delivery.envelope.alternate = next_in_turn(&delivery);
                    outbox.to_tier(delivery, guard, index, due_ms).await;
                }
                Next::Expired => outbox.dead_letter(delivery, guard, Reason::Expired, &error).await,
                Next::Exhausted => outbox.dead_letter(delivery, guard, Reason::AttemptsExhausted, &error).await,
            }
        }
        Disposition::MarkThenRetry if ready.dead_letters_ambiguous() => {
            outbox.dead_letter(delivery, guard, Reason::UnknownOutcome, &error).await;
        }
        Disposition::MarkThenRetry => {
            // This is judged before the mark, because marking takes as long as Redis is away.
            let next = policy.after_attempt(&delivery.envelope, None, now, jitter);
            let Next::Tier { index, due_ms } = next else {
                outbox.dead_letter(delivery, guard, Reason::UnknownOutcome, &error).await;
                return;
            };
            outbox.mark(&mut delivery, guard.as_ref()).await;
            drop(guard);
            outbox.to_tier(delivery, None, index, due_ms).await;
        }
        Disposition::Halt => outbox.park_broken(delivery, guard).await,
        // The lane takes back what it can itself. What comes here all the same is parked.
        Disposition::Throttle | Disposition::Park | Disposition::Again => outbox.park(delivery, guard).await,
        Disposition::LeaseTier => {
            let until = if let DeliveryError::Later { until_ms } = error { Some(until_ms) } else { None };
            match policy.lease_tier(&delivery.envelope, outbox.context.lease, until, now, jitter) {
                Next::Tier { index, due_ms } => outbox.to_tier(delivery, guard, index, due_ms).await,
                _ if matches!(error, DeliveryError::Held { unknown: true }) => {
                    // The `unknown` in Redis belongs to another lineage, so it stays.
                    outbox.publish_dead(delivery, guard, Reason::UnknownOutcome, &error).await;
                }
                _ => outbox.dead_letter(delivery, guard, Reason::Expired, &error).await,
            }
        }
        Disposition::Hold | Disposition::Return => {
            outbox.release(&mut delivery, guard).await;
            delivery.ack.complete(End::Returned);
        }
    }
}

/// Which account makes the visit after one that failed: of a call that others may answer the next one, after the last
/// one its own again.
fn next_in_turn(delivery: &Delivery) -> u32 {
    let Subject::Ready(ready) = &delivery.subject else { return 0 };
    let others = ready.call.as_ref().map_or(0, |call| call.alternates);
    if delivery.envelope.alternate < others { delivery.envelope.alternate + 1 } else { 0 }
}

#[cfg(test)]
mod tests;

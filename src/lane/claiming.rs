//! Whether a record at the head of its lane may be sent: its claim, its time, and the rest of its lease.

use std::time::Duration;

use tokio::time::sleep;

use crate::account::WhenUnavailable;
use crate::claim::{ClaimAttempt, ClaimGuard, ClaimOutcome};
use crate::clock::now_ms;
use crate::delivery::progress::Stage;
use crate::delivery::{Delivery, Ready, Subject};
use crate::error::{Answer, DeliveryError, Fault};
use crate::lane::state::Lane;
use crate::metrics::ClaimResult;
use crate::quiet::Repeated;
use crate::redis::batcher::StoreError;
use crate::settle::Progress;
use crate::settle::policy::timing;

/// How often to check whether the broker confirms commits again.
const UNCONFIRMED_PAUSE: Duration = Duration::from_millis(200);

/// The timer that applies if no lease ends, because Redis is away.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// A send needs this much of the lease in addition to the timeout.
const LEASE_MARGIN: Duration = Duration::from_secs(1);

fn ready_mut(delivery: &mut Delivery) -> Result<&mut Ready, DeliveryError> {
    match &mut delivery.subject {
        Subject::Ready(ready) => Ok(ready),
        // Only ready events reach an attempt. Anything else is refused, so that it is not sent.
        Subject::Ended(_) => Err(DeliveryError::Malformed(Fault::whole("no event"))),
    }
}

pub(super) fn event(delivery: &Delivery) -> Result<&Ready, DeliveryError> {
    match &delivery.subject {
        Subject::Ready(ready) => Ok(ready),
        Subject::Ended(_) => Err(DeliveryError::Malformed(Fault::whole("no event"))),
    }
}

/// Claims an event that has no claim, and judges whether it may be sent. `Some`: nothing has to be sent. `None`: the
/// claim is ours, and in `guard`.
pub(super) async fn claim_to_send(
    delivery: &mut Delivery,
    lane: &Lane,
    guard: &mut Option<ClaimGuard>,
) -> Result<Option<Progress>, DeliveryError> {
    loop {
        if guard.is_none()
            && let Some(done) = claim(delivery, lane, guard).await?
        {
            return Ok(Some(done));
        }
        if check_time(delivery, lane)? {
            break;
        }
        // The clock was set while the claim was made. The next claim waits until the clock can be believed.
        Box::pin(give_up(delivery, lane, guard)).await;
    }
    refuse_second_send(delivery, guard)?;
    Ok(None)
}

/// Claims an event, and waits as long as nobody can say whether the claim is free.
async fn claim(
    delivery: &mut Delivery,
    lane: &Lane,
    guard: &mut Option<ClaimGuard>,
) -> Result<Option<Progress>, DeliveryError> {
    let deliver = lane.account.when_unavailable == WhenUnavailable::Deliver;
    let mut attempt = ClaimAttempt::default();
    let mut pause = Duration::from_millis(100);
    let mut uncertain = false;
    loop {
        if let Some(why) = lane.interruption(delivery) {
            if uncertain {
                // Boxed, because few claims are uncertain, and this is larger than the rest of a claim.
                Box::pin(lane.dedupe.abandon(&ready_mut(delivery)?.claim_request, &attempt)).await;
            }
            return Err(why);
        }
        if delivery.ack.assignment().is_unconfirmed() {
            // Another member may own the partition by now and send the same records.
            delivery.ack.open().set_stage(Stage::Holding);
            tokio::select! {
                () = sleep(UNCONFIRMED_PAUSE) => {}
                _ = lane.interrupted(delivery) => {}
            }
            continue;
        }
        delivery.ack.open().set_stage(Stage::Claiming);
        let ready = ready_mut(delivery)?;
        // An account that delivers without Redis does not wait until a command times out.
        let health = &lane.context.health;
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
        return take(claim_outcome, delivery, lane, guard);
    }
}

/// What came of a claim. `Some`: nothing has to be sent. `None`: the claim is ours, and in `guard`.
fn take(
    claim_outcome: ClaimOutcome,
    delivery: &mut Delivery,
    lane: &Lane,
    guard: &mut Option<ClaimGuard>,
) -> Result<Option<Progress>, DeliveryError> {
    match claim_outcome {
        ClaimOutcome::Claim(claimed) => {
            if !claimed.claim.unclaimed {
                let taken = claimed.claim.taken_over();
                lane.metrics().claim(if taken { ClaimResult::TakenOver } else { ClaimResult::Fresh });
            }
            *guard = Some(claimed);
            Ok(None)
        }
        ClaimOutcome::Duplicate { resends, is_own } => {
            lane.metrics().claim(ClaimResult::Done);
            delivery.is_read_again = is_own;
            Ok(Some(Progress::Duplicate { resends }))
        }
        ClaimOutcome::Conflict => {
            lane.metrics().claim(ClaimResult::Conflict);
            let detail = "the same trans_id was seen with another order, amount, refund or currency";
            Err(DeliveryError::Conflict(Fault::whole(detail)))
        }
        ClaimOutcome::Busy { unknown } => {
            lane.metrics().claim(ClaimResult::Held);
            Err(DeliveryError::Held { unknown })
        }
        ClaimOutcome::Foreign => {
            lane.metrics().claim(ClaimResult::Held);
            tell_foreign(delivery, lane);
            // Nobody will ever know what the value means, unless somebody deletes it.
            Err(DeliveryError::Held { unknown: true })
        }
    }
}

/// Names the record whose claim cannot be made. The key is named by the batcher.
fn tell_foreign(delivery: &Delivery, lane: &Lane) {
    let kind = Repeated::ForeignClaim(delivery.index());
    if let Some(not_logged) = lane.context.quiet.allow(kind, std::time::Instant::now()) {
        let named = delivery.named();
        tracing::error!(
            trans_id = named.trans_id.as_deref().unwrap_or(""),
            account = &*lane.handle.id.account_name,
            not_logged,
            "the key of the claim holds what no worker wrote: nothing is sent, and the record waits in its tier; \
             `postback trace` shows the key"
        );
    }
}

/// Judges the event's time. This comes after the claim, so that an old copy of a delivered event is a duplicate.
/// `false`: the clock cannot be believed now, so the claim has to be released and made again.
pub(super) fn check_time(delivery: &Delivery, lane: &Lane) -> Result<bool, DeliveryError> {
    let ready = event(delivery)?;
    let clock = &lane.context.health.clock;
    if clock.trouble().is_some() {
        return Ok(false);
    }
    let judged = timing::check(ready, &delivery.envelope, now_ms()).map(|()| true);
    let Err(DeliveryError::Invalid(fault) | DeliveryError::Expired(fault)) = &judged else { return judged };
    // The platforms' clocks contradicted ours, and none has been heard since. The event is not dead-lettered if its
    // time is right by their clocks: it is sent, and its answer tells which clock is right.
    match clock.doubted_now_ms() {
        Some(now) if fault.field == timing::EVENT_TIME => timing::check(ready, &delivery.envelope, now).map(|()| true),
        _ => judged,
    }
}

/// Refuses to send again what may have been accepted, on an account whose lost answers end in the dead letters.
fn refuse_second_send(delivery: &mut Delivery, guard: &Option<ClaimGuard>) -> Result<(), DeliveryError> {
    let ready = ready_mut(delivery)?;
    let resend = guard.as_ref().is_some_and(|h| h.claim.is_second(ready.claim_request.in_doubt));
    if resend && !ready.claim_request.force && ready.dead_letters_ambiguous() {
        return Err(DeliveryError::Ambiguous(Answer {
            detail: "an earlier send may have been accepted, and this account sends nothing twice".into(),
            ..Answer::default()
        }));
    }
    Ok(())
}

/// Releases a claim that is to be made again with a new token.
pub(super) async fn give_up(delivery: &mut Delivery, lane: &Lane, guard: &mut Option<ClaimGuard>) {
    lane.outbox.release(delivery, guard.take()).await;
    delivery.carry_count();
}

/// The rest of a lease, less what a send needs. `None`: it is too short for a send.
pub(super) fn spare_lease(lane: &Lane, guard: &Option<ClaimGuard>) -> Option<Duration> {
    let left = guard.as_ref().map_or(Duration::ZERO, |h| lane.dedupe.lease_left(&h.claim));
    left.checked_sub(lane.account.limits.timeout + LEASE_MARGIN)
}

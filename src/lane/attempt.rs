//! Attempts to deliver one event at the head of its lane, with a permit: claim, time check, connection, slot, send,
//! verdict. `settle` takes the result.

use tokio::time::Instant;

use crate::claim::ClaimGuard;
use crate::clock::now_ms;
use crate::delivery::Delivery;
use crate::delivery::progress::Stage;
use crate::error::DeliveryError;
use crate::lane::claiming::{claim_to_send, event, give_up};
use crate::lane::counting::{count, panicked};
use crate::lane::sending::{Stop, judge, wait_for_slot};
use crate::lane::state::Lane;
use crate::lane::tokens::wait_for_token;
use crate::lane::tries::{Next, Tries};
use crate::platforms::Receipt;
use crate::platforms::reading::Verdict;
use crate::send::client::Unanswered;
use crate::send::ready::Ready;
use crate::send::token::Token;
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

/// Attempts one event that has a permit to itself. `guard` receives the claim; `settle` ends it, whatever the result.
/// If `guard` is a claim already, it is used while its lease lasts.
///
/// # Errors
/// The reason why the event was not delivered.
pub async fn attempt(delivery: &mut Delivery, lane: &Lane, guard: &mut Option<ClaimGuard>) -> Attempted {
    let mut tries = Tries::default();
    let attempted = visit(delivery, lane, guard, &mut tries).await;
    tries.count_failed(delivery, lane);
    attempted
}

async fn visit(delivery: &mut Delivery, lane: &Lane, guard: &mut Option<ClaimGuard>, tries: &mut Tries) -> Attempted {
    loop {
        if let Some(done) = claim_to_send(delivery, lane, guard).await? {
            return Ok(done);
        }
        let mut unused = None;
        loop {
            // Boxed, here and below, because most accounts send without a token, and few records wait for one.
            if lane.token().is_err() && !Box::pin(wait_for_token(delivery, lane, guard, &mut tries.turn, None)).await? {
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
            let unanswered = match Box::pin(send(delivery, lane, guard, ready, token.as_ref())).await {
                Ok(receipt) => {
                    tries.failed = None;
                    return Ok(Progress::Accepted(receipt));
                }
                Err(unanswered) => unanswered,
            };
            match Box::pin(tries.after(unanswered, delivery, lane, guard, (slot, token))).await? {
                Next::Send(slot) => unused = slot,
                Next::Claim => break,
            }
        }
        tries.count_failed(delivery, lane);
        // The lease has become too short for a send, so the claim is released and made again with a new token.
        Box::pin(give_up(delivery, lane, guard)).await;
    }
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
    lane.note_unclassified(&result);
    count(delivery, lane, guard, &result, began_ms);
    lane.report_answer(delivery, result.as_ref().map(drop));
    if let Some(wait) = lane.dispatcher.take_pause() {
        // Boxed, because few answers demand it.
        Box::pin(lane.pause(wait)).await;
    }
    result.map_err(Unanswered::Failed)
}

#[cfg(test)]
mod tests;

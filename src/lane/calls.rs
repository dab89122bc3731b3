//! The attempt of a call at the head of its lane: one request after the other under one claim and one permit. What a
//! request brings is published before the next one begins, and the claim is confirmed after the last one.
//!
//! Each request takes a slot of the rate. Before each one after the first the claim is renewed, so that a call with
//! many pages keeps it. After a failure the next visit begins with the first page whose result is not acknowledged. A
//! call in chunks begins with the first chunk that was not answered, if this process still has the answers to the
//! others.

mod lease;

use tokio::time::Instant;

use crate::claim::ClaimGuard;
use crate::claim::rules::ClaimRequest;
use crate::clock::now_ms;
use crate::delivery::progress::Stage;
use crate::delivery::{Called, Delivery};
use crate::error::{Class, DeliveryError, Disposition, Fault};
use crate::lane::calls::lease::renew;
use crate::lane::chunks::Chunks;
use crate::lane::claiming::{check_time, claim_to_send, event, give_up};
use crate::lane::counting::{count, declare};
use crate::lane::quota::count_request;
use crate::lane::sending::{Stop, judge, wait_for_slot};
use crate::lane::state::Lane;
use crate::lane::tokens::wait_for_token;
use crate::lane::tries::{Next, Tries};
use crate::platforms::Receipt;
use crate::platforms::call::{Parts, PreparedCall};
use crate::platforms::reading::Verdict;
use crate::send::call::CallAnswered;
use crate::send::client::Unanswered;
use crate::send::quota::Counted;
use crate::send::ready::Ready;
use crate::send::token::Token;
use crate::settle::policy::InlineDelays;
use crate::settle::result::Part;
use crate::settle::{Attempted, Progress};

enum Sent {
    /// All of the call is answered and published.
    All,
    /// Another request follows.
    Part,
}

/// Attempts one call that has a permit to itself; otherwise as [`attempt`](super::attempt::attempt).
///
/// # Errors
/// The reason why the call was not answered to its end.
pub(super) async fn attempt_call(delivery: &mut Delivery, lane: &Lane, guard: &mut Option<ClaimGuard>) -> Attempted {
    let (mut counted, mut tries) = (None, Tries::default());
    let mut chunks = in_chunks(delivery).map(|call| lane.chunks.take(call)).unwrap_or_default();
    let attempted = visit(delivery, lane, guard, &mut counted, &mut tries, &mut chunks).await;
    tries.count_failed(delivery, lane);
    if let Err(why) = &attempted
        && !matches!(why.disposition(), Disposition::DeadLetter(_))
        && let Some(call) = in_chunks(delivery)
    {
        lane.chunks.keep(call, chunks);
    }
    delivery.set_counted(false);
    if let Some(unsent) = counted {
        lane.quota.take_back(unsent).await;
    }
    attempted
}

/// The claim of a call in chunks; `None`: the call has no chunks.
fn in_chunks(delivery: &Delivery) -> Option<&ClaimRequest> {
    let ready = event(delivery).ok()?;
    let parts = ready.call.as_ref()?.prepared.parts;
    matches!(parts, Parts::Chunks(_)).then_some(&ready.claim_request)
}

/// `counted` is the next request where it was counted and no byte of it has gone out.
async fn visit(
    delivery: &mut Delivery,
    lane: &Lane,
    guard: &mut Option<ClaimGuard>,
    counted: &mut Option<Counted>,
    tries: &mut Tries,
    chunks: &mut Chunks,
) -> Attempted {
    loop {
        if let Some(done) = claim_to_send(delivery, lane, guard).await? {
            return Ok(done);
        }
        let mut unused = None;
        loop {
            if lane.token().is_err() && !wait_for_token(delivery, lane, guard, &mut tries.turn, None).await? {
                break;
            }
            if counted.is_none() {
                *counted = Some(count_request(delivery, lane).await?);
                delivery.set_counted(true);
            }
            let Some(ready) = wait_for_slot(delivery, lane, guard, unused.take()).await? else { break };
            let slot = ready.slot;
            let Ok(token) = lane.token() else {
                // The token ended during the wait for the slot.
                unused = Some(slot);
                continue;
            };
            let sent = send_part(delivery, lane, guard, ready, token.as_ref(), chunks).await;
            if is_sent(&sent) {
                *counted = None;
                delivery.set_counted(false);
            }
            let unanswered = match sent {
                Ok(Sent::All) => {
                    tries.failed = None;
                    return Ok(Progress::Accepted(Receipt::default()));
                }
                Ok(Sent::Part) => {
                    tries.turn.answered();
                    tries.failed = None;
                    begin_anew(delivery, lane, &mut tries.delays);
                    if !renew(delivery, lane, guard).await? || !check_time(delivery, lane)? {
                        break;
                    }
                    continue;
                }
                Err(unanswered) => unanswered,
            };
            match tries.after(unanswered, delivery, lane, guard, (slot, token)).await? {
                Next::Send(slot) => unused = slot,
                Next::Claim => break,
            }
        }
        tries.count_failed(delivery, lane);
        give_up(delivery, lane, guard).await;
    }
}

/// Whether a byte of the request may have gone out.
fn is_sent<T, E>(sent: &Result<T, Unanswered<DeliveryError, E>>) -> bool {
    match sent {
        Ok(_) => true,
        Err(Unanswered::Failed(failure)) => failure.answer().is_none_or(|answer| answer.sent),
        Err(Unanswered::Closed | Unanswered::Stopped(_)) => false,
    }
}

fn called(delivery: &Delivery) -> Result<&Called, DeliveryError> {
    // Only calls come here. Anything else is refused rather than sent.
    event(delivery)?.call.as_deref().ok_or_else(|| DeliveryError::Malformed(Fault::whole("no call")))
}

/// Sends the request for the next part, and publishes the result that is whole with it.
async fn send_part(
    delivery: &mut Delivery,
    lane: &Lane,
    guard: &mut Option<ClaimGuard>,
    ready: Ready<'_>,
    token: Option<&Token>,
    chunks: &mut Chunks,
) -> Result<Sent, Unanswered<DeliveryError, Stop>> {
    delivery.ack.open().set_stage(Stage::Sending);
    let Ready { line, slot, connecting, waited: _ } = ready;
    let began = Instant::now();
    let began_ms = now_ms();
    let call = called(delivery).map_err(Unanswered::Failed)?;
    let (parts, first_page, most_pages) = (call.prepared.parts, call.first_page(), call.most_pages);
    let page = u64::from(delivery.envelope.page);
    let part = if let Parts::Chunks(_) = parts { chunks.done } else { page };
    let answered = match line {
        Err(failure) => Err(failure),
        Ok(line) => {
            let access = token.map(|token| &token.access);
            let last_word = || judge(delivery, lane, guard, slot);
            match line.call((&call.prepared, part), access, began_ms, last_word).await {
                Ok(answered) => Ok(answered),
                Err(Unanswered::Failed(failure)) => Err(failure),
                Err(nothing_sent) => return Err(nothing_sent),
            }
        }
    };
    lane.account_metrics().attempt_duration(connecting + began.elapsed());
    let CallAnswered { status, answer, room } = match answered {
        Ok(answered) => answered,
        Err(failure) => {
            let failure = doubt(delivery, failure);
            let verdict: Verdict = Err(failure.clone());
            lane.note_unclassified(&verdict);
            count(delivery, lane, guard, &verdict, began_ms);
            lane.report_answer(delivery, Err(&failure));
            return Err(Unanswered::Failed(failure));
        }
    };
    lane.report_answer(delivery, Ok(()));
    let answer = answer.map(|answer| *answer);
    let (answer, follows, is_whole) = match parts {
        Parts::One => (answer, false, true),
        Parts::Pages { .. } => {
            // What is too long to be read does not say whether another page follows.
            let follows = answer.as_ref().is_some_and(|answer| answer.more) && page + 1 < most_pages;
            (answer, follows, true)
        }
        Parts::Chunks(all) => {
            chunks.add(answer, began_ms);
            let follows = chunks.done < all;
            (if follows { None } else { chunks.answer.take() }, follows, !follows)
        }
    };
    let attempts = delivery.envelope.attempts + 1;
    if follows {
        count_part(delivery, lane, guard, began_ms);
    } else {
        count(delivery, lane, guard, &Ok(Receipt::default()), began_ms);
    }
    if is_whole {
        delivery.ack.open().set_stage(Stage::Settling);
        let result = Part {
            page: first_page.saturating_add(page),
            is_final: !follows,
            attempts,
            http_status: status,
            started_at_ms: chunks.began_ms.unwrap_or(began_ms),
            finished_at_ms: now_ms(),
            answer,
        };
        lane.outbox.publish_answer(delivery, result).await;
        drop(room);
        // From here on no visit asks for this page again.
        delivery.envelope.page = delivery.envelope.page.saturating_add(1);
    }
    Ok(if follows { Sent::Part } else { Sent::All })
}

/// Counts a request that was answered while others of the call follow. Only the last one makes the attempt of a visit,
/// so that a call with many pages does not use up its attempts.
fn count_part(delivery: &mut Delivery, lane: &Lane, guard: &mut Option<ClaimGuard>, began_ms: i64) {
    lane.account_metrics().attempt(Class::Delivered);
    declare(delivery, lane, guard);
    delivery.envelope.first_attempt_ms.get_or_insert(began_ms);
}

/// A failure after which a destructive call may have been carried out all the same: it is in doubt, and is not made
/// again.
fn doubt(delivery: &Delivery, failure: DeliveryError) -> DeliveryError {
    match failure {
        DeliveryError::Retry(answer) if answer.sent && !delivery.only_reads() => DeliveryError::Ambiguous(answer),
        failure => failure,
    }
}

/// The answer to one request of a call counts for the lane as that of a record does. Pages are published one by one, so
/// that each one has all tries to itself. Chunks are not: another process begins with the first one again.
fn begin_anew(delivery: &mut Delivery, lane: &Lane, delays: &mut Option<InlineDelays>) {
    lane.note(delivery.is_replayed(), &Ok(Progress::Accepted(Receipt::default())));
    // The answer of the probe is known, so another probe may begin.
    delivery.probe = None;
    let Ok(Called { prepared: PreparedCall { parts: Parts::Pages { .. }, .. }, .. }) = called(delivery) else { return };
    (delivery.throttled, delivery.inline_used, *delays) = (0, 0, None);
    delivery.attempted = false;
    let envelope = &mut delivery.envelope;
    (envelope.attempts, envelope.pass, envelope.retry_since_ms) = (0, 0, None);
}

#[cfg(test)]
mod tests;

//! What an attempt adds to the counters and to a record's envelope.

use tokio::time::Instant;

use crate::claim::ClaimGuard;
use crate::clock::now_ms;
use crate::delivery::{Delivery, Subject};
use crate::envelope::LastAttempt;
use crate::error::{Answer, Class, DeliveryError};
use crate::lane::state::Lane;
use crate::platforms::reading::Verdict;

/// Counts the attempt of one event; `began_ms` is when it began.
pub(super) fn count(
    delivery: &mut Delivery,
    lane: &Lane,
    guard: &mut Option<ClaimGuard>,
    verdict: &Verdict,
    began_ms: i64,
) {
    let class = verdict.as_ref().err().map_or(Class::Delivered, |e| e.class().unwrap_or(Class::Halt));
    lane.account_metrics().attempt(class);
    if delivery.inline_used == 0 {
        lane.retry_budget.tried(Instant::now());
    }
    let answer = verdict.as_ref().err().and_then(DeliveryError::answer);
    let sent = answer.is_none_or(|a| a.sent);
    if sent {
        declare(delivery, lane, guard);
    }
    // Only these classes count as attempts. A hand-off without an attempt leaves the last attempt as it was.
    if matches!(class, Class::Delivered | Class::Retry | Class::Permanent | Class::Ambiguous) {
        let envelope = &mut delivery.envelope;
        envelope.attempts += 1;
        envelope.first_attempt_ms.get_or_insert(began_ms);
        delivery.attempted = true;
        // An event that may have been accepted stays in doubt, whatever the result of a later try whose first byte did
        // not go out.
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
}

/// Records that the first byte of an event's send went out. A take-over or a claim in doubt counts as a re-send, once
/// per claim. A call that only reads may be made again without a word.
pub(super) fn declare(delivery: &mut Delivery, lane: &Lane, guard: &mut Option<ClaimGuard>) {
    if let (Some(guard), Subject::Ready(ready)) = (guard, &mut delivery.subject)
        && !ready.only_reads()
        && guard.claim.declare()
    {
        ready.claim_request.own += 1;
        lane.account_metrics().ambiguous_resends.inc();
    }
}

/// The result of an event whose attempt panicked: a bug must not hold the offset back for ever. Nobody knows whether a
/// byte went out, so the event is treated as sent without an answer.
pub(super) fn panicked(
    delivery: &mut Delivery,
    lane: &Lane,
    guard: &mut Option<ClaimGuard>,
    attempts_before: u32,
) -> DeliveryError {
    tracing::error!(account = &*lane.account.name, "an attempt panicked; its event is treated as sent without answer");
    if delivery.envelope.attempts == attempts_before {
        delivery.envelope.attempts += 1;
        delivery.attempted = true;
    }
    declare(delivery, lane, guard);
    delivery.envelope.first_attempt_ms.get_or_insert_with(now_ms);
    delivery.envelope.last =
        Some(LastAttempt { class: Class::Ambiguous.as_str().to_owned(), ..LastAttempt::default() });
    let failure = DeliveryError::Ambiguous(Answer { detail: "internal error".into(), sent: true, ..Answer::default() });
    if delivery.probe.is_some() {
        lane.report_answer(delivery, Err(&failure));
    }
    failure
}

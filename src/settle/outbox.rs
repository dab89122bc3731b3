//! The steps of settling, each in the one safe order: everything that leaves the process leaves here. `settle` takes
//! them for results, and admission for records that end there. The lane takes them for what it ends without a result:
//! it parks the records that it has set aside, releases a claim that is to be made again, and publishes the results of
//! a call.

mod park;
mod publish;
mod replayed;
mod results;

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::claim::{ClaimGuard, Dedupe};
use crate::clock::now_ms;
use crate::delivery::progress::End;
use crate::delivery::{Delivery, Ready, Subject};
use crate::envelope::{Copy, DeadLetterCause};
use crate::error::{DeliveryError, Disposition, Outcome, Reason};
use crate::kafka::tier_topic;
use crate::quiet::Repeated;
use crate::redis::batcher::StoreError;
use crate::settle::context::StageContext;
use crate::settle::outcomes::{Died, Outcomes};
use crate::settle::policy::field_and_detail;
use crate::settle::receipt::receipt;

/// Why a copy was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unwritten {
    /// The partition has gone to another member. That member reads the record again.
    Gone,
    /// The topic takes no record of this size, not even compressed and in a batch of its own.
    TooLarge,
}

/// Publishes copies, dead letters and receipts, and finishes records. There is one per runtime thread.
pub struct Outbox {
    pub context: Arc<StageContext>,
    /// The claims of this thread.
    pub dedupe: Rc<Dedupe>,
    /// Counts what comes of replayed records.
    pub outcomes: Outcomes,
}

impl Outbox {
    /// The keys of Redis begin with `prefix`.
    pub fn new(context: Arc<StageContext>, dedupe: Rc<Dedupe>, prefix: &str) -> Self {
        let outcomes = Outcomes::new(dedupe.batcher.clone(), prefix);
        Self { context, dedupe, outcomes }
    }

    /// Settles a record that ended at admission.
    pub async fn settle_ended(&self, delivery: Box<Delivery>) {
        let Subject::Ended(ended) = &delivery.subject else { return };
        match ended.end.clone() {
            Ok(outcome) => {
                // Boxed, because few records end here. Whoever waits for the result of a call gets one.
                if Box::pin(self.publish_suppressed(&delivery)).await.is_err() {
                    return delivery.ack.complete(End::Returned);
                }
                self.finish(delivery, outcome, None, 0, None).await;
            }
            Err(error) => match error.disposition() {
                Disposition::DeadLetter(reason) => Box::pin(self.dead_letter(delivery, None, reason, &error)).await,
                // Admission ends records only with these reasons. Any other would be a bug: the record is given back,
                // so that it is not lost.
                _ => delivery.ack.complete(End::Returned),
            },
        }
    }

    pub(crate) async fn to_tier(
        &self,
        mut delivery: Box<Delivery>,
        guard: Option<ClaimGuard>,
        index: usize,
        due_ms: i64,
    ) {
        delivery.envelope.retry_since_ms.get_or_insert_with(|| self.context.health.clock.now_ms());
        self.wait_in_tier(delivery, guard, index, due_ms).await;
    }

    async fn wait_in_tier(&self, mut delivery: Box<Delivery>, guard: Option<ClaimGuard>, index: usize, due_ms: i64) {
        delivery.envelope.due_ms = Some(due_ms);
        let Subject::Ready(ready) = &delivery.subject else { return };
        let tier = &ready.account.retry.tiers[index];
        let topic = tier_topic(&self.context.topics.retry_prefix, &tier.name);
        match self.publish_whole(&delivery, &topic, Copy::Retry).await {
            Ok(()) => {}
            Err(Unwritten::TooLarge) => return self.dead_letter_too_large(delivery, guard, &topic).await,
            Err(Unwritten::Gone) => {
                self.release(&mut delivery, guard).await;
                return delivery.ack.complete(End::Returned);
            }
        }
        self.context.metrics.account(delivery.index()).retry_scheduled(index);
        delivery.ack.open().set_next_try_ms(due_ms);
        self.release(&mut delivery, guard).await;
        delivery.ack.complete(End::Retried);
    }

    /// Publishes a dead letter. If the record is in doubt, it may have been accepted: then its key is marked `unknown`
    /// first, and it ends as `unknown_outcome`.
    pub(crate) async fn dead_letter(
        &self,
        mut delivery: Box<Delivery>,
        guard: Option<ClaimGuard>,
        reason: Reason,
        error: &DeliveryError,
    ) {
        let taken_over = guard.as_ref().is_some_and(|h| h.claim.taken_over());
        let doubtful = delivery.in_doubt() || (taken_over && !delivery.only_reads());
        let reason = match reason {
            // The platform has refused it for good, or it has proved to be another event: it was not accepted.
            Reason::Rejected | Reason::Conflict => reason,
            _ if doubtful => Reason::UnknownOutcome,
            other => other,
        };
        if reason == Reason::UnknownOutcome {
            self.mark(&mut delivery, guard.as_ref()).await;
        }
        self.publish_dead(delivery, guard, reason, error).await;
    }

    pub(crate) async fn publish_dead(
        &self,
        mut delivery: Box<Delivery>,
        guard: Option<ClaimGuard>,
        reason: Reason,
        error: &DeliveryError,
    ) {
        let named = delivery.named();
        let (field, detail) = field_and_detail(reason, error);
        let cause = DeadLetterCause {
            reason: reason.as_str(),
            field,
            detail,
            failed_at_ms: now_ms(),
            worker: env!("CARGO_PKG_VERSION").into(),
            truncated: None,
        };
        // The result first: whoever waits for it need not look into the dead letters.
        let published = match Box::pin(self.publish_failure(&delivery, reason, error)).await {
            Ok(()) => self.publish_dead_letter(&delivery, &named, &cause).await,
            gone => gone,
        };
        if published.is_err() {
            self.release(&mut delivery, guard).await;
            return delivery.ack.complete(End::Returned);
        }
        self.release(&mut delivery, guard).await;
        self.context.metrics.account(delivery.index()).dead_letter(reason);
        let origin = &delivery.envelope.origin;
        // One line a minute for each account and reason, so that a storm cannot hide the first error.
        let kind = Repeated::DeadLetter { account: delivery.index(), reason };
        if let Some(not_logged) = self.context.quiet.allow(kind, Instant::now()) {
            tracing::warn!(
                trans_id = named.trans_id.as_deref().unwrap_or(""),
                platform = named.platform.as_deref().unwrap_or(""),
                account = named.account.as_deref().unwrap_or(""),
                reason = reason.as_str(),
                field = &*cause.field,
                detail = cause.detail.as_str(),
                kafka.topic = &*origin.topic,
                kafka.partition = origin.partition,
                kafka.offset = origin.offset,
                not_logged,
                "dead letter"
            );
        }
        let resends = delivery.envelope.resends;
        let died = Died { reason, field: &cause.field, detail: &cause.detail };
        self.finish(delivery, Outcome::DeadLettered, Some(died), resends, None).await;
    }

    /// Marks the key `unknown`, and repeats that until it works. Nothing may be published before.
    pub(crate) async fn mark(&self, delivery: &mut Delivery, guard: Option<&ClaimGuard>) {
        if let Subject::Ready(ready) = &mut delivery.subject {
            let claim = guard.map(|h| &h.claim);
            until_it_works(async || self.dedupe.mark(&mut ready.claim_request, claim, ready.index).await).await;
            self.count_possible(ready);
        }
        delivery.carry_count();
    }

    /// Adds the possible duplicates that a claim, a confirm or a mark found to the counter.
    pub(crate) fn count_possible(&self, ready: &mut Ready) {
        let mut possible = std::mem::take(&mut ready.claim_request.possible);
        if ready.only_reads() {
            // A second answer does no harm, so none is declared.
            (possible, ready.claim_request.own) = (0, 0);
        }
        if possible > 0 {
            self.context.metrics.account(ready.index).ambiguous_resends.inc_by(u64::from(possible));
        }
    }

    pub(crate) async fn release(&self, delivery: &mut Delivery, guard: Option<ClaimGuard>) {
        if let (Some(guard), Subject::Ready(ready)) = (guard, &mut delivery.subject) {
            self.dedupe.release(&mut ready.claim_request, guard).await;
        }
    }

    pub(crate) async fn finish(
        &self,
        delivery: Box<Delivery>,
        outcome: Outcome,
        died: Option<Died<'_>>,
        resends: u32,
        platform_id: Option<String>,
    ) {
        if delivery.is_replayed() {
            // Before the receipt, so that a replay never counts less than receipts say. Boxed, because few records were
            // replayed.
            Box::pin(self.count_replayed(&delivery, outcome, died)).await;
        }
        let reason = died.map(|died| died.reason);
        let topic = &self.context.topics.receipts;
        // The next reader of a record that was given back writes its receipt. Only a delivery is reported here as well,
        // because it is a fact.
        let gone = delivery.ack.assignment().is_gone();
        if !topic.is_empty() && (!gone || outcome == Outcome::Delivered) {
            let written = |brief| receipt(&delivery, outcome, reason, resends, platform_id.clone(), brief);
            // Boxed, because few records write a receipt and the rest of this future is small.
            Box::pin(self.publish_receipt(topic, written)).await;
        }
        tracing::debug!(
            outcome = outcome.as_str(),
            kafka.topic = &*delivery.record.topic,
            kafka.partition = delivery.record.partition,
            kafka.offset = delivery.record.offset,
            "finished"
        );
        delivery.ack.complete(End::Finished(outcome));
    }
}

pub(crate) async fn until_it_works(mut write: impl AsyncFnMut() -> Result<(), StoreError>) {
    let mut pause = Duration::from_millis(50);
    while write().await.is_err() {
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

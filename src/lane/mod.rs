//! One account's way out: its queues, permits and the one task that owns them.
//!
//! Nothing is shared with other accounts but the thread: an account that hangs fills its own queues and permits alone.

mod answers;
mod aside;
pub mod attempt;
pub mod handle;
pub(crate) mod queue;
pub mod threads;
mod unclassified;

use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use crate::account::Account;
use crate::claim::rules::Key;
use crate::claim::{Dedupe, Held};
use crate::delivery::{Delivery, Ready, Subject};
use crate::error::{Answer, Class, DeliveryError};
use crate::kafka::consumer::Stage;
use crate::kafka::envelope::LastAttempt;
use crate::lane::attempt::{Progress, process};
use crate::lane::handle::{LaneHandle, LaneMessage};
use crate::lane::queue::Queues;
use crate::metrics::{AccountMetrics, Metrics};
use crate::send::Dispatcher;
use crate::send::rate::Limiter;
use crate::settle::context::{Halted, StageContext, now_ms};
use crate::settle::outbox::Outbox;
use crate::settle::settle;
use aside::Aside;
pub(crate) use aside::PARKS;
use unclassified::Unclassified;

/// One account on its runtime thread.
pub struct Lane {
    /// As other threads see it.
    pub handle: Arc<LaneHandle>,
    /// Whose.
    pub account: Arc<Account>,
    /// Where records leave.
    pub outbox: Rc<Outbox>,
    /// The claims of this thread.
    pub dedupe: Rc<Dedupe>,
    /// What all lanes share.
    pub shared: Arc<StageContext>,
    /// Its HTTP.
    pub dispatcher: Dispatcher,
    /// Its way to the bucket.
    pub limiter: Rc<Limiter>,
    /// Permanent answers in a row.
    pub(crate) permanents: Cell<u32>,
    /// Push-backs without any other answer in between.
    pub(crate) throttles: Cell<u32>,
    /// Answers that no table lists, as far as they were seen.
    pub(crate) unclassified: Unclassified,
    /// Since when the account has got only throttled answers.
    pub(crate) throttled_since: Cell<Option<Instant>>,
    /// When the push-back of the last of them is over.
    pub(crate) throttled_until: Cell<Option<Instant>>,
}

struct Walked {
    delivery: Box<Delivery>,
    key: Option<Key>,
    held: Option<Held>,
    result: Result<Progress, DeliveryError>,
}

impl Lane {
    /// Assembles a lane.
    pub fn new(handle: Arc<LaneHandle>, outbox: Rc<Outbox>, dispatcher: Dispatcher, limiter: Rc<Limiter>) -> Rc<Self> {
        Rc::new(Self {
            account: handle.account.clone(),
            handle,
            dedupe: outbox.dedupe.clone(),
            shared: outbox.shared.clone(),
            outbox,
            dispatcher,
            limiter,
            permanents: Cell::new(0),
            throttles: Cell::new(0),
            unclassified: Unclassified::default(),
            throttled_since: Cell::new(None),
            throttled_until: Cell::new(None),
        })
    }

    /// Counters of the process.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Counters of the account.
    pub fn account_metrics(&self) -> &AccountMetrics {
        self.shared.metrics.account(self.handle.index)
    }

    /// Moves what a claim or a confirm found into the counter.
    pub fn count_possible(&self, ready: &mut Ready) {
        let possible = std::mem::take(&mut ready.claim_request.possible);
        if possible > 0 {
            self.account_metrics().ambiguous_resends.inc_by(u64::from(possible));
        }
    }

    /// Why this record must not go on now.
    pub fn interruption(&self, delivery: &Delivery) -> Option<DeliveryError> {
        if delivery.ack.assignment().is_leaving() {
            return Some(DeliveryError::Returned);
        }
        let is_open = if delivery.trial.is_some() { self.handle.is_open_for_trial() } else { self.handle.is_open() };
        (!is_open && !self.is_overdue(delivery)).then_some(DeliveryError::Closed)
    }

    /// Waits until this record must not go on.
    pub async fn interrupted(&self, delivery: &Delivery) -> DeliveryError {
        loop {
            let mut changed = pin!(self.handle.changed());
            changed.as_mut().enable();
            if let Some(why) = self.interruption(delivery) {
                return why;
            }
            changed.await;
        }
    }

    /// Parked for too long: it ends whether the lane is open or not.
    fn is_overdue(&self, delivery: &Delivery) -> bool {
        let Subject::Ready(ready) = &delivery.subject else { return false };
        ready.policy().parked_too_long(&delivery.envelope, now_ms())
    }

    /// Closes the account for every replica.
    pub fn halt(&self, reason: &str) {
        let reason = crate::redact::mask_text(reason).into_owned();
        if self.handle.halt(&reason) {
            tracing::error!(account = &*self.account.name, reason = reason.as_str(), "account halted; its events park");
            let _ = self.shared.halts.send(Halted { index: self.handle.index, reason });
        }
    }

    /// Runs the lane for as long as the process lives.
    pub async fn run(self: Rc<Self>, mut inbox: UnboundedReceiver<LaneMessage>) {
        let concurrency = self.account.limits.concurrency;
        let mut queues = Queues::default();
        let mut walks = FuturesUnordered::new();
        let mut settles = FuturesUnordered::new();
        let mut aside = Aside::default();
        let mut mail = Vec::new();
        let mut seen = self.handle.changes();
        let mut changed = pin!(self.handle.changed());
        loop {
            // Before the count is read, so that no change falls in between.
            changed.as_mut().enable();
            let touched = std::mem::replace(&mut seen, self.handle.changes()) != seen;
            if touched {
                aside.give_back(&self);
            }
            if touched || !self.handle.is_open() {
                for delivery in queues.take_out(|d| self.interruption(d)) {
                    aside.take(&self, delivery);
                }
            }
            aside.go_on(&self);
            while walks.len() < concurrency
                && walks.len() + settles.len() < 2 * concurrency
                && let Some((delivery, key)) = queues.next()
            {
                self.handle.walks(delivery.topic_kind, delivery.record.size());
                self.handle.dequeued(&delivery);
                walks.push(self.clone().walk(delivery, key));
            }
            self.handle.in_flight.store(walks.len() + settles.len(), Relaxed);
            // In this order without harm: of what is ready each turn takes one, and nothing gets ready by it.
            tokio::select! {
                biased;
                Some(walked) = walks.next(), if !walks.is_empty() => {
                    let Walked { delivery, key, held, result } = walked;
                    self.note_walk(&delivery, &result);
                    let lane = self.clone();
                    settles.push(async move {
                        let (topic_kind, bytes) = (delivery.topic_kind, delivery.record.size());
                        (settle(&lane, delivery, held, result).await, key, topic_kind, bytes)
                    });
                }
                Some((back, key, topic_kind, bytes)) = settles.next(), if !settles.is_empty() => {
                    if let Some(delivery) = &back {
                        delivery.ack.open().set_stage(Stage::Queued);
                        self.handle.enqueued(delivery);
                    }
                    queues.ended(key, back);
                    self.handle.walked(topic_kind, bytes);
                }
                Some((topic_kind, bytes)) = aside.next(), if !aside.is_idle() => self.handle.left_aside(topic_kind, bytes),
                taken = inbox.recv_many(&mut mail, 256) => {
                    if taken == 0 {
                        return;
                    }
                    for mail in mail.drain(..) {
                        match mail {
                            LaneMessage::Deliver(deliveries) => {
                                for mut delivery in deliveries {
                                    if delivery.trial.is_none() && !self.handle.is_open() {
                                        delivery.trial = self.handle.take_trial();
                                    }
                                    if self.interruption(&delivery).is_some() {
                                        aside.take(&self, delivery);
                                    } else {
                                        delivery.ack.open().set_stage(Stage::Queued);
                                        queues.push(delivery);
                                    }
                                }
                            }
                            LaneMessage::Park(delivery) => aside.push(&self, delivery),
                            LaneMessage::ParkQueue => {
                                for delivery in queues.take_live() {
                                    aside.take(&self, delivery);
                                }
                                self.handle.emptied();
                            }
                        }
                    }
                }
                () = &mut changed => changed.set(self.handle.changed()),
            }
        }
    }

    async fn walk(self: Rc<Self>, mut delivery: Box<Delivery>, key: Option<Key>) -> Walked {
        let mut held = None;
        let sent_before = delivery.envelope.attempts;
        let walked = AssertUnwindSafe(process(&mut delivery, &self, &mut held)).catch_unwind().await;
        let result = walked.unwrap_or_else(|_| {
            // A bug must not hold the frontier. Whether a byte went out nobody knows: that is the careful reading.
            tracing::error!(
                account = &*self.account.name,
                "a walk panicked; its event is treated as sent without answer"
            );
            if delivery.envelope.attempts == sent_before {
                delivery.envelope.attempts += 1;
                delivery.attempted = true;
            }
            if let (Some(held), Subject::Ready(ready)) = (&mut held, &mut delivery.subject)
                && held.claim.declare()
            {
                ready.claim_request.own += 1;
                self.account_metrics().ambiguous_resends.inc();
            }
            delivery.envelope.first_attempt_ms.get_or_insert_with(now_ms);
            delivery.envelope.last =
                Some(LastAttempt { class: Class::Ambiguous.as_str().to_owned(), ..LastAttempt::default() });
            Err(DeliveryError::Ambiguous(Answer { detail: "internal error".into(), sent: true, ..Answer::default() }))
        });
        Walked { delivery, key, held, result }
    }
}

#[cfg(test)]
mod tests;

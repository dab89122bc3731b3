//! One account's way out: its queues, permits and the one task that owns them.
//!
//! Nothing is shared with other accounts but the thread: an account that hangs fills its own queues and permits alone.

mod answers;
mod aside;
pub mod attempt;
pub mod handle;
pub(crate) mod queue;
pub(crate) mod state;
pub mod threads;
mod unclassified;

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::claim::Held;
use crate::claim::rules::Key;
use crate::clock::now_ms;
use crate::delivery::progress::Stage;
use crate::delivery::{Delivery, Subject, TopicKind};
use crate::envelope::LastAttempt;
use crate::error::{Answer, Class, DeliveryError};
use crate::lane::aside::Aside;
use crate::lane::attempt::process;
use crate::lane::handle::LaneMessage;
use crate::lane::queue::Queues;
pub use crate::lane::state::Lane;
use crate::settle::{Attempted, settle};

/// What came of a record that had a permit.
pub(crate) struct Walked {
    pub(crate) delivery: Box<Delivery>,
    pub(crate) key: Option<Key>,
    pub(crate) held: Option<Held>,
    pub(crate) result: Attempted,
}

/// What was settled, or goes `back` to the lane's head.
pub(crate) struct Settled {
    pub(crate) back: Option<Box<Delivery>>,
    key: Option<Key>,
    topic_kind: TopicKind,
    bytes: usize,
}

impl Lane {
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
                    self.note_walk(&walked.delivery, &walked.result);
                    settles.push(self.clone().settle(walked));
                }
                Some(Settled { back, key, topic_kind, bytes }) = settles.next(), if !settles.is_empty() => {
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

    /// What the answer asks of the lane comes before its record is settled: a halt parks what follows, a push-back keeps it.
    pub(crate) async fn settle(self: Rc<Self>, walked: Walked) -> Settled {
        let Walked { mut delivery, key, mut held, result } = walked;
        let (topic_kind, bytes) = (delivery.topic_kind, delivery.record.size());
        self.halt_if_asked(&result);
        // Boxed: few answers push a lane back.
        if let Err(DeliveryError::Throttled(answer)) = &result
            && Box::pin(self.give_back(&mut delivery, &mut held, answer.retry_after)).await
        {
            return Settled { back: Some(delivery), key, topic_kind, bytes };
        }
        settle(&self.outbox, delivery, held, result).await;
        Settled { back: None, key, topic_kind, bytes }
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

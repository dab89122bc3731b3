//! The lanes. A lane is everything that one account has for sending: its queues, its permits and the one task that owns
//! them.
//!
//! A permit is for one record, or for a batch of records if the platform takes several per request.
//!
//! Accounts share nothing but the thread: an account that hangs fills only its own queues and permits.

mod answers;
mod aside;
pub mod attempt;
mod attempted;
mod batch;
mod calls;
mod claiming;
mod counting;
pub mod handle;
mod joining;
pub(crate) mod queue;
mod quota;
pub(crate) mod state;
pub mod threads;
mod tokens;
mod unclassified;

use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use futures_util::future::Either;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::claim::rules::Key;
use crate::delivery::Delivery;
use crate::delivery::progress::Stage;
use crate::error::DeliveryError;
use crate::lane::aside::Aside;
use crate::lane::attempt::{attempt, ended};
pub(crate) use crate::lane::attempted::{AttemptedDelivery, Settled};
use crate::lane::batch::attempt_batch;
use crate::lane::calls::attempt_call;
use crate::lane::handle::LaneMessage;
use crate::lane::queue::Queues;
pub use crate::lane::state::Lane;
use crate::settle::settle;

/// A boxed attempt: of records that share a permit, each of which leaves separately, so that the attempt itself returns
/// none; or of a call.
type Shared = Pin<Box<dyn Future<Output = Option<AttemptedDelivery>>>>;

impl Lane {
    /// Runs the lane for as long as the process lives.
    pub async fn run(self: Rc<Self>, mut inbox: UnboundedReceiver<LaneMessage>) {
        let concurrency = self.account.limits.concurrency;
        let shares_permits = self.batches.limits.items > 1;
        // A record that was accepted and is not yet confirmed counts too, so that the number of claims is bounded.
        let most = 2 * concurrency * self.batches.limits.items;
        // The records that have a permit or share one.
        let mut with_permit = 0;
        // Half of the permits, so that a live record seldom waits for the end of a replayed one.
        let mut queues = Queues::new((concurrency / 2).max(1) * self.batches.limits.items);
        let mut attempts = FuturesUnordered::new();
        let mut settles = FuturesUnordered::new();
        let mut aside = Aside::default();
        let mut mail = Vec::new();
        let mut seen = self.handle.changes();
        let mut changed = pin!(self.handle.changed());
        loop {
            // This comes before the count is read, so that no change in between is missed.
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
            while let Some(attempted) = self.batches.next_left() {
                with_permit -= 1;
                settles.push(self.clone().take_out(attempted));
            }
            let places = |with_permit: usize| most.saturating_sub(with_permit + settles.len());
            loop {
                if shares_permits {
                    with_permit +=
                        self.batches.join(&mut queues, places(with_permit), |delivery| self.got_permit(delivery));
                }
                if attempts.len() >= concurrency || places(with_permit) == 0 {
                    break;
                }
                if shares_permits {
                    let first = self.batches.next(&mut queues, places(with_permit));
                    if first.is_empty() {
                        break;
                    }
                    with_permit += first.len();
                    first.iter().for_each(|(delivery, _)| self.got_permit(delivery));
                    attempts.push(Either::Right(Box::pin(attempt_batch(self.clone(), first)) as Shared));
                } else {
                    let Some((delivery, key)) = queues.next() else { break };
                    with_permit += 1;
                    self.got_permit(&delivery);
                    attempts.push(if delivery.is_call() {
                        Either::Right(Box::pin(self.clone().attempt_one_call(delivery, key)) as Shared)
                    } else {
                        Either::Left(self.clone().attempt_one(delivery, key))
                    });
                }
            }
            self.handle.in_flight.store(with_permit + settles.len(), Relaxed);
            // The order is harmless: each turn takes one of the ready branches, and taking it makes no other branch
            // ready.
            tokio::select! {
                biased;
                Some(attempted) = attempts.next(), if !attempts.is_empty() => {
                    if let Some(attempted) = attempted {
                        with_permit -= 1;
                        settles.push(self.clone().take_out(attempted));
                    }
                }
                () = self.batches.turn(), if shares_permits => {}
                Some(Settled { back, key, topic_kind, bytes }) = settles.next(), if !settles.is_empty() => {
                    if let Some(delivery) = &back {
                        delivery.ack.open().set_stage(Stage::Queued);
                        self.handle.enqueued(delivery);
                    }
                    queues.ended(key, back);
                    self.handle.permit_ended(topic_kind, bytes);
                }
                Some((topic_kind, bytes)) = aside.next(), if !aside.is_idle() => self.handle.left_aside(topic_kind, bytes),
                taken = inbox.recv_many(&mut mail, 256) => {
                    if taken == 0 {
                        return;
                    }
                    mail.drain(..).for_each(|mail| self.take_in(mail, &mut queues, &mut aside));
                }
                () = &mut changed => changed.set(self.handle.changed()),
            }
        }
    }

    fn take_in(self: &Rc<Self>, mail: LaneMessage, queues: &mut Queues, aside: &mut Aside) {
        match mail {
            LaneMessage::Deliver(deliveries) => {
                for mut delivery in deliveries {
                    if delivery.trial.is_none() && !self.handle.is_open() {
                        delivery.trial = self.handle.take_trial();
                    }
                    if self.interruption(&delivery).is_some() {
                        aside.take(self, delivery);
                    } else {
                        delivery.ack.open().set_stage(Stage::Queued);
                        queues.push(delivery);
                    }
                }
            }
            LaneMessage::Park(delivery) => aside.push(self, delivery),
            LaneMessage::ParkQueue => {
                for delivery in queues.take_live() {
                    aside.take(self, delivery);
                }
                self.handle.emptied();
            }
        }
    }

    fn got_permit(&self, delivery: &Delivery) {
        self.handle.got_permit(delivery.topic_kind, delivery.record.size());
        self.handle.dequeued(delivery);
    }

    /// Takes the result of a record and settles it.
    fn take_out(self: Rc<Self>, attempted: AttemptedDelivery) -> impl Future<Output = Settled> {
        self.note_record(&attempted.delivery, &attempted.result);
        self.settle(attempted)
    }

    /// Settles a record. First the lane does what the answer demands of it: a halt parks the records that follow, and a
    /// push-back keeps this one.
    pub(crate) async fn settle(self: Rc<Self>, attempted: AttemptedDelivery) -> Settled {
        let AttemptedDelivery { mut delivery, key, mut held, result } = attempted;
        let (topic_kind, bytes) = (delivery.topic_kind, delivery.record.size());
        self.halt_if_asked(&result);
        // Boxed, because few answers push a lane back.
        if let Err(DeliveryError::Throttled(answer)) = &result
            && Box::pin(self.give_back(&mut delivery, &mut held, answer)).await
        {
            return Settled { back: Some(delivery), key, topic_kind, bytes };
        }
        settle(&self.outbox, delivery, held, result).await;
        Settled { back: None, key, topic_kind, bytes }
    }

    async fn attempt_one(self: Rc<Self>, mut delivery: Box<Delivery>, key: Option<Key>) -> Option<AttemptedDelivery> {
        let mut held = None;
        let attempts_before = delivery.envelope.attempts;
        // Called directly, because inside another future every record in flight would carry that future's arguments as
        // well.
        let attempted = AssertUnwindSafe(attempt(&mut delivery, &self, &mut held)).catch_unwind().await;
        let result = ended(attempted, &mut delivery, &self, &mut held, attempts_before);
        Some(AttemptedDelivery { delivery, key, held, result })
    }

    async fn attempt_one_call(
        self: Rc<Self>,
        mut delivery: Box<Delivery>,
        key: Option<Key>,
    ) -> Option<AttemptedDelivery> {
        let mut held = None;
        let attempts_before = delivery.envelope.attempts;
        let attempted = AssertUnwindSafe(attempt_call(&mut delivery, &self, &mut held)).catch_unwind().await;
        let result = ended(attempted, &mut delivery, &self, &mut held, attempts_before);
        Some(AttemptedDelivery { delivery, key, held, result })
    }
}

#[cfg(test)]
mod tests;

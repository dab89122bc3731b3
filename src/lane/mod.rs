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
mod breaker_reports;
mod calls;
mod chunks;
mod claiming;
mod counting;
pub mod handle;
mod joining;
pub(crate) mod queue;
mod quota;
mod renewal;
mod retry_budget;
mod sending;
pub(crate) mod state;
pub mod threads;
mod tokens;
mod tries;

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
use crate::lane::handle::inbox::LaneMessage;
use crate::lane::queue::Queues;
pub use crate::lane::state::Lane;
use crate::settle::settle;

/// A boxed attempt of records that share a permit. Each of them leaves separately, so the attempt itself returns none.
type Shared = Pin<Box<dyn Future<Output = Option<AttemptedDelivery>>>>;

/// How much goes on in a lane at once.
struct Permits {
    concurrency: usize,
    /// The records of a batch share one permit.
    shares: bool,
    /// The most records that have a permit or await their confirmation. A record that was accepted and is not yet confirmed
    /// counts too, so that the number of claims is bounded.
    most: usize,
    /// The most replayed records with a permit: those of half of the permits, so that a live record seldom waits for the
    /// end of a replayed one.
    replayed: usize,
}

impl Permits {
    fn of(lane: &Lane) -> Self {
        let (concurrency, items) = (lane.account.limits.concurrency, lane.batches.limits().items);
        let (most, replayed) = (2 * concurrency * items, (concurrency / 2).max(1) * items);
        Self { concurrency, shares: items > 1, most, replayed }
    }
}

impl Lane {
    /// Runs the lane for as long as the process lives.
    pub async fn run(self: Rc<Self>, mut inbox: UnboundedReceiver<LaneMessage>) {
        let mut lane = self;
        let mut permits = Permits::of(&lane);
        // The records that have a permit or share one.
        let mut with_permit = 0;
        let mut queues = Queues::new(permits.replayed);
        let mut attempts = FuturesUnordered::new();
        let mut settles = FuturesUnordered::new();
        let mut aside = Aside::default();
        let mut messages = Vec::new();
        let handle = lane.handle.clone();
        let mut seen = handle.changes.count();
        let mut some_are_outdated = false;
        let mut changed = pin!(handle.changes.changed());
        loop {
            // This comes before the count is read, so that no change in between is missed.
            changed.as_mut().enable();
            while let Some(new) = lane.replaced_by().cloned() {
                lane = new;
                permits = Permits::of(&lane);
                queues.set_most_replayed(permits.replayed);
                some_are_outdated = true;
            }
            if std::mem::take(&mut some_are_outdated) {
                settles.extend(lane.renew(&mut queues).into_iter().map(|refused| lane.clone().take_out(refused)));
            }
            let Permits { concurrency, shares: shares_permits, most, .. } = permits;
            let touched = std::mem::replace(&mut seen, handle.changes.count()) != seen;
            if touched {
                aside.give_back(&lane);
            }
            if touched || !handle.is_open() {
                for delivery in queues.take_out(|d| lane.shut_out(d)) {
                    aside.take(&lane, delivery);
                }
            }
            aside.go_on(&lane);
            while let Some(attempted) = lane.batches.next_left() {
                with_permit -= 1;
                settles.push(lane.clone().take_out(attempted));
            }
            let places = |with_permit: usize| most.saturating_sub(with_permit + settles.len());
            loop {
                if shares_permits {
                    with_permit +=
                        lane.batches.join(&mut queues, places(with_permit), |delivery| lane.got_permit(delivery));
                }
                if attempts.len() >= concurrency.min(handle.breaker.ramp_permits()) || places(with_permit) == 0 {
                    break;
                }
                if shares_permits {
                    let first = lane.batches.next(&mut queues, places(with_permit));
                    if first.is_empty() {
                        break;
                    }
                    with_permit += first.len();
                    first.iter().for_each(|(delivery, _)| lane.got_permit(delivery));
                    attempts.push(Either::Right(Box::pin(attempt_batch(lane.clone(), first)) as Shared));
                } else {
                    let Some((delivery, key)) = queues.next() else { break };
                    with_permit += 1;
                    lane.got_permit(&delivery);
                    attempts.push(Either::Left(lane.clone().attempt_one(delivery, key)));
                }
            }
            handle.occupancy.in_flight.store(with_permit + settles.len(), Relaxed);
            // The order is harmless: each turn takes one of the ready branches, and taking it makes no other branch
            // ready.
            tokio::select! {
                biased;
                Some(attempted) = attempts.next(), if !attempts.is_empty() => {
                    if let Some(attempted) = attempted {
                        with_permit -= 1;
                        settles.push(lane.clone().take_out(attempted));
                    }
                }
                () = lane.batches.turn(), if shares_permits || lane.batches.are_used() => {}
                Some(Settled { back, key, topic_kind, bytes }) = settles.next(), if !settles.is_empty() => {
                    if let Some(delivery) = &back {
                        delivery.ack.open().set_stage(Stage::Queued);
                        handle.occupancy.enqueued(delivery);
                        some_are_outdated |= lane.is_outdated(delivery);
                    }
                    queues.ended(key, back);
                    handle.occupancy.permit_ended(topic_kind, bytes);
                }
                Some((topic_kind, bytes)) = aside.next(), if !aside.is_idle() => handle.occupancy.left_aside(topic_kind, bytes),
                taken = inbox.recv_many(&mut messages, 256) => {
                    if taken == 0 {
                        return;
                    }
                    messages.drain(..).for_each(|message| some_are_outdated |= lane.take_in(message, &mut queues, &mut aside));
                }
                () = &mut changed => changed.set(handle.changes.changed()),
            }
        }
    }

    /// Takes what is sent to the lane. Returns whether some of it was prepared with other settings.
    fn take_in(self: &Rc<Self>, message: LaneMessage, queues: &mut Queues, aside: &mut Aside) -> bool {
        let mut some_are_outdated = false;
        match message {
            LaneMessage::Deliver(deliveries) => {
                for mut delivery in deliveries {
                    let is_kept = self.handle.holds_back(&delivery) && !self.is_overdue(&delivery);
                    if !is_kept && delivery.probe.is_none() && !self.handle.is_open() {
                        delivery.probe = self.handle.take_probe(delivery.topic_kind);
                    }
                    if is_kept || self.shut_out(&delivery).is_some() {
                        aside.take(self, delivery);
                    } else {
                        delivery.ack.open().set_stage(Stage::Queued);
                        some_are_outdated |= self.is_outdated(&delivery);
                        queues.push(delivery);
                    }
                }
            }
            LaneMessage::Park(delivery) => aside.push(self, delivery),
            LaneMessage::ParkQueue => {
                for delivery in queues.take_live() {
                    aside.take(self, delivery);
                }
                self.handle.inbox.emptied();
            }
        }
        some_are_outdated
    }

    fn got_permit(&self, delivery: &Delivery) {
        self.handle.occupancy.got_permit(delivery.topic_kind, delivery.record.size());
        self.handle.occupancy.dequeued(delivery);
    }

    /// Takes the result of a record and settles it.
    fn take_out(self: Rc<Self>, attempted: AttemptedDelivery) -> impl Future<Output = Settled> {
        self.note_record(&attempted.delivery, &attempted.result);
        self.settle(attempted)
    }

    /// Settles a record. First the lane does what the answer demands of it: a halt parks the records that follow, and a
    /// push-back keeps this one.
    pub(crate) async fn settle(self: Rc<Self>, attempted: AttemptedDelivery) -> Settled {
        let AttemptedDelivery { mut delivery, key, mut guard, result } = attempted;
        let (topic_kind, bytes) = (delivery.topic_kind, delivery.record.size());
        if matches!(result, Err(DeliveryError::Replaced)) {
            // Boxed, here and below, because few records end so.
            Box::pin(self.take_back(&mut delivery, &mut guard)).await;
            return Settled { back: Some(delivery), key, topic_kind, bytes };
        }
        self.halt_if_asked(&result);
        if let Err(DeliveryError::Throttled(answer)) = &result
            && Box::pin(self.give_back(&mut delivery, &mut guard, answer)).await
        {
            return Settled { back: Some(delivery), key, topic_kind, bytes };
        }
        settle(&self.outbox, delivery, guard, result).await;
        Settled { back: None, key, topic_kind, bytes }
    }

    async fn attempt_one(self: Rc<Self>, mut delivery: Box<Delivery>, key: Option<Key>) -> Option<AttemptedDelivery> {
        let mut guard = None;
        let attempts_before = delivery.envelope.attempts;
        let attempted = if delivery.is_call() {
            // Boxed, because few records are calls, and their attempts are larger.
            Box::pin(AssertUnwindSafe(attempt_call(&mut delivery, &self, &mut guard)).catch_unwind()).await
        } else {
            // Called directly, because inside another future every record in flight would carry that future's arguments
            // as well.
            AssertUnwindSafe(attempt(&mut delivery, &self, &mut guard)).catch_unwind().await
        };
        let result = ended(attempted, &mut delivery, &self, &mut guard, attempts_before);
        Some(AttemptedDelivery { delivery, key, guard, result })
    }
}

#[cfg(test)]
mod tests;

//! One account's way out: its queues, permits and the one task that owns them.
//!
//! A permit is for one record, or for a batch of them where the platform takes several per request.
//!
//! Nothing is shared with other accounts but the thread: an account that hangs fills its own queues and permits alone.

mod answers;
mod aside;
pub mod attempt;
mod batch;
mod claiming;
mod counting;
pub mod handle;
mod joining;
pub(crate) mod queue;
pub(crate) mod state;
pub mod threads;
mod tokens;
mod unclassified;
mod walked;

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
use crate::lane::attempt::{ended, process};
use crate::lane::batch::walk_batch;
use crate::lane::handle::LaneMessage;
use crate::lane::queue::Queues;
pub use crate::lane::state::Lane;
pub(crate) use crate::lane::walked::{Settled, Walked};
use crate::settle::settle;

/// The walk of records that share a permit. Each of them leaves by itself, so that at its end there is none.
type Shared = Pin<Box<dyn Future<Output = Option<Walked>>>>;

impl Lane {
    /// Runs the lane for as long as the process lives.
    pub async fn run(self: Rc<Self>, mut inbox: UnboundedReceiver<LaneMessage>) {
        let concurrency = self.account.limits.concurrency;
        let shares_permits = self.batches.limits.items > 1;
        // What is accepted and not confirmed counts too, so that claims are bounded.
        let most = 2 * concurrency * self.batches.limits.items;
        // Records with a permit, or a share of one.
        let mut walking = 0;
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
            while let Some(walked) = self.batches.next_left() {
                walking -= 1;
                settles.push(self.clone().take_out(walked));
            }
            let places = |walking: usize| most.saturating_sub(walking + settles.len());
            loop {
                if shares_permits {
                    walking += self.batches.join(&mut queues, places(walking), |delivery| self.got_permit(delivery));
                }
                if walks.len() >= concurrency || places(walking) == 0 {
                    break;
                }
                if shares_permits {
                    let first = self.batches.next(&mut queues, places(walking));
                    if first.is_empty() {
                        break;
                    }
                    walking += first.len();
                    first.iter().for_each(|(delivery, _)| self.got_permit(delivery));
                    walks.push(Either::Right(Box::pin(walk_batch(self.clone(), first)) as Shared));
                } else {
                    let Some((delivery, key)) = queues.next() else { break };
                    walking += 1;
                    self.got_permit(&delivery);
                    walks.push(Either::Left(self.clone().walk(delivery, key)));
                }
            }
            self.handle.in_flight.store(walking + settles.len(), Relaxed);
            // In this order without harm: of what is ready each turn takes one, and nothing gets ready by it.
            tokio::select! {
                biased;
                Some(walked) = walks.next(), if !walks.is_empty() => {
                    if let Some(walked) = walked {
                        walking -= 1;
                        settles.push(self.clone().take_out(walked));
                    }
                }
                () = self.batches.turn(), if shares_permits => {}
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
        self.handle.walks(delivery.topic_kind, delivery.record.size());
        self.handle.dequeued(delivery);
    }

    /// Takes what came of a record, to settle it.
    fn take_out(self: Rc<Self>, walked: Walked) -> impl Future<Output = Settled> {
        self.note_record(&walked.delivery, &walked.result);
        self.settle(walked)
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

    async fn walk(self: Rc<Self>, mut delivery: Box<Delivery>, key: Option<Key>) -> Option<Walked> {
        let mut held = None;
        let attempts_before = delivery.envelope.attempts;
        // Not within another future: every record on its way would carry that one's arguments.
        let walked = AssertUnwindSafe(process(&mut delivery, &self, &mut held)).catch_unwind().await;
        let result = ended(walked, &mut delivery, &self, &mut held, attempts_before);
        Some(Walked { delivery, key, held, result })
    }
}

#[cfg(test)]
mod tests;

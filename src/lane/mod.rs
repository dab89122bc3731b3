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
mod seldom;
mod sending;
pub(crate) mod state;
mod task;
pub mod threads;
mod tokens;
mod tries;

use std::panic::AssertUnwindSafe;
use std::rc::Rc;

use futures_util::FutureExt;

use crate::claim::rules::Key;
use crate::delivery::Delivery;
use crate::error::DeliveryError;
use crate::lane::attempt::{attempt, ended};
pub(crate) use crate::lane::attempted::{AttemptedDelivery, Settled};
use crate::lane::calls::attempt_call;
pub use crate::lane::state::Lane;
use crate::settle::settle;

impl Lane {
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

//! Parks records, and puts off what a parking topic has refused for long.

use std::time::{Duration, Instant};

use rand::Rng as _;

use crate::claim::Held;
use crate::delivery::progress::{End, Stage};
use crate::delivery::{Delivery, Subject, TopicKind};
use crate::envelope::{Copy, Named};
use crate::kafka::parking_topic;
use crate::kafka::producer::PublishError;
use crate::kafka::refusals::Turn;
use crate::settle::outbox::publish::Pause;
use crate::settle::outbox::{Outbox, Unwritten};
use crate::settle::policy::Policy;

/// What came of a copy to a parking topic.
enum Parked {
    Written,
    /// The topic has refused for so long that the record is put off.
    Refused(Duration),
}

impl Outbox {
    /// Parks a record that never got to the head of its lane: closed, or full beside others that flow. Where its parking
    /// topic has refused for long it waits in a tier instead, so that it holds neither memory nor its partition.
    pub async fn park(&self, mut delivery: Box<Delivery>, held: Option<Held>) {
        if delivery.topic_kind == TopicKind::Parked {
            self.release(&mut delivery, held).await;
            delivery.ack.open().set_stage(Stage::Held);
            // The other end lives as long as the process.
            let _ = self.shared.held.send(delivery);
            return;
        }
        let asked_ms = self.shared.health.clock.now_ms();
        delivery.envelope.parked_at_ms.get_or_insert(asked_ms);
        delivery.envelope.due_ms = None;
        let named = delivery.named();
        let topic = parking_topic(&self.shared.topics.parked_prefix, named.account.as_deref().unwrap_or("unknown"));
        match self.publish_parked(&delivery, &topic, &named).await {
            Ok(Parked::Written) => {}
            Ok(Parked::Refused(lasts)) => return self.put_off(delivery, held, &topic, lasts, asked_ms).await,
            Err(Unwritten::TooLarge) => return self.dead_letter_too_large(delivery, held, &topic).await,
            Err(Unwritten::Gone) => {
                self.release(&mut delivery, held).await;
                return delivery.ack.complete(End::Returned);
            }
        }
        self.release(&mut delivery, held).await;
        delivery.ack.complete(End::Parked);
    }

    async fn publish_parked(&self, delivery: &Delivery, topic: &str, named: &Named) -> Result<Parked, Unwritten> {
        let refusals = &self.shared.refusals;
        let headers = delivery.with_own(Copy::Parked(named));
        let (key, value) = (delivery.record.key.as_deref(), delivery.record.value.as_deref());
        let producer = &self.shared.producer;
        let mut pause = Pause::new(refusals);
        loop {
            if delivery.ack.assignment().is_gone() {
                return Err(Unwritten::Gone);
            }
            let trying = match refusals.turn(topic) {
                Turn::Write => None,
                Turn::Try(trying) => Some(trying),
                Turn::PutOff(lasts) => return Ok(Parked::Refused(lasts)),
            };
            let began = Instant::now();
            let mut written = producer.publish_parked(topic, key, value, &headers).await;
            if written == Err(PublishError::TooLarge) {
                // As in any other topic: it may only have shared its batch with one that is too large.
                written = producer.publish_alone(topic, key, value, &headers).await;
            }
            let error = match written {
                Ok(_) => {
                    refusals.took(topic);
                    return Ok(Parked::Written);
                }
                Err(PublishError::TooLarge) => return Err(Unwritten::TooLarge),
                Err(error) => error,
            };
            delivery.ack.open().set_stage(Stage::Held);
            if let Some(lasts) = refusals.failed(topic, began, &error.to_string()) {
                return Ok(Parked::Refused(lasts));
            }
            drop(trying);
            pause.after(&error, topic).await;
        }
    }

    /// No attempt, and no time of retrying: only the wait is moved from parking to a tier.
    async fn put_off(
        &self,
        mut delivery: Box<Delivery>,
        held: Option<Held>,
        topic: &str,
        lasts: Duration,
        asked_ms: i64,
    ) {
        let Subject::Ready(ready) = &delivery.subject else { return delivery.ack.complete(End::Returned) };
        let now = self.shared.health.clock.now_ms();
        let (index, due_ms) = Policy::of(ready).put_off(lasts, self.shared.lease, now, rand::rng().random());
        let envelope = &mut delivery.envelope;
        envelope.retry_since_ms = envelope.retry_since_ms.map(|since| since + (due_ms - asked_ms));
        self.shared.refusals.put_off(topic, Duration::from_millis((due_ms - now).unsigned_abs()));
        self.wait_in_tier(delivery, held, index, due_ms).await;
    }
}

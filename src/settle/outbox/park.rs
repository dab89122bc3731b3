//! Parks records, and keeps back those that a gray release does not send yet. If a parking topic has refused for long,
//! its records wait in a tier instead.

use std::time::{Duration, Instant};

use rand::Rng as _;

use crate::account::rollout::partition_of;
use crate::claim::ClaimGuard;
use crate::delivery::progress::{End, Stage};
use crate::delivery::{Delivery, Subject, TopicKind};
use crate::envelope::{Copy, Named};
use crate::kafka::producer::PublishError;
use crate::kafka::refusals::Turn;
use crate::kafka::{parking_topic, remainder_topic};
use crate::settle::outbox::publish::Pause;
use crate::settle::outbox::{Outbox, Unwritten};
use crate::settle::policy::Policy;

/// What became of a copy for a parking topic.
enum Parked {
    Written,
    /// The topic has refused for so long that the record has to wait in a tier.
    Refused(Duration),
}

impl Outbox {
    /// Parks a record that did not get to the head of its lane, because the lane is closed, or full while others flow.
    /// If its parking topic has refused for long, the record waits in a tier instead, so that it neither fills memory
    /// nor stops its partition.
    pub async fn park(&self, mut delivery: Box<Delivery>, guard: Option<ClaimGuard>) {
        if delivery.topic_kind == TopicKind::Parked {
            // Boxed, as everything here that few of many parked records need.
            Box::pin(self.release(&mut delivery, guard)).await;
            delivery.ack.open().set_stage(Stage::Holding);
            // The receiver lives as long as the process.
            let _ = self.context.give_back.send(delivery);
            return;
        }
        let asked_ms = self.context.health.clock.now_ms();
        delivery.envelope.parked_at_ms.get_or_insert(asked_ms);
        delivery.envelope.due_ms = None;
        delivery.envelope.alternate = 0;
        let named = delivery.named();
        let topic = parking_topic(&self.context.topics.parked_prefix, named.account.as_deref().unwrap_or("unknown"));
        self.write_waiting(delivery, guard, (&topic, None), &named, asked_ms).await;
    }

    /// Writes a record that the gray release of its account does not send yet to the remainder. It holds no claim.
    /// There it waits for the share alone, so it is not parked, and counts as neither parked nor retried for long.
    pub async fn hold_back(&self, mut delivery: Box<Delivery>) {
        let Subject::Ready(ready) = &delivery.subject else { return delivery.ack.complete(End::Returned) };
        let partition = partition_of(&ready.trans_id);
        let topic = remainder_topic(&self.context.topics.parked_prefix, &ready.asked().name);
        let asked_ms = self.context.health.clock.now_ms();
        let envelope = &mut delivery.envelope;
        (envelope.parked_at_ms, envelope.due_ms, envelope.retry_since_ms) = (None, None, None);
        let named = delivery.named();
        self.write_waiting(delivery, None, (&topic, Some(partition)), &named, asked_ms).await;
    }

    /// Writes a record to the topic in which it waits, and finishes it.
    async fn write_waiting(
        &self,
        mut delivery: Box<Delivery>,
        guard: Option<ClaimGuard>,
        (topic, partition): (&str, Option<i32>),
        named: &Named,
        asked_ms: i64,
    ) {
        match self.publish_parked(&delivery, (topic, partition), named).await {
            Ok(Parked::Written) => {}
            Ok(Parked::Refused(lasts)) => {
                return Box::pin(self.put_off(delivery, guard, topic, lasts, asked_ms)).await;
            }
            Err(Unwritten::TooLarge) => {
                return Box::pin(self.dead_letter_too_large(delivery, guard, topic)).await;
            }
            Err(Unwritten::Gone) => {
                Box::pin(self.release(&mut delivery, guard)).await;
                return delivery.ack.complete(End::Returned);
            }
        }
        if guard.is_some() {
            Box::pin(self.release(&mut delivery, guard)).await;
        }
        delivery.ack.complete(End::Parked);
    }

    /// Parks a record whose account is broken, unless it is a call and another account may answer it: that one makes
    /// the next visit. After the last one it parks for its own account.
    pub async fn park_broken(&self, mut delivery: Box<Delivery>, guard: Option<ClaimGuard>) {
        let next = delivery.envelope.alternate + 1;
        let Subject::Ready(ready) = &delivery.subject else { return delivery.ack.complete(End::Returned) };
        let others = ready.call.as_ref().map_or(0, |call| call.alternates);
        if delivery.topic_kind == TopicKind::Parked || next > others {
            return self.park(delivery, guard).await;
        }
        let now = self.context.health.clock.now_ms();
        let (index, due_ms) = Policy::of(ready).first_tier(now, rand::rng().random());
        delivery.envelope.alternate = next;
        Box::pin(self.to_tier(delivery, guard, index, due_ms)).await;
    }

    async fn publish_parked(
        &self,
        delivery: &Delivery,
        (topic, partition): (&str, Option<i32>),
        named: &Named,
    ) -> Result<Parked, Unwritten> {
        let refusals = &self.context.refusals;
        let headers = delivery.with_own(Copy::Parked(named));
        let (key, value) = (delivery.record.key.as_deref(), delivery.record.value.as_deref());
        let producer = &self.context.producer;
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
            let mut written = producer.publish_parked((topic, partition), key, value, &headers).await;
            if written == Err(PublishError::TooLarge) {
                // The record may only have shared a batch with one that is too large.
                written = producer.publish_alone((topic, partition), key, value, &headers).await;
            }
            let error = match written {
                Ok(_) => {
                    refusals.took(topic);
                    return Ok(Parked::Written);
                }
                Err(PublishError::TooLarge) => return Err(Unwritten::TooLarge),
                Err(error) => error,
            };
            delivery.ack.open().set_stage(Stage::Holding);
            if let Some(lasts) = refusals.failed(topic, began, &error.to_string()) {
                return Ok(Parked::Refused(lasts));
            }
            drop(trying);
            pause.after(&error, topic).await;
        }
    }

    /// Counts as no attempt, and the wait does not count as retrying: the record only waits in a tier instead of its
    /// parking topic.
    async fn put_off(
        &self,
        mut delivery: Box<Delivery>,
        guard: Option<ClaimGuard>,
        topic: &str,
        lasts: Duration,
        asked_ms: i64,
    ) {
        let Subject::Ready(ready) = &delivery.subject else { return delivery.ack.complete(End::Returned) };
        let now = self.context.health.clock.now_ms();
        let (index, due_ms) = Policy::of(ready).put_off(lasts, self.context.lease, now, rand::rng().random());
        let envelope = &mut delivery.envelope;
        envelope.retry_since_ms = envelope.retry_since_ms.map(|since| since + (due_ms - asked_ms));
        self.context.refusals.put_off(topic, Duration::from_millis((due_ms - now).unsigned_abs()));
        self.wait_in_tier(delivery, guard, index, due_ms).await;
    }
}

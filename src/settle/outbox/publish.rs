//! Publishes copies of records: repeats until all replicas have them, and shortens what a topic refuses by size.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::time::sleep;

use crate::claim::ClaimGuard;
use crate::delivery::Delivery;
use crate::delivery::progress::Stage;
use crate::envelope::{Copy, Cut, DeadLetterCause, Named};
use crate::error::{Answer, DeliveryError, Reason};
use crate::kafka::producer::PublishError;
use crate::kafka::record::Header;
use crate::kafka::refusals::{Refusals, RefusedRecord};
use crate::quiet::Repeated;
use crate::settle::outbox::{Outbox, Unwritten};

impl Outbox {
    /// Publishes a dead letter. Each time the topic refuses it by size even alone, more of it is left out: the SHA-256
    /// replaces the value and the key, and names and lengths replace the producer's headers.
    pub(super) async fn publish_dead_letter(
        &self,
        delivery: &Delivery,
        named: &Named,
        cause: &DeadLetterCause,
    ) -> Result<(), Unwritten> {
        let topic = &*self.context.topics.dead_letter;
        let producer = &delivery.record.headers[..delivery.producer_headers];
        let (mut key, mut value) = (delivery.record.key.clone(), delivery.record.value.clone());
        let mut headers = delivery.with_own(Copy::Dead(named, cause));
        let mut cut: Option<Cut> = None;
        let mut pause = Pause::new(&self.context.refusals);
        loop {
            match self.publish_copy(delivery, topic, (key.as_deref(), value.as_deref()), &headers).await {
                Err(Unwritten::TooLarge) => {}
                written_or_gone => return written_or_gone,
            }
            match &mut cut {
                None => {
                    let bytes = value.replace(digest(value.as_deref())).map_or(0, |v| v.len());
                    cut = Some(Cut { value: bytes, ..Cut::default() });
                }
                Some(cut) if cut.headers.is_empty() && !producer.is_empty() => {
                    let length = |h: &Header| (h.name.clone(), h.value.as_ref().map_or(0, Bytes::len));
                    cut.headers = producer.iter().map(length).collect();
                }
                Some(cut) if cut.key.is_none() && key.is_some() => {
                    cut.key = key.replace(digest(key.as_deref())).map(|k| k.len());
                }
                // Only the worker's own headers are left: an operator has to raise this limit.
                Some(_) => pause.after(&PublishError::TooLarge, topic).await,
            }
            let cause = DeadLetterCause { truncated: cut.clone(), ..cause.clone() };
            headers = match &cut {
                Some(cut) if !cut.headers.is_empty() => delivery.envelope.write(Copy::Dead(named, &cause)),
                _ => delivery.with_own(Copy::Dead(named, &cause)),
            };
            if let Some(not_logged) = self.refused_by_size(topic) {
                tracing::error!(
                    topic,
                    truncated = cut.as_ref().map(Cut::to_string),
                    not_logged,
                    "the broker refuses a dead letter by size: part of it is left out; raise max.message.bytes of the \
                     dead-letter topic"
                );
            }
        }
    }

    async fn publish_copy(
        &self,
        delivery: &Delivery,
        topic: &str,
        (key, value): (Option<&[u8]>, Option<&[u8]>),
        headers: &[Header],
    ) -> Result<(), Unwritten> {
        let mut pause = Pause::new(&self.context.refusals);
        loop {
            if delivery.ack.assignment().is_gone() {
                return Err(Unwritten::Gone);
            }
            match self.write(topic, key, value, headers).await {
                Ok(()) => return Ok(()),
                Err(PublishError::TooLarge) => return Err(Unwritten::TooLarge),
                Err(error) => {
                    delivery.ack.open().set_stage(Stage::Holding);
                    pause.after(&error, topic).await;
                }
            }
        }
    }

    /// Publishes a receipt until all replicas have it. It gives up only if the topic refuses by size even the receipt
    /// without long texts, because every record has to end.
    pub(super) async fn publish_receipt(&self, topic: &str, written: impl Fn(bool) -> (Option<Vec<u8>>, Vec<u8>)) {
        let mut pause = Pause::new(&self.context.refusals);
        for brief in [false, true] {
            let (key, value) = written(brief);
            loop {
                match self.write(topic, key.as_deref(), Some(&value), &[]).await {
                    Ok(()) => return,
                    Err(PublishError::TooLarge) => break,
                    Err(error) => pause.after(&error, topic).await,
                }
            }
            if let Some(not_logged) = self.refused_by_size(topic) {
                tracing::error!(
                    topic,
                    bytes = value.len(),
                    not_logged,
                    "the broker refuses a receipt by size: {}; raise max.message.bytes of the topic",
                    if brief { "there is none of this event" } else { "its long texts are left out" }
                );
            }
        }
    }

    /// Whether a log line about the topic may be written now, and how many lines were left out: one line per topic and
    /// minute.
    pub(super) fn refused_by_size(&self, topic: &str) -> Option<u64> {
        self.context.quiet.allow(Repeated::TooLarge(topic.into()), Instant::now())
    }

    pub(super) async fn write(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> Result<(), PublishError> {
        let producer = &self.context.producer;
        match producer.publish(topic, key, value, headers).await {
            // The record may only have shared a batch with one that is too large. Alone it is also compressed.
            Err(PublishError::TooLarge) => producer.publish_alone((topic, None), key, value, headers).await.map(|_| ()),
            written => written.map(|_| ()),
        }
    }

    /// Publishes the record as it is, to a tier or to a parking topic.
    pub(super) async fn publish_whole(
        &self,
        delivery: &Delivery,
        topic: &str,
        kind: Copy<'_>,
    ) -> Result<(), Unwritten> {
        let record = &delivery.record;
        let headers = delivery.with_own(kind);
        self.publish_copy(delivery, topic, (record.key.as_deref(), record.value.as_deref()), &headers).await
    }

    /// Ends a record that a tier or parking topic refuses by size: without a topic to wait in, it cannot be tried
    /// again.
    pub(super) async fn dead_letter_too_large(&self, delivery: Box<Delivery>, guard: Option<ClaimGuard>, topic: &str) {
        let bytes = delivery.record.size();
        if let Some(not_logged) = self.refused_by_size(topic) {
            tracing::error!(
                topic,
                bytes,
                not_logged,
                "a topic refuses a copy by size: its event ends as a dead letter; raise max.message.bytes of the topic"
            );
        }
        let detail = format!("{topic} refuses its copy by size ({bytes} bytes): raise max.message.bytes there");
        let error = DeliveryError::Retry(Answer { detail, ..Answer::default() });
        self.dead_letter(delivery, guard, Reason::AttemptsExhausted, &error).await;
    }
}

/// SHA-256 in lower-case hex.
fn digest(bytes: Option<&[u8]>) -> Bytes {
    Sha256::digest(bytes.unwrap_or_default()).iter().map(|b| format!("{b:02x}")).collect::<String>().into()
}

/// The pauses between the tries of a publish that fails, and its alarm.
pub(super) struct Pause<'a> {
    refusals: &'a Arc<Refusals>,
    next: Duration,
    failures: u32,
    /// The alarm ends with the publish.
    alarm: Option<RefusedRecord>,
}

impl<'a> Pause<'a> {
    pub(super) fn new(refusals: &'a Arc<Refusals>) -> Self {
        Self { refusals, next: Duration::from_millis(200), failures: 0, alarm: None }
    }

    pub(super) async fn after(&mut self, error: &PublishError, topic: &str) {
        self.failures += 1;
        match (&self.alarm, error) {
            (Some(alarm), _) => alarm.again(&error.to_string()),
            // The first failure without an answer is often a leader that moves.
            (None, PublishError::Unavailable(_)) if self.failures < 2 => {}
            (None, _) => self.alarm = Some(self.refusals.hold(topic, &error.to_string())),
        }
        sleep(self.next).await;
        self.next = (self.next * 2).min(Duration::from_secs(5));
    }
}

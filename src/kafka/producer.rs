//! Publishes a copy and waits for the delivery report. *Sent* means that all replicas have the record.
//!
//! The producer chooses the partition of a record by number only in remainders, whose readers rely on it, and never
//! gives a record an old timestamp, because retention works on record time. It never cancels a send: if the future is
//! dropped, the record is still sent.

mod client;

use std::fmt;
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header as RdHeader, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _};
use tokio::sync::oneshot;

use self::client::{Client, Report, create};
use crate::kafka::Config;
use crate::kafka::record::Header;
use crate::kafka::settings::{self, SettingsError};

/// How long to wait before a full queue is tried again, and how often it is tried.
const QUEUE_RETRY: Duration = Duration::from_millis(20);
const QUEUE_TRIES: u32 = 50;

/// A client whose records are not written is replaced only after this time, so that records which the client before it
/// gave up do not count against it. It is longer than `message.timeout.ms`.
const YOUNG: Duration = Duration::from_secs(40);

/// Why a copy was not written. In every case, as far as anybody knows, no broker has it, and the original record stays
/// open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishError {
    /// The record is larger than the client or the topic allows, or was in one batch with such a record.
    TooLarge,
    /// There was no acknowledgement: the brokers are away, too few replicas are in sync, or the queue is full.
    Unavailable(String),
    /// A broker refused the record.
    Refused(String),
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PublishError::TooLarge => f.write_str("larger than the topic allows"),
            PublishError::Unavailable(text) => write!(f, "no acknowledgement: {text}"),
            PublishError::Refused(text) => write!(f, "refused by the broker: {text}"),
        }
    }
}

impl std::error::Error for PublishError {}

/// The producer. The process has one.
pub struct Producer {
    config: ClientConfig,
    /// The client and the time of its creation. It is replaced if it does not recover by itself.
    client: RwLock<(Client, Instant)>,
    /// Puts every record into a batch of its own. It is created when it is first needed.
    alone: OnceLock<Box<Producer>>,
    /// Writes to parking topics, so that a parking topic that refuses its records delays no other topic. It is created
    /// when it is first needed.
    parking: OnceLock<Box<Producer>>,
}

impl Producer {
    /// Creates the client without asking a broker. `largest` is the size in bytes of the largest record that has to be
    /// copied.
    ///
    /// # Errors
    /// Fails if the library refuses the settings.
    pub fn new(config: &Config, largest: u64) -> Result<Self, SettingsError> {
        let config = settings::producer(config, largest)?;
        Self::over(config)
    }

    fn over(config: ClientConfig) -> Result<Self, SettingsError> {
        let client = create(&config)?;
        let client = RwLock::new((client, Instant::now()));
        Ok(Self { config, client, alone: OnceLock::new(), parking: OnceLock::new() })
    }

    /// Writes one record, waits until all replicas have it, and returns its partition and offset. It needs a Tokio
    /// runtime with time.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn publish(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> Result<(i32, i64), PublishError> {
        self.publish_to((topic, None), key, value, headers).await
    }

    async fn publish_to(
        &self,
        place: (&str, Option<i32>),
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> Result<(i32, i64), PublishError> {
        let report = self.enqueue(place, key, value, headers).await?;
        match report.await {
            Ok(Ok(written)) => Ok(written),
            Ok(Err(error)) => Err(self.classify(&error)),
            Err(_) => Err(PublishError::Unavailable("the producer was closed".into())),
        }
    }

    /// Writes one record in a batch of its own, compressed. A broker refuses a whole batch because of the largest
    /// record in it, and it judges a batch that the producer has compressed by its compressed size. So only here does
    /// [`PublishError::TooLarge`] speak of this record alone, and come from the broker.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn publish_alone(
        &self,
        place: (&str, Option<i32>),
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> Result<(i32, i64), PublishError> {
        let alone = self.other(&self.alone, &settings::ALONE)?;
        alone.publish_to(place, key, value, headers).await
    }

    /// Writes one record to a parking topic, with a client of its own that gives up sooner. When a client gives up a
    /// record it restarts all its partitions and is replaced; with a client of its own this does not affect other
    /// topics.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn publish_parked(
        &self,
        place: (&str, Option<i32>),
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> Result<(i32, i64), PublishError> {
        let parking = self.other(&self.parking, &settings::PARKING)?;
        parking.publish_to(place, key, value, headers).await
    }

    fn other<'a>(
        &self,
        place: &'a OnceLock<Box<Producer>>,
        settings: &[(&str, &str)],
    ) -> Result<&'a Producer, PublishError> {
        if place.get().is_none() {
            let mut config = self.config.clone();
            for (key, value) in settings {
                config.set(*key, *value);
            }
            let made = Self::over(config).map_err(|e| PublishError::Unavailable(e.to_string()))?;
            if let Err(slower) = place.set(Box::new(made)) {
                // Another thread created the producer first. Dropping a client waits for its threads, so it is dropped
                // on another thread: lanes wait here.
                let _ = std::thread::Builder::new().name("producer-close".into()).spawn(move || drop(slower));
            }
        }
        place.get().map(|other| &**other).ok_or_else(|| PublishError::Unavailable("no producer".into()))
    }

    async fn enqueue(
        &self,
        (topic, partition): (&str, Option<i32>),
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> Result<oneshot::Receiver<Report>, PublishError> {
        let mut tries = 0;
        loop {
            let (sender, report) = oneshot::channel();
            let record = BaseRecord {
                topic,
                partition,
                payload: value,
                key,
                timestamp: None,
                headers: own(headers),
                delivery_opaque: Box::new(sender),
            };
            let error = match self.client().send::<[u8], [u8]>(record) {
                Ok(()) => return Ok(report),
                Err((error, _)) => error,
            };
            let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
            if !full || tries >= QUEUE_TRIES {
                return Err(self.classify(&error));
            }
            tries += 1;
            tokio::time::sleep(QUEUE_RETRY).await;
        }
    }

    /// Waits for the delivery reports of everything that was published. This call blocks: do not call it on a thread of
    /// an async runtime.
    ///
    /// # Errors
    /// Fails if reports are still missing after `timeout`.
    pub fn flush(&self, timeout: Duration) -> Result<(), PublishError> {
        let deadline = Instant::now() + timeout;
        let mut flushed = self.client().flush(timeout).map_err(|e| PublishError::Unavailable(e.to_string()));
        for other in [&self.alone, &self.parking].into_iter().filter_map(OnceLock::get) {
            flushed = flushed.and(other.flush(deadline.saturating_duration_since(Instant::now())));
        }
        flushed
    }

    fn client(&self) -> Client {
        self.client.read().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    fn classify(&self, error: &KafkaError) -> PublishError {
        let Some(code) = error.rdkafka_error_code() else { return PublishError::Refused(error.to_string()) };
        match code {
            RDKafkaErrorCode::Fatal => self.replace(|client, _| client.client().fatal_error().is_some()),
            // If librdkafka 2.12 was once told that a partition has no leader, it never writes to that partition again,
            // although the leader has returned (its issue 5430). If Kafka itself is away, a new client does no harm.
            RDKafkaErrorCode::MessageTimedOut => self.replace(|_, since| since.elapsed() >= YOUNG),
            _ => {}
        }
        class_of(code)
    }

    /// Opens a new client in place of a broken one.
    fn replace(&self, is_broken: impl FnOnce(&Client, Instant) -> bool) {
        let mut client = self.client.write().unwrap_or_else(PoisonError::into_inner);
        if !is_broken(&client.0, client.1) {
            return;
        }
        match create(&self.config) {
            Ok(new) => {
                tracing::error!("records could not be written: the producer was replaced");
                let (old, _) = std::mem::replace(&mut *client, (new, Instant::now()));
                // The old client may still write the records that it has under way, and only its reports tell which.
                let close = move || {
                    // A thread that has just fetched the old client has finished with it after this second. The last
                    // owner of a client waits for its end, and that has to be this thread.
                    std::thread::sleep(Duration::from_secs(1));
                    let _ = old.flush(YOUNG);
                };
                let _ = std::thread::Builder::new().name("producer-close".into()).spawn(close);
            }
            Err(error) => tracing::error!(%error, "records cannot be written, and the producer cannot be replaced"),
        }
    }
}

fn own(headers: &[Header]) -> Option<OwnedHeaders> {
    if headers.is_empty() {
        return None;
    }
    let list = OwnedHeaders::new_with_capacity(headers.len());
    Some(headers.iter().fold(list, |list, h| list.insert(RdHeader { key: &h.name, value: h.value.as_deref() })))
}

fn class_of(code: RDKafkaErrorCode) -> PublishError {
    use RDKafkaErrorCode as Code;
    match code {
        Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge => PublishError::TooLarge,
        Code::TopicAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::UnknownTopic
        | Code::UnknownTopicOrPartition
        | Code::InvalidTopic
        | Code::InvalidRecord
        | Code::PolicyViolation
        | Code::InvalidTimestamp
        | Code::UnsupportedForMessageFormat
        | Code::SaslAuthenticationFailed
        | Code::Authentication => PublishError::Refused(code.to_string()),
        // For every other code it is right to try again: the record stays open either way.
        _ => PublishError::Unavailable(code.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_broker_refuses_is_told_from_what_may_pass_later() {
        assert_eq!(class_of(RDKafkaErrorCode::MessageSizeTooLarge), PublishError::TooLarge);
        for code in [RDKafkaErrorCode::TopicAuthorizationFailed, RDKafkaErrorCode::UnknownTopicOrPartition] {
            assert!(matches!(class_of(code), PublishError::Refused(_)));
        }
        for code in [
            RDKafkaErrorCode::MessageTimedOut,
            RDKafkaErrorCode::NotEnoughReplicas,
            RDKafkaErrorCode::NotEnoughReplicasAfterAppend,
            RDKafkaErrorCode::QueueFull,
            RDKafkaErrorCode::Fatal,
        ] {
            assert!(matches!(class_of(code), PublishError::Unavailable(_)));
        }
    }

    #[tokio::test]
    async fn a_client_that_gets_nothing_written_is_replaced_unless_it_is_young() {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", "127.0.0.1:1").set("message.timeout.ms", "200").set("log_level", "0");
        let producer = Producer::over(config).unwrap();
        let since = || producer.client.read().unwrap().1;
        let born = since();
        let tried = producer.publish("t", None, Some(b"v"), &[]).await;
        assert!(matches!(tried, Err(PublishError::Unavailable(_))), "{tried:?}");
        assert_eq!(since(), born, "a young client was replaced");
        producer.client.write().unwrap().1 = born.checked_sub(YOUNG).unwrap();
        let _ = producer.publish("t", None, Some(b"v"), &[]).await;
        assert!(since() > born, "an old client was kept");
    }
}

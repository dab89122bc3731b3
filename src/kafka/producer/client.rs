//! The client of a producer, and the thread that waits for its delivery reports.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, DeliveryResult, ProducerContext};
use tokio::sync::oneshot;

use crate::kafka::log::log;
use crate::kafka::settings::SettingsError;

pub(super) struct Context;

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        log("producer", level, fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(client = "producer", %error, reason, "kafka client error");
    }
}

/// The partition and offset where a record was written, or the error.
pub(super) type Report = Result<(i32, i64), KafkaError>;

impl ProducerContext for Context {
    type DeliveryOpaque = Box<oneshot::Sender<Report>>;

    fn delivery(&self, result: &DeliveryResult<'_>, report: Self::DeliveryOpaque) {
        let written = match result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, _)) => Err(error.clone()),
        };
        // The send fails if nobody waits for the report any more. The record was sent all the same.
        let _ = report.send(written);
    }
}

pub(super) type Client = Arc<BaseProducer<Context>>;

/// The length of one wait for delivery reports. The library spins during the last part of a millisecond of each wait,
/// and its own thread waits only 100 ms at a time: that would waste a hundredth of a core.
const POLL: Duration = Duration::from_secs(1);

/// Creates a client, and the thread that waits for its reports for as long as the client has an owner.
pub(super) fn create(config: &ClientConfig) -> Result<Client, SettingsError> {
    let made = config.create_with_context(Context).map_err(|e| SettingsError::Refused(e.to_string()))?;
    let client: Client = Arc::new(made);
    let polled = Arc::downgrade(&client);
    let poll = move || {
        while let Some(client) = polled.upgrade() {
            client.poll(POLL);
        }
    };
    let thread = std::thread::Builder::new().name("producer".into()).spawn(poll);
    thread.map_err(|e| SettingsError::Refused(format!("a thread for the producer cannot be made: {e}")))?;
    Ok(client)
}

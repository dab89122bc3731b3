//! Whether Kafka answers, and since when it does or does not.

use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use rdkafka::bindings as sys;
use rdkafka::client::Client;
use rdkafka::types::RDKafkaType;

use super::context::Context;
use super::reason::Reason;
use crate::kafka::Config;
use crate::kafka::settings::{self, SettingsError};

const EVERY: Duration = Duration::from_secs(2);
const WITHIN_MS: i32 = 2000;

/// The state of the connection to the cluster. Its thread ends when the last reference is dropped.
#[derive(Debug)]
pub struct Health {
    up: AtomicBool,
    since: Mutex<Instant>,
    reason: Reason,
}

impl Health {
    /// Starts the thread that asks the cluster. Until the first answer Kafka counts as away.
    ///
    /// # Errors
    /// Fails if the settings are refused, or if no thread can be started.
    pub fn start(config: &Config) -> Result<Arc<Self>, SettingsError> {
        let refused = |e: &dyn std::fmt::Display| SettingsError::Refused(e.to_string());
        let config = settings::admin(config, None)?;
        let native = config.create_native_config().map_err(|e| refused(&e))?;
        let client = Client::new(&config, native, RDKafkaType::RD_KAFKA_PRODUCER, Context).map_err(|e| refused(&e))?;
        let health =
            Arc::new(Self { up: AtomicBool::new(false), since: Mutex::new(Instant::now()), reason: Reason::default() });
        let watched = Arc::downgrade(&health);
        std::thread::Builder::new()
            .name("kafka-health".into())
            .spawn(move || watch(&client, &watched))
            .map_err(|e| refused(&e))?;
        Ok(health)
    }

    /// Whether the last request was answered.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Since when Kafka answers, or does not answer.
    pub fn since(&self) -> Instant {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why Kafka does not answer, if the client library knows.
    pub fn why(&self) -> Option<String> {
        self.reason.get()
    }

    fn set(&self, up: bool) {
        if self.up.swap(up, Ordering::Relaxed) != up {
            *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            if up {
                tracing::info!("kafka answers");
            } else {
                tracing::warn!(reason = self.why(), "kafka does not answer");
            }
        }
    }
}

fn watch(client: &Client<Context>, health: &Weak<Health>) {
    while let Some(health) = health.upgrade() {
        let up = answers(client);
        health.reason.listen(client, up);
        health.set(up);
        drop(health);
        std::thread::sleep(EVERY);
    }
}

/// Asks only for the brokers, because the list of all topics may be long.
fn answers(client: &Client<Context>) -> bool {
    let mut metadata = ptr::null();
    // SAFETY: the client lives through the call. The metadata that it returns is destroyed here and nowhere else.
    unsafe {
        let err = sys::rd_kafka_metadata(client.native_ptr(), 0, ptr::null_mut(), &mut metadata, WITHIN_MS);
        if !metadata.is_null() {
            sys::rd_kafka_metadata_destroy(metadata);
        }
        err == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
    }
}

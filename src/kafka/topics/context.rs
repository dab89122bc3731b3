//! The callbacks of the clients that ask the cluster from outside.

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;

use crate::kafka::log::log;

pub(in crate::kafka) struct Context;

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        log("admin", level, fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(client = "admin", %error, reason, "kafka client error");
    }
}

impl ConsumerContext for Context {}

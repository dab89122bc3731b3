//! The root of the configuration: every section, as its module defines it.

use std::time::Duration;

use serde::Deserialize;

use super::admin::Admin;
use crate::account::{Dedupe, Intake, Limits, Retry, Validate};
use crate::config::fields::list;
use crate::{kafka, redis, telemetry};

/// librdkafka's own default of `session.timeout.ms`.
const SESSION_TIMEOUT: Duration = Duration::from_millis(45_000);

/// The configuration as the user writes it.
#[derive(Deserialize)]
pub(super) struct Root {
    #[serde(deserialize_with = "list")]
    pub platform_files: Vec<String>,
    pub kafka: kafka::Config,
    pub redis: redis::Config,
    pub dedupe: Dedupe,
    pub retry: Retry,
    pub limits: Limits,
    pub validate: Validate,
    pub intake: Intake,
    pub admin: Admin,
    pub telemetry: telemetry::Config,
    /// Each account is read separately, with the sections above as defaults.
    #[serde(default, rename = "accounts")]
    _accounts: (),
}

/// How long the broker waits for a member that sends nothing.
pub(super) fn session_timeout(kafka: &kafka::Config) -> Duration {
    let stated = kafka.properties.get("session.timeout.ms").and_then(|ms| ms.parse().ok());
    stated.map_or(SESSION_TIMEOUT, Duration::from_millis)
}

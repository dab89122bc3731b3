//! Moves records to and from Kafka as bytes. It knows nothing of events.

pub mod access;
mod config;
pub mod consumer;
pub(in crate::kafka) mod log;
pub mod lookup;
pub mod matching;
pub(in crate::kafka) mod native;
pub mod offsets;
pub mod partitioner;
pub mod pattern;
pub mod producer;
mod properties;
pub mod reader;
pub mod record;
pub mod refusals;
pub mod scan;
pub mod settings;
pub mod topics;

pub use config::{Config, EMBEDDED, ResultTopics, StartFrom};

/// The name of a retry tier's topic, for example `postback.retry.5s`.
pub fn tier_topic(prefix: &str, tier: &str) -> String {
    format!("{prefix}.{tier}")
}

/// The name of an account's parking topic.
pub fn parking_topic(prefix: &str, account: &str) -> String {
    format!("{prefix}.{account}")
}

/// The number of partitions of a remainder: one for each percent.
pub const REMAINDER_PARTITIONS: i32 = 100;

/// What the name of a remainder ends with. The name of an account contains no dot.
pub(crate) const REMAINDER: &str = ".rollout";

/// The name of an account's remainder: the topic of the events that its gray release does not send yet.
pub fn remainder_topic(prefix: &str, account: &str) -> String {
    format!("{prefix}.{account}{REMAINDER}")
}

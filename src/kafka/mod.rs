//! Moves bytes; knows no event.

pub mod consumer;
pub(in crate::kafka) mod log;
pub mod matching;
pub(in crate::kafka) mod native;
pub mod offsets;
pub mod producer;
pub mod record;
pub mod refusals;
pub mod scan;
pub mod settings;
pub mod topics;

use std::collections::BTreeMap;
use std::fmt;

pub(crate) use crate::clock::now_ms;

/// `[kafka]`.
#[derive(Clone)]
pub struct Config {
    /// `host:port,…`; `embedded` until the embedded broker's address is known.
    pub brokers: String,
    /// The broker is the embedded one, which is not all of Kafka: topics are there and not looked at, by name and not by
    /// pattern, and nothing of it is durable.
    pub embedded: bool,
    /// Consumer group of the inputs; `<group>.wait` reads tiers and parking.
    pub group: String,
    /// Topics, or patterns that begin with `^`.
    pub input: Vec<String>,
    /// Where a group without offsets begins.
    pub start_from: StartFrom,
    /// Prefix of the retry tiers.
    pub retry_prefix: String,
    /// Prefix of the parking topics.
    pub parked_prefix: String,
    /// Dead-letter topic.
    pub dead_letter: String,
    /// Topic of call results.
    pub results: String,
    /// Further topics that calls may name.
    pub result_topics: Vec<String>,
    /// Receipts topic; empty: none.
    pub receipts: String,
    /// Create missing worker-owned topics.
    pub create_topics: bool,
    /// Partitions of created tiers, dead letters and receipts.
    pub partitions: i32,
    /// Replication of created topics; 0: the broker's default.
    pub replication: i32,
    /// Any librdkafka key.
    pub properties: BTreeMap<String, String>,
}

#[cfg(test)]
impl Config {
    /// Of a test: these brokers and properties, every name as by default.
    pub(crate) fn stub(brokers: &str, properties: &[(&str, &str)]) -> Self {
        Self {
            brokers: brokers.to_owned(),
            embedded: false,
            group: "postback".into(),
            input: vec!["conversions".into()],
            start_from: StartFrom::Earliest,
            retry_prefix: "postback.retry".into(),
            parked_prefix: "postback.parked".into(),
            dead_letter: "postback.dlt".into(),
            results: "postback.results".into(),
            result_topics: Vec::new(),
            receipts: String::new(),
            create_topics: true,
            partitions: 3,
            replication: 0,
            properties: properties.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        }
    }
}

/// Values of properties are not shown: passwords and keys are among them.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("brokers", &self.brokers)
            .field("group", &self.group)
            .field("input", &self.input)
            .field("properties", &self.properties.keys())
            .finish_non_exhaustive()
    }
}

/// `kafka.start_from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartFrom {
    /// The beginning of each partition.
    Earliest,
    /// The end of each partition.
    Latest,
    /// Nowhere: park every partition until an operator says.
    Error,
}

/// The name of a tier's topic, e.g. `postback.retry.5s`.
pub fn tier_topic(prefix: &str, tier: &str) -> String {
    format!("{prefix}.{tier}")
}

/// The name of an account's parking topic.
pub fn parking_topic(prefix: &str, account: &str) -> String {
    format!("{prefix}.{account}")
}

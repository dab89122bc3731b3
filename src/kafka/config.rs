//! The `[kafka]` section: each key with its type and its range.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv6Addr;
use std::sync::Arc;

use serde::de::{Error, IntoDeserializer};
use serde::{Deserialize, Deserializer};

use super::pattern::pattern;
use super::properties;
use crate::config::fields::{list, refuse, whole, words};

/// The value of `brokers` that selects the broker inside the process.
pub const EMBEDDED: &str = "embedded";

/// The `[kafka]` section.
#[derive(Clone, Deserialize)]
pub struct Config {
    /// A list `host:port,…`. It is `embedded` until the address of the embedded broker is known.
    #[serde(deserialize_with = "brokers")]
    pub brokers: String,
    /// Whether the broker is the embedded one. It does not implement all of Kafka: its topics exist but cannot be
    /// looked up, by name or by pattern, and it stores nothing durably.
    #[serde(skip)]
    pub embedded: bool,
    /// Consumer group of the input topics. The group `<group>.wait` reads the retry tiers and the parking topics.
    #[serde(deserialize_with = "words")]
    pub group: String,
    /// Names of topics, or patterns that begin with `^`.
    #[serde(deserialize_with = "inputs")]
    pub input: Vec<String>,
    /// Where a group that has no committed offsets begins to read.
    pub start_from: StartFrom,
    /// Prefix of the names of the retry tiers.
    #[serde(deserialize_with = "topic")]
    pub retry_prefix: String,
    /// Prefix of the names of the parking topics.
    #[serde(deserialize_with = "topic")]
    pub parked_prefix: String,
    /// The dead-letter topic.
    #[serde(deserialize_with = "topic")]
    pub dead_letter: String,
    /// The topic for the results of calls.
    #[serde(deserialize_with = "topic")]
    pub results: String,
    /// Further topics that a call may name for its result.
    #[serde(deserialize_with = "topics")]
    pub result_topics: Vec<String>,
    /// The topic of the audit: every change that somebody makes to a running worker.
    #[serde(deserialize_with = "topic")]
    pub audit: String,
    /// The topic for receipts. Empty: the worker publishes no receipts.
    #[serde(deserialize_with = "optional_topic")]
    pub receipts: String,
    /// Whether the worker creates the topics that it owns and that are missing.
    pub create_topics: bool,
    /// Number of partitions of the tiers, dead-letter topics and receipt topics that the worker creates.
    #[serde(deserialize_with = "whole::<_, _, 1, 10_000>")]
    pub partitions: i32,
    /// Replication factor of the topics that the worker creates. 0: the broker's default.
    #[serde(deserialize_with = "whole::<_, _, 0, 100>")]
    pub replication: i32,
    /// Any key of librdkafka.
    #[serde(deserialize_with = "properties::read")]
    pub properties: BTreeMap<String, String>,
}

/// Shows the keys of the properties but not their values, because passwords and keys are among the values.
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

/// Where results of calls may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultTopics {
    /// `kafka.results`: for calls that name no topic, and for those whose topic is not allowed.
    pub usual: Arc<str>,
    /// `kafka.result_topics`.
    pub others: Vec<Arc<str>>,
}

impl ResultTopics {
    /// The topic of this name, if results may go there. Without a name it is the usual one.
    pub fn find(&self, name: Option<&str>) -> Option<&Arc<str>> {
        let Some(name) = name else { return Some(&self.usual) };
        std::iter::once(&self.usual).chain(&self.others).find(|topic| ***topic == *name)
    }
}

impl Config {
    /// Where results of calls may go.
    pub fn result_topics(&self) -> ResultTopics {
        let others = self.result_topics.iter().map(|topic| topic.as_str().into()).collect();
        ResultTopics { usual: self.results.as_str().into(), others }
    }
}

/// The values of `kafka.start_from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartFrom {
    /// The beginning of each partition.
    Earliest,
    /// The end of each partition.
    Latest,
    /// No position: every partition is parked until an operator chooses an offset.
    Error,
}

#[cfg(test)]
impl Config {
    /// A configuration for tests, with these brokers and properties. Every name has its default.
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
            audit: "postback.audit".into(),
            result_topics: Vec::new(),
            receipts: String::new(),
            create_topics: true,
            partitions: 3,
            replication: 0,
            properties: properties.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        }
    }
}

/// Checks the list here, because librdkafka takes text that it does not understand as part of a host name and tries to
/// resolve it for ever.
fn brokers<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let brokers = words(from)?;
    let wrong = if brokers.contains("://") {
        "holds a scheme; the protocol is set in [kafka.properties] as \"security.protocol\""
    } else if brokers.contains([';', '，', '；', '、', '|']) {
        "is separated by something else than a comma"
    } else if brokers.contains(|c: char| c.is_whitespace() || c.is_control()) {
        "holds a blank"
    } else if brokers.split(',').any(str::is_empty) {
        "has an empty part"
    } else if !brokers.split(',').all(is_broker) {
        "holds a part that is no host with a port"
    } else {
        return Ok(brokers);
    };
    Err(D::Error::custom(format!("{wrong}: it has to be \"host:9092,host2:9092\", without empty parts")))
}

/// Accepts `host`, `host:port` and `[address]:port`.
fn is_broker(broker: &str) -> bool {
    let (host, port) = match broker.rsplit_once(':') {
        Some((host, _)) if broker.ends_with(']') => (host, None),
        Some((host, port)) => (host, Some(port)),
        None => (broker, None),
    };
    let is_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|p| p > 0);
    let is_address = || {
        let whole = if broker.ends_with(']') { broker } else { host };
        whole.strip_prefix('[').and_then(|h| h.strip_suffix(']')).is_some_and(|h| h.parse::<Ipv6Addr>().is_ok())
    };
    let is_name =
        || !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    port.is_none_or(is_port) && (is_name() || is_address())
}

/// Applies Kafka's own rule for topic names.
fn topic_name(name: &str) -> Result<(), &'static str> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > 249 || !name.chars().all(fine) || matches!(name, "." | "..") {
        return Err("is no topic name: 1 to 249 of a-z, A-Z, 0-9, `.`, `_`, `-`");
    }
    Ok(())
}

fn topic<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    topic_name(&name).map(|()| name).map_err(D::Error::custom)
}

fn optional_topic<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    if name.is_empty() { Ok(name) } else { topic(name.into_deserializer()) }
}

fn topics<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let names = list(from)?;
    match names.iter().find_map(|name| topic_name(name).err()) {
        Some(reason) => Err(D::Error::custom(format!("holds a member that {reason}"))),
        None => Ok(names),
    }
}

fn inputs<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let names = list(from)?;
    if names.is_empty() {
        return Err(D::Error::custom("names no topic: there would be nothing to deliver"));
    }
    for name in &names {
        if name.starts_with('^') {
            pattern(name).map_err(|e| refuse("holds a pattern that is no regular expression", &format!(": {e}")))?;
        } else if let Err(reason) = topic_name(name) {
            return Err(D::Error::custom(format!("holds a member that {reason}, or a pattern that begins with ^")));
        }
    }
    Ok(names)
}

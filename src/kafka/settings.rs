//! Builds the client library's configuration from `[kafka]`.
//!
//! An operator may not set some keys, because the worker's promises depend on them. They are refused. So are two names
//! of one setting, because it would be random which of them takes effect.

mod trial;

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

pub use self::trial::try_clients;
use crate::kafka::Config;
use crate::kafka::properties::{owned, true_name};

/// Prefixes of the keys that only consumers use.
const CONSUMER_KEYS: &[&str] =
    &["session.", "heartbeat.", "max.poll.", "fetch.", "isolation.", "check.crcs", "client.rack", "coordinator."];
/// Prefixes of the keys that only producers use.
const PRODUCER_KEYS: &[&str] = &["linger.", "batch.", "queue.buffering.", "compression.", "retries", "sticky."];

/// Why the settings cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingsError {
    /// A key that the operator may not set.
    Owned { key: String, why: &'static str },
    /// Two names of the same setting.
    Twice { key: String, other: String },
    /// The client library refuses a key or its value.
    Refused(String),
    /// A pattern of `kafka.input` that cannot be read.
    Pattern(String),
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingsError::Owned { key, why } => write!(f, "kafka.properties may not set {key}: {why}"),
            SettingsError::Twice { key, other } => {
                write!(f, "kafka.properties: {key} is another name of {other}, which is set too; keep one of them")
            }
            SettingsError::Refused(text) => write!(f, "kafka.properties: {text}"),
            SettingsError::Pattern(text) => write!(f, "kafka.input: the pattern {text}"),
        }
    }
}

impl std::error::Error for SettingsError {}

/// The settings of the consumer that reads the input topics.
///
/// # Errors
/// Fails for the same reasons as [`try_clients`].
pub fn intake(config: &Config) -> Result<ClientConfig, SettingsError> {
    consumer(config, &config.group, "2048", ("10000", "100"))
}

/// The settings of the consumer that reads the retry tiers and parking topics. When a topic of its list is deleted and
/// created again, the consumer finds it by its id (`consumer/known_ids.rs`). The metadata refresh is rare, because its
/// answer names every topic. `topics` is how many there are.
///
/// # Errors
/// Fails for the same reasons as [`try_clients`].
pub fn waiting(config: &Config, topics: usize) -> Result<ClientConfig, SettingsError> {
    // Each fetch names all topics, and for each of them in its answer the client searches all topics. So the more
    // topics there are, the longer an idle fetch waits. A new record still ends the wait at once. Only a partition that
    // was paused has to wait for the fetch that is under way.
    let fetch_wait_ms = topics.clamp(500, 1000).to_string();
    consumer(config, &waiting_group(config), "1024", ("30000", &fetch_wait_ms))
}

/// The consumer group of the retry tiers and parking topics.
pub fn waiting_group(config: &Config) -> String {
    format!("{}.wait", config.group)
}

/// What the producer of single records sets in addition to the settings of the producer. Its client refuses no record
/// by size, so that only the broker does, and the broker judges the compressed size.
pub(super) const ALONE: [(&str, &str); 4] = [
    ("batch.num.messages", "1"),
    ("compression.type", "zstd"),
    ("message.max.bytes", "1000000000"),
    ("queue.buffering.max.kbytes", "2097151"),
];
/// What the producer of parking topics sets in addition to the settings of the producer. A topic that takes no records
/// is reported early enough to put off the records that belong there.
pub(super) const PARKING: [(&str, &str); 1] = [("message.timeout.ms", "10000")];
/// The client accepts copies up to this size in any case. The topic decides whether it takes them.
const MIN_MESSAGE_MAX: u64 = 8 << 20;
/// The largest value that the client library allows.
const MESSAGE_MAX_MAX: u64 = 1_000_000_000;
/// An upper bound of the bytes that a copy's headers add to a record.
pub const HEADROOM: u64 = 64 * 1024;

/// The settings of the producer. `largest` is the size in bytes of the largest record that has to be copied.
///
/// # Errors
/// Fails for the same reasons as [`try_clients`].
pub fn producer(config: &Config, largest: u64) -> Result<ClientConfig, SettingsError> {
    let message_max = largest.saturating_add(HEADROOM).clamp(MIN_MESSAGE_MAX, MESSAGE_MAX_MAX);
    // The queue has room for several of the largest records.
    let queue_kbytes = (message_max / 1024 * 4).clamp(65_536, 2_097_151);
    let (message_max, queue_kbytes) = (message_max.to_string(), queue_kbytes.to_string());
    let own = [
        ("acks", "all"),
        ("enable.idempotence", "true"),
        ("message.timeout.ms", "30000"),
        // The client reports a topic that is gone by then, before the wait for the record ends.
        ("topic.metadata.propagation.max.ms", "5000"),
        // The worker creates topics with the right settings, or reports them. The broker must not create them.
        ("allow.auto.create.topics", "false"),
        ("message.max.bytes", &*message_max),
        ("partitioner", "murmur2_random"),
        ("linger.ms", "1"),
        ("queue.buffering.max.kbytes", &*queue_kbytes),
    ];
    build(config, "producer", &own, &[])
}

/// The settings of the client that administers topics and asks the cluster from outside. It commits only on request.
///
/// # Errors
/// Fails for the same reasons as [`try_clients`].
pub fn admin(config: &Config, group: Option<&str>) -> Result<ClientConfig, SettingsError> {
    let mut own = vec![("socket.timeout.ms", "10000")];
    if let Some(group) = group {
        own.extend([("group.id", group), ("enable.auto.commit", "false"), ("auto.offset.reset", "error")]);
    }
    build(config, "admin", &[], &own)
}

/// The settings of the client that reads topics from outside. It names the group because the group's access rights may
/// be needed, but never joins it.
///
/// # Errors
/// Fails for the same reasons as [`try_clients`].
pub fn reader(config: &Config) -> Result<ClientConfig, SettingsError> {
    let own = [
        ("group.id", &*config.group),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        // The reader skips records that retention deletes meanwhile.
        ("auto.offset.reset", "earliest"),
        ("enable.partition.eof", "true"),
        ("fetch.wait.max.ms", "100"),
        // A reader may share the process with live traffic, and several of them read at once. A small queue costs no
        // speed where the next fetch does not wait long for room in it.
        ("queued.max.messages.kbytes", "4096"),
        ("fetch.queue.backoff.ms", "5"),
        ("fetch.message.max.bytes", "1048576"),
        ("fetch.max.bytes", "4194304"),
        ("allow.auto.create.topics", "false"),
    ];
    build(config, "reader", &[], &own)
}

fn consumer(
    config: &Config,
    group: &str,
    queue_kbytes: &str,
    (refresh_ms, fetch_wait_ms): (&str, &str),
) -> Result<ClientConfig, SettingsError> {
    let defaults = [
        ("session.timeout.ms", "45000"),
        ("heartbeat.interval.ms", "3000"),
        ("max.poll.interval.ms", "300000"),
        ("topic.metadata.refresh.interval.ms", refresh_ms),
        // A partition that is resumed has to wait for the fetch that is under way.
        ("fetch.wait.max.ms", fetch_wait_ms),
        ("check.crcs", "true"),
    ];
    let own = [
        ("group.id", group),
        ("group.protocol", "classic"),
        ("enable.auto.commit", "true"),
        ("auto.commit.interval.ms", "1000"),
        ("enable.auto.offset.store", "false"),
        ("auto.offset.reset", "error"),
        ("partition.assignment.strategy", "cooperative-sticky"),
        ("queued.max.messages.kbytes", queue_kbytes),
        ("queued.min.messages", "10000"),
        ("fetch.queue.backoff.ms", "5"),
        ("fetch.message.max.bytes", "1048576"),
        ("fetch.max.bytes", "2097152"),
        ("enable.partition.eof", "false"),
        ("allow.auto.create.topics", "false"),
    ];
    build(config, "consumer", &defaults, &own)
}

/// Sets the defaults, then the operator's properties, then the worker's own settings, so that the later ones win.
fn build(
    config: &Config,
    role: &str,
    defaults: &[(&str, &str)],
    own: &[(&str, &str)],
) -> Result<ClientConfig, SettingsError> {
    let mut client = ClientConfig::new();
    // The log subscriber filters the library's lines, so the library passes them on.
    client.set_log_level(RDKafkaLogLevel::Info);
    client.set("client.id", format!("postback-{role}"));
    client.set("socket.keepalive.enable", "true");
    client.set("reconnect.backoff.max.ms", "2000");
    for (key, value) in defaults {
        client.set(*key, *value);
    }
    // The library warns at each start about keys that only the other kind of client uses, so they are left out.
    let foreign: &[&[&str]] = match role {
        "consumer" | "reader" => &[PRODUCER_KEYS],
        "producer" => &[CONSUMER_KEYS],
        _ => &[CONSUMER_KEYS, PRODUCER_KEYS],
    };
    let mut given: BTreeMap<&str, &str> = BTreeMap::new();
    for (key, value) in &config.properties {
        if let Some(why) = owned(key) {
            return Err(SettingsError::Owned { key: key.clone(), why });
        }
        // The property is set under its true name, so that it replaces a default of the worker and does not stand
        // beside it under a second name.
        let name = true_name(key.trim());
        if let Some(other) = given.insert(name, key) {
            return Err(SettingsError::Twice { key: key.clone(), other: other.to_owned() });
        }
        if !foreign.iter().copied().flatten().any(|prefix| name.starts_with(prefix)) {
            client.set(name, value);
        }
    }
    for (key, value) in own {
        client.set(*key, *value);
    }
    client.set("bootstrap.servers", &config.brokers);
    client.create_native_config().map_err(|e| SettingsError::Refused(e.to_string()))?;
    Ok(client)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::properties::OWNED;

    fn config(properties: &[(&str, &str)]) -> Config {
        Config::stub("127.0.0.1:1", properties)
    }

    #[test]
    fn the_keys_that_the_promises_stand_on_are_set() {
        let intake = intake(&config(&[])).unwrap();
        for (key, value) in [
            ("enable.auto.offset.store", "false"),
            ("enable.auto.commit", "true"),
            ("auto.offset.reset", "error"),
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("queued.max.messages.kbytes", "2048"),
            ("fetch.queue.backoff.ms", "5"),
            ("group.id", "postback"),
        ] {
            assert_eq!(intake.get(key), Some(value), "{key}");
        }
        assert_eq!(intake.get("fetch.wait.max.ms"), Some("100"));
        for (topics, fetch_wait_ms) in [(5, "500"), (700, "700"), (5_000, "1000")] {
            let waiting = waiting(&config(&[]), topics).unwrap();
            assert_eq!(waiting.get("group.id"), Some("postback.wait"));
            assert_eq!(waiting.get("queued.max.messages.kbytes"), Some("1024"));
            assert_eq!(waiting.get("fetch.wait.max.ms"), Some(fetch_wait_ms), "{topics} topics");
        }
        let producer = producer(&config(&[]), 0).unwrap();
        for (key, value) in [("acks", "all"), ("enable.idempotence", "true"), ("partitioner", "murmur2_random")] {
            assert_eq!(producer.get(key), Some(value), "{key}");
        }
    }

    #[test]
    fn the_client_takes_what_the_largest_source_takes_and_its_headers() {
        let limit = |largest: u64| {
            let client = producer(&config(&[]), largest).unwrap();
            let number = |key| client.get(key).unwrap().parse::<u64>().unwrap();
            assert!(number("queue.buffering.max.kbytes") * 1024 > number("message.max.bytes"), "{largest}");
            number("message.max.bytes")
        };
        assert_eq!(limit(0), 8 << 20);
        assert_eq!(limit(20_000_000), 20_000_000 + HEADROOM);
        assert_eq!(limit(u64::MAX), 1_000_000_000);
    }

    #[test]
    fn an_operator_may_set_what_is_theirs() {
        let config = config(&[("session.timeout.ms", "30000"), ("security.protocol", "plaintext"), ("linger.ms", "5")]);
        assert_eq!(intake(&config).unwrap().get("session.timeout.ms"), Some("30000"));
        assert_eq!(intake(&config).unwrap().get("linger.ms"), None);
        assert_eq!(producer(&config, 0).unwrap().get("linger.ms"), Some("5"));
        assert_eq!(producer(&config, 0).unwrap().get("session.timeout.ms"), None);
        assert_eq!(producer(&config, 0).unwrap().get("security.protocol"), Some("plaintext"));
    }

    #[test]
    fn owned_keys_second_names_and_unknown_keys_are_refused() {
        for (key, _) in OWNED {
            let error = try_clients(&config(&[(key, "1")])).unwrap_err();
            assert!(matches!(&error, SettingsError::Owned { key: k, .. } if k == key), "{error}");
        }
        assert!(matches!(try_clients(&config(&[("no.such.key", "1")])), Err(SettingsError::Refused(_))));
        assert!(matches!(try_clients(&config(&[("session.timeout.ms", "soon")])), Err(SettingsError::Refused(_))));
    }

    /// Every setting of the library that has two names.
    const TWO_NAMES: [(&str, &str, &str); 12] = [
        ("bootstrap.servers", "metadata.broker.list", "h:1"),
        ("max.in.flight", "max.in.flight.requests.per.connection", "2"),
        ("sasl.mechanism", "sasl.mechanisms", "PLAIN"),
        ("sasl.oauthbearer.client.credentials.client.id", "sasl.oauthbearer.client.id", "x"),
        ("sasl.oauthbearer.client.credentials.client.secret", "sasl.oauthbearer.client.secret", "x"),
        ("max.partition.fetch.bytes", "fetch.message.max.bytes", "1000"),
        ("linger.ms", "queue.buffering.max.ms", "7"),
        ("retries", "message.send.max.retries", "9"),
        ("compression.type", "compression.codec", "lz4"),
        ("acks", "request.required.acks", "1"),
        ("delivery.timeout.ms", "message.timeout.ms", "9000"),
        ("enable.auto.commit", "auto.commit.enable", "true"),
    ];

    #[test]
    fn two_names_of_one_setting_are_refused_and_one_alone_takes_the_place_of_our_default() {
        for (one, other, value) in TWO_NAMES {
            assert_eq!(owned(one).is_some(), owned(other).is_some(), "{one} and {other} are one setting");
            if owned(one).is_some() {
                continue;
            }
            let error = try_clients(&config(&[(one, value), (other, value)])).unwrap_err();
            assert!(matches!(&error, SettingsError::Twice { .. }), "{one}, {other}: {error}");
            // This build has no OAuth, so the library refuses the two OAuth settings.
            for name in [one, other].into_iter().filter(|name| !name.contains("oauthbearer")) {
                let client = producer(&config(&[(name, value)]), 0).unwrap();
                assert_eq!(client.get(true_name(name)), Some(value), "{name}");
                let second = if true_name(name) == one { other } else { one };
                assert_eq!(client.get(second), None, "{name}: not under a second name as well");
            }
        }
    }
}

//! Reads `[kafka.properties]`. It accepts any key of librdkafka except those that the worker sets itself, and stores
//! each under its one true name.

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, Visitor};

use crate::config::secret;
use crate::similar::nearest;

/// Keys that `[kafka.properties]` may not contain, each with the reason.
pub const OWNED: &[(&str, &str)] = &[
    ("bootstrap.servers", "set kafka.brokers"),
    ("metadata.broker.list", "set kafka.brokers"),
    ("group.id", "set kafka.group"),
    ("group.protocol", "the classic protocol is the one that is tested"),
    ("group.instance.id", "static members would leave partitions idle after a scale-down"),
    ("group.remote.assignor", "the classic protocol is the one that is tested"),
    ("enable.auto.commit", "stored positions are committed by the client"),
    ("auto.commit.interval.ms", "positions are committed every second"),
    ("auto.commit.enable", "stored positions are committed by the client"),
    ("enable.auto.offset.store", "a position is stored when its record has ended"),
    ("auto.offset.reset", "an offset that is missing or out of range parks its partition"),
    ("offset.store.method", "positions live in the group"),
    ("partition.assignment.strategy", "cooperative-sticky, alone"),
    ("queued.max.messages.kbytes", "part of the memory budget"),
    ("queued.min.messages", "part of the memory budget"),
    ("fetch.queue.backoff.ms", "a slow one makes a bounded consumer idle"),
    ("fetch.message.max.bytes", "part of the memory budget"),
    ("max.partition.fetch.bytes", "part of the memory budget"),
    ("fetch.max.bytes", "part of the memory budget"),
    ("enable.partition.eof", "nobody reads it"),
    ("allow.auto.create.topics", "topics are created with the right settings, or named"),
    ("acks", "a copy counts once all replicas have it"),
    ("request.required.acks", "a copy counts once all replicas have it"),
    ("enable.idempotence", "a retried write must not double a copy"),
    ("message.timeout.ms", "a record that cannot be written is held"),
    ("delivery.timeout.ms", "a record that cannot be written is held"),
    ("message.max.bytes", "a dead letter is larger than its record"),
    ("partitioner", "keys land where a Java producer would put them"),
    ("transactional.id", "a transaction cannot cover an HTTP request"),
    ("test.mock.num.brokers", "it replaces the brokers"),
    ("log.queue", "the log is forwarded"),
];

/// Aliases of settings, each with the name under which the clients set and read the setting.
const ALIASES: &[(&str, &str)] = &[
    ("sasl.mechanisms", "sasl.mechanism"),
    ("sasl.oauthbearer.client.credentials.client.id", "sasl.oauthbearer.client.id"),
    ("sasl.oauthbearer.client.credentials.client.secret", "sasl.oauthbearer.client.secret"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("queue.buffering.max.ms", "linger.ms"),
    ("message.send.max.retries", "retries"),
    ("compression.codec", "compression.type"),
];

/// Keys that are refused in addition to those that the clients set themselves.
const UNSAFE: &[(&str, &str)] =
    &[("group.protocol.type", "the group is a consumer group"), ("plugin.library.paths", "it would load foreign code")];

/// The keys that operators use most, for a "did you mean".
const USUAL: &[&str] = &[
    "security.protocol",
    "sasl.mechanism",
    "sasl.username",
    "sasl.password",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.endpoint.identification.algorithm",
    "enable.ssl.certificate.verification",
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "max.poll.interval.ms",
    "socket.timeout.ms",
    "linger.ms",
    "compression.type",
    "client.id",
    "client.rack",
    "debug",
];

/// The reason why an operator may not set this key of `[kafka.properties]`. `None` if the operator may set it.
pub fn owned(key: &str) -> Option<&'static str> {
    let key = key.trim();
    OWNED.iter().find(|(owned, _)| owned.eq_ignore_ascii_case(key)).map(|(_, why)| *why)
}

/// The name under which the clients set and read the setting that `key` names.
pub fn true_name(key: &str) -> &str {
    ALIASES.iter().find(|(alias, _)| *alias == key).map_or(key, |(_, name)| name)
}

/// Checks every property against librdkafka itself. This needs no connection.
pub(super) fn read<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    from.deserialize_map(Properties)
}

struct Properties;

impl<'de> Visitor<'de> for Properties {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let (mut properties, mut keys) = (BTreeMap::new(), BTreeMap::new());
        while let Some(key) = members.next_key::<String>()? {
            let value = members.next_value_seed(Property { key: &key, keys: &keys })?;
            let name = true_name(&key).to_owned();
            properties.insert(name.clone(), value);
            keys.insert(name, key);
        }
        Ok(properties)
    }
}

/// One property. `keys` are the keys that were read before it, by their true name.
struct Property<'a> {
    key: &'a str,
    keys: &'a BTreeMap<String, String>,
}

impl<'de> DeserializeSeed<'de> for Property<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<String, D::Error> {
        let unsafe_key = || UNSAFE.iter().find(|(name, _)| *name == self.key).map(|(_, why)| *why);
        if let Some(why) = owned(self.key).or_else(unsafe_key) {
            return Err(D::Error::custom(format!("cannot be set here: {why}")));
        }
        let value = from.deserialize_any(Scalar)?;
        intact(self.key, &value).map_err(D::Error::custom)?;
        let name = true_name(self.key);
        accepted(name, &value).map_err(D::Error::custom)?;
        match self.keys.get(name) {
            Some(other) => {
                Err(D::Error::custom(format!("is another name of {other}, which is set too; keep one of them")))
            }
            None => Ok(value),
        }
    }
}

struct Scalar;

impl Visitor<'_> for Scalar {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a number or true or false")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_i64<E: Error>(self, n: i64) -> Result<String, E> {
        Ok(n.to_string())
    }

    fn visit_f64<E: Error>(self, n: f64) -> Result<String, E> {
        Ok(n.to_string())
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<String, E> {
        Ok(flag.to_string())
    }
}

/// Checks that a value arrived undamaged. A password and the user name that belongs to it follow the rules of an
/// account's secrets. Keys and certificates may have several lines.
fn intact(key: &str, value: &str) -> Result<(), String> {
    match key {
        _ if key.ends_with(".pem") => secret::intact_lines(value),
        "sasl.username" => secret::intact(value),
        _ if secret::is_property(key) => secret::intact(value),
        _ => Ok(()),
    }
}

/// Checks that librdkafka accepts the value. The error does not repeat the library's text, because that text repeats
/// the value, which may be a password.
fn accepted(name: &str, value: &str) -> Result<(), String> {
    match ClientConfig::new().set(name, value).create_native_config() {
        Ok(_) => Ok(()),
        Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)) => Err(match nearest_property(name) {
            Some(near) => format!("is no setting of librdkafka; did you mean `{near}`?"),
            None => "is no setting of librdkafka".to_owned(),
        }),
        Err(_) if cfg!(not(feature = "kafka-tls")) && is_of_tls(name) => {
            Err("needs TLS to Kafka, which this build leaves out: build it with `cargo build --release`".to_owned())
        }
        Err(_) => Err("has a value that librdkafka does not accept, or that this build does not support".to_owned()),
    }
}

fn is_of_tls(name: &str) -> bool {
    name == "security.protocol" || ["ssl.", "sasl.", "enable.ssl."].iter().any(|prefix| name.starts_with(prefix))
}

fn nearest_property(name: &str) -> Option<&'static str> {
    nearest(&name.replace('_', "."), USUAL.iter().copied())
}

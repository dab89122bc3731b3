//! `[kafka.properties]`: any librdkafka key but those the worker owns, each under its one true name.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;

use crate::config::secret;
use crate::config::section::{Section, nearest};
use crate::config::tree::{Node, Table, Value};
use crate::kafka::settings::{owned, true_name};

/// Keys that are refused beside those that the clients set themselves.
const UNSAFE: &[(&str, &str)] =
    &[("group.protocol.type", "the group is a consumer group"), ("plugin.library.paths", "it would load foreign code")];

/// The keys operators write most, for a "did you mean".
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

/// InFlightKeys nested tables (`security.protocol = …` without quotes) into dotted keys.
pub(super) fn flatten(kafka: &mut Table) {
    if let Some(Node { value: Value::Table(table), .. }) = kafka.get_mut("properties") {
        let mut flat = Table::new();
        collect(std::mem::take(table), "", &mut flat);
        *table = flat;
    }
}

fn collect(table: Table, prefix: &str, flat: &mut Table) {
    for (key, node) in table {
        let key = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
        match node.value {
            Value::Table(inner) => collect(inner, &key, flat),
            _ => {
                flat.insert(key, node);
            }
        }
    }
}

/// Checks every property against librdkafka itself, which needs no connection for that.
pub(super) fn read(section: &Section<'_>) -> BTreeMap<String, String> {
    let mut properties: BTreeMap<String, (String, String)> = BTreeMap::new();
    for (key, node) in section.rest() {
        if node.is_broken() {
            continue;
        }
        let unsafe_key = || UNSAFE.iter().find(|(name, _)| name == key).map(|(_, why)| *why);
        if let Some(why) = owned(key).or_else(unsafe_key) {
            section.problem(key, format!("cannot be set here: {why}"));
            continue;
        }
        let Some(value) = scalar(node) else {
            section.problem(key, "has to be a string, a number or true or false");
            continue;
        };
        if let Err(reason) = intact(key, &value) {
            section.problem(key, reason);
            continue;
        }
        let name = true_name(key);
        if let Err(reason) = accepted(name, &value) {
            section.problem(key, reason);
        } else if let Some((other, _)) = properties.insert(name.to_owned(), (key.clone(), value)) {
            section.problem(key, format!("is another name of {other}, which is set too; keep one of them"));
        }
    }
    properties.into_iter().map(|(name, (_, value))| (name, value)).collect()
}

/// Passwords are judged as the account's secrets are, and so is the name that belongs to one; keys and certificates are
/// texts of several lines.
fn intact(key: &str, value: &str) -> Result<(), String> {
    match key {
        _ if key.ends_with(".pem") => secret::intact_lines(value),
        "sasl.username" => secret::intact(value),
        _ if secret::is_property(key) => secret::intact(value),
        _ => Ok(()),
    }
}

fn scalar(node: &Node) -> Option<String> {
    match &node.value {
        Value::Text(text) => Some(text.clone()),
        Value::Integer(n) => Some(n.to_string()),
        Value::Float(n) => Some(n.to_string()),
        Value::Flag(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// The reason does not repeat the library's text, because that repeats the value, which may be a password.
fn accepted(name: &str, value: &str) -> Result<(), String> {
    match ClientConfig::new().set(name, value).create_native_config() {
        Ok(_) => Ok(()),
        Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)) => Err(match nearest_property(name) {
            Some(near) => format!("is no setting of librdkafka; did you mean `{near}`?"),
            None => "is no setting of librdkafka".to_owned(),
        }),
        Err(_) => Err("has a value that librdkafka does not accept, or that this build does not support".to_owned()),
    }
}

fn nearest_property(name: &str) -> Option<&'static str> {
    nearest(&name.replace('_', "."), USUAL)
}

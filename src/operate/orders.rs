//! Serves `postback unblock`: orders to the owner of a parked partition, and the epoch of the store.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use ::redis::RedisResult;
use ::redis::aio::MultiplexedConnection;
use serde::{Deserialize, Serialize};

use crate::operate::audit::{self, AuditRecord, Change};
use crate::operate::{By, Keys, json};
use crate::redis::scripts::Script;

/// Where a parked partition continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// At its first record.
    Earliest,
    /// After its last record.
    Latest,
    /// At this offset.
    Offset(i64),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Earliest => f.write_str("earliest"),
            Target::Latest => f.write_str("latest"),
            Target::Offset(offset) => write!(f, "{offset}"),
        }
    }
}

impl FromStr for Target {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "earliest" => Ok(Target::Earliest),
            "latest" => Ok(Target::Latest),
            number => match number.parse() {
                Ok(offset) if offset >= 0 => Ok(Target::Offset(offset)),
                _ => Err(format!("`{number}` is neither earliest, latest nor an offset")),
            },
        }
    }
}

impl Serialize for Target {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The name of a partition. Its text, `<topic>/<partition>`, is the field of the hash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub topic: String,
    pub partition: i32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

impl FromStr for Place {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let (topic, partition) = text.rsplit_once('/').ok_or(())?;
        Ok(Self { topic: topic.to_owned(), partition: partition.parse().map_err(|_| ())? })
    }
}

/// An operator's order to a parked partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Where the partition continues.
    pub to: Target,
    #[serde(default)]
    pub reason: String,
    #[serde(default)]
    pub who: String,
    /// When the order was given, in epoch ms.
    #[serde(default)]
    pub at_ms: i64,
}

/// Stores an order. A second order for the same partition replaces the first. The order and its audit entry are one
/// transaction.
///
/// # Errors
/// Fails if Redis does not answer. The order may or may not be stored, and can be given again.
pub async fn give_order(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    place: &Place,
    to: Target,
    by: &By,
    now_ms: i64,
) -> RedisResult<()> {
    let order = Order { to, reason: by.why.clone(), who: by.who.clone(), at_ms: now_ms };
    let mut pipe = ::redis::pipe();
    pipe.atomic();
    pipe.cmd("HSET").arg(keys.orders()).arg(place.to_string()).arg(json(&order)).ignore();
    let entry = AuditRecord::new(Change::UnblockOffsets, by, now_ms);
    audit::push(&mut pipe, keys, &AuditRecord { detail: Some(format!("{place} to {to}")), ..entry });
    pipe.query_async(connection).await
}

/// Reads all orders, each with its stored text. It leaves out orders that cannot be read.
///
/// # Errors
/// Fails if Redis does not answer.
pub async fn read_orders(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
) -> RedisResult<BTreeMap<Place, (Order, String)>> {
    let hash = crate::redis::hash(connection, &keys.orders()).await?;
    let read = |(field, text): (String, String)| {
        let order = serde_json::from_str(&text).ok()?;
        Some((field.parse().ok()?, (order, text)))
    };
    Ok(hash.into_iter().filter_map(read).collect())
}

/// Removes an order, so that it is carried out once. Returns `true` if the stored order was the one in `text`. A newer
/// order in its place stays.
///
/// Fails if Redis does not answer. The order may be gone, and can be given again.
/// Redis does not answer: it may be gone, and can be given again.
pub async fn take_order(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    place: &Place,
    text: &str,
) -> RedisResult<bool> {
    Script::TakeOrder.eval(keys.orders().as_bytes()).arg(place.to_string()).arg(text).query_async(connection).await
}

/// Reads the partitions that were parked because they had no offset, and that nobody has placed yet.
///
/// # Errors
/// Fails if Redis does not answer.
pub async fn read_unplaced(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
) -> RedisResult<BTreeSet<(String, i32)>> {
    let all = crate::redis::members(connection, &keys.unplaced()).await?;
    Ok(all.iter().filter_map(|place| place.parse::<Place>().ok()).map(|p| (p.topic, p.partition)).collect())
}

/// Stores the names of partitions that are parked because they have no offset.
///
/// # Errors
/// Fails if Redis does not answer.
pub async fn add_unplaced(connection: &mut MultiplexedConnection, keys: &Keys, places: &[Place]) -> RedisResult<()> {
    let names: Vec<String> = places.iter().map(ToString::to_string).collect();
    ::redis::cmd("SADD").arg(keys.unplaced()).arg(&names).query_async(connection).await
}

/// Removes a partition from that list, because an operator has placed it.
///
/// # Errors
/// Fails if Redis does not answer. If the entry stays, the partition's own offset takes precedence over it.
pub async fn placed(connection: &mut MultiplexedConnection, keys: &Keys, place: &Place) -> RedisResult<()> {
    ::redis::cmd("SREM").arg(keys.unplaced()).arg(place.to_string()).query_async(connection).await
}

/// What the epoch key held before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Epoch {
    /// The key was missing. It now holds this new id.
    Renewed(String),
    /// A first start is under way.
    Starting,
    /// The store has not lost its data.
    Present(String),
}

impl Epoch {
    fn of(found: String) -> Self {
        if found == "starting" { Epoch::Starting } else { Epoch::Present(found) }
    }
}

/// The first letter of an epoch that an operator set. The time at which it was set follows.
const RENEWED: char = 'u';

/// When an operator let the worker go on after the store had lost its claims, in epoch ms, according to the epoch.
/// `None`: it has lost none since its first start.
pub fn renewed_ms(epoch: &str) -> Option<i64> {
    epoch.strip_prefix(RENEWED)?.split_once('-')?.0.parse().ok()
}

/// Sets the epoch if it is missing, for `postback unblock dedupe`. An event that was claimed before the store lost its
/// data may then be sent again. An existing epoch stays.
///
/// Fails if Redis does not answer.
/// Redis does not answer.
pub async fn renew_epoch(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    by: &By,
    now_ms: i64,
) -> RedisResult<Epoch> {
    let old: Option<String> = ::redis::cmd("GET").arg(keys.epoch()).query_async(connection).await?;
    if let Some(old) = old {
        return Ok(Epoch::of(old));
    }
    let id = format!("{RENEWED}{now_ms}-{:016x}", rand::random::<u64>());
    let entry = AuditRecord::new(Change::UnblockDedupe, by, now_ms);
    let entry = AuditRecord { detail: Some(format!("epoch {id}")), ..entry };
    let mut pipe = ::redis::pipe();
    pipe.atomic();
    pipe.cmd("SET").arg(keys.epoch()).arg(&id).arg("NX").arg("GET");
    audit::push(&mut pipe, keys, &entry);
    let (old,): (Option<String>,) = pipe.query_async(connection).await?;
    let Some(old) = old else { return Ok(Epoch::Renewed(id)) };
    // Another operator was quicker.
    audit::take_back(connection, keys, &entry).await?;
    Ok(Epoch::of(old))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_reads_as_it_is_written() {
        for text in ["earliest", "latest", "0", "42"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        for text in ["-1", "", "first", "1.5"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_epoch_says_when_it_was_renewed() {
        assert_eq!(renewed_ms("u1736956740000-0123456789abcdef"), Some(1_736_956_740_000));
        for first in ["starting", "0123456789abcdef0123456789abcdef", "u", "ux-1"] {
            assert_eq!(renewed_ms(first), None, "{first}");
        }
    }

    #[test]
    fn an_order_survives_its_way_through_json() {
        let order = Order { to: Target::Offset(7), reason: "r".into(), who: "w".into(), at_ms: 3 };
        assert_eq!(json(&order), r#"{"to":"7","reason":"r","who":"w","at_ms":3}"#);
        assert_eq!(serde_json::from_str::<Order>(&json(&order)).unwrap(), order);
    }

    #[test]
    fn a_place_is_a_topic_and_a_partition() {
        let place: Place = "postback.retry.5s/3".parse().unwrap();
        assert_eq!((place.topic.as_str(), place.partition), ("postback.retry.5s", 3));
        assert_eq!(place.to_string(), "postback.retry.5s/3");
        assert!("conversions".parse::<Place>().is_err());
        assert!("conversions/x".parse::<Place>().is_err());
    }
}

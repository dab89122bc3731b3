//! Topics that the storm brake stopped, as Redis keeps them for every replica: a worker stops a topic, and an operator
//! releases it. A release leaves a token, so that a worker that remembers an older stop does not set it again.

use std::collections::BTreeMap;

use ::redis::RedisResult;
use ::redis::aio::MultiplexedConnection;

use crate::operate::audit::{self, AuditRecord, Change};
use crate::operate::{By, Keys, json};
use crate::redis::scripts::Script;
use crate::storm::Storm;
use crate::storm::board::Releases;

/// The stopped topics, by name.
pub type StormsByTopic = BTreeMap<String, Storm>;

// Kafka allows no colon in the name of a topic.
const STOPPED: &str = ":stopped";
const RELEASED: &str = ":released";

fn parse(hash: BTreeMap<String, String>) -> (StormsByTopic, Releases) {
    let (mut storms, mut releases) = (StormsByTopic::new(), Releases::new());
    for (field, value) in hash {
        if let Some(topic) = field.strip_suffix(STOPPED) {
            let storm = serde_json::from_str(&value).unwrap_or_else(|_| Storm::unreadable(topic));
            storms.insert(topic.to_owned(), Storm { topic: topic.to_owned(), ..storm });
        } else if let Some(topic) = field.strip_suffix(RELEASED) {
            releases.insert(topic.to_owned(), value);
        }
    }
    (storms, releases)
}

/// Reads the stopped topics, and the tokens of releases.
///
/// # Errors
/// Fails if Redis does not answer. The caller keeps what it knew.
pub async fn read_storms(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
) -> RedisResult<(StormsByTopic, Releases)> {
    Ok(parse(::redis::cmd("HGETALL").arg(keys.storms()).query_async(connection).await?))
}

fn set(keys: &Keys, storm: &Storm, seen: Option<&str>) -> ::redis::Cmd {
    let topic = &storm.topic;
    let mut cmd = Script::SwitchOn.eval(keys.storms().as_bytes());
    cmd.arg(format!("{topic}{STOPPED}")).arg(json(storm)).arg(format!("{topic}{RELEASED}"));
    cmd.arg(seen.unwrap_or_default());
    cmd
}

/// Stops a topic for every replica. Returns `false` if it is stopped already, or was released since: `seen` is the token
/// of the last release that was known at the stop. The stop and its audit entry are one transaction.
///
/// # Errors
/// Fails if Redis does not answer. The change may or may not have been made, and can be repeated.
pub async fn stop(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    storm: &Storm,
    by: &By,
    seen: Option<&str>,
    now_ms: i64,
) -> RedisResult<bool> {
    let record = entry(Change::Storm, &storm.topic, by, now_ms);
    let record = AuditRecord { counts: storm.counts.clone(), ..record };
    let mut pipe = ::redis::pipe();
    pipe.atomic();
    pipe.add_command(set(keys, storm, seen));
    audit::push(&mut pipe, keys, &record);
    let (new,): (bool,) = pipe.query_async(connection).await?;
    if !new {
        audit::take_back(connection, keys, &record).await?;
    }
    Ok(new)
}

/// Lets a topic be read on. Returns `false` if it was not stopped. The release and its audit entry are one transaction.
///
/// # Errors
/// Fails for the same reasons as [`stop`].
pub async fn release(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    topic: &str,
    by: &By,
    now_ms: i64,
) -> RedisResult<bool> {
    let (storms, _) = read_storms(connection, keys).await?;
    if !storms.contains_key(topic) {
        return Ok(false);
    }
    let record = entry(Change::UnblockStorm, topic, by, now_ms);
    let mut pipe = ::redis::pipe();
    pipe.atomic();
    pipe.cmd("HDEL").arg(keys.storms()).arg(format!("{topic}{STOPPED}"));
    // The token is unique, so that it differs from every other one.
    let token = format!("{now_ms} {:016x}", rand::random::<u64>());
    pipe.cmd("HSET").arg(keys.storms()).arg(format!("{topic}{RELEASED}")).arg(token).ignore();
    audit::push(&mut pipe, keys, &record);
    let (was_stopped,): (bool,) = pipe.query_async(connection).await?;
    if !was_stopped {
        // Another operator was quicker.
        audit::take_back(connection, keys, &record).await?;
    }
    Ok(was_stopped)
}

/// Writes the known stops back into a store that lost them, except for topics that were released since.
///
/// # Errors
/// Fails for the same reasons as [`stop`].
pub async fn restore(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    storms: &[Storm],
    seen: &Releases,
) -> RedisResult<()> {
    if storms.is_empty() {
        return Ok(());
    }
    let mut pipe = ::redis::pipe();
    for storm in storms {
        pipe.add_command(set(keys, storm, seen.get(&storm.topic).map(String::as_str))).ignore();
    }
    pipe.query_async(connection).await
}

fn entry(what: Change, topic: &str, by: &By, now_ms: i64) -> AuditRecord {
    AuditRecord { detail: Some(format!("topic {}", audit::safe(topic))), ..AuditRecord::new(what, by, now_ms) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::store::Store;
    use crate::operate::audit::Via;

    #[tokio::test]
    async fn a_topic_is_stopped_once_and_a_stop_from_before_a_release_comes_too_late() {
        let store = Store::start().unwrap();
        let client = crate::redis::Config::stub(store.url()).client().unwrap();
        let mut c = crate::redis::connect(&client).await.unwrap();
        let (keys, by) = (Keys::new("pb"), By::new(Via::Worker, "worker r1", "100 records in a row"));
        let storm =
            Storm { topic: "t".into(), since_ms: 5, counts: [("malformed".into(), 100)].into(), ..Storm::default() };
        assert!(stop(&mut c, &keys, &storm, &by, None, 5).await.unwrap());
        let later = Storm { since_ms: 9, ..storm.clone() };
        assert!(!stop(&mut c, &keys, &later, &by, None, 9).await.unwrap(), "the first cause stays");
        let (storms, releases) = read_storms(&mut c, &keys).await.unwrap();
        assert_eq!((storms, releases.len()), (StormsByTopic::from([("t".into(), storm.clone())]), 0));

        assert!(!release(&mut c, &keys, "other", &by, 10).await.unwrap());
        assert!(release(&mut c, &keys, "t", &by, 10).await.unwrap());
        assert!(!release(&mut c, &keys, "t", &by, 11).await.unwrap());
        assert!(!stop(&mut c, &keys, &later, &by, None, 12).await.unwrap(), "it was seen before the release");
        let (storms, releases) = read_storms(&mut c, &keys).await.unwrap();
        assert!(storms.is_empty());
        assert!(stop(&mut c, &keys, &later, &by, releases.get("t").map(String::as_str), 13).await.unwrap());

        let audited = audit::waiting(&mut c, &keys).await.unwrap();
        let what: Vec<_> = audited.iter().map(|entry| (entry.what.as_str(), entry.detail.as_deref())).collect();
        assert_eq!(what, ["storm", "unblock storm", "storm"].map(|what| (what, Some("topic t"))));
    }

    #[tokio::test]
    async fn a_store_that_lost_its_stops_gets_them_back() {
        let store = Store::start().unwrap();
        let client = crate::redis::Config::stub(store.url()).client().unwrap();
        let mut c = crate::redis::connect(&client).await.unwrap();
        let keys = Keys::new("pb");
        let storms = ["a", "b"].map(|topic| Storm { topic: topic.into(), ..Storm::default() });
        restore(&mut c, &keys, &[], &Releases::new()).await.unwrap();
        restore(&mut c, &keys, &storms, &Releases::new()).await.unwrap();
        assert_eq!(read_storms(&mut c, &keys).await.unwrap().0.into_values().collect::<Vec<_>>(), storms);
    }

    #[test]
    fn an_entry_that_cannot_be_read_keeps_its_topic_stopped() {
        let hash = [("t:stopped", "garbage"), ("t:released", "7 a"), ("other", "x")];
        let (storms, releases) = parse(hash.map(|(field, value)| (field.to_owned(), value.to_owned())).into());
        assert_eq!(storms["t"], Storm::unreadable("t"));
        assert_eq!(releases, Releases::from([("t".into(), "7 a".into())]));
    }
}

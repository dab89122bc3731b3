//! Which topics have been part of the input before, kept in Redis: one that is added later begins at `start_from`, and
//! not with its whole history.
//!
//! A hash holds each entry of `kafka.input` (names and patterns) and each topic that was found for them, the latter with its
//! id and, where it did not begin at its beginning, with the offsets at which it began. Whoever notes a topic first decides.
//! A topic that comes after its name or pattern was noted was made after it, and begins at its beginning; so does a
//! partition that is added to a known topic, and a topic that was made anew while no worker ran.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::redis::Client;
use ::redis::aio::MultiplexedConnection;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::app::start::first::{Offsets, Trouble};
use crate::app::start::wait::{PAUSE, Say, blocking};
use crate::kafka::StartFrom;
use crate::kafka::consumer::Begins;
use crate::kafka::topics::{AdminError, Cluster};
use crate::operate::{Keys, Place, json, orders};
use crate::redis::health::Health;
use crate::settings::Config;

/// What is kept of one entry or topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Known {
    /// Of the topic; `None`: a pattern, a name without a topic, or brokers that have no ids.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// Per partition where it began, where that was not its beginning.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    from: BTreeMap<i32, i64>,
}

type All = BTreeMap<String, Known>;

/// Notes what is new to the input, and says where partitions without an offset begin that do not begin at their
/// beginning. Waits for Redis and Kafka.
///
/// # Errors
/// What refuses the start.
pub async fn known_topics(
    config: &Arc<Config>,
    cluster: &Arc<Cluster>,
    client: &Client,
    health: &Health,
    say: &Say,
) -> Result<Begins, String> {
    loop {
        match try_known(config, cluster, client).await {
            Ok(begins) => return Ok(begins),
            Err(trouble) => trouble.tell(health, say)?,
        }
        sleep(PAUSE).await;
    }
}

async fn try_known(config: &Arc<Config>, cluster: &Arc<Cluster>, client: &Client) -> Result<Begins, Trouble> {
    let keys = Keys::new(&config.redis.prefix);
    let mut redis = crate::redis::connect(client).await?;
    let known = read(&mut redis, &keys).await?;
    let offsets = Offsets::read(config, cluster).await?;
    let ids = ids(config, cluster, &offsets).await?;
    let mut notes: All = config.kafka.input.iter().map(|entry| (entry.clone(), Known::default())).collect();
    for (topic, id) in &ids {
        let from = match judge(topic, &known, cluster, &offsets) {
            Begin::Earlier => BTreeMap::new(),
            Begin::New => begin_new(config, cluster, &keys, &mut redis, topic, &offsets).await?,
        };
        notes.insert(topic.clone(), Known { id: id.clone(), from });
    }
    let mut pipe = ::redis::pipe();
    for (entry, note) in &notes {
        pipe.cmd("HSETNX").arg(keys.topics()).arg(entry).arg(json(note)).ignore();
    }
    let () = pipe.query_async(&mut redis).await?;
    // Another replica may have been quicker: what stands there counts.
    let mut known = read(&mut redis, &keys).await?;
    for (topic, id) in ids.into_iter().filter(|(_, id)| id.is_some()) {
        let Some(old) = known.get_mut(&topic).filter(|old| old.id != id) else { continue };
        if old.id.is_some() {
            tracing::error!(
                kafka.topic = topic,
                "the topic was deleted and made again: partitions that have no position in it begin at their beginning"
            );
            begin_again(config, cluster, &topic, &offsets).await?;
            old.from.clear();
        }
        old.id = id;
        let text = json(old);
        let () = ::redis::cmd("HSET").arg(keys.topics()).arg(&topic).arg(text).query_async(&mut redis).await?;
    }
    let began = known.into_iter().flat_map(|(topic, Known { from, .. })| {
        from.into_iter().map(move |(partition, at)| ((topic.clone(), partition), at))
    });
    Ok(Arc::new(began.collect()))
}

async fn read(redis: &mut MultiplexedConnection, keys: &Keys) -> ::redis::RedisResult<All> {
    let hash: BTreeMap<String, String> = ::redis::cmd("HGETALL").arg(keys.topics()).query_async(redis).await?;
    // What cannot be read was noted all the same.
    Ok(hash.into_iter().map(|(entry, text)| (entry, serde_json::from_str(&text).unwrap_or_default())).collect())
}

/// The input topics there are, with their ids.
async fn ids(
    config: &Arc<Config>,
    cluster: &Arc<Cluster>,
    offsets: &Offsets,
) -> Result<BTreeMap<String, Option<String>>, AdminError> {
    let names: BTreeMap<String, Option<String>> = offsets.topics().map(|topic| (topic.to_owned(), None)).collect();
    if config.is_embedded() {
        return Ok(names);
    }
    let cluster = cluster.clone();
    blocking(move || {
        let found = cluster.topic_ids(&names.keys().map(String::as_str).collect::<Vec<_>>())?;
        Ok(names.into_keys().map(|name| (name.clone(), found.get(&name).cloned().flatten())).collect())
    })
    .await
}

enum Begin {
    /// Part of the input before, or made after its name or pattern was: at its beginning, or where it stands.
    Earlier,
    /// New to the input: at `start_from`.
    New,
}

/// Where nothing is noted though the group has offsets (an emptied store), a new topic cannot be told from one of which
/// nothing was read yet: nothing is passed over then.
fn judge(topic: &str, known: &All, cluster: &Cluster, offsets: &Offsets) -> Begin {
    let noted = known.contains_key(topic) || known.keys().any(|entry| cluster.matching().is_by(entry, topic));
    if noted || offsets.has(topic) || (known.is_empty() && offsets.any()) { Begin::Earlier } else { Begin::New }
}

/// Where a topic begins that is new to the input; with `error` its partitions wait for an operator.
async fn begin_new(
    config: &Arc<Config>,
    cluster: &Arc<Cluster>,
    keys: &Keys,
    redis: &mut MultiplexedConnection,
    topic: &str,
    offsets: &Offsets,
) -> Result<BTreeMap<i32, i64>, Trouble> {
    let start_from = config.kafka.start_from;
    tracing::info!(kafka.topic = topic, ?start_from, "a topic is new to the input");
    let partitions = offsets.of(topic);
    match start_from {
        StartFrom::Earliest => Ok(BTreeMap::new()),
        StartFrom::Latest => {
            let cluster = cluster.clone();
            let ends = blocking(move || cluster.start_positions(StartFrom::Latest, &partitions)).await?;
            Ok(ends.into_iter().flatten().map(|(_, partition, at)| (partition, at)).collect())
        }
        StartFrom::Error => {
            let places = partitions.into_iter().map(|(topic, partition)| Place { topic, partition });
            orders::note_unplaced(redis, keys, &places.collect::<Vec<_>>()).await?;
            Ok(BTreeMap::new())
        }
    }
}

/// Deleting a topic takes the group's positions along; without any left, its partitions would be taken for lost ones.
async fn begin_again(
    config: &Arc<Config>,
    cluster: &Arc<Cluster>,
    topic: &str,
    offsets: &Offsets,
) -> Result<(), AdminError> {
    let missing = offsets.missing(topic);
    let (cluster, group) = (cluster.clone(), config.kafka.group.clone());
    let committed = blocking(move || match cluster.start_positions(StartFrom::Earliest, &missing)? {
        Some(positions) if !positions.is_empty() => cluster.commit_positions(&group, positions),
        _ => Ok(()),
    });
    match committed.await {
        // The members that are there have seen it themselves.
        Err(AdminError::GroupActive) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests;

//! Remembers in Redis which topics have been part of the input before. A topic that is added later begins at
//! `start_from` and not with its whole history.
//!
//! A hash holds each entry of `kafka.input` (names and patterns), and each topic that was found for them. The value of
//! a topic holds its id and, if it did not begin at its beginning, the offsets at which it began. The first member to
//! record a topic decides. A topic that appears after its name or pattern was recorded was created after it, so it
//! begins at its beginning. So does a partition that is added to a known topic, and a topic that was created again
//! while no worker ran.

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
use crate::operate::keys::LetterTopic;
use crate::operate::{Keys, Place, foreign, json, orders};
use crate::redis::error::is_of_keys;
use crate::redis::health::Health;
use crate::settings::Config;

/// What is stored of one entry or topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Known {
    /// The id of the topic. `None` for a pattern, for a name without a topic, and if the brokers have no ids.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// For each partition that did not begin at its beginning, the offset at which it began.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    from: BTreeMap<i32, i64>,
}

type All = BTreeMap<String, Known>;

/// Records what is new to the input, and returns where those partitions begin that have no offset and do not begin at
/// their beginning. Waits for Redis and Kafka.
///
/// # Errors
/// Returns the reasons that refuse the start.
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
            Err(trouble) => {
                if let Trouble::Redis(error) = &trouble
                    && is_of_keys(error)
                    && let Ok(mut redis) = crate::redis::connect(client).await
                {
                    let _ = foreign::name(&mut redis, &Keys::new(&config.redis.prefix), &health.foreign).await;
                }
                trouble.tell(health, say)?;
            }
        }
        sleep(PAUSE).await;
    }
}

async fn try_known(config: &Arc<Config>, cluster: &Arc<Cluster>, client: &Client) -> Result<Begins, Trouble> {
    let keys = Keys::new(&config.redis.prefix);
    let mut redis = crate::redis::connect(client).await?;
    note_letter_topic(config, cluster, &keys, &mut redis).await?;
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
    // Another replica may have been quicker. The stored values count.
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

/// Notes the dead-letter topic before it can be deleted and made again.
async fn note_letter_topic(
    config: &Arc<Config>,
    cluster: &Arc<Cluster>,
    keys: &Keys,
    redis: &mut MultiplexedConnection,
) -> Result<(), Trouble> {
    if config.is_embedded() {
        return Ok(());
    }
    let (cluster, name) = (cluster.clone(), config.kafka.dead_letter.clone());
    let id = blocking(move || Ok(cluster.topic_ids(&[&name])?.remove(&name).flatten())).await?;
    LetterTopic::note(redis, keys, id).await?;
    Ok(())
}

async fn read(redis: &mut MultiplexedConnection, keys: &Keys) -> ::redis::RedisResult<All> {
    let hash = crate::redis::hash(redis, &keys.topics()).await?;
    // A value that cannot be read still shows that its entry was recorded.
    Ok(hash.into_iter().map(|(entry, text)| (entry, serde_json::from_str(&text).unwrap_or_default())).collect())
}

/// The existing input topics, with their ids.
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
    /// The topic was part of the input before, or was created after its name or pattern was recorded. It begins at its
    /// beginning, or at its committed offset.
    Earlier,
    /// The topic is new to the input. It begins at `start_from`.
    New,
}

/// If nothing is recorded although the group has offsets (an emptied store), a new topic cannot be told from one of
/// which nothing was read yet. Then no record is skipped.
fn judge(topic: &str, known: &All, cluster: &Cluster, offsets: &Offsets) -> Begin {
    let noted = known.contains_key(topic) || known.keys().any(|entry| cluster.matching().is_by(entry, topic));
    if noted || offsets.has(topic) || (known.is_empty() && offsets.any()) { Begin::Earlier } else { Begin::New }
}

/// Returns where a topic begins that is new to the input. With `error` its partitions wait for an operator.
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
            orders::add_unplaced(redis, keys, &places.collect::<Vec<_>>()).await?;
            Ok(BTreeMap::new())
        }
    }
}

/// Commits the beginning of a topic that was created again. Deleting a topic deletes the group's positions too; if none
/// were left, the partitions would look as if their positions had been lost.
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
        // The present members have noticed the new topic themselves.
        Err(AdminError::GroupActive) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests;

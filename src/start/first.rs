//! The first start of a group: who says so, which positions are committed, and what the epoch key tells.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::redis::Client;
use ::redis::aio::MultiplexedConnection;
use tokio::time::sleep;

use super::{PAUSE, Say, blocking};
use crate::config::Config;
use crate::control::Keys;
use crate::kafka::topics::{AdminError, Cluster};
use crate::redis::batcher::describe;
use crate::redis::health::Health;
use crate::redis::scripts::Script;

/// What the epoch says while a first start is going on.
const STARTING: &str = "starting";

/// Decides whether this is a first start, and carries it out (`core.md` section 8). Two reads have an order: offsets
/// without an epoch are judged by an epoch read after them, an epoch without offsets by offsets read after it.
///
/// # Errors
/// What refuses the start.
pub async fn first(
    config: &Arc<Config>,
    cluster: &Arc<Cluster>,
    client: &Client,
    health: &Health,
    say: &Say,
) -> Result<(), String> {
    loop {
        match try_first(config, cluster, client, health).await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(Trouble::Redis(error)) => {
                let why = describe(&error);
                health.failed(&why);
                say(&format!("waiting for redis.url: {why}"));
            }
            Err(Trouble::Kafka(AdminError::NoAnswer(why))) => say(&format!("waiting for kafka.brokers: {why}")),
            // Another member was quicker: the epoch tells how far it is.
            Err(Trouble::Kafka(AdminError::GroupActive)) => say("waiting for another member's first start"),
            Err(Trouble::Kafka(error)) => return Err(format!("kafka.group: {error}")),
        }
        sleep(PAUSE).await;
    }
}

enum Trouble {
    Redis(::redis::RedisError),
    Kafka(AdminError),
}

impl From<::redis::RedisError> for Trouble {
    fn from(error: ::redis::RedisError) -> Self {
        Trouble::Redis(error)
    }
}

impl From<AdminError> for Trouble {
    fn from(error: AdminError) -> Self {
        Trouble::Kafka(error)
    }
}

/// `true`: there is nothing more to decide.
async fn try_first(
    config: &Arc<Config>,
    cluster: &Arc<Cluster>,
    client: &Client,
    health: &Health,
) -> Result<bool, Trouble> {
    let key = Keys::new(&config.redis.prefix).epoch();
    let mut redis = crate::redis::connect(client).await?;
    let mut epoch = read_epoch(&mut redis, &key).await?;
    let mut offsets = Offsets::read(config, cluster).await?;
    if offsets.any() && epoch.is_none() {
        epoch = read_epoch(&mut redis, &key).await?;
    } else if !offsets.any() && epoch.as_deref().is_some_and(|e| e != STARTING) {
        offsets = Offsets::read(config, cluster).await?;
    }
    match (offsets.any(), epoch.as_deref()) {
        // A group with offsets on a store without an epoch, as after a move to another Redis: held.
        (true, None) => {
            health.forgot();
            Ok(true)
        }
        (true, Some(epoch)) if epoch != STARTING => Ok(true),
        // The offsets are lost: the consumer parks what it is given.
        (false, Some(epoch)) if epoch != STARTING => Ok(true),
        _ => {
            let set = ::redis::cmd("SET").arg(&key).arg(STARTING).arg("NX").arg("GET").to_owned();
            let old: Option<String> = set.query_async(&mut redis).await?;
            if old.is_some_and(|epoch| epoch != STARTING) {
                // Somebody has done all of it since we looked: judged afresh.
                return Ok(false);
            }
            // What is missing is read after the epoch says that nobody has joined yet.
            let offsets = Offsets::read(config, cluster).await?;
            offsets.commit_missing(config, cluster).await?;
            let id = format!("{:032x}", rand::random::<u128>());
            let _: i64 = Script::BeginEpoch.eval(key.as_bytes()).arg(STARTING).arg(id).query_async(&mut redis).await?;
            tracing::info!(group = config.kafka.group, start_from = ?config.kafka.start_from, "first start of this group");
            Ok(true)
        }
    }
}

async fn read_epoch(redis: &mut MultiplexedConnection, key: &str) -> ::redis::RedisResult<Option<String>> {
    ::redis::cmd("GET").arg(key).query_async(redis).await
}

/// What the input group has committed.
struct Offsets {
    partitions: Vec<(String, i32)>,
    committed: BTreeMap<(String, i32), i64>,
}

impl Offsets {
    async fn read(config: &Arc<Config>, cluster: &Arc<Cluster>) -> Result<Self, AdminError> {
        let (config, cluster) = (config.clone(), cluster.clone());
        blocking(move || {
            let partitions = cluster.input_partitions()?;
            if partitions.is_empty() {
                let why = format!("{} has no partition", config.kafka.input.join(", "));
                return Err(AdminError::NoAnswer(why));
            }
            let committed = cluster.committed(&config.kafka.group, &partitions)?;
            Ok(Self { partitions, committed })
        })
        .await
    }

    fn any(&self) -> bool {
        !self.committed.is_empty()
    }

    async fn commit_missing(self, config: &Arc<Config>, cluster: &Arc<Cluster>) -> Result<(), AdminError> {
        let (config, cluster) = (config.clone(), cluster.clone());
        blocking(move || {
            let missing: Vec<_> =
                self.partitions.into_iter().filter(|place| !self.committed.contains_key(place)).collect();
            match cluster.start_positions(config.kafka.start_from, &missing)? {
                Some(positions) if !positions.is_empty() => cluster.commit_positions(&config.kafka.group, positions),
                // `error`: no position, so the consumer parks them.
                _ => Ok(()),
            }
        })
        .await
    }
}

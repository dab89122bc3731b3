//! The first start of a group: how it is recognised, which positions it commits, and what the epoch key says about it.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::redis::Client;
use ::redis::aio::MultiplexedConnection;
use tokio::time::sleep;

use crate::app::start::wait::{PAUSE, Say, blocking};
use crate::kafka::topics::{AdminError, Cluster};
use crate::operate::Keys;
use crate::redis::error::describe;
use crate::redis::health::Health;
use crate::redis::scripts::Script;
use crate::settings::Config;

/// The value of the epoch key while a first start is going on.
const STARTING: &str = "starting";

/// Decides whether this is a first start, and carries it out (`core.md` section 8). The order of the two reads matters:
/// if there are offsets and no epoch, the epoch is read again after the offsets; if there is an epoch and no offsets,
/// the offsets are read again after the epoch.
///
/// # Errors
/// Returns the reasons that refuse the start.
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
            Err(trouble) => trouble.tell(health, say)?,
        }
        sleep(PAUSE).await;
    }
}

/// Why a step could not be completed.
pub(super) enum Trouble {
    Redis(::redis::RedisError),
    Kafka(AdminError),
}

impl Trouble {
    /// Reports what the start waits for, or returns why it is refused.
    pub(super) fn tell(self, health: &Health, say: &Say) -> Result<(), String> {
        match self {
            Trouble::Redis(error) => {
                let why = describe(&error);
                health.failed(&why);
                say(&format!("waiting for redis.url: {why}"));
            }
            Trouble::Kafka(AdminError::NoAnswer(why)) => say(&format!("waiting for kafka.brokers: {why}")),
            // Another member was quicker. The epoch key shows how far it is.
            Trouble::Kafka(AdminError::GroupActive) => say(
                "waiting for another member's first start: kafka.group has members, and Kafka takes positions only while it \
                 has none; where this lasts, stop what else reads with this group",
            ),
            Trouble::Kafka(error) => return Err(format!("kafka.group: {error}")),
        }
        Ok(())
    }
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

/// Returns `true` if nothing is left to decide.
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
        // The group has offsets but the store has no epoch, as after a move to another Redis: the worker holds.
        (true, None) => {
            health.forgot();
            Ok(true)
        }
        (true, Some(epoch)) if epoch != STARTING => Ok(true),
        // The offsets are lost: the consumer parks its partitions.
        (false, Some(epoch)) if epoch != STARTING => Ok(true),
        _ => {
            let set = ::redis::cmd("SET").arg(&key).arg(STARTING).arg("NX").arg("GET").to_owned();
            let old: Option<String> = set.query_async(&mut redis).await?;
            if old.is_some_and(|epoch| epoch != STARTING) {
                // Another member has completed the first start since the reads above: decide again.
                return Ok(false);
            }
            // The missing offsets are read after the epoch key says that no member has joined yet.
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

/// The offsets that the group of the inputs has committed.
pub(super) struct Offsets {
    partitions: Vec<(String, i32)>,
    committed: BTreeMap<(String, i32), i64>,
}

impl Offsets {
    pub(super) async fn read(config: &Arc<Config>, cluster: &Arc<Cluster>) -> Result<Self, AdminError> {
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

    pub(super) fn any(&self) -> bool {
        !self.committed.is_empty()
    }

    /// Whether any partition of a topic has an offset.
    pub(super) fn has(&self, topic: &str) -> bool {
        self.committed.keys().any(|(name, _)| name == topic)
    }

    /// The input topics. Each occurs once for each of its partitions.
    pub(super) fn topics(&self) -> impl Iterator<Item = &str> {
        self.partitions.iter().map(|(topic, _)| topic.as_str())
    }

    /// The partitions of a topic.
    pub(super) fn of(&self, topic: &str) -> Vec<(String, i32)> {
        self.partitions.iter().filter(|(name, _)| name == topic).cloned().collect()
    }

    /// The partitions of a topic that have no offset.
    pub(super) fn missing(&self, topic: &str) -> Vec<(String, i32)> {
        self.of(topic).into_iter().filter(|place| !self.committed.contains_key(place)).collect()
    }

    async fn commit_missing(self, config: &Arc<Config>, cluster: &Arc<Cluster>) -> Result<(), AdminError> {
        let (config, cluster) = (config.clone(), cluster.clone());
        blocking(move || {
            let missing: Vec<_> =
                self.partitions.into_iter().filter(|place| !self.committed.contains_key(place)).collect();
            match cluster.start_positions(config.kafka.start_from, &missing)? {
                Some(positions) if !positions.is_empty() => cluster.commit_positions(&config.kafka.group, positions),
                // With `start_from = "error"` there is no position, so the consumer parks these partitions.
                _ => Ok(()),
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::{self, EmbeddedServers};
    use crate::kafka::StartFrom;
    use crate::secret::SecretString;

    const ID: &str = "an id";

    struct World {
        config: Arc<Config>,
        cluster: Arc<Cluster>,
        client: Client,
        health: Health,
        _parts: EmbeddedServers,
    }

    impl World {
        /// Two input partitions, and what Redis and Kafka know of them.
        async fn new(start_from: StartFrom, committed: &[(i32, i64)], epoch: Option<&str>) -> Self {
            let mut config = Config::load(None, []).unwrap_or_else(|found| panic!("{found}")).config;
            let parts = embedded::start(&[("in".into(), 2)]).unwrap();
            config.kafka.brokers = parts.broker.address().to_owned();
            config.kafka.input = vec!["in".into()];
            config.kafka.start_from = start_from;
            config.redis.url = SecretString::new(parts.store.url());
            let cluster = Cluster::new(&config.kafka).unwrap();
            let positions: Vec<_> = committed.iter().map(|(p, at)| ("in".to_owned(), *p, *at)).collect();
            if !positions.is_empty() {
                cluster.commit_positions(&config.kafka.group, positions).unwrap();
            }
            let client = config.redis.client().unwrap();
            if let Some(epoch) = epoch {
                let mut redis = crate::redis::connect(&client).await.unwrap();
                let key = Keys::new(&config.redis.prefix).epoch();
                let () = ::redis::cmd("SET").arg(key).arg(epoch).query_async(&mut redis).await.unwrap();
            }
            let (config, cluster) = (Arc::new(config), Arc::new(cluster));
            Self { config, cluster, client, health: Health::default(), _parts: parts }
        }

        /// The state after the start: positions, the epoch, and whether the store counts as one that lost its data.
        async fn start(&self) -> (Vec<(i32, i64)>, Option<String>, bool) {
            let say: Say = Arc::new(|text: &str| tracing::info!("{text}"));
            first(&self.config, &self.cluster, &self.client, &self.health, &say).await.unwrap();
            let places = [("in".to_owned(), 0), ("in".to_owned(), 1)];
            let committed = self.cluster.committed(&self.config.kafka.group, &places).unwrap();
            let committed = committed.into_iter().map(|((_, p), at)| (p, at)).collect();
            let mut redis = crate::redis::connect(&self.client).await.unwrap();
            let key = Keys::new(&self.config.redis.prefix).epoch();
            let epoch = read_epoch(&mut redis, &key).await.unwrap();
            (committed, epoch, self.health.has_forgotten())
        }
    }

    fn is_an_id(epoch: &Option<String>) -> bool {
        epoch.as_ref().is_some_and(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()))
    }

    #[tokio::test]
    async fn a_first_start_commits_where_to_begin_and_then_sets_the_epoch_and_one_that_was_killed_goes_on() {
        for (committed, epoch) in [(&[][..], None), (&[], Some(STARTING)), (&[(0, 5)], Some(STARTING))] {
            let world = World::new(StartFrom::Earliest, committed, epoch).await;
            let (found, id, forgotten) = world.start().await;
            let before = committed.first().map_or(0, |(_, at)| *at);
            assert_eq!(found, [(0, before), (1, 0)], "{committed:?} {epoch:?}: what is there already stays");
            assert!(is_an_id(&id) && !forgotten, "{committed:?} {epoch:?}: {id:?}");
            let again = world.start().await;
            assert_eq!(again, (found, id, false), "a second start is no first one");
        }
    }

    #[tokio::test]
    async fn nowhere_to_begin_is_committed_where_a_first_start_is_to_be_parked() {
        let world = World::new(StartFrom::Error, &[], None).await;
        let (found, id, _) = world.start().await;
        assert!(found.is_empty() && is_an_id(&id), "{found:?} {id:?}");
    }

    #[tokio::test]
    async fn a_group_or_an_epoch_alone_is_a_loss_and_no_first_start() {
        let world = World::new(StartFrom::Earliest, &[(0, 5)], None).await;
        assert_eq!(world.start().await, (vec![(0, 5)], None, true), "another Redis: held until `unblock dedupe`");
        let world = World::new(StartFrom::Earliest, &[], Some(ID)).await;
        assert_eq!(world.start().await, (vec![], Some(ID.into()), false), "lost offsets: the consumer parks them");
        let world = World::new(StartFrom::Earliest, &[(0, 5)], Some(ID)).await;
        let expected = (vec![(0, 5)], Some(ID.into()), false);
        assert_eq!(world.start().await, expected, "a partition that is new begins at its own beginning");
    }
}

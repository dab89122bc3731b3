//! Carries out an operator's order to let something go on that waits for a person, and says in words what came of it.
//! The command and the API share it.

use std::fmt;

use ::redis::RedisError;
use ::redis::aio::MultiplexedConnection;
use tokio::task::spawn_blocking;

use crate::kafka;
use crate::kafka::topics::Cluster;
use crate::operate::orders::{Epoch, give_order, renew_epoch};
use crate::operate::snapshot::read_snapshots;
use crate::operate::storms::{self, Release, read_storms};
use crate::operate::{By, Keys, PartitionRow, Place, ReplicaSnapshot, Target};
use crate::redis::foreign::ForeignKeys;
use crate::units::show_span;

/// The most bad records that one order lets pass. Without a bound the brake would be off.
pub const MOST_PASS: u64 = 100_000_000;

/// Why an order was not carried out.
#[derive(Debug)]
pub enum Refused {
    /// Nothing waits for this order.
    Nothing(String),
    /// The order does not fit what is there now.
    NotNow(String),
    /// A name in the order is wrong.
    Wrong { field: &'static str, text: String },
    /// Redis does not answer. The order may or may not have been stored, and can be given again.
    Unavailable(RedisError),
}

impl From<RedisError> for Refused {
    fn from(error: RedisError) -> Self {
        Self::Unavailable(error)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing(text) | Self::NotNow(text) | Self::Wrong { text, .. } => f.write_str(text),
            Self::Unavailable(error) => error.fmt(f),
        }
    }
}

/// Lets a topic be read on that the storm brake stopped, or says how many bad records of a topic may pass from now on.
///
/// # Errors
/// The topic is not stopped and no bad records of it pass, or Redis does not answer.
pub async fn storm(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    topic: &str,
    pass: Option<u64>,
    by: &By,
    now_ms: i64,
) -> Result<String, Refused> {
    let numbered = pass.filter(|pass| *pass > 0);
    match (storms::release(connection, keys, topic, pass, by, now_ms).await?, numbered) {
        (Release::ReadOn, None) => Ok(format!("{topic} is read on within seconds, from where it stopped")),
        (Release::ReadOn, Some(pass)) => {
            Ok(format!("{topic} is read on within seconds, from where it stopped; up to {pass} bad records pass"))
        }
        (Release::PassChanged, None) => {
            Ok(format!("no more bad records of {topic} pass; within seconds the storm brake judges each of them"))
        }
        (Release::PassChanged, Some(pass)) => Ok(format!(
            "up to {pass} bad records of {topic} pass from now on, instead of what an earlier order has left"
        )),
        (Release::Nothing, _) => {
            let (stopped_topics, _, left) = read_storms(connection, keys).await?;
            let stopped: Vec<_> = stopped_topics.keys().map(String::as_str).collect();
            let stopped =
                if stopped.is_empty() { "no topic is".to_owned() } else { format!("stopped: {}", stopped.join(", ")) };
            let passes = left.get(topic).map_or_else(String::new, |left| {
                format!("; {left} bad records of it may pass: --pass N says another number, --pass 0 ends it")
            });
            let text = if stopped_topics.contains_key(topic) {
                format!(
                    "{topic} is stopped, and --pass 0 does not let it be read on: leave --pass out, or name a number"
                )
            } else {
                format!("nothing to unblock: the storm brake has not stopped {topic} ({stopped}){passes}")
            };
            Err(Refused::Nothing(text))
        }
    }
}

/// Lets accounts send again after Redis lost what was claimed.
///
/// # Errors
/// Redis has lost nothing, a first start is under way, or Redis does not answer.
pub async fn dedupe(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    by: &By,
    now_ms: i64,
) -> Result<String, Refused> {
    match renew_epoch(connection, keys, by, now_ms).await? {
        Epoch::Renewed(id) => Ok(format!("accounts send again; what was delivered before is forgotten (epoch {id})")),
        Epoch::Present(id) => {
            Err(Refused::Nothing(format!("nothing to unblock: the store has not forgotten (epoch {id})")))
        }
        Epoch::Starting => Err(Refused::NotNow("a first start is under way; wait for it: postback blocked".to_owned())),
    }
}

/// Says where a parked partition goes on. Without `kafka` nobody can tell whether the partition exists.
///
/// # Errors
/// The partition is not parked or does not exist, or Redis does not answer.
pub async fn offsets(
    (connection, keys): (&mut MultiplexedConnection, &Keys),
    kafka: Option<&kafka::Config>,
    place: &Place,
    to: Target,
    by: &By,
    now_ms: i64,
) -> Result<String, Refused> {
    let snapshots = read_snapshots(connection, keys, &ForeignKeys::default()).await?;
    let note = judge(place, &snapshots, now_ms)?;
    let is_owned = |p: &PartitionRow| p.topic == place.topic && p.partition == place.partition;
    if !snapshots.iter().flat_map(|replica| &replica.partitions).any(is_owned) {
        exists(place, kafka).await?;
    }
    give_order(connection, keys, place, to, by, now_ms).await?;
    Ok(format!("{place} goes on at {to}: {note}"))
}

/// Refuses a partition that Kafka does not know: its order would wait for ever. Where Kafka does not answer, nobody
/// knows.
async fn exists(place: &Place, kafka: Option<&kafka::Config>) -> Result<(), Refused> {
    let Some(kafka) = kafka.filter(|kafka| !kafka.embedded).cloned() else { return Ok(()) };
    let topics = spawn_blocking(move || Cluster::new(&kafka).ok()?.topics().ok()).await;
    let Ok(Some(topics)) = topics else { return Ok(()) };
    match topics.iter().find(|topic| topic.name == place.topic) {
        Some(topic) if (0..topic.partitions).contains(&place.partition) => Ok(()),
        Some(topic) => {
            let text = format!("{} has no partition {}: it has {}", topic.name, place.partition, topic.partitions);
            Err(Refused::Wrong { field: "partition", text })
        }
        None => {
            let text = format!("{} does not exist, or this user may not see it", place.topic);
            Err(Refused::Wrong { field: "topic", text })
        }
    }
}

/// Judges whether an order makes sense now, and says what it will do.
fn judge(place: &Place, snapshots: &[ReplicaSnapshot], now_ms: i64) -> Result<String, Refused> {
    let owners = snapshots.iter().filter_map(|replica| {
        let owned = replica.partitions.iter().find(|p| p.topic == place.topic && p.partition == place.partition)?;
        Some((replica, owned))
    });
    match owners.max_by_key(|(replica, _)| replica.at_ms) {
        Some((replica, owned)) if owned.parked.is_none() => Err(Refused::NotNow(format!(
            "{place} is not parked: {} reads it ({} ago); `postback blocked` shows what is",
            replica.id,
            show_span(now_ms - replica.at_ms)
        ))),
        Some((replica, _)) => Ok(format!("{} carries it out within seconds", replica.id)),
        None if snapshots.is_empty() => Ok("no worker runs; the next one that owns it carries it out".to_owned()),
        None => Ok("no running worker owns it now; the next one that does carries it out".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::store::Store;
    use crate::operate::audit::{self, Via};
    use crate::storm::Storm;

    fn replica(parked: Option<&str>) -> ReplicaSnapshot {
        let partition = PartitionRow {
            topic: "conversions".into(),
            partition: 3,
            parked: parked.map(Into::into),
            ..PartitionRow::default()
        };
        ReplicaSnapshot { id: "w1".into(), at_ms: 1_000, partitions: vec![partition], ..ReplicaSnapshot::default() }
    }

    fn by() -> By {
        By::new(Via::Cli, "li", "a test")
    }

    async fn redis(store: &Store) -> MultiplexedConnection {
        let client = crate::redis::Config::stub(store.url()).client().unwrap();
        crate::redis::connect(&client).await.unwrap()
    }

    #[test]
    fn a_partition_that_flows_is_not_moved() {
        let place: Place = "conversions/3".parse().unwrap();
        let error = judge(&place, &[replica(None)], 4_000).unwrap_err().to_string();
        assert_eq!(error, "conversions/3 is not parked: w1 reads it (3s ago); `postback blocked` shows what is");
        assert_eq!(judge(&place, &[replica(Some("lost"))], 4_000).unwrap(), "w1 carries it out within seconds");
    }

    #[test]
    fn an_order_to_nobody_waits_and_says_so() {
        let place: Place = "conversions/4".parse().unwrap();
        assert!(judge(&place, &[], 0).unwrap().starts_with("no worker runs"));
        assert!(judge(&place, &[replica(None)], 0).unwrap().starts_with("no running worker owns it"));
    }

    #[tokio::test]
    async fn a_partition_that_does_not_exist_gets_no_order() {
        let mock = rdkafka::mocking::MockCluster::new(1).unwrap();
        mock.create_topic("conversions", 2, 1).unwrap();
        let kafka = kafka::Config::stub(&mock.bootstrap_servers(), &[]);
        let store = Store::start().unwrap();
        let (mut c, keys) = (redis(&store).await, Keys::new("pb"));
        for (place, wrong) in [
            ("conversions/2", Some(("partition", "conversions has no partition 2: it has 2"))),
            ("conversion/0", Some(("topic", "conversion does not exist, or this user may not see it"))),
            ("conversions/1", None),
        ] {
            let place = place.parse().unwrap();
            let given = offsets((&mut c, &keys), Some(&kafka), &place, Target::Latest, &by(), 5).await;
            match (given, wrong) {
                (Err(Refused::Wrong { field, text }), Some(wrong)) => assert_eq!((field, text.as_str()), wrong),
                (given, None) => assert!(given.unwrap().ends_with("carries it out")),
                (given, wrong) => panic!("{wrong:?}: {given:?}"),
            }
        }
        let orders: Vec<_> = crate::operate::orders::read_orders(&mut c, &keys).await.unwrap().into_keys().collect();
        assert_eq!(orders, ["conversions/1".parse().unwrap()]);
    }

    #[tokio::test]
    async fn a_stopped_topic_is_released_once_and_the_second_time_says_so() {
        let store = Store::start().unwrap();
        let (mut c, keys) = (redis(&store).await, Keys::new("pb"));
        for topic in ["clicks", "orders"] {
            let storm = Storm { topic: topic.into(), ..Storm::default() };
            assert!(storms::stop(&mut c, &keys, &storm, &by(), None, 5).await.unwrap());
        }
        let mut told = Vec::new();
        for (topic, pass) in [
            ("clicks", Some(0)),
            ("clicks", None),
            ("clicks", Some(5)),
            ("orders", Some(500)),
            ("orders", None),
            ("orders", Some(9_000)),
            ("orders", Some(0)),
            ("orders", None),
        ] {
            let said = storm(&mut c, &keys, topic, pass, &by(), 6).await;
            told.push(said.unwrap_or_else(|refused| refused.to_string()));
        }
        assert_eq!(
            told,
            [
                "clicks is stopped, and --pass 0 does not let it be read on: leave --pass out, or name a number",
                "clicks is read on within seconds, from where it stopped",
                "nothing to unblock: the storm brake has not stopped clicks (stopped: orders)",
                "orders is read on within seconds, from where it stopped; up to 500 bad records pass",
                "nothing to unblock: the storm brake has not stopped orders (no topic is); 500 bad records of it may pass: \
                 --pass N says another number, --pass 0 ends it",
                "up to 9000 bad records of orders pass from now on, instead of what an earlier order has left",
                "no more bad records of orders pass; within seconds the storm brake judges each of them",
                "nothing to unblock: the storm brake has not stopped orders (no topic is)",
            ]
        );
    }

    #[tokio::test]
    async fn a_store_that_forgot_nothing_stays_as_it_is() {
        let store = Store::start().unwrap();
        let (mut c, keys) = (redis(&store).await, Keys::new("pb"));
        assert!(dedupe(&mut c, &keys, &by(), 5).await.unwrap().starts_with("accounts send again"));
        let again = dedupe(&mut c, &keys, &by(), 6).await.unwrap_err();
        assert!(matches!(&again, Refused::Nothing(text) if text.contains("has not forgotten")), "{again}");
        let () = ::redis::cmd("SET").arg(keys.epoch()).arg("starting").query_async(&mut c).await.unwrap();
        let starting = dedupe(&mut c, &keys, &by(), 7).await.unwrap_err();
        assert!(matches!(&starting, Refused::NotNow(text) if text.contains("first start")), "{starting}");
        assert_eq!(audit::waiting(&mut c, &keys).await.unwrap().len(), 1);
    }
}

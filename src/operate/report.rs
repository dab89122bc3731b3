//! Combines the switches and the snapshots of all replicas into what `accounts list`, `blocked` and the API show
//! (pure).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lane::handle::unclassified::UnclassifiedCode;
use crate::metrics::LaneState;
use crate::operate::snapshot::{LaneLoad, PartitionRow, RefusedTopic};
use crate::operate::{ConsumerSnapshot, LaneSnapshot, ReplicaSnapshot, SwitchesByAccount};
use crate::redact::mask_trans_id;
use crate::storm::Storm;
use crate::storm::pass::Left;

/// A snapshot that is older than this tells how things were: two intervals.
const STALE_MS: i64 = 10_000;

/// An account's lane, over all replicas.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AccountRow {
    pub account: String,
    pub platform: String,
    /// The state that the switches give, else the worst state of the replicas. `flowing` if no replica runs.
    pub state: String,
    /// Since when, in epoch ms, if that is known.
    pub since_ms: Option<i64>,
    /// Why the lane does not flow.
    pub why: String,
    /// Who stopped the lane, as claimed.
    pub who: String,
    /// The lane on each replica.
    pub replicas: Vec<ReplicaRow>,
}

/// An account's lane on one replica.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ReplicaRow {
    pub id: String,
    #[serde(flatten)]
    pub load: LaneLoad,
}

/// The report of `blocked`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct BlockedReport {
    /// Every partition that a running worker owns.
    pub partitions: Vec<PartitionRow>,
    /// Every account's lane.
    pub lanes: Vec<AccountRow>,
    /// Topics of the worker's own that take no records.
    pub refused: Vec<RefusedTopic>,
    /// Keys in Redis that hold what no worker wrote, as a worker met them in the last ten minutes. What needs one of
    /// them waits until it is deleted.
    pub foreign_keys: BTreeSet<String>,
    /// Input topics that the storm brake stopped.
    pub storms: Vec<Storm>,
    /// Input topics of which bad records may still pass without being judged, and how many, beside those that a replica
    /// has set aside for itself.
    pub storm_passes: Left,
    /// The ids of the workers whose snapshots were read.
    pub replicas: Vec<String>,
    /// Those of them whose snapshot is so old that it no longer tells how things are: Redis may take no writes.
    pub stale: Vec<StaleReplica>,
    /// Every consumer of those workers.
    pub consumers: Vec<ConsumerRow>,
    /// The parts of the running replay that wait.
    pub replays: Vec<WaitingReplay>,
    /// Partitions with unfinished records of which no running worker tells. Only the command looks for them.
    pub unowned: Vec<UnownedPartition>,
}

/// A replica that has not told of itself for more than two intervals, and whose snapshot has not expired yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct StaleReplica {
    pub replica: String,
    /// The age of its snapshot in ms.
    pub age_ms: i64,
}

/// A part of a running replay that waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct WaitingReplay {
    pub id: String,
    /// The account; empty where everything waits.
    pub account: String,
    pub why: String,
}

/// A partition that no running worker owns, although it holds unfinished records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct UnownedPartition {
    pub topic: String,
    pub partition: i32,
    /// The committed position: the oldest unfinished record. Null where the group has none.
    pub committed: Option<i64>,
    /// The end of the partition.
    pub high: i64,
    /// The number of records between the two.
    pub lag: i64,
}

/// A consumer of a replica.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ConsumerRow {
    pub replica: String,
    #[serde(flatten)]
    pub counts: ConsumerSnapshot,
}

/// A replica that runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ReplicaState {
    pub id: String,
    pub version: String,
    /// The number of partitions that it owns.
    pub partitions: u64,
}

/// A topic that the replicas read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TopicRow {
    pub topic: String,
    /// The number of partitions that have an owner.
    pub partitions: u64,
    /// The number of records behind the committed positions. Null if that is known of no partition.
    pub lag: Option<i64>,
    /// The age of the oldest unfinished record in ms. Null if nothing is unfinished.
    pub oldest_ms: Option<i64>,
    /// The number of partitions that wait for `postback unblock offsets`.
    pub parked: u64,
}

/// The replicas, and the topics that they read.
pub fn replicas(snapshots: &[ReplicaSnapshot], now_ms: i64) -> (Vec<ReplicaState>, Vec<TopicRow>) {
    let mut topics: BTreeMap<String, TopicRow> = BTreeMap::new();
    for partition in partitions(snapshots, now_ms) {
        let row = topics
            .entry(partition.topic)
            .or_insert_with_key(|topic| TopicRow { topic: topic.clone(), ..TopicRow::default() });
        row.partitions += 1;
        row.parked += u64::from(partition.parked.is_some());
        row.lag = partition.lag.map(|lag| lag + row.lag.unwrap_or(0)).or(row.lag);
        row.oldest_ms = row.oldest_ms.max(partition.age_ms);
    }
    let state = |replica: &ReplicaSnapshot| ReplicaState {
        id: replica.id.clone(),
        version: replica.version.clone(),
        partitions: replica.partitions.len() as u64,
    };
    (snapshots.iter().map(state).collect(), topics.into_values().collect())
}

/// A kind of answer that no table lists, by the account and the replica that got it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct UnclassifiedAnswer {
    pub account: String,
    pub platform: String,
    pub replica: String,
    #[serde(flatten)]
    pub kind: UnclassifiedCode,
}

/// Every kind of answer that no table lists, of all replicas, by account.
pub fn unclassified(snapshots: &[ReplicaSnapshot]) -> Vec<UnclassifiedAnswer> {
    let lanes = snapshots.iter().flat_map(|replica| replica.lanes.iter().map(move |lane| (&replica.id, lane)));
    let answers = lanes.flat_map(|(replica, lane)| {
        lane.load.unclassified.iter().map(move |kind| UnclassifiedAnswer {
            account: lane.account.clone(),
            platform: lane.platform.clone(),
            replica: replica.clone(),
            kind: kind.clone(),
        })
    });
    let mut answers: Vec<_> = answers.collect();
    answers.sort_by(|a, b| (&a.account, &a.replica).cmp(&(&b.account, &b.replica)));
    answers
}

/// Every configured account, in the given order.
pub fn accounts(
    configured: &[(&'static str, Arc<str>)],
    lanes: &SwitchesByAccount,
    snapshots: &[ReplicaSnapshot],
) -> Vec<AccountRow> {
    configured.iter().map(|(platform, name)| account(platform, name, lanes, snapshots)).collect()
}

fn account(platform: &str, name: &str, lanes: &SwitchesByAccount, snapshots: &[ReplicaSnapshot]) -> AccountRow {
    let parts: Vec<(&ReplicaSnapshot, &LaneSnapshot)> = snapshots
        .iter()
        .filter_map(|replica| Some((replica, replica.lanes.iter().find(|lane| lane.account == name)?)))
        .collect();
    let mut row = AccountRow {
        account: name.to_owned(),
        platform: platform.to_owned(),
        state: LaneState::Flowing.as_str().to_owned(),
        replicas: parts
            .iter()
            .map(|(replica, lane)| ReplicaRow { id: replica.id.clone(), load: lane.load.clone() })
            .collect(),
        ..AccountRow::default()
    };
    if let Some((state, switch)) = lanes.get(name).and_then(|lane| lane.cause()) {
        row.state = state.as_str().to_owned();
        row.since_ms = (switch.since_ms > 0).then_some(switch.since_ms);
        row.why = switch.text(state);
        row.who.clone_from(&switch.who);
    } else if let Some((_, lane)) = parts.iter().rev().max_by_key(|(_, lane)| severity(&lane.load.state)) {
        row.state.clone_from(&lane.load.state);
        row.since_ms = (lane.since_ms > 0).then_some(lane.since_ms);
        row.why.clone_from(&lane.why);
    }
    row
}

/// The severity of a state: later states in the list are worse.
fn severity(state: &str) -> usize {
    LaneState::ALL.iter().position(|s| s.as_str() == state).unwrap_or_default()
}

/// Every partition, by its present owner. After a partition moved, the old owner's snapshot may still contain it, so
/// the newer snapshot counts.
fn partitions(snapshots: &[ReplicaSnapshot], now_ms: i64) -> impl Iterator<Item = PartitionRow> {
    let mut newest: BTreeMap<(&str, i32), (i64, PartitionRow)> = BTreeMap::new();
    for replica in snapshots {
        for partition in &replica.partitions {
            let place = (partition.topic.as_str(), partition.partition);
            if newest.get(&place).is_some_and(|(at, _)| *at >= replica.at_ms) {
                continue;
            }
            let mut row = partition.clone();
            row.replica.clone_from(&replica.id);
            // A replica of an older version writes the `trans_id` unmasked.
            row.trans_id = row.trans_id.as_deref().map(mask_trans_id);
            row.age_ms = row.age_ms.map(|age| (age + now_ms - replica.at_ms).max(0));
            newest.insert(place, (replica.at_ms, row));
        }
    }
    newest.into_values().map(|(_, row)| row).collect::<Vec<_>>().into_iter()
}

/// Reports partitions and lanes.
pub fn blocked(
    configured: &[(&'static str, Arc<str>)],
    lanes: &SwitchesByAccount,
    (storms, storm_passes): (Vec<Storm>, Left),
    snapshots: &[ReplicaSnapshot],
    now_ms: i64,
) -> BlockedReport {
    BlockedReport {
        partitions: partitions(snapshots, now_ms).collect(),
        lanes: accounts(configured, lanes, snapshots),
        storms,
        storm_passes,
        refused: snapshots.iter().flat_map(|replica| replica.refused.clone()).collect(),
        foreign_keys: snapshots.iter().flat_map(|replica| replica.foreign_keys.clone()).collect(),
        replicas: snapshots.iter().map(|replica| replica.id.clone()).collect(),
        stale: snapshots
            .iter()
            .map(|replica| StaleReplica { replica: replica.id.clone(), age_ms: now_ms - replica.at_ms })
            .filter(|of| of.age_ms > STALE_MS)
            .collect(),
        consumers: snapshots
            .iter()
            .flat_map(|replica| replica.consumers.iter().map(|of| (replica.id.clone(), of.clone())))
            .map(|(replica, counts)| ConsumerRow { replica, counts })
            .collect(),
        replays: Vec::new(),
        unowned: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::{Switch, Switches};

    fn replica(id: &str, at_ms: i64, state: &str, why: &str) -> ReplicaSnapshot {
        let lane = LaneSnapshot {
            account: "acme-ps".into(),
            since_ms: at_ms,
            why: why.into(),
            load: LaneLoad { state: state.into(), open: 3, ..LaneLoad::default() },
            ..LaneSnapshot::default()
        };
        let partition = PartitionRow {
            topic: "conversions".into(),
            offset: Some(40 + at_ms),
            reason: Some("queued".into()),
            age_ms: Some(at_ms - 100),
            ..PartitionRow::default()
        };
        ReplicaSnapshot {
            id: id.into(),
            at_ms,
            lanes: vec![lane],
            partitions: vec![partition],
            ..ReplicaSnapshot::default()
        }
    }

    fn configured() -> Vec<(&'static str, Arc<str>)> {
        vec![("qihoo360", "acme-ps".into()), ("baizhu", "acme-bz".into())]
    }

    #[test]
    fn a_switch_outweighs_what_replicas_say_and_every_account_is_listed() {
        let switch = Switch::halt("bad key", "worker a", 7, true);
        let lanes = SwitchesByAccount::from([("acme-ps".to_owned(), Switches { halted: Some(switch), paused: None })]);
        let rows = accounts(&configured(), &lanes, &[replica("a", 1, "flowing", "")]);
        assert_eq!((rows[0].state.as_str(), rows[0].since_ms), ("halted", Some(7)));
        assert_eq!(rows[0].why, "bad key; waits for `accounts resume`");
        assert_eq!((rows[0].replicas[0].id.as_str(), rows[0].replicas[0].load.open), ("a", 3));
        assert_eq!((rows[1].state.as_str(), rows[1].replicas.len()), ("flowing", 0));
    }

    #[test]
    fn without_a_switch_the_worst_replica_counts() {
        let snapshots =
            [replica("a", 1, "flowing", ""), replica("b", 2, "throttled", "429"), replica("c", 3, "flowing", "")];
        let rows = accounts(&configured(), &SwitchesByAccount::new(), &snapshots);
        assert_eq!((rows[0].state.as_str(), rows[0].why.as_str(), rows[0].since_ms), ("throttled", "429", Some(2)));
    }

    #[test]
    fn a_trans_id_is_shown_and_what_is_personal_in_it_is_masked() {
        let shown = |trans_id: &str| {
            let mut replica = replica("a", 1, "flowing", "");
            replica.partitions[0].trans_id = Some(trans_id.to_owned());
            blocked(&configured(), &SwitchesByAccount::new(), Default::default(), &[replica], 600).partitions[0]
                .trans_id
                .clone()
                .unwrap()
        };
        assert_eq!(shown("order-2026-000123"), "order-2026-000123");
        assert_eq!(shown("13812345678"), "138****5678");
        assert_eq!(shown("reg:li.lei@example.com"), "reg:l***@example.com");
    }

    #[test]
    fn a_topic_sums_what_its_partitions_lag_and_shows_the_oldest_record_of_all() {
        let mut replicas = [replica("a", 1, "flowing", ""), replica("b", 2, "flowing", "")];
        for (n, snapshot) in replicas.iter_mut().enumerate() {
            let row = &mut snapshot.partitions[0];
            (row.partition, row.lag, row.age_ms) = (n as i32, Some(5 + n as i64), Some(10 * n as i64));
        }
        replicas[1].partitions[0].parked = Some("lost".into());
        let (states, topics) = super::replicas(&replicas, 2);
        assert_eq!(states.iter().map(|s| (s.id.as_str(), s.partitions)).collect::<Vec<_>>(), [("a", 1), ("b", 1)]);
        let want =
            TopicRow { topic: "conversions".into(), partitions: 2, lag: Some(11), oldest_ms: Some(10), parked: 1 };
        assert_eq!(topics, [want]);
    }

    #[test]
    fn a_snapshot_that_is_older_than_two_intervals_is_named_with_its_age() {
        let snapshots = [replica("a", 1_000, "flowing", ""), replica("b", 4_000, "flowing", "")];
        let report = blocked(&configured(), &SwitchesByAccount::new(), Default::default(), &snapshots, 13_000);
        assert_eq!(report.stale, [StaleReplica { replica: "a".into(), age_ms: 12_000 }]);
    }

    #[test]
    fn a_partition_in_two_snapshots_is_shown_by_its_newer_owner() {
        let report = blocked(
            &configured(),
            &SwitchesByAccount::new(),
            Default::default(),
            &[replica("b", 2, "flowing", ""), replica("a", 1, "flowing", "")],
            600,
        );
        assert_eq!(report.partitions.len(), 1);
        let row = &report.partitions[0];
        assert_eq!((row.replica.as_str(), row.offset, row.age_ms), ("b", Some(42), Some(500)));
        assert_eq!(report.replicas, ["b", "a"]);
    }
}

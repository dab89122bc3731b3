//! The state that each replica publishes every few seconds, for commands that need the state of a running worker.

use ::redis::aio::MultiplexedConnection;
use ::redis::{RedisResult, Value};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::account::rollout::Share;
use crate::lane::handle::unclassified::UnclassifiedCode;
use crate::operate::{Keys, json};
use crate::redis::error::is_of_keys;
use crate::redis::foreign::ForeignKeys;

/// The reason of a partition whose events a gray release does not send yet.
pub const KEPT_BACK: &str = "rollout";

/// How long a snapshot lasts if it is not renewed.
pub const EXPIRY_MS: u64 = 15_000;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ReplicaSnapshot {
    /// The id of the replica, as in its log lines and in `who` of its halts.
    pub id: String,
    /// Version of the program.
    pub version: String,
    /// When this was written, in epoch ms.
    pub at_ms: i64,
    /// The lane of every configured account.
    pub lanes: Vec<LaneSnapshot>,
    /// Every partition that the replica owns.
    pub partitions: Vec<PartitionRow>,
    /// Topics that take none of the replica's records.
    pub refused: Vec<RefusedTopic>,
    /// Keys in Redis that hold what no worker wrote, as the replica met them in the last ten minutes.
    pub foreign_keys: Vec<String>,
    pub consumers: Vec<ConsumerSnapshot>,
}

/// A topic of the worker's own that takes no records. Records that belong there are held.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RefusedTopic {
    pub topic: String,
    /// The replica whose records are held.
    pub replica: String,
    /// Since when the topic takes no records, in epoch ms.
    pub since_ms: i64,
    pub why: String,
    /// The number of records that are held for the topic.
    pub records: u64,
}

/// Counters of a consumer that no metric shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ConsumerSnapshot {
    /// `intake` reads the input topics; `waiting` reads the retry tiers and parking topics.
    pub name: String,
    /// Commits and stores of positions that were refused since the start.
    pub commit_errors: u64,
    /// Offsets that arrived twice in one assignment since the start.
    pub repeats: u64,
    /// How often, since the start, a partition was given back while records were still under way.
    pub drains_expired: u64,
    /// For how many ms no commit was confirmed, if that is too long. The worker sends nothing meanwhile.
    pub unconfirmed_ms: Option<u64>,
    /// The last error that the client reported.
    pub last_error: Option<String>,
}

/// The lane of an account on one replica.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LaneSnapshot {
    pub account: String,
    pub platform: String,
    /// Since when the lane has its state, in epoch ms.
    pub since_ms: i64,
    /// Why the lane is not flowing.
    pub why: String,
    /// The state of the lane and the records it holds.
    #[serde(flatten)]
    pub load: LaneLoad,
}

/// The state of one replica's lane, and the number of the account's records at each stage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LaneLoad {
    /// One of `flowing`, `throttled`, `broken`, `halted`, `paused`.
    pub state: String,
    /// Live records that wait for a permit.
    pub queued: u64,
    /// Records from retry tiers and the parking topic that wait for a permit.
    pub released: u64,
    /// Records that hold a permit.
    pub in_flight: u64,
    /// Records that were read and are not finished.
    pub open: u64,
    /// Unfinished records in the parking topic, if this replica owns it.
    pub parked: u64,
    /// The gray release. Null if every event is sent and none waits.
    pub rollout: Option<RolloutLoad>,
    /// The kinds of answers that no table lists, since the replica started; at most 32 for each lane.
    pub unclassified: Vec<UnclassifiedCode>,
    /// How long ago the oldest unfinished event was first seen. Null if nothing is unfinished.
    pub oldest_ms: Option<u64>,
    /// What the account came to since the replica started.
    pub total: LaneTotals,
}

/// The gray release of an account, and the part of its remainder that one replica owns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RolloutLoad {
    /// The share of the account's events that is sent, in percent.
    #[schemars(with = "f64")]
    pub percent: Share,
    /// Events that are not sent yet.
    pub waiting: u64,
    /// How long ago the oldest of them was first seen. Null if none waits, or if that is not known yet.
    pub oldest_ms: Option<u64>,
}

/// Counts since a replica started. A reader takes the difference between two snapshots of one replica.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LaneTotals {
    pub delivered: u64,
    pub duplicate: u64,
    pub suppressed: u64,
    pub dead_lettered: u64,
    /// Answers of the platform, and times that none came.
    pub attempts: u64,
    /// Those of them that did not deliver.
    pub failed: u64,
}

/// A partition and its oldest unfinished record, as its owner publishes it and as the API and `blocked` show it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PartitionRow {
    pub topic: String,
    pub partition: i32,
    pub replica: String,
    /// The committed position.
    pub committed: Option<i64>,
    /// The end of the partition.
    pub high: Option<i64>,
    /// The number of records between the two.
    pub lag: Option<i64>,
    /// The oldest unfinished offset. Null if nothing is unfinished.
    pub offset: Option<i64>,
    pub trans_id: Option<String>,
    pub account: Option<String>,
    /// What that record waits for, for example `queued`, `sending`, `waiting`; `rollout` for an event that a gray
    /// release does not send yet.
    pub reason: Option<String>,
    /// How long the record has waited: in a snapshot at the time it was written, in a report at the time it is made.
    pub age_ms: Option<i64>,
    /// When the record is tried next, in epoch ms.
    pub next_try_ms: Option<i64>,
    /// Why the partition waits for `postback unblock offsets`, if it does.
    pub parked: Option<String>,
    /// When the worker found that the topic was deleted and created again under the same name, in epoch ms; shown for a
    /// day. The partition was read from its beginning. Unfinished records of the old topic are lost with it.
    pub remade_ms: Option<i64>,
    /// When the worker found that the group had lost the position, in epoch ms; shown for a day. The partition is read
    /// again from its beginning, with records that were settled already.
    pub position_lost_ms: Option<i64>,
}

/// Writes a replica's snapshot.
///
/// # Errors
/// Fails if Redis does not answer. The next snapshot is due within seconds.
pub async fn write_snapshot(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    snapshot: &ReplicaSnapshot,
) -> RedisResult<()> {
    let mut pipe = ::redis::pipe();
    pipe.cmd("SET").arg(keys.replica(&snapshot.id)).arg(json(snapshot)).arg("PX").arg(EXPIRY_MS).ignore();
    pipe.cmd("SADD").arg(keys.replicas()).arg(&snapshot.id).ignore();
    pipe.query_async(connection).await
}

/// Removes the snapshot of a replica that shuts down, so that nobody counts the replica for another 15 s.
///
/// # Errors
/// Fails if Redis does not answer. The snapshot then expires by itself.
pub async fn remove_snapshot(connection: &mut MultiplexedConnection, keys: &Keys, id: &str) -> RedisResult<()> {
    let mut pipe = ::redis::pipe();
    pipe.cmd("DEL").arg(keys.replica(id)).ignore();
    pipe.cmd("SREM").arg(keys.replicas()).arg(id).ignore();
    pipe.query_async(connection).await
}

/// The snapshots of all running replicas, by id. It also removes the ids whose snapshot is gone. A key that holds what
/// no replica wrote is named.
///
/// # Errors
/// Fails if Redis does not answer.
pub async fn read_snapshots(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    foreign: &ForeignKeys,
) -> RedisResult<Vec<ReplicaSnapshot>> {
    let found = of_each(connection, keys, "GET", |found| *found != Value::Nil).await?;
    let read = |(id, found): (String, Value)| {
        let snapshot = parse(found);
        if snapshot.is_none() {
            foreign.met(keys.replica(&id).as_bytes());
        }
        snapshot
    };
    Ok(found.into_iter().filter_map(read).collect())
}

/// The snapshot in a reply. `None`: no replica wrote it.
pub fn parse(found: Value) -> Option<ReplicaSnapshot> {
    let text: Vec<u8> = ::redis::from_redis_value(found).ok()?;
    serde_json::from_slice(&text).ok()
}

/// The number of running replicas. It does not read their snapshots, which are long if there are many accounts.
///
/// # Errors
/// Fails if Redis does not answer.
pub async fn count_replicas(connection: &mut MultiplexedConnection, keys: &Keys) -> RedisResult<usize> {
    Ok(of_each(connection, keys, "EXISTS", |found| *found != Value::Int(0)).await?.len())
}

/// The reply to one command for the snapshot of each replica that runs, by id. It removes the ids of replicas that are
/// gone. The reply for a key of another type is an error.
async fn of_each(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    command: &str,
    is_alive: impl Fn(&Value) -> bool,
) -> RedisResult<Vec<(String, Value)>> {
    let mut ids = crate::redis::members(connection, &keys.replicas()).await?;
    ids.sort_unstable();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    // It sends one command per key and not MGET, because a store that spreads its keys over several nodes may refuse
    // MGET.
    let mut pipe = ::redis::pipe();
    pipe.ignore_errors();
    for id in &ids {
        pipe.cmd(command).arg(keys.replica(id));
    }
    let replies: Vec<Value> = pipe.query_async(connection).await?;
    for reply in &replies {
        if let Err(error) = reply.clone().extract_error()
            && !is_of_keys(&error)
        {
            return Err(error);
        }
    }
    let (alive, gone): (Vec<_>, Vec<_>) = ids.into_iter().zip(replies).partition(|(_, reply)| is_alive(reply));
    if !gone.is_empty() {
        let gone: Vec<String> = gone.into_iter().map(|(id, _)| id).collect();
        // A replica that returns this very moment adds itself again with its next snapshot.
        let () = ::redis::cmd("SREM").arg(keys.replicas()).arg(&gone).query_async(connection).await?;
    }
    Ok(alive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_of_another_version_can_still_be_read() {
        let snapshot: ReplicaSnapshot =
            serde_json::from_str(r#"{"id":"r1","new":{},"lanes":[{"account":"a","open":3}]}"#).unwrap();
        assert_eq!((snapshot.id.as_str(), snapshot.lanes[0].load.open), ("r1", 3));
        assert_eq!(serde_json::from_str::<ReplicaSnapshot>(&json(&snapshot)).unwrap(), snapshot);
    }
}

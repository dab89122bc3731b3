//! What each replica tells of itself every few seconds, for commands that need a running worker's state.

use ::redis::aio::MultiplexedConnection;
use ::redis::{FromRedisValue, RedisResult};
use serde::{Deserialize, Serialize};

use crate::operate::{Keys, json};

/// How long a snapshot lasts without being renewed.
pub const EXPIRY_MS: u64 = 15_000;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReplicaSnapshot {
    /// Its id, as in `pb-worker`-side logs and `who` of its halts.
    pub id: String,
    /// Version of the program.
    pub version: String,
    /// When this was written, epoch ms.
    pub at_ms: i64,
    /// Every configured account's lane.
    pub lanes: Vec<LaneSnapshot>,
    /// Every partition it owns.
    pub partitions: Vec<PartitionRow>,
    /// Topics that take none of its records.
    pub refused: Vec<RefusedTopic>,
    pub consumers: Vec<ConsumerSnapshot>,
}

/// A topic of the worker's own that takes no records: what belongs there is held.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RefusedTopic {
    pub topic: String,
    /// The replica whose records are held.
    pub replica: String,
    /// Since when, epoch ms.
    pub since_ms: i64,
    pub why: String,
    /// Records that are held for it.
    pub records: u64,
}

/// What a consumer counts that no metric shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConsumerSnapshot {
    /// `intake` reads the inputs, `waiting` tiers and parking.
    pub name: String,
    /// Commits and stores of positions that were refused since the start.
    pub commit_errors: u64,
    /// Offsets that came twice in one assignment since the start.
    pub repeats: u64,
    /// How often partitions went with work under way since the start.
    pub drains_expired: u64,
    /// For how long no commit was confirmed, ms, where that is too long: nothing is sent meanwhile.
    pub unconfirmed_ms: Option<u64>,
    /// The client's last complaint.
    pub last_error: Option<String>,
}

/// A lane as one replica has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LaneSnapshot {
    pub account: String,
    pub platform: String,
    /// Since when, epoch ms.
    pub since_ms: i64,
    /// Why it is not flowing.
    pub why: String,
    /// Its state and what it holds.
    #[serde(flatten)]
    pub load: LaneLoad,
}

/// The state of one replica's lane, and what it holds of the account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LaneLoad {
    /// `flowing`, `throttled`, `broken`, `halted`, `paused`.
    pub state: String,
    /// Live records that wait for a permit.
    pub queued: u64,
    /// Records from tiers and parking that wait for a permit.
    pub released: u64,
    /// Records that hold a permit.
    pub in_flight: u64,
    /// Records read and not finished.
    pub open: u64,
    /// Unfinished records in the parking topic, where this replica owns it.
    pub parked: u64,
}

/// A partition and its oldest unfinished record: as its owner tells of it, and as the API and `blocked` show it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PartitionRow {
    pub topic: String,
    pub partition: i32,
    pub replica: String,
    /// Committed position.
    pub committed: Option<i64>,
    /// End of the partition.
    pub high: Option<i64>,
    /// Records between the two.
    pub lag: Option<i64>,
    /// Oldest unfinished offset; null where nothing is unfinished.
    pub offset: Option<i64>,
    pub trans_id: Option<String>,
    pub account: Option<String>,
    /// What that record waits for, e.g. `queued`, `sending`, `waits for its tier`, `lane halted`.
    pub reason: Option<String>,
    /// For how long: in a snapshot when it was written, in a report when that is made.
    pub age_ms: Option<i64>,
    /// Epoch ms of its next try.
    pub next_try_ms: Option<i64>,
    /// Why the partition waits for `postback unblock offsets`, where it does.
    pub parked: Option<String>,
    /// When its topic was found to be another one under the known name, epoch ms; for a day. It was read from its
    /// beginning; what was unfinished of the old one is gone with it.
    pub remade_ms: Option<i64>,
    /// When it was found that the group had lost its position, epoch ms; for a day. It is read again from its beginning, with
    /// what was settled already.
    pub position_lost_ms: Option<i64>,
}

/// Writes a replica's snapshot.
///
/// # Errors
/// Redis does not answer; the next one is due in seconds.
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

/// Removes a replica that shuts down, so that nobody counts it for another 15 s.
///
/// # Errors
/// Redis does not answer; it expires on its own.
pub async fn remove_snapshot(connection: &mut MultiplexedConnection, keys: &Keys, id: &str) -> RedisResult<()> {
    let mut pipe = ::redis::pipe();
    pipe.cmd("DEL").arg(keys.replica(id)).ignore();
    pipe.cmd("SREM").arg(keys.replicas()).arg(id).ignore();
    pipe.query_async(connection).await
}

/// Snapshots of all replicas alive, by id. Ids whose snapshot is gone are forgotten on the way.
///
/// # Errors
/// Redis does not answer.
pub async fn read_snapshots(connection: &mut MultiplexedConnection, keys: &Keys) -> RedisResult<Vec<ReplicaSnapshot>> {
    let texts: Vec<Option<String>> = of_each(connection, keys, "GET", Option::is_some).await?;
    Ok(texts.into_iter().flatten().filter_map(|text| serde_json::from_str(&text).ok()).collect())
}

/// How many replicas are alive. What they say is not read: with many accounts it is long.
///
/// # Errors
/// Redis does not answer.
pub async fn count_replicas(connection: &mut MultiplexedConnection, keys: &Keys) -> RedisResult<usize> {
    let alive: Vec<bool> = of_each(connection, keys, "EXISTS", |alive| *alive).await?;
    Ok(alive.into_iter().filter(|alive| *alive).count())
}

/// The reply to one command for each replica's snapshot, by id; ids of those that are gone are forgotten.
async fn of_each<T: FromRedisValue>(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    command: &str,
    is_alive: impl Fn(&T) -> bool,
) -> RedisResult<Vec<T>> {
    let mut ids: Vec<String> = ::redis::cmd("SMEMBERS").arg(keys.replicas()).query_async(connection).await?;
    ids.sort_unstable();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    // One command per key rather than MGET, which a store under several nodes may refuse.
    let mut pipe = ::redis::pipe();
    for id in &ids {
        pipe.cmd(command).arg(keys.replica(id));
    }
    let replies: Vec<T> = pipe.query_async(connection).await?;
    let gone: Vec<&String> = ids.iter().zip(&replies).filter(|(_, reply)| !is_alive(reply)).map(|(id, _)| id).collect();
    if !gone.is_empty() {
        // A replica that comes back this very moment adds itself again with its next snapshot.
        let () = ::redis::cmd("SREM").arg(keys.replicas()).arg(&gone).query_async(connection).await?;
    }
    Ok(replies)
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

//! What Redis holds of all replicas, read at most twice a second however many clients ask.

use std::time::{Duration, Instant};

use ::redis::aio::MultiplexedConnection;
use ::redis::{Client, RedisResult};
use tokio::sync::Mutex;

use crate::operate::audit;
use crate::operate::keys::Keys;
use crate::operate::lanes::{SwitchesByAccount, read_lanes};
use crate::operate::snapshot::{ReplicaSnapshot, read_snapshots};
use crate::operate::storms::read_storms;
use crate::redis::foreign::{ForeignKeys, unless};
use crate::storm::Storm;
use crate::storm::pass::Left;

/// How long what was read is shown to all clients, so that many open pages cost one read.
const FRESH: Duration = Duration::from_millis(500);

/// What the last reading of Redis found, and the connection for the next one.
#[derive(Default)]
pub struct Seen(Mutex<(Option<MultiplexedConnection>, Option<LastSeen>)>);

/// When Redis was read, and what it held. `None`: it did not answer.
type LastSeen = (Instant, Option<All>);

/// What Redis holds of all replicas.
#[derive(Clone, Default)]
pub(super) struct All {
    /// `None`: they cannot be read.
    pub(super) lanes: Option<SwitchesByAccount>,
    pub(super) replicas: Vec<ReplicaSnapshot>,
    pub(super) storms: Vec<Storm>,
    pub(super) storm_passes: Left,
    pub(super) audit_waiting: Option<u64>,
}

impl Seen {
    /// Reads Redis, unless another client has asked just before. `None`: Redis does not answer.
    pub(super) async fn read(&self, client: &Client, keys: &Keys, foreign: &ForeignKeys) -> Option<All> {
        let mut seen = self.0.lock().await;
        let (connection, last) = &mut *seen;
        if let Some((_, all)) = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return all.clone();
        }
        let all = ask(connection, client, keys, foreign).await;
        *last = Some((Instant::now(), all.clone()));
        all
    }

    /// Forgets what was read, because it was changed since.
    pub(super) async fn forget(&self) {
        self.0.lock().await.1 = None;
    }
}

async fn ask(
    connection: &mut Option<MultiplexedConnection>,
    client: &Client,
    keys: &Keys,
    foreign: &ForeignKeys,
) -> Option<All> {
    // A connection that was closed meanwhile says nothing of the server.
    for _ in 0..2 {
        let reused = connection.is_some();
        let mut c = match connection.take() {
            Some(connection) => connection,
            None => crate::redis::connect(client).await.ok()?,
        };
        let read = async {
            // A key that holds what no worker wrote hides nothing but what it would tell.
            let storms = unless(read_storms(&mut c, keys).await, &keys.storms(), foreign)?;
            let (storms, _, storm_passes) = storms.unwrap_or_default();
            let replicas = read_snapshots(&mut c, keys, foreign).await;
            let waiting = unless(audit::waiting(&mut c, keys).await, &keys.audit_out(), foreign)?;
            RedisResult::Ok(All {
                lanes: unless(read_lanes(&mut c, keys).await, &keys.lanes(), foreign)?,
                replicas: unless(replicas, &keys.replicas(), foreign)?.unwrap_or_default(),
                storms: storms.into_values().collect(),
                storm_passes,
                audit_waiting: waiting.map(|waiting| waiting.len() as u64),
            })
        };
        if let Ok(all) = read.await {
            *connection = Some(c);
            return Some(all);
        }
        if !reused {
            break;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::store::Store;
    use crate::operate::snapshot::write_snapshot;

    #[tokio::test]
    async fn many_readers_cost_one_reading_and_a_change_is_seen_at_once() {
        let store = Store::start().unwrap();
        let client = crate::redis::Config::stub(store.url()).client().unwrap();
        let (keys, seen) = (Keys::new("pb"), Seen::default());
        assert_eq!(seen.read(&client, &keys, &ForeignKeys::default()).await.unwrap().replicas.len(), 0);
        let snapshot = ReplicaSnapshot { id: "a".into(), ..ReplicaSnapshot::default() };
        write_snapshot(&mut crate::redis::connect(&client).await.unwrap(), &keys, &snapshot).await.unwrap();
        assert_eq!(
            seen.read(&client, &keys, &ForeignKeys::default()).await.unwrap().replicas.len(),
            0,
            "what was read just before"
        );
        seen.forget().await;
        assert_eq!(seen.read(&client, &keys, &ForeignKeys::default()).await.unwrap().replicas.len(), 1);
    }

    #[tokio::test]
    async fn a_redis_that_is_away_is_asked_twice_a_second_at_most_and_found_again() {
        let client = crate::redis::Config::stub("redis://127.0.0.1:1").client().unwrap();
        let (keys, seen) = (Keys::new("pb"), Seen::default());
        assert!(seen.read(&client, &keys, &ForeignKeys::default()).await.is_none());
        let store = Store::start().unwrap();
        let back = crate::redis::Config::stub(store.url()).client().unwrap();
        assert!(seen.read(&back, &keys, &ForeignKeys::default()).await.is_none(), "what was found just before");
        tokio::time::sleep(FRESH).await;
        assert!(seen.read(&back, &keys, &ForeignKeys::default()).await.is_some());
    }

    #[tokio::test]
    async fn a_key_that_no_worker_wrote_hides_only_what_it_would_tell() {
        let store = Store::start().unwrap();
        let client = crate::redis::Config::stub(store.url()).client().unwrap();
        let (keys, mut c) = (Keys::new("pb"), crate::redis::connect(&client).await.unwrap());
        let snapshot = ReplicaSnapshot { id: "a".into(), ..ReplicaSnapshot::default() };
        for key in [keys.audit_out(), keys.lanes(), keys.storms(), keys.replica("x"), keys.replicas()] {
            write_snapshot(&mut c, &keys, &snapshot).await.unwrap();
            let () = ::redis::cmd("SADD").arg(keys.replicas()).arg("x").query_async(&mut c).await.unwrap();
            let () = ::redis::cmd("DEL").arg(&key).query_async(&mut c).await.unwrap();
            let () = ::redis::cmd("LPUSH").arg(&key).arg("x").query_async(&mut c).await.unwrap();
            let foreign = ForeignKeys::default();
            let all = Seen::default().read(&client, &keys, &foreign).await.unwrap();
            assert_eq!(foreign.names(), std::slice::from_ref(&key));
            assert_eq!(all.replicas.len(), usize::from(key != keys.replicas()), "{key}");
            assert_eq!(
                (all.lanes.is_none(), all.audit_waiting.is_none()),
                (key == keys.lanes(), key == keys.audit_out())
            );
            let () = ::redis::cmd("DEL").arg(&key).query_async(&mut c).await.unwrap();
        }
    }
}

//! Runs the replay that is to run: in every replica waits a runner, and the one that holds the lock publishes.
//!
//! A batch is read, judged, published and counted, in this order. A runner that dies in between leaves at most one
//! batch that is published and not counted. The next one counts what was delivered of it and publishes the rest again,
//! and claims keep the platform from seeing it twice.

mod allowance;
mod batch;
mod brake;
mod left;
mod look;
mod pace;
mod pick_up;
mod steps;
mod turns;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::redis::RedisResult;
use ::redis::aio::MultiplexedConnection;
use tokio::sync::watch;
use tokio::time::sleep;

use self::left::Left;
use self::steps::Run;
use crate::kafka::producer::Producer;
use crate::metrics::Metrics;
use crate::operate::foreign;
use crate::redis::error::{describe, is_of_keys};
use crate::redis::foreign::ForeignKeys;
use crate::replay::setup::Setup;
use crate::replay::store;
use crate::replay::store::progress::{release_lock, running, take_lock};

/// How often a runner looks whether there is a replay to run.
const LOOK: Duration = Duration::from_millis(500);
/// How often a runner looks whether the newest replay has stopped itself.
const LOOK_BACK: Duration = Duration::from_secs(5);

/// The runner of one replica.
pub struct Runner<'a> {
    pub setup: Arc<Setup>,
    pub producer: &'a Producer,
    pub metrics: &'a Metrics,
    /// Names the keys that keep a replay from being run.
    pub foreign: &'a ForeignKeys,
    /// The id of the replica.
    pub id: &'a str,
}

impl Runner<'_> {
    /// Runs until `stop` says so, or its sender is gone. The batch that is under way then is counted.
    pub async fn keep(&self, mut stop: watch::Receiver<bool>) {
        let token = format!("{}-{:016x}", self.id, rand::random::<u64>());
        let mut connection = None;
        let mut looked_back: Option<Instant> = None;
        while !*stop.borrow() {
            tokio::select! {
                () = sleep(LOOK) => {}
                changed = stop.changed() => if changed.is_err() { return },
            }
            let mut c = match connection.take() {
                Some(connection) => connection,
                None => match crate::redis::connect(&self.setup.client).await {
                    Ok(connection) => connection,
                    // The coordinator reports that Redis does not answer.
                    Err(_) => continue,
                },
            };
            if looked_back.is_none_or(|at| at.elapsed() >= LOOK_BACK) {
                if let Ok(has_stopped) = store::newest_has_stopped(&mut c, &self.setup.keys).await {
                    self.metrics.replays.set_stopped(has_stopped);
                }
                looked_back = Some(Instant::now());
            }
            match self.look(&mut c, &token, &stop).await {
                Ok(()) => connection = Some(c),
                Err(error) => {
                    tracing::debug!(error = describe(&error), "the runner of replays asks redis again");
                    if is_of_keys(&error) {
                        let named = foreign::name(&mut c, &self.setup.keys, self.foreign).await;
                        connection = named.ok().map(|()| c);
                    }
                }
            }
        }
    }

    async fn look(&self, c: &mut MultiplexedConnection, token: &str, stop: &watch::Receiver<bool>) -> RedisResult<()> {
        let keys = &self.setup.keys;
        let Some(id) = running(c, keys).await? else { return Ok(()) };
        if !take_lock(c, keys, token).await? {
            return Ok(());
        }
        let Some(stored) = store::read(c, keys, &id).await? else {
            // Its time is over, so nobody waits for it.
            let () = ::redis::cmd("DEL").arg(keys.replay_running()).query_async(c).await?;
            return release_lock(c, keys, token).await;
        };
        let mut run = Run::begin(self.setup.clone(), (self.producer, self.metrics), c.clone(), token, stored).await?;
        self.metrics.replays.set_running(true);
        self.metrics.replays.set_stopped(false);
        let left = run.go_on(stop).await;
        self.metrics.replays.set_running(false);
        *c = run.c;
        let left = left?;
        match left {
            Left::Lost => return Ok(()),
            Left::Over => tracing::info!(replay = id, "the run of a replay has ended or was stopped"),
            Left::Stopping => tracing::info!(replay = id, "another replica goes on with the replay"),
        }
        let () = ::redis::cmd("HDEL").arg(keys.replay(&id)).arg("runner").query_async(c).await?;
        release_lock(c, keys, token).await
    }
}

#[cfg(test)]
mod tests;

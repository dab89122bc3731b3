//! The parts of replays in a worker: what plans need, and the runner that waits for a replay to run.

use std::sync::Arc;
use std::time::Duration;

use ::redis::Client;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::account::roster::LiveRoster;
use crate::exit::Exit;
use crate::metrics::Metrics;
use crate::replay::{Runner, Setup};
use crate::settings::Config;
use crate::settle::context::StageContext;

/// How long the end waits for the batch that is under way.
const PATIENCE: Duration = Duration::from_secs(2);

/// What plans and runs need of the configuration.
///
/// # Errors
/// 2 where a pattern in `kafka.input` cannot be read.
pub(super) fn setup(config: &Config, roster: LiveRoster, client: &Client) -> Result<Arc<Setup>, Exit> {
    let (prefix, window) = (&config.redis.prefix, config.dedupe.window);
    let setup = Setup::new(client.clone(), prefix, &config.kafka, roster, window);
    setup.map_err(|error| Exit::usage(error.to_string()))
}

/// The runner of this replica.
pub(super) struct Replaying {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Replaying {
    /// Starts the runner.
    pub(super) fn start(setup: Arc<Setup>, context: Arc<StageContext>, metrics: Arc<Metrics>, id: String) -> Self {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            let (producer, foreign) = (&context.producer, &context.health.foreign);
            Runner { setup, producer, metrics: &metrics, foreign, id: &id }.keep(stopped).await;
        });
        Self { stop, task }
    }

    /// Ends the runner: the batch that is under way is counted, and another replica goes on at once.
    pub(super) async fn end(mut self) {
        let _ = self.stop.send(true);
        if tokio::time::timeout(PATIENCE, &mut self.task).await.is_err() {
            // Another replica goes on when the lock expires, and publishes that batch again.
            self.task.abort();
        }
    }
}

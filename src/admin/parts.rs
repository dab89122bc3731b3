//! What the API works with.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::redis::Client;
use ::redis::aio::MultiplexedConnection;
use axum::http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::refusal::Refusal;
use crate::inspect::dead_letters::scan::Scan;
use crate::inspect::preview::Previewer;
use crate::inspect::reconcile::Jobs;
use crate::kafka::topics::AdminError;
use crate::operate::Keys;
use crate::operate::readiness::Shared;
use crate::operate::reload::Reloads;
use crate::redis::error::describe;
use crate::replay::Replays;
use crate::settings::{Config, LiveConfig};

/// How many requests read Kafka at once. Each of them has a thread and a client of its own.
const READERS: usize = 3;
/// How long a request waits for its turn to read Kafka.
const TURN: Duration = Duration::from_secs(3);

/// The worker as the API sees it.
pub struct Worker {
    /// The id of this replica.
    pub id: String,
    pub status: Shared,
    /// It has the addresses of embedded parts already.
    pub config: LiveConfig,
    pub client: Client,
    /// The search for dead letters that all clients share.
    pub scan: Arc<Scan>,
    pub replays: Replays,
    /// Takes wishes to reload the configuration.
    pub reloads: Reloads,
}

impl Worker {
    /// The names of the keys in Redis.
    pub(super) fn keys(&self) -> Keys {
        Keys::new(&self.config.load().redis.prefix)
    }
}

/// The worker, and what the API keeps of it.
pub struct Parts {
    pub(super) worker: Worker,
    previewer: Mutex<Option<(Arc<Config>, Arc<Previewer>)>>,
    readers: Arc<Semaphore>,
    pub(super) reconciles: Arc<Jobs>,
    /// One export at a time.
    pub(super) exports: Arc<Semaphore>,
}

impl Parts {
    pub fn new(worker: Worker) -> Arc<Self> {
        let (readers, reconciles) = (Arc::new(Semaphore::new(READERS)), Jobs::new(&worker.id));
        let exports = Arc::new(Semaphore::new(1));
        Arc::new(Self { worker, previewer: Mutex::default(), readers, reconciles, exports })
    }

    /// A connection to Redis.
    ///
    /// # Errors
    /// Refuses the request if Redis does not answer.
    pub(super) async fn redis(&self) -> Result<MultiplexedConnection, Refusal> {
        let away = |error: ::redis::RedisError| {
            let text = format!("redis.url: {}; try again", describe(&error));
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text)
        };
        crate::redis::connect(&self.worker.client).await.map_err(away)
    }

    /// Waits for the turn to read Kafka, which lasts as long as the permit.
    ///
    /// # Errors
    /// Refuses the request if too many others read Kafka.
    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let busy = || {
            let text = "other requests are reading Kafka; try again in a moment";
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text).with_code("busy")
        };
        let turn = tokio::time::timeout(TURN, self.readers.clone().acquire_owned()).await;
        turn.map_err(|_| busy())?.map_err(|_| busy())
    }

    /// Judges events as this worker would now. It is made when it is first needed, and again after a reload.
    pub(super) fn previewer(&self) -> Arc<Previewer> {
        let config = self.worker.config.load_full();
        let mut made = self.previewer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, previewer)) = &*made
            && Arc::ptr_eq(of, &config)
        {
            return previewer.clone();
        }
        let previewer = Previewer::new(&config.accounts, config.kafka.result_topics(), &config.redis.prefix);
        let previewer = Arc::new(previewer.knowing(&config.platforms));
        *made = Some((config, previewer.clone()));
        previewer
    }

    /// Reads Kafka on a thread of its own, so that the endpoint answers others meanwhile.
    ///
    /// # Errors
    /// Refuses the request if too many others read Kafka, or if Kafka does not answer.
    pub(super) async fn read_kafka<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, AdminError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let permit = self.turn().await?;
        // If the client leaves, the reading goes on to its end and keeps its permit until then.
        let work = move || {
            let _permit = permit;
            work()
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(read)) => Ok(read),
            Ok(Err(error)) => Err(no_kafka(&error)),
            Err(_) => Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the reading broke off; see the log")),
        }
    }
}

/// The refusal where Kafka does not answer.
pub(super) fn no_kafka(error: &AdminError) -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, format!("kafka.brokers: {error}; try again"))
}

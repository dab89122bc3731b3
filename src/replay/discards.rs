//! Follows the audit for what concerns a replay: discards that were made meanwhile, and the loss of claims.

use std::sync::{Arc, Mutex, PoisonError};

use ::redis::aio::MultiplexedConnection;
use tokio::task::spawn_blocking;

use crate::inspect::dead_letters::DeadLetter;
use crate::inspect::dead_letters::index::Discard;
use crate::inspect::dead_letters::scan::{Audit, covered};
use crate::kafka::topics::AdminError;
use crate::operate::audit::waiting;
use crate::replay::error::ReplayError;
use crate::replay::setup::Setup;

/// The discards that concern a replay.
#[derive(Default)]
pub struct Discards {
    audit: Arc<Mutex<Audit>>,
    /// Only discards with this id or a later one count: ids begin with the time.
    since: String,
    in_force: Vec<Discard>,
    claims_lost_ms: Option<i64>,
}

impl Discards {
    /// Those that are made from this time on, epoch ms.
    pub fn since(at_ms: i64) -> Self {
        Self { since: format!("{at_ms:012x}"), ..Self::default() }
    }

    /// Reads what is new: what waits in Redis, and what is in Kafka.
    ///
    /// # Errors
    /// Redis or Kafka does not answer.
    pub async fn refresh(&mut self, c: &mut MultiplexedConnection, setup: &Arc<Setup>) -> Result<(), ReplayError> {
        let entries = waiting(c, &setup.keys).await.map_err(|error| ReplayError::redis(&error))?;
        let (audit, setup) = (self.audit.clone(), setup.clone());
        let read = spawn_blocking(move || {
            let mut audit = audit.lock().unwrap_or_else(PoisonError::into_inner);
            audit.take(&entries);
            match audit.read(&setup.kafka) {
                // Without a topic there are no discards but those in Redis.
                Ok(()) | Err(AdminError::Refused(_)) => Ok((audit.log().in_force(), audit.log().claims_lost_ms())),
                Err(error) => Err(error),
            }
        });
        let ended = read.await.map_err(|_| ReplayError::Unavailable("the reading broke off".to_owned()))?;
        let (mut in_force, claims_lost_ms) = ended.map_err(ReplayError::kafka)?;
        in_force.retain(|discard| *discard.id >= *self.since);
        (self.in_force, self.claims_lost_ms) = (in_force, claims_lost_ms);
        Ok(())
    }

    /// Which of these dead letters are discarded.
    pub fn cover(&self, letters: &[&DeadLetter]) -> Vec<bool> {
        covered(letters, self.in_force.clone())
    }

    /// When an operator last said that the store has lost its claims, epoch ms.
    pub fn claims_lost_ms(&self) -> Option<i64> {
        self.claims_lost_ms
    }
}

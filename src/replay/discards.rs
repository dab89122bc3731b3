//! Follows the audit for what concerns a replay: discards that were made meanwhile, and the loss of claims.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use ::redis::aio::MultiplexedConnection;
use tokio::task::spawn_blocking;

use crate::inspect::dead_letters::DeadLetter;
use crate::inspect::dead_letters::index::Discard;
use crate::inspect::dead_letters::scan::{Audit, covered};
use crate::kafka::topics::AdminError;
use crate::operate::audit::waiting;
use crate::operate::foreign::describe_with_keys;
use crate::operate::keys::LetterTopic;
use crate::redis::error::is_of_keys;
use crate::replay::error::ReplayError;
use crate::replay::setup::Setup;
use crate::replay::store::Plan;

/// The discards that concern a replay.
#[derive(Default)]
pub struct Discards {
    audit: Arc<Mutex<Audit>>,
    topic: LetterTopic,
    known: Known,
    in_force: Vec<Discard>,
    claims_lost_ms: Option<i64>,
}

/// The discards that do not count, because a plan has judged by them.
enum Known {
    These(BTreeSet<String>),
    /// Those with a smaller id, which begins with the time: earlier versions kept no ids.
    Before(String),
}

impl Default for Known {
    fn default() -> Self {
        Self::These(BTreeSet::new())
    }
}

impl Discards {
    /// All that concern dead letters in this topic.
    pub fn of(topic: LetterTopic) -> Self {
        Self { topic, ..Self::default() }
    }

    /// Those that a plan did not know when it was made.
    pub fn beyond(plan: &Plan) -> Self {
        let known = match &plan.discards {
            Some(ids) => Known::These(ids.iter().cloned().collect()),
            None => Known::Before(format!("{:012x}", plan.made_at_ms)),
        };
        Self { known, ..Self::default() }
    }

    /// Says which topic the dead letters are in.
    pub fn set_topic(&mut self, topic: LetterTopic) {
        self.topic = topic;
    }

    /// The ids of those that are in force.
    pub fn ids(&self) -> Vec<String> {
        self.in_force.iter().map(|discard| discard.id.clone()).collect()
    }

    /// Reads what is new: what waits in Redis, and what is in Kafka.
    ///
    /// # Errors
    /// Redis or Kafka does not answer.
    pub async fn refresh(&mut self, c: &mut MultiplexedConnection, setup: &Arc<Setup>) -> Result<(), ReplayError> {
        let entries = match waiting(c, &setup.keys).await {
            Ok(entries) => entries,
            Err(error) if is_of_keys(&error) => {
                let said = format!("redis: {}", describe_with_keys(c, &setup.keys, &error).await);
                return Err(ReplayError::Unavailable(said));
            }
            Err(error) => return Err(ReplayError::redis(&error)),
        };
        let (audit, setup, topic) = (self.audit.clone(), setup.clone(), self.topic.clone());
        let read = spawn_blocking(move || {
            let mut audit = audit.lock().unwrap_or_else(PoisonError::into_inner);
            audit.take(&entries);
            match audit.read(&setup.kafka) {
                // Without a topic there are no discards but those in Redis.
                Ok(()) | Err(AdminError::Refused(_)) => {
                    Ok((audit.log().in_force(&topic), audit.log().claims_lost_ms()))
                }
                Err(error) => Err(error),
            }
        });
        let ended = read.await.map_err(|_| ReplayError::Unavailable("the reading broke off".to_owned()))?;
        let (mut in_force, claims_lost_ms) = ended.map_err(ReplayError::kafka)?;
        in_force.retain(|discard| match &self.known {
            Known::These(ids) => !ids.contains(&discard.id),
            Known::Before(id) => discard.id >= *id,
        });
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

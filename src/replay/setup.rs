//! What plans and runs need of the worker's configuration.

use std::sync::Arc;
use std::time::Duration;

use ::redis::Client;
use ::redis::aio::MultiplexedConnection;
use tokio::task::spawn_blocking;

use crate::account::roster::LiveRoster;
use crate::inspect::preview::Previewer;
use crate::kafka;
use crate::kafka::matching::Matching;
use crate::kafka::reader::{Fetch, Reader};
use crate::operate::keys::{Keys, LetterTopic};
use crate::replay::error::ReplayError;

/// The name under which events are counted whose account is not configured.
pub const UNKNOWN: &str = "unknown";

/// The parts of the worker's configuration that replays need.
pub struct Setup {
    pub client: Client,
    pub keys: Keys,
    /// The prefix of all keys.
    pub prefix: String,
    pub kafka: kafka::Config,
    /// The accounts in force.
    pub roster: LiveRoster,
    /// How long a delivery is remembered.
    pub window: Duration,
    pub previewer: Previewer,
    matching: Matching,
}

impl Setup {
    /// Gathers the parts.
    ///
    /// # Errors
    /// A pattern in `kafka.input` cannot be read.
    pub fn new(
        client: Client,
        prefix: &str,
        kafka: &kafka::Config,
        roster: LiveRoster,
        window: Duration,
    ) -> Result<Arc<Self>, kafka::pattern::BadPattern> {
        Ok(Arc::new(Self {
            client,
            keys: Keys::new(prefix),
            prefix: prefix.to_owned(),
            matching: Matching::new(kafka)?,
            previewer: Previewer::over(roster.clone(), kafka.result_topics(), prefix),
            kafka: kafka.clone(),
            roster,
            window,
        }))
    }

    /// The dead-letter topic as it is now.
    ///
    /// # Errors
    /// Kafka or Redis does not answer, or there is no such topic.
    pub async fn letter_topic(self: &Arc<Self>, c: &mut MultiplexedConnection) -> Result<LetterTopic, ReplayError> {
        let setup = self.clone();
        let asked =
            spawn_blocking(move || Reader::new(&setup.kafka, &setup.kafka.dead_letter, Fetch::Records)?.topic_id());
        let id = asked.await.map_err(|_| ReplayError::Unavailable("the question broke off".to_owned()))?;
        let id = id.map_err(ReplayError::kafka)?;
        LetterTopic::note(c, &self.keys, id).await.map_err(|error| ReplayError::redis(&error))
    }

    /// Whether the worker reads this topic as an input.
    pub fn is_input(&self, topic: &str) -> bool {
        self.matching.is_input(topic)
    }

    /// The name under which an event of this account is counted.
    pub fn counted_as<'a>(&self, account: Option<&'a str>) -> &'a str {
        account.filter(|name| self.roster.load().find(name).is_some()).unwrap_or(UNKNOWN)
    }
}

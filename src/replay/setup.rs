//! What plans and runs need of the worker's configuration.

use std::sync::Arc;
use std::time::Duration;

use ::redis::Client;

use crate::account::Accounts;
use crate::inspect::preview::Previewer;
use crate::kafka;
use crate::kafka::matching::Matching;
use crate::operate::keys::Keys;
use crate::platforms::list::Platforms;

/// The name under which events are counted whose account is not configured.
pub const UNKNOWN: &str = "unknown";

/// The parts of the worker's configuration that replays need.
pub struct Setup {
    pub client: Client,
    pub keys: Keys,
    /// The prefix of all keys.
    pub prefix: String,
    pub kafka: kafka::Config,
    pub accounts: Accounts,
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
        accounts: &Accounts,
        platforms: &Platforms,
        window: Duration,
    ) -> Result<Arc<Self>, kafka::pattern::BadPattern> {
        Ok(Arc::new(Self {
            client,
            keys: Keys::new(prefix),
            prefix: prefix.to_owned(),
            matching: Matching::new(kafka)?,
            previewer: Previewer::new(accounts, kafka.result_topics(), prefix).knowing(platforms),
            kafka: kafka.clone(),
            accounts: accounts.clone(),
            window,
        }))
    }

    /// Whether the worker reads this topic as an input.
    pub fn is_input(&self, topic: &str) -> bool {
        self.matching.is_input(topic)
    }

    /// The name under which an event of this account is counted.
    pub fn counted_as<'a>(&self, account: Option<&'a str>) -> &'a str {
        account.filter(|name| self.accounts.contains_key(*name)).unwrap_or(UNKNOWN)
    }
}

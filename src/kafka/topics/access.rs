//! Who may read a topic.

use rdkafka::admin::ResourceSpecifier;

use super::{AdminError, Cluster, TIMEOUT, block_on, options};
use crate::kafka::access::{Readers, may_read, readers};

impl Cluster {
    /// Whether this user may read the topic (`None`: the brokers do not tell), and which users the rules of access
    /// name.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn access(&self, topic: &str) -> Result<(Option<bool>, Readers), AdminError> {
        let client = self.admin.inner();
        let readers = match readers(client, topic, TIMEOUT)? {
            Readers::Named(names) if names.is_empty() => self.without_a_rule(),
            other => other,
        };
        Ok((may_read(client, topic, TIMEOUT)?, readers))
    }

    /// What it means that the brokers name no rule. The client library shows an answer that refuses, and one of brokers
    /// without rules, in the same way; the settings of a broker tell them apart.
    fn without_a_rule(&self) -> Readers {
        let Ok(metadata) = self.metadata() else { return Readers::Untold };
        let Some(broker) = metadata.brokers().first() else { return Readers::Untold };
        let described = block_on(self.admin.describe_configs(&[ResourceSpecifier::Broker(broker.id())], &options()));
        let settings = described.ok().and_then(|mut all| all.pop()).and_then(Result::ok);
        match settings.as_ref().and_then(|settings| settings.get("authorizer.class.name")) {
            Some(entry) if entry.value.as_deref().unwrap_or_default().is_empty() => Readers::Everybody,
            Some(_) => Readers::Named(Vec::new()),
            None => Readers::Untold,
        }
    }
}

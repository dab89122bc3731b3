//! The worker's own topics: created with the right settings, or named with the commands that make them; checked.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::admin::{NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;

use super::findings::{Finding, findings, unreadable};
use super::{AdminError, Cluster, TopicSettings, block_on, options};
use crate::kafka::{Config, parking_topic, tier_topic};

pub(super) const RETENTION_MS: i64 = 30 * 24 * 3600 * 1000;
/// Brokers' own limit where no input says otherwise.
const DEFAULT_MAX_BYTES: i64 = 1024 * 1024;
/// What the worker's headers may add to a record.
const HEADROOM: i64 = 64 * 1024;

/// A topic that the worker writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedTopic {
    /// Its name.
    pub name: String,
    /// Partitions it is created with.
    pub partitions: i32,
    /// Exactly one partition: oldest first is a promise of its readers.
    pub single: bool,
}

/// Every topic that these tiers and accounts need.
pub fn owned_topics(config: &Config, tiers: &[&str], accounts: &[&str]) -> Vec<OwnedTopic> {
    let wide = |name: String| OwnedTopic { name, partitions: config.partitions.max(1), single: false };
    let mut topics: Vec<_> = tiers.iter().map(|tier| wide(tier_topic(&config.retry_prefix, tier))).collect();
    topics.extend(accounts.iter().map(|account| OwnedTopic {
        name: parking_topic(&config.parked_prefix, account),
        partitions: 1,
        single: true,
    }));
    topics.push(wide(config.dead_letter.clone()));
    if !config.receipts.is_empty() {
        topics.push(wide(config.receipts.clone()));
    }
    topics
}

/// A topic that has to be made by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its name.
    pub topic: String,
    /// The command that makes it.
    pub command: String,
}

/// What `ensure` found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ensured {
    /// Topics that were created.
    pub created: Vec<String>,
    /// Topics that are missing, since they may not be created.
    pub missing: Vec<Missing>,
    /// What is not as it should be.
    pub findings: Vec<Finding>,
}

impl Cluster {
    /// Makes sure that the worker's own topics exist and are set right.
    ///
    /// # Errors
    /// Where the cluster does not answer, or does not create a topic.
    pub fn ensure(&self, owned: &[OwnedTopic]) -> Result<Ensured, AdminError> {
        self.look(owned, self.config.create_topics)
    }

    /// The same look, and nothing is created: what is missing is named with the command that makes it.
    ///
    /// # Errors
    /// Where the cluster does not answer.
    pub fn inspect(&self, owned: &[OwnedTopic]) -> Result<Ensured, AdminError> {
        self.look(owned, false)
    }

    fn look(&self, owned: &[OwnedTopic], create: bool) -> Result<Ensured, AdminError> {
        let brokers = self.broker_count()?;
        let inputs = self.inputs()?;
        let names: Vec<&str> = inputs.iter().map(|t| t.name.as_str()).collect();
        let read = self.describe_patiently(&names)?;
        let max_bytes = limit(read.values());
        let existing: BTreeSet<String> = self.topics()?.into_iter().map(|t| t.name).collect();
        let missing: Vec<&OwnedTopic> = owned.iter().filter(|t| !existing.contains(&t.name)).collect();
        let mut ensured = Ensured::default();
        if !missing.is_empty() {
            let plan = Plan { max_bytes, replication: self.config.replication, insync: self.insync(brokers)? };
            if create {
                ensured.created = self.create(&missing, &plan)?;
            } else {
                let brokers = &self.config.brokers;
                let named =
                    missing.iter().map(|t| Missing { topic: t.name.clone(), command: plan.command(t, brokers) });
                ensured.missing = named.collect();
            }
        }
        let names: Vec<&str> = owned.iter().map(|t| t.name.as_str()).collect();
        let names: Vec<&str> =
            names.into_iter().filter(|name| !ensured.missing.iter().any(|m| m.topic == *name)).collect();
        let settings = self.describe_patiently(&names)?;
        let infos = self.topics()?;
        ensured.findings = findings(owned, &infos, &settings, brokers, max_bytes, &self.config.brokers);
        let inputs = inputs.iter().filter(|t| !read.contains_key(&t.name)).map(|t| t.name.as_str());
        let owned = names.iter().copied().filter(|name| !settings.contains_key(*name));
        ensured.findings.extend(inputs.chain(owned).map(unreadable));
        Ok(ensured)
    }

    /// A new topic is known to its brokers only after a moment.
    fn describe_patiently(&self, names: &[&str]) -> Result<BTreeMap<String, TopicSettings>, AdminError> {
        let deadline = Instant::now() + super::TIMEOUT;
        loop {
            let described = self.describe(names)?;
            if described.len() >= names.len() || Instant::now() >= deadline {
                return Ok(described);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn create(&self, missing: &[&OwnedTopic], plan: &Plan) -> Result<Vec<String>, AdminError> {
        let settings = plan.settings();
        let replication = if plan.replication > 0 { plan.replication } else { -1 };
        let new: Vec<NewTopic<'_>> = missing
            .iter()
            .map(|t| {
                let topic = NewTopic::new(&t.name, t.partitions, TopicReplication::Fixed(replication));
                settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
            })
            .collect();
        let options = options().operation_timeout(Some(super::TIMEOUT));
        let mut created = Vec::new();
        for result in block_on(self.admin.create_topics(&new, &options))? {
            match result {
                Ok(name) => created.push(name),
                // Another replica was quicker.
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((name, code)) => {
                    return Err(AdminError::of(code, format!("topic {name} cannot be created: {code}")));
                }
            }
        }
        Ok(created)
    }

    /// `min.insync.replicas` of a new topic; `None`: whatever the broker says. Never more than there are replicas.
    fn insync(&self, brokers: usize) -> Result<Option<i64>, AdminError> {
        if brokers < 2 {
            return Ok(None);
        }
        let replication = match self.config.replication {
            0 => self.default_replication()?,
            given => i64::from(given),
        };
        Ok((replication >= 2).then_some(2))
    }

    fn default_replication(&self) -> Result<i64, AdminError> {
        let Some(id) = self.metadata()?.brokers().first().map(rdkafka::metadata::MetadataBroker::id) else {
            return Ok(1);
        };
        let answers = block_on(self.admin.describe_configs(&[ResourceSpecifier::Broker(id)], &options()))?;
        let resource = answers.into_iter().next().and_then(Result::ok);
        let value = resource.and_then(|r| r.get("default.replication.factor")?.value.clone());
        Ok(value.and_then(|v| v.parse().ok()).unwrap_or(1))
    }
}

/// What a copy of the largest input record needs.
fn limit<'a>(inputs: impl Iterator<Item = &'a TopicSettings>) -> i64 {
    inputs.filter_map(|s| s.max_message_bytes).max().unwrap_or(0).max(DEFAULT_MAX_BYTES) + HEADROOM
}

/// How a missing topic is made.
struct Plan {
    max_bytes: i64,
    replication: i32,
    insync: Option<i64>,
}

impl Plan {
    fn settings(&self) -> Vec<(&'static str, &'static str)> {
        // The client wants borrowed text that outlives the request; a handful of short strings per start.
        let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
        let mut settings = vec![
            ("cleanup.policy", "delete"),
            ("retention.ms", leak(RETENTION_MS.to_string())),
            ("max.message.bytes", leak(self.max_bytes.to_string())),
        ];
        settings.extend(self.insync.map(|n| ("min.insync.replicas", leak(n.to_string()))));
        settings
    }

    fn command(&self, topic: &OwnedTopic, brokers: &str) -> String {
        let mut command = format!(
            "kafka-topics.sh --bootstrap-server {brokers} --create --topic {} --partitions {}",
            topic.name, topic.partitions
        );
        if self.replication > 0 {
            command += &format!(" --replication-factor {}", self.replication);
        }
        for (key, value) in self.settings() {
            command += &format!(" --config {key}={value}");
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(name: &str, single: bool) -> OwnedTopic {
        OwnedTopic { name: name.into(), partitions: 3, single }
    }

    #[test]
    fn the_command_for_a_missing_topic_is_complete() {
        let plan = Plan { max_bytes: 1_114_112, replication: 3, insync: Some(2) };
        assert_eq!(
            plan.command(&owned("postback.dlt", false), "kafka:9092"),
            "kafka-topics.sh --bootstrap-server kafka:9092 --create --topic postback.dlt --partitions 3 \
             --replication-factor 3 --config cleanup.policy=delete --config retention.ms=2592000000 \
             --config max.message.bytes=1114112 --config min.insync.replicas=2"
        );
    }

    #[test]
    fn the_size_limit_leaves_room_for_our_headers() {
        let input = |max| TopicSettings { max_message_bytes: Some(max), ..TopicSettings::default() };
        assert_eq!(limit([].iter()), 1024 * 1024 + HEADROOM);
        assert_eq!(limit([input(100)].iter()), 1024 * 1024 + HEADROOM);
        assert_eq!(limit([input(5_000_000), input(2)].iter()), 5_000_000 + HEADROOM);
    }
}

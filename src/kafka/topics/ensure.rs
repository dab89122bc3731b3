//! Makes sure that the worker's own topics exist with the right settings: creates missing topics, or names the commands
//! that create them, and checks existing ones.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::admin::{NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;

use super::findings::{Finding, findings, one_replica, unreadable};
use super::owned::OwnedTopic;
use super::sources::Sources;
use super::{AdminError, Cluster, TopicSettings, block_on, options};
use crate::kafka::settings::HEADROOM;

/// The replicas of a new topic, if the broker's default would be too few or is unknown.
const REPLICAS: usize = 3;

/// A topic that an operator has to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    pub topic: String,
    /// The command that creates it.
    pub command: String,
}

/// What `ensure` found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ensured {
    /// Topics that were created.
    pub created: Vec<String>,
    /// Topics that are missing and that the worker may not create.
    pub missing: Vec<Missing>,
    /// Topics and settings that are not as they should be.
    pub findings: Vec<Finding>,
}

impl Cluster {
    /// Makes sure that the worker's own topics exist and have the right settings for these inputs.
    ///
    /// # Errors
    /// Fails if the cluster does not answer, or does not create a topic.
    pub fn ensure(&self, owned: &[OwnedTopic], sources: &Sources) -> Result<Ensured, AdminError> {
        self.look(owned, sources, self.config.create_topics)
    }

    /// Makes the same checks but creates nothing. For each missing topic it names the command that creates it.
    ///
    /// # Errors
    /// Fails if the cluster does not answer.
    pub fn inspect(&self, owned: &[OwnedTopic], sources: &Sources) -> Result<Ensured, AdminError> {
        self.look(owned, sources, false)
    }

    fn look(&self, owned: &[OwnedTopic], sources: &Sources, create: bool) -> Result<Ensured, AdminError> {
        let brokers = self.broker_count()?;
        let max_bytes = copy_bytes(sources.largest());
        let missing = self.absent(owned)?;
        let mut ensured = Ensured::default();
        if !missing.is_empty() {
            let plan = self.plan(brokers, sources.largest())?;
            if brokers > 1 && self.config.replication == 1 {
                // A topic created with one replica would refuse the next start.
                ensured.findings.push(one_replica(brokers));
            } else if create {
                for (topic, made) in self.create(&missing, &plan)? {
                    if made? {
                        ensured.created.push(topic);
                    }
                }
            }
            if !create {
                let brokers = &self.config.brokers;
                let named =
                    missing.iter().map(|t| Missing { topic: t.name.clone(), command: plan.command(t, brokers) });
                ensured.missing = named.collect();
            }
        }
        let names: Vec<&str> = owned.iter().map(|t| t.name.as_str()).collect();
        let is_there = |name: &&str| create || !missing.iter().any(|t| t.name == *name);
        let names: Vec<&str> = names.into_iter().filter(is_there).collect();
        let settings = self.describe_patiently(&names)?;
        let infos = self.topics()?;
        ensured.findings.extend(findings(owned, &infos, &settings, brokers, max_bytes, &self.config.brokers));
        let unread = names.iter().copied().filter(|name| !settings.contains_key(*name));
        ensured.findings.extend(unread.map(unreadable));
        Ok(ensured)
    }

    /// Reads the settings, and waits for topics that are not there yet: brokers know a new topic only after a moment.
    pub(super) fn describe_patiently(&self, names: &[&str]) -> Result<BTreeMap<String, TopicSettings>, AdminError> {
        let deadline = Instant::now() + super::TIMEOUT;
        loop {
            let described = self.describe(names)?;
            if described.len() >= names.len() || Instant::now() >= deadline {
                return Ok(described);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// The topics that do not exist.
    pub(super) fn absent<'a>(&self, owned: &'a [OwnedTopic]) -> Result<Vec<&'a OwnedTopic>, AdminError> {
        let existing: BTreeSet<String> = self.topics()?.into_iter().map(|t| t.name).collect();
        Ok(owned.iter().filter(|t| !existing.contains(&t.name)).collect())
    }

    /// Creates topics. Returns for each of them whether it was created here; `false` if it existed already.
    pub(super) fn create(&self, missing: &[&OwnedTopic], plan: &Plan) -> Result<Vec<Made>, AdminError> {
        let replication = plan.replication.unwrap_or(-1);
        let settings: Vec<_> = missing.iter().map(|t| plan.settings(t)).collect();
        let new: Vec<NewTopic<'_>> = missing
            .iter()
            .zip(&settings)
            .map(|(t, settings)| {
                let topic = NewTopic::new(&t.name, t.partitions, TopicReplication::Fixed(replication));
                settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
            })
            .collect();
        let options = options().operation_timeout(Some(super::TIMEOUT));
        let made = |result| match result {
            Ok(name) => (name, Ok(true)),
            Err((name, RDKafkaErrorCode::TopicAlreadyExists)) => (name, Ok(false)),
            Err((name, code)) => {
                let error = AdminError::of(code, format!("topic {name} cannot be created: {code}"));
                (name, Err(error))
            }
        };
        Ok(block_on(self.admin.create_topics(&new, &options))?.into_iter().map(made).collect())
    }

    pub(super) fn plan(&self, brokers: usize, largest: u64) -> Result<Plan, AdminError> {
        let default = if brokers > 1 && self.config.replication == 0 { self.default_replication()? } else { None };
        let (replication, insync) = replicas(brokers, self.config.replication, default);
        Ok(Plan { max_bytes: copy_bytes(largest), replication, insync })
    }

    /// The broker's `default.replication.factor`. `None`: the broker does not state it.
    fn default_replication(&self) -> Result<Option<i32>, AdminError> {
        let Some(id) = self.metadata()?.brokers().first().map(rdkafka::metadata::MetadataBroker::id) else {
            return Ok(None);
        };
        let answers = block_on(self.admin.describe_configs(&[ResourceSpecifier::Broker(id)], &options()))?;
        let resource = answers.into_iter().next().and_then(Result::ok);
        let value = resource.and_then(|r| r.get("default.replication.factor")?.value.clone());
        Ok(value.and_then(|v| v.parse().ok()))
    }
}

/// The replicas of a new topic and its `min.insync.replicas`. `None`: the broker's default. The next check must not
/// refuse what is created here.
fn replicas(brokers: usize, stated: i32, default: Option<i32>) -> (Option<i32>, Option<i64>) {
    let replication = match stated {
        0 if brokers < 2 || default.is_some_and(|d| d >= 2) => None,
        0 => Some(i32::try_from(brokers.min(REPLICAS)).unwrap_or(2)),
        stated => Some(stated),
    };
    let insync = brokers >= 2 && replication.is_none_or(|n| n >= 2);
    (replication, insync.then_some(2))
}

/// The name of a topic, and whether it was created.
type Made = (String, Result<bool, AdminError>);

/// The largest value that Kafka accepts for `max.message.bytes`.
const MOST_BYTES: i64 = i32::MAX as i64;

/// The `max.message.bytes` that a copy of the largest record needs, limited to what Kafka accepts.
fn copy_bytes(largest: u64) -> i64 {
    i64::try_from(largest.saturating_add(HEADROOM)).unwrap_or(MOST_BYTES).min(MOST_BYTES)
}

/// The settings with which missing topics are created.
pub(super) struct Plan {
    max_bytes: i64,
    /// `None`: the broker's default.
    replication: Option<i32>,
    insync: Option<i64>,
}

impl Plan {
    fn settings(&self, topic: &OwnedTopic) -> Vec<(&'static str, String)> {
        let mut settings = vec![("cleanup.policy", "delete".to_owned())];
        settings.extend(topic.keeps.settings().into_iter().map(|(key, ms)| (key, ms.to_string())));
        settings.push(("max.message.bytes", self.max_bytes.to_string()));
        settings.extend(self.insync.map(|n| ("min.insync.replicas", n.to_string())));
        settings
    }

    fn command(&self, topic: &OwnedTopic, brokers: &str) -> String {
        let mut command = format!(
            "kafka-topics.sh --bootstrap-server {brokers} --create --topic {} --partitions {}",
            topic.name, topic.partitions
        );
        if let Some(replication) = self.replication {
            command += &format!(" --replication-factor {replication}");
        }
        for (key, value) in self.settings(topic) {
            command += &format!(" --config {key}={value}");
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::Config;
    use crate::kafka::topics::owned::{Keeps, Waiting, owned_topics};

    const DAY: i64 = 24 * 3600 * 1000;

    #[test]
    fn the_command_for_a_missing_topic_is_complete_and_says_how_long_its_kind_is_kept() {
        let plan = Plan { max_bytes: 1_114_112, replication: Some(3), insync: Some(2) };
        let mut topic =
            OwnedTopic { name: "postback.dlt".into(), partitions: 3, single: false, least: 1, keeps: Keeps::Month };
        assert_eq!(
            plan.command(&topic, "kafka:9092"),
            "kafka-topics.sh --bootstrap-server kafka:9092 --create --topic postback.dlt --partitions 3 \
             --replication-factor 3 --config cleanup.policy=delete --config retention.ms=2592000000 \
             --config max.message.bytes=1114112 --config min.insync.replicas=2"
        );
        topic.keeps = Keeps::Waiting(Waiting { retention_ms: 11 * DAY, least_ms: 5 * DAY, window_ms: 12 * DAY });
        let command = plan.command(&topic, "kafka:9092");
        assert!(command.contains("--config retention.ms=950400000 --config segment.ms=43200000"), "{command}");
    }

    #[test]
    fn tiers_and_parking_are_kept_for_less_than_the_window_and_what_people_read_for_a_month() {
        let waiting = Waiting { retention_ms: 11 * DAY, least_ms: 5 * DAY, window_ms: 12 * DAY };
        let result_topics = vec!["answers".into()];
        let config = Config { receipts: "receipts".into(), result_topics, ..Config::stub("b:1", &[]) };
        let kept: Vec<_> = owned_topics(&config, &["5s"], &["acme"], &["acme"], waiting)
            .into_iter()
            .map(|t| (t.name, t.keeps))
            .collect();
        let waits = Keeps::Waiting(waiting);
        let expected = [
            ("postback.retry.5s", waits),
            ("postback.parked.acme", waits),
            ("postback.parked.acme.rollout", Keeps::Month),
            ("postback.dlt", Keeps::Month),
            ("postback.results", Keeps::Month),
            ("postback.audit", Keeps::Month),
            ("answers", Keeps::Month),
            ("receipts", Keeps::Month),
        ];
        assert_eq!(kept, expected.map(|(name, keeps)| (name.to_owned(), keeps)));
    }

    #[test]
    fn an_input_without_any_limit_of_size_asks_for_no_setting_that_kafka_refuses() {
        assert_eq!(copy_bytes(1_048_588), 1_048_588 + 65_536);
        for largest in [2_147_483_647, 2_147_483_647 - 65_535, u64::MAX] {
            assert_eq!(copy_bytes(largest), 2_147_483_647, "{largest}");
        }
    }

    #[test]
    fn what_is_made_has_replicas_enough_for_the_next_look() {
        // The columns: brokers, the stated replication, the broker's default; then the replicas and
        // `min.insync.replicas`.
        let rows = [
            (1, 0, None, None, None),
            (1, 0, Some(3), None, None),
            (1, 1, None, Some(1), None),
            (3, 0, Some(3), None, Some(2)),
            (3, 0, Some(1), Some(3), Some(2)),
            (2, 0, None, Some(2), Some(2)),
            (5, 0, None, Some(3), Some(2)),
            (3, 2, Some(1), Some(2), Some(2)),
        ];
        for (brokers, stated, default, replication, insync) in rows {
            assert_eq!(replicas(brokers, stated, default), (replication, insync), "{brokers} {stated} {default:?}");
        }
    }
}

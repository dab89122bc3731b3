//! Asks the cluster from outside of the consumer groups: which topics exist, how they are set, and which offsets a
//! group has committed.
//!
//! Every function blocks, with a time limit: call it on a plain thread. The errors keep "no answer" and "an answer that
//! refuses" apart, because only an answer may refuse a start.

mod access;
pub(in crate::kafka) mod context;
mod ensure;
mod findings;
mod health;
mod keeper;
mod offsets;
mod owned;
mod positions;
mod reason;
mod retention;
mod sources;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, OwnedResourceSpecifier, ResourceSpecifier};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;

use self::context::Context;
use self::reason::Reason;
use crate::kafka::Config;
use crate::kafka::matching::Matching;
use crate::kafka::settings::{self, SettingsError};

pub use ensure::Ensured;
pub use findings::Level;
pub use health::Health;
pub use keeper::{OwnedTopics, keep};
pub use offsets::{OffsetByPartition, Offsets};
pub use owned::{OwnedTopic, Waiting, owned_topics};
pub use positions::PartitionName;
pub use retention::{Retention, watch_retention};
pub use sources::Sources;

pub(in crate::kafka) const TIMEOUT: Duration = Duration::from_secs(5);

/// Why the cluster did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminError {
    /// No broker answered, or not yet. Ask again.
    NoAnswer(String),
    /// A broker answered, and refused.
    Refused(String),
    /// The group has members. Its positions can be set from outside only while it has none.
    GroupActive,
}

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AdminError::NoAnswer(text) => write!(f, "no answer from Kafka: {text}"),
            AdminError::Refused(text) => write!(f, "Kafka refused: {text}"),
            AdminError::GroupActive => f.write_str("the consumer group has members"),
        }
    }
}

impl std::error::Error for AdminError {}

impl From<KafkaError> for AdminError {
    fn from(error: KafkaError) -> Self {
        let code = match &error {
            KafkaError::AdminOp(code) => Some(*code),
            other => other.rdkafka_error_code(),
        };
        match code {
            Some(code) => AdminError::of(code, error.to_string()),
            None => AdminError::Refused(error.to_string()),
        }
    }
}

impl AdminError {
    fn of(code: RDKafkaErrorCode, text: String) -> Self {
        use RDKafkaErrorCode as Code;
        match code {
            Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::MessageTimedOut
            | Code::AllBrokersDown
            | Code::BrokerTransportFailure
            | Code::NetworkException
            | Code::Resolve
            | Code::WaitingForCoordinator
            | Code::CoordinatorNotAvailable
            | Code::CoordinatorLoadInProgress
            | Code::NotCoordinator
            | Code::NotController
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::BrokerNotAvailable
            | Code::OffsetNotAvailable
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::KafkaStorageError
            | Code::UnstableOffsetCommit
            | Code::ThrottlingQuotaExceeded
            | Code::Outdated
            | Code::WaitCache => AdminError::NoAnswer(text),
            Code::UnknownMemberId | Code::IllegalGeneration | Code::RebalanceInProgress => AdminError::GroupActive,
            _ => AdminError::Refused(text),
        }
    }
}

/// A topic as the cluster's metadata describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    pub name: String,
    /// The number of partitions.
    pub partitions: i32,
    /// The smallest number of replicas that one of its partitions has.
    pub replication: usize,
}

/// The settings of a topic that matter to the worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicSettings {
    /// `retention.ms`; -1 means for ever.
    pub retention_ms: Option<i64>,
    /// `segment.ms`. The last records of a segment are kept longer by up to this time.
    pub segment_ms: Option<i64>,
    pub cleanup_policy: String,
    pub max_message_bytes: Option<i64>,
    pub min_insync_replicas: Option<i64>,
}

/// A client that asks the cluster.
pub struct Cluster {
    admin: AdminClient<Context>,
    reason: Reason,
    config: Config,
    matching: Matching,
}

impl Cluster {
    /// Creates the client without asking a broker.
    ///
    /// # Errors
    /// Fails if the settings are refused.
    pub fn new(config: &Config) -> Result<Self, SettingsError> {
        let client = settings::admin(config, None)?;
        let admin = client.create_with_context(Context).map_err(|e| SettingsError::Refused(e.to_string()))?;
        let matching = Matching::new(config).map_err(|error| SettingsError::Pattern(error.to_string()))?;
        Ok(Self { admin, reason: Reason::default(), config: config.clone(), matching })
    }

    /// Decides which topics are inputs, and which belong to the worker itself.
    pub fn matching(&self) -> &Matching {
        &self.matching
    }

    /// How many brokers the cluster has.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn broker_count(&self) -> Result<usize, AdminError> {
        Ok(self.metadata()?.brokers().len())
    }

    /// Every existing topic that `kafka.input` names, by name or by pattern.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn inputs(&self) -> Result<Vec<TopicInfo>, AdminError> {
        Ok(self.topics()?.into_iter().filter(|topic| self.matching.is_input(&topic.name)).collect())
    }

    /// Every topic of the cluster whose metadata states no error.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn topics(&self) -> Result<Vec<TopicInfo>, AdminError> {
        let metadata = self.metadata()?;
        let topics = metadata.topics().iter().filter(|t| t.error().is_none());
        Ok(topics
            .map(|t| TopicInfo {
                name: t.name().to_owned(),
                partitions: i32::try_from(t.partitions().len()).unwrap_or(i32::MAX),
                replication: t.partitions().iter().map(|p| p.replicas().len()).min().unwrap_or(0),
            })
            .collect())
    }

    /// The settings of these topics. The answer leaves out a topic that does not exist, that was created this very
    /// moment, or that this client may not describe: the client library does not tell these cases apart.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn describe(&self, topics: &[&str]) -> Result<BTreeMap<String, TopicSettings>, AdminError> {
        let specifiers: Vec<_> = topics.iter().map(|t| ResourceSpecifier::Topic(t)).collect();
        let mut described = BTreeMap::new();
        if specifiers.is_empty() {
            return Ok(described);
        }
        for answer in block_on(self.admin.describe_configs(&specifiers, &options()))? {
            let resource = match answer {
                Ok(resource) => resource,
                Err(RDKafkaErrorCode::UnknownTopicOrPartition) => continue,
                Err(code) => return Err(AdminError::of(code, code.to_string())),
            };
            let OwnedResourceSpecifier::Topic(name) = &resource.specifier else { continue };
            if resource.entries.is_empty() {
                continue;
            }
            let text = |key: &str| resource.get(key).and_then(|e| e.value.clone());
            let number = |key: &str| text(key).and_then(|v| v.parse().ok());
            let settings = TopicSettings {
                retention_ms: number("retention.ms"),
                segment_ms: number("segment.ms"),
                cleanup_policy: text("cleanup.policy").unwrap_or_default(),
                max_message_bytes: number("max.message.bytes"),
                min_insync_replicas: number("min.insync.replicas"),
            };
            described.insert(name.clone(), settings);
        }
        Ok(described)
    }

    fn metadata(&self) -> Result<Metadata, AdminError> {
        let asked = self.admin.inner().fetch_metadata(None, TIMEOUT);
        self.reason.listen(self.admin.inner(), asked.is_ok());
        asked.map_err(|error| match (AdminError::from(error), self.reason.get()) {
            (AdminError::NoAnswer(_), Some(why)) => AdminError::NoAnswer(why),
            (error, _) => error,
        })
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(TIMEOUT))
}

/// Waits for one of the client's futures. The client's own threads complete it, so no async runtime is needed.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut TaskContext::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

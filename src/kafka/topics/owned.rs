//! The topics that the worker writes, and how long each of them keeps its records.

use crate::kafka::{Config, REMAINDER_PARTITIONS, parking_topic, remainder_topic, tier_topic};

/// The retention of topics that only people read, and of remainders.
pub(super) const MONTH_MS: i64 = 30 * 24 * 3600 * 1000;
/// The segment length of topics with waiting records. Kafka deletes a segment as a whole, once its last record may be
/// deleted, so that this time adds to the retention. It is shorter than the day by which the retention is shorter than
/// the window.
pub(super) const SEGMENT_MS: i64 = 12 * 3600 * 1000;
/// How long a topic with waiting records keeps them, in ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The retention with which the topic is created. It is shorter than the window, so that no record outlives the
    /// claim that says it was sent.
    pub retention_ms: i64,
    /// The shortest retention that deletes no record that still waits.
    pub least_ms: i64,
    /// How long a confirmed key is remembered.
    pub window_ms: i64,
}

/// How long a topic keeps its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// Records that only people read, or that were never sent: 30 days.
    Month,
    /// Records that come back to be sent.
    Waiting(Waiting),
}

impl Keeps {
    /// The settings of the topic that follow from this.
    pub(super) fn settings(self) -> Vec<(&'static str, i64)> {
        match self {
            Keeps::Month => vec![("retention.ms", MONTH_MS)],
            Keeps::Waiting(waiting) => vec![("retention.ms", waiting.retention_ms), ("segment.ms", SEGMENT_MS)],
        }
    }
}

/// A topic that the worker writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedTopic {
    pub name: String,
    /// The number of partitions with which it is created.
    pub partitions: i32,
    /// Whether the topic must have exactly one partition, because its readers rely on the order of its records.
    pub single: bool,
    /// The fewest partitions that it may have, because its records are written to partitions by number.
    pub least: i32,
    /// How long the topic keeps its records.
    pub keeps: Keeps,
}

/// Every topic that these tiers and accounts need. `remainders` are the accounts of which only a part is sent.
pub fn owned_topics(
    config: &Config,
    tiers: &[&str],
    accounts: &[&str],
    remainders: &[&str],
    waiting: Waiting,
) -> Vec<OwnedTopic> {
    let keeps = Keeps::Waiting(waiting);
    let wide = |name, keeps| OwnedTopic { name, partitions: config.partitions.max(1), single: false, least: 1, keeps };
    let mut topics: Vec<_> = tiers.iter().map(|tier| wide(tier_topic(&config.retry_prefix, tier), keeps)).collect();
    topics.extend(accounts.iter().map(|account| OwnedTopic {
        name: parking_topic(&config.parked_prefix, account),
        partitions: 1,
        single: true,
        least: 1,
        keeps,
    }));
    // Nothing in a remainder was ever sent, so there is no claim that it must not outlive.
    topics.extend(remainders.iter().map(|account| OwnedTopic {
        name: remainder_topic(&config.parked_prefix, account),
        partitions: REMAINDER_PARTITIONS,
        single: false,
        least: REMAINDER_PARTITIONS,
        keeps: Keeps::Month,
    }));
    topics.push(wide(config.dead_letter.clone(), Keeps::Month));
    topics.push(wide(config.results.clone(), Keeps::Month));
    // One partition keeps the changes in their order.
    topics.push(OwnedTopic { name: config.audit.clone(), partitions: 1, single: false, least: 1, keeps: Keeps::Month });
    topics.extend(config.result_topics.iter().map(|topic| wide(topic.clone(), Keeps::Month)));
    if !config.receipts.is_empty() {
        topics.push(wide(config.receipts.clone(), Keeps::Month));
    }
    topics
}

//! The topics that the worker writes, and how long each keeps its records.

use crate::kafka::{Config, parking_topic, tier_topic};

/// Of what people read, days after it was written.
pub(super) const MONTH_MS: i64 = 30 * 24 * 3600 * 1000;
/// Of what waits: a segment goes as a whole, once its last record may, so that this is added to the retention. It stays
/// below the day by which the retention falls short of the window.
pub(super) const SEGMENT_MS: i64 = 12 * 3600 * 1000;
/// How long a topic of what waits keeps its records, ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// What it is made with: shorter than the window, so that no record outlives the claim that tells it was sent.
    pub retention_ms: i64,
    /// What is needed, lest records that still wait are deleted.
    pub least_ms: i64,
    /// How long a confirmed key is remembered.
    pub window_ms: i64,
}

/// How long a topic keeps its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// What only people read: 30 days.
    Month,
    /// What comes back to be sent.
    Waiting(Waiting),
}

impl Keeps {
    /// The settings that it comes to.
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
    /// Partitions it is created with.
    pub partitions: i32,
    /// Exactly one partition: oldest first is a promise of its readers.
    pub single: bool,
    /// How long it keeps its records.
    pub keeps: Keeps,
}

/// Every topic that these tiers and accounts need.
pub fn owned_topics(config: &Config, tiers: &[&str], accounts: &[&str], waiting: Waiting) -> Vec<OwnedTopic> {
    let keeps = Keeps::Waiting(waiting);
    let wide = |name, keeps| OwnedTopic { name, partitions: config.partitions.max(1), single: false, keeps };
    let mut topics: Vec<_> = tiers.iter().map(|tier| wide(tier_topic(&config.retry_prefix, tier), keeps)).collect();
    topics.extend(accounts.iter().map(|account| OwnedTopic {
        name: parking_topic(&config.parked_prefix, account),
        partitions: 1,
        single: true,
        keeps,
    }));
    topics.push(wide(config.dead_letter.clone(), Keeps::Month));
    if !config.receipts.is_empty() {
        topics.push(wide(config.receipts.clone(), Keeps::Month));
    }
    topics
}

//! The numbers of partitions, which come and go with their assignment.
//!
//! They are plain ones that get their names only when they are shown: a series of the metrics library takes about a
//! kilobyte, a partition has five, and each account has a parking topic.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::families::{self, Family};

/// The families that this file writes.
pub(super) const FAMILIES: [&Family; 5] = [
    &families::LAG_RECORDS,
    &families::LAG_SECONDS,
    &families::COMMIT_AGE,
    &families::RETENTION_HEADROOM,
    &families::RETENTION,
];

/// What the owner of a partition knows of it. What is unknown has no series, because 0 would say that there is no lag.
#[derive(Clone, Debug, PartialEq)]
pub struct PartitionMetrics {
    pub topic: Arc<str>,
    pub partition: i32,
    pub lag_records: Option<i64>,
    pub lag_seconds: Option<f64>,
    /// In seconds.
    pub commit_age: f64,
    /// How long the topic keeps its records, and from now on the oldest unfinished one, in seconds. `None` too where it
    /// is unlimited.
    pub retention: Option<f64>,
    pub headroom: Option<f64>,
}

impl PartitionMetrics {
    /// In the order of [`FAMILIES`].
    fn values(&self) -> [Option<f64>; FAMILIES.len()] {
        let lag_records = self.lag_records.map(|lag| lag.max(0) as f64);
        let lag_seconds = self.lag_seconds.map(|lag| lag.max(0.0));
        [lag_records, lag_seconds, Some(self.commit_age.max(0.0)), self.headroom, self.retention]
    }
}

/// The partitions that this process owns.
#[derive(Default)]
pub(super) struct Partitions(Mutex<Vec<PartitionMetrics>>);

impl Partitions {
    pub(super) fn set(&self, owned: Vec<PartitionMetrics>) {
        *self.lock() = owned;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<PartitionMetrics>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes all of them. No name of a topic needs escaping: Kafka allows none of these characters there.
pub(super) fn write(text: &mut String, partitions: &Partitions) {
    let mut owned = partitions.lock();
    owned.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    for (at, family) in FAMILIES.into_iter().enumerate() {
        family.write_head(text);
        for partition in &*owned {
            if let Some(value) = partition.values()[at] {
                let (name, topic, number) = (family.name, &partition.topic, partition.partition);
                let _ = writeln!(text, "{name}{{partition=\"{number}\",topic=\"{topic}\"}} {value}");
            }
        }
    }
}

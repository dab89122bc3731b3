//! What the status and the metrics see of a consumer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::start_decision::{OwnPosition, Parked};
use crate::clock::now_ms;

/// A topic that was created again, and a position that was lost, are shown for a day, so that an operator can find out
/// what it cost.
pub(super) const SHOWN_MS: i64 = 24 * 3600 * 1000;

/// The latest snapshot. The polling thread writes it, and other threads read it.
#[derive(Debug)]
pub struct ConsumerView<S> {
    latest: Mutex<Arc<Snapshot<S>>>,
    lost: Mutex<HashMap<(Arc<str>, i32), i64>>,
}

impl<S> Default for ConsumerView<S> {
    fn default() -> Self {
        Self { latest: Mutex::default(), lost: Mutex::default() }
    }
}

impl<S> ConsumerView<S> {
    /// The latest snapshot. It is at most about a second old while the thread runs.
    pub fn snapshot(&self) -> Arc<Snapshot<S>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers that the group lost its committed offset of a partition that is read here, noticed at `at_ms` (epoch
    /// ms). The next snapshots show it.
    pub fn lost_position(&self, topic: &Arc<str>, partition: i32, at_ms: i64) {
        self.lost().insert((topic.clone(), partition), at_ms);
    }

    fn lost(&self) -> MutexGuard<'_, HashMap<(Arc<str>, i32), i64>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, mut snapshot: Snapshot<S>) {
        let mut lost = self.lost();
        if !lost.is_empty() {
            let now_ms = now_ms();
            lost.retain(|_, at| now_ms - *at < SHOWN_MS);
            for p in &mut snapshot.partitions {
                p.position_lost_ms = lost.get(&(p.topic.clone(), p.partition)).copied();
            }
        }
        drop(lost);
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
    }
}

/// The state of a consumer at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot<S> {
    /// The counters of the consumer.
    pub counts: Counts,
    /// The partitions that this member owns.
    pub partitions: Vec<PartitionView<S>>,
    /// For each group of records, since when its oldest unfinished record is open, by [`crate::clock::steady_ms`].
    pub oldest_by_group: HashMap<usize, i64>,
}

impl<S> Default for Snapshot<S> {
    fn default() -> Self {
        Self { counts: Counts::default(), partitions: Vec::new(), oldest_by_group: HashMap::new() }
    }
}

/// The counters of a consumer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// Whether the first rebalance is over.
    pub joined: bool,
    /// Commits and stores that were refused.
    pub commit_errors: u64,
    /// Offsets that were delivered twice in one assignment.
    pub repeats: u64,
    /// Revoked partitions that were given back while records were still under way.
    pub drains_expired: u64,
    /// For how long the broker has confirmed no commit, if that is too long. The worker sends nothing meanwhile.
    pub unconfirmed_for: Option<Duration>,
    /// The last error that the client reported.
    pub last_error: Option<String>,
}

/// One owned partition.
#[derive(Clone, Debug, PartialEq)]
pub struct PartitionView<S> {
    pub topic: Arc<str>,
    pub partition: i32,
    pub generation: u64,
    /// The lowest unfinished offset.
    pub frontier: Option<i64>,
    /// The position that the broker has confirmed.
    pub committed: Option<i64>,
    /// The next offset to read.
    pub position: Option<i64>,
    /// The end of the partition.
    pub high: Option<i64>,
    /// The number of records between the frontier and the end. For a parked partition, the existing records that are
    /// not committed. `None`: not known yet.
    pub lag_records: Option<i64>,
    /// The age of the oldest unfinished record. If there is none but there are more records, the age of the last record
    /// that was read, because the next one is no older. `None`: there are more records and none was read in this
    /// assignment, or it is unknown whether there are more.
    pub lag_seconds: Option<f64>,
    /// The time since the oldest stored position that no commit has covered.
    pub commit_age_seconds: f64,
    /// The oldest unfinished record.
    pub oldest: Option<Oldest<S>>,
    /// Why it is not read, if it is parked.
    pub parked: Option<Parked>,
    /// When another topic was found under the same name, in epoch ms.
    pub remade_ms: Option<i64>,
    /// When the worker found that the group had lost its position, in epoch ms. It is read again from its beginning.
    pub position_lost_ms: Option<i64>,
    /// How it began, if it belongs to a retry tier or a parking topic.
    pub own: Option<OwnPosition>,
    /// Whether no more records are read because too many were read beyond the oldest unfinished one.
    pub window_full: bool,
    /// The number of records that were read and are not finished.
    pub unfinished: usize,
}

#[cfg(test)]
impl<S> PartitionView<S> {
    /// Partition 3 of a topic. Every record of it was read and has ended.
    pub(crate) fn stub(topic: &str) -> Self {
        Self {
            topic: topic.into(),
            partition: 3,
            generation: 1,
            frontier: Some(5),
            committed: Some(5),
            position: Some(5),
            high: Some(5),
            lag_records: Some(0),
            lag_seconds: Some(0.0),
            commit_age_seconds: 0.0,
            oldest: None,
            parked: None,
            remade_ms: None,
            position_lost_ms: None,
            own: None,
            unfinished: 0,
            window_full: false,
        }
    }
}

/// The oldest unfinished record, which holds the frontier back.
#[derive(Clone, Debug, PartialEq)]
pub struct Oldest<S> {
    pub offset: i64,
    /// What is known of the work on it.
    pub work: S,
}

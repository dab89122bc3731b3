//! What status and metrics see of a consumer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::verdict::{OwnPosition, Parked};
use crate::kafka::now_ms;

/// A topic that was made again, and a position that was lost, are named for a day: what it cost is for a person to find out.
pub(super) const SHOWN_MS: i64 = 24 * 3600 * 1000;

/// The latest snapshot, shared by the polling thread and whoever looks.
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
    /// The latest snapshot: at most about a second old while the thread runs.
    pub fn snapshot(&self) -> Arc<Snapshot<S>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The group lost its committed offset of a partition that is read here; seen at `at_ms`, epoch ms. For the next
    /// snapshots.
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

/// A consumer at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot<S> {
    /// Of the consumer as a whole.
    pub counts: Counts,
    /// What this member owns.
    pub partitions: Vec<PartitionView<S>>,
    /// Per group of records: since when its oldest unfinished one is open, by [`crate::clock::steady_ms`].
    pub oldest_by_group: HashMap<usize, i64>,
}

impl<S> Default for Snapshot<S> {
    fn default() -> Self {
        Self { counts: Counts::default(), partitions: Vec::new(), oldest_by_group: HashMap::new() }
    }
}

/// What is counted of a consumer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// The first rebalance is over.
    pub joined: bool,
    /// Commits and stores that were refused.
    pub commit_errors: u64,
    /// Offsets that were handed over twice in one assignment.
    pub repeats: u64,
    /// Revoked partitions that were handed back with work under way.
    pub drains_expired: u64,
    /// For how long the broker has confirmed no commit, where that is too long: nothing is sent meanwhile.
    pub unconfirmed_for: Option<Duration>,
    /// The client's last complaint.
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
    /// What the broker has confirmed.
    pub committed: Option<i64>,
    /// The next offset to be read.
    pub position: Option<i64>,
    /// The end of the partition.
    pub high: Option<i64>,
    /// Records between frontier and end; of a partition that is parked, those that are still there and not committed.
    /// `None`: not known yet.
    pub lag_records: Option<i64>,
    /// Age of the oldest unfinished record; without one, of the last record read while there are more: the next one is no
    /// older. `None`: there are more than were read, and none was read in this assignment, or it is not known whether there are.
    pub lag_seconds: Option<f64>,
    /// Since the oldest stored position that no commit has covered.
    pub commit_age_seconds: f64,
    /// The oldest unfinished record.
    pub oldest: Option<Oldest<S>>,
    /// Why it is not read.
    pub parked: Option<Parked>,
    /// Since when its topic is another one under the known name, epoch ms.
    pub remade_ms: Option<i64>,
    /// When it was found that the group had lost its position, epoch ms: it is read again from its beginning.
    pub position_lost_ms: Option<i64>,
    /// How it began, where it is of a tier or a parking topic.
    pub own: Option<OwnPosition>,
    /// Records read and not finished.
    pub unfinished: usize,
}

/// The record that holds a frontier back.
#[derive(Clone, Debug, PartialEq)]
pub struct Oldest<S> {
    pub offset: i64,
    /// What is known of the work on it.
    pub work: S,
}

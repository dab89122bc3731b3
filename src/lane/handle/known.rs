//! Which accounts received records from which topic in the last seven days, as all members of the group know it. Redis
//! stores it, so that neither a restart nor a rebalance forgets an account that receives seldom.
//!
//! There is one key for each topic and account. Redis itself lets the key expire, so no member's clock matters.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A lane counts as a lane of a topic for this long after its last record. An account may receive one record a day, and
/// that record must not wait behind those of a lane that hangs.
pub const LATELY: Duration = Duration::from_secs(7 * 24 * 3600);
/// The time between two reads of a topic.
const READ_EVERY: Duration = Duration::from_secs(60);

/// What is known of each topic. The consumers that read topics share it with the coordinator, which talks to Redis.
#[derive(Default)]
pub struct Known {
    version: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    topics: HashMap<Arc<str>, Topic>,
    /// Arrivals that Redis does not know yet.
    news: HashSet<(Arc<str>, usize)>,
}

#[derive(Default)]
struct Topic {
    lanes: Arc<[usize]>,
    read_at: Option<Instant>,
}

impl Known {
    /// Begins to read from Redis what is known of this topic, because this process consumes it.
    pub(crate) fn want(&self, topic: &Arc<str>) {
        self.lock().topics.entry(topic.clone()).or_default();
    }

    /// Drops this topic, because this process no longer consumes it.
    pub(crate) fn forget(&self, topic: &str) {
        self.lock().topics.remove(topic);
    }

    /// Remembers that a record of this topic arrived for this lane.
    pub(crate) fn note(&self, topic: &Arc<str>, lane: usize) {
        self.lock().news.insert((topic.clone(), lane));
    }

    /// A number that changes with each read.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(SeqCst)
    }

    /// The lanes that received records from the topic, as last read.
    pub(crate) fn lanes(&self, topic: &str) -> Arc<[usize]> {
        self.lock().topics.get(topic).map(|t| t.lanes.clone()).unwrap_or_default()
    }

    /// At most `most` arrivals that Redis does not know yet.
    pub(crate) fn news(&self, most: usize) -> Vec<(Arc<str>, usize)> {
        self.lock().news.iter().take(most).cloned().collect()
    }

    /// Removes these arrivals, because Redis knows them now.
    pub(crate) fn told(&self, news: &[(Arc<str>, usize)]) {
        let mut inner = self.lock();
        news.iter().for_each(|one| _ = inner.news.remove(one));
    }

    /// The topics that are due to be read.
    pub(crate) fn due(&self) -> Vec<Arc<str>> {
        let due = |t: &Topic| t.read_at.is_none_or(|at| at.elapsed() >= READ_EVERY);
        self.lock().topics.iter().filter(|(_, t)| due(t)).map(|(name, _)| name.clone()).collect()
    }

    /// Stores what Redis knows of a topic.
    pub(crate) fn set(&self, topic: &str, lanes: Vec<usize>) {
        if let Some(known) = self.lock().topics.get_mut(topic) {
            *known = Topic { lanes: lanes.into(), read_at: Some(Instant::now()) };
        }
        self.version.fetch_add(1, SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Who received from which topic in the last seven days, as all members know it: kept in Redis, so that neither a restart
//! nor a rebalance forgets an account that receives seldom.
//!
//! One key per topic and account, which Redis itself lets expire: no clock of a member counts.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A lane counts as one of a topic for so long after its last arrival. An account may receive once a day, and its record
/// must not wait behind those of one that hangs.
pub const LATELY: Duration = Duration::from_secs(7 * 24 * 3600);
/// Between two reads of a topic.
const READ_EVERY: Duration = Duration::from_secs(60);

/// Shared by those who read topics and the one who speaks with Redis.
#[derive(Default)]
pub struct Known {
    version: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    topics: HashMap<Arc<str>, Topic>,
    /// Arrivals that Redis does not know of yet.
    news: HashSet<(Arc<str>, usize)>,
}

#[derive(Default)]
struct Topic {
    lanes: Arc<[usize]>,
    read_at: Option<Instant>,
}

impl Known {
    /// This topic is read here: what is known of it is asked for.
    pub(crate) fn want(&self, topic: &Arc<str>) {
        self.lock().topics.entry(topic.clone()).or_default();
    }

    /// This topic is read here no more.
    pub(crate) fn forget(&self, topic: &str) {
        self.lock().topics.remove(topic);
    }

    /// A record of this topic came for this lane.
    pub(crate) fn note(&self, topic: &Arc<str>, lane: usize) {
        self.lock().news.insert((topic.clone(), lane));
    }

    /// Changes with each read.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(SeqCst)
    }

    /// Lanes that received from it, as last read.
    pub(crate) fn lanes(&self, topic: &str) -> Arc<[usize]> {
        self.lock().topics.get(topic).map(|t| t.lanes.clone()).unwrap_or_default()
    }

    /// Arrivals that Redis does not know of yet, at most so many.
    pub(crate) fn news(&self, most: usize) -> Vec<(Arc<str>, usize)> {
        self.lock().news.iter().take(most).cloned().collect()
    }

    /// Redis knows of these.
    pub(crate) fn told(&self, news: &[(Arc<str>, usize)]) {
        let mut inner = self.lock();
        news.iter().for_each(|one| _ = inner.news.remove(one));
    }

    /// Topics that are to be read.
    pub(crate) fn due(&self) -> Vec<Arc<str>> {
        let due = |t: &Topic| t.read_at.is_none_or(|at| at.elapsed() >= READ_EVERY);
        self.lock().topics.iter().filter(|(_, t)| due(t)).map(|(name, _)| name.clone()).collect()
    }

    /// What Redis knows of a topic.
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

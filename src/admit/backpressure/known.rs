//! Who received from which topic in the last seven days, as all members know it: kept in Redis, so that neither a restart
//! nor a rebalance forgets an account that receives seldom.
//!
//! One key per topic and account, which Redis itself lets expire: no clock of a member counts.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ::redis::RedisResult;
use ::redis::aio::MultiplexedConnection;

use crate::admit::backpressure::LATELY;
use crate::lane::handle::Lanes;
use crate::operate::Keys;

/// Between two reads of a topic.
const READ_EVERY: Duration = Duration::from_secs(60);
/// Keys in one command or pipeline.
const AT_ONCE: usize = 1_000;

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

    /// Writes what is new and reads what is due. To be called each second or so.
    ///
    /// # Errors
    /// Redis does not answer: what is new stays so.
    pub async fn exchange(&self, c: &mut MultiplexedConnection, keys: &Keys, lanes: &Lanes) -> RedisResult<()> {
        let news: Vec<_> = self.lock().news.iter().take(AT_ONCE).cloned().collect();
        if !news.is_empty() {
            let mut pipe = ::redis::pipe();
            for (topic, lane) in &news {
                let key = keys.arrived(topic, &lanes.get(*lane).account.name);
                pipe.cmd("SET").arg(key).arg(1).arg("PX").arg(LATELY.as_millis() as u64).ignore();
            }
            let () = pipe.query_async(c).await?;
            let mut inner = self.lock();
            news.iter().for_each(|one| _ = inner.news.remove(one));
        }
        let due = |t: &Topic| t.read_at.is_none_or(|at| at.elapsed() >= READ_EVERY);
        let topics: Vec<_> = self.lock().topics.iter().filter(|(_, t)| due(t)).map(|(name, _)| name.clone()).collect();
        for topic in topics {
            let found = read(c, keys, &topic, lanes).await?;
            if let Some(known) = self.lock().topics.get_mut(&topic) {
                *known = Topic { lanes: found.into(), read_at: Some(Instant::now()) };
            }
            self.version.fetch_add(1, SeqCst);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(c: &mut MultiplexedConnection, keys: &Keys, topic: &str, lanes: &Lanes) -> RedisResult<Vec<usize>> {
    let all: Vec<_> = lanes.iter().map(|lane| (lane.index, keys.arrived(topic, &lane.account.name))).collect();
    let mut found = Vec::new();
    for some in all.chunks(AT_ONCE) {
        let mut get = ::redis::cmd("MGET");
        some.iter().for_each(|(_, key)| _ = get.arg(key));
        let values: Vec<Option<Vec<u8>>> = get.query_async(c).await?;
        found.extend(some.iter().zip(values).filter(|(_, value)| value.is_some()).map(|((index, _), _)| *index));
    }
    Ok(found)
}

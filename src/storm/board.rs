//! Which topics are stopped, as this process knows it. The intake stops topics and obeys; the coordinator brings both
//! in line with Redis.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::storm::Storm;
use crate::storm::pass::{Left, Pass, Passes};

/// The token of each topic's last release. A token that differs from the one seen at a stop is newer than the stop.
pub type Releases = BTreeMap<String, String>;

/// The stopped topics. Every thread may use it.
#[derive(Default)]
pub struct Storms {
    /// The id of this replica.
    id: String,
    version: AtomicU64,
    inner: Mutex<Inner>,
    news: Notify,
}

#[derive(Default)]
struct Inner {
    stopped: BTreeMap<String, Storm>,
    /// Topics that were stopped here and that Redis does not know yet, each with the token of the last release before.
    unsaved: BTreeMap<String, Option<String>>,
    releases: Releases,
    passes: Passes,
}

/// What Redis holds: the stopped topics by name, the releases, and how many bad records may still pass.
pub type Found = (BTreeMap<String, Storm>, Releases, Left);

/// What changed at the last look into Redis.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Topics that another replica stopped.
    pub stopped: Vec<Storm>,
    /// Topics that are read on.
    pub released: Vec<String>,
}

impl Storms {
    /// No topic is stopped. `id` is the id of this replica.
    pub fn new(id: &str) -> Self {
        Self { id: id.to_owned(), ..Self::default() }
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// A number that changes whenever the stopped topics change, or those that wait for a share.
    pub fn version(&self) -> u64 {
        self.version.load(SeqCst)
    }

    /// The stopped topics, by name.
    pub fn all(&self) -> Vec<Storm> {
        self.lock().stopped.values().cloned().collect()
    }

    /// The names of the stopped topics.
    pub fn topics(&self) -> BTreeSet<String> {
        self.lock().stopped.keys().cloned().collect()
    }

    pub fn is_stopped(&self, topic: &str) -> bool {
        self.lock().stopped.contains_key(topic)
    }

    /// Stops a topic in this process at once. Redis is told afterwards, as soon as it answers. `false`: it was stopped
    /// already.
    pub fn stop(&self, storm: Storm) -> bool {
        let mut inner = self.lock();
        if inner.stopped.contains_key(&storm.topic) {
            return false;
        }
        let seen = inner.releases.get(&storm.topic).cloned();
        inner.unsaved.insert(storm.topic.clone(), seen);
        inner.stopped.insert(storm.topic.clone(), storm);
        drop(inner);
        self.version.fetch_add(1, SeqCst);
        self.news.notify_one();
        true
    }

    /// Waits until a topic is stopped here, or asks for a share.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    /// The topics that Redis does not know to be stopped, each with the token of the last release before.
    pub fn unsaved(&self) -> Vec<(Storm, Option<String>)> {
        let inner = self.lock();
        let stop = |(topic, seen): (&String, &Option<String>)| Some((inner.stopped.get(topic)?.clone(), seen.clone()));
        inner.unsaved.iter().filter_map(stop).collect()
    }

    /// Reports that Redis knows of this stop, or has released the topic since.
    pub fn saved(&self, topic: &str) {
        self.lock().unsaved.remove(topic);
    }

    /// Decides whether a bad record passes without being judged. If it asks, [`Storms::news`] tells of it.
    pub fn pass(&self, topic: &str) -> Pass {
        let pass = self.lock().passes.one(topic);
        if pass == Pass::Asks {
            self.news.notify_one();
        }
        pass
    }

    /// The topics that wait for a share of what may pass.
    pub fn asking(&self) -> BTreeSet<String> {
        self.lock().passes.asking().cloned().collect()
    }

    /// The same, each with the size of the share.
    pub fn wanted(&self) -> Vec<(String, u64)> {
        let inner = self.lock();
        inner.passes.asking().map(|topic| (topic.clone(), inner.passes.wanted(topic))).collect()
    }

    /// Adds a share that was taken of what Redis had, and what it has left.
    pub fn give(&self, topic: &str, share: u64, left: u64) {
        self.lock().passes.give(topic, share, left);
        self.version.fetch_add(1, SeqCst);
    }

    /// Takes over what Redis holds. A stop that Redis does not know yet stays; and if the store has `forgotten`
    /// everything, so does what was known before, unless the topic was released since. A share ends with the next stop
    /// or release.
    pub fn obey(&self, (mut found, releases, left): Found, forgotten: bool) -> Changed {
        let mut inner = self.lock();
        for (topic, storm) in &inner.stopped {
            let release = releases.get(topic);
            let is_older = release.is_some() && release != inner.releases.get(topic);
            if inner.unsaved.contains_key(topic) || (forgotten && !is_older) {
                found.entry(topic.clone()).or_insert_with(|| storm.clone());
            }
        }
        let stopped: Vec<_> =
            found.values().filter(|storm| !inner.stopped.contains_key(&storm.topic)).cloned().collect();
        let released: Vec<_> = inner.stopped.keys().filter(|topic| !found.contains_key(*topic)).cloned().collect();
        let Inner { releases: old, passes, .. } = &mut *inner;
        let is_answered = passes.obey(left, |topic| found.contains_key(topic) || releases.get(topic) != old.get(topic));
        let changed = inner.stopped != found || is_answered;
        inner.stopped = found;
        inner.releases = releases;
        drop(inner);
        if changed {
            self.version.fetch_add(1, SeqCst);
        }
        Changed { stopped, released }
    }

    /// The token of each topic's last release, as last read.
    pub fn releases(&self) -> Releases {
        self.lock().releases.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storm(topic: &str) -> Storm {
        Storm { topic: topic.into(), ..Storm::default() }
    }

    fn found(topics: &[&str]) -> BTreeMap<String, Storm> {
        topics.iter().map(|topic| ((*topic).to_owned(), storm(topic))).collect()
    }

    fn releases(token: &str) -> Releases {
        Releases::from([("t".into(), token.into())])
    }

    #[test]
    fn a_stop_that_redis_does_not_know_yet_stays_and_is_told_once() {
        let storms = Storms::new("r1");
        storms.obey((BTreeMap::new(), releases("1"), Left::new()), false);
        let before = storms.version();
        assert!(storms.stop(storm("t")) && !storms.stop(storm("t")));
        assert_ne!(storms.version(), before);
        assert_eq!(storms.unsaved(), [(storm("t"), Some("1".into()))]);
        assert_eq!(storms.obey((BTreeMap::new(), releases("1"), Left::new()), false), Changed::default());
        assert!(storms.is_stopped("t"));
        storms.saved("t");
        assert!(storms.unsaved().is_empty());
        assert_eq!(storms.obey((found(&["t"]), releases("1"), Left::new()), false), Changed::default());
        let version = storms.version();
        let released = Changed { stopped: vec![], released: vec!["t".into()] };
        assert_eq!(storms.obey((BTreeMap::new(), releases("2"), Left::new()), false), released);
        assert!(!storms.is_stopped("t") && storms.version() != version);
    }

    #[test]
    fn what_another_replica_stops_is_stopped_here_too() {
        let storms = Storms::new("r1");
        let changed = Changed { stopped: vec![storm("t")], released: vec![] };
        assert_eq!(storms.obey((found(&["t"]), Releases::new(), Left::new()), false), changed);
        assert_eq!((storms.topics(), storms.all().len()), (BTreeSet::from(["t".to_owned()]), 1));
        let version = storms.version();
        assert_eq!(storms.obey((found(&["t"]), Releases::new(), Left::new()), false), Changed::default());
        assert_eq!(storms.version(), version);
    }

    #[test]
    fn a_store_that_lost_its_data_releases_nothing_but_an_operator_does() {
        let storms = Storms::new("r1");
        storms.obey((found(&["t"]), releases("1"), Left::new()), false);
        storms.obey((BTreeMap::new(), Releases::new(), Left::new()), true);
        assert!(storms.is_stopped("t"), "the store was flushed");
        storms.obey((BTreeMap::new(), releases("2"), Left::new()), true);
        assert!(!storms.is_stopped("t"));
    }

    #[test]
    fn a_share_is_asked_for_and_ends_with_the_next_stop_or_release() {
        let storms = Storms::new("r1");
        let left = |left| Left::from([("t".into(), left)]);
        storms.obey((found(&["t"]), releases("1"), Left::new()), false);
        storms.obey((BTreeMap::new(), releases("2"), left(400)), false);
        assert_eq!((storms.pass("u"), storms.pass("t")), (Pass::Judged, Pass::Asks));
        assert_eq!((storms.asking().len(), storms.wanted()), (1, vec![("t".into(), 21)]));
        let version = storms.version();
        storms.give("t", 20, 380);
        assert!(storms.asking().is_empty() && storms.version() != version);
        storms.obey((BTreeMap::new(), releases("2"), left(380)), false);
        assert_eq!(storms.pass("t"), Pass::Passes);
        storms.obey((BTreeMap::new(), releases("3"), left(7)), false);
        assert_eq!(storms.pass("t"), Pass::Asks, "the share was of another order");
        let version = storms.version();
        storms.obey((BTreeMap::new(), releases("3"), Left::new()), false);
        assert!(storms.asking().is_empty() && storms.version() != version, "nothing is left to wait for");
        storms.obey((BTreeMap::new(), releases("4"), left(100)), false);
        storms.give("t", 10, 90);
        storms.obey((found(&["t"]), releases("4"), Left::new()), false);
        assert_eq!(storms.pass("t"), Pass::Judged);
    }
}

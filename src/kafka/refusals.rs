//! Topics of the worker that take no records: noted by whoever writes there, looked after by the keeper, named to people.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::kafka::now_ms;

/// An alarm that lasts is told again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// A topic that takes no records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which.
    pub topic: String,
    /// Since when, epoch ms.
    pub since_ms: i64,
    /// In words.
    pub why: String,
    /// Records that are held for it.
    pub records: usize,
}

struct Noted {
    since_ms: i64,
    told: Instant,
    why: String,
    records: usize,
    /// It does not exist, and could not be made.
    missing: bool,
}

/// All of them.
#[derive(Default)]
pub struct Refusals {
    noted: Mutex<BTreeMap<String, Noted>>,
    changed: Condvar,
}

impl Refusals {
    /// A record is held for a topic that refuses it, for as long as what is returned lives.
    pub fn hold(self: &Arc<Self>, topic: &str, why: &str) -> Held {
        self.lock_and_note(topic, why, |noted| noted.records += 1);
        Held { all: self.clone(), topic: topic.to_owned() }
    }

    /// Topics that do not exist and could not be made, each with the reason; all others exist.
    pub fn missing(&self, missing: &BTreeMap<String, String>) {
        for (topic, why) in missing {
            self.lock_and_note(topic, why, |noted| noted.missing = true);
        }
        let mut all = self.lock();
        for (_, noted) in all.iter_mut().filter(|(topic, _)| !missing.contains_key(*topic)) {
            noted.missing = false;
        }
        all.retain(|topic, noted| stays(topic, noted));
    }

    /// Every topic that takes no records now, by name.
    pub fn all(&self) -> Vec<Refusal> {
        let all = self.lock();
        let of = |(topic, noted): (&String, &Noted)| Refusal {
            topic: topic.clone(),
            since_ms: noted.since_ms,
            why: noted.why.clone(),
            records: noted.records,
        };
        all.iter().map(of).collect()
    }

    /// Waits for a topic that begins to refuse, at most for so long.
    pub fn wait(&self, at_most: Duration) {
        let all = self.lock();
        let before = all.len();
        // A topic less and another one more in the same moment is noticed at the next look.
        let _ = self.changed.wait_timeout_while(all, at_most, |all| all.len() <= before);
    }

    fn lock_and_note(&self, topic: &str, why: &str, change: impl FnOnce(&mut Noted)) {
        let mut all = self.lock();
        let is_new = !all.contains_key(topic);
        let noted = match all.entry(topic.to_owned()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(Noted {
                since_ms: now_ms(),
                told: Instant::now(),
                why: String::new(),
                records: 0,
                missing: false,
            }),
        };
        change(noted);
        why.clone_into(&mut noted.why);
        if is_new || noted.told.elapsed() >= AGAIN_AFTER {
            noted.told = Instant::now();
            tracing::error!(
                topic,
                error = why,
                records = noted.records,
                "a topic takes no records: what belongs there is held, and holds its lane; mend the topic or the rights on it"
            );
        }
        if is_new {
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Noted>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stays(topic: &str, noted: &Noted) -> bool {
    let stays = noted.missing || noted.records > 0;
    if !stays {
        tracing::info!(topic, "the topic takes records again");
    }
    stays
}

/// One record that is held for a topic.
pub struct Held {
    all: Arc<Refusals>,
    topic: String,
}

impl Held {
    /// It was refused again.
    pub fn again(&self, why: &str) {
        self.all.lock_and_note(&self.topic, why, |_| {});
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        if let Entry::Occupied(mut noted) = all.entry(std::mem::take(&mut self.topic)) {
            noted.get_mut().records = noted.get().records.saturating_sub(1);
            if !stays(noted.key(), noted.get()) {
                noted.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(refusals: &Refusals) -> Vec<(String, String, usize)> {
        refusals.all().into_iter().map(|r| (r.topic, r.why, r.records)).collect()
    }

    #[test]
    fn a_topic_is_named_for_as_long_as_a_record_is_held_for_it_or_it_is_missing() {
        let refusals = Arc::new(Refusals::default());
        let entry = |why: &str, records| vec![("t".to_owned(), why.to_owned(), records)];
        let one = refusals.hold("t", "gone");
        let two = refusals.hold("t", "no rights");
        assert_eq!(shown(&refusals), entry("no rights", 2));
        one.again("gone");
        drop(one);
        assert_eq!(shown(&refusals), entry("gone", 1));
        let missing = BTreeMap::from([("t".to_owned(), "missing".to_owned())]);
        refusals.missing(&missing);
        drop(two);
        assert_eq!(shown(&refusals), entry("missing", 0));
        refusals.missing(&BTreeMap::new());
        assert_eq!(shown(&refusals), []);
    }

    #[test]
    fn whoever_waits_is_told_of_a_topic_that_begins_to_refuse() {
        let refusals = Arc::new(Refusals::default());
        let noting = refusals.clone();
        let began = Instant::now();
        let noted = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            noting.hold("t", "gone")
        });
        refusals.wait(Duration::from_secs(300));
        assert!(began.elapsed() < Duration::from_secs(200), "it waited to the end");
        assert_eq!(shown(&refusals).len(), 1);
        drop(noted.join().unwrap());
    }
}

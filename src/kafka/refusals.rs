//! The worker's own topics that take no records. The code that writes to a topic reports the refusal here, the keeper
//! tries to repair the topic, and the status shows it to operators.

mod spell;
mod turn;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use self::spell::Spell;
pub use self::turn::Turn;
use crate::clock::now_ms;
use crate::kafka::topics::Health;

/// The log repeats an alarm that lasts after this time.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// The end of the message for operators, after the reason.
const PUTS_OFF: &str = "; what belongs there waits in the retry tiers, and one record each 5 s tries it";

/// A topic that takes no records now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRefusal {
    pub topic: String,
    /// Since when the topic takes no records, in epoch ms.
    pub since_ms: i64,
    pub why: String,
    /// The number of records that are held because of this topic.
    pub records: usize,
}

struct RefusingTopic {
    since_ms: i64,
    /// When the log last reported the topic.
    told: Option<Instant>,
    why: String,
    records: usize,
    /// The topic does not exist and could not be created.
    missing: bool,
    /// The topic refuses one write after another.
    spell: Option<Spell>,
}

impl RefusingTopic {
    fn new(since_ms: i64) -> Self {
        Self { since_ms, told: None, why: String::new(), records: 0, missing: false, spell: None }
    }

    fn puts_off(&self) -> bool {
        self.spell.as_ref().is_some_and(|spell| spell.puts_off)
    }

    /// Whether operators have to be told of the topic now.
    fn is_alarm(&self) -> bool {
        self.missing || self.records > 0 || self.puts_off()
    }

    /// The reason, and the place where records of this topic wait if they do not wait in memory.
    fn told_why(&self) -> String {
        format!("{}{}", self.why, if self.puts_off() { PUTS_OFF } else { "" })
    }
}

/// Every topic that takes no records now.
#[derive(Default)]
pub struct Refusals {
    topics: Mutex<BTreeMap<String, RefusingTopic>>,
    changed: Condvar,
    /// Health of Kafka as a whole: while Kafka is away, no single topic is to blame. With `None`, Kafka counts as up.
    kafka: Option<Arc<Health>>,
}

impl Refusals {
    /// Starts with no refusal. `kafka` distinguishes a topic that refuses from a Kafka that is away.
    pub fn new(kafka: Arc<Health>) -> Self {
        Self { kafka: Some(kafka), ..Self::default() }
    }

    /// Counts a record as held because a topic refuses it, until the returned guard is dropped.
    pub fn hold(self: &Arc<Self>, topic: &str, why: &str) -> RefusedRecord {
        self.lock_and_change(topic, Some(why), |refusing| refusing.records += 1);
        RefusedRecord { all: self.clone(), topic: topic.to_owned() }
    }

    /// Reports the topics that do not exist and could not be created, each with the reason. All other topics exist.
    pub fn missing(&self, missing: &BTreeMap<String, String>) {
        for (topic, why) in missing {
            self.lock_and_change(topic, Some(why), |refusing| refusing.missing = true);
        }
        let mut all = self.lock();
        for (_, refusing) in all.iter_mut().filter(|(topic, _)| !missing.contains_key(*topic)) {
            refusing.missing = false;
        }
        all.retain(|topic, refusing| stays(topic, refusing));
    }

    /// Every topic that takes no records now, in the order of names.
    pub fn all(&self) -> Vec<TopicRefusal> {
        let mut all = self.lock();
        all.retain(|topic, refusing| stays(topic, refusing));
        let of = |(topic, refusing): (&String, &RefusingTopic)| TopicRefusal {
            topic: topic.clone(),
            since_ms: refusing.since_ms,
            why: refusing.told_why(),
            records: refusing.records,
        };
        all.iter().filter(|(_, refusing)| refusing.is_alarm()).map(of).collect()
    }

    /// Waits until another topic begins to refuse, at most this long.
    pub fn wait(&self, at_most: Duration) {
        let all = self.lock();
        let before = all.len();
        // If one topic recovers and another begins to refuse in the same moment, this wait does not notice. The next
        // look does.
        let _ = self.changed.wait_timeout_while(all, at_most, |all| all.len() <= before);
    }

    fn lock_and_change(&self, topic: &str, why: Option<&str>, change: impl FnOnce(&mut RefusingTopic)) {
        let mut all = self.lock();
        let refusing = all.entry(topic.to_owned()).or_insert_with(|| RefusingTopic::new(now_ms()));
        change(refusing);
        if let Some(why) = why {
            why.clone_into(&mut refusing.why);
        }
        let is_new = refusing.told.is_none();
        if refusing.told.is_none_or(|told| told.elapsed() >= AGAIN_AFTER) {
            refusing.told = Some(Instant::now());
            tracing::error!(
                topic,
                error = refusing.told_why(),
                records = refusing.records,
                "a topic takes no records: what belongs there is held with its lane, or put off; mend the topic or the rights on it"
            );
        }
        if is_new {
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, RefusingTopic>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stays(topic: &str, refusing: &RefusingTopic) -> bool {
    if refusing.missing || refusing.records > 0 {
        return true;
    }
    match &refusing.spell {
        Some(spell) if !spell.is_over() => return true,
        // If the log never reported the topic, it does not report the recovery either.
        _ if refusing.told.is_none() => {}
        Some(_) => tracing::info!(topic, "nothing waits for the topic any more; whether it takes records is not known"),
        None => tracing::info!(topic, "the topic takes records again"),
    }
    false
}

/// Counts one record as held for a topic, until this guard is dropped.
pub struct RefusedRecord {
    all: Arc<Refusals>,
    topic: String,
}

impl RefusedRecord {
    /// Reports that the topic refused the record again.
    pub fn again(&self, why: &str) {
        self.all.lock_and_change(&self.topic, Some(why), |_| {});
    }
}

impl Drop for RefusedRecord {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        if let Entry::Occupied(mut refusing) = all.entry(std::mem::take(&mut self.topic)) {
            refusing.get_mut().records = refusing.get().records.saturating_sub(1);
            if !stays(refusing.key(), refusing.get()) {
                refusing.remove();
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
        let refusing = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            noting.hold("t", "gone")
        });
        refusals.wait(Duration::from_secs(300));
        assert!(began.elapsed() < Duration::from_secs(200), "it waited to the end");
        assert_eq!(shown(&refusals).len(), 1);
        drop(refusing.join().unwrap());
    }
}

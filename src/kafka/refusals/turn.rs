//! A topic that refuses one write after another: its records are put off, and one record at a time tries the topic.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::spell::{BACK_WITHIN, Spell, TRY_EVERY};
use super::{Refusals, RefusingTopic};
use crate::clock::now_ms;

/// What to do with a record that is to be written to a topic.
pub enum Turn {
    Write,
    /// The topic has refused for long. Write this record to try the topic.
    Try(Trying),
    /// The topic has refused for this long. Put the record off.
    PutOff(Duration),
}

/// The permit of one record to try a topic. The attempt lasts until this guard is dropped.
pub struct Trying {
    all: Arc<Refusals>,
    topic: String,
}

impl Drop for Trying {
    fn drop(&mut self) {
        if let Some(spell) = self.all.lock().get_mut(&self.topic).and_then(|refusing| refusing.spell.as_mut()) {
            spell.trying = false;
        }
    }
}

impl Refusals {
    /// Decides what to do now with a record that is to be written to this topic.
    pub fn turn(self: &Arc<Self>, topic: &str) -> Turn {
        let mut all = self.lock();
        let Some(spell) = all.get_mut(topic).and_then(|refusing| refusing.spell.as_mut()) else { return Turn::Write };
        let Some(lasts) = spell.long() else { return Turn::Write };
        if spell.trying || spell.tried.elapsed() < TRY_EVERY {
            return Turn::PutOff(lasts);
        }
        (spell.tried, spell.trying) = (Instant::now(), true);
        Turn::Try(Trying { all: self.clone(), topic: topic.to_owned() })
    }

    /// Reports that a write, begun at `began`, was refused or got no answer. `why` is the reason in words. Returns how
    /// long the topic has refused, if that is at least `LONG`.
    pub fn failed(&self, topic: &str, began: Instant, why: &str) -> Option<Duration> {
        let kafka_is_up = self.kafka.as_ref().is_none_or(|kafka| kafka.is_up());
        let mut all = self.lock();
        let since_ms = now_ms() - i64::try_from(began.elapsed().as_millis()).unwrap_or_default();
        let refusing = all.entry(topic.to_owned()).or_insert_with(|| RefusingTopic::new(since_ms));
        why.clone_into(&mut refusing.why);
        let spell = refusing.spell.get_or_insert_with(|| Spell::new(began));
        spell.until = spell.until.max(Instant::now() + BACK_WITHIN);
        if !kafka_is_up {
            // While Kafka is away, a failed write says nothing about this topic.
            spell.since = Instant::now();
        }
        let long = spell.long();
        self.changed.notify_all();
        long
    }

    /// Reports that the topic took a write.
    pub fn took(&self, topic: &str) {
        let mut all = self.lock();
        if let Some(refusing) = all.get_mut(topic)
            && refusing.spell.take().is_some()
        {
            all.retain(|name, refusing| name != topic || super::stays(name, refusing));
        }
    }

    /// Reports that a record for this topic was put off for the time `back`.
    pub fn put_off(&self, topic: &str, back: Duration) {
        self.lock_and_change(topic, None, |refusing| {
            let spell = refusing.spell.get_or_insert_with(|| Spell::new(Instant::now()));
            spell.puts_off = true;
            spell.until = spell.until.max(Instant::now() + back + BACK_WITHIN);
        });
    }

    /// Makes a topic's refusals and its last trial older by this time.
    #[cfg(test)]
    pub(crate) fn age(&self, topic: &str, by: Duration) {
        let mut all = self.lock();
        let spell = all.get_mut(topic).and_then(|refusing| refusing.spell.as_mut()).expect("it refuses");
        for at in [&mut spell.since, &mut spell.tried, &mut spell.until] {
            *at = at.checked_sub(by).unwrap();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::Config;
    use crate::kafka::refusals::spell::LONG;
    use crate::kafka::topics::Health;

    const WHY: &str = "too few replicas";

    fn named(refusals: &Refusals) -> Vec<(String, usize)> {
        refusals.all().into_iter().map(|r| (r.topic, r.records)).collect()
    }

    #[test]
    fn a_topic_that_refuses_for_ten_seconds_is_tried_by_one_record_at_a_time_each_five() {
        let refusals = Arc::new(Refusals::default());
        assert!(matches!(refusals.turn("t"), Turn::Write));
        assert_eq!(refusals.failed("t", Instant::now(), WHY), None);
        assert!(matches!(refusals.turn("t"), Turn::Write), "a moment is no matter");
        assert_eq!(named(&refusals), [], "nor is it an alarm");

        refusals.age("t", LONG);
        let Turn::Try(first) = refusals.turn("t") else { panic!("nobody has tried it for 10 s") };
        assert!(matches!(refusals.turn("t"), Turn::PutOff(lasts) if lasts >= LONG));
        refusals.put_off("t", Duration::from_secs(30));
        refusals.age("t", TRY_EVERY);
        assert!(matches!(refusals.turn("t"), Turn::PutOff(_)), "the one before it has no answer yet");
        assert!(refusals.failed("t", Instant::now(), WHY).is_some());
        drop(first);
        let Turn::Try(second) = refusals.turn("t") else { panic!("5 s have passed") };
        drop(second);
        assert!(matches!(refusals.turn("t"), Turn::PutOff(_)), "5 s have not passed");
        assert!(matches!(refusals.turn("other"), Turn::Write));

        refusals.took("t");
        assert!(matches!(refusals.turn("t"), Turn::Write));
        assert_eq!(named(&refusals), []);
    }

    #[test]
    fn it_is_named_for_as_long_as_something_that_was_put_off_may_come_back() {
        let refusals = Arc::new(Refusals::default());
        refusals.failed("t", Instant::now(), WHY);
        refusals.put_off("t", Duration::from_secs(30));
        assert_eq!(named(&refusals), [("t".to_owned(), 0)]);
        let why = &refusals.all()[0].why;
        assert!(why.contains(WHY) && why.contains("waits in the retry tiers"), "{why}");
        refusals.age("t", Duration::from_secs(30) + BACK_WITHIN / 2);
        assert_eq!(named(&refusals).len(), 1);
        refusals.age("t", BACK_WITHIN / 2);
        assert_eq!(named(&refusals), []);
        assert!(matches!(refusals.turn("t"), Turn::Write));
    }
    #[test]
    fn no_topic_is_to_blame_where_kafka_is_away() {
        let health = Health::start(&Config::stub("127.0.0.1:1", &[])).unwrap();
        let refusals = Arc::new(Refusals::new(health));
        let began = Instant::now().checked_sub(2 * LONG).unwrap();
        assert_eq!(refusals.failed("t", began, WHY), None);
        assert!(matches!(refusals.turn("t"), Turn::Write));
    }
}

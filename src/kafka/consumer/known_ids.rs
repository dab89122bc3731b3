//! Notices a topic that is deleted and created again while the worker runs: its partitions begin again, with a new
//! client.
//!
//! The ids of all topics that are read are compared every few seconds. A client of the library that has read the old
//! topic keeps the leader epochs of its partitions, and refuses every leader of the new topic whose epoch is lower. So
//! the client is drained and replaced. The new client joins the group, and each partition is judged. A partition whose
//! committed position belongs to another topic starts at its beginning. If the deletion removed that position, the
//! topic that this process last read counts instead (`queries`).

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::assignment::Assignment;
use super::client::Client;
use super::partitions::Partitions;
use super::work::Work;
use crate::clock::now_ms;
use crate::kafka::native::TopicIds;

/// The time between two checks of the ids.
const IDENTIFY_EVERY: Duration = Duration::from_secs(5);
/// This many topics are checked at the full rate, twice as many at half the rate, and so on.
const IDENTIFIED_OFTEN: u32 = 200;

/// The ids of the topics that the consumer reads.
pub(super) struct KnownIds {
    next: Instant,
    running: bool,
    /// The ids under which this client knows its topics. It may refuse the leaders of a topic with another id.
    met: TopicIds,
    /// Topics that were created again, and when that was noticed, in epoch ms.
    remade: HashMap<Arc<str>, i64>,
}

impl KnownIds {
    pub(super) fn new(now: Instant) -> Self {
        Self { next: now, running: false, met: TopicIds::new(), remade: HashMap::new() }
    }

    /// Asks for the ids of the topics that are read, outside this thread.
    pub(super) fn ask<W: Work>(&mut self, now: Instant, partitions: &Partitions<W>, client: &Client<W>) {
        if self.running || now < self.next {
            return;
        }
        let known = partitions.iter().filter(|owned| owned.topic.id().is_some());
        let mut seen = BTreeSet::new();
        let subjects: Vec<Arc<Assignment>> =
            known.map(|owned| owned.assignment.clone()).filter(|a| seen.insert(a.topic.clone())).collect();
        // The answer names every topic, so many topics are asked about less often.
        self.next = now + IDENTIFY_EVERY * (1 + subjects.len() as u32 / IDENTIFIED_OFTEN);
        if !subjects.is_empty() {
            self.running = client.queries.spawn(move |queries| queries.identify(&subjects));
        }
    }

    pub(super) fn answered(&mut self) {
        self.running = false;
    }

    /// Compares ids with those that the client knows. If one has changed, what was read of that topic no longer counts,
    /// neither as a position nor as work. Returns `true` if the client has to be replaced.
    pub(super) fn compare<W>(&mut self, ids: &TopicIds, partitions: &mut Partitions<W>) -> bool {
        let others = ids.iter().filter(|(topic, now)| {
            let met = self.met.get(*topic).and_then(Option::as_ref);
            met.zip(now.as_ref()).is_some_and(|(met, now)| met != now)
        });
        let remade: BTreeSet<Arc<str>> = others.map(|(topic, _)| Arc::from(topic.as_str())).collect();
        let any = !remade.is_empty();
        for topic in remade {
            let mut unfinished = 0;
            for owned in partitions.iter_mut().filter(|owned| owned.assignment.topic == topic) {
                owned.topic.set_void();
                unfinished += owned.progress.unfinished();
            }
            tracing::error!(
                kafka.topic = %topic, unfinished,
                "the topic was deleted and made again: what was read of the old one is given back"
            );
            self.note_remade(topic);
        }
        any
    }

    /// Remembers the ids of topics that the client is about to read.
    pub(super) fn meet(&mut self, ids: TopicIds) {
        for (topic, id) in ids.into_iter().filter(|(_, id)| id.is_some()) {
            self.met.entry(topic).or_insert(id);
        }
    }

    /// Notes that this topic was created again.
    pub(super) fn note_remade(&mut self, topic: Arc<str>) {
        self.remade.insert(topic, now_ms());
    }

    /// When it was noticed that this topic was created again, in epoch ms.
    pub(super) fn remade_ms(&self, topic: &str) -> Option<i64> {
        self.remade.get(topic).copied()
    }

    /// A new client has no query under way and knows no topic.
    pub(super) fn renewed(&mut self) {
        self.running = false;
        self.met.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::progress::Open;
    use crate::kafka::native::TopicId;

    fn ids(id: Option<&str>) -> TopicIds {
        TopicIds::from([("t".to_owned(), id.and_then(TopicId::new))])
    }

    #[test]
    fn a_topic_is_another_one_if_the_client_has_met_it_under_another_id() {
        let mut known = KnownIds::new(Instant::now());
        let compare = |known: &mut KnownIds, id| known.compare(&ids(id), &mut Partitions::<Open>::default());
        known.meet(ids(None));
        assert!(!compare(&mut known, Some("a")), "nobody knows its id");
        known.meet(ids(Some("a")));
        known.meet(ids(Some("b")));
        assert!(!compare(&mut known, Some("a")) && !compare(&mut known, None), "the first id counts");
        assert_eq!(known.remade_ms("t"), None);
        assert!(compare(&mut known, Some("b")) && known.remade_ms("t").is_some());
        known.renewed();
        assert!(!compare(&mut known, Some("b")) && known.remade_ms("t").is_some(), "the next client has not met it");
    }
}

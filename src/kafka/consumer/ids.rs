//! Of which topics a process has read under which names (pure): a topic that was deleted and made again has the name of
//! another one, and deleting it took its positions along.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::kafka::native::TopicId;

/// Per topic and partition the id under which this process read it last.
#[derive(Debug, Default)]
pub(super) struct LastIds(HashMap<Arc<str>, BTreeMap<i32, TopicId>>);

impl LastIds {
    /// Whether what was read under this name was another topic than `now`. `noted`: of the committed position. A position
    /// without a note was set by an operator, or by a version that left none: then this process knows, or nobody does.
    pub(super) fn is_remade(&self, topic: &str, partition: i32, noted: Option<&TopicId>, now: &TopicId) -> bool {
        noted.or_else(|| self.last(topic, partition, now)).is_some_and(|read| read != now)
    }

    /// Another member may have read this partition, and its topic is the one of those that this process read.
    fn last(&self, topic: &str, partition: i32, now: &TopicId) -> Option<&TopicId> {
        let of_topic = self.0.get(topic)?;
        of_topic.get(&partition).or_else(|| {
            let seen_again = of_topic.values().any(|id| id == now);
            of_topic.values().next().filter(|_| !seen_again)
        })
    }

    pub(super) fn read(&mut self, topic: Arc<str>, partition: i32, id: TopicId) {
        self.0.entry(topic).or_default().insert(partition, id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> TopicId {
        TopicId::new(text).unwrap()
    }

    #[test]
    fn the_note_of_a_position_counts_and_then_what_was_read() {
        let (a, b) = (id("a"), id("b"));
        let mut ids = LastIds::default();
        assert!(!ids.is_remade("t", 0, None, &a), "nobody knows");
        assert!(ids.is_remade("t", 0, Some(&a), &b));
        ids.read("t".into(), 0, a.clone());
        assert!(ids.is_remade("t", 0, None, &b));
        assert!(!ids.is_remade("t", 0, Some(&b), &b), "another member has read the new one");
        assert!(!ids.is_remade("u", 0, None, &b));
        ids.read("t".into(), 0, b.clone());
        assert!(!ids.is_remade("t", 0, None, &b) && ids.is_remade("t", 0, None, &a));
    }

    #[test]
    fn a_partition_that_another_member_had_is_of_the_topic_of_those_that_were_read_here() {
        let (a, b) = (id("a"), id("b"));
        let mut ids = LastIds::default();
        ids.read("t".into(), 0, a.clone());
        ids.read("t".into(), 1, a.clone());
        assert!(ids.is_remade("t", 7, None, &b) && !ids.is_remade("t", 7, None, &a));
        // The position of the first one is committed by now: what has none beside it is new.
        ids.read("t".into(), 0, b.clone());
        assert!(!ids.is_remade("t", 7, None, &b));
        assert!(ids.is_remade("t", 1, None, &b), "it was read of the old one");
    }
}

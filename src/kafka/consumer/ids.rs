//! Remembers which topics a process has read under which names (pure). A topic that was deleted and created again has
//! the name of another topic, and the deletion removed its committed positions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::kafka::native::TopicId;

/// For each topic and partition, the id under which this process last read it.
#[derive(Debug, Default)]
pub(super) struct LastIds(HashMap<Arc<str>, BTreeMap<i32, TopicId>>);

impl LastIds {
    /// Whether another topic than `now` was read under this name. `noted` is the id that was committed with the
    /// position. A position without an id was set by an operator, or by an older version; then only this process can
    /// know.
    pub(super) fn is_remade(&self, topic: &str, partition: i32, noted: Option<&TopicId>, now: &TopicId) -> bool {
        noted.or_else(|| self.last(topic, partition, now)).is_some_and(|read| read != now)
    }

    /// The last id of this partition. If this process did not read the partition, another member may have. Then the id
    /// of the topic's other partitions counts, unless this process has read one of them under the present id.
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
        // The position of the first partition is committed by now, so a partition without one is new.
        ids.read("t".into(), 0, b.clone());
        assert!(!ids.is_remade("t", 7, None, &b));
        assert!(ids.is_remade("t", 1, None, &b), "it was read of the old one");
    }
}

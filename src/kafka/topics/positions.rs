//! Reads and sets a group's positions from outside of the group.

use std::collections::BTreeMap;
use std::sync::mpsc::channel;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::{AdminError, Cluster, TIMEOUT};
use crate::kafka::{StartFrom, native, settings};

pub type PartitionName = (String, i32);

/// The name of a partition, and the offset to read next.
pub type Position = (String, i32, i64);

impl Cluster {
    /// The partitions of every input topic.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn input_partitions(&self) -> Result<Vec<PartitionName>, AdminError> {
        let inputs = self.inputs()?;
        Ok(inputs.iter().flat_map(|t| (0..t.partitions).map(|p| (t.name.clone(), p))).collect())
    }

    /// The positions that a group has committed for these partitions. It leaves out partitions without an offset.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn committed(
        &self,
        group: &str,
        partitions: &[PartitionName],
    ) -> Result<BTreeMap<PartitionName, i64>, AdminError> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            list.add_partition(topic, *partition);
        }
        let list = self.outsider(group)?.committed_offsets(list, TIMEOUT)?;
        let mut committed = BTreeMap::new();
        for element in list.elements() {
            element.error()?;
            if let Offset::Offset(at) = element.offset() {
                committed.insert((element.topic().to_owned(), element.partition()), at);
            }
        }
        Ok(committed)
    }

    /// Sets a group's positions. Kafka accepts them only while the group has no members.
    ///
    /// # Errors
    /// [`AdminError::GroupActive`] if the group has members; otherwise see [`AdminError`].
    pub fn commit_positions(&self, group: &str, positions: Vec<Position>) -> Result<(), AdminError> {
        let client = self.outsider(group)?;
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for (topic, partition, at) in &positions {
            list.add_partition_offset(topic, *partition, Offset::Offset(*at))?;
        }
        // The call itself has no time limit. If no answer comes, this function leaves the thread and its client behind.
        let (done, answer) = channel();
        let work = move || {
            let _ = done.send(client.commit(&list, CommitMode::Sync));
        };
        std::thread::Builder::new()
            .name("kafka-commit".into())
            .spawn(work)
            .map_err(|e| AdminError::NoAnswer(e.to_string()))?;
        match answer.recv_timeout(TIMEOUT) {
            Ok(result) => Ok(result?),
            Err(_) => Err(AdminError::NoAnswer("the commit was not answered".into())),
        }
    }

    /// The ids of topics. `None` if the brokers have no ids. It leaves out topics that do not exist.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn topic_ids(&self, topics: &[&str]) -> Result<BTreeMap<String, Option<String>>, AdminError> {
        let none = || topics.iter().map(|topic| ((*topic).to_owned(), None)).collect();
        match native::topic_ids(self.admin.inner(), topics, TIMEOUT) {
            Ok(ids) => Ok(ids.into_iter().map(|(topic, id)| (topic, id.map(|id| id.to_string()))).collect()),
            Err(KafkaError::AdminOp(RDKafkaErrorCode::UnsupportedFeature)) => Ok(none()),
            Err(error) => Err(error.into()),
        }
    }

    /// The oldest offset of a partition, and its end.
    #[cfg(test)]
    pub(crate) fn watermarks(&self, topic: &str, partition: i32) -> Result<(i64, i64), AdminError> {
        Ok(self.admin.inner().fetch_watermarks(topic, partition, TIMEOUT)?)
    }

    /// The positions at which a first start begins. `None` for [`StartFrom::Error`], which has none.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn start_positions(
        &self,
        from: StartFrom,
        partitions: &[PartitionName],
    ) -> Result<Option<Vec<Position>>, AdminError> {
        if from == StartFrom::Error {
            return Ok(None);
        }
        let mut positions = Vec::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            use RDKafkaErrorCode::{UnknownPartition, UnknownTopic, UnknownTopicOrPartition};
            let marks = self.admin.inner().fetch_watermarks(topic, *partition, TIMEOUT);
            let (low, high) = marks.map_err(|error| match error.rdkafka_error_code() {
                // The topic existed a moment ago. Its leader does not know it yet, or the topic is being deleted.
                Some(UnknownTopicOrPartition | UnknownTopic | UnknownPartition) => {
                    AdminError::NoAnswer(format!("topic {topic} [{partition}]: {error}"))
                }
                _ => error.into(),
            })?;
            positions.push((topic.clone(), *partition, if from == StartFrom::Latest { high } else { low }));
        }
        Ok(Some(positions))
    }

    /// A client that names the group and never joins it.
    pub(super) fn outsider(&self, group: &str) -> Result<BaseConsumer, AdminError> {
        let config = settings::admin(&self.config, Some(group)).map_err(|e| AdminError::Refused(e.to_string()))?;
        Ok(config.create()?)
    }
}

//! The one explicit commit. In the hot path the client commits stored positions instead, because an explicit commit
//! moves a position backwards too.

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::assignment::Assignment;
use super::context::Context;
use crate::kafka::native::TopicId;

/// Commits explicitly, for a partition that this member owns and does not read now. The broker would accept a commit
/// for a partition that belongs to another member by now, and the queries before it may have taken long; so
/// `is_leaving` is checked first.
pub(super) fn commit(
    consumer: &BaseConsumer<Context>,
    assignment: &Assignment,
    at: i64,
    id: Option<&TopicId>,
) -> KafkaResult<()> {
    let Assignment { topic, partition, .. } = assignment;
    if assignment.is_leaving() {
        return Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::AssignmentLost));
    }
    let mut list = TopicPartitionList::new();
    let mut element = list.add_partition(topic, *partition);
    element.set_offset(Offset::Offset(at))?;
    if let Some(id) = id {
        element.set_metadata(id.note());
    }
    consumer.commit(&list, CommitMode::Sync)
}

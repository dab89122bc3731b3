//! Carries out an operator's order: one partition continues at the given position.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::assignment::Assignment;
use super::command::{Command, UnblockOrder, UnblockTo};
use super::handler::Handler;
use super::partition::{Next, State};
use super::poller::Poller;
use super::queries::{BrokerQueries, TIMEOUT};
use super::start_decision::Begin;
use super::work::Work;
use crate::kafka::native::TopicId;

impl<H: Handler> Poller<H> {
    pub(super) fn ordered_by_operator(&mut self, order: &UnblockOrder) {
        let generation = self.current.get(order.topic.as_str()).and_then(|t| t.get(&order.partition)).copied();
        // The partition belongs to another member.
        let Some(owned) = generation.and_then(|g| self.partitions.get(&g)) else { return };
        tracing::warn!(kafka.topic = %order.topic, kafka.partition = order.partition, to = ?order.to, "operator's order");
        if matches!(owned.state, State::Parked(_)) {
            self.order(owned.assignment.clone(), order.to);
        } else if let Some(generation) = generation {
            self.turn(generation, Next::Order(order.to));
        }
    }

    pub(super) fn order(&mut self, assignment: Arc<Assignment>, to: UnblockTo) {
        let Some(owned) = self.partitions.get_mut(&assignment.generation) else { return };
        let id = owned.topic_id.clone();
        let work = move |queries: &BrokerQueries<H::Work>| queries.order(&assignment, to, id.as_ref());
        if !std::mem::replace(&mut owned.ordering, true) && !self.queries.spawn(work) {
            owned.ordering = false;
        }
    }

    pub(super) fn order_done(&mut self, generation: u64, result: Result<i64, String>) {
        let Some(owned) = self.partitions.get_mut(&generation) else { return };
        owned.ordering = false;
        if owned.assignment.is_leaving() {
            return;
        }
        match result {
            Ok(at) => {
                owned.committed = Some(at);
                self.start(&[(generation, Begin::at(at))]);
            }
            Err(why) => {
                tracing::error!(kafka.topic = %owned.assignment.topic, "the order failed: {why}");
                self.counts.last_error = Some(why);
                // A partition that was healthy before the order continues from its committed position.
                if matches!(owned.state, State::Judging) {
                    let assignment = owned.assignment.clone();
                    self.look(vec![assignment]);
                }
            }
        }
        self.changed();
    }
}

impl<W: Work> BrokerQueries<W> {
    /// Carries out an operator's order at the broker, and reports where to continue. The explicit commit is safe here:
    /// this member owns the partition, does not read it now, and the operator wants the position to move even if it
    /// moves backwards.
    pub(super) fn order(&self, assignment: &Assignment, to: UnblockTo, id: Option<&TopicId>) {
        let result = self.try_order(assignment, to, id);
        let _ = self.sender.send(Command::Ordered { generation: assignment.generation, result });
    }

    /// Commits the stored positions before the group is left. The library commits too when it leaves, but while the
    /// group rebalances that commit is refused once and for all, and every record since the last commit would be read
    /// again. This function tries again.
    pub(super) fn flush(&self, within: Duration) {
        let deadline = Instant::now() + within;
        loop {
            match self.consumer.commit_consumer_state(CommitMode::Sync) {
                Ok(()) => break,
                Err(e) if e.rdkafka_error_code() == Some(RDKafkaErrorCode::NoOffset) => break,
                Err(error) if Instant::now() >= deadline => {
                    tracing::warn!(%error, "the last positions were not committed");
                    break;
                }
                Err(error) => tracing::debug!(%error, "positions cannot be committed yet"),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let _ = self.sender.send(Command::Flushed);
    }

    fn try_order(&self, assignment: &Assignment, to: UnblockTo, id: Option<&TopicId>) -> Result<i64, String> {
        let Assignment { topic, partition, .. } = assignment;
        let mut tries = 0;
        loop {
            let ends = self.marks.ends(&[(&**topic, *partition)], TIMEOUT).and_then(|ends| {
                ends.into_values().next().ok_or(KafkaError::MetadataFetch(RDKafkaErrorCode::LeaderNotAvailable))
            });
            let done = ends.and_then(|(low, high)| {
                let at = match to {
                    UnblockTo::Earliest => low,
                    UnblockTo::Latest => high,
                    UnblockTo::At(at) if (low..=high).contains(&at) => at,
                    UnblockTo::At(at) => return Ok(Err(format!("offset {at} is not between {low} and {high}"))),
                };
                self.commit(assignment, at, id)?;
                Ok(Ok(at))
            });
            match done {
                Ok(answer) => return answer,
                Err(e) if tries >= 5 || assignment.is_leaving() || is_final(&e) => return Err(e.to_string()),
                Err(_) => std::thread::sleep(Duration::from_secs(1)),
            }
            tries += 1;
        }
    }

    /// Commits explicitly, for a partition that this member owns and does not read now. The broker would accept a
    /// commit for a partition that belongs to another member by now, and the queries before it may have taken long; so
    /// `is_leaving` is checked first.
    pub(super) fn commit(&self, assignment: &Assignment, at: i64, id: Option<&TopicId>) -> KafkaResult<()> {
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
        self.consumer.commit(&list, CommitMode::Sync)
    }
}

fn is_final(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::GroupAuthorizationFailed)
    )
}

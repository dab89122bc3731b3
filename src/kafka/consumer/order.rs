//! Carries out an operator's order: one partition continues at the given position.

use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::assignment::Assignment;
use super::command::{Command, UnblockTo};
use super::explicit_commit::commit;
use super::partition::Partition;
use super::queries::{BrokerQueries, TIMEOUT};
use super::work::Work;
use crate::kafka::native::TopicId;

/// Asks for the order to be carried out, unless one is being carried out for this partition.
pub(super) fn carry_out<W: Work>(owned: &mut Partition<W>, to: UnblockTo, queries: &BrokerQueries<W>) {
    let (assignment, id) = (owned.assignment.clone(), owned.topic.id().cloned());
    let work = move |queries: &BrokerQueries<W>| queries.order(&assignment, to, id.as_ref());
    if owned.begin_order() && !queries.spawn(work) {
        owned.end_order();
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
                commit(&self.consumer, assignment, at, id)?;
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
}

fn is_final(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::GroupAuthorizationFailed)
    )
}

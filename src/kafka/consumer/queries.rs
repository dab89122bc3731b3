//! Finds out where an assigned partition begins. The questions run outside the polling thread, because each may take
//! seconds.

use std::collections::{BTreeSet, HashMap};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::assignment::Assignment;
use super::command::Command;
use super::context::Context;
use super::explicit_commit::commit;
use super::ids::LastIds;
use super::marks::{Ends, Marks};
use super::options::{Begins, Kind, Unplaced};
use super::start_decision::{Begin, Committed, Found, OwnPosition, StartDecision, Subject, Surveyed, judge};
use super::work::Work;
use crate::kafka::native::{self, TopicId, TopicIds};

/// The time limit of one request to the broker.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// What a helper thread needs to ask the broker for a consumer.
pub(super) struct BrokerQueries<W: Work> {
    pub(super) consumer: Arc<BaseConsumer<Context>>,
    /// The number of the present client: each new client of the polling thread gets the next one.
    pub(super) client_number: u64,
    pub(super) marks: Arc<Marks>,
    pub(super) sender: Sender<Command<W>>,
    pub(super) kind: Kind,
    /// The topics that are read. The set only grows.
    pub(super) subscribe: Arc<Mutex<BTreeSet<String>>>,
    pub(super) unplaced: Unplaced,
    pub(super) last_ids: Arc<Mutex<LastIds>>,
    pub(super) has_ids: bool,
    pub(super) begins: Begins,
}

// A derived `Clone` would require that `W` can be cloned.
impl<W: Work> Clone for BrokerQueries<W> {
    fn clone(&self) -> Self {
        Self {
            consumer: self.consumer.clone(),
            client_number: self.client_number,
            marks: self.marks.clone(),
            sender: self.sender.clone(),
            kind: self.kind,
            subscribe: self.subscribe.clone(),
            unplaced: self.unplaced.clone(),
            last_ids: self.last_ids.clone(),
            has_ids: self.has_ids,
            begins: self.begins.clone(),
        }
    }
}

impl<W: Work> BrokerQueries<W> {
    /// Runs a query on a thread of its own. Returns `false` if no thread can be started; the caller then tries again
    /// later.
    pub(super) fn spawn(&self, work: impl FnOnce(&BrokerQueries<W>) + Send + 'static) -> bool {
        let queries = self.clone();
        let spawned = std::thread::Builder::new().name("kafka-positions".into()).spawn(move || work(&queries));
        if let Err(error) = &spawned {
            tracing::warn!(%error, "no thread to ask for positions");
        }
        spawned.is_ok()
    }

    /// Judges partitions until each of them has its decision or has left.
    pub(super) fn look(&self, mut wanted: Vec<Arc<Assignment>>) {
        let mut pause = Duration::from_millis(200);
        loop {
            wanted.retain(|a| !a.is_leaving());
            if wanted.is_empty() {
                return;
            }
            // The ids are read first. If a topic is created again after this, the next check finds another id.
            match self.ids(&wanted).and_then(|ids| Ok((ids, self.committed(&wanted)?))) {
                Ok((ids, committed)) => {
                    wanted = self.judge_each(wanted, &ids, &committed);
                    if !wanted.is_empty() {
                        // A client that knew an earlier topic of this name may never find the leaders of the present
                        // one.
                        let _ = self.sender.send(Command::Identified(self.client_number, ids));
                    }
                }
                Err(error) => tracing::debug!(%error, "committed offsets cannot be read yet"),
            }
            if wanted.is_empty() {
                return;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }

    /// Sends the available decisions, all together, and returns the partitions that have none yet.
    fn judge_each(
        &self,
        wanted: Vec<Arc<Assignment>>,
        ids: &TopicIds,
        committed: &TopicPartitionList,
    ) -> Vec<Arc<Assignment>> {
        let ends = self.ends(wanted.iter());
        let (mut found, mut left) = (Vec::new(), Vec::new());
        let mut group_has_offsets = None;
        for assignment in wanted {
            let ends = ends.get(&(assignment.topic.to_string(), assignment.partition));
            // A topic that does not exist at this moment is asked about again.
            let (Some(id), Some((low, high))) = (ids.get(&*assignment.topic).cloned(), ends.copied()) else {
                left.push(assignment);
                continue;
            };
            // A topic that this client may not read, for example, must not delay the others either.
            let own = match committed_of(committed, &assignment) {
                Ok(own) => own,
                Err(error) => {
                    tracing::debug!(%error, kafka.topic = %assignment.topic, "its committed offset cannot be read yet");
                    left.push(assignment);
                    continue;
                }
            };
            let remade = self.is_remade(&assignment, &own, id.as_ref());
            let noted = self.begins.get(&(assignment.topic.to_string(), assignment.partition)).copied();
            let noted = noted.filter(|_| own.begin.is_none() && !remade);
            if own.begin.is_none()
                && noted.is_none()
                && !remade
                && self.kind == Kind::Input
                && group_has_offsets.is_none()
            {
                group_has_offsets = self.group_has_offsets().ok();
                if group_has_offsets.is_none() {
                    left.push(assignment);
                    continue;
                }
            }
            let new = group_has_offsets.unwrap_or(false) && !self.is_unplaced(&assignment);
            let decision = if let Some(at) = noted {
                // The position was recorded when the topic became an input. Records that retention has deleted since
                // were not to be read.
                StartDecision::Start(Begin::at(if at > high { low } else { at.max(low) }))
            } else if !remade {
                judge(self.kind, own.begin, low, high, new)
            } else if let Err(error) = commit(&self.consumer, &assignment, low, id.as_ref()) {
                // The position is committed first, because otherwise nobody could tell the old topic's position from
                // one of the new topic.
                tracing::debug!(%error, kafka.topic = %assignment.topic, "the beginning cannot be committed yet");
                left.push(assignment);
                continue;
            } else {
                StartDecision::Start(Begin::at(low))
            };
            self.remember(&assignment, id.as_ref());
            let own = (self.kind == Kind::Waiting).then(|| OwnPosition {
                topic_id: id.as_ref().map(ToString::to_string).unwrap_or_default(),
                anew: (own.begin.is_none() && !remade && low < high).then_some((low, high)),
            });
            found.push(Found { generation: assignment.generation, decision, topic_id: id, remade, own });
        }
        // The polling thread may have ended. Then nobody reads the partitions.
        let _ = self.sender.send(Command::Found(found));
        left
    }

    /// Both ends of these partitions, for those that got an answer.
    pub(super) fn ends<'a>(&self, of: impl Iterator<Item = &'a Arc<Assignment>>) -> Ends {
        let places: Vec<_> = of.map(|a| (&*a.topic, a.partition)).collect();
        self.marks.ends(&places, TIMEOUT).unwrap_or_else(|error| {
            tracing::debug!(%error, partitions = places.len(), "the ends of partitions cannot be read yet");
            Ends::new()
        })
    }

    /// Whether the partition was parked because the group had lost its offsets, and no operator has placed it. An
    /// operator who placed another partition has not placed this one.
    fn is_unplaced(&self, assignment: &Assignment) -> bool {
        let unplaced = self.unplaced.lock().unwrap_or_else(PoisonError::into_inner);
        unplaced.contains(&(assignment.topic.to_string(), assignment.partition))
    }

    fn is_remade(&self, assignment: &Assignment, own: &Committed, id: Option<&TopicId>) -> bool {
        let last = self.last_ids.lock().unwrap_or_else(PoisonError::into_inner);
        id.is_some_and(|id| last.is_remade(&assignment.topic, assignment.partition, own.topic_id.as_ref(), id))
    }

    fn remember(&self, assignment: &Assignment, id: Option<&TopicId>) {
        if let Some(id) = id {
            let mut last = self.last_ids.lock().unwrap_or_else(PoisonError::into_inner);
            last.read(assignment.topic.clone(), assignment.partition, id.clone());
        }
    }

    /// The ids of the topics of these partitions.
    fn ids(&self, of: &[Arc<Assignment>]) -> KafkaResult<TopicIds> {
        let mut names: Vec<&str> = of.iter().map(|assignment| &*assignment.topic).collect();
        names.sort_unstable();
        names.dedup();
        let none = || names.iter().map(|name| ((*name).to_owned(), None)).collect();
        if !self.has_ids {
            return Ok(none());
        }
        match native::topic_ids(self.consumer.client(), &names, TIMEOUT) {
            Err(KafkaError::AdminOp(RDKafkaErrorCode::UnsupportedFeature)) => Ok(none()),
            other => other,
        }
    }

    /// Checks whether the topics are still the ones that are read.
    pub(super) fn identify(&self, of: &[Arc<Assignment>]) {
        let ids = self.ids(of).unwrap_or_else(|error| {
            tracing::debug!(%error, "the ids of topics cannot be read yet");
            TopicIds::new()
        });
        let _ = self.sender.send(Command::Identified(self.client_number, ids));
    }

    fn committed(&self, of: &[Arc<Assignment>]) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::with_capacity(of.len());
        for assignment in of {
            list.add_partition(&assignment.topic, assignment.partition);
        }
        self.consumer.committed_offsets(list, TIMEOUT)
    }

    /// Whether the group has a committed offset for any partition of its input.
    fn group_has_offsets(&self) -> KafkaResult<bool> {
        let metadata = self.marks.topics(TIMEOUT)?;
        let mut list = TopicPartitionList::new();
        let subscribed = self.subscribe.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for topic in metadata.topics().iter().filter(|t| subscribed.contains(t.name())) {
            for partition in topic.partitions() {
                list.add_partition(topic.name(), partition.id());
            }
        }
        has_offsets(&self.consumer.committed_offsets(list, TIMEOUT)?)
    }

    /// Asks for both ends, and for committed offsets if `committed` is set.
    pub(super) fn survey(&self, subjects: &[Subject], committed: bool) {
        let assignments: Vec<_> = subjects.iter().map(|s| s.assignment.clone()).collect();
        let committed = if committed { self.committed(&assignments).ok() } else { None };
        let elements = committed.as_ref().map(TopicPartitionList::elements).unwrap_or_default();
        let committed: HashMap<(&str, i32), Offset> =
            elements.iter().map(|e| ((e.topic(), e.partition()), e.offset())).collect();
        let ends = self.ends(assignments.iter().filter(|a| !a.is_gone()));
        let mut surveyed = Vec::with_capacity(subjects.len());
        for Subject { assignment, suspect } in subjects {
            let place = (assignment.topic.to_string(), assignment.partition);
            let ends = ends.get(&place).copied();
            // If the committed offsets could not be read, there is none.
            let committed = match committed.get(&(&*assignment.topic, assignment.partition)) {
                Some(Offset::Offset(at)) => Some(*at),
                _ => None,
            };
            surveyed.push(Surveyed { generation: assignment.generation, suspect: *suspect, committed, ends });
        }
        let _ = self.sender.send(Command::Surveyed(surveyed));
    }
}

/// The committed position of a partition. Fails if the broker gave no answer for it.
fn committed_of(list: &TopicPartitionList, assignment: &Assignment) -> KafkaResult<Committed> {
    let Assignment { topic, partition, .. } = assignment;
    let missing = KafkaError::OffsetFetch(RDKafkaErrorCode::UnknownPartition);
    let element = list.find_partition(topic, *partition).ok_or(missing)?;
    element.error()?;
    Ok(match element.offset() {
        Offset::Offset(at) => Committed {
            begin: Some(Begin { at, epoch: native::leader_epoch(list, topic, *partition) }),
            topic_id: native::noted_id(list, topic, *partition),
        },
        _ => Committed::default(),
    })
}

/// Whether one of these partitions has an offset. If none has, the answer fails if some partition gave no answer,
/// because that one may have an offset.
fn has_offsets(list: &TopicPartitionList) -> KafkaResult<bool> {
    let elements = list.elements();
    if elements.iter().any(|e| e.error().is_ok() && matches!(e.offset(), Offset::Offset(_))) {
        return Ok(true);
    }
    elements.iter().try_for_each(|e| e.error()).map(|()| false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parked(decision: &StartDecision) -> Option<&'static str> {
        match decision {
            StartDecision::Park(parked) => Some(parked.why),
            StartDecision::Start(_) => None,
        }
    }

    /// Three kinds of answers: an offset, no offset, and no right to read it.
    fn answered(offsets: &[Option<i64>], refused: bool) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for (n, offset) in (0..).zip(offsets) {
            let mut element = list.add_partition("t", n);
            offset.map(|at| element.set_offset(Offset::Offset(at)).unwrap());
        }
        if refused {
            list.add_partition("secret", 0);
            native::refuse(&list, "secret", 0);
        }
        list
    }

    #[test]
    fn a_topic_whose_offsets_may_not_be_read_keeps_no_other_one_from_its_own() {
        let list = answered(&[Some(7), None], true);
        let of = |topic: &str, n| committed_of(&list, &Assignment::new(topic.into(), n, 1));
        assert_eq!(of("t", 0).unwrap().begin, Some(Begin::at(7)));
        assert_eq!(of("t", 1).unwrap(), Committed::default());
        assert!(of("secret", 0).is_err() && of("t", 2).is_err());
    }

    #[test]
    fn a_group_has_no_offset_only_where_each_partition_says_so() {
        let has = |offsets: &[Option<i64>], refused| has_offsets(&answered(offsets, refused)).ok();
        assert_eq!([has(&[None, Some(0)], true), has(&[None, Some(0)], false)], [Some(true); 2]);
        assert_eq!([has(&[None], false), has(&[None], true)], [Some(false), None]);
    }

    #[test]
    fn a_committed_offset_within_the_log_is_where_reading_goes_on() {
        for at in [10, 15, 20] {
            let begin = Begin { at, epoch: Some(3) };
            assert_eq!(judge(Kind::Input, Some(begin), 10, 20, true), StartDecision::Start(begin));
        }
    }

    #[test]
    fn an_offset_outside_the_log_is_parked_and_never_guessed() {
        for kind in [Kind::Input, Kind::Waiting] {
            assert!(parked(&judge(kind, Some(Begin::at(9)), 10, 20, true)).unwrap().contains("retention"));
            assert!(parked(&judge(kind, Some(Begin::at(21)), 10, 20, true)).unwrap().contains("beyond"));
        }
    }

    #[test]
    fn a_new_partition_starts_at_its_beginning_and_a_group_without_offsets_is_parked() {
        assert_eq!(judge(Kind::Input, None, 10, 20, true), StartDecision::Start(Begin::at(10)));
        assert_eq!(judge(Kind::Waiting, None, 10, 20, false), StartDecision::Start(Begin::at(10)));
        assert!(parked(&judge(Kind::Input, None, 10, 20, false)).is_some());
    }
}

//! Begins to read partitions at the position that was judged sound, after the client has compared it with the log.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Offset, TopicPartitionList};

use super::assignment::Assignment;
use super::epochs::Epochs;
use super::handler::Handler;
use super::partition::{REREAD_AFTER, State};
use super::poller::Poller;
use super::start_decision::{Begin, Found, Parked, StartDecision};
use crate::clock::now_ms;
use crate::kafka::native;

/// The client answers within a millisecond if it can.
const SEEK_WITHIN: Duration = Duration::from_millis(100);

impl<H: Handler> Poller<H> {
    /// Handles the decisions about partitions: each is read from its sound position, or parked. All partitions that
    /// start do so with one call, because each call iterates over everything that the client has.
    pub(super) fn found(&mut self, mut all: Vec<Found>) {
        all.retain(|found| {
            let owned = self.partitions.get(&found.generation);
            owned.is_some_and(|owned| !owned.assignment.is_leaving() && matches!(owned.state, State::Judging))
        });
        // If a topic is another one now than the topic that this client knows, the next client reads it, and all
        // partitions are judged again.
        let name =
            |found: &Found| self.partitions.get(&found.generation).map(|owned| owned.assignment.topic.to_string());
        let ids = all.iter().filter_map(|found| Some((name(found)?, found.topic_id.clone()))).collect();
        if self.compare(&ids) {
            return;
        }
        ids.iter().for_each(|(topic, id)| self.meet(topic, id.as_ref()));
        let mut starts = Vec::new();
        for found in all {
            let Some(owned) = self.partitions.get_mut(&found.generation) else { continue };
            (owned.topic_id, owned.own) = (found.topic_id, found.own);
            if found.remade {
                self.ids.remade.insert(owned.assignment.topic.clone(), now_ms());
                if let StartDecision::Start(begin) = &found.decision {
                    owned.committed = Some(begin.at);
                }
                tracing::error!(
                    kafka.topic = %owned.assignment.topic, kafka.partition = owned.assignment.partition,
                    "the topic was deleted and made again: it is read from its beginning"
                );
            }
            owned.remade_ms = self.ids.remade.get(&owned.assignment.topic).copied();
            match found.decision {
                StartDecision::Start(begin) => starts.push((found.generation, begin)),
                StartDecision::Park(parked) => self.park(found.generation, parked),
            }
        }
        self.start(&starts);
        self.changed();
    }

    pub(super) fn judged(&mut self, generation: u64, decision: StartDecision) {
        match decision {
            StartDecision::Start(begin) => self.start(&[(generation, begin)]),
            StartDecision::Park(parked) => self.park(generation, parked),
        }
        self.changed();
    }

    pub(super) fn start(&mut self, starts: &[(u64, Begin)]) {
        if starts.is_empty() {
            return;
        }
        if let Err(error) = self.take_on(starts) {
            // A partition that is refused must not delay the others.
            if let [(generation, begin)] = *starts {
                self.cannot_start(generation, begin, &error);
            } else {
                starts.iter().for_each(|one| self.start(std::slice::from_ref(one)));
            }
            return;
        }
        for (generation, begin) in starts {
            let Some(owned) = self.partitions.get_mut(generation) else { continue };
            let Assignment { topic, partition, .. } = &*owned.assignment;
            let Begin { at, epoch } = *begin;
            tracing::info!(kafka.topic = %topic, kafka.partition = partition, kafka.offset = at, "partition starts");
            let seeks = epoch.is_some() && at > 0;
            owned.state = if seeks { State::Seeking(*begin) } else { State::Reading };
            (owned.in_client, owned.start, owned.paused) = (true, Some(at), None);
            owned.epochs = Epochs::starting(at, epoch);
            self.unsettled.insert(*generation);
        }
        self.pauses.seen = None;
        // Before the next poll, because the client may still have a pause from an earlier assignment.
        self.apply_pauses();
    }

    fn take_on(&self, starts: &[(u64, Begin)]) -> KafkaResult<()> {
        let mut list = TopicPartitionList::with_capacity(starts.len());
        for (generation, Begin { at, epoch }) in starts {
            let Some(owned) = self.partitions.get(generation) else { continue };
            let Assignment { topic, partition, .. } = &*owned.assignment;
            list.add_partition_offset(topic, *partition, Offset::Offset(*at))?;
            if let Some(epoch) = epoch {
                native::set_leader_epoch(&mut list, topic, *partition, *epoch);
            }
        }
        self.consumer.incremental_assign(&list)
    }

    fn cannot_start(&mut self, generation: u64, begin: Begin, error: &KafkaError) {
        let Some(owned) = self.partitions.get_mut(&generation) else { return };
        let Assignment { topic, partition, .. } = &*owned.assignment;
        tracing::warn!(kafka.topic = %topic, kafka.partition = partition, %error, "partition cannot start yet");
        self.counts.last_error = Some(error.to_string());
        owned.state = State::Due(Instant::now() + REREAD_AFTER, StartDecision::Start(begin));
        self.unsettled.insert(generation);
    }

    /// Makes the client compare positions with the log. The client does this when it seeks, not when a partition is
    /// assigned, and it seeks only in partitions that it already fetches. If the log was truncated below the position,
    /// this returns as an error, as a position out of range does.
    pub(super) fn seek(&mut self) {
        let mut list = TopicPartitionList::new();
        for owned in self.unsettled.iter().filter_map(|generation| self.partitions.get(generation)) {
            let State::Seeking(Begin { at, epoch: Some(epoch) }) = owned.state else { continue };
            let Assignment { topic, partition, .. } = &*owned.assignment;
            if list.add_partition_offset(topic, *partition, Offset::Offset(at)).is_ok() {
                native::set_leader_epoch(&mut list, topic, *partition, epoch);
            }
        }
        if list.count() == 0 {
            return;
        }
        let sought = match self.consumer.seek_partitions(list, SEEK_WITHIN) {
            Ok(sought) => sought,
            Err(error) => return tracing::debug!(%error, "positions cannot be compared with the log yet"),
        };
        for owned in self.partitions.values_mut().filter(|owned| matches!(owned.state, State::Seeking(_))) {
            let element = sought.find_partition(&owned.assignment.topic, owned.assignment.partition);
            if element.is_some_and(|element| element.error().is_ok()) {
                owned.state = State::Reading;
            }
        }
        self.pauses.seen = None;
        self.apply_pauses();
    }

    fn park(&mut self, generation: u64, parked: Parked) {
        let Some(owned) = self.partitions.get_mut(&generation) else { return };
        let Assignment { topic, partition, .. } = &*owned.assignment;
        tracing::error!(
            kafka.topic = %topic, kafka.partition = partition, committed = parked.committed, low = parked.low,
            high = parked.high, hole = parked.hole(),
            "partition parked: {}; see `postback unblock offsets`", parked.why
        );
        (owned.committed, owned.high) = (parked.committed, Some(parked.high));
        owned.state = State::Parked(parked);
    }
}

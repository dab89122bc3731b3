//! Begins to read partitions at the position that was judged sound, after the client has compared it with the log.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Offset, TopicPartitionList};

use super::assignment::Assignment;
use super::client::Client;
use super::known_ids::KnownIds;
use super::partition::{Partition, REREAD_AFTER, State};
use super::partitions::Partitions;
use super::start_decision::{Begin, Found, Parked, StartDecision};
use super::work::Work;
use crate::kafka::native;

/// The client answers within a millisecond if it can.
const SEEK_WITHIN: Duration = Duration::from_millis(100);

/// Notes what was found of these partitions, and parks those without a sound position. Returns where the others start.
pub(super) fn note<W>(all: Vec<Found>, partitions: &mut Partitions<W>, ids: &mut KnownIds) -> Vec<(u64, Begin)> {
    let mut starts = Vec::new();
    for found in all {
        let Some(owned) = partitions.get_mut(found.generation) else { continue };
        if found.remade {
            ids.note_remade(owned.assignment.topic.clone());
            if let StartDecision::Start(begin) = &found.decision {
                owned.group.set_committed(Some(begin.at));
            }
            tracing::error!(
                kafka.topic = %owned.assignment.topic, kafka.partition = owned.assignment.partition,
                "the topic was deleted and made again: it is read from its beginning"
            );
        }
        owned.own = found.own;
        owned.topic.found(found.topic_id, ids.remade_ms(&owned.assignment.topic));
        match found.decision {
            StartDecision::Start(begin) => starts.push((found.generation, begin)),
            StartDecision::Park(parked) => park(owned, parked),
        }
    }
    starts
}

pub(super) fn park<W>(owned: &mut Partition<W>, parked: Parked) {
    let Assignment { topic, partition, .. } = &*owned.assignment;
    tracing::error!(
        kafka.topic = %topic, kafka.partition = partition, committed = parked.committed, low = parked.low,
        high = parked.high, hole = parked.hole(),
        "partition parked: {}; see `postback unblock offsets`", parked.why
    );
    owned.park(parked);
}

/// Starts these partitions with one call, because each call iterates over everything that the client has. Returns
/// whether the client took any. Then the pauses have to be applied before the next poll, because the client may still
/// have a pause from an earlier assignment.
pub(super) fn start<W: Work>(starts: &[(u64, Begin)], partitions: &mut Partitions<W>, client: &mut Client<W>) -> bool {
    if starts.is_empty() {
        return false;
    }
    if let Err(error) = take_on(starts, partitions, client) {
        // A partition that is refused must not delay the others.
        if let [(generation, begin)] = *starts {
            cannot_start(generation, begin, &error, partitions, client);
            return false;
        }
        let mut any = false;
        starts.iter().for_each(|one| any |= start(std::slice::from_ref(one), partitions, client));
        return any;
    }
    for (generation, begin) in starts {
        let Some(owned) = partitions.get(*generation) else { continue };
        let Assignment { topic, partition, .. } = &*owned.assignment;
        tracing::info!(kafka.topic = %topic, kafka.partition = partition, kafka.offset = begin.at, "partition starts");
        partitions.begin(*generation, *begin);
    }
    partitions.pauses_changed = true;
    true
}

fn take_on<W: Work>(starts: &[(u64, Begin)], partitions: &Partitions<W>, client: &Client<W>) -> KafkaResult<()> {
    let mut list = TopicPartitionList::with_capacity(starts.len());
    for (generation, Begin { at, epoch }) in starts {
        let Some(owned) = partitions.get(*generation) else { continue };
        let Assignment { topic, partition, .. } = &*owned.assignment;
        list.add_partition_offset(topic, *partition, Offset::Offset(*at))?;
        if let Some(epoch) = epoch {
            native::set_leader_epoch(&mut list, topic, *partition, *epoch);
        }
    }
    client.consumer.incremental_assign(&list)
}

fn cannot_start<W: Work>(
    generation: u64,
    begin: Begin,
    error: &KafkaError,
    partitions: &mut Partitions<W>,
    client: &mut Client<W>,
) {
    let Some(owned) = partitions.get(generation) else { return };
    let Assignment { topic, partition, .. } = &*owned.assignment;
    tracing::warn!(kafka.topic = %topic, kafka.partition = partition, %error, "partition cannot start yet");
    client.last_error = Some(error.to_string());
    partitions.defer(generation, Instant::now() + REREAD_AFTER, StartDecision::Start(begin));
}

/// Makes the client compare positions with the log. The client does this when it seeks, not when a partition is
/// assigned, and it seeks only in partitions that it already fetches. If the log was truncated below the position, this
/// returns as an error, as a position out of range does. Returns whether the pauses have to be applied again.
pub(super) fn seek<W: Work>(partitions: &mut Partitions<W>, client: &Client<W>) -> bool {
    let mut list = TopicPartitionList::new();
    for owned in partitions.unsettled() {
        let State::Seeking(Begin { at, epoch: Some(epoch) }) = owned.state else { continue };
        let Assignment { topic, partition, .. } = &*owned.assignment;
        if list.add_partition_offset(topic, *partition, Offset::Offset(at)).is_ok() {
            native::set_leader_epoch(&mut list, topic, *partition, epoch);
        }
    }
    if list.count() == 0 {
        return false;
    }
    let sought = match client.consumer.seek_partitions(list, SEEK_WITHIN) {
        Ok(sought) => sought,
        Err(error) => {
            tracing::debug!(%error, "positions cannot be compared with the log yet");
            return false;
        }
    };
    for owned in partitions.iter_mut().filter(|owned| matches!(owned.state, State::Seeking(_))) {
        let element = sought.find_partition(&owned.assignment.topic, owned.assignment.partition);
        if element.is_some_and(|element| element.error().is_ok()) {
            owned.state = State::Reading;
        }
    }
    partitions.pauses_changed = true;
    true
}

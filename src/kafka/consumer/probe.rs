//! What comes next in a partition, where the polling client does not tell: behind the last record there may be only
//! marks of transactions, and a log that was cut at an election may have grown past our position with other records.
//!
//! It is read by a client of its own, which reads one record or the end of each partition and leaves again. Only
//! partitions in doubt are asked about, so this is rare. Rejected: the end events of the polling client, which would come
//! for each lone record, and of which the crate says the partition's number but not its topic.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use super::lookup::{Asker, Begin};
use super::part::{Next, Part, State};
use super::poll::Poller;
use super::ticket::Assignment;
use super::view::look_for_end;
use super::{Handler, Note};
use crate::kafka::native;
use crate::kafka::offsets::NextOffset;
use crate::kafka::topics::Context;

/// A partition with nothing unfinished, and with more behind its position, is asked about after so long.
const QUIET: Duration = Duration::from_secs(1);
/// So often the ends are looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Of one question.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A partition whose position is in doubt.
pub(super) struct Doubt {
    assignment: Arc<Assignment>,
    begin: Begin,
    /// An end that the broker stated before the question.
    high: i64,
}

/// What was found out about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probed {
    generation: u64,
    /// The position that was asked about.
    at: i64,
    high: i64,
    next: Ahead,
}

/// What lies at a position, or behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ahead {
    /// A record with this offset. One below the position took the place of what was read there.
    Record(i64),
    /// Nothing that can be delivered.
    End,
}

impl<H: Handler> Poller<H> {
    /// Looks for partitions that have come to their last record and lag all the same.
    pub(super) fn look_at_ends(&mut self, now: Instant) {
        if self.probing || self.stopping.is_some() || now < self.next_look_at_ends {
            return;
        }
        self.next_look_at_ends = now + LOOK_EVERY;
        let (mut doubts, count) = (Vec::new(), self.parts.len());
        for part in self.parts.values_mut() {
            let idle = matches!(part.state, State::Reading) && part.paused == Some(false) && part.tracker.is_empty();
            let (Some(at), true) = (part.position(), idle) else {
                part.quiet = None;
                continue;
            };
            look_for_end(part, &self.consumer, count);
            let Some(high) = part.high.filter(|high| *high > at) else {
                part.quiet = None;
                continue;
            };
            match part.quiet {
                Some((then, since)) if then == at && now - since >= QUIET => doubts.push(doubt(part, at, high)),
                Some((then, _)) if then == at => {}
                _ => part.quiet = Some((at, now)),
            }
        }
        self.probe(doubts);
    }

    /// The client stopped reading some partition, and its position lies within the log: each one is asked about.
    pub(super) fn doubt_all(&mut self, generations: &[(u64, i64)]) {
        let parts = generations.iter().filter_map(|(generation, high)| Some((self.parts.get(generation)?, *high)));
        let reading = parts.filter(|(part, _)| matches!(part.state, State::Reading));
        let doubts = reading.filter_map(|(part, high)| Some(doubt(part, part.position()?, high))).collect();
        self.probe(doubts);
    }

    fn probe(&mut self, doubts: Vec<Doubt>) {
        if !doubts.is_empty() && !self.probing {
            let config = self.settings.client.clone();
            self.probing = self.asker.spawn(move |asker| asker.probe(&config, &doubts));
        }
    }

    pub(super) fn probed(&mut self, probed: Vec<Probed>) {
        self.probing = false;
        for Probed { generation, at, high, next } in probed {
            let Some(part) = self.parts.get_mut(&generation) else { continue };
            if !matches!(part.state, State::Reading) {
                continue;
            }
            let Assignment { topic, partition, .. } = &*part.assignment;
            match next {
                Ahead::Record(cut) if cut < at => {
                    tracing::error!(
                        kafka.topic = %topic, kafka.partition = partition, position = at, kafka.offset = cut,
                        "the log was cut below the position at an election and has other records now: they are read"
                    );
                    self.turn(generation, Next::Rewind(cut));
                }
                // What lay between was no record: a mark of a transaction, or one that was broken off.
                Ahead::End if part.position() == Some(at) => {
                    part.tracker.pass(NextOffset::new(high));
                    part.quiet = None;
                }
                Ahead::Record(_) | Ahead::End => {}
            }
        }
        self.changed();
    }
}

fn doubt(part: &Part, at: i64, high: i64) -> Doubt {
    let begin = Begin { at, epoch: part.epochs.before(at) };
    Doubt { assignment: part.assignment.clone(), begin, high }
}

impl Asker {
    fn probe(&self, config: &ClientConfig, doubts: &[Doubt]) {
        let mut probed = Vec::new();
        for together in apart(doubts) {
            match ahead(config, &together) {
                Ok(found) => probed.extend(together.iter().filter_map(|doubt| {
                    let Doubt { assignment, begin, high } = doubt;
                    let next = *found.get(&assignment.partition)?;
                    Some(Probed { generation: assignment.generation, at: begin.at, high: *high, next })
                })),
                Err(error) => tracing::debug!(%error, "what comes next cannot be read yet"),
            }
        }
        let _ = self.sender.send(Note::Probed(probed));
    }
}

/// Groups in which no number of a partition comes twice: an end is told by the number alone.
fn apart(doubts: &[Doubt]) -> Vec<Vec<&Doubt>> {
    let mut groups: Vec<BTreeMap<i32, &Doubt>> = Vec::new();
    for doubt in doubts.iter().filter(|doubt| !doubt.assignment.is_leaving()) {
        let number = doubt.assignment.partition;
        match groups.iter_mut().find(|group| !group.contains_key(&number)) {
            Some(group) => _ = group.insert(number, doubt),
            None => groups.push(BTreeMap::from([(number, doubt)])),
        }
    }
    groups.into_iter().map(|group| group.into_values().collect()).collect()
}

/// By partition, what comes first at or behind its position; what did not answer in time is left out.
fn ahead(config: &ClientConfig, doubts: &[&Doubt]) -> KafkaResult<BTreeMap<i32, Ahead>> {
    let mut config = config.clone();
    config.set("enable.auto.commit", "false").set("enable.partition.eof", "true");
    // Where a log was cut, the client goes on at the cut; with `error` it would only say so.
    config.set("auto.offset.reset", "earliest").set("fetch.wait.max.ms", "20");
    let consumer: BaseConsumer<Context> = config.create_with_context(Context)?;
    let mut list = TopicPartitionList::with_capacity(doubts.len());
    for Doubt { assignment, begin, .. } in doubts {
        list.add_partition_offset(&assignment.topic, assignment.partition, Offset::Offset(begin.at))?;
    }
    consumer.assign(&list)?;
    let deadline = Instant::now() + TIMEOUT;
    let mut checked = TopicPartitionList::new();
    for Doubt { assignment: part, begin, .. } in doubts {
        if let Some(epoch) = begin.epoch.filter(|_| begin.at > 0) {
            checked.add_partition_offset(&part.topic, part.partition, Offset::Offset(begin.at))?;
            native::set_leader_epoch(&mut checked, &part.topic, part.partition, epoch);
        }
    }
    // Only a position that is sought is compared with the log; one that has not begun yet cannot be.
    while checked.count() > 0 {
        let sought = consumer.seek_partitions(checked.clone(), Duration::from_millis(100))?;
        if sought.elements().iter().all(|element| element.error().is_ok()) {
            break;
        }
        if Instant::now() >= deadline {
            return Ok(BTreeMap::new());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut found = BTreeMap::new();
    while found.len() < doubts.len() && Instant::now() < deadline {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => _ = found.entry(message.partition()).or_insert(Ahead::Record(message.offset())),
            Some(Err(KafkaError::PartitionEOF(partition))) => _ = found.entry(partition).or_insert(Ahead::End),
            Some(Err(error)) => tracing::debug!(%error, "while looking at what comes next"),
            None => {}
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_of_one_number_are_asked_about_one_after_the_other() {
        let doubt = |topic: &str, partition, generation| Doubt {
            assignment: Arc::new(Assignment::new(topic.into(), partition, generation)),
            begin: Begin::at(1),
            high: 2,
        };
        let doubts = [doubt("a", 0, 1), doubt("a", 1, 2), doubt("b", 0, 3), doubt("c", 0, 4), doubt("b", 1, 5)];
        let groups: Vec<Vec<u64>> =
            apart(&doubts).iter().map(|group| group.iter().map(|d| d.assignment.generation).collect()).collect();
        assert_eq!(groups, [vec![1, 2], vec![3, 5], vec![4]]);
        doubts[3].assignment.set_leaving();
        assert_eq!(apart(&doubts).len(), 2);
    }
}

//! Finds out what comes next in a partition if the polling client does not tell. After the last record there may be
//! only transaction markers, and a log that was truncated at a leader election may have grown past our position with
//! other records.
//!
//! A client of its own reads one record or the end of each partition, and closes again. Only partitions in doubt are
//! asked about, so this is rare. The end events of the polling client were rejected as an alternative: they would
//! arrive after each single record, and the crate reports their partition's number without its topic.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use super::assignment::Assignment;
use super::command::Command;
use super::partition::Partition;
use super::queries::BrokerQueries;
use super::start_decision::{Ahead, Begin, Probed};
use super::work::Work;
use crate::kafka::native;
use crate::kafka::topics::context::Context;

const TIMEOUT: Duration = Duration::from_secs(10);

/// A partition whose position is in doubt.
#[derive(Clone)]
pub(super) struct Doubt {
    assignment: Arc<Assignment>,
    begin: Begin,
    /// Whether the client may have stopped reading it.
    suspect: bool,
}

impl Doubt {
    pub(super) fn new<W>(owned: &Partition<W>, at: i64, suspect: bool) -> Self {
        let begin = Begin { at, epoch: owned.progress.epoch_before(at) };
        Self { assignment: owned.assignment.clone(), begin, suspect }
    }
}

impl<W: Work> BrokerQueries<W> {
    pub(super) fn probe(&self, config: &ClientConfig, doubts: &[Doubt]) {
        let mut next: BTreeMap<u64, Ahead> = BTreeMap::new();
        // The ends are asked for first, so that everything that is found to be no record lies before them. The polling
        // client's end is not usable: it includes what an open transaction holds back, and may belong to a log that was
        // truncated since.
        let ends = self.ends(doubts.iter().map(|doubt| &doubt.assignment));
        let (mut asked, mut highs) = (Vec::new(), BTreeMap::new());
        for doubt in doubts {
            let Doubt { assignment, begin, suspect } = doubt;
            match ends.get(&(assignment.topic.to_string(), assignment.partition)) {
                None => {}
                Some((_, high)) if *high <= begin.at && !suspect => {
                    _ = next.insert(assignment.generation, Ahead::End(*high))
                }
                Some((_, high)) => {
                    highs.insert(assignment.generation, *high);
                    asked.push(doubt.clone());
                }
            }
        }
        for together in apart(&asked) {
            match ahead(config, &together) {
                Ok(found) => {
                    for Doubt { assignment, begin, .. } in together {
                        let generation = assignment.generation;
                        let first = match (found.get(&assignment.partition).copied(), highs.get(&generation)) {
                            (Some(First::Record(offset)), _) => Some(Ahead::Record(offset)),
                            (Some(First::End), Some(high)) => Some(Ahead::End(*high)),
                            _ => None,
                        };
                        next.extend(first.filter(|ahead| is_told(*begin, *ahead)).map(|ahead| (generation, ahead)));
                    }
                }
                Err(error) => tracing::debug!(%error, "what comes next cannot be read yet"),
            }
        }
        let probed = doubts.iter().map(|Doubt { assignment, begin, suspect }| {
            let generation = assignment.generation;
            Probed { generation, at: begin.at, suspect: *suspect, next: next.get(&generation).copied() }
        });
        let _ = self.sender.send(Command::Probed(probed.collect()));
    }
}

/// Whether the answer can be believed. For a position without an epoch the client cannot detect a truncated log: if it
/// goes back, the position was out of range, and the client went to the beginning.
fn is_told(begin: Begin, ahead: Ahead) -> bool {
    !matches!(ahead, Ahead::Record(offset) if offset < begin.at && begin.epoch.is_none())
}

/// Groups the doubts so that no partition number occurs twice in a group, because the end event carries only the
/// number.
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

/// What a client meets first.
#[derive(Clone, Copy, Debug)]
enum First {
    Record(i64),
    End,
}

/// For each partition, what comes first at or after its position. It leaves out partitions that did not answer in time.
fn ahead(config: &ClientConfig, doubts: &[&Doubt]) -> KafkaResult<BTreeMap<i32, First>> {
    let mut config = config.clone();
    config.set("enable.auto.commit", "false").set("enable.partition.eof", "true");
    // If a log was truncated, the client continues at the cut. With `error` it would only report it.
    config.set("auto.offset.reset", "earliest").set("fetch.wait.max.ms", "20");
    let consumer: BaseConsumer<Context> = config.create_with_context(Context)?;
    let mut list = TopicPartitionList::with_capacity(doubts.len());
    for Doubt { assignment, begin, .. } in doubts {
        list.add_partition_offset(&assignment.topic, assignment.partition, Offset::Offset(begin.at))?;
    }
    consumer.assign(&list)?;
    let deadline = Instant::now() + TIMEOUT;
    let mut checked = TopicPartitionList::new();
    for Doubt { assignment, begin, .. } in doubts {
        if let Some(epoch) = begin.epoch.filter(|_| begin.at > 0) {
            checked.add_partition_offset(&assignment.topic, assignment.partition, Offset::Offset(begin.at))?;
            native::set_leader_epoch(&mut checked, &assignment.topic, assignment.partition, epoch);
        }
    }
    // The client compares a position with the log only when it seeks, and it cannot seek before it has begun to fetch.
    while checked.count() > 0 {
        let sought = consumer.seek_partitions(checked.clone(), Duration::from_millis(100))?;
        if sought.elements().iter().all(|element| element.error().is_ok()) {
            break;
        }
        if is_over(doubts, deadline) {
            return Ok(BTreeMap::new());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut found = BTreeMap::new();
    while found.len() < doubts.len() && !is_over(doubts, deadline) {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => _ = found.entry(message.partition()).or_insert(First::Record(message.offset())),
            Some(Err(KafkaError::PartitionEOF(partition))) => _ = found.entry(partition).or_insert(First::End),
            Some(Err(error)) => tracing::debug!(%error, "while looking at what comes next"),
            None => {}
        }
    }
    Ok(found)
}

/// Whether the probe can end. The query keeps the polling client alive, so a leaving partition must not wait for an
/// answer that nobody needs.
fn is_over(doubts: &[&Doubt], deadline: Instant) -> bool {
    Instant::now() >= deadline || doubts.iter().all(|doubt| doubt.assignment.is_leaving())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_of_one_number_are_asked_about_one_after_the_other() {
        let doubt = |topic: &str, partition, generation| Doubt {
            assignment: Arc::new(Assignment::new(topic.into(), partition, generation)),
            begin: Begin::at(1),
            suspect: false,
        };
        let doubts = [doubt("a", 0, 1), doubt("a", 1, 2), doubt("b", 0, 3), doubt("c", 0, 4), doubt("b", 1, 5)];
        let groups: Vec<Vec<u64>> =
            apart(&doubts).iter().map(|group| group.iter().map(|d| d.assignment.generation).collect()).collect();
        assert_eq!(groups, [vec![1, 2], vec![3, 5], vec![4]]);
        doubts[3].assignment.set_leaving();
        assert_eq!(apart(&doubts).len(), 2);
        let (now, later) = (Instant::now(), Instant::now() + TIMEOUT);
        assert!(!is_over(&[&doubts[2], &doubts[3]], later) && is_over(&[&doubts[2], &doubts[3]], now));
        assert!(is_over(&[&doubts[3]], later), "nobody needs the answer");
    }

    #[test]
    fn a_client_that_went_to_the_beginning_says_nothing_of_a_cut() {
        let (with, without) = (Begin { at: 9, epoch: Some(1) }, Begin::at(9));
        let told = |begin, ahead| is_told(begin, ahead);
        assert!(told(with, Ahead::Record(4)) && !told(without, Ahead::Record(4)));
        assert!([Ahead::Record(9), Ahead::Record(12), Ahead::End(9)].into_iter().all(|ahead| told(without, ahead)));
    }
}

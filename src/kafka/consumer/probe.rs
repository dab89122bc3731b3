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
use super::handler::Handler;
use super::partition::{Next, Partition, State};
use super::poller::Poller;
use super::queries::BrokerQueries;
use super::show::look_for_end;
use super::start_decision::{Ahead, Begin, Probed};
use super::work::Work;
use crate::kafka::native;
use crate::kafka::offsets::NextOffset;
use crate::kafka::topics::context::Context;

/// A partition with no unfinished record and with more behind its position is asked about after this time.
const QUIET: Duration = Duration::from_secs(1);
/// The same time while the client always has records of other partitions, so that this partition may only wait for its
/// turn.
const QUIET_WHILE_BUSY: Duration = Duration::from_secs(30);
/// Longer than a fetch takes if there are records. A client that delivers nothing for this long has an answer for each
/// partition.
const A_TURN: Duration = Duration::from_millis(300);
/// The time between two searches for such partitions.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(10);

/// A partition whose position is in doubt.
#[derive(Clone)]
pub(super) struct Doubt {
    assignment: Arc<Assignment>,
    begin: Begin,
    /// Whether the client may have stopped reading it.
    suspect: bool,
}

impl<H: Handler> Poller<H> {
    /// Searches for partitions that have reached their last record and lag all the same.
    pub(super) fn look_at_ends(&mut self, now: Instant) {
        if self.ends.probing || self.stopping.is_some() || now < self.ends.next_look {
            return;
        }
        self.ends.next_look = now + LOOK_EVERY;
        let all_had_their_turn = self.ends.empty_since.is_some_and(|empty| now - empty >= A_TURN);
        let (mut doubts, count) = (Vec::new(), self.partitions.len());
        for owned in self.partitions.values_mut() {
            let idle = matches!(owned.state, State::Reading) && owned.paused == Some(false) && owned.tracker.is_empty();
            let (Some(at), true) = (owned.position(), idle) else {
                owned.quiet = None;
                continue;
            };
            look_for_end(owned, &self.consumer, count);
            if owned.high.is_none_or(|high| high <= at) {
                owned.quiet = None;
                continue;
            }
            match owned.quiet {
                Some((then, since)) if then == at && is_quiet(since, all_had_their_turn, now) => {
                    doubts.push(doubt(owned, at, false))
                }
                Some((then, _)) if then == at => {}
                _ => owned.quiet = Some((at, now)),
            }
        }
        self.probe(doubts);
    }

    /// Asks about each of these partitions: the client stopped reading one of them although its position lies within
    /// the log.
    pub(super) fn doubt_all(&mut self, generations: &[u64]) {
        let partitions = generations.iter().filter_map(|generation| self.partitions.get(generation));
        let reading = partitions.filter(|owned| matches!(owned.state, State::Reading));
        let doubts: Vec<Doubt> = reading.filter_map(|owned| Some(doubt(owned, owned.position()?, true))).collect();
        // While another probe runs, the suspicion stays.
        self.surveys.suspicious |= !doubts.is_empty() && !self.probe(doubts);
    }

    fn probe(&mut self, doubts: Vec<Doubt>) -> bool {
        if doubts.is_empty() || self.ends.probing {
            return false;
        }
        let config = self.settings.client.clone();
        self.ends.probing = self.queries.spawn(move |queries| queries.probe(&config, &doubts));
        self.ends.probing
    }

    pub(super) fn probed(&mut self, probed: Vec<Probed>) {
        self.ends.probing = false;
        for Probed { generation, at, suspect, next } in probed {
            let Some(owned) = self.partitions.get_mut(&generation) else { continue };
            if !matches!(owned.state, State::Reading) {
                continue;
            }
            let Assignment { topic, partition, .. } = &*owned.assignment;
            match next {
                Some(Ahead::Record(cut)) if cut < at => {
                    tracing::error!(
                        kafka.topic = %topic, kafka.partition = partition, position = at, kafka.offset = cut,
                        "the log was cut below the position at an election and has other records now: they are read"
                    );
                    self.turn(generation, Next::Rewind(cut));
                }
                Some(Ahead::Record(_)) => owned.found_sound(at),
                // There was no record in between, only a transaction marker or an aborted transaction.
                Some(Ahead::End(high)) if owned.position() == Some(at) => {
                    if owned.tracker.pass(NextOffset::new(high)) {
                        owned.epochs.pass(high);
                    }
                    owned.quiet = None;
                }
                Some(Ahead::End(_)) => {}
                None => self.surveys.suspicious |= suspect,
            }
        }
        self.changed();
    }
}

/// Whether a partition that has delivered nothing since then should have. While a bound holds the intake back, a
/// probing client for each waiting partition would cost more than the events do.
fn is_quiet(since: Instant, all_had_their_turn: bool, now: Instant) -> bool {
    now - since >= if all_had_their_turn { QUIET } else { QUIET_WHILE_BUSY }
}

fn doubt<W>(owned: &Partition<W>, at: i64, suspect: bool) -> Doubt {
    Doubt { assignment: owned.assignment.clone(), begin: Begin { at, epoch: owned.epochs.before(at) }, suspect }
}

impl<W: Work> BrokerQueries<W> {
    fn probe(&self, config: &ClientConfig, doubts: &[Doubt]) {
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
    fn a_partition_that_waits_for_its_turn_behind_a_bound_is_seldom_asked_about() {
        let since = Instant::now();
        let after = |ms| since + Duration::from_millis(ms);
        for (all_had_their_turn, ms) in [(true, 1_000), (false, 30_000)] {
            assert!(
                !is_quiet(since, all_had_their_turn, after(ms - 1)) && is_quiet(since, all_had_their_turn, after(ms))
            );
        }
    }

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

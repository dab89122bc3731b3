//! The thread of the search.

use std::collections::BTreeMap;
use std::time::Instant;

use super::audit::Audit;
use super::shared::{IDLE, Progress, REST, Shared, TEND, Trouble, reader};
use super::states::States;
use super::waits::{AGAIN, Ended, again, pause, pause_until_asked};
use crate::inspect::background::{Behind, lower_priority};
use crate::inspect::dead_letters::dead_letter::DeadLetter;
use crate::inspect::dead_letters::index::Index;
use crate::kafka::Config;
use crate::kafka::reader::{Fetch, Range, Reader};
use crate::kafka::topics::AdminError;
use crate::operate::keys::OFFSETS_PER_KEY;

/// The first round reads about so many letters, so that the newest ones are there at once.
const FIRST_ROUND: i64 = 1024;
/// A round reads so many at most: they are in memory as a whole.
const ROUND: i64 = 4096;
/// A round reads so many partitions at most. Of each, the client fetches some that are not needed.
const AT_ONCE: usize = 2;

/// Runs searches until the handle is dropped.
pub(super) fn run(shared: &Shared) {
    lower_priority(Behind::Furthest);
    loop {
        let waited = shared.wake.wait_while(shared.asked(), |asked| !asked.over && asked.quiet() >= IDLE);
        if waited.is_ok_and(|asked| asked.over) {
            return;
        }
        let Err(ended) = search(shared);
        // First of all: nobody may take an index that was dropped for a complete one.
        shared.progress.send_modify(|progress| {
            *progress = Progress { fresh: progress.fresh, ..Progress::default() };
        });
        *shared.change() = Index::default();
        *shared.records.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
        if matches!(ended, Ended::Over) {
            return;
        }
    }
}

/// What is left to read of a partition.
struct Left {
    low: i64,
    /// The first offset that was read.
    at: i64,
    /// The time of the oldest letter that was read.
    oldest_ms: i64,
}

struct Search<'a> {
    shared: &'a Shared,
    ranges: Reader,
    records: Reader,
    states: States,
    audit: Audit,
    tended: Option<Instant>,
    /// The id of the topic that is searched.
    topic_id: Option<String>,
}

fn search(shared: &Shared) -> Result<std::convert::Infallible, Ended> {
    let config = &shared.source.kafka;
    let mut search = Search {
        shared,
        ranges: again(shared, || reader(config, Fetch::Ranges))?,
        records: again(shared, || reader(config, Fetch::Records))?,
        states: States::new(&shared.source),
        audit: Audit::new(),
        tended: None,
        topic_id: None,
    };
    // First of all: what is read is never of an earlier topic than this one.
    again(shared, || bounds(&search.records, config))?;
    search.topic_id = again(shared, || search.records.topic_id())?;
    let bounds = again(shared, || bounds(&search.records, config))?;
    search.index(|index| bounds.iter().for_each(|range| index.begin(range.partition, range.end)));
    let total = bounds.iter().map(length).sum();
    shared.progress.send_modify(|progress| progress.total = total);
    let mut left: BTreeMap<i32, Left> = bounds
        .iter()
        .filter(|range| range.from < range.end)
        .map(|range| (range.partition, Left { low: range.from, at: range.end, oldest_ms: i64::MAX }))
        .collect();
    let mut round = 0;
    while !left.is_empty() && shared.index().len() < shared.most {
        round += 1;
        search.round(round, &mut left)?;
        if search.tended.is_none_or(|at| at.elapsed() > TEND) {
            search.tend()?;
        }
        search.index(|index| index.finish_round(round));
        let settled = left.values().map(|left| left.oldest_ms).max().unwrap_or(i64::MIN);
        shared.progress.send_modify(|progress| (progress.rounds, progress.settled_ms) = (round, settled));
    }
    search.index(Index::complete);
    let left_out = left.values().map(|left| u64::try_from(left.at - left.low).unwrap_or(0)).sum();
    shared.progress.send_modify(|progress| (progress.done, progress.left_out) = (true, left_out));
    loop {
        search.tend()?;
        search.wait_for_interest()?;
    }
}

/// What the topic holds. One without partitions does not exist.
fn bounds(reader: &Reader, config: &Config) -> Result<Vec<Range>, AdminError> {
    let bounds = reader.bounds()?;
    if bounds.is_empty() {
        let topic = &config.dead_letter;
        return Err(AdminError::Refused(format!("topic {topic} does not exist (kafka.dead_letter)")));
    }
    Ok(bounds)
}

fn length(range: &Range) -> u64 {
    u64::try_from(range.end - range.from).unwrap_or(0)
}

impl Search<'_> {
    fn index<T>(&self, change: impl FnOnce(&mut Index) -> T) -> T {
        change(&mut self.shared.change())
    }

    /// Reads the next letters of the partitions whose letters are newest.
    fn round(&mut self, round: u32, left: &mut BTreeMap<i32, Left>) -> Result<(), Ended> {
        self.rest()?;
        let first = round == 1;
        let mut order: Vec<(i64, i32)> = left.iter().map(|(partition, left)| (left.oldest_ms, *partition)).collect();
        order.sort_unstable_by_key(|(oldest, partition)| (std::cmp::Reverse(*oldest), *partition));
        order.truncate(if first { order.len() } else { AT_ONCE });
        let each = (if first { FIRST_ROUND } else { ROUND }) / order.len() as i64;
        let mut ranges: Vec<Range> = Vec::new();
        for (_, partition) in order {
            if let Some(left) = left.get(&partition) {
                ranges.push(Range { partition, from: left.low.max(left.at - each.max(16)), end: left.at });
            }
        }
        let mut found = self.read(if first { &self.records } else { &self.ranges }, &ranges)?;
        for range in &ranges {
            let letters = found.remove(&range.partition).unwrap_or_default();
            self.index(|index| index.older(range.partition, range.from, round, &letters));
            if let Some(known) = left.get_mut(&range.partition) {
                known.at = range.from;
                let oldest = letters.iter().map(DeadLetter::failed_at_ms).min();
                known.oldest_ms = known.oldest_ms.min(oldest.unwrap_or(known.oldest_ms));
                if known.at <= known.low {
                    left.remove(&range.partition);
                }
            }
        }
        let scanned: u64 = ranges.iter().map(length).sum();
        self.shared.progress.send_modify(|progress| progress.scanned += scanned);
        Ok(())
    }

    fn read(&self, reader: &Reader, ranges: &[Range]) -> Result<BTreeMap<i32, Vec<DeadLetter>>, Ended> {
        again(self.shared, || {
            let mut found: BTreeMap<i32, Vec<DeadLetter>> = BTreeMap::new();
            reader.read(ranges, &mut |record| {
                found.entry(record.partition).or_default().push(DeadLetter::read(&record));
            })?;
            Ok(found)
        })
    }

    /// Reads what has arrived, hides what was deleted, and looks the states up.
    fn tend(&mut self) -> Result<(), Ended> {
        let wanted = self.shared.asked().fresh;
        let bounds = again(self.shared, || bounds(&self.records, &self.shared.source.kafka))?;
        if again(self.shared, || self.records.topic_id())? != self.topic_id {
            return Err(Ended::Changed);
        }
        let mut known = self.shared.index().ends();
        for range in &bounds {
            // A partition that was added later is new as a whole.
            let end = *known.entry(range.partition).or_insert_with(|| {
                self.index(|index| index.begin(range.partition, range.from));
                self.shared.progress.send_modify(|progress| progress.total += length(range));
                range.from
            });
            if range.end < end {
                return Err(Ended::Changed);
            }
            self.index(|index| index.trim(range.partition, range.from));
            self.follow(&Range { partition: range.partition, from: end.max(range.from), end: range.end })?;
        }
        // The last round may have gone beyond the bound.
        let too_many = self.shared.most + self.shared.most / 4 + 2 * ROUND as usize;
        if self.shared.index().len() > too_many {
            // So much has arrived since: a new index begins with the newest.
            return Err(Ended::Changed);
        }
        let known = self.find_states(&bounds);
        self.shared.progress.send_modify(|progress| match known {
            Ok(()) => (progress.fresh, progress.trouble) = (wanted, None),
            Err(text) => progress.trouble = Some(Trouble { text, refused: false }),
        });
        self.tended = Some(Instant::now());
        Ok(())
    }

    /// Looks up what was replayed and discarded.
    fn find_states(&mut self, bounds: &[Range]) -> Result<(), String> {
        // Also of what is not read yet, so that each row has its state from the beginning.
        let chunks = bounds.iter().flat_map(|range| {
            let chunks = range.from / OFFSETS_PER_KEY..=range.end / OFFSETS_PER_KEY;
            chunks.map(|chunk| (range.partition, chunk))
        });
        let chunks = chunks.collect();
        let read = self
            .states
            .read(self.topic_id.clone(), &chunks)
            .map_err(|why| format!("which dead letters were replayed or discarded is not known: Redis: {why}"))?;
        // The entries that wait come first: one that is published meanwhile is found in the topic.
        self.audit.take(&read.waiting);
        self.audit
            .read(&self.shared.source.kafka)
            .map_err(|why| format!("which dead letters were discarded is not known: {why}"))?;
        self.index(|index| {
            read.bitmaps.iter().for_each(|((partition, chunk), bits)| index.set_replayed(*partition, *chunk, bits));
            index.set_discards(self.audit.log().in_force(&read.topic));
            index.set_topic(read.topic.clone());
            index.set_claims_lost(self.audit.log().claims_lost_ms());
        });
        Ok(())
    }

    /// Reads what has arrived in one partition.
    fn follow(&self, new: &Range) -> Result<(), Ended> {
        let mut from = new.from;
        while from < new.end {
            let range = Range { from, end: new.end.min(from + ROUND), ..new.clone() };
            let reader = if length(&range) > 64 { &self.ranges } else { &self.records };
            let letters = self.read(reader, std::slice::from_ref(&range))?.remove(&range.partition).unwrap_or_default();
            self.index(|index| index.newer(range.partition, range.end, &letters));
            self.shared.progress.send_modify(|progress| {
                progress.scanned += length(&range);
                progress.total = progress.total.max(progress.scanned);
            });
            from = range.end;
        }
        Ok(())
    }

    /// Stops for the time being if nobody asks.
    fn rest(&self) -> Result<(), Ended> {
        while self.shared.asked().quiet() >= REST {
            pause_until_asked(self.shared)?;
        }
        if self.shared.asked().over { Err(Ended::Over) } else { Ok(()) }
    }

    /// Waits until what has arrived is to be looked up again.
    fn wait_for_interest(&self) -> Result<(), Ended> {
        let tended = self.tended.unwrap_or_else(Instant::now);
        loop {
            let (asked, served) = (self.shared.asked(), self.shared.progress.borrow().fresh);
            if asked.over {
                return Err(Ended::Over);
            }
            let patience = if self.shared.progress.borrow().trouble.is_some() { TEND } else { AGAIN / 10 };
            let due = asked.fresh > served && tended.elapsed() > patience;
            let looked = asked.quiet() < REST;
            if due || (looked && tended.elapsed() >= TEND) {
                return Ok(());
            }
            let fresh = asked.fresh;
            drop(asked);
            if looked || fresh > served {
                pause(self.shared, AGAIN / 10)?;
            } else {
                pause_until_asked(self.shared)?;
            }
        }
    }
}

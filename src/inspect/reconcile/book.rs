//! Keeps what is known of each record of the range while topics are read (pure).

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::envelope::{Envelope, Source};
use crate::error::Outcome;
use crate::event::{Identity, identify};
use crate::inspect::ledger::{
    self, Beside, DeadLetterRecord, Ledger, Origin, Origins, Place, ReceiptRecord, Sums, Written,
};
use crate::kafka::Config;
use crate::kafka::record::Record;
use crate::kafka::scan::Span;
use crate::kafka::topics::PartitionName;

/// What the book knows of a record, apart from its end.
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    /// It was read. An offset that was not read holds no event: a marker of a transaction, or a record of another time.
    is_read: bool,
    is_call: bool,
    has_result: bool,
    /// A copy of it waits in a tier or in a parking topic.
    waits: bool,
}

/// One input topic.
#[derive(Default)]
struct Topic {
    origins: Origins<Facts>,
    /// The position of the group in each partition: every record from there on may be open.
    committed: BTreeMap<i32, i64>,
    /// The replayed records of which a copy was not read yet or waits: how often the newest such copy was replayed, and
    /// its time, epoch ms.
    replayed: BTreeMap<Place, (i64, i64)>,
}

/// What a record of another topic tells about a record of the input.
pub(super) enum Told {
    Receipt(ReceiptRecord),
    DeadLetter(DeadLetterRecord),
    Result(String, Place),
}

/// Reads what a receipt, a dead letter or a result tells.
pub(super) fn read_end(record: &Record, kafka: &Config) -> Option<Told> {
    match &*record.topic {
        topic if topic == kafka.receipts => ledger::receipt(record).map(Told::Receipt),
        topic if topic == kafka.dead_letter => ledger::dead_letter(record).map(Told::DeadLetter),
        _ => ledger::final_result(record).map(|(topic, place)| Told::Result(topic, place)),
    }
}

/// The records of the range.
pub(super) struct Book {
    topics: BTreeMap<Arc<str>, Topic>,
    /// A hash of each event's identity. 8 bytes a record.
    keys: Vec<u64>,
    /// Events without an identity, each of which is one of its own.
    nameless: u64,
    replayed: u64,
    has_receipts: bool,
    /// The first record and the last end, epoch ms.
    times: (Option<i64>, Option<i64>),
    oldest_receipt_ms: Option<i64>,
}

impl Book {
    pub(super) fn new(input: &[Span], committed: &BTreeMap<PartitionName, i64>, has_receipts: bool) -> Self {
        let mut topics: BTreeMap<Arc<str>, Topic> = BTreeMap::new();
        for span in input {
            let topic = topics.entry(span.topic.as_str().into()).or_default();
            topic.origins.cover(span.partition, span.from..span.end);
            // Nothing was read of a partition without a position.
            let position = committed.get(&(span.topic.clone(), span.partition)).copied().unwrap_or(span.from);
            topic.committed.insert(span.partition, position);
        }
        Self {
            topics,
            keys: Vec::new(),
            nameless: 0,
            replayed: 0,
            has_receipts,
            times: (None, None),
            oldest_receipt_ms: None,
        }
    }

    /// Takes a record of the range.
    pub(super) fn input(&mut self, record: &Record) {
        let Some(topic) = self.topics.get_mut(&record.topic) else { return };
        let place = (record.partition, record.offset);
        let (envelope, _) = Envelope::read(record, Source::Input, record.timestamp_ms.unwrap_or(0));
        if envelope.replay.is_some() {
            self.replayed += 1;
            return;
        }
        let of = identify(record.value.as_deref());
        topic.origins.note(place, |facts| (facts.is_read, facts.is_call) = (true, of.reply.is_some()));
        match &of.trans_id {
            Some(_) => self.keys.push(hash(&of)),
            None => self.nameless += 1,
        }
        self.times.0 = self.times.0.into_iter().chain(record.timestamp_ms).min();
    }

    /// All of the range was read.
    pub(super) fn close_input(&mut self) {
        for topic in self.topics.values_mut() {
            topic.origins.leave_out_if(|origin| !origin.facts.is_read);
        }
        self.keys.sort_unstable();
        self.keys.dedup();
    }

    /// Takes an unfinished record of a tier or of a parking topic.
    pub(super) fn waiting(&mut self, record: &Record) {
        self.unfinished(record, Source::Owned);
    }

    /// Takes a record of the input that the group has not finished, inside or outside of the range. Only a replayed
    /// copy tells something: that what it repeats has a further end before it.
    pub(super) fn unread(&mut self, record: &Record) {
        self.unfinished(record, Source::Input);
    }

    fn unfinished(&mut self, record: &Record, source: Source) {
        let (envelope, _) = Envelope::read(record, source, record.timestamp_ms.unwrap_or(0));
        if envelope.replay.is_none() && source == Source::Input {
            return;
        }
        let Some(topic) = self.topics.get_mut(&envelope.origin.topic) else { return };
        let place = (envelope.origin.partition, envelope.origin.offset);
        let known = topic.origins.note(place, |facts| facts.waits = true);
        if let Some(replay) = envelope.replay.filter(|_| known.is_some()) {
            let copy = (i64::from(replay.replays), record.timestamp_ms.unwrap_or(i64::MAX));
            let newest = topic.replayed.entry(place).or_insert(copy);
            *newest = copy.max(*newest);
        }
    }

    /// Whether a replayed copy can tell something: some record ended as a dead letter, or is nowhere.
    pub(super) fn may_be_replayed(&self) -> bool {
        let dead = |topic: &Topic| topic.origins.sums().ended(Outcome::DeadLettered) > 0;
        self.lost() > 0 || self.topics.values().any(dead)
    }

    /// All ends were read: a dead letter whose replayed copy is still under way is none.
    pub(super) fn close_ends(&mut self) {
        for topic in self.topics.values_mut() {
            for (place, copy) in std::mem::take(&mut topic.replayed) {
                topic.origins.reopen(place, copy);
            }
        }
    }

    /// Takes what another topic tells.
    pub(super) fn end(&mut self, told: Told, written: Written) {
        let change = match told {
            Told::Receipt(receipt) => {
                self.oldest_receipt_ms = self.oldest_receipt_ms.into_iter().chain(written.at_ms).min();
                let topic = self.topics.get_mut(&*receipt.topic);
                topic.and_then(|topic| {
                    topic.origins.receipt(receipt.place, receipt.outcome, receipt.resends, Some(written))
                })
            }
            Told::DeadLetter(letter) => {
                let (topic, alone) = (self.topics.get_mut(&*letter.topic), !self.has_receipts);
                topic.and_then(|topic| {
                    if alone {
                        topic.origins.receipt(letter.place, Outcome::DeadLettered, 0, Some(written));
                    }
                    topic.origins.dead_letter(letter.place, letter.reason, Some((letter.replays, written)))
                })
            }
            Told::Result(topic, place) => {
                let topic = self.topics.get_mut(&*topic);
                _ = topic.and_then(|topic| topic.origins.note(place, |facts| facts.has_result = true));
                return;
            }
        };
        if change.is_some_and(|(_, after)| after.is_event()) {
            self.times.1 = self.times.1.into_iter().chain(written.at_ms).max();
        }
    }

    /// The time of the first record of the range.
    pub(super) fn first_ms(&self) -> Option<i64> {
        self.times.0
    }

    pub(super) fn oldest_receipt_ms(&self) -> Option<i64> {
        self.oldest_receipt_ms
    }

    /// How many records have no end, wait nowhere, and would have a receipt.
    pub(super) fn lost(&self) -> u64 {
        if self.has_receipts { self.nowhere().count() as u64 } else { 0 }
    }

    /// The first records that are missing, by topic, with what is missing.
    pub(super) fn missing(&self, limit: usize) -> BTreeMap<Arc<str>, Vec<(Place, &'static str)>> {
        let mut missing: BTreeMap<Arc<str>, Vec<_>> = BTreeMap::new();
        for (topic, place, origin) in self.nowhere().take(if self.has_receipts { limit } else { 0 }) {
            missing.entry(topic.clone()).or_default().push((place, origin.missing()));
        }
        missing
    }

    /// The events without an end, with whether each may still be open.
    fn unended(&self) -> impl Iterator<Item = (&Arc<str>, Place, &Origin<Facts>, bool)> {
        self.topics.iter().flat_map(|(name, topic)| {
            let unended = topic.origins.places().filter(|(_, origin)| origin.is_event() && origin.end().is_none());
            unended.map(move |(place, origin)| {
                let is_open = origin.facts.waits || topic.committed.get(&place.0).is_none_or(|at| place.1 >= *at);
                (name, place, origin, is_open)
            })
        })
    }

    fn nowhere(&self) -> impl Iterator<Item = (&Arc<str>, Place, &Origin<Facts>)> {
        self.unended().filter(|(_, _, _, is_open)| !is_open).map(|(name, place, origin, _)| (name, place, origin))
    }

    /// The ledger, how many ends are unknown, and how many replayed copies the range holds.
    pub(super) fn ledger(&self) -> (Ledger, u64, u64) {
        let mut sums = Sums::default();
        self.topics.values().for_each(|topic| sums.add(topic.origins.sums()));
        let open = self.unended().filter(|(_, _, _, is_open)| *is_open).count() as u64;
        let unknown = if self.has_receipts { 0 } else { self.nowhere().count() as u64 };
        let all = || self.topics.values().flat_map(|topic| topic.origins.iter());
        let calls = || all().filter(|origin| origin.is_event() && origin.facts.is_call && origin.needs_result());
        let beside = Beside {
            distinct: self.keys.len() as u64 + self.nameless,
            unfinished: open,
            unknown,
            platform_accepted: None,
            calls: calls().count() as u64,
            results: calls().filter(|origin| origin.facts.has_result).count() as u64,
        };
        let ms = self.times.0.zip(self.times.1).map_or(0, |(first, last)| (last - first).max(0));
        // A range of time is far below 2^53 ms.
        (Ledger::of(&sums, beside, ms as f64 / 1000.0), unknown, self.replayed)
    }
}

fn hash(of: &Identity) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&of.platform, &of.account, of.platform_event.as_ref().or(of.event.as_ref()), &of.trans_id).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;

//! Looks for the records of one event in topics that may hold millions: first at the times at which it is known to have
//! ended, then from the newest record backwards, until everything was read or the time is over.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use schemars::JsonSchema;
use serde::Serialize;

use crate::clock::now_ms;
use crate::kafka::Config;
use crate::kafka::lookup::{Lookup, Wanted};
use crate::kafka::record::Record;
use crate::kafka::scan::{Progress, Span};
use crate::kafka::topics::{AdminError, Offsets, PartitionName};

/// The first reading backwards takes so many records of each partition. Each further one takes four times as many.
const FIRST: i64 = 5_000;
/// The most records of a partition that one reading backwards takes.
const LARGEST: i64 = 320_000;
/// Of a partition that the event's key may lead to, a reading takes so many times more.
const LIKELY: i64 = 8;
/// The time around a hint that is read: the narrow one first, the wide one where the narrow one holds nothing. Clocks
/// of replicas differ by less than five minutes (core.md section 8).
const WIDTHS: [i64; 2] = [15_000, 600_000];

/// How much of some topics was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LookedAt {
    /// `waiting`, `dead_letters` or `receipts`.
    pub what: &'static str,
    /// Records that may belong to the event: those of its partitions, and of topics to wait in the unfinished ones.
    pub records: u64,
    /// Records among them that were looked at.
    pub read: u64,
    /// Whether these are all.
    pub complete: bool,
    /// All records from this time on were looked at, epoch ms; null where everything was, or nothing.
    pub since_ms: Option<i64>,
}

/// Times at which the event may have ended, epoch ms.
#[derive(Debug, Default)]
pub(super) struct Hints(Mutex<VecDeque<i64>>);

impl Hints {
    pub(super) fn add(&self, at_ms: i64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(at_ms);
    }

    fn next(&self) -> Option<i64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// Topics to look into, and what to look for there.
pub(super) struct TopicSearch<'a> {
    pub what: &'static str,
    /// Everything that may hold a record of the event.
    pub spans: Vec<Span>,
    /// The partitions that a key of the event leads to. Others may hold it too.
    pub likely: BTreeSet<i32>,
    pub wanted: Wanted<'a>,
    pub hints: &'a Hints,
}

/// What all hunts of one search share.
pub(super) struct Search<'a> {
    pub config: &'a Config,
    pub offsets: &'a Offsets,
    /// When to stop. `None`: when everything was read.
    pub until: Option<Instant>,
    pub progress: &'a Progress,
    /// Takes each record that was found.
    pub take: &'a (dyn Fn(Record) + Sync),
}

impl TopicSearch<'_> {
    /// Looks for the records.
    pub(super) fn run(self, search: &Search<'_>) -> Result<LookedAt, AdminError> {
        if self.spans.is_empty() {
            return Ok(LookedAt { what: self.what, complete: true, ..LookedAt::default() });
        }
        let mut lookup = Lookup::new(search.config)?;
        let mut covered: Vec<Covered> = self.spans.iter().map(|_| Covered::default()).collect();
        // The offset of each partition from which on everything was read backwards, and the size of the next reading.
        let mut back: Vec<i64> = self.spans.iter().map(|span| span.end).collect();
        let (mut size, mut since_ms) = (FIRST, None);
        loop {
            while let Some(at_ms) = self.hints.next() {
                for width_ms in WIDTHS {
                    let Some(window) = self.window(search.offsets, at_ms, width_ms)? else { break };
                    if self.read(&mut lookup, &window, search, &mut covered)?.0 > 0 {
                        break;
                    }
                }
            }
            let chunk: Vec<Span> = (self.spans.iter().zip(&back))
                .map(|(span, back)| Span {
                    from: span.from.max(back - self.share(span, size)),
                    end: *back,
                    ..span.clone()
                })
                .collect();
            if chunk.iter().all(|span| span.from >= span.end) {
                break;
            }
            let (_, first_ms, whole) = self.read(&mut lookup, &chunk, search, &mut covered)?;
            if !whole {
                break;
            }
            (since_ms, size) = (first_ms.or(since_ms), LARGEST.min(size * 4));
            back = chunk.iter().map(|span| span.from).collect();
        }
        let read = covered.iter().map(Covered::len).sum();
        let records = self.spans.iter().map(|span| length(span.from, span.end)).sum();
        let complete = read == records;
        Ok(LookedAt { what: self.what, records, read, complete, since_ms: since_ms.filter(|_| !complete) })
    }

    /// How many records of a partition a reading takes.
    fn share(&self, span: &Span, size: i64) -> i64 {
        // Where most partitions are likely, none is.
        let tells = self.likely.len() * 2 <= self.spans.len();
        if tells && self.likely.contains(&span.partition) { size * LIKELY } else { size }
    }

    /// The part of the spans that was written around this time; `None`: the broker finds no offsets by time.
    fn window(&self, offsets: &Offsets, at_ms: i64, width_ms: i64) -> Result<Option<Vec<Span>>, AdminError> {
        let partitions: Vec<PartitionName> = self.spans.iter().map(|s| (s.topic.clone(), s.partition)).collect();
        let until_ms = at_ms.saturating_add(width_ms);
        let Some(from) = offsets.since(&partitions, at_ms.saturating_sub(width_ms))? else { return Ok(None) };
        // Nothing was written later than now.
        let to = if until_ms > now_ms() { None } else { offsets.since(&partitions, until_ms)? }.unwrap_or_default();
        let windows = self.spans.iter().zip(&partitions).map(|(span, name)| Span {
            from: from.get(name).map_or(span.end, |at| span.from.max(*at)),
            end: to.get(name).map_or(span.end, |at| span.end.min(*at)),
            ..span.clone()
        });
        Ok(Some(windows.collect()))
    }

    /// Reads a part of each span. It returns how many records were found, the time since when all partitions were read,
    /// and whether it has read everything.
    fn read(
        &self,
        lookup: &mut Lookup,
        parts: &[Span],
        search: &Search<'_>,
        covered: &mut [Covered],
    ) -> Result<(usize, Option<i64>, bool), AdminError> {
        let mut found = 0;
        let mut take = |record| {
            found += 1;
            (search.take)(record);
        };
        let reached = lookup.read(parts, search.until, search.progress, self.wanted, &mut take)?;
        for ((part, reached), covered) in parts.iter().zip(&reached).zip(covered) {
            covered.add(part.from, reached.next);
        }
        let whole = parts.iter().zip(&reached).all(|(part, reached)| reached.next >= part.end);
        Ok((found, reached.iter().filter_map(|reached| reached.first_ms).max(), whole))
    }
}

/// The offsets of one partition that were read: ranges that do not touch, in order.
#[derive(Debug, Default, PartialEq, Eq)]
struct Covered(Vec<(i64, i64)>);

impl Covered {
    fn add(&mut self, mut from: i64, mut end: i64) {
        if from >= end {
            return;
        }
        self.0.retain(|&(start, stop)| {
            let apart = stop < from || start > end;
            if !apart {
                (from, end) = (from.min(start), end.max(stop));
            }
            apart
        });
        let at = self.0.partition_point(|&(start, _)| start < from);
        self.0.insert(at, (from, end));
    }

    fn len(&self) -> u64 {
        self.0.iter().map(|&(from, end)| length(from, end)).sum()
    }
}

fn length(from: i64, end: i64) -> u64 {
    u64::try_from(end - from).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_become_one_and_nothing_counts_twice() {
        let mut covered = Covered::default();
        for (from, end) in [(10, 20), (40, 50), (30, 30), (20, 25), (0, 5), (12, 18)] {
            covered.add(from, end);
        }
        assert_eq!(covered.0, [(0, 5), (10, 25), (40, 50)]);
        assert_eq!(covered.len(), 30);
        covered.add(4, 45);
        assert_eq!((covered.0.as_slice(), covered.len()), (&[(0, 50)][..], 50));
    }
}

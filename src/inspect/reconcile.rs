//! Compares the records of a range of the input with what became of them, and names those that have no end.
//!
//! The order of the questions matters, because records move on meanwhile: first the positions of both groups, then the
//! ends of the input, of tiers and of parking topics, then the ends of receipts and dead letters. So a record is found
//! where it was or where it has gone, and a record is missing only if it is nowhere.

mod book;
mod found;
mod jobs;
mod keys;
mod range;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use book::Book;
use keys::read_keys;

use crate::inspect::ledger::Written;
use crate::kafka::Config;
use crate::kafka::matching::WaitingNames;
use crate::kafka::scan::{self, Progress, Span, spans};
use crate::kafka::settings::waiting_group;
use crate::kafka::topics::{AdminError, Cluster, PartitionName};

pub use found::{EmptyRange, ReadRange, Reconciled};
pub use jobs::{Jobs, Refused, Report, Stage};
pub use keys::MissingKey;
pub use range::{Range, RangeError, ReconcileError};

/// Records in the range may have been published with a clock that was ahead by up to this.
const EARLY_MS: i64 = 3_600_000;

/// How much a reconciliation may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most missing keys that are named.
    pub named: usize,
    /// The most records of the input: what is kept of each of them is the memory that a reconciliation takes.
    pub records: u64,
}

/// Reads the range and everything that tells an end.
///
/// # Errors
/// The range is none of the input or too large, Kafka does not answer, or it was stopped.
pub fn reconcile(
    kafka: &Config,
    range: &Range,
    limits: Limits,
    progress: &Progress,
) -> Result<Reconciled, ReconcileError> {
    let cluster = Cluster::new(kafka).map_err(|e| AdminError::Refused(e.to_string()))?;
    let input = range.spans(&cluster)?;
    let records: u64 = input.iter().map(Span::len).sum();
    if records > limits.records {
        return Err(ReconcileError::TooLarge { records, most: limits.records });
    }
    let go_on = || if progress.stop.load(Relaxed) { Err(ReconcileError::Stopped) } else { Ok(()) };
    let partitions: Vec<PartitionName> = input.iter().map(|span| (span.topic.clone(), span.partition)).collect();
    let committed = match &*partitions {
        [] => BTreeMap::new(),
        some => cluster.committed(&kafka.group, some)?,
    };
    // All partitions of the topics, because a replayed copy may have gone to another one.
    let of_range = |topic: &str| input.iter().any(|span| span.topic == topic);
    let unread = scan::unfinished(&cluster, &kafka.group, spans(&cluster, of_range)?)?;
    let names = WaitingNames::new(&kafka.retry_prefix, &kafka.parked_prefix);
    let waiting = |topic: &str| names.is_tier(topic) || names.is_parking(topic);
    // Their positions are read before their ends.
    let waiting = still_waiting(&cluster, kafka, &waiting)?;
    let tells_an_end = |topic: &str| {
        let results = std::iter::once(&kafka.results).chain(&kafka.result_topics);
        [&kafka.receipts, &kafka.dead_letter].into_iter().chain(results).any(|name| !name.is_empty() && name == topic)
    };
    let ends = spans(&cluster, tells_an_end)?;

    let book = Mutex::new(Book::new(&input, &committed, !kafka.receipts.is_empty()));
    let locked = || book.lock().unwrap_or_else(PoisonError::into_inner);
    scan::read(kafka, input.clone(), progress, &|record| {
        if range.holds(record.timestamp_ms) {
            locked().input(&record);
        }
    })?;
    go_on()?;
    locked().close_input();
    scan::read(kafka, waiting, progress, &|record| locked().waiting(&record))?;
    go_on()?;
    let take = |record: crate::kafka::record::Record| {
        let told = book::read_end(&record, kafka);
        if let Some(told) = told {
            locked().end(told, Written::of(&record));
        }
    };
    let first_ms = locked().first_ms();
    let (late, early) = split(&cluster, ends, first_ms.map(|at| at - EARLY_MS))?;
    scan::read(kafka, late, progress, &take)?;
    go_on()?;
    // A clock can be further ahead than expected. Before a record is called missing, everything has been read.
    let all_read = locked().lost() > 0 || first_ms.is_none();
    if all_read {
        scan::read(kafka, early, progress, &take)?;
        go_on()?;
    }
    let may_be_replayed = locked().may_be_replayed();
    if may_be_replayed {
        scan::read(kafka, unread, progress, &|record| locked().unread(&record))?;
        go_on()?;
    }
    let mut book = book.into_inner().unwrap_or_else(PoisonError::into_inner);
    book.close_ends();
    let missing = read_keys(kafka, book.missing(limits.named), progress)?;
    go_on()?;
    let oldest_receipt_ms = book.oldest_receipt_ms().filter(|_| all_read);
    let partitions =
        input.into_iter().map(|s| ReadRange { topic: s.topic, partition: s.partition, from: s.from, to: s.end });
    let (ledger, unknown, replayed) = book.ledger();
    let empty = if ledger.produced == 0 { Some(empty(&cluster, kafka, range, progress)?) } else { None };
    Ok(Reconciled { ledger, unknown, replayed, missing, oldest_receipt_ms, partitions: partitions.collect(), empty })
}

/// What there is to say of a range without an event.
fn empty(cluster: &Cluster, kafka: &Config, range: &Range, progress: &Progress) -> Result<EmptyRange, AdminError> {
    /// The last offsets of a partition may be markers of a transaction.
    const LAST: i64 = 3;
    let topics: Vec<String> =
        cluster.inputs()?.into_iter().map(|topic| topic.name).filter(|name| range.is_of(name)).collect();
    let mut last = spans(cluster, |name| topics.iter().any(|topic| topic == name))?;
    last.iter_mut().for_each(|span| span.from = span.from.max(span.end - LAST));
    let newest_ms = AtomicI64::new(i64::MIN);
    scan::read(kafka, last, progress, &|record| {
        _ = newest_ms.fetch_max(record.timestamp_ms.unwrap_or(i64::MIN), Relaxed);
    })?;
    let newest_record_ms = Some(newest_ms.into_inner()).filter(|at| *at > i64::MIN);
    Ok(EmptyRange { topics, range: range.clone(), newest_record_ms })
}

/// The unfinished records of tiers and parking topics.
fn still_waiting(
    cluster: &Cluster,
    kafka: &Config,
    is_waiting: &dyn Fn(&str) -> bool,
) -> Result<Vec<Span>, AdminError> {
    let topics = cluster.topics()?.into_iter().filter(|topic| is_waiting(&topic.name));
    let all: Vec<PartitionName> = topics.flat_map(|t| (0..t.partitions).map(move |p| (t.name.clone(), p))).collect();
    let committed = if all.is_empty() { BTreeMap::new() } else { cluster.committed(&waiting_group(kafka), &all)? };
    let mut found = spans(cluster, is_waiting)?;
    for span in &mut found {
        let position = committed.get(&(span.topic.clone(), span.partition));
        span.from = position.map_or(span.from, |at| span.from.max(*at));
    }
    found.retain(|span| span.from < span.end);
    Ok(found)
}

/// Cuts the spans in two at a time: what was written since, and what before.
fn split(cluster: &Cluster, all: Vec<Span>, since_ms: Option<i64>) -> Result<(Vec<Span>, Vec<Span>), AdminError> {
    let names: Vec<PartitionName> = all.iter().map(|span| (span.topic.clone(), span.partition)).collect();
    let since = match since_ms {
        Some(since_ms) if !names.is_empty() => cluster.offsets()?.since(&names, since_ms)?,
        _ => None,
    };
    let Some(since) = since else { return Ok((all, Vec::new())) };
    let (mut late, mut early) = (Vec::new(), Vec::new());
    for (span, name) in all.into_iter().zip(names) {
        let cut = since.get(&name).map_or(span.end, |at| span.from.max(*at).min(span.end));
        late.push(Span { from: cut, ..span.clone() });
        early.push(Span { end: cut, ..span });
    }
    late.retain(|span| span.from < span.end);
    early.retain(|span| span.from < span.end);
    Ok((late, early))
}

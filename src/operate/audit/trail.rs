//! Reads the audit back from `kafka.audit`: from the end of the topic, newest first, page by page. Entries of one
//! partition come in the order in which they were published.
//!
//! Its functions block, like all functions that ask a cluster from outside.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::kafka::Config;
use crate::kafka::scan::{self, Progress, Span};
use crate::kafka::topics::{AdminError, Cluster};
use crate::operate::audit::AuditRecord;

/// The number of records that one round reads from each partition. Each round reads twice as many as the one before.
const FIRST_ROUND: i64 = 512;
const LARGEST_ROUND: i64 = 16_384;
/// How long one page may take. The rest is read with the next page.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where the next page begins: for each partition the offset below which nothing was shown yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor(BTreeMap<i32, i64>);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = self.0.iter().map(|(partition, offset)| format!("{partition}:{offset}")).collect();
        f.write_str(&parts.join(","))
    }
}

impl FromStr for Cursor {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let part = |part: &str| {
            let (partition, offset) = part.split_once(':').ok_or(())?;
            Ok((partition.parse().map_err(|_| ())?, offset.parse().map_err(|_| ())?))
        };
        text.split(',').map(part).collect::<Result<_, ()>>().map(Self)
    }
}

/// A part of the audit, newest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    pub items: Vec<AuditRecord>,
    /// Where the next page begins. `None`: nothing is left.
    pub cursor: Option<Cursor>,
}

/// Reads up to `limit` entries that are `wanted`, from the cursor on or from the end of the topic. It returns fewer,
/// with a cursor, if that takes too long.
///
/// # Errors
/// See [`AdminError`].
pub fn page(
    config: &Config,
    wanted: &(dyn Fn(&AuditRecord) -> bool + Sync),
    from: Option<&Cursor>,
    limit: usize,
) -> Result<Page, AdminError> {
    let cluster = Cluster::new(config).map_err(|e| AdminError::Refused(e.to_string()))?;
    let spans = scan::spans(&cluster, |topic| topic == config.audit)?;
    let mut tails: Vec<Tail> = spans
        .into_iter()
        .map(|span| {
            // A partition that the cursor does not name is younger than the first page.
            let end = from.map_or(span.end, |from| from.0.get(&span.partition).copied().unwrap_or(span.from));
            Tail { next: end.clamp(span.from, span.end), span, found: VecDeque::new() }
        })
        .collect();
    let (begun, mut round, mut seen) = (Instant::now(), FIRST_ROUND, BTreeSet::new());
    let mut page = Page::default();
    while page.items.len() < limit && begun.elapsed() < PATIENCE {
        refill(config, &mut tails, round, wanted)?;
        round = (round * 2).min(LARGEST_ROUND);
        // The newest one of all partitions is known only while each of them has one, or has been read wholly.
        while page.items.len() < limit && tails.iter().all(|tail| !tail.found.is_empty() || tail.is_read()) {
            let newest = tails.iter_mut().filter(|t| !t.found.is_empty());
            let Some(tail) = newest.max_by_key(|tail| tail.found.front().map(|(_, record)| record.at_ms)) else {
                return Ok(page);
            };
            // An entry may have been published twice.
            page.items.extend(tail.found.pop_front().map(|(_, r)| r).filter(|record| seen.insert(record.id.clone())));
        }
    }
    let is_over = tails.iter().all(|tail| tail.found.is_empty() && tail.is_read());
    let left = tails.iter().map(|tail| (tail.span.partition, tail.found.front().map_or(tail.next, |(at, _)| at + 1)));
    page.cursor = (!is_over).then(|| Cursor(left.collect()));
    Ok(page)
}

/// The end of a partition, which is read backwards.
struct Tail {
    span: Span,
    /// The records below this offset were not read yet.
    next: i64,
    /// What was read and is not in a page yet, newest first, with its offset.
    found: VecDeque<(i64, AuditRecord)>,
}

impl Tail {
    fn is_read(&self) -> bool {
        self.next <= self.span.from
    }
}

/// Reads on in the partitions of which nothing is at hand.
fn refill(
    config: &Config,
    tails: &mut [Tail],
    round: i64,
    wanted: &(dyn Fn(&AuditRecord) -> bool + Sync),
) -> Result<(), AdminError> {
    let mut spans = Vec::new();
    for tail in tails.iter_mut().filter(|tail| tail.found.is_empty() && !tail.is_read()) {
        let from = (tail.next - round).max(tail.span.from);
        spans.push(Span { from, end: tail.next, ..tail.span.clone() });
        tail.next = from;
    }
    if spans.is_empty() {
        return Ok(());
    }
    let read = Mutex::new(Vec::new());
    scan::read(config, spans, &Progress::default(), &|record| {
        if let Some(entry) = AuditRecord::read(record.value.as_deref()).filter(|entry| wanted(entry)) {
            let mut read = read.lock().unwrap_or_else(PoisonError::into_inner);
            read.push((record.partition, record.offset, entry));
        }
    })?;
    for (partition, offset, entry) in read.into_inner().unwrap_or_else(PoisonError::into_inner) {
        if let Some(tail) = tails.iter_mut().find(|tail| tail.span.partition == partition) {
            tail.found.push_front((offset, entry));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

    use super::*;
    use crate::operate::audit::{By, Change, Via};

    fn write(config: &Config, entries: impl Iterator<Item = (i32, i64)>) {
        let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &config.brokers).create().unwrap();
        for (partition, at_ms) in entries {
            let who = if at_ms % 100 == 0 { "li" } else { "wang" };
            let text = AuditRecord::new(Change::Pause, &By::new(Via::Api, who, "w"), at_ms).json();
            let record = BaseRecord::<(), str>::to("postback.audit").partition(partition).payload(&text);
            producer.send(record).ok().unwrap();
        }
        producer.flush(Duration::from_secs(10)).unwrap();
    }

    fn times(page: &Page) -> Vec<i64> {
        page.items.iter().map(|r| r.at_ms).collect()
    }

    #[test]
    fn pages_go_on_where_the_last_one_ended_and_merge_the_partitions_by_time() {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic("postback.audit", 3, 1).unwrap();
        let config = Config::stub(&mock.bootstrap_servers(), &[]);
        // The third partition stays empty.
        write(&config, (1..=10).map(|n| (i32::from(n % 3 == 0), n)));
        let mut from = None;
        let mut all = Vec::new();
        for size in [4, 4, 2] {
            let read = page(&config, &|_| true, from.as_ref(), 4).unwrap();
            assert_eq!(read.items.len(), size);
            all.extend(times(&read));
            from = read.cursor.map(|cursor| cursor.to_string().parse().unwrap());
            // What is written later is on no later page.
            write(&config, [(0, 99)].into_iter());
        }
        assert_eq!(all, (1..=10).rev().collect::<Vec<_>>());
        assert_eq!(from, None);
    }

    #[test]
    fn a_filter_finds_what_lies_far_back() {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic("postback.audit", 1, 1).unwrap();
        let config = Config::stub(&mock.bootstrap_servers(), &[]);
        write(&config, (1..=2_000).map(|n| (0, n)));
        let read = page(&config, &|r| r.who == "li" && r.at_ms < 400, None, 2).unwrap();
        assert_eq!(times(&read), [300, 200]);
        let read = page(&config, &|r| r.who == "li" && r.at_ms < 400, read.cursor.as_ref(), 2).unwrap();
        assert_eq!((times(&read), read.cursor), (vec![100], None));
    }

    #[test]
    fn a_cursor_that_is_none_is_refused() {
        for text in ["", "1", "a:1", "1:", "1:2,"] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }
}

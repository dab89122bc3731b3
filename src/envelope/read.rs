//! Reads an [`Envelope`] from headers.
//!
//! Headers can be lost or forged, so every number has limits here. A missing, unreadable or negative number counts as
//! absent, and a huge one is cut to the limit. If any part of the origin is missing, the record itself counts as the
//! origin.

use std::sync::Arc;

use super::{Envelope, LastAttempt, Origin, Replay, Source, name, tame};
use crate::kafka::record::{Header, Record};

/// Kafka's longest topic name.
const TOPIC_MAX: usize = 249;
/// No policy allows this many attempts, re-sends or visits.
const COUNT_MAX: i64 = 1_000_000;
/// No due time lies further ahead than this.
const DUE_MAX_MS: i64 = 366 * 24 * 3600 * 1000;

/// The worker's own headers of a copy; empty if no worker wrote the record.
pub fn own_headers(record: &Record) -> &[Header] {
    let start = record.headers.iter().rposition(|h| &*h.name == name::ORIGIN_TOPIC);
    start.map_or(&[], |start| &record.headers[start..])
}

impl Envelope {
    /// Reads the envelope of a record. The number says how many of its first headers are the producer's.
    pub fn read(record: &Record, source: Source, now_ms: i64) -> (Envelope, usize) {
        let all = record.headers.len();
        let Some(start) = record.headers.iter().rposition(|h| &*h.name == name::ORIGIN_TOPIC) else {
            return (Envelope::fresh(record, now_ms), all);
        };
        let block = Block(&record.headers[start..]);
        match source {
            Source::Owned => (block.owned(record, now_ms), start),
            // Without the id of a replay the block is a producer's.
            Source::Input if block.replay().is_some() => (block.replayed(record, now_ms), start),
            Source::Input => (Envelope::fresh(record, now_ms), all),
        }
    }

    /// The envelope of a record that no worker has seen before.
    fn fresh(record: &Record, now_ms: i64) -> Envelope {
        Envelope {
            origin: Origin {
                topic: record.topic.clone(),
                partition: record.partition,
                offset: record.offset,
                timestamp_ms: record.timestamp_ms.unwrap_or(0).max(0),
            },
            first_seen_ms: now_ms,
            first_attempt_ms: None,
            attempts: 0,
            resends: 0,
            pass: 0,
            due_ms: None,
            retry_since_ms: None,
            parked_at_ms: None,
            page: 0,
            alternate: 0,
            last: None,
            replay: None,
        }
    }
}

/// The worker's own headers.
struct Block<'a>(&'a [Header]);

impl Block<'_> {
    /// Reads a retry, parked or dead copy, whose whole block is the worker's.
    fn owned(&self, record: &Record, now_ms: i64) -> Envelope {
        let due_ms = self.number(name::DUE).filter(|&due| due > 0 && due - now_ms <= DUE_MAX_MS);
        Envelope {
            attempts: self.count(name::ATTEMPTS),
            pass: self.count(name::PASS),
            due_ms,
            // The wait in a tier does not count, so the start may lie between now and the due time.
            retry_since_ms: self.past(name::RETRY_SINCE, due_ms.map_or(now_ms, |due| due.max(now_ms))),
            parked_at_ms: self.past(name::PARKED_AT, now_ms),
            page: self.count(name::PAGE),
            alternate: self.count(name::ALTERNATE),
            ..self.replayed(record, now_ms)
        }
    }

    /// Reads a replayed record. Its history stays, and its attempts start again at none.
    fn replayed(&self, record: &Record, now_ms: i64) -> Envelope {
        let fresh = Envelope::fresh(record, now_ms);
        Envelope {
            origin: self.origin(record).unwrap_or(fresh.origin),
            first_seen_ms: self.past(name::FIRST_SEEN, now_ms).unwrap_or(now_ms),
            first_attempt_ms: self.past(name::FIRST_ATTEMPT, now_ms),
            resends: self.count(name::RESENDS),
            last: self.last(),
            replay: self.replay(),
            ..fresh
        }
    }

    fn origin(&self, record: &Record) -> Option<Origin> {
        let topic = self.text(name::ORIGIN_TOPIC).map(|t| tame(t, TOPIC_MAX)).filter(|t| !t.is_empty())?;
        let topic = if *topic == *record.topic { record.topic.clone() } else { Arc::from(topic) };
        Some(Origin {
            topic,
            partition: i32::try_from(self.number(name::ORIGIN_PARTITION)?).ok()?,
            offset: self.number(name::ORIGIN_OFFSET)?,
            timestamp_ms: self.number(name::ORIGIN_TIMESTAMP).unwrap_or(0),
        })
    }

    fn last(&self) -> Option<LastAttempt> {
        let class = self.text(name::LAST_ERROR).map(|t| tame(t, 64)).filter(|t| !t.is_empty())?;
        let status = self.number(name::LAST_STATUS).and_then(|s| u16::try_from(s).ok());
        Some(LastAttempt {
            class,
            code: self.text(name::LAST_CODE).map(|t| tame(t, 256)).unwrap_or_default(),
            status: status.filter(|s| (100..1000).contains(s)),
        })
    }

    fn replay(&self) -> Option<Replay> {
        let id = self.text(name::REPLAY_ID).filter(|id| Replay::is_id(id))?;
        Some(Replay { id: id.to_owned(), replays: self.count(name::REPLAYS), force: self.has(name::REPLAY_FORCE) })
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|h| &*h.name == name)
    }

    fn text(&self, name: &str) -> Option<&str> {
        let header = self.0.iter().find(|h| &*h.name == name)?;
        std::str::from_utf8(header.value.as_deref()?).ok()
    }

    /// A number that is not negative.
    fn number(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok().filter(|&n: &i64| n >= 0)
    }

    fn count(&self, name: &str) -> u32 {
        self.number(name).and_then(|n| u32::try_from(n.min(COUNT_MAX)).ok()).unwrap_or(0)
    }

    /// A time in the past. The clock of another replica may be ahead of ours, so a later time becomes now.
    fn past(&self, name: &str, now_ms: i64) -> Option<i64> {
        self.number(name).filter(|&at| at > 0).map(|at| at.min(now_ms))
    }
}

//! Delivery metadata in headers: where a record came from, what was tried, when it is due (pure).
//!
//! The worker's own headers are one block at the end of a record's headers. The block begins with the last
//! `pb-origin-topic`. The headers before it are the producer's and stay byte for byte, even if they look like the
//! worker's.

mod read;
#[cfg(test)]
mod tests;
mod write;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

pub use read::own_headers;

/// The place where a record first appeared. It is written once and never changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    pub topic: Arc<str>,
    pub partition: i32,
    pub offset: i64,
    /// The record time, epoch ms; 0 without one.
    pub timestamp_ms: i64,
}

/// The last attempt's class, code and status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastAttempt {
    /// Attempt class by name.
    pub class: String,
    /// The platform's own code.
    pub code: String,
    /// HTTP status.
    pub status: Option<u16>,
}

/// The marks of an operator's replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    pub id: String,
    /// The number of replays so far.
    pub replays: u32,
    /// `--force` allowed the replay.
    pub force: bool,
}

impl Replay {
    /// Whether a text can be the id of a replay: at most 64 letters, digits, hyphens, underscores and dots. Ids are
    /// parts of keys in Redis.
    pub fn is_id(text: &str) -> bool {
        (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    }
}

/// Delivery metadata of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub origin: Origin,
    /// First seen by a worker, epoch ms.
    pub first_seen_ms: i64,
    /// First attempt, epoch ms.
    pub first_attempt_ms: Option<i64>,
    /// The number of attempts that were really made.
    pub attempts: u32,
    /// The number of declared re-sends.
    pub resends: u32,
    /// The number of visits that made an attempt.
    pub pass: u32,
    /// The earliest time of the next try, epoch ms.
    pub due_ms: Option<i64>,
    /// The start of the present period of retrying, epoch ms.
    pub retry_since_ms: Option<i64>,
    /// When it was first parked, epoch ms.
    pub parked_at_ms: Option<i64>,
    /// Of a call with pages: the first page, counted from 0, whose result is not acknowledged yet.
    pub page: u32,
    /// Of a call that another account may answer: which of them makes the next visit, counted from 1 in their order. 0:
    /// its own account.
    pub alternate: u32,
    pub last: Option<LastAttempt>,
    /// Marks of a replay.
    pub replay: Option<Replay>,
}

impl Envelope {
    /// Since when the event is under way: since its record was written or first seen, epoch ms.
    pub fn since_ms(&self) -> i64 {
        let origin = self.origin.timestamp_ms;
        if origin > 0 { origin.min(self.first_seen_ms) } else { self.first_seen_ms }
    }
}

/// The kind of the copy that is written. Each kind has its own set of headers.
#[derive(Clone, Copy, Debug)]
pub enum Copy<'a> {
    /// For a retry tier.
    Retry,
    /// For the parking topic of an account.
    Parked(&'a Named),
    /// For the dead-letter topic.
    Dead(&'a Named, &'a DeadLetterCause),
    /// For the topic that it came from, because an operator replays it.
    Replayed,
    /// No copy, but the result of a call: only where its event came from and what was tried.
    Result,
}

/// The names that could be read from the value, for people and programs that look at a parked or dead copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Platform as given.
    pub platform: Option<String>,
    /// Account as given.
    pub account: Option<String>,
    /// Identity of the event.
    pub trans_id: Option<String>,
    /// The native code if the event is mapped, else the event type as given.
    pub event: Option<String>,
}

/// Why a record ended as a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterCause {
    /// A reason of the closed list.
    pub reason: &'static str,
    /// The wrong field; may be empty.
    pub field: Cow<'static, str>,
    /// A safe text of at most 512 bytes.
    pub detail: String,
    /// The time of the end, epoch ms.
    pub failed_at_ms: i64,
    /// Version of the worker.
    pub worker: String,
    /// The parts that were left out because the broker refused the record by its size.
    pub truncated: Option<Cut>,
}

/// The parts that a dead letter has lost. They are left out in this order: the value, the producer's headers, the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// The length of the value. Its SHA-256 stands in its place.
    pub value: usize,
    /// The names and lengths of the producer's headers that were left out; empty: none was.
    pub headers: Vec<(Box<str>, usize)>,
    /// The length of the key. Its SHA-256 stands in its place.
    pub key: Option<usize>,
}

/// The names of headers take at most this many bytes of `pb-truncated`. For the other headers it says only their number
/// and their bytes.
const NAMES_MAX: usize = 2048;
/// The longest name in that list.
const NAME_MAX: usize = 128;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.value)?;
        let mut said = String::new();
        for (n, (name, bytes)) in self.headers.iter().enumerate() {
            // Blanks and commas separate the entries of the list.
            let name: String = tame(name, NAME_MAX).replace([' ', ','], "_");
            let one = format!("{name}:{bytes}");
            if said.len() + one.len() >= NAMES_MAX {
                let rest = &self.headers[n..];
                said.push_str(&format!(",+{}:{}", rest.len(), rest.iter().map(|(_, bytes)| bytes).sum::<usize>()));
                break;
            }
            said.push_str(if n == 0 { " headers=" } else { "," });
            said.push_str(&one);
        }
        f.write_str(&said)?;
        self.key.map_or(Ok(()), |bytes| write!(f, " key={bytes}"))
    }
}

/// Says which headers of a topic are the worker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A topic of producers. Only the block of a replayed record is read.
    Input,
    /// A tier, a parking topic or the dead-letter topic. The worker's own block stands at the end.
    Owned,
}

mod name {
    pub(super) const ORIGIN_TOPIC: &str = "pb-origin-topic";
    pub(super) const ORIGIN_PARTITION: &str = "pb-origin-partition";
    pub(super) const ORIGIN_OFFSET: &str = "pb-origin-offset";
    pub(super) const ORIGIN_TIMESTAMP: &str = "pb-origin-timestamp";
    pub(super) const FIRST_SEEN: &str = "pb-first-seen";
    pub(super) const FIRST_ATTEMPT: &str = "pb-first-attempt";
    pub(super) const ATTEMPTS: &str = "pb-attempts";
    pub(super) const RESENDS: &str = "pb-resends";
    pub(super) const DUE: &str = "pb-due";
    pub(super) const RETRY_SINCE: &str = "pb-retry-since";
    pub(super) const PARKED_AT: &str = "pb-parked-at";
    pub(super) const PASS: &str = "pb-pass";
    pub(super) const PAGE: &str = "pb-page";
    pub(super) const ALTERNATE: &str = "pb-alternate";
    pub(super) const LAST_ERROR: &str = "pb-last-error";
    pub(super) const LAST_CODE: &str = "pb-last-code";
    pub(super) const LAST_STATUS: &str = "pb-last-status";
    pub(super) const PLATFORM: &str = "pb-platform";
    pub(super) const ACCOUNT: &str = "pb-account";
    pub(super) const TRANS_ID: &str = "pb-trans-id";
    pub(super) const EVENT: &str = "pb-event";
    pub(super) const REASON: &str = "pb-reason";
    pub(super) const FIELD: &str = "pb-field";
    pub(super) const DETAIL: &str = "pb-detail";
    pub(super) const FAILED_AT: &str = "pb-failed-at";
    pub(super) const WORKER: &str = "pb-worker";
    pub(super) const TRUNCATED: &str = "pb-truncated";
    pub(super) const REPLAY_ID: &str = "pb-replay-id";
    pub(super) const REPLAYS: &str = "pb-replays";
    pub(super) const REPLAY_FORCE: &str = "pb-replay-force";
}

/// Makes a text that any console can show: no control characters, at most `max` bytes, cut between two characters.
fn tame(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max));
    for c in text.chars() {
        let c = if c.is_control() { ' ' } else { c };
        if out.len() + c.len_utf8() > max {
            break;
        }
        out.push(c);
    }
    out
}

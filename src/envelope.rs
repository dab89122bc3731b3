//! Delivery metadata in headers: where a record came from, what was tried, when it is due (pure).
//!
//! The worker's own headers are one block at the end of a record's headers; it begins with the last
//! `pb-origin-topic`. What precedes it is the producer's and travels byte for byte, even where it looks like ours.

mod read;
#[cfg(test)]
mod tests;
mod write;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

pub use read::own_headers;

/// Where a record first appeared; written once, never changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    pub topic: Arc<str>,
    pub partition: i32,
    pub offset: i64,
    /// Record time, epoch ms; 0 where there was none.
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

/// Marks of an operator's replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    pub id: String,
    /// How many times so far.
    pub replays: u32,
    /// `--force` let it pass.
    pub force: bool,
}

/// Delivery metadata of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub origin: Origin,
    /// First seen by a worker, epoch ms.
    pub first_seen_ms: i64,
    /// First attempt, epoch ms.
    pub first_attempt_ms: Option<i64>,
    /// Attempts really made.
    pub attempts: u32,
    /// Declared re-sends so far.
    pub resends: u32,
    /// Visits so far that made an attempt.
    pub pass: u32,
    /// Earliest next try, epoch ms.
    pub due_ms: Option<i64>,
    /// Start of this spell of retrying, epoch ms.
    pub retry_since_ms: Option<i64>,
    /// When it was first parked, epoch ms.
    pub parked_at_ms: Option<i64>,
    pub last: Option<LastAttempt>,
    /// Marks of a replay.
    pub replay: Option<Replay>,
}

/// Which copy of a record is written; each kind carries its own set of headers.
#[derive(Clone, Copy, Debug)]
pub enum Copy<'a> {
    /// To a retry tier.
    Retry,
    /// To the parking topic of an account.
    Parked(&'a Named),
    /// To the dead letters.
    Dead(&'a Named, &'a DeadLetterCause),
}

/// What could be read from the value, for whoever looks at a parked or dead copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Platform as given.
    pub platform: Option<String>,
    /// Account as given.
    pub account: Option<String>,
    /// Identity of the event.
    pub trans_id: Option<String>,
    /// The native code if mapped, else the event type as given.
    pub event: Option<String>,
}

/// Why a record ended as a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterCause {
    /// A name of the closed list.
    pub reason: &'static str,
    /// The offending field; may be empty.
    pub field: Cow<'static, str>,
    /// Safe text; cut to 512 bytes.
    pub detail: String,
    /// When, epoch ms.
    pub failed_at_ms: i64,
    /// Version of the worker.
    pub worker: String,
    /// What was left out of it, since its broker refused it by size.
    pub truncated: Option<Cut>,
}

/// What a dead letter has lost, in the order in which it is left out: its value, the producer's headers, its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Length of the value that its SHA-256 replaces.
    pub value: usize,
    /// Names and lengths of the producer's headers that were left out; empty: they are there.
    pub headers: Vec<(Box<str>, usize)>,
    /// Length of the key that its SHA-256 replaces.
    pub key: Option<usize>,
}

/// Names of headers take at most so many bytes of `pb-truncated`; of the others their number and their bytes are said.
const NAMES_MAX: usize = 2048;
/// No name takes more than this.
const NAME_MAX: usize = 128;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.value)?;
        let mut said = String::new();
        for (n, (name, bytes)) in self.headers.iter().enumerate() {
            // Blanks and commas part what is listed.
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

/// Whether a topic's headers are ours to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A producer's topic: only a replayed record's block is read.
    Input,
    /// A tier, a parking topic or the dead-letter topic: the worker's own block stands at the end.
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

/// Text that any console can show: no control characters, at most `max` bytes, cut between characters.
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

//! Gathers everything that is known about one event: its claims, its waiting copies, its dead letters, its receipts.
//!
//! [`Sources`] reads them. It begins at the times at which a claim of the event was written. Where that finds nothing
//! it reads backwards from the newest record. Receipts are read from the one partition that the `trans_id` selects.
//! [`Trace::looked_at`] says how far the search went.

mod claims;
mod search;
mod sources;
mod waiting;
mod wanted;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::event::identify;
use crate::inspect::dead_letters::{DeadLetter, Filter, LatestPerOrigin};
use crate::kafka::record::Record;
use crate::redact::{mask_text, mask_trans_id};

pub use claims::{Candidate, ClaimRow, candidates};
pub use search::LookedAt;
pub use sources::{Depth, Sources, TraceError};
pub use waiting::{ClosedLanes, Rules, WaitingRow};
pub use wanted::Wanted;

/// What was found.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Trace {
    pub trans_id: String,
    /// The claims in Redis, per account and native event.
    pub claims: Vec<ClaimRow>,
    /// Copies in tiers and parking topics that no worker has finished.
    pub waiting: Vec<WaitingRow>,
    /// The dead letters of the event: the newest of each origin, newest first.
    #[serde(serialize_with = "letters")]
    #[schemars(with = "Vec<Map<String, Value>>")]
    pub dead_letters: Vec<DeadLetter>,
    /// The receipts of the event, oldest first.
    pub receipts: Vec<Map<String, Value>>,
    /// How much of each kind of topic was looked at.
    pub looked_at: Vec<LookedAt>,
}

fn letters<S: serde::Serializer>(letters: &[DeadLetter], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(letters.iter().map(DeadLetter::json))
}

impl Trace {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty() && self.waiting.is_empty() && self.dead_letters.is_empty() && self.receipts.is_empty()
    }
}

/// Gathers the records of the topics in any order.
pub struct Gatherer {
    wanted: Wanted,
    rules: Rules,
    letters: LatestPerOrigin,
    /// Each row with how often its copy was replayed, and the time of its record.
    waiting: Vec<((i64, i64), WaitingRow)>,
    receipts: Vec<Map<String, Value>>,
    /// The records that were taken. One record may be read several times.
    taken: HashSet<(Arc<str>, i32, i64)>,
}

impl Gatherer {
    /// A gatherer for one event. `rules` say which topics are which.
    pub fn new(wanted: Wanted, rules: Rules) -> Self {
        let filter = Filter {
            trans_id: Some(wanted.trans_id.clone()),
            platform: wanted.platform.map(|p| p.to_owned()),
            account: wanted.account.clone(),
            ..Filter::default()
        };
        Self {
            wanted,
            rules,
            letters: LatestPerOrigin::new(filter),
            waiting: Vec::new(),
            receipts: Vec::new(),
            taken: HashSet::new(),
        }
    }

    /// Takes one record of any of the topics, and says whether it is a new one.
    pub fn add(&mut self, record: &Record, now_ms: i64) -> bool {
        if !self.taken.insert((record.topic.clone(), record.partition, record.offset)) {
            return false;
        }
        if *record.topic == *self.rules.dead_letter {
            self.letters.add(DeadLetter::read(record));
        } else if *record.topic == *self.rules.receipts {
            self.receipts.extend(receipt(record, &self.wanted));
        } else {
            let of = identify(record.value.as_deref());
            if self.wanted.is(of.trans_id.as_deref(), of.platform.as_deref(), of.account.as_deref()) {
                let written = (DeadLetter::read(record).replays(), record.timestamp_ms.unwrap_or(i64::MAX));
                self.waiting.extend(self.rules.row(record, &of, now_ms).map(|row| (written, row)));
            }
        }
        true
    }

    /// Returns everything, together with the claims from Redis, for people: the trans_id is masked where it contains
    /// personal data.
    ///
    /// A finished copy may lie behind the committed position, because an older record of its partition is not finished.
    /// So a copy does not wait any more if its origin has ended since the copy was written. The clocks of workers
    /// differ: the end of a copy that was replayed less often is none of this one.
    pub fn finish(self, claims: Vec<ClaimRow>) -> Trace {
        let dead_letters = self.letters.finish();
        let ended = |letter: &DeadLetter| Some((letter.stated_origin()?, (letter.replays(), letter.failed_at_ms())));
        let mut letters: HashMap<String, (i64, i64)> = HashMap::new();
        for (origin, end) in dead_letters.iter().filter_map(ended) {
            let last = letters.entry(origin).or_insert(end);
            *last = end.max(*last);
        }
        let mut receipts: HashMap<String, i64> = HashMap::new();
        // Of a dead letter, the letter itself tells more.
        let is_letter = |receipt: &Map<String, Value>, origin: &str| {
            receipt.get("outcome").is_some_and(|outcome| outcome == "dead_lettered") && letters.contains_key(origin)
        };
        for receipt in &self.receipts {
            if let Some((origin, at)) = end(receipt).filter(|(origin, _)| !is_letter(receipt, origin)) {
                let last = receipts.entry(origin).or_insert(at);
                *last = at.max(*last);
            }
        }
        let waits = |written: &(i64, i64), origin: &str| {
            letters.get(origin).is_none_or(|ended| ended < written)
                && receipts.get(origin).is_none_or(|ended| *ended < written.1)
        };
        let waiting = self.waiting.into_iter().filter(|(written, row)| waits(written, &row.origin));
        let mut waiting: Vec<WaitingRow> = waiting.map(|(_, row)| row).collect();
        waiting.sort_by(|a, b| (&a.topic, a.partition, a.offset).cmp(&(&b.topic, b.partition, b.offset)));
        let mut receipts = self.receipts;
        receipts.sort_by_key(|receipt| receipt.get("finished_at_ms").and_then(Value::as_i64));
        let trans_id = mask_trans_id(&self.wanted.trans_id);
        Trace { trans_id, claims, waiting, dead_letters, receipts, looked_at: Vec::new() }
    }
}

/// The origin that a receipt ends, and when.
fn end(receipt: &Map<String, Value>) -> Option<(String, i64)> {
    let origin = receipt.get("origin")?;
    let (topic, partition) = (origin.get("topic")?.as_str()?, origin.get("partition")?.as_i64()?);
    let offset = origin.get("offset")?.as_i64()?;
    Some((format!("{topic}:{partition}:{offset}"), receipt.get("finished_at_ms")?.as_i64()?))
}

fn receipt(record: &Record, wanted: &Wanted) -> Option<Map<String, Value>> {
    let value: Value = serde_json::from_slice(record.value.as_deref()?).ok()?;
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    if !wanted.is(text("trans_id"), text("platform"), text("account")) {
        return None;
    }
    let Value::Object(mut members) = value else { return None };
    // Platform, account, event and the platform's id stand there as they were given.
    for member in members.values_mut() {
        if let Value::String(text) = member {
            *text = mask_text(text).into_owned();
        }
    }
    members.insert("partition".to_owned(), record.partition.into());
    members.insert("offset".to_owned(), record.offset.into());
    Some(members)
}

#[cfg(test)]
mod tests;

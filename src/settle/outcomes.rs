//! What comes of the records of each replay, counted in Redis where every replica shows it. The script
//! [`Script::CountOutcome`] says which fields there are, and sets the brake of a replay whose records die.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;

use crate::delivery::Delivery;
use crate::error::{Outcome, Reason};
use crate::redact::mask_text;
use crate::redis::batcher::{Batcher, StoreError};
use crate::redis::scripts::Script;

/// How long the counts of a replay are kept after its last outcome (contract section 6).
const LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// The most kinds of outcomes that wait for Redis. Further ones hold their records.
const MOST_WAITING: usize = 10_000;
/// As long as `pb-account` may be.
const LONGEST_ACCOUNT: usize = 128;

/// The counts of one runtime thread.
pub struct Outcomes {
    batcher: Batcher,
    prefix: Box<str>,
    waiting: RefCell<HashMap<Kind, Waiting>>,
}

/// One kind of outcome of one replay.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    replay: Box<str>,
    /// `delivered`, `duplicate`, `suppressed`, `dead_lettered:<reason>`.
    outcome: Box<str>,
    /// As `pb-account` says it; empty where the value names none.
    account: Box<str>,
}

/// The end of one replayed record.
#[derive(Clone, Debug)]
pub(crate) struct Counted {
    kind: Kind,
    /// JSON; empty for what did not die.
    sample: String,
}

/// Why a record ended as a dead letter, as far as its counters, its receipt and its replay say it.
#[derive(Clone, Copy)]
pub(crate) struct Died<'a> {
    pub reason: Reason,
    /// The field at fault; may be empty.
    pub field: &'a str,
    /// A safe text.
    pub detail: &'a str,
}

/// Outcomes of one kind that Redis has not counted yet.
#[derive(Default)]
struct Waiting {
    times: u64,
    sample: String,
    again: bool,
}

/// One record that died, for the operator who looks why the replay stopped.
#[derive(Serialize)]
struct Sample<'a> {
    trans_id: String,
    account: &'a str,
    /// The platform's own code; empty without one.
    code: String,
    field: &'a str,
    detail: &'a str,
}

impl Counted {
    /// `None`: the record was not replayed.
    pub(crate) fn of(delivery: &Delivery, outcome: Outcome, died: Option<Died<'_>>) -> Option<Self> {
        let replay = delivery.envelope.replay.as_ref()?;
        let named = delivery.named();
        let account = named.account.unwrap_or_default();
        let account = &account[..account.floor_char_boundary(LONGEST_ACCOUNT)];
        let outcome = match &died {
            Some(died) => format!("{}:{}", outcome.as_str(), died.reason.as_str()),
            None => outcome.as_str().to_owned(),
        };
        let sample = died.map(|died| Sample {
            trans_id: named.trans_id.map(|id| mask_text(&id).into_owned()).unwrap_or_default(),
            account,
            code: delivery.envelope.last.as_ref().map(|last| mask_text(&last.code).into_owned()).unwrap_or_default(),
            field: died.field,
            detail: died.detail,
        });
        let sample = sample.and_then(|sample| serde_json::to_string(&sample).ok()).unwrap_or_default();
        let kind = Kind { replay: replay.id.as_str().into(), outcome: outcome.into(), account: account.into() };
        Some(Self { kind, sample })
    }
}

impl Outcomes {
    pub(super) fn new(batcher: Batcher, prefix: &str) -> Self {
        Self { batcher, prefix: prefix.into(), waiting: RefCell::default() }
    }

    /// Counts the same end `times` times. `again`: it may have been counted before.
    ///
    /// # Errors
    /// Redis did not answer, or refused.
    pub(super) async fn write(&self, counted: &Counted, times: u64, again: bool) -> Result<(), StoreError> {
        let Kind { replay, outcome, account } = &counted.kind;
        let key = format!("{}:replay:{replay}:outcomes", self.prefix);
        let (times, life) = (times.to_string(), LIFE.as_millis().to_string());
        let again = if again { "1" } else { "0" };
        let args = [outcome, account, &*times, &*counted.sample, again, &*life].map(str::as_bytes);
        self.batcher.script(Script::CountOutcome, key.as_bytes(), &args).await.map(drop)
    }

    /// Keeps an end until Redis is back. `false`: too many kinds wait already.
    pub(super) fn keep(&self, counted: &Counted, again: bool) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= MOST_WAITING && !waiting.contains_key(&counted.kind) {
            return false;
        }
        let Counted { kind, sample } = counted.clone();
        waiting.entry(kind).or_default().add(Waiting { times: 1, sample, again });
        true
    }

    /// Counts what waits for Redis.
    ///
    /// # Errors
    /// Redis is still away. What is left goes on waiting.
    pub async fn write_waiting(&self) -> Result<(), StoreError> {
        let kinds: Vec<Kind> = self.waiting.borrow().keys().cloned().collect();
        for kind in kinds {
            let Some(Waiting { times, sample, again }) = self.waiting.borrow_mut().remove(&kind) else { continue };
            let counted = Counted { kind, sample };
            if let Err(error) = self.write(&counted, times, again).await {
                let Counted { kind, sample } = counted;
                let left = Waiting { times, sample, again: again || error.may_have_run() };
                // There is room for it: it was here before, and one kind more than the bound does no harm.
                self.waiting.borrow_mut().entry(kind).or_default().add(left);
                // What the key of one replay holds says nothing of the others.
                if error != StoreError::Foreign {
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

impl Waiting {
    fn add(&mut self, more: Waiting) {
        self.times += more.times;
        self.sample = more.sample;
        self.again |= more.again;
    }
}

#[cfg(test)]
mod tests;

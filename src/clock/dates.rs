//! Compares this machine's clock with the `Date` header of the platforms' answers.
//!
//! A platform's clock may be the wrong one, so one platform alone does not stop the worker. This machine's clock counts
//! as wrong if at least two hosts have sent their time, and all that did say that it is behind by too much, or all that
//! it is ahead by too much. Redis need not agree: it often runs on the same machine, with the same clock.
//!
//! The worker sends again in three cases. An answer says otherwise. This machine's clock is set, which shows as a step
//! against the monotonic clock; earlier statements are then forgotten. Or no host has said anything for [`STANDS_FOR`]:
//! while the worker holds, no answer arrives, and the hosts may have been wrong and be right again. The next answers
//! then decide. Until they do, an event's own time is refused only if it is wrong by both clocks.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::apart::{HOLD, WARN, minutes};

/// A `Date` has whole seconds, and an answer takes time to arrive. A statement that differs by no more than this is the
/// same statement.
const SAME_MS: u64 = 15_000;
/// How long the worker holds after hosts said that this machine's clock is wrong.
pub(super) const STANDS_FOR: Duration = Duration::from_secs(600);

/// What each account's platform said last.
#[derive(Debug, Default)]
pub(super) struct Dates {
    said: Mutex<HashMap<Arc<str>, Said>>,
    /// How many ms this machine's clock is behind according to all hosts, at least (negative: ahead). 0: the hosts do
    /// not agree.
    agreed_ms: AtomicI64,
    /// [`Moment::own_ms`] of that statement.
    agreed_own_ms: AtomicI64,
    /// [`Moment::steady_ms`] when it was last confirmed.
    agreed_at_ms: AtomicI64,
}

/// The time of a statement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// The monotonic clock, in ms.
    pub(super) steady_ms: i64,
    /// This machine's wall clock minus the monotonic one. It changes when the wall clock is set.
    pub(super) own_ms: i64,
}

#[derive(Debug)]
struct Said {
    host: String,
    /// How many ms this machine's clock was behind the platform's (negative: ahead).
    behind_ms: i64,
    at: Moment,
}

impl Said {
    /// Whether the statement still counts. "The clock is wrong" counts for some time only; "the clock is right" counts
    /// until somebody sets the clock.
    fn counts(&self, now: Moment) -> bool {
        !is_off(self.behind_ms) || stands(self.at.steady_ms, now)
    }
}

impl Dates {
    /// Remembers that the platform of `account`, at `host`, is this far ahead of this machine's clock.
    pub(super) fn saw(&self, account: &Arc<str>, host: &str, behind_ms: i64, now: Moment) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let known = said.get_mut(account).filter(|old| {
            old.host == host
                && old.behind_ms.abs_diff(behind_ms) <= SAME_MS
                && is_off(old.behind_ms) == is_off(behind_ms)
                && !was_set(old.at.own_ms, now.own_ms)
                && old.counts(now)
        });
        if let Some(known) = known {
            known.at = now;
            if is_off(behind_ms) && self.agreed_ms.load(Relaxed) != 0 {
                self.agreed_at_ms.store(now.steady_ms, Relaxed);
            }
            return;
        }
        said.retain(|_, old| !was_set(old.at.own_ms, now.own_ms));
        said.insert(account.clone(), Said { host: host.to_owned(), behind_ms, at: now });
        if was_set(self.agreed_own_ms.load(Relaxed), now.own_ms) {
            self.agreed_ms.store(0, Relaxed);
        }
        if let Some(agreed_ms) = agreed(said.values().filter(|said| said.counts(now))) {
            self.agreed_own_ms.store(now.own_ms, Relaxed);
            self.agreed_at_ms.store(now.steady_ms, Relaxed);
            self.agreed_ms.store(agreed_ms, Relaxed);
        }
    }

    /// How many ms this machine's clock is behind according to all hosts, at least. 0 if they do not agree, if their
    /// statements are too old, or if the clock was set since.
    pub(super) fn agreed_ms(&self, now: impl FnOnce() -> Moment) -> i64 {
        self.said_ms(|| Some(now()).filter(|now| stands(self.agreed_at_ms.load(Relaxed), *now)))
    }

    /// The same difference if no host has said otherwise since, however long ago the hosts agreed. 0: there is none.
    pub(super) fn doubted_ms(&self, now: impl FnOnce() -> Moment) -> i64 {
        self.said_ms(|| Some(now()))
    }

    fn said_ms(&self, now: impl FnOnce() -> Option<Moment>) -> i64 {
        match self.agreed_ms.load(Relaxed) {
            0 => 0,
            agreed => now().filter(|now| !was_set(self.agreed_own_ms.load(Relaxed), now.own_ms)).map_or(0, |_| agreed),
        }
    }

    /// The largest of the differences that hosts stated and that still count: how many ms this machine's clock is
    /// behind.
    pub(super) fn largest_ms(&self, now: Moment) -> Option<i64> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let counting = said.values().filter(|said| !was_set(said.at.own_ms, now.own_ms));
        counting.map(|said| said.behind_ms).max_by_key(|behind| behind.unsigned_abs())
    }

    /// For each account whose platform's clock is too far from ours, a text that stays the same while it is.
    pub(super) fn warnings(&self, now: Moment) -> Vec<String> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let apart = said.iter().filter(|(_, said)| {
            said.behind_ms.unsigned_abs() > WARN.as_millis() as u64 && !was_set(said.at.own_ms, now.own_ms)
        });
        let text = |(account, said): (&Arc<str>, &Said)| {
            let apart = minutes(said.behind_ms);
            format!(
                "account {account}: this machine's clock is {apart} that of its platform (Date of {}): set it (NTP), or \
                 tell the platform where its clock is the wrong one; where two hosts agree on 5 min the worker holds",
                said.host
            )
        };
        let mut texts: Vec<String> = apart.map(text).collect();
        texts.sort();
        texts
    }
}

/// Whether this machine's clock was set between two moments. Statements from before are then about another clock.
fn was_set(then_ms: i64, now_ms: i64) -> bool {
    then_ms.abs_diff(now_ms) > WARN.as_millis() as u64
}

fn is_off(behind_ms: i64) -> bool {
    behind_ms.unsigned_abs() > HOLD.as_millis() as u64
}

fn stands(said_at_ms: i64, now: Moment) -> bool {
    now.steady_ms.saturating_sub(said_at_ms) < STANDS_FOR.as_millis() as i64
}

/// The smallest difference that these statements agree on: they come from at least two hosts and have the same sign. 0
/// if the signs differ or if one difference is small. `None` if one host alone says that the clock is wrong.
fn agreed<'a>(said: impl Iterator<Item = &'a Said> + Clone) -> Option<i64> {
    let least = said.clone().min_by_key(|said| said.behind_ms.unsigned_abs())?;
    let all = said.clone().all(|said| said.behind_ms.signum() == least.behind_ms.signum());
    if !all || !is_off(least.behind_ms) {
        return Some(0);
    }
    said.into_iter().any(|said| said.host != least.host).then_some(least.behind_ms)
}

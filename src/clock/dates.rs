//! What the `Date` of platforms' answers says of our own clock.
//!
//! A platform's clock may be the wrong one, so that one alone holds nobody. Our own counts as wrong where at least two hosts
//! have told theirs, and all that have say it is behind, or all that it is ahead, by too much. Redis need not agree: it often
//! runs on the same machine, by the same clock.
//!
//! The hold ends where an answer says otherwise, where our own clock is set, which shows as a step beside the monotonic one
//! (what was said of it before is then forgotten), and where nobody has said anything for [`STANDS_FOR`]: while the worker
//! holds, no answer comes, and the hosts may have been wrong and be right again. Then the next answers tell. Until they do,
//! an event's own time is refused only where it is wrong by both clocks.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::apart::{HOLD, WARN, minutes};

/// A `Date` in whole seconds and an answer's way may move what was said by so much; then it is the same.
const SAME_MS: u64 = 15_000;
/// So long it holds the worker that hosts said our clock is wrong.
pub(super) const STANDS_FOR: Duration = Duration::from_secs(600);

/// What each account's platform said last.
#[derive(Debug, Default)]
pub(super) struct Dates {
    said: Mutex<HashMap<Arc<str>, Said>>,
    /// So many ms all hosts say our own clock is behind at least (negative: ahead); 0: they do not agree.
    agreed_ms: AtomicI64,
    /// [`Moment::own_ms`] of that.
    agreed_own_ms: AtomicI64,
    /// [`Moment::steady_ms`] when it was said last.
    agreed_at_ms: AtomicI64,
}

/// When something was said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// Ms of the monotonic clock.
    pub(super) steady_ms: i64,
    /// Our wall clock less the monotonic one: it changes when our clock is set.
    pub(super) own_ms: i64,
}

#[derive(Debug)]
struct Said {
    host: String,
    /// So many ms our own clock was behind the platform's; negative: ahead.
    behind_ms: i64,
    at: Moment,
}

impl Said {
    /// Whether it still tells: that our clock is wrong for some time only, that it is not until somebody sets it.
    fn counts(&self, now: Moment) -> bool {
        !is_off(self.behind_ms) || stands(self.at.steady_ms, now)
    }
}

impl Dates {
    /// The platform of `account`, at `host`, is so far ahead of our own clock.
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

    /// So many ms all hosts say our own clock is behind at least; 0: they do not agree, or have not said so for long, or it
    /// was set since.
    pub(super) fn agreed_ms(&self, now: impl FnOnce() -> Moment) -> i64 {
        self.said_ms(|| Some(now()).filter(|now| stands(self.agreed_at_ms.load(Relaxed), *now)))
    }

    /// What they agreed on and nobody has said otherwise since, however long ago; 0: nothing.
    pub(super) fn doubted_ms(&self, now: impl FnOnce() -> Moment) -> i64 {
        self.said_ms(|| Some(now()))
    }

    fn said_ms(&self, now: impl FnOnce() -> Option<Moment>) -> i64 {
        match self.agreed_ms.load(Relaxed) {
            0 => 0,
            agreed => now().filter(|now| !was_set(self.agreed_own_ms.load(Relaxed), now.own_ms)).map_or(0, |_| agreed),
        }
    }

    /// Of each account whose platform's clock is too far from ours, a text that stays the same while it is.
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

/// Whether our own clock was set between two moments: what was said before is of another one.
fn was_set(then_ms: i64, now_ms: i64) -> bool {
    then_ms.abs_diff(now_ms) > WARN.as_millis() as u64
}

fn is_off(behind_ms: i64) -> bool {
    behind_ms.unsigned_abs() > HOLD.as_millis() as u64
}

fn stands(said_at_ms: i64, now: Moment) -> bool {
    now.steady_ms.saturating_sub(said_at_ms) < STANDS_FOR.as_millis() as i64
}

/// What all of them say at least, where they are of two hosts and say the same way; 0 where they do not, or where somebody
/// says that it is little. `None`: one host alone says that our clock is wrong.
fn agreed<'a>(said: impl Iterator<Item = &'a Said> + Clone) -> Option<i64> {
    let least = said.clone().min_by_key(|said| said.behind_ms.unsigned_abs())?;
    let all = said.clone().all(|said| said.behind_ms.signum() == least.behind_ms.signum());
    if !all || !is_off(least.behind_ms) {
        return Some(0);
    }
    said.into_iter().any(|said| said.host != least.host).then_some(least.behind_ms)
}

//! What the `Date` of platforms' answers says of our own clock.
//!
//! A platform's clock may be the wrong one, so that one alone holds nobody. Our own counts as wrong where at least two hosts
//! have told theirs, and all that have say it is behind, or all that it is ahead, by too much. Redis need not agree: it often
//! runs on the same machine, by the same clock.
//!
//! While the worker holds, no answer comes: what was said stands until our own clock is set, which shows as a step beside the
//! monotonic clock. Then it is forgotten, and the next answers tell. A clock that is set slowly makes no step; then a restart
//! ends the hold.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use super::{WARN, minutes};

/// A `Date` in whole seconds and an answer's way may move what was said by so much; then it is the same.
const SAME_MS: u64 = 15_000;

/// What each account's platform said last.
#[derive(Debug, Default)]
pub(super) struct Dates {
    said: Mutex<HashMap<Arc<str>, Said>>,
    /// So many ms all hosts say our own clock is behind at least (negative: ahead); 0: they do not agree.
    agreed_ms: AtomicI64,
    /// [`Said::own_ms`] of that.
    agreed_own_ms: AtomicI64,
}

#[derive(Debug)]
struct Said {
    host: String,
    /// So many ms our own clock was behind the platform's; negative: ahead.
    behind_ms: i64,
    /// Our wall clock less the monotonic one at that time: it changes when our clock is set.
    own_ms: i64,
}

impl Dates {
    /// The platform of `account`, at `host`, is so far ahead of our own clock.
    pub(super) fn saw(&self, account: &Arc<str>, host: &str, behind_ms: i64, own_ms: i64) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let known = said.get(account).is_some_and(|old| {
            old.host == host && old.behind_ms.abs_diff(behind_ms) <= SAME_MS && !was_set(old.own_ms, own_ms)
        });
        if known {
            return;
        }
        said.retain(|_, old| !was_set(old.own_ms, own_ms));
        said.insert(account.clone(), Said { host: host.to_owned(), behind_ms, own_ms });
        self.agreed_own_ms.store(own_ms, Relaxed);
        self.agreed_ms.store(agreed(said.values()), Relaxed);
    }

    /// So many ms all hosts say our own clock is behind at least; 0: they do not agree, or it was set since.
    pub(super) fn agreed_ms(&self, own_ms: impl FnOnce() -> i64) -> i64 {
        match self.agreed_ms.load(Relaxed) {
            0 => 0,
            _ if was_set(self.agreed_own_ms.load(Relaxed), own_ms()) => 0,
            agreed => agreed,
        }
    }

    /// Of each account whose platform's clock is too far from ours, a text that stays the same while it is.
    pub(super) fn warnings(&self, own_ms: i64) -> Vec<String> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let apart = said.iter().filter(|(_, said)| {
            said.behind_ms.unsigned_abs() > WARN.as_millis() as u64 && !was_set(said.own_ms, own_ms)
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

/// What all of them say at least, where they are of two hosts and say the same way; else 0.
fn agreed<'a>(said: impl Iterator<Item = &'a Said> + Clone) -> i64 {
    let least = said.clone().min_by_key(|said| said.behind_ms.unsigned_abs());
    let Some(least) = least else { return 0 };
    let all = said.clone().all(|said| said.behind_ms.signum() == least.behind_ms.signum());
    let several = said.into_iter().any(|said| said.host != least.host);
    if all && several { least.behind_ms } else { 0 }
}

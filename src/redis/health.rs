//! Whether Redis can be relied on now, and if not, why. `/ready` shows it, and every claim waits for it.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Shared;
use crate::redis::foreign::ForeignKeys;

/// The state of Redis, shared by all code that uses Redis.
#[derive(Default)]
pub struct Health {
    up: AtomicBool,
    forgotten: AtomicBool,
    holds: AtomicBool,
    why: Mutex<Why>,
    /// Replication id of the primary, as last read.
    primary: Mutex<Arc<str>>,
    /// The comparison of Redis's clock with the clock of this machine.
    pub clock: Shared,
    /// The keys that hold what no worker wrote. Only what needs one of them waits.
    pub foreign: ForeignKeys,
}

#[derive(Default)]
struct Why {
    failure: String,
    /// A reason that the periodic check found: eviction policy, version or role.
    hold: Option<String>,
}

impl Health {
    /// Reports that a command was answered.
    pub fn answered(&self) {
        if !self.up.swap(true, Relaxed) {
            tracing::info!("redis answers");
        }
    }

    /// Reports that a command failed. `text` contains no secret.
    pub fn failed(&self, text: &str) {
        let was_up = self.up.swap(false, Relaxed);
        let mut why = self.lock();
        if was_up || why.failure != text {
            tracing::warn!(reason = text, "redis cannot be used; claims wait");
        }
        why.failure = text.to_owned();
    }

    /// Reports that the epoch key is missing: the store was flushed, or it is another store.
    pub fn forgot(&self) {
        if !self.forgotten.swap(true, Relaxed) {
            tracing::error!(
                "redis has lost its epoch key: it was flushed or replaced, so its claims are gone; sending holds until \
                 `postback unblock dedupe --reason …`"
            );
        }
    }

    /// Reports that the epoch key is there again.
    pub fn remembered(&self) {
        if self.forgotten.swap(false, Relaxed) {
            tracing::warn!("redis has an epoch key again: sending goes on");
        }
    }

    /// Sets or clears the reason that the periodic check found.
    pub fn set_hold(&self, hold: Option<String>) {
        self.holds.store(hold.is_some(), Relaxed);
        let mut why = self.lock();
        if why.hold != hold {
            match &hold {
                Some(text) => tracing::error!(reason = text.as_str(), "redis cannot be relied on; claims wait"),
                None => tracing::info!("redis can be relied on again"),
            }
        }
        why.hold = hold;
    }

    /// Stores the replication id of the primary that was just read.
    pub fn set_primary(&self, id: &str) {
        let mut primary = self.primary.lock().unwrap_or_else(PoisonError::into_inner);
        if **primary != *id {
            *primary = id.into();
        }
    }

    /// The replication id of the primary as last read. Empty: it was not read yet.
    pub fn primary(&self) -> Arc<str> {
        self.primary.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the last command was answered.
    pub fn is_up(&self) -> bool {
        self.up.load(Relaxed)
    }

    /// Whether the store lost its epoch key, because it was flushed or replaced.
    pub fn has_forgotten(&self) -> bool {
        self.forgotten.load(Relaxed)
    }

    /// Whether no claim can be made because Redis does not answer, or because its settings or its role forbid it. A
    /// store that lost its epoch key is another case.
    pub fn is_away(&self) -> bool {
        !self.is_up() || self.holds.load(Relaxed)
    }

    /// The reason why no claim may be made now, although Redis may answer.
    pub fn hold(&self) -> Option<String> {
        self.store_hold().or_else(|| self.clock.trouble())
    }

    fn store_hold(&self) -> Option<String> {
        if self.has_forgotten() {
            return Some("redis lost its epoch key (flushed or replaced): run `postback unblock dedupe`".into());
        }
        if self.holds.load(Relaxed) { self.lock().hold.clone() } else { None }
    }

    /// Everything that is wrong, as one text without secrets. `None`: nothing is wrong.
    pub fn trouble(&self) -> Option<String> {
        self.store_trouble().or_else(|| self.clock.trouble())
    }

    /// Everything that is wrong with Redis. It leaves out what is wrong with this machine's clock.
    pub fn store_trouble(&self) -> Option<String> {
        self.store_hold().or_else(|| {
            (!self.is_up()).then(|| {
                let why = self.lock();
                if why.failure.is_empty() { "not reached yet".into() } else { why.failure.clone() }
            })
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Why> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

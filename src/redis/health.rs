//! Whether Redis can be relied on now, and if not, why: what `/ready` says and what every claim waits for.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Shared;

/// Shared by all who use Redis.
#[derive(Default)]
pub struct Health {
    up: AtomicBool,
    forgotten: AtomicBool,
    held: AtomicBool,
    why: Mutex<Why>,
    /// Replication id of the primary, as last seen.
    primary: Mutex<Arc<str>>,
    /// Redis's clock beside our own.
    pub clock: Shared,
}

#[derive(Default)]
struct Why {
    failure: String,
    /// Found by the periodic check: policy, version, role.
    hold: Option<String>,
}

impl Health {
    /// A command was answered.
    pub fn answered(&self) {
        if !self.up.swap(true, Relaxed) {
            tracing::info!("redis answers");
        }
    }

    /// A command failed; `text` is safe.
    pub fn failed(&self, text: &str) {
        let was_up = self.up.swap(false, Relaxed);
        let mut why = self.lock();
        if was_up || why.failure != text {
            tracing::warn!(reason = text, "redis cannot be used; claims wait");
        }
        why.failure = text.to_owned();
    }

    /// The epoch key is missing: the store was flushed, or is another one.
    pub fn forgot(&self) {
        if !self.forgotten.swap(true, Relaxed) {
            tracing::error!(
                "redis has lost its epoch key: it was flushed or replaced, so its claims are gone; sending holds until \
                 `postback unblock dedupe --reason …`"
            );
        }
    }

    /// The epoch key is back.
    pub fn remembered(&self) {
        if self.forgotten.swap(false, Relaxed) {
            tracing::warn!("redis has an epoch key again: sending goes on");
        }
    }

    /// Sets or clears what the periodic check found.
    pub fn set_hold(&self, hold: Option<String>) {
        self.held.store(hold.is_some(), Relaxed);
        let mut why = self.lock();
        if why.hold != hold {
            match &hold {
                Some(text) => tracing::error!(reason = text.as_str(), "redis cannot be relied on; claims wait"),
                None => tracing::info!("redis can be relied on again"),
            }
        }
        why.hold = hold;
    }

    /// The replication id of the primary was looked at.
    pub fn set_primary(&self, id: &str) {
        let mut primary = self.primary.lock().unwrap_or_else(PoisonError::into_inner);
        if **primary != *id {
            *primary = id.into();
        }
    }

    /// The replication id of the primary when it was last looked at; empty: not yet.
    pub fn primary(&self) -> Arc<str> {
        self.primary.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The last command was answered.
    pub fn is_up(&self) -> bool {
        self.up.load(Relaxed)
    }

    /// The store was flushed.
    pub fn has_forgotten(&self) -> bool {
        self.forgotten.load(Relaxed)
    }

    /// Why no claim may be made now, though Redis may answer.
    pub fn hold(&self) -> Option<String> {
        self.store_hold().or_else(|| self.clock.trouble())
    }

    fn store_hold(&self) -> Option<String> {
        if self.has_forgotten() {
            return Some("redis lost its epoch key (flushed or replaced): run `postback unblock dedupe`".into());
        }
        if self.held.load(Relaxed) { self.lock().hold.clone() } else { None }
    }

    /// Everything that is wrong, as one safe text; `None`: nothing.
    pub fn trouble(&self) -> Option<String> {
        self.store_trouble().or_else(|| self.clock.trouble())
    }

    /// Everything that is wrong with Redis, our own clock left out.
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

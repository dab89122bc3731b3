//! What the handle and the thread of the search share.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::inspect::dead_letters::filter::Filter;
use crate::inspect::dead_letters::index::Index;
use crate::kafka;
use crate::kafka::reader::{Fetch, Reader};
use crate::kafka::topics::AdminError;
use crate::redis;
use crate::units::show_count;

/// What arrives and changes is looked up so often while somebody asks.
pub(super) const TEND: Duration = Duration::from_secs(1);
/// A search that nobody asks for stops for the time being after this time.
pub(super) const REST: Duration = Duration::from_secs(5);
/// An index that nobody asks for is dropped after this time.
pub(super) const IDLE: Duration = Duration::from_secs(600);

/// Where dead letters and their states are read.
#[derive(Clone, Debug)]
pub struct Source {
    pub kafka: kafka::Config,
    pub redis: redis::Config,
}

/// How far the search has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// How many dead letters were looked at, of how many that are there.
    pub scanned: u64,
    pub total: u64,
    /// Whether the search has reached the beginning of every partition, or its bound.
    pub done: bool,
    /// So many older dead letters were not looked at, because the index holds as many as it may.
    pub left_out: u64,
    /// How many rounds of the search have ended.
    pub rounds: u32,
    /// All letters that ended after this moment (epoch ms) were looked at, as far as the workers' clocks agree.
    pub settled_ms: i64,
    /// The latest request of `Scan::fresh` that was fulfilled.
    pub(super) fresh: u64,
    /// Why the search does not get on at present.
    pub trouble: Option<Trouble>,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            scanned: 0,
            total: 0,
            done: false,
            left_out: 0,
            rounds: 0,
            settled_ms: i64::MAX,
            fresh: 0,
            trouble: None,
        }
    }
}

/// The clocks of workers may differ by this much.
pub const SKEW_MS: i64 = 60_000;

impl Progress {
    /// How many of those that were left out because of the bound a filter may select. What it selects by a time at
    /// which everything was looked at is complete.
    pub fn left_out_of(&self, filter: &Filter) -> u64 {
        let settled_ms = self.settled_ms.saturating_add(SKEW_MS);
        if filter.since.is_some_and(|since| since >= settled_ms) { 0 } else { self.left_out }
    }

    /// What was left out because of the bound; `None`: nothing.
    pub fn left_out_text(&self) -> Option<String> {
        let left_out = show_count(self.left_out);
        (self.left_out > 0)
            .then(|| format!("{left_out} older dead letters were not looked at: a search holds only so many"))
    }
}

/// Why the search does not get on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Safe text.
    pub text: String,
    /// Kafka has answered, and refused: there is no such topic, or it may not be read. Waiting does not help.
    pub refused: bool,
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Trouble {}

pub(super) struct Shared {
    pub(super) source: Source,
    /// The search ends when the index has so many rows.
    pub(super) most: usize,
    index: RwLock<Index>,
    pub(super) progress: watch::Sender<Progress>,
    asked: Mutex<Asked>,
    pub(super) wake: Condvar,
    /// Reads single records for pages.
    pub(super) records: Mutex<Option<Reader>>,
}

pub(super) struct Asked {
    /// When somebody asked last.
    pub(super) at: Option<Instant>,
    /// The number of requests of `Scan::fresh`.
    pub(super) fresh: u64,
    pub(super) over: bool,
}

impl Asked {
    /// How long nobody has asked.
    pub(super) fn quiet(&self) -> Duration {
        self.at.map_or(Duration::MAX, |at| at.elapsed())
    }
}

impl Shared {
    pub(super) fn new(source: Source, most: usize) -> Self {
        Self {
            source,
            most,
            index: RwLock::default(),
            progress: watch::Sender::new(Progress::default()),
            asked: Mutex::new(Asked { at: None, fresh: 0, over: false }),
            wake: Condvar::new(),
            records: Mutex::new(None),
        }
    }

    pub(super) fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn change(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn ask(&self) {
        self.asked().at = Some(Instant::now());
        self.wake.notify_all();
    }
}

/// A reader of the dead-letter topic.
///
/// # Errors
/// The settings are refused.
pub fn reader(config: &kafka::Config, fetch: Fetch) -> Result<Reader, AdminError> {
    Reader::new(config, &config.dead_letter, fetch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_out_concerns_a_filter_that_reaches_that_far_back() {
        let progress = Progress { left_out: 7, settled_ms: 1_000_000, ..Progress::default() };
        let since = |since| progress.left_out_of(&Filter { since, ..Filter::default() });
        assert_eq!([since(None), since(Some(1_059_999)), since(Some(1_060_000))], [7, 7, 0]);
        assert_eq!(Progress::default().left_out_of(&Filter::default()), 0);
    }
}

//! The keys this process confirmed or marked last: asked before Redis, and written again after a failover (pure).

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::pipeline::claim::{Done, Key};

/// How many are kept; `core.md` section 3.
const CAPACITY: usize = 100_000;

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remembered {
    /// A confirm.
    Done(Done),
    /// A mark: its value, and its lineage.
    Unknown {
        /// The value in Redis.
        value: Box<str>,
        /// `topic:partition:offset`.
        origin: Box<str>,
    },
}

/// One of them.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What was written.
    pub what: Remembered,
    /// When.
    pub at: Instant,
    /// Whose: an index into the metrics.
    pub account: usize,
    /// Not in Redis yet: it was away, and the account delivers all the same.
    pub pending: bool,
    /// Tells it from what was written under the same key later.
    pub sequence: u64,
}

/// The last 100,000 of them.
#[derive(Default)]
pub struct Recent {
    entries: HashMap<Key, Entry>,
    order: VecDeque<(u64, Key)>,
    next: u64,
}

impl Recent {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The confirm of this key, if it is remembered.
    pub fn done(&self, key: &Key) -> Option<Done> {
        match self.entries.get(key)?.what {
            Remembered::Done(done) => Some(done),
            Remembered::Unknown { .. } => None,
        }
    }

    /// Remembers.
    pub fn insert(&mut self, key: Key, what: Remembered, account: usize, pending: bool) {
        let sequence = self.next;
        self.next += 1;
        self.entries.insert(key, Entry { what, at: Instant::now(), account, pending, sequence });
        self.order.push_back((sequence, key));
        // Bounded by the queue, not by the map: a key that is written again leaves a stale place behind.
        while self.order.len() > CAPACITY {
            if let Some((sequence, key)) = self.order.pop_front()
                && self.entries.get(&key).is_some_and(|e| e.sequence == sequence)
            {
                self.entries.remove(&key);
            }
        }
    }

    /// It stands in Redis now, unless something newer has taken its place here.
    pub fn written(&mut self, key: &Key, sequence: u64) {
        if let Some(entry) = self.entries.get_mut(key).filter(|e| e.sequence == sequence) {
            entry.pending = false;
            entry.at = Instant::now();
        }
    }

    /// Those that are not in Redis yet.
    pub fn pending(&self) -> Vec<(Key, Entry)> {
        self.entries.iter().filter(|(_, e)| e.pending).map(|(k, e)| (*k, e.clone())).collect()
    }

    /// Those of the last `span`, oldest first: what a failover may have lost.
    pub fn since(&self, span: Duration) -> Vec<(Key, Entry)> {
        let mut found: Vec<_> = self
            .order
            .iter()
            .rev()
            .map_while(|(sequence, key)| match self.entries.get(key) {
                Some(entry) if entry.sequence == *sequence && entry.at.elapsed() > span => None,
                Some(entry) if entry.sequence == *sequence => Some(Some((*key, entry.clone()))),
                _ => Some(None),
            })
            .flatten()
            .collect();
        found.reverse();
        found
    }
}

//! The keys that this process confirmed or marked last. They are asked before Redis, and written again after a failover
//! (pure).

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::claim::rules::{Done, Key};

/// How many keys are kept (`core.md` section 3).
const CAPACITY: usize = 100_000;

/// The value that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remembered {
    Done(Done),
    Unknown(Box<Mark>),
}

/// The mark of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The value as it is in Redis.
    pub value: Box<str>,
    /// `topic:partition:offset`.
    pub origin: Box<str>,
}

/// One remembered value. It differs from a value that is written under the same key later.
#[derive(Clone, Debug)]
pub struct Entry {
    pub key: Key,
    pub what: Remembered,
    /// Its account: an index into the metrics.
    pub account: usize,
    sequence: u32,
}

/// A remembered value in a small form, because every lane thread keeps many of them.
struct Place {
    key: Key,
    what: Remembered,
    account: u32,
    /// When it was written, in ms since `born`.
    at_ms: u64,
    /// The value is not in Redis yet: Redis was away, and the account delivers without it.
    pending: bool,
}

/// The last 100,000 of them.
pub struct Recent {
    /// The oldest first. When a key is written again, its earlier place stays here, but `latest` no longer points to
    /// it.
    places: VecDeque<Place>,
    /// The sequence of the last place of each key.
    latest: HashMap<Key, u32>,
    /// The sequence of the first place. Sequences wrap around.
    first: u32,
    pending: usize,
    born: Instant,
}

impl Default for Recent {
    fn default() -> Self {
        Self { places: VecDeque::new(), latest: HashMap::new(), first: 0, pending: 0, born: Instant::now() }
    }
}

impl Recent {
    fn now_ms(&self) -> u64 {
        self.born.elapsed().as_millis() as u64
    }

    fn index(&self, sequence: u32) -> usize {
        sequence.wrapping_sub(self.first) as usize
    }

    /// The places that still count, each with its sequence, the oldest first.
    fn iter(&self) -> impl Iterator<Item = (u32, &Place)> {
        let numbered = self.places.iter().enumerate().map(|(n, place)| (self.first.wrapping_add(n as u32), place));
        numbered.filter(|(sequence, place)| self.latest.get(&place.key) == Some(sequence))
    }

    /// Moves all times back, as if `by` had passed.
    #[cfg(test)]
    pub(crate) fn age(&mut self, by: Duration) {
        self.born -= by;
    }

    /// The confirm of this key, if it is remembered, and was written within the last `window_ms`: Redis has forgotten
    /// an older one, and every other process would send the event.
    pub fn done(&self, key: &Key, window_ms: u64) -> Option<Done> {
        let sequence = *self.latest.get(key)?;
        let place = self.places.get(self.index(sequence))?;
        match place.what {
            Remembered::Done(done) if place.pending || self.now_ms() - place.at_ms < window_ms => Some(done),
            _ => None,
        }
    }

    pub fn insert(&mut self, key: Key, what: Remembered, account: usize, pending: bool) {
        let sequence = self.first.wrapping_add(self.places.len() as u32);
        let place = Place { key, what, account: account as u32, at_ms: self.now_ms(), pending };
        self.pending += usize::from(pending);
        self.places.push_back(place);
        if let Some(before) = self.latest.insert(key, sequence) {
            self.waits_no_more(before);
        }
        while self.places.len() > CAPACITY {
            let Some(oldest) = self.places.pop_front() else { return };
            self.pending -= usize::from(oldest.pending);
            if self.latest.get(&oldest.key) == Some(&self.first) {
                self.latest.remove(&oldest.key);
            }
            self.first = self.first.wrapping_add(1);
        }
    }

    /// The value is in Redis now, unless a newer one has replaced it here.
    pub fn written(&mut self, entry: &Entry) {
        if self.latest.get(&entry.key) != Some(&entry.sequence) {
            return;
        }
        let now_ms = self.now_ms();
        if let Some(place) = self.waits_no_more(entry.sequence) {
            place.at_ms = now_ms;
        }
    }

    fn waits_no_more(&mut self, sequence: u32) -> Option<&mut Place> {
        let index = self.index(sequence);
        let place = self.places.get_mut(index)?;
        self.pending -= usize::from(std::mem::take(&mut place.pending));
        Some(place)
    }

    /// The values that are not in Redis yet.
    pub fn pending(&self) -> Vec<Entry> {
        // This runs every second, and nearly always there are none.
        if self.pending == 0 {
            return Vec::new();
        }
        self.iter().filter(|(_, place)| place.pending).map(entry).collect()
    }

    /// The values that were written in the last `span`, the oldest first: those that a failover may have lost. A value
    /// that is still to be written for the first time is not among them, and its first write counts nothing.
    pub fn since(&self, span: Duration) -> Vec<Entry> {
        let now_ms = self.now_ms();
        let fresh = |place: &Place| !place.pending && u128::from(now_ms - place.at_ms) <= span.as_millis();
        self.iter().filter(|(_, place)| fresh(place)).map(entry).collect()
    }
}

fn entry((sequence, place): (u32, &Place)) -> Entry {
    Entry { key: place.key, what: place.what.clone(), account: place.account as usize, sequence }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claim::rules::Value;

    fn key(n: u32) -> Key {
        let mut key = [0; 16];
        key[..4].copy_from_slice(&n.to_be_bytes());
        Key(key)
    }

    fn done(n: u32) -> Done {
        let Value::Done(done) = Value::parse(n.to_string().as_bytes()) else { panic!("{n} is no confirm") };
        done
    }

    const WINDOW: u64 = 60_000;

    fn keys(entries: &[Entry]) -> Vec<Key> {
        entries.iter().map(|e| e.key).collect()
    }

    #[test]
    fn the_last_hundred_thousand_are_remembered_and_no_more() {
        // The sequences wrap around on the way.
        let mut recent = Recent { first: u32::MAX - 50_000, ..Recent::default() };
        for n in 0..150_000 {
            recent.insert(key(n), Remembered::Done(done(n)), 0, false);
        }
        assert_eq!(recent.done(&key(49_999), WINDOW), None);
        for n in [50_000, 100_000, 149_999] {
            assert_eq!(recent.done(&key(n), WINDOW), Some(done(n)));
        }
        assert_eq!((recent.places.len(), recent.latest.len()), (CAPACITY, CAPACITY));
    }

    #[test]
    fn what_is_written_again_counts_once_and_the_place_it_left_ends_nothing() {
        let mut recent = Recent::default();
        let mark = Remembered::Unknown(Box::new(Mark { value: "u".into(), origin: "o".into() }));
        recent.insert(key(1), mark, 7, true);
        let [marked] = &recent.pending()[..] else { panic!("not pending") };
        assert_eq!((marked.account, recent.done(&key(1), WINDOW)), (7, None));
        let marked = marked.clone();
        recent.insert(key(1), Remembered::Done(done(5)), 7, true);
        // The write of the mark returns only now.
        recent.written(&marked);
        let [confirmed] = &recent.pending()[..] else { panic!("the confirm waits once") };
        assert_eq!(confirmed.what, Remembered::Done(done(5)));
        recent.written(&confirmed.clone());
        assert!(recent.pending().is_empty());
        assert_eq!(recent.pending, 0, "what was written over waits no more");
        for n in 2..=CAPACITY as u32 {
            recent.insert(key(n), Remembered::Done(done(n)), 0, false);
        }
        assert_eq!(recent.done(&key(1), WINDOW), Some(done(5)), "its first place has left, the second has not");
        assert!(recent.pending().is_empty());
    }

    #[test]
    fn a_confirm_is_forgotten_with_its_window_unless_it_is_not_written_yet() {
        let mut recent = Recent::default();
        (0..2).for_each(|n| recent.insert(key(n), Remembered::Done(done(n)), 0, n == 0));
        recent.age(Duration::from_secs(59));
        assert_eq!([0, 1].map(|n| recent.done(&key(n), WINDOW)), [Some(done(0)), Some(done(1))]);
        recent.age(Duration::from_secs(1));
        assert_eq!([0, 1].map(|n| recent.done(&key(n), WINDOW)), [Some(done(0)), None]);
    }

    #[test]
    fn a_failover_asks_for_the_last_span_oldest_first() {
        let mut recent = Recent::default();
        for n in 0..4 {
            recent.insert(key(n), Remembered::Done(done(n)), 0, n == 0);
            recent.age(Duration::from_secs(30));
        }
        assert_eq!(keys(&recent.since(Duration::from_secs(60))), [key(2), key(3)]);
        // A value that waited for Redis counts from the time when it was written there.
        let waited = recent.pending();
        recent.written(&waited[0]);
        assert_eq!(keys(&recent.since(Duration::from_secs(60))), [key(0), key(2), key(3)]);
        recent.insert(key(4), Remembered::Done(done(4)), 0, true);
        assert!(!keys(&recent.since(Duration::from_secs(60))).contains(&key(4)), "it does not stand in Redis yet");
    }
}

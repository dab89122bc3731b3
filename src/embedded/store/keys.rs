//! The data of the store: values by key, and when they expire.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::wire::{Reply, error};

/// A hash: fields and their values.
pub(super) type Hash = BTreeMap<Vec<u8>, Vec<u8>>;
pub(super) type Set = BTreeSet<Vec<u8>>;
/// A list. Its head comes first.
pub(super) type List = VecDeque<Vec<u8>>;
/// A sorted set: members and their scores.
pub(super) type Sorted = BTreeMap<Vec<u8>, f64>;

enum Value {
    Text(Vec<u8>),
    Hash(Hash),
    Set(Set),
    List(List),
    Sorted(Sorted),
}

impl Value {
    fn is_empty(&self) -> bool {
        match self {
            Value::Text(_) => false,
            Value::Hash(hash) => hash.is_empty(),
            Value::Set(set) => set.is_empty(),
            Value::List(list) => list.is_empty(),
            Value::Sorted(sorted) => sorted.is_empty(),
        }
    }
}

struct Entry {
    value: Value,
    /// When the value expires, epoch ms; `None`: never.
    until: Option<i64>,
}

/// All keys and the present time. There is no bound: claims stay for their window, with about 200 bytes each.
#[derive(Default)]
pub(super) struct Keys {
    entries: HashMap<Arc<[u8]>, Entry>,
    /// The keys by the time at which they expire, so that expired ones are found without a search.
    due: BTreeSet<(i64, Arc<[u8]>)>,
    now_us: i64,
}

/// The reply to a command on a value of another kind.
fn wrong_kind() -> Reply {
    error("WRONGTYPE Operation against a key holding the wrong kind of value")
}

/// Gets the value of a key if it has this kind, to read or to change it.
macro_rules! kind {
    ($read:ident, $change:ident, $kind:ident, $of:ty) => {
        #[doc = concat!("What the key holds, a ", stringify!($kind), ", or nothing.")]
        pub fn $read(&self, key: &[u8]) -> Result<Option<&$of>, Reply> {
            match self.entries.get(key).map(|e| &e.value) {
                None => Ok(None),
                Some(Value::$kind(value)) => Ok(Some(value)),
                Some(_) => Err(wrong_kind()),
            }
        }

        #[doc = concat!("Changes a ", stringify!($kind), ", which begins empty; left empty it is removed.")]
        pub fn $change<T>(&mut self, key: &[u8], change: impl FnOnce(&mut $of) -> T) -> Result<T, Reply> {
            if !self.entries.contains_key(key) {
                self.entries.insert(key.into(), Entry { value: Value::$kind(Default::default()), until: None });
            }
            let result = match self.entries.get_mut(key).map(|e| &mut e.value) {
                Some(Value::$kind(value)) => Ok(change(value)),
                _ => Err(wrong_kind()),
            };
            if self.entries.get(key).is_some_and(|e| e.value.is_empty()) {
                self.remove(key);
            }
            result
        }
    };
}

impl Keys {
    kind!(hash, change_hash, Hash, Hash);
    kind!(set, change_set, Set, Set);
    kind!(list, change_list, List, List);
    kind!(sorted, change_sorted, Sorted, Sorted);

    /// Sets the present (epoch µs) and removes keys that have expired by then. It is called before each command, so
    /// that no command sees an expired key.
    pub fn advance(&mut self, now_us: i64) {
        self.now_us = now_us;
        let now = self.now_ms();
        // As in Redis, a key still exists in the millisecond in which it expires.
        while self.due.first().is_some_and(|(until, _)| *until < now) {
            if let Some((_, key)) = self.due.pop_first() {
                self.entries.remove(&key);
            }
        }
    }

    /// The present, epoch µs.
    pub fn now_us(&self) -> i64 {
        self.now_us
    }

    fn now_ms(&self) -> i64 {
        self.now_us.div_euclid(1_000)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the key exists, with a value of any kind.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.entries.contains_key(key)
    }

    /// The text of a key; `None`: the key does not exist.
    pub fn text(&self, key: &[u8]) -> Result<Option<&[u8]>, Reply> {
        match self.entries.get(key).map(|e| &e.value) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(_) => Err(wrong_kind()),
        }
    }

    /// Changes a text in place, which begins empty. Its life stays as it is.
    pub fn change_text<T>(&mut self, key: &[u8], change: impl FnOnce(&mut Vec<u8>) -> T) -> Result<T, Reply> {
        if !self.entries.contains_key(key) {
            self.set_text(key, b"", None);
        }
        match self.entries.get_mut(key).map(|e| &mut e.value) {
            Some(Value::Text(text)) => Ok(change(text)),
            _ => Err(wrong_kind()),
        }
    }

    /// Sets a text and replaces any old value. The key lives for `life_ms`, or for ever.
    pub fn set_text(&mut self, key: &[u8], text: &[u8], life_ms: Option<i64>) {
        self.remove(key);
        let key: Arc<[u8]> = key.into();
        let until = life_ms.map(|life| self.now_ms().saturating_add(life));
        if let Some(until) = until {
            self.due.insert((until, key.clone()));
        }
        self.entries.insert(key, Entry { value: Value::Text(text.to_vec()), until });
    }

    /// Lets a key live for `life_ms` from now on. Returns whether there is such a key.
    pub fn set_life(&mut self, key: &[u8], life_ms: i64) -> bool {
        let new = self.now_ms().saturating_add(life_ms);
        let Some((key, mut entry)) = self.entries.remove_entry(key) else { return false };
        if let Some(old) = entry.until.replace(new) {
            self.due.remove(&(old, key.clone()));
        }
        self.due.insert((new, key.clone()));
        self.entries.insert(key, entry);
        true
    }

    /// Removes a key. Returns whether it existed.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        let Some((key, entry)) = self.entries.remove_entry(key) else { return false };
        if let Some(until) = entry.until {
            self.due.remove(&(until, key));
        }
        true
    }

    /// The answer of `PTTL`: the remaining life in ms, -1 for ever, -2 without such a key.
    pub fn life_ms(&self, key: &[u8]) -> i64 {
        match self.entries.get(key) {
            None => -2,
            Some(Entry { until: None, .. }) => -1,
            Some(Entry { until: Some(until), .. }) => (until - self.now_ms()).max(0),
        }
    }
}

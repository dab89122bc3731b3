//! A list that only grows and that is read without a lock: a value keeps its index for as long as the process lives.
//!
//! Records carry the indices of their lane and of their account. So an account that is added while the worker runs must
//! move no other one, and to look one up must cost an event next to nothing: two atomic loads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// The number of values in one chunk. A chunk is allocated when its first value is set.
const CHUNK: usize = 256;
/// The number of chunks: far more accounts than one process can serve.
const CHUNKS: usize = 256;

type Chunk<T> = Box<[OnceLock<T>]>;

/// See the module.
pub struct Slots<T> {
    chunks: Box<[OnceLock<Chunk<T>>]>,
    /// One more than the largest index that is set.
    end: AtomicUsize,
    adding: Mutex<()>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        let chunks = (0..CHUNKS).map(|_| OnceLock::new()).collect();
        Self { chunks, end: AtomicUsize::new(0), adding: Mutex::new(()) }
    }
}

impl<T> Slots<T> {
    /// The value with this index. `None`: there is none.
    pub fn get(&self, index: usize) -> Option<&T> {
        self.chunks.get(index / CHUNK)?.get()?.get(index % CHUNK)?.get()
    }

    /// Adds a value behind all others and returns its index.
    ///
    /// # Errors
    /// Returns the value if there is no room for another one.
    pub fn push(&self, value: T) -> Result<usize, T> {
        let _one_at_a_time = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let index = self.len();
        self.put(index, value).map(|()| index)
    }

    /// Sets the value with this index, which has none yet.
    ///
    /// # Errors
    /// Returns the value if the index has one, or is too large.
    pub fn set(&self, index: usize, value: T) -> Result<(), T> {
        let _one_at_a_time = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        self.put(index, value)
    }

    fn put(&self, index: usize, value: T) -> Result<(), T> {
        let Some(chunk) = self.chunks.get(index / CHUNK) else { return Err(value) };
        let chunk = chunk.get_or_init(|| (0..CHUNK).map(|_| OnceLock::new()).collect());
        chunk[index % CHUNK].set(value)?;
        // The value comes first, so that whoever sees the new end finds it.
        self.end.fetch_max(index + 1, Ordering::Release);
        Ok(())
    }

    /// One more than the largest index that has a value.
    pub fn len(&self) -> usize {
        self.end.load(Ordering::Acquire)
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All values, in the order of their indices.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

impl<T> FromIterator<T> for Slots<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let slots = Self::default();
        values.into_iter().for_each(|value| _ = slots.push(value));
        slots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_keeps_its_index_while_others_are_added() {
        let slots: Slots<String> = ["a", "b"].into_iter().map(str::to_owned).collect();
        let first = slots.get(0).unwrap();
        for n in 2..1_000 {
            assert_eq!(slots.push(n.to_string()), Ok(n));
        }
        assert_eq!((first.as_str(), slots.get(999).unwrap().as_str(), slots.get(1_000)), ("a", "999", None));
        assert_eq!((slots.iter().count(), slots.len()), (1_000, 1_000));
    }

    #[test]
    fn an_index_is_set_once_and_those_before_it_may_have_no_value() {
        let slots = Slots::default();
        assert!(slots.is_empty());
        assert_eq!((slots.set(300, 1), slots.set(300, 2), slots.set(CHUNK * CHUNKS, 3)), (Ok(()), Err(2), Err(3)));
        assert_eq!((slots.get(0), slots.get(300), slots.len()), (None, Some(&1), 301));
        assert_eq!((slots.iter().copied().collect::<Vec<_>>(), slots.push(4)), (vec![1], Ok(301)));
    }

    #[test]
    fn who_reads_meanwhile_sees_whole_values() {
        let slots = Slots::default();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..2_000).for_each(|n: usize| _ = slots.push(n)));
            }
            scope.spawn(|| {
                while slots.len() < 4_000 {
                    let end = slots.len();
                    assert!((0..end).all(|index| slots.get(index).is_some_and(|n| *n < 2_000)));
                }
            });
        });
        assert_eq!(slots.iter().count(), 4_000);
    }
}

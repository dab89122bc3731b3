//! Keys of the worker's prefix that hold what no worker wrote: a value of another type, or one that cannot be read.
//! Something else uses the prefix, or somebody set the key by hand.
//!
//! Nothing is sent over such a key, and Redis counts as up all the same: only the record whose claim it is, or the
//! lanes that share it, wait until it is deleted.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ::redis::RedisResult;

use crate::redis::error::is_of_keys;

/// A key is named for this long after it was last met. A record that it holds back is tried again earlier, from the
/// tier in which it waits.
const NAMED_FOR: Duration = Duration::from_secs(600);
/// The most keys that are named. More would tell nothing more.
const MOST: usize = 20;

/// The foreign keys that were met lately, by name, and when each was last met.
#[derive(Default)]
pub struct ForeignKeys(Mutex<BTreeMap<String, Instant>>);

impl ForeignKeys {
    /// Names a key that was met now. The log says so once, until the key has not been met for a while.
    pub fn met(&self, key: &[u8]) {
        // As `redis-cli` takes it between double quotes: the key of a claim is no text.
        let name = key.escape_ascii().to_string();
        let mut keys = self.recent();
        if let Some(at) = keys.get_mut(&name) {
            *at = Instant::now();
        } else if keys.len() < MOST {
            tracing::error!(
                key = name,
                "redis: this key holds what no worker wrote; what needs it waits until it is deleted"
            );
            keys.insert(name, Instant::now());
        }
    }

    /// The names of the keys that were met lately.
    pub fn names(&self) -> Vec<String> {
        self.recent().keys().cloned().collect()
    }

    fn recent(&self) -> MutexGuard<'_, BTreeMap<String, Instant>> {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.retain(|_, at| at.elapsed() < NAMED_FOR);
        keys
    }
}

/// What was read. `None`: the key holds another type. It is named, and what does not need it goes on.
///
/// # Errors
/// Any other error of the reading.
pub fn unless<T>(read: RedisResult<T>, key: &str, foreign: &ForeignKeys) -> RedisResult<Option<T>> {
    match read {
        Err(error) if is_of_keys(&error) => {
            foreign.met(key.as_bytes());
            Ok(None)
        }
        read => read.map(Some),
    }
}

/// What an operator has to do about these keys.
pub fn text<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("\"{name}\"")).collect();
    format!(
        "redis: these keys hold what no worker wrote, and what needs one of them waits; look at each (TYPE), end what \
         writes there, and delete it (DEL): {}",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_named_as_redis_cli_takes_it_and_no_more_than_twenty_are() {
        let keys = ForeignKeys::default();
        keys.met(b"pb:\x00\xff\"z");
        keys.met(b"pb:\x00\xff\"z");
        assert_eq!(keys.names(), [r#"pb:\x00\xff\"z"#]);
        (0..100).for_each(|n| keys.met(format!("pb:{n}").as_bytes()));
        assert_eq!(keys.names().len(), MOST);
    }
}

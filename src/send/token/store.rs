//! An account's tokens in Redis, and the lock for refreshing them: the keys `<prefix>:token:<account>` and the same
//! with `:lock`.

use std::sync::Arc;
use std::time::Duration;

use ::redis::Value as Reply;
use tokio::time::Instant;

use crate::redis::batcher::{Batcher, StoreError};
use crate::redis::scripts::Script;
use crate::send::token::record::{Found, TokenRecord, read};
use crate::send::token::seal::Seal;

/// The stored tokens of one account.
pub(super) struct Store {
    batcher: Batcher,
    account: Arc<str>,
    key: Vec<u8>,
    lock_key: Vec<u8>,
    seal: Seal,
}

/// The lock, while it is held.
pub(super) struct Lock {
    owner: String,
    until: Instant,
}

impl Lock {
    /// How much longer it is held. It counts from before the lock was requested, so that it never ends later here than
    /// in Redis.
    pub(super) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}

/// The result of a write.
pub(super) enum Saved {
    /// The record was written.
    Done,
    /// The store holds another record than the one that was to be replaced.
    Other(Found),
}

impl Store {
    /// `key` is the key of the account's tokens.
    pub(super) fn new(batcher: Batcher, account: Arc<str>, key: &str, seal: Seal) -> Self {
        let lock_key = format!("{key}:lock").into_bytes();
        Self { batcher, account, key: key.as_bytes().to_vec(), lock_key, seal }
    }

    /// Reads the stored value. A store that was flushed counts as an error, because another replica may know the pair
    /// that it lost.
    pub(super) async fn read(&self) -> Result<Found, StoreError> {
        let mut cmd = ::redis::cmd("GET");
        cmd.arg(&self.key);
        Ok(match self.batcher.claim(cmd).await? {
            Reply::Nil => Found::Absent,
            reply => self.understand(reply),
        })
    }

    /// Writes a record in place of the one with generation `replaces`, or if there is none. Repeating it does no harm.
    pub(super) async fn save(&self, replaces: Option<u64>, record: &TokenRecord) -> Result<Saved, StoreError> {
        let Some(text) = record.write(&self.account, &self.seal) else {
            return Err(StoreError::Unreached("the tokens cannot be encrypted".into()));
        };
        let beginning = replaces.map(TokenRecord::beginning).unwrap_or_default();
        let args = [beginning.as_bytes(), text.as_bytes()];
        Ok(match self.batcher.script(Script::SaveToken, &self.key, &args).await? {
            Reply::Int(1) => Saved::Done,
            reply => Saved::Other(self.understand(reply)),
        })
    }

    fn understand(&self, reply: Reply) -> Found {
        match ::redis::from_redis_value::<String>(reply) {
            Ok(text) => read(&text, &self.account, &self.seal),
            Err(_) => Found::Unknown,
        }
    }

    /// Takes the lock for `life`. `None`: another replica has it.
    pub(super) async fn lock(&self, life: Duration) -> Result<Option<Lock>, StoreError> {
        let lock = Lock { owner: format!("{:032x}", rand::random::<u128>()), until: Instant::now() + life };
        let mut cmd = ::redis::cmd("SET");
        cmd.arg(&self.lock_key).arg(&lock.owner).arg("NX").arg("PX").arg(life.as_millis() as u64);
        match self.batcher.call(cmd).await {
            Ok(Reply::Nil) => Ok(None),
            Ok(_) => Ok(Some(lock)),
            Err(error) => {
                // The lock may have been taken. If nobody returns it, it ends by itself.
                if error.may_have_run() {
                    self.unlock(lock).await;
                }
                Err(error)
            }
        }
    }

    /// Releases the lock if it is still ours. Best effort.
    pub(super) async fn unlock(&self, lock: Lock) {
        let _ = self.batcher.script(Script::Release, &self.lock_key, &[lock.owner.as_bytes(), b"", b"0"]).await;
    }
}

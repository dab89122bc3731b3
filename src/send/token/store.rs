//! An account's tokens in Redis, and the lock of whoever refreshes them: `<prefix>:token:<account>`, and `:lock` behind it.

use std::sync::Arc;
use std::time::Duration;

use ::redis::Value as Reply;
use tokio::time::Instant;

use crate::redis::batcher::{Batcher, StoreError};
use crate::redis::scripts::Script;
use crate::send::token::record::{Found, Record, read};
use crate::send::token::seal::Seal;

/// One account's.
pub(super) struct Store {
    batcher: Batcher,
    account: Arc<str>,
    key: Vec<u8>,
    lock_key: Vec<u8>,
    seal: Seal,
}

/// The lock, held.
pub(super) struct Lock {
    owner: String,
    until: Instant,
}

impl Lock {
    /// How long it is held still. Counted from before it was asked for, so that it is never longer in Redis.
    pub(super) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}

/// What came of writing.
pub(super) enum Saved {
    /// It stands there.
    Done,
    /// This does, which is not what was to be replaced.
    Other(Found),
}

impl Store {
    /// `key`: of the account's tokens.
    pub(super) fn new(batcher: Batcher, account: Arc<str>, key: &str, seal: Seal) -> Self {
        let lock_key = format!("{key}:lock").into_bytes();
        Self { batcher, account, key: key.as_bytes().to_vec(), lock_key, seal }
    }

    /// What stands there. A store that was emptied says nothing: the pair that it lost may be known to another replica.
    pub(super) async fn read(&self) -> Result<Found, StoreError> {
        let mut cmd = ::redis::cmd("GET");
        cmd.arg(&self.key);
        Ok(match self.batcher.claim(cmd).await? {
            Reply::Nil => Found::Absent,
            reply => self.understand(reply),
        })
    }

    /// Writes a record over the one of generation `replaces`, or where there is none. Repeated it does no harm.
    pub(super) async fn save(&self, replaces: Option<u64>, record: &Record) -> Result<Saved, StoreError> {
        let Some(text) = record.write(&self.account, &self.seal) else {
            return Err(StoreError::Unreached("the tokens cannot be encrypted".into()));
        };
        let beginning = replaces.map(Record::beginning).unwrap_or_default();
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

    /// Takes the lock for so long; `None`: another replica has it.
    pub(super) async fn lock(&self, life: Duration) -> Result<Option<Lock>, StoreError> {
        let lock = Lock { owner: format!("{:032x}", rand::random::<u128>()), until: Instant::now() + life };
        let mut cmd = ::redis::cmd("SET");
        cmd.arg(&self.lock_key).arg(&lock.owner).arg("NX").arg("PX").arg(life.as_millis() as u64);
        match self.batcher.call(cmd).await {
            Ok(Reply::Nil) => Ok(None),
            Ok(_) => Ok(Some(lock)),
            Err(error) => {
                // It may have been taken; where nobody gives it back, it ends by itself.
                if error.may_have_run() {
                    self.unlock(lock).await;
                }
                Err(error)
            }
        }
    }

    /// Gives the lock back where it is ours still; best effort.
    pub(super) async fn unlock(&self, lock: Lock) {
        let _ = self.batcher.script(Script::Release, &self.lock_key, &[lock.owner.as_bytes(), b"", b"0"]).await;
    }
}

//! What is written to Redis a second time: after it was away, and after its primary changed (`core.md` section 3).

use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::sleep;

use crate::pipeline::claim::{Key, Value};
use crate::pipeline::dedupe::{Dedupe, bytes};
use crate::pipeline::recent::Remembered;
use crate::redis::batcher::StoreError;

/// Values written again at once.
const UNDER_WAY: usize = 256;

impl Dedupe {
    /// Writes what waits because Redis was away. Counts nothing: each of those sends was declared.
    ///
    /// # Errors
    /// Redis is still away; the rest waits on.
    pub async fn write_pending(&self) -> Result<(), StoreError> {
        let pending = self.recent.borrow().pending();
        for entry in pending {
            self.write_again(entry.key, &entry.what).await?;
            self.recent.borrow_mut().written(&entry);
        }
        Ok(())
    }

    /// The primary has changed: writes again what was confirmed or marked in the last 60 s, until all of it stands there.
    /// `possible` is told the account of each value found there that was another's: one possible duplicate.
    pub async fn write_recent(&self, mut possible: impl FnMut(usize)) {
        self.changes.set(self.changes.get() + 1);
        self.batcher.reconnect();
        let mut left = self.recent.borrow().since(Duration::from_secs(60));
        let mut repeated = false;
        while !left.is_empty() {
            let writes = left.drain(..).map(|entry| async move {
                let found = self.write_again(entry.key, &entry.what).await;
                (entry, found)
            });
            let mut writes = stream::iter(writes).buffer_unordered(UNDER_WAY);
            let mut failed = Vec::new();
            while let Some((entry, found)) = writes.next().await {
                match found {
                    // A repeated confirm may have replaced another's value with the try before it.
                    Ok(found) => {
                        let hidden = repeated && matches!(entry.what, Remembered::Done(_));
                        if hidden || !is_ours(&entry.what, found) {
                            possible(entry.account);
                        }
                    }
                    Err(_) => failed.push(entry),
                }
            }
            drop(writes);
            left = failed;
            repeated = true;
            if !left.is_empty() {
                sleep(Duration::from_millis(500)).await;
            }
        }
    }

    /// A confirm always, a mark only where the key is absent. Returns what was found.
    async fn write_again(&self, key: Key, what: &Remembered) -> Result<Option<Value>, StoreError> {
        let key = self.redis_key(key);
        let cmd = match what {
            Remembered::Done(done) => self.set_done(&key, *done),
            Remembered::Unknown(mark) => {
                let mut cmd = ::redis::cmd("SET");
                cmd.arg(&key).arg(&*mark.value).arg("PX").arg(self.window_ms).arg("NX").arg("GET");
                cmd
            }
        };
        Ok(bytes(self.batcher.call(cmd).await?)?.as_deref().map(Value::parse))
    }
}

/// Whether what stands where we wrote is our own, or of the same lineage.
fn is_ours(what: &Remembered, found: Option<Value>) -> bool {
    match (what, found) {
        (_, None) => true,
        (Remembered::Done(done), Some(Value::Done(other))) => *done == other,
        (Remembered::Done(done), Some(Value::Claimed { token, origin, .. })) => done.is_of_claim(&token, &origin),
        (Remembered::Unknown(mark), Some(Value::Unknown { origin, .. } | Value::Claimed { origin, .. })) => {
            *mark.origin == *origin
        }
        (Remembered::Unknown(mark), Some(Value::Done(done))) => done.is_of_origin(&mark.origin),
        _ => false,
    }
}

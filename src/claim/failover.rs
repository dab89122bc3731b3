//! Writes to Redis a second time: after Redis was away, and after its primary changed (`core.md` section 3).

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use tokio::time::sleep;

use crate::claim::recent_claims::{Entry, Remembered};
use crate::claim::rules::{Key, Value};
use crate::claim::{Dedupe, value};
use crate::redis::batcher::StoreError;

/// How far back from its last sight a primary may have failed to replicate values.
const AT_RISK: Duration = Duration::from_secs(60);
/// How many values are written again at the same time.
const UNDER_WAY: usize = 256;

/// A value that is being written to the new primary.
struct Rewrite {
    entry: Entry,
    /// It has counted a possible duplicate and counts no second one.
    counted: bool,
    /// A try that replaces any value was sent, and its reply was lost.
    overwritten: bool,
}

impl Dedupe {
    /// Writes the values that waited because Redis was away. It counts nothing, because each of those sends was
    /// declared.
    ///
    /// # Errors
    /// Redis is still away. The values that are left go on waiting.
    pub async fn write_pending(&self) -> Result<(), StoreError> {
        let pending = self.recent.borrow().pending();
        for entry in pending {
            self.write_again(entry.key, &entry.what).await?;
            self.recent.borrow_mut().written(&entry);
        }
        Ok(())
    }

    /// Writes recent values again after the primary has changed, until all of them are in Redis: those confirmed or
    /// marked in the 60 s before the earlier primary was last `seen`, and those written since. For each value of
    /// another claim that it finds there, it calls `possible` with the account: that is one possible duplicate. Changes
    /// are handled one after the other, so that none counts what another has counted.
    pub async fn write_recent(&self, seen: Instant, possible: impl Fn(usize)) {
        self.changes.set(self.changes.get() + 1);
        self.batcher.reconnect();
        let _turn = self.rewriting.lock().await;
        let recent = self.recent.borrow().since(AT_RISK + seen.elapsed());
        let rewrite = |entry| Rewrite { entry, counted: false, overwritten: false };
        let mut left: Vec<_> = recent.into_iter().map(rewrite).collect();
        while !left.is_empty() {
            let writes = left.drain(..).map(|mut rewrite| async {
                let result = self.rewrite(&mut rewrite, &possible).await;
                (rewrite, result)
            });
            let mut writes = stream::iter(writes).buffer_unordered(UNDER_WAY);
            let mut failed = Vec::new();
            while let Some((rewrite, result)) = writes.next().await {
                match result {
                    // The value stays among the recent ones, because another change may lose it again.
                    Ok(()) => self.recent.borrow_mut().written(&rewrite.entry),
                    Err(_) => failed.push(rewrite),
                }
            }
            drop(writes);
            left = failed;
            if !left.is_empty() {
                sleep(Duration::from_millis(500)).await;
            }
        }
    }

    /// First writes only if the key is absent, which replaces no value however often it is repeated. Then a confirm
    /// replaces any value that is not itself.
    async fn rewrite(&self, rewrite: &mut Rewrite, possible: impl Fn(usize)) -> Result<(), StoreError> {
        let Rewrite { entry, counted, overwritten } = rewrite;
        let mut count = |another: bool| {
            if another && !std::mem::replace(counted, true) {
                possible(entry.account);
            }
        };
        let key = self.redis_key(entry.key);
        let found = self.write_if_absent(&key, &entry.what).await?;
        count(!is_ours(&entry.what, found.as_ref()));
        let Remembered::Done(done) = entry.what else { return Ok(()) };
        match found {
            None => return Ok(()),
            // Our lost try may have replaced another claim's value.
            Some(Value::Done(other)) if done == other => {
                count(*overwritten);
                return Ok(());
            }
            Some(_) => {}
        }
        let replaced = self.write_done(&key, done).await;
        *overwritten |= replaced.as_ref().is_err_and(StoreError::may_have_run);
        count(!is_ours(&entry.what, replaced?.as_ref()));
        Ok(())
    }

    /// Writes a value if the key is absent, and returns the value that it found.
    async fn write_if_absent(&self, key: &[u8], what: &Remembered) -> Result<Option<Value>, StoreError> {
        let mut cmd = ::redis::cmd("SET");
        cmd.arg(key);
        match what {
            Remembered::Done(done) => cmd.arg(done.to_int()),
            Remembered::Unknown(mark) => cmd.arg(&*mark.value),
        };
        cmd.arg("PX").arg(self.window_ms).arg("NX").arg("GET");
        match self.batcher.call(cmd).await {
            Err(StoreError::Foreign) => Ok(Some(Value::Foreign)),
            reply => value(reply?),
        }
    }

    /// Writes a confirm in any case, and a mark only if the key is absent.
    async fn write_again(&self, key: Key, what: &Remembered) -> Result<(), StoreError> {
        let key = self.redis_key(key);
        let found = match what {
            Remembered::Done(done) => self.write_done(&key, *done).await,
            Remembered::Unknown(_) => self.write_if_absent(&key, what).await,
        };
        found.map(drop)
    }
}

/// Whether the value found in the key is our own, or one of the same lineage.
fn is_ours(what: &Remembered, found: Option<&Value>) -> bool {
    match (what, found) {
        (_, None) => true,
        (Remembered::Done(done), Some(Value::Done(other))) => done == other,
        (Remembered::Done(done), Some(Value::Claimed { token, origin, .. })) => done.is_of_claim(token, origin),
        (Remembered::Unknown(mark), Some(Value::Unknown { origin, .. } | Value::Claimed { origin, .. })) => {
            *mark.origin == **origin
        }
        (Remembered::Unknown(mark), Some(Value::Done(done))) => done.is_of_origin(&mark.origin),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claim::recent_claims::Mark;
    use crate::claim::rules::{ClaimRequest, Done, Spare, Token};

    #[test]
    fn what_stands_where_we_write_again_is_ours_only_where_it_can_be() {
        let who = |origin: &str, own| ClaimRequest {
            key: Key::new("baizhu", "acme", "ORDER", "t"),
            origin: origin.into(),
            fingerprint: 7,
            own,
            in_doubt: false,
            spare: Spare::None,
            force: false,
            possible: 0,
        };
        let (token, other) = (Token::random(), Token::random());
        let (ours, later, theirs) = (who("in:0:1", 1), who("in:0:1", 2), who("in:0:2", 1));
        let done = |who: &ClaimRequest, token| Done::new(who, token);
        let value = |text: String| Some(Value::parse(text.as_bytes()));
        let confirm = Remembered::Done(done(&ours, token));
        let mark = Remembered::Unknown(Box::new(Mark { value: ours.unknown().into(), origin: ours.origin.clone() }));
        // What is found; whether it is ours beside our confirm; whether it is ours beside our mark.
        let rows = [
            (None, true, true),
            (Some(Value::Done(done(&ours, token))), true, true),
            (Some(Value::Done(done(&later, token))), false, true),
            (Some(Value::Done(done(&theirs, token))), false, false),
            (value(ours.claimed(token, false)), true, true),
            (value(theirs.claimed(token, false)), false, false),
            (value(ours.unknown()), false, true),
            (value(theirs.unknown()), false, false),
            (Some(Value::Foreign), false, false),
        ];
        for (found, beside_confirm, beside_mark) in rows {
            assert_eq!(is_ours(&confirm, found.as_ref()), beside_confirm, "{found:?}");
            assert_eq!(is_ours(&mark, found.as_ref()), beside_mark, "{found:?}");
        }
        let same_tag = done(&ours, token) == done(&ours, other);
        assert_eq!(is_ours(&confirm, Some(&Value::Done(done(&ours, other)))), same_tag);
    }
}

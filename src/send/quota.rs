//! What a platform allows beside its rate: how soon it may be asked again about one thing, and how often a day.
//!
//! Both are kept in Redis, so that all replicas and all accounts of one contract share them. They are taken before a
//! request is sent: a crash between the two makes fewer requests than are allowed, not more.

use std::time::Duration;

use ::redis::Value as Reply;
use chrono::{DateTime, Offset as _, Utc};
use sha2::{Digest, Sha256};

use crate::account::Account;
use crate::platforms::call::CallLimit;
use crate::redis::batcher::{Batcher, StoreError};
use crate::redis::scripts::Script;

/// One contract's quota.
pub struct Quota {
    batcher: Batcher,
    /// The beginning of its keys.
    prefix: String,
}

/// What came of asking for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// The request may be made. It is counted.
    Yes(Counted),
    /// Another call asked about the same thing of late.
    TooSoon { wait: Duration },
    /// The day has no more requests.
    DayIsOver { wait: Duration },
}

/// A request that was counted, and its day; a request that then did not go out can be taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    day: Option<i64>,
}

impl Quota {
    /// That of an account. A contract belongs to a key, so the accounts with one key have one; `prefix` is that of
    /// Redis.
    pub fn of(batcher: Batcher, prefix: &str, account: &Account) -> Self {
        let contract = account.credentials.last().map_or(&*account.name, |credential| &credential.key);
        Self { batcher, prefix: format!("{prefix}:quota:{}:{contract}", account.platform) }
    }

    /// Asks for one request. `caller` names the call, and is the same in every attempt of it: the interval is one
    /// between two calls, not between the attempts of one.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn take(&self, limit: &CallLimit, caller: &[u8], now_ms: i64) -> Result<Allowed, StoreError> {
        if !limit.interval.is_zero() {
            let interval_ms = limit.interval.as_millis().to_string();
            let key = self.key("about", &limit.about);
            match self.batcher.script(Script::TakeTurn, &key, &[caller, interval_ms.as_bytes()]).await? {
                Reply::Int(0) => {}
                Reply::Int(wait_ms) => return Ok(Allowed::TooSoon { wait: millis(wait_ms) }),
                _ => return Err(odd()),
            }
        }
        let Some(most) = limit.per_day else { return Ok(Allowed::Yes(Counted::default())) };
        let args = [most.to_string(), ahead_of_utc_ms(limit.tz, now_ms).to_string()];
        let reply =
            self.batcher.script(Script::CountOfDay, &self.day(), &args.each_ref().map(|a| a.as_bytes())).await?;
        let Reply::Array(parts) = &reply else { return Err(odd()) };
        let [Reply::Int(day), Reply::Int(wait_ms)] = parts[..] else { return Err(odd()) };
        Ok(match wait_ms {
            0 => Allowed::Yes(Counted { day: Some(day) }),
            _ => Allowed::DayIsOver { wait: millis(wait_ms) },
        })
    }

    /// Takes back a request of which no byte went out. Best effort: what stays counted is one request less in its day.
    pub async fn take_back(&self, counted: Counted) {
        let Some(day) = counted.day else { return };
        let _ = self.batcher.script(Script::UncountOfDay, &self.day(), &[day.to_string().as_bytes()]).await;
    }

    fn key(&self, kind: &str, of: &str) -> Vec<u8> {
        // What is asked about may be anything, and may be personal: it does not stand in the key.
        let hash: String = Sha256::digest(of).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!("{}:{kind}:{hash}", self.prefix).into_bytes()
    }

    fn day(&self) -> Vec<u8> {
        format!("{}:day", self.prefix).into_bytes()
    }
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or_default())
}

fn odd() -> StoreError {
    StoreError::Unavailable("gave an odd answer".into())
}

/// How far a zone is ahead of UTC at this moment.
fn ahead_of_utc_ms(tz: chrono_tz::Tz, now_ms: i64) -> i64 {
    let now = DateTime::<Utc>::from_timestamp_millis(now_ms).unwrap_or_default();
    i64::from(now.with_timezone(&tz).offset().fix().local_minus_utc()) * 1_000
}

#[cfg(test)]
mod tests;

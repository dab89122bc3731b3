//! Finds the keys of the claims that an event may have in Redis, and explains the values found there.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use ::redis::Value as Reply;
use ::redis::aio::MultiplexedConnection;
use schemars::JsonSchema;
use serde::Serialize;

use super::wanted::Wanted;
use crate::account::Accounts;
use crate::claim::rules::{CLAIM_LIFE_MS, Key, Value};
use crate::redis::error::is_of_keys;

/// The number of keys in one query.
const CHUNK: usize = 1000;
/// Stands for a value of another type, which no worker wrote.
const NO_TEXT: &[u8] = b"";

/// A key that may hold a claim of the event.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub platform: &'static str,
    pub account: Arc<str>,
    /// Native event.
    pub event: Cow<'static, str>,
    pub key: Key,
}

/// Returns a candidate for every configured account and each of its native events, as far as `wanted` allows them.
pub fn candidates(wanted: &Wanted, accounts: &Accounts) -> Vec<Candidate> {
    let asked = accounts.values().filter(|account| wanted.may_be_of(account));
    asked
        .flat_map(|account| {
            let platform = account.platform;
            account.natives().into_iter().map(move |event| Candidate {
                platform,
                account: account.name.clone(),
                key: Key::new(platform, &account.name, &event, &wanted.trans_id),
                event,
            })
        })
        .collect()
}

/// Reads the claims of these candidates. `window` and `lease` are those of `[dedupe]`.
pub(super) async fn read_claims(
    redis: &mut MultiplexedConnection,
    asked: &[Candidate],
    prefix: &str,
    (window, lease): (Duration, Duration),
) -> ::redis::RedisResult<Vec<ClaimRow>> {
    let mut rows = Vec::new();
    for chunk in asked.chunks(CHUNK) {
        let mut pipe = ::redis::pipe();
        pipe.ignore_errors();
        for candidate in chunk {
            pipe.cmd("GET").arg(candidate.key.name(prefix));
        }
        let values: Vec<Reply> = pipe.query_async(redis).await?;
        for (candidate, value) in chunk.iter().zip(values) {
            let value = match value.extract_error() {
                Err(error) if is_of_keys(&error) => Some(NO_TEXT.to_vec()),
                value => ::redis::from_redis_value(value?)?,
            };
            let Some(value): Option<Vec<u8>> = value else { continue };
            let pttl: i64 = ::redis::cmd("PTTL").arg(candidate.key.name(prefix)).query_async(redis).await?;
            // The key may have gone between the two questions.
            if pttl != -2 {
                rows.push(ClaimRow::new(candidate, prefix, &value, pttl, window, lease));
            }
        }
    }
    Ok(rows)
}

/// A claim in Redis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ClaimRow {
    pub platform: String,
    pub account: String,
    /// Native event.
    pub event: String,
    /// The key. Its hash is written in hexadecimal digits.
    pub key: String,
    /// `claimed`, `unknown`, `done`, or `foreign` where no worker wrote it.
    pub state: &'static str,
    /// The meaning of this state at present.
    pub meaning: &'static str,
    /// The time since the claim was written, in ms on the clock of Redis; null where its full life is not known.
    pub age_ms: Option<i64>,
    /// The time until Redis forgets the claim, in ms; null: never.
    pub expires_in_ms: Option<i64>,
    /// Declared re-sends.
    pub resends: u32,
    /// The lineage as `topic:partition:offset`. A `done` keeps only ten bits of it.
    pub origin: Option<String>,
    /// These ten bits.
    pub origin_tag: Option<u64>,
}

impl ClaimRow {
    /// Reads the value of a key. `pttl` is the answer of Redis to PTTL.
    pub fn new(of: &Candidate, prefix: &str, found: &[u8], pttl: i64, window: Duration, lease: Duration) -> Self {
        let value = Value::parse(found);
        let left = (pttl >= 0).then_some(pttl);
        let life = match value {
            Value::Claimed { .. } => i64::try_from(CLAIM_LIFE_MS).ok(),
            Value::Unknown { .. } | Value::Done(_) => i64::try_from(window.as_millis()).ok(),
            Value::Foreign => None,
        };
        // If the window was shortened since the claim was written, its age cannot be known.
        let age_ms = life.zip(left).map(|(life, left)| life - left).filter(|age| *age >= 0);
        let young = age_ms.is_some_and(|age| u128::from(age.unsigned_abs()) < lease.as_millis());
        let (state, meaning) = match &value {
            Value::Claimed { .. } if young => ("claimed", "being sent now"),
            Value::Claimed { .. } => {
                ("claimed", "its lease is over: the next copy takes it over and declares the send")
            }
            Value::Unknown { .. } => ("unknown", "sent, and no answer came"),
            Value::Done(_) => ("done", "accepted: further copies are duplicates"),
            Value::Foreign => ("foreign", "not written by a worker: nothing is sent"),
        };
        let origin = match &value {
            Value::Claimed { origin, .. } | Value::Unknown { origin, .. } => Some(origin.clone()),
            _ => None,
        };
        let origin_tag = if let Value::Done(done) = &value { Some(done.origin_tag()) } else { None };
        Self {
            platform: of.platform.to_owned(),
            account: of.account.to_string(),
            event: of.event.to_string(),
            key: of.key.shown(prefix),
            state,
            meaning,
            age_ms,
            expires_in_ms: left,
            resends: value.resends(),
            origin,
            origin_tag,
        }
    }
}

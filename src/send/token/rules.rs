//! Which tokens are in force and when they are refreshed (pure; core.md section 9).

use std::time::Duration;

use crate::platforms::tokens::{Life, Seed, TokenSource};
use crate::send::token::record::{Found, TokenRecord, TokenSet, fingerprint};

/// For this long after a refusal nobody asks again. Other replicas learn of the refusal from Redis meanwhile.
pub const REFUSED_PAUSE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(60);

/// What the configuration states for an account.
pub struct Begin {
    seed: Seed,
    mark: String,
}

impl Begin {
    pub fn new(account: &str, seed: Seed) -> Self {
        let mark = fingerprint(account, &seed);
        Self { seed, mark }
    }

    /// The record that counts. It is the stored one, unless that was refused or cannot be decrypted and the configured
    /// values are new to the store. Configured values that the store has seen before are used up: their refresh token
    /// was used, and using it twice makes platforms revoke all tokens.
    ///
    /// # Errors
    /// Nothing can be used. The text says what to do and is safe.
    pub fn choose(&self, found: &Found) -> Result<TokenRecord, &'static str> {
        let begin = |generation: u64, seeds: &[String]| TokenRecord {
            generation: generation + 1,
            refusal: None,
            seeds: TokenRecord::add_seed(seeds, &self.mark),
            tokens: TokenSet::of_seed(&self.seed),
        };
        let is_new = |seeds: &[String]| !seeds.contains(&self.mark);
        match found {
            Found::Absent => Ok(begin(0, &[])),
            Found::Record(record) if record.refusal.is_some() && is_new(&record.seeds) => {
                Ok(begin(record.generation, &record.seeds))
            }
            Found::Record(record) => Ok(record.clone()),
            Found::Locked { generation, seeds } if is_new(seeds) => Ok(begin(*generation, seeds)),
            Found::Locked { .. } => Err(
                "redis.token_key does not open its stored tokens: put the key back with which they were written, or \
                 authorise the account anew and state its new tokens",
            ),
            Found::Unknown => Err(
                "what Redis keeps of its tokens was not written by this version: run the version that wrote it, or delete \
                 that key, authorise the account anew and state its new tokens",
            ),
        }
    }
}

/// Whether the store has lost a pair that this process knows to have been stored, because it was emptied or failed over
/// to an older state.
pub fn is_lost(found: &Found, stored: Option<&TokenRecord>) -> bool {
    match (found, stored) {
        (_, None) | (Found::Locked { .. } | Found::Unknown, _) => false,
        (Found::Absent, Some(_)) => true,
        (Found::Record(found), Some(known)) => found.generation < known.generation,
    }
}

/// When to refresh ahead, epoch ms. A time that the platform states is never before half of the token's life, because a
/// short-lived token would be refreshed without end.
pub fn refresh_at_ms(source: &dyn TokenSource, life: &Life) -> Option<i64> {
    let at = source.refresh_at_ms(life)?;
    let half = life.first_end_ms().map_or(at, |end| life.issued_ms + (end - life.issued_ms) / 2);
    Some(at.max(half))
}

/// Whether the platform refused the record so recently that it is not asked again.
pub fn is_refused_now(record: &TokenRecord, now_ms: i64) -> bool {
    record.refusal.is_some_and(|refusal| u128::from(now_ms.abs_diff(refusal.at_ms)) < REFUSED_PAUSE.as_millis())
}

/// How long to wait after so many failures in a row before the token endpoint is asked again.
pub fn pause(failures: u32) -> Duration {
    (FIRST_PAUSE * 2_u32.saturating_pow(failures.saturating_sub(1).min(10))).min(LAST_PAUSE)
}

#[cfg(test)]
mod tests;

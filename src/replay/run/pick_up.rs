//! Picks a run up: what it has still to do, and who goes on with it.

use std::collections::BTreeMap;

use ::redis::RedisResult;
use ::redis::aio::MultiplexedConnection;

use super::turns::{Chunk, Turns};
use crate::operate::keys::Keys;
use crate::replay::store::Stored;

/// Bitmaps per command: 8 KiB each at most.
const AT_ONCE: usize = 64;

/// What the run has still to do. `None`: marks of what it has done have expired, so that it would do that again.
///
/// # Errors
/// Redis does not answer.
pub async fn turns(c: &mut MultiplexedConnection, keys: &Keys, stored: &Stored) -> RedisResult<Option<Turns>> {
    let values: BTreeMap<String, Vec<u8>> =
        ::redis::cmd("HGETALL").arg(keys.replay_places(&stored.id)).query_async(c).await?;
    let mut turns = Turns::new(&stored.plan.accounts, values);
    let chunks: Vec<Chunk> = turns.chunks().into_iter().collect();
    let mut done = BTreeMap::new();
    for part in chunks.chunks(AT_ONCE) {
        let of = |(partition, chunk): &Chunk| keys.replay_done_chunk(&stored.id, *partition, *chunk);
        let names: Vec<String> = part.iter().map(of).collect();
        let bits: Vec<Option<Vec<u8>>> = ::redis::cmd("MGET").arg(&names).query_async(c).await?;
        done.extend(part.iter().copied().zip(bits).filter_map(|(chunk, bits)| Some((chunk, bits?))));
    }
    // Each dead letter that is counted has its mark, and those that the plan refused have none.
    let marked: u64 = done.values().flatten().map(|byte| u64::from(byte.count_ones())).sum();
    let is_known = marked >= stored.ended().saturating_sub(stored.plan.refused.values().sum());
    turns.leave_out(done);
    Ok(is_known.then_some(turns))
}

/// Says who goes on with the run. A runner that ends removes its name: one whose name is still there was killed, and
/// outcomes of its process may have been counted twice. Returns whether this is the first runner of it.
///
/// # Errors
/// Redis does not answer.
pub async fn sign(c: &mut MultiplexedConnection, keys: &Keys, stored: &mut Stored, token: &str) -> RedisResult<bool> {
    let key = keys.replay(&stored.id);
    let before: Option<String> = ::redis::cmd("HGET").arg(&key).arg("runner").query_async(c).await?;
    let mut fields = vec![("runner", token)];
    if before.is_some_and(|before| before != token) {
        tracing::warn!(replay = stored.id, "the replica that ran the replay is gone: this one goes on with it");
        fields.push(("at_least", "1"));
        stored.killed();
    } else {
        tracing::info!(replay = stored.id, by = stored.text("by"), "runs a replay");
    }
    let () = ::redis::cmd("HSET").arg(&key).arg(&fields).query_async(c).await?;
    ::redis::cmd("HSETNX").arg(&key).arg("begun").arg("1").query_async(c).await
}

//! Finds which of the keys that all lanes share holds what no worker wrote.

use ::redis::aio::MultiplexedConnection;
use ::redis::{RedisError, RedisResult, Value};

use crate::operate::Keys;
use crate::operate::snapshot::parse;
use crate::redis::error::{describe, is_of_keys};
use crate::redis::foreign::{ForeignKeys, text, unless};

/// Names the shared keys that hold another type than the worker writes, and snapshots that cannot be read. A command
/// that several keys belong to does not say which of them it refused.
///
/// # Errors
/// Fails if Redis does not answer.
pub async fn name(c: &mut MultiplexedConnection, keys: &Keys, foreign: &ForeignKeys) -> RedisResult<()> {
    let hashes = [keys.lanes(), keys.audit_out(), keys.storms(), keys.positions(), keys.orders(), keys.topics()];
    let texts = [keys.epoch(), keys.audit_turn(), keys.replay_running(), keys.replay_lock(), keys.letter_topic()];
    let mut asked = Vec::from(hashes.map(|key| (key, "HGET", &["any"][..])));
    asked.extend(texts.map(|key| (key, "GET", &[][..])));
    asked.push((keys.unplaced(), "SMEMBERS", &[]));
    asked.push((keys.replicas(), "SMEMBERS", &[]));
    asked.push((keys.replays(), "ZREVRANGE", &["0", "199"]));
    let mut found = ask(c, &asked, foreign).await?;
    let (replays, replicas) = (members(found.pop()), members(found.pop()));
    let of_replay = |id: &String| [keys.replay(id), keys.replay_places(id), keys.replay_outcomes(id)];
    let of_replays = replays.iter().flat_map(of_replay).map(|key| (key, "HGET", &["any"][..]));
    ask(c, &of_replays.collect::<Vec<_>>(), foreign).await?;
    let snapshots: Vec<_> = replicas.iter().map(|id| (keys.replica(id), "GET", &[][..])).collect();
    for ((key, ..), found) in snapshots.iter().zip(ask(c, &snapshots, foreign).await?) {
        if found != Value::Nil && parse(found).is_none() {
            foreign.met(key.as_bytes());
        }
    }
    Ok(())
}

/// Asks for each of these keys with its command. Keys of another type are named, and count as missing.
async fn ask(
    c: &mut MultiplexedConnection,
    asked: &[(String, &str, &[&str])],
    foreign: &ForeignKeys,
) -> RedisResult<Vec<Value>> {
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let mut pipe = ::redis::pipe();
    pipe.ignore_errors();
    asked.iter().for_each(|(key, command, rest)| _ = pipe.cmd(command).arg(key).arg(*rest));
    let found: Vec<Value> = pipe.query_async(c).await?;
    let each = asked.iter().zip(found);
    each.map(|((key, ..), found)| Ok(unless(found.extract_error(), key, foreign)?.unwrap_or(Value::Nil))).collect()
}

fn members(found: Option<Value>) -> Vec<String> {
    let members: Vec<Vec<u8>> = found.and_then(|found| ::redis::from_redis_value(found).ok()).unwrap_or_default();
    members.iter().map(|member| crate::redis::text(member)).collect()
}

/// Describes an error without secrets. Where a key is at fault, it says which, and what to do.
pub async fn describe_with_keys(c: &mut MultiplexedConnection, keys: &Keys, error: &RedisError) -> String {
    let said = describe(error);
    if is_of_keys(error) { with_keys(c, keys, said).await } else { said }
}

/// Adds to a text which keys hold what no worker wrote, and what to do.
pub async fn with_keys(c: &mut MultiplexedConnection, keys: &Keys, said: String) -> String {
    let foreign = ForeignKeys::default();
    let named = name(c, keys, &foreign).await;
    let names = foreign.names();
    if named.is_err() || names.is_empty() { said } else { format!("{said}; {}", text(&names)) }
}

#[cfg(test)]
mod tests;

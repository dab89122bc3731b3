//! Reads replays back, one or the newest.

use std::collections::BTreeMap;

use ::redis::aio::MultiplexedConnection;
use ::redis::{RedisResult, Value, from_redis_value};

use super::stored::Stored;
use crate::operate::keys::Keys;
use crate::redis::error::is_of_keys;
use crate::replay::view::State;

/// How many replays a list shows.
const LISTED: isize = 200;

/// Reads one replay. `None`: there is none.
///
/// # Errors
/// Fails if Redis does not answer.
pub async fn read(c: &mut MultiplexedConnection, keys: &Keys, id: &str) -> RedisResult<Option<Stored>> {
    read_each(c, keys, &[id.to_owned()]).await?.pop().unwrap_or(Ok(None))
}

/// Reads the newest replays, the newest first, and forgets the ids of those that have expired. One whose key holds
/// another type is left out.
///
/// # Errors
/// Fails if Redis does not answer.
pub async fn read_all(c: &mut MultiplexedConnection, keys: &Keys) -> RedisResult<Vec<Stored>> {
    let ids: Vec<String> = ::redis::cmd("ZREVRANGE").arg(keys.replays()).arg(0).arg(LISTED - 1).query_async(c).await?;
    let found = read_each(c, keys, &ids).await?;
    let is_gone = |stored: &RedisResult<Option<Stored>>| matches!(stored, Ok(None));
    let gone: Vec<&String> = ids.iter().zip(&found).filter(|(_, stored)| is_gone(stored)).map(|(id, _)| id).collect();
    if !gone.is_empty() {
        let () = ::redis::cmd("ZREM").arg(keys.replays()).arg(&gone).query_async(c).await?;
    }
    Ok(found.into_iter().filter_map(|stored| stored.ok().flatten()).collect())
}

/// Whether the newest replay that was run, or that is to run, has stopped itself. Plans that were only made do not
/// count.
///
/// # Errors
/// Fails if Redis does not answer.
pub async fn newest_has_stopped(c: &mut MultiplexedConnection, keys: &Keys) -> RedisResult<bool> {
    let ids: Vec<String> = ::redis::cmd("ZREVRANGE").arg(keys.replays()).arg(0).arg(LISTED - 1).query_async(c).await?;
    let mut pipe = ::redis::pipe();
    pipe.ignore_errors();
    for id in &ids {
        pipe.cmd("HGET").arg(keys.replay(id)).arg("state").cmd("HGET").arg(keys.replay(id)).arg("started_ms");
    }
    let found: Vec<Value> = if ids.is_empty() { Vec::new() } else { pipe.query_async(c).await? };
    let found: Vec<Option<String>> = found.into_iter().map(|one| from_redis_value(one).ok().flatten()).collect();
    let ran =
        found.chunks_exact(2).filter_map(|pair| Some((pair[1].as_ref()?.parse::<i64>().ok()?, pair[0].as_deref()?)));
    let newest = ran.max_by_key(|(started_ms, _)| *started_ms);
    Ok(newest.is_some_and(|(_, state)| state == State::StoppedItself.as_str()))
}

/// Each of them, or that there is none, or that its key holds another type.
async fn read_each(
    c: &mut MultiplexedConnection,
    keys: &Keys,
    ids: &[String],
) -> RedisResult<Vec<RedisResult<Option<Stored>>>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut pipe = ::redis::pipe();
    pipe.ignore_errors();
    for id in ids {
        pipe.cmd("HGETALL").arg(keys.replay(id)).cmd("HGETALL").arg(keys.replay_outcomes(id));
    }
    let replies: Vec<Value> = pipe.query_async(c).await?;
    let mut each = Vec::new();
    for (id, pair) in ids.iter().zip(replies.chunks_exact(2)) {
        let read = fields(&pair[0]).and_then(|of| Ok((of, fields(&pair[1])?)));
        each.push(match read {
            Err(error) if !is_of_keys(&error) => return Err(error),
            read => read.map(|(of, outcomes)| Stored::new(id, of, outcomes)),
        });
    }
    Ok(each)
}

fn fields(reply: &Value) -> RedisResult<BTreeMap<String, String>> {
    let fields: BTreeMap<Vec<u8>, Vec<u8>> = from_redis_value(reply.clone().extract_error()?)?;
    Ok(fields.iter().map(|(name, value)| (crate::redis::text(name), crate::redis::text(value))).collect())
}

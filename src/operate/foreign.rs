//! Finds which of the keys that all lanes share holds what no worker wrote.

use ::redis::aio::MultiplexedConnection;
use ::redis::{RedisResult, Value};

use crate::operate::Keys;
use crate::redis::batcher::is_of_keys;
use crate::redis::foreign::ForeignKeys;

/// Names the shared keys that hold another type than the worker writes. A command that several keys belong to does not
/// say which of them it refused.
///
/// # Errors
/// Fails if Redis does not answer.
pub async fn name(c: &mut MultiplexedConnection, keys: &Keys, foreign: &ForeignKeys) -> RedisResult<()> {
    let hashes = [keys.lanes(), keys.audit_out(), keys.storms(), keys.positions(), keys.orders()];
    let sets = [keys.unplaced(), keys.replicas()];
    let mut pipe = ::redis::pipe();
    pipe.ignore_errors();
    hashes.iter().for_each(|key| _ = pipe.cmd("HGET").arg(key).arg("any"));
    sets.iter().for_each(|key| _ = pipe.cmd("SMEMBERS").arg(key));
    let found: Vec<Value> = pipe.query_async(c).await?;
    for (key, found) in hashes.iter().chain(&sets).zip(found) {
        if found.extract_error().is_err_and(|error| is_of_keys(&error)) {
            foreign.met(key.as_bytes());
        }
    }
    Ok(())
}

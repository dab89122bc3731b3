//! How a halt ends without an operator: the lock of the replica that tries parked events, and the end itself.

use std::time::Duration;

use ::redis::RedisResult;
use ::redis::aio::MultiplexedConnection;

use crate::lane::handle::switches::Switch;
use crate::operate::audit::Change;
use crate::operate::lanes::{Which, add_put_off, entry, new_token};
use crate::operate::{By, Keys};
use crate::redis::scripts::Script;

/// Lets no replica try a parked event of the account before this time is over. Zero: nobody tries any.
///
/// # Errors
/// Fails for the same reasons as [`pause`](crate::operate::lanes::pause).
pub async fn put_off_probe(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    account: &str,
    every: Duration,
) -> RedisResult<()> {
    let mut pipe = ::redis::pipe();
    add_put_off(&mut pipe, keys, account, every);
    if pipe.is_empty() {
        return Ok(());
    }
    pipe.query_async(connection).await
}

/// Lets the replica `id` try parked events of a halted account for as long as `lock`. `false`: another one does, or it
/// is too soon.
///
/// # Errors
/// Fails for the same reasons as [`pause`](crate::operate::lanes::pause).
pub async fn take_probe(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    account: &str,
    id: &str,
    lock: Duration,
) -> RedisResult<bool> {
    let mut cmd = Script::TakeTurn.eval(keys.halt_probe(account).as_bytes());
    let wait_ms: i64 = cmd.arg(id).arg(lock.as_millis() as u64).query_async(connection).await?;
    Ok(wait_ms == 0)
}

/// Ends this halt of an account, with an audit entry. A pause stays. Returns `false` if the account is not halted any
/// more, or if it was halted anew since.
///
/// # Errors
/// Fails for the same reasons as [`pause`](crate::operate::lanes::pause).
pub async fn end_halt(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    account: &str,
    halt: &Switch,
    by: &By,
    now_ms: i64,
) -> RedisResult<bool> {
    let (halted, resumed) = (Which::Halted.field(account), Which::Resumed.field(account));
    let mut pipe = ::redis::pipe();
    pipe.cmd("HGET").arg(keys.lanes()).arg(&halted).cmd("HGET").arg(keys.lanes()).arg(&resumed);
    let (found, token): (Option<String>, Option<String>) = pipe.query_async(connection).await?;
    let Some(found) = found.filter(|found| serde_json::from_str::<Switch>(found).is_ok_and(|found| found == *halt))
    else {
        return Ok(false);
    };
    let record = entry(Change::Resume, account, by, now_ms);
    let mut cmd = Script::EndHalt.eval_on(&[keys.lanes(), keys.audit_out()]);
    cmd.arg(halted).arg(found).arg(resumed).arg(token.unwrap_or_default()).arg(new_token(now_ms));
    cmd.arg(&record.id).arg(record.json()).query_async(connection).await
}

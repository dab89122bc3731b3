//! Publishes the entries of the outbox to `kafka.audit`: one process at a time, oldest first.

use std::collections::BTreeMap;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{Client, RedisResult};

use crate::kafka::producer::{Producer, PublishError};
use crate::operate::audit::AuditRecord;
use crate::operate::foreign;
use crate::operate::keys::Keys;
use crate::quiet::Told;
use crate::redis::error::is_of_keys;
use crate::redis::foreign::ForeignKeys;
use crate::redis::scripts::Script;

/// The time between two looks at the outbox.
const EVERY: Duration = Duration::from_secs(1);
/// How long a turn lasts if its owner dies. It is longer than the attempt to publish one entry.
const TURN_MS: u64 = 60_000;

/// What became of the entries in the outbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    pub sent: usize,
    /// Why entries are still in the outbox. Empty if another process publishes them, or if there are none.
    pub trouble: Vec<String>,
}

/// Publishes as long as the process lives. Every replica runs it, and one of them has the turn.
pub async fn keep(
    (client, keys): (&Client, &Keys),
    foreign: &ForeignKeys,
    owner: &str,
    producer: &Producer,
    topic: &str,
) {
    let (mut told, mut connection) = (Told::default(), None);
    loop {
        tokio::time::sleep(EVERY).await;
        let mut c = match connection.take() {
            Some(connection) => connection,
            None => match crate::redis::connect(client).await {
                Ok(connection) => connection,
                // The coordinator reports that Redis does not answer.
                Err(_) => continue,
            },
        };
        match publish(&mut c, keys, owner, producer, topic).await {
            Ok(published) => {
                told.warn(published.trouble);
                connection = Some(c);
            }
            Err(error) if is_of_keys(&error) => {
                connection = foreign::name(&mut c, keys, foreign).await.ok().map(|()| c);
            }
            Err(_) => {}
        }
    }
}

/// Publishes what is in the outbox, unless another process does that now. An entry leaves the outbox after all replicas
/// of its partition have it.
///
/// # Errors
/// Fails if Redis does not answer. What was published and is still in the outbox is published again with the same id.
pub async fn publish(
    c: &mut MultiplexedConnection,
    keys: &Keys,
    owner: &str,
    producer: &Producer,
    topic: &str,
) -> RedisResult<Published> {
    let mut published = Published::default();
    if read(c, keys).await?.is_empty() || !take_turn(c, keys, owner).await? {
        return Ok(published);
    }
    // The process that had the turn before may have published since the first read.
    for (id, text) in read(c, keys).await? {
        if AuditRecord::read(Some(text.as_bytes())).is_none() {
            let key = keys.audit_out();
            let field = id.escape_default();
            published.trouble.push(format!("redis: no worker wrote the field \"{field}\" of {key}: delete it (HDEL)"));
            continue;
        }
        match producer.publish(topic, Some(id.as_bytes()), Some(text.as_bytes()), &[]).await {
            Ok(_) => {
                let () = ::redis::cmd("HDEL").arg(keys.audit_out()).arg(&id).query_async(c).await?;
                published.sent += 1;
            }
            Err(error) => {
                published.trouble.push(format!("an audit entry waits in Redis: topic {topic}: {error}"));
                // Without a broker the next entry fares no better. An entry that alone is refused holds up no other.
                if matches!(error, PublishError::Unavailable(_)) {
                    break;
                }
            }
        }
        if !take_turn(c, keys, owner).await? {
            return Ok(published);
        }
    }
    let () = Script::Release.eval(keys.audit_turn().as_bytes()).arg(owner).arg("").arg(0).query_async(c).await?;
    published.trouble.dedup();
    Ok(published)
}

async fn read(c: &mut MultiplexedConnection, keys: &Keys) -> RedisResult<BTreeMap<String, String>> {
    crate::redis::hash(c, &keys.audit_out()).await
}

async fn take_turn(c: &mut MultiplexedConnection, keys: &Keys, owner: &str) -> RedisResult<bool> {
    let mut cmd = Script::TakeTurn.eval(keys.audit_turn().as_bytes());
    let left: i64 = cmd.arg(owner).arg(TURN_MS).query_async(c).await?;
    Ok(left == 0)
}

#[cfg(test)]
mod tests;

//! What the replica that runs a replay writes: the lock, and how far it is. Each write is made only while the replica
//! holds the lock, so that one that was frozen cannot count for another.

use std::collections::BTreeMap;

use ::redis::RedisResult;
use ::redis::aio::MultiplexedConnection;

use super::{LOCK_MS, REPLAYED_LIFE_MS};
use crate::operate::json;
use crate::operate::keys::{Keys, OFFSETS_PER_KEY};
use crate::redis::scripts::Script;
use crate::replay::view::{State, Stopped, Waiting};

/// What a run did with a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Did {
    Republished,
    /// It was not to be published, with the cause.
    Skipped(&'static str),
    /// It could not be published, with the cause.
    Failed(&'static str),
}

/// A dead letter that a run has done with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    pub partition: i32,
    pub offset: i64,
    /// The account whose records under way it counts among.
    pub account: String,
    pub did: Did,
}

/// One write of the replica that runs a replay.
#[derive(Clone, Debug, Default)]
pub struct Step<'a> {
    pub done: &'a [Done],
    pub waiting: &'a [Waiting],
    /// The state in which the run ends, and why.
    pub end: Option<(State, Option<Stopped>)>,
    pub now_ms: i64,
}

/// What a write found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The state after the write, and the rate.
    State(State, u32),
    /// Another replica has the lock: nothing was written.
    Lost,
    /// The replay is gone: nothing was written.
    Gone,
}

/// The id of the replay that is to run now.
///
/// # Errors
/// Fails if Redis does not answer.
pub async fn running(c: &mut MultiplexedConnection, keys: &Keys) -> RedisResult<Option<String>> {
    ::redis::cmd("GET").arg(keys.replay_running()).query_async(c).await
}

/// Takes the lock, or takes it anew. `false`: another replica has it.
///
/// # Errors
/// Fails if Redis does not answer.
pub async fn take_lock(c: &mut MultiplexedConnection, keys: &Keys, token: &str) -> RedisResult<bool> {
    let mut cmd = Script::TakeTurn.eval(keys.replay_lock().as_bytes());
    let left: i64 = cmd.arg(token).arg(LOCK_MS).query_async(c).await?;
    Ok(left == 0)
}

/// Gives the lock up if the token still holds it.
///
/// # Errors
/// Fails if Redis does not answer. The lock then expires by itself.
pub async fn release_lock(c: &mut MultiplexedConnection, keys: &Keys, token: &str) -> RedisResult<()> {
    Script::Release.eval(keys.replay_lock().as_bytes()).arg(token).arg("").arg(0).query_async(c).await
}

/// Counts what a run has done, or nothing of it. A dead letter that was counted before is not counted again, so that a
/// step whose reply was lost can be repeated.
///
/// # Errors
/// Fails if Redis does not answer.
pub async fn advance(
    c: &mut MultiplexedConnection,
    keys: &Keys,
    (id, token): (&str, &str),
    step: &Step<'_>,
) -> RedisResult<Found> {
    let mut names = vec![keys.replay_lock(), keys.replay(id), keys.replay_running()];
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    let mut index = |name: String| {
        *known.entry(name).or_insert_with_key(|name| {
            names.push(name.clone());
            names.len()
        })
    };
    let mut letters: Vec<String> = Vec::with_capacity(step.done.len() * 5);
    for done in step.done {
        let (counts, account, replayed) = match done.did {
            Did::Republished => {
                let replayed = index(keys.replayed(done.partition, done.offset));
                ("republished".to_owned(), format!("republished:{}", done.account), replayed)
            }
            Did::Skipped(cause) => (format!("skipped:{cause}"), String::new(), 0),
            Did::Failed(cause) => (format!("failed:{cause}"), String::new(), 0),
        };
        let bitmap = index(keys.replay_done(id, done.partition, done.offset));
        let bit = done.offset % OFFSETS_PER_KEY;
        letters.extend([counts, account, bitmap.to_string(), bit.to_string(), replayed.to_string()]);
    }
    let mut cmd = Script::ReplayProgress.eval_on(&names);
    cmd.arg(token).arg(LOCK_MS).arg(id).arg(step.now_ms).arg(REPLAYED_LIFE_MS);
    cmd.arg(if step.waiting.is_empty() { String::new() } else { json(&step.waiting) });
    let (state, stopped) = match &step.end {
        Some((state, stopped)) => (state.as_str(), stopped.as_ref().map(json).unwrap_or_default()),
        None => ("", String::new()),
    };
    cmd.arg(state).arg(stopped).arg(&letters);
    let (state, rate): (String, String) = cmd.query_async(c).await?;
    Ok(match state.as_str() {
        "lost" => Found::Lost,
        // A state of another version of the program is not this one's to go on with.
        state => State::read(state).map_or(Found::Gone, |state| Found::State(state, rate.parse().unwrap_or(1))),
    })
}

/// Keeps one dead letter as the example of each cause, unless there is one.
///
/// # Errors
/// Fails if Redis does not answer.
pub async fn keep_samples(c: &mut MultiplexedConnection, keys: &Keys, id: &str, done: &[Done]) -> RedisResult<()> {
    let mut first: BTreeMap<&str, String> = BTreeMap::new();
    for done in done {
        if let Did::Skipped(cause) | Did::Failed(cause) = done.did {
            first.entry(cause).or_insert_with(|| format!("{}:{}", done.partition, done.offset));
        }
    }
    if first.is_empty() {
        return Ok(());
    }
    let mut pipe = ::redis::pipe();
    for (cause, at) in first {
        pipe.cmd("HSETNX").arg(keys.replay(id)).arg(format!("sample:{cause}")).arg(at).ignore();
    }
    pipe.query_async(c).await
}

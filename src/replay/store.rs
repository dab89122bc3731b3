//! Replays in Redis: plans, states, counts, the lock of the one that runs. The table in [`crate::operate`] says what
//! each key holds.
//!
//! The hash of a replay has `plan` (JSON of [`Plan`], never changed), `state`, `rate`, `by`, `via`, `why`,
//! `republished`, `republished:<account>`, `skipped:<cause>`, `failed:<cause>`, `sample:<cause>`, `started_ms`,
//! `ended_ms`, `stopped`, `waiting`, `begun`, `at_least`, and while the plan is made `progress`. The skips that the
//! plan knows are in it from the start.

pub mod progress;
mod reading;
pub mod stored;
#[cfg(test)]
mod tests;

use ::redis::RedisResult;
use ::redis::aio::MultiplexedConnection;

pub use self::reading::{newest_has_stopped, read, read_all};
pub use self::stored::{Plan, Stored};
use crate::operate::audit::{AuditRecord, By, Via};
use crate::operate::json;
use crate::operate::keys::Keys;
use crate::redis::scripts::Script;
use crate::replay::error::ReplayError;
use crate::replay::view::{Progress, State, Stopped};

const DAY_MS: i64 = 24 * 3_600_000;
/// How long a plan is kept.
pub const PLAN_LIFE_MS: i64 = 7 * DAY_MS;
/// How long a run and what came of it are kept.
pub const RUN_LIFE_MS: i64 = 30 * DAY_MS;
/// How long it is kept that a dead letter was replayed: longer than the dead letter itself.
pub const REPLAYED_LIFE_MS: i64 = 32 * DAY_MS;
/// How long the lock outlives the replica that holds it.
pub const LOCK_MS: i64 = 30_000;
/// A plan that is being made is forgotten if its maker says nothing for this long.
const PLANNING_LIFE_MS: i64 = 60_000;

/// What a plan is called and by whom it is made, while it is made.
#[derive(Clone, Debug)]
pub struct Draft<'a> {
    pub id: &'a str,
    pub plan: &'a Plan,
    pub rate: u32,
    pub by: &'a By,
}

/// Enters a plan that is being made.
///
/// # Errors
/// Fails if Redis does not answer.
pub async fn begin_plan(c: &mut MultiplexedConnection, keys: &Keys, draft: &Draft<'_>) -> RedisResult<()> {
    let key = keys.replay(draft.id);
    let mut pipe = ::redis::pipe();
    pipe.atomic();
    let fields = [
        ("plan", json(draft.plan)),
        ("state", State::Planned.as_str().to_owned()),
        ("rate", draft.rate.to_string()),
        ("by", draft.by.who.clone()),
        ("via", via_text(draft.by.via)),
        ("why", draft.by.why.clone()),
        ("progress", json(&Progress::default())),
    ];
    pipe.cmd("HSET").arg(&key).arg(&fields).ignore();
    pipe.cmd("PEXPIRE").arg(&key).arg(PLANNING_LIFE_MS).ignore();
    pipe.cmd("ZADD").arg(keys.replays()).arg(draft.plan.made_at_ms).arg(draft.id).ignore();
    pipe.query_async(c).await
}

/// Says how far a plan is, and that its maker lives.
///
/// # Errors
/// Fails if Redis does not answer.
pub async fn plan_goes_on(
    c: &mut MultiplexedConnection,
    keys: &Keys,
    id: &str,
    progress: &Progress,
) -> RedisResult<()> {
    let mut pipe = ::redis::pipe();
    pipe.cmd("HSET").arg(keys.replay(id)).arg("progress").arg(json(progress)).ignore();
    pipe.cmd("PEXPIRE").arg(keys.replay(id)).arg(PLANNING_LIFE_MS).ignore();
    pipe.query_async(c).await
}

/// Keeps a plan that is made, with the places that it publishes: one value per field of the hash.
///
/// # Errors
/// Fails if Redis does not answer.
pub async fn keep_plan(
    c: &mut MultiplexedConnection,
    keys: &Keys,
    draft: &Draft<'_>,
    places: &[(String, Vec<u8>)],
) -> RedisResult<()> {
    let (key, of_places) = (keys.replay(draft.id), keys.replay_places(draft.id));
    let mut pipe = ::redis::pipe();
    pipe.atomic();
    for (field, value) in places {
        pipe.cmd("HSET").arg(&of_places).arg(field).arg(value).ignore();
    }
    pipe.cmd("PEXPIRE").arg(&of_places).arg(PLAN_LIFE_MS).ignore();
    let mut fields = vec![("plan".to_owned(), json(draft.plan))];
    fields.extend(draft.plan.refused.iter().map(|(cause, count)| (format!("skipped:{cause}"), count.to_string())));
    pipe.cmd("HSET").arg(&key).arg(&fields).ignore();
    pipe.cmd("HDEL").arg(&key).arg("progress").ignore();
    pipe.cmd("PEXPIRE").arg(&key).arg(PLAN_LIFE_MS).ignore();
    pipe.query_async(c).await
}

/// Says that a plan could not be made.
///
/// # Errors
/// Fails if Redis does not answer.
pub async fn plan_failed(c: &mut MultiplexedConnection, keys: &Keys, id: &str, why: &str) -> RedisResult<()> {
    let key = keys.replay(id);
    let stopped = Stopped { reason: format!("no plan could be made: {why}; make it anew"), sample: None };
    let mut pipe = ::redis::pipe();
    pipe.atomic();
    let fields = [("state", State::Failed.as_str().to_owned()), ("stopped", json(&stopped))];
    pipe.cmd("HSET").arg(&key).arg(&fields).ignore();
    pipe.cmd("HDEL").arg(&key).arg("progress").ignore();
    pipe.cmd("PEXPIRE").arg(&key).arg(PLAN_LIFE_MS).ignore();
    pipe.query_async(c).await
}

/// A change of state that an operator asks for.
#[derive(Clone, Copy, Debug)]
pub struct Move {
    pub to: State,
    pub from: &'static [State],
    /// What the operator does, for an error: `be run`.
    pub what: &'static str,
    /// The states of `from` in words, for an error.
    pub may: &'static str,
}

/// Changes the state of a replay, with the audit entry of the change or not at all.
///
/// # Errors
/// The replay is in another state, another one runs, or Redis does not answer.
pub async fn change(
    c: &mut MultiplexedConnection,
    keys: &Keys,
    id: &str,
    to: Move,
    (by, entry): (&By, &AuditRecord),
) -> Result<(), ReplayError> {
    let mut cmd = Script::ReplayMove.eval_on(&[
        keys.replay(id),
        keys.replay_running(),
        keys.replay_outcomes(id),
        keys.audit_out(),
    ]);
    cmd.arg(id).arg(to.to.as_str()).arg(listed(to.from)).arg(entry.at_ms).arg(RUN_LIFE_MS);
    cmd.arg(&entry.id).arg(entry.json());
    if to.to == State::Running {
        cmd.arg("by").arg(&by.who).arg("via").arg(via_text(by.via)).arg("why").arg(&by.why);
    }
    let reply: Vec<String> = cmd.query_async(c).await.map_err(|error| ReplayError::redis(&error))?;
    judge(c, keys, id, (to.what, to.may), &reply).await?;
    keep(c, keys, id).await.map_err(|error| ReplayError::redis(&error))
}

/// Keeps a run and the places of its plan from now on for as long as a run is kept: a run without its places would end
/// before all of them were published.
///
/// # Errors
/// Fails if Redis does not answer.
pub async fn keep(c: &mut MultiplexedConnection, keys: &Keys, id: &str) -> RedisResult<()> {
    let mut pipe = ::redis::pipe();
    for key in [keys.replay(id), keys.replay_places(id)] {
        pipe.cmd("PEXPIRE").arg(key).arg(RUN_LIFE_MS).ignore();
    }
    pipe.query_async(c).await
}

/// Changes the rate of a replay, with the audit entry of the change or not at all.
///
/// # Errors
/// The replay has ended, or Redis does not answer.
pub async fn change_rate(
    c: &mut MultiplexedConnection,
    keys: &Keys,
    id: &str,
    rate: u32,
    entry: &AuditRecord,
) -> Result<(), ReplayError> {
    let mut cmd = Script::ReplayRate.eval_on(&[keys.replay(id), keys.audit_out()]);
    cmd.arg(rate).arg(listed(&[State::Completed])).arg(&entry.id).arg(entry.json());
    let reply: Vec<String> = cmd.query_async(c).await.map_err(|error| ReplayError::redis(&error))?;
    judge(c, keys, id, ("get another rate", "not completed"), &reply).await
}

/// Turns the reply of a script into its error.
async fn judge(
    c: &mut MultiplexedConnection,
    keys: &Keys,
    id: &str,
    (what, may): (&'static str, &'static str),
    reply: &[String],
) -> Result<(), ReplayError> {
    match reply.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["done"] => Ok(()),
        ["planning"] => Err(ReplayError::StillPlanned(id.to_owned())),
        ["held", other] => {
            let running = read(c, keys, other).await.ok().flatten();
            let by = running.map(|stored| format!(" (started by {})", stored.text("by"))).unwrap_or_default();
            Err(ReplayError::AnotherRuns { id: other.to_owned(), by })
        }
        ["state", state] => match State::read(state) {
            Some(state) => Err(ReplayError::WrongState { id: id.to_owned(), state, what, may }),
            None => Err(ReplayError::Unavailable(format!("replay {id} was written by another version of postback"))),
        },
        ["none"] => Err(ReplayError::NotFound(id.to_owned())),
        _ => Err(ReplayError::Unavailable("redis: an answer of another type".to_owned())),
    }
}

fn listed(states: &[State]) -> String {
    states.iter().map(|state| format!("|{}", state.as_str())).collect::<String>() + "|"
}

fn via_text(via: Via) -> String {
    json(&via).trim_matches('"').to_owned()
}

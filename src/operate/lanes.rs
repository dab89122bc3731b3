//! Lane switches: an operator pauses a lane, and a worker halts it. Resume clears both switches and leaves a token, so
//! that a worker that remembers an older switch does not set it again.

pub mod ending;

use std::collections::BTreeMap;
use std::time::Duration;

use ::redis::RedisResult;
use ::redis::aio::MultiplexedConnection;

use crate::lane::handle::switches::{Switch, Switches};
use crate::metrics::LaneState;
use crate::operate::audit::{self, AuditRecord, Change};
use crate::operate::{By, Keys, json};
use crate::redis::scripts::Script;

/// The switches of every account that has at least one switch on.
pub type SwitchesByAccount = BTreeMap<String, Switches>;

/// The lanes that are closed, by account: their state, and since when, epoch ms.
pub fn closed_lanes(lanes: &SwitchesByAccount) -> BTreeMap<String, (LaneState, i64)> {
    let cause = |(account, switches): (&String, &Switches)| {
        let (state, switch) = switches.cause()?;
        Some((account.clone(), (state, switch.since_ms)))
    };
    lanes.iter().filter_map(cause).collect()
}

/// The token of each account's last resume. A flushed store has no tokens, so a token that differs from the one seen
/// before is newer than the remembered switch. This comparison needs no clock.
pub type Resumes = BTreeMap<String, String>;

#[derive(Clone, Copy)]
enum Which {
    Paused,
    Halted,
    Resumed,
}

impl Which {
    fn field(self, account: &str) -> String {
        match self {
            Which::Paused => format!("{account}:paused"),
            Which::Halted => format!("{account}:halted"),
            Which::Resumed => format!("{account}:resumed"),
        }
    }
}

/// Reads the hash into switches by account. A switch whose value cannot be read counts as on, because a closed lane is
/// the safe side.
pub fn parse_lanes(hash: &BTreeMap<String, String>) -> SwitchesByAccount {
    let mut lanes = SwitchesByAccount::new();
    for (field, value) in hash {
        let Some((account, which)) = field.rsplit_once(':') else { continue };
        let switch = || {
            serde_json::from_str(value).unwrap_or_else(|_| Switch::halt("a switch that cannot be read", "", 0, true))
        };
        match which {
            "paused" => lanes.entry(account.to_owned()).or_default().paused = Some(switch()),
            "halted" => lanes.entry(account.to_owned()).or_default().halted = Some(switch()),
            _ => {}
        }
    }
    lanes
}

/// Reads all switches that are on.
///
/// # Errors
/// Fails if Redis does not answer. The caller keeps what it knew.
pub async fn read_lanes(connection: &mut MultiplexedConnection, keys: &Keys) -> RedisResult<SwitchesByAccount> {
    Ok(read_switches(connection, keys).await?.0)
}

/// Reads all switches that are on, and the tokens of resumes.
///
/// # Errors
/// Fails for the same reasons as [`read_lanes`].
pub async fn read_switches(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
) -> RedisResult<(SwitchesByAccount, Resumes)> {
    let hash = crate::redis::hash(connection, &keys.lanes()).await?;
    let lanes = parse_lanes(&hash);
    let resumed = |(field, note): (String, String)| Some((field.strip_suffix(":resumed")?.to_owned(), note));
    Ok((lanes, hash.into_iter().filter_map(resumed).collect()))
}

/// Pauses an account. A second pause replaces the reason. The pause and its audit entry are one transaction.
///
/// # Errors
/// Fails if Redis does not answer. The change may or may not have been made, and can be repeated.
pub async fn pause(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    account: &str,
    by: &By,
    now_ms: i64,
) -> RedisResult<()> {
    let switch = Switch::pause(&by.why, &by.who, now_ms);
    let mut pipe = ::redis::pipe();
    pipe.atomic();
    pipe.cmd("HSET").arg(keys.lanes()).arg(Which::Paused.field(account)).arg(json(&switch)).ignore();
    audit::push(&mut pipe, keys, &entry(Change::Pause, account, by, now_ms));
    pipe.query_async(connection).await
}

/// Clears the pause and the halt of an account. The change and its audit entry are one transaction.
///
/// # Errors
/// Fails for the same reasons as [`pause`].
pub async fn resume(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    account: &str,
    by: &By,
    now_ms: i64,
) -> RedisResult<()> {
    let mut pipe = ::redis::pipe();
    pipe.atomic();
    let fields = [Which::Paused.field(account), Which::Halted.field(account)];
    pipe.cmd("HDEL").arg(keys.lanes()).arg(&fields).ignore();
    pipe.cmd("HSET").arg(keys.lanes()).arg(Which::Resumed.field(account)).arg(new_token(now_ms)).ignore();
    audit::push(&mut pipe, keys, &entry(Change::Resume, account, by, now_ms));
    pipe.query_async(connection).await
}

/// A token of a resume. It differs from every other one.
fn new_token(now_ms: i64) -> String {
    format!("{now_ms} {:016x}", rand::random::<u64>())
}

/// What may end a halt beside an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Nothing.
    ByHand,
    /// Another credential, or a parked event that is accepted. One is tried so often; zero: none is.
    ByProbe { every: Duration },
}

/// Halts an account. Returns `false` if it is halted already, or was resumed since: `seen` is the token of the last
/// resume that was known when the lane was halted. The first cause stays, so that several replicas that see the same
/// refusal report it once.
///
/// # Errors
/// Fails for the same reasons as [`pause`].
pub async fn halt(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    account: &str,
    by: &By,
    ends: Ends,
    seen: Option<&str>,
    now_ms: i64,
) -> RedisResult<bool> {
    let halted = Which::Halted.field(account);
    let old: Option<String> = ::redis::cmd("HGET").arg(keys.lanes()).arg(halted).query_async(connection).await?;
    if old.is_some() {
        return Ok(false);
    }
    let switch = Switch::halt(&by.why, &by.who, now_ms, ends == Ends::ByHand);
    let record = entry(Change::Halt, account, by, now_ms);
    let mut pipe = ::redis::pipe();
    pipe.atomic();
    pipe.add_command(switch_on(keys, account, Which::Halted, &switch, seen));
    audit::push(&mut pipe, keys, &record);
    if let Ends::ByProbe { every } = ends {
        add_put_off(&mut pipe, keys, account, every);
    }
    let (new,): (bool,) = pipe.query_async(connection).await?;
    if !new {
        audit::take_back(connection, keys, &record).await?;
    }
    Ok(new)
}

fn switch_on(keys: &Keys, account: &str, which: Which, switch: &Switch, seen: Option<&str>) -> ::redis::Cmd {
    let mut cmd = Script::SwitchOn.eval(keys.lanes().as_bytes());
    cmd.arg(which.field(account)).arg(json(switch)).arg(Which::Resumed.field(account)).arg(seen.unwrap_or_default());
    cmd
}

fn add_put_off(pipe: &mut ::redis::Pipeline, keys: &Keys, account: &str, every: Duration) {
    if !every.is_zero() {
        let every_ms = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
        pipe.cmd("SET").arg(keys.halt_probe(account)).arg("put off").arg("PX").arg(every_ms).ignore();
    }
}

/// Writes the last known switches back into a store that lost them. A switch that was set there meanwhile wins, and so
/// does a resume whose token differs from the one `seen` when the switches were known.
///
/// # Errors
/// Fails for the same reasons as [`pause`].
pub async fn restore(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    lanes: &SwitchesByAccount,
    seen: &Resumes,
) -> RedisResult<()> {
    let mut pipe = ::redis::pipe();
    for (account, lane) in lanes {
        for (which, switch) in [(Which::Paused, &lane.paused), (Which::Halted, &lane.halted)] {
            if let Some(switch) = switch {
                let seen = seen.get(account).map(String::as_str);
                pipe.add_command(switch_on(keys, account, which, switch, seen)).ignore();
            }
        }
    }
    if pipe.is_empty() {
        return Ok(());
    }
    pipe.query_async(connection).await
}

fn entry(what: Change, account: &str, by: &By, now_ms: i64) -> AuditRecord {
    AuditRecord { account: Some(account.to_owned()), ..AuditRecord::new(what, by, now_ms) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::LaneState;

    fn hash(rows: &[(&str, &str)]) -> BTreeMap<String, String> {
        rows.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn pause_and_halt_of_one_account_stand_side_by_side() {
        let lanes = parse_lanes(&hash(&[
            ("acme:paused", r#"{"reason":"audit","who":"li","since_ms":5}"#),
            ("acme:halted", r#"{"reason":"bad key","who":"worker 1","since_ms":7}"#),
            ("other:paused", r#"{"reason":"x"}"#),
        ]));
        assert_eq!(lanes.len(), 2);
        let lane = &lanes["acme"];
        assert_eq!(lane.paused.as_ref().unwrap().since_ms, 5);
        let (state, switch) = lane.cause().unwrap();
        assert_eq!((state, switch.reason.as_str()), (LaneState::Halted, "bad key"));
        assert_eq!(lanes["other"].cause().unwrap().0, LaneState::Paused);
    }

    #[test]
    fn a_switch_that_cannot_be_read_is_on() {
        let lanes = parse_lanes(&hash(&[("acme:halted", "garbage"), ("acme:new", "{}"), ("nothing", "{}")]));
        assert_eq!(lanes.len(), 1);
        assert!(lanes["acme"].closed());
        assert_eq!(lanes["acme"].cause().unwrap().1.reason, "a switch that cannot be read");
    }

    #[test]
    fn an_account_without_a_switch_is_open() {
        assert!(!Switches::default().closed());
        assert!(Switches::default().cause().is_none());
    }
}

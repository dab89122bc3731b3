//! Topics that the storm brake stopped, as Redis keeps them for every replica: a worker stops a topic, and an operator
//! releases it. A release leaves a token, so that a worker that remembers an older stop does not set it again. It may
//! leave a number too: so many bad records may pass without being judged. A later order replaces that number, or ends
//! it.

use std::collections::BTreeMap;

use ::redis::RedisResult;
use ::redis::aio::MultiplexedConnection;

use crate::operate::audit::{self, AuditRecord, Change};
use crate::operate::{By, Keys, json};
use crate::redis::scripts::Script;
use crate::storm::Storm;
use crate::storm::board::{Found, Releases};
use crate::storm::pass::Left;

/// The stopped topics, by name.
pub type StormsByTopic = BTreeMap<String, Storm>;

// Kafka allows no colon in the name of a topic.
const STOPPED: &str = ":stopped";
const RELEASED: &str = ":released";
const PASS: &str = ":pass";

/// What came of an order to let a topic go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// The topic was stopped, and is read on.
    ReadOn,
    /// The topic is read, and an earlier order let bad records of it pass. Now this order counts.
    PassChanged,
    /// There is nothing to change.
    Nothing,
}

fn parse(hash: BTreeMap<String, String>) -> Found {
    let (mut storms, mut releases, mut left) = (StormsByTopic::new(), Releases::new(), Left::new());
    for (field, value) in hash {
        if let Some(topic) = field.strip_suffix(STOPPED) {
            let storm = serde_json::from_str(&value).unwrap_or_else(|_| Storm::unreadable(topic));
            storms.insert(topic.to_owned(), Storm { topic: topic.to_owned(), ..storm });
        } else if let Some(topic) = field.strip_suffix(RELEASED) {
            releases.insert(topic.to_owned(), value);
        } else if let Some(topic) = field.strip_suffix(PASS) {
            // Below 0 where a replica asked for more than there was.
            left.extend(value.parse::<u64>().ok().filter(|left| *left > 0).map(|left| (topic.to_owned(), left)));
        }
    }
    left.retain(|topic, _| !storms.contains_key(topic));
    (storms, releases, left)
}

/// Reads the stopped topics, the tokens of releases, and how many bad records may still pass.
///
/// # Errors
/// Fails if Redis does not answer. The caller keeps what it knew.
pub async fn read_storms(connection: &mut MultiplexedConnection, keys: &Keys) -> RedisResult<Found> {
    Ok(parse(crate::redis::hash(connection, &keys.storms()).await?))
}

fn set(keys: &Keys, storm: &Storm, seen: Option<&str>) -> ::redis::Cmd {
    let topic = &storm.topic;
    let mut cmd = Script::SwitchOn.eval(keys.storms().as_bytes());
    cmd.arg(format!("{topic}{STOPPED}")).arg(json(storm)).arg(format!("{topic}{RELEASED}"));
    cmd.arg(seen.unwrap_or_default());
    cmd
}

/// Stops a topic for every replica. Returns `false` if it is stopped already, or was released since: `seen` is the
/// token of the last release that was known at the stop. The stop and its audit entry are one transaction.
///
/// # Errors
/// Fails if Redis does not answer. The change may or may not have been made, and can be repeated.
pub async fn stop(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    storm: &Storm,
    by: &By,
    seen: Option<&str>,
    now_ms: i64,
) -> RedisResult<bool> {
    let record = entry(Change::Storm, &storm.topic, by, now_ms);
    let record = AuditRecord { counts: storm.counts.clone(), ..record };
    let mut pipe = ::redis::pipe();
    pipe.atomic();
    pipe.add_command(set(keys, storm, seen));
    audit::push(&mut pipe, keys, &record);
    let (new,): (bool,) = pipe.query_async(connection).await?;
    if !new {
        audit::take_back(connection, keys, &record).await?;
    }
    Ok(new)
}

/// Lets a topic be read on; with `pass`, so many bad records may pass before it is judged again. For a topic that is
/// read while bad records of it may pass, `pass` replaces what is left, in Redis and at every replica; 0 ends it, and
/// lifts no stop. The order and its audit entry are one script, so that of two orders the later one counts.
///
/// # Errors
/// Fails for the same reasons as [`stop`].
pub async fn release(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    topic: &str,
    pass: Option<u64>,
    by: &By,
    now_ms: i64,
) -> RedisResult<Release> {
    let record = entry(Change::UnblockStorm, topic, by, now_ms);
    let record = AuditRecord { counts: pass.map(|pass| ("pass".to_owned(), pass)).into_iter().collect(), ..record };
    let mut cmd = Script::ReadOn.eval_on(&[keys.storms(), keys.audit_out()]);
    cmd.arg(format!("{topic}{STOPPED}")).arg(format!("{topic}{RELEASED}")).arg(format!("{topic}{PASS}"));
    cmd.arg(pass.map(|pass| pass.to_string()).unwrap_or_default());
    // The token is unique, so that it differs from every other one.
    cmd.arg(format!("{now_ms} {:016x}", rand::random::<u64>())).arg(&record.id).arg(record.json());
    let came: i64 = cmd.query_async(connection).await?;
    Ok(match came {
        1 => Release::ReadOn,
        2 => Release::PassChanged,
        _ => Release::Nothing,
    })
}

/// Takes a share of what may still pass of a topic. Returns the size of the share, and what is left after it. A share
/// whose answer is lost is lost too: the topic is judged that much earlier.
///
/// # Errors
/// Fails if Redis does not answer.
pub async fn take_share(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    topic: &str,
    wanted: u64,
) -> RedisResult<(u64, u64)> {
    let mut cmd = ::redis::cmd("HINCRBY");
    cmd.arg(keys.storms()).arg(format!("{topic}{PASS}")).arg(-i64::try_from(wanted).unwrap_or(i64::MAX));
    let left: i64 = cmd.query_async(connection).await?;
    Ok((wanted.saturating_sub(left.min(0).unsigned_abs()), left.max(0).unsigned_abs()))
}

/// Writes the known stops back into a store that lost them, except for topics that were released since.
///
/// # Errors
/// Fails for the same reasons as [`stop`].
pub async fn restore(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    storms: &[Storm],
    seen: &Releases,
) -> RedisResult<()> {
    if storms.is_empty() {
        return Ok(());
    }
    let mut pipe = ::redis::pipe();
    for storm in storms {
        pipe.add_command(set(keys, storm, seen.get(&storm.topic).map(String::as_str))).ignore();
    }
    pipe.query_async(connection).await
}

fn entry(what: Change, topic: &str, by: &By, now_ms: i64) -> AuditRecord {
    AuditRecord { detail: Some(format!("topic {}", audit::safe(topic))), ..AuditRecord::new(what, by, now_ms) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::store::Store;
    use crate::operate::audit::Via;

    #[tokio::test]
    async fn a_topic_is_stopped_once_and_a_stop_from_before_a_release_comes_too_late() {
        let store = Store::start().unwrap();
        let client = crate::redis::Config::stub(store.url()).client().unwrap();
        let mut c = crate::redis::connect(&client).await.unwrap();
        let (keys, by) = (Keys::new("pb"), By::new(Via::Worker, "worker r1", "100 records in a row"));
        let storm =
            Storm { topic: "t".into(), since_ms: 5, counts: [("malformed".into(), 100)].into(), ..Storm::default() };
        assert!(stop(&mut c, &keys, &storm, &by, None, 5).await.unwrap());
        let later = Storm { since_ms: 9, ..storm.clone() };
        assert!(!stop(&mut c, &keys, &later, &by, None, 9).await.unwrap(), "the first cause stays");
        let (storms, releases, _) = read_storms(&mut c, &keys).await.unwrap();
        assert_eq!((storms, releases.len()), (StormsByTopic::from([("t".into(), storm.clone())]), 0));

        assert_eq!(release(&mut c, &keys, "other", None, &by, 10).await.unwrap(), Release::Nothing);
        assert_eq!(release(&mut c, &keys, "t", None, &by, 10).await.unwrap(), Release::ReadOn);
        assert_eq!(release(&mut c, &keys, "t", None, &by, 11).await.unwrap(), Release::Nothing);
        assert!(!stop(&mut c, &keys, &later, &by, None, 12).await.unwrap(), "it was seen before the release");
        let (storms, releases, _) = read_storms(&mut c, &keys).await.unwrap();
        assert!(storms.is_empty());
        assert!(stop(&mut c, &keys, &later, &by, releases.get("t").map(String::as_str), 13).await.unwrap());

        let audited = audit::waiting(&mut c, &keys).await.unwrap();
        let what: Vec<_> = audited.iter().map(|entry| (entry.what.as_str(), entry.detail.as_deref())).collect();
        assert_eq!(what, ["storm", "unblock storm", "storm"].map(|what| (what, Some("topic t"))));
    }

    #[tokio::test]
    async fn a_store_that_lost_its_stops_gets_them_back() {
        let store = Store::start().unwrap();
        let client = crate::redis::Config::stub(store.url()).client().unwrap();
        let mut c = crate::redis::connect(&client).await.unwrap();
        let keys = Keys::new("pb");
        let storms = ["a", "b"].map(|topic| Storm { topic: topic.into(), ..Storm::default() });
        restore(&mut c, &keys, &[], &Releases::new()).await.unwrap();
        restore(&mut c, &keys, &storms, &Releases::new()).await.unwrap();
        assert_eq!(read_storms(&mut c, &keys).await.unwrap().0.into_values().collect::<Vec<_>>(), storms);
    }

    #[test]
    fn an_entry_that_cannot_be_read_keeps_its_topic_stopped() {
        let hash = [("t:stopped", "garbage"), ("t:released", "7 a"), ("other", "x"), ("t:pass", "7"), ("u:pass", "8")];
        let (storms, releases, left) = parse(hash.map(|(field, value)| (field.to_owned(), value.to_owned())).into());
        assert_eq!(storms["t"], Storm::unreadable("t"));
        assert_eq!(releases, Releases::from([("t".into(), "7 a".into())]));
        assert_eq!(left, Left::from([("u".into(), 8)]), "of a stopped topic nothing passes");
    }

    #[tokio::test]
    async fn a_number_that_may_pass_is_shared_audited_and_ends_with_the_next_stop() {
        let store = Store::start().unwrap();
        let client = crate::redis::Config::stub(store.url()).client().unwrap();
        let mut c = crate::redis::connect(&client).await.unwrap();
        let (keys, by) = (Keys::new("pb"), By::new(Via::Cli, "li", "the backlog is known"));
        let storm = Storm { topic: "t".into(), ..Storm::default() };
        assert_eq!(release(&mut c, &keys, "t", Some(25), &by, 4).await.unwrap(), Release::Nothing);
        assert!(stop(&mut c, &keys, &storm, &by, None, 5).await.unwrap());
        assert_eq!(release(&mut c, &keys, "t", Some(25), &by, 6).await.unwrap(), Release::ReadOn);
        let (_, releases, left) = read_storms(&mut c, &keys).await.unwrap();
        assert_eq!(left, Left::from([("t".into(), 25)]));
        let mut shares = Vec::new();
        for _ in 0..4 {
            shares.push(take_share(&mut c, &keys, "t", 10).await.unwrap());
        }
        assert_eq!(shares, [(10, 15), (10, 5), (5, 0), (0, 0)]);
        assert_eq!(read_storms(&mut c, &keys).await.unwrap().2, Left::new());
        let seen = releases.get("t").map(String::as_str);
        assert!(stop(&mut c, &keys, &storm, &by, seen, 7).await.unwrap());
        assert_eq!(release(&mut c, &keys, "t", Some(40), &by, 8).await.unwrap(), Release::ReadOn);
        let (_, releases, _) = read_storms(&mut c, &keys).await.unwrap();
        let seen = releases.get("t").map(String::as_str);
        assert!(stop(&mut c, &keys, &storm, &by, seen, 9).await.unwrap());
        assert_eq!(release(&mut c, &keys, "t", None, &by, 10).await.unwrap(), Release::ReadOn);
        assert_eq!(read_storms(&mut c, &keys).await.unwrap().2, Left::new(), "an order of before");
        let audited = audit::waiting(&mut c, &keys).await.unwrap();
        let orders = audited.iter().filter(|entry| entry.what == "unblock storm");
        let passes: Vec<_> = orders.map(|entry| entry.counts.get("pass").copied()).collect();
        assert_eq!(passes, [Some(25), Some(40), None]);
    }

    #[tokio::test]
    async fn a_later_order_replaces_what_may_pass_or_ends_it_and_lifts_no_stop_that_it_has_not_seen() {
        let store = Store::start().unwrap();
        let client = crate::redis::Config::stub(store.url()).client().unwrap();
        let mut c = crate::redis::connect(&client).await.unwrap();
        let (keys, by) = (Keys::new("pb"), By::new(Via::Cli, "li", "the backlog is known"));
        let storm = Storm { topic: "t".into(), ..Storm::default() };
        assert!(stop(&mut c, &keys, &storm, &by, None, 5).await.unwrap());
        let mut tokens = std::collections::BTreeSet::new();
        for (pass, came, left) in [
            (Some(1_000), Release::ReadOn, Some(1_000)),
            (None, Release::Nothing, Some(1_000)),
            (Some(5_000), Release::PassChanged, Some(5_000)),
            (Some(20), Release::PassChanged, Some(20)),
            (Some(0), Release::PassChanged, None),
            (Some(0), Release::Nothing, None),
            (Some(7), Release::Nothing, None),
        ] {
            assert_eq!(release(&mut c, &keys, "t", pass, &by, 6).await.unwrap(), came, "{pass:?}");
            let (_, releases, passes) = read_storms(&mut c, &keys).await.unwrap();
            assert_eq!(passes.get("t").copied(), left, "{pass:?}");
            tokens.extend(releases.get("t").cloned());
        }
        assert_eq!(tokens.len(), 4, "each order that changes something ends the shares of the one before");
        let audited = audit::waiting(&mut c, &keys).await.unwrap();
        let mut numbers: Vec<u64> = audited.iter().filter_map(|entry| entry.counts.get("pass").copied()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 20, 1_000, 5_000]);

        // Replicas have taken all that there was. Their shares end too.
        let seen = read_storms(&mut c, &keys).await.unwrap().1;
        assert!(stop(&mut c, &keys, &storm, &by, seen.get("t").map(String::as_str), 7).await.unwrap());
        assert_eq!(release(&mut c, &keys, "t", Some(10), &by, 8).await.unwrap(), Release::ReadOn);
        assert_eq!(take_share(&mut c, &keys, "t", 12).await.unwrap(), (10, 0));
        assert_eq!(release(&mut c, &keys, "t", Some(5), &by, 9).await.unwrap(), Release::Nothing);
        assert_eq!(release(&mut c, &keys, "t", Some(0), &by, 9).await.unwrap(), Release::PassChanged);
        // An order to end what passes may come when the brake has just stopped the topic.
        let seen = read_storms(&mut c, &keys).await.unwrap().1;
        assert!(stop(&mut c, &keys, &storm, &by, seen.get("t").map(String::as_str), 10).await.unwrap());
        assert_eq!(release(&mut c, &keys, "t", Some(0), &by, 11).await.unwrap(), Release::Nothing);
        assert_eq!(read_storms(&mut c, &keys).await.unwrap().0.len(), 1);
        assert_eq!(release(&mut c, &keys, "t", None, &by, 12).await.unwrap(), Release::ReadOn);
        assert!(read_storms(&mut c, &keys).await.unwrap().0.is_empty());

        // Two operators at once: whichever comes first, the number is not lost.
        for numbered_first in [true, false] {
            let seen = read_storms(&mut c, &keys).await.unwrap().1;
            assert!(stop(&mut c, &keys, &storm, &by, seen.get("t").map(String::as_str), 13).await.unwrap());
            let orders = if numbered_first { [Some(900), None] } else { [None, Some(900)] };
            let (mut one, mut other) = (c.clone(), c.clone());
            let came = tokio::join!(
                release(&mut one, &keys, "t", orders[0], &by, 14),
                release(&mut other, &keys, "t", orders[1], &by, 14)
            );
            assert_eq!((came.0.unwrap(), came.1.unwrap()), (Release::ReadOn, Release::Nothing));
            let left = read_storms(&mut c, &keys).await.unwrap().2.get("t").copied();
            assert_eq!(left, numbered_first.then_some(900), "the second one was told that nothing changed");
        }
    }
}

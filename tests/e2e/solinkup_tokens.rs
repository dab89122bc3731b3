//! 数环通's tokens over three replicas: one of them refreshes, the new pair is stored before anybody uses it, and a
//! replica that is killed in the middle of its refresh takes nothing along that the platform has not used up.

use crate::reload::reload;
use crate::support::event::Event;
use crate::support::ledger::Check;
use crate::support::own::{Asked, Judged, Own};
use crate::support::platform::Request;
use crate::support::redis::Connection;
use crate::support::worker::Worker;
use crate::support::world::World;
use crate::support::{eventually, millis, now_ms, secs, unique};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

const ACCOUNT: &str = "acme-doudian";
const CALL: &str = "doudian.order_detail";
const REPLICAS: usize = 3;

/// Where the platform stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Nothing,
    /// A token request, before anything is issued. Whoever has gone away meanwhile gets nothing.
    Asked,
    /// A token request, after its pair is issued. The answer never arrives.
    Issued,
    /// Every call with an issued pair by the replica that got it.
    Used,
}

struct State {
    holds: Holds,
    /// The pair in force.
    access: String,
    refresh: String,
    issued: u64,
    /// Which replica asked for a pair, and whether it was issued.
    asked: Vec<(usize, bool)>,
    /// Which replica made a call with which token.
    calls: Vec<(usize, String)>,
    /// Tokens that were used before Redis had them.
    early: Vec<String>,
}

/// The platform. Each replica has a port of its own, so that it is known who asks.
struct Platform {
    state: Arc<(Mutex<State>, Condvar)>,
    replicas: Vec<Own>,
}

impl Platform {
    /// Issues a pair for `RefreshToken@0`, and a further one only for the refresh token of the last pair.
    fn open(w: &World) -> Self {
        let state = State {
            holds: Holds::Nothing,
            access: "AccessToken@0".into(),
            refresh: "RefreshToken@0".into(),
            issued: 0,
            asked: Vec::new(),
            calls: Vec::new(),
            early: Vec::new(),
        };
        let state = Arc::new((Mutex::new(state), Condvar::new()));
        let (redis, key) = (w.redis_url().to_owned(), format!("{}:token:{ACCOUNT}", w.id()));
        let replica = |n: usize| {
            let (state, redis, key) = (state.clone(), redis.clone(), key.clone());
            Own::open(ACCOUNT, move |Asked { path, body, .. }| {
                if path.contains("refreshAccessToken") {
                    let answer = issue(&state, n, body["refreshToken"].as_str().unwrap());
                    return Judged { ident: None, problem: None, answer };
                }
                let token = body["accessToken"].as_str().unwrap_or_default();
                let stored = stored(&redis, &key);
                let problem = use_token(&state, n, token, stored.as_deref());
                let order = body["orderId"].as_str().unwrap();
                let answer = match &problem {
                    None => json!({"err_no": 0, "code": 10_000, "message": "success", "msg": "success",
                                   "data": {"shop_order_detail": {"order_id": order}}}),
                    Some(_) => refusal("accessToken已失效"),
                };
                Judged { ident: Some(format!("{CALL}:{order}")), problem, answer }
            })
        };
        Self { replicas: (0..REPLICAS).map(replica).collect(), state }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.0.lock().unwrap()
    }

    fn hold(&self, holds: Holds) {
        self.lock().holds = holds;
        self.state.1.notify_all();
    }

    /// The access token in force ends now.
    fn expire(&self) {
        self.lock().access = String::new();
    }

    fn asked(&self) -> Vec<(usize, bool)> {
        self.lock().asked.clone()
    }

    /// The replicas that made calls with this token.
    fn users(&self, token: &str) -> Vec<usize> {
        let state = self.lock();
        (0..REPLICAS).filter(|n| state.calls.iter().any(|(by, with)| by == n && with == token)).collect()
    }

    /// The calls that it made, once each: they read, so that a repeat is no harm that the worker declares. Only a call
    /// that the killed replica had made is made again.
    fn made(&self, killed: Option<usize>) -> Vec<Request> {
        let mut by: BTreeMap<String, (Request, Vec<usize>)> = BTreeMap::new();
        for (replica, own) in self.replicas.iter().enumerate() {
            for request in own.requests().into_iter().filter(|request| request.executed) {
                let ident = request.ident.clone().unwrap();
                by.entry(ident).or_insert_with(|| (request, Vec::new())).1.push(replica);
            }
        }
        let is_right = |replicas: &[usize]| replicas.len() == 1 || replicas.iter().any(|n| Some(*n) == killed);
        assert!(by.values().all(|(_, replicas)| is_right(replicas)), "a call was made twice");
        by.into_values().map(|(request, _)| request).collect()
    }
}

fn refusal(message: &str) -> Value {
    json!({"success": false, "code": "__400ERROR", "msgCode": "result.fail", "message": message, "data": null})
}

/// What Redis keeps of the account's tokens.
fn stored(redis: &str, key: &str) -> Option<String> {
    match Connection::open(redis).run(&["GET", key]) {
        ::redis::Value::BulkString(bytes) => Some(String::from_utf8(bytes).unwrap()),
        _ => None,
    }
}

fn issue((state, changed): &(Mutex<State>, Condvar), replica: usize, refresh: &str) -> Value {
    let mut state = state.lock().unwrap();
    state.asked.push((replica, false));
    let number = state.asked.len() - 1;
    if state.holds == Holds::Asked {
        drop(changed.wait_while(state, |state| state.holds == Holds::Asked).unwrap());
        return refusal("whoever asked has gone");
    }
    if refresh != state.refresh {
        return refusal("授权已失效");
    }
    state.issued += 1;
    state.asked[number].1 = true;
    let pair = [format!("AccessToken@{}", state.issued), format!("RefreshToken@{}", state.issued)];
    [state.access, state.refresh] = pair.clone();
    let (_state, _) = changed.wait_timeout_while(state, secs(60), |state| state.holds == Holds::Issued).unwrap();
    let ends = now_ms() + 86_400_000;
    json!({"success": true, "code": "__200OK", "msgCode": "result.success", "message": "执行成功",
           "data": {"openId": "OpenId@1", "accessToken": pair[0], "refreshToken": pair[1],
                    "accessTokenExpired": ends, "refreshTokenExpired": ends}})
}

/// Why a call with this token is refused.
fn use_token(
    (state, changed): &(Mutex<State>, Condvar),
    replica: usize,
    token: &str,
    stored: Option<&str>,
) -> Option<String> {
    let mut state = state.lock().unwrap();
    state.calls.push((replica, token.to_owned()));
    if token.is_empty() || token != state.access {
        return Some(format!("{token} is not in force"));
    }
    let issued: Option<u64> = token.strip_prefix("AccessToken@").and_then(|number| number.parse().ok());
    let number = issued.filter(|number| *number > 0)?;
    // The seed is the first generation, and each pair adds one.
    let generation = stored.and_then(|text| text.split('|').nth(1)?.parse::<u64>().ok());
    if generation.is_none_or(|generation| generation <= number) {
        state.early.push(token.to_owned());
    }
    let is_its_own = state.asked.last().is_some_and(|(by, _)| *by == replica);
    drop(changed.wait_while(state, |state| is_its_own && state.holds == Holds::Used).unwrap());
    None
}

/// A world whose replicas have begun to make calls with the configured token, which has just ended.
struct Begun {
    w: World,
    platform: Platform,
    workers: Vec<Worker>,
}

fn account(w: &mut World, platform: &Platform, replica: usize, token: &[(&str, &str)]) {
    let mut table = toml::toml! {
        platform = "solinkup"
        allow_http = true
        allow_private = true
        open_id = "OpenId@1"
        secrets = [{ id = "s1", key = "AppKey@0123456789ABCDEF0123456789ABCDEF", secret = "AppSecret@1" }]
        limits = { concurrency = 4, rps = 500 }
    };
    let token = token.iter().map(|(name, token)| ((*name).to_owned(), (*token).into()));
    table.insert("token".into(), toml::Value::Table(token.collect()));
    w.own_account(ACCOUNT, table, platform.replicas[replica].port);
}

fn calls(count: usize) -> Vec<Event> {
    let call = |_| {
        let id = unique("c");
        let json = json!({
            "kind": "call", "trans_id": id, "platform": "solinkup", "account": ACCOUNT, "event_time_ms": now_ms(),
            "call": CALL, "args": {"orderId": id}, "reply": {"ttl_s": 600},
        });
        Event::of(ACCOUNT, &format!("{CALL}:{id}"), json)
    };
    (0..count).map(call).collect()
}

impl Begun {
    fn new(name: &str, holds: Holds) -> Self {
        let mut w = World::new(name);
        // A token request may be held for a second.
        w.set("limits.timeout", "3s");
        w.set("retry.inline.max_retries", 0);
        w.set("redis.token_key", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
        let platform = Platform::open(&w);
        let mut workers = Vec::new();
        for replica in 0..REPLICAS {
            account(&mut w, &platform, replica, &[("access", "AccessToken@0"), ("refresh", "RefreshToken@0")]);
            workers.push(w.worker());
        }
        workers.iter_mut().for_each(Worker::launch);
        workers.iter_mut().for_each(Worker::wait_until_ready);
        let mut begun = Self { w, platform, workers };
        for _ in 0..30 {
            begun.w.publish(calls(20));
            if crate::support::within(secs(2), || begun.platform.users("AccessToken@0").len() == REPLICAS) {
                break;
            }
        }
        assert_eq!(begun.platform.users("AccessToken@0"), [0, 1, 2], "every replica makes calls");
        begun.w.settle(secs(60));
        begun.platform.hold(holds);
        begun.platform.expire();
        begun.w.publish(calls(120));
        begun
    }

    /// The replica that asks for a pair first.
    fn refreshes(&self) -> usize {
        eventually(secs(30), "a replica asks for a new pair", || !self.platform.asked().is_empty());
        // Long enough for another one to ask, too, if it did.
        std::thread::sleep(secs(1));
        assert_eq!(self.platform.asked().len(), 1, "one replica asks for all");
        self.platform.asked()[0].0
    }

    /// Every call has one result, nothing was made twice but what is declared, and no pair was used before Redis had
    /// it.
    fn closes(&self, killed: Option<usize>) {
        self.w.settle(secs(120));
        let books = self.w.ledger_with(self.platform.made(killed), &Check::DISTURBED);
        assert_eq!(books.outcomes("delivered"), self.w.events.len());
        let records = self.w.records("results");
        let ids: std::collections::HashSet<String> = records
            .iter()
            .map(|record| serde_json::from_slice::<Value>(record.value.as_deref().unwrap()).unwrap())
            .inspect(|result| assert_eq!((&result["status"], &result["final"]), (&json!("ok"), &json!(true))))
            .map(|result| result["trans_id"].to_string())
            .collect();
        assert_eq!(ids.len(), self.w.events.len());
        assert_eq!(self.platform.lock().early, [""; 0], "a token was used before it was stored");
        for worker in &self.workers {
            let log = worker.log();
            assert!(!log.contains("Token@"), "a token is shown");
        }
    }
}

#[test]
fn one_replica_refreshes_for_all_three_and_each_of_them_goes_on_with_the_stored_pair() {
    let mut begun = Begun::new("tokens-once", Holds::Issued);
    begun.refreshes();
    assert_eq!(begun.platform.users("AccessToken@1"), [0; 0], "nobody has it before its answer");
    begun.platform.hold(Holds::Nothing);
    for _ in 0..10 {
        begun.w.publish(calls(20));
        if crate::support::within(secs(2), || begun.platform.users("AccessToken@1").len() == REPLICAS) {
            break;
        }
    }
    assert_eq!(begun.platform.users("AccessToken@1"), [0, 1, 2], "every replica goes on with it");
    begun.closes(None);
    assert_eq!(begun.platform.asked().len(), 1);
}

#[test]
fn a_replica_that_is_killed_before_its_refresh_is_answered_leaves_it_to_another_one() {
    let mut begun = Begun::new("tokens-asked", Holds::Asked);
    let first = begun.refreshes();
    begun.workers[first].kill();
    begun.platform.hold(Holds::Nothing);
    begun.closes(Some(first));
    let asked = begun.platform.asked();
    assert_eq!(asked.iter().map(|(_, issued)| *issued).collect::<Vec<_>>(), [false, true], "one further request");
    assert_ne!(asked[1].0, first);
    let users = begun.platform.users("AccessToken@1");
    assert_eq!(users, (0..REPLICAS).filter(|n| *n != first).collect::<Vec<_>>(), "both others go on with it");
    // And it goes on with the stored pair when it is there again.
    begun.workers[first].start();
    for _ in 0..30 {
        begun.w.publish(calls(20));
        if crate::support::within(secs(2), || begun.platform.users("AccessToken@1").len() == REPLICAS) {
            break;
        }
    }
    assert_eq!(begun.platform.users("AccessToken@1"), [0, 1, 2]);
    begun.closes(Some(first));
    assert_eq!(begun.platform.asked().len(), 2);
}

#[test]
fn a_replica_that_is_killed_after_it_stored_the_pair_leaves_it_to_the_others() {
    let begun = &mut Begun::new("tokens-stored", Holds::Used);
    let first = begun.refreshes();
    eventually(secs(20), "it makes a call with the new pair", || {
        begun.platform.users("AccessToken@1").contains(&first)
    });
    begun.workers[first].kill();
    begun.platform.hold(Holds::Nothing);
    begun.closes(Some(first));
    assert_eq!(begun.platform.asked(), [(first, true)], "nobody asked again");
}

#[test]
fn where_the_only_pair_ends_with_the_replica_the_account_halts_and_new_tokens_resume_it_without_a_loss() {
    let mut begun = Begun::new("tokens-lost", Holds::Issued);
    let first = begun.refreshes();
    begun.workers[first].kill();
    begun.platform.hold(Holds::Nothing);
    let others: Vec<usize> = (0..REPLICAS).filter(|n| *n != first).collect();
    for n in &others {
        eventually(secs(60), "the account halts", || begun.workers[*n].lane_state(ACCOUNT) == "halted");
    }
    let list = begun.workers[others[0]].must(&["accounts", "list", "--json"]);
    assert!(list.contains("re-authorise account acme-doudian"), "{list}");
    // Somebody authorises it anew.
    {
        let mut state = begun.platform.lock();
        (state.access, state.refresh) = ("AccessToken@new".into(), "RefreshToken@new".into());
    }
    for n in &others {
        account(&mut begun.w, &begun.platform, *n, &[("access", "AccessToken@new"), ("refresh", "RefreshToken@new")]);
        reload(&begun.w, &begun.workers[*n]);
    }
    std::thread::sleep(millis(500));
    begun.w.settle(secs(120));
    assert_eq!(begun.platform.asked().len(), 2, "one refused request after the lost one");
    assert_eq!(begun.w.dead_letters().len(), 0);
    let books = begun.w.ledger_with(begun.platform.made(Some(first)), &Check::DISTURBED);
    assert_eq!(books.outcomes("delivered"), begun.w.events.len());
}

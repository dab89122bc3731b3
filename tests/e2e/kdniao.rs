//! The calls of 快递鸟 against its strict fake: one query at a time about a waybill, so many a day, and another account
//! where the first one is broken.

use serde_json::{Value, json};
use toml::Table;

use crate::support::process::Process;
use crate::support::records::Record;
use crate::support::worker::Worker;
use crate::support::world::World;
use crate::support::{eventually, free_port, http, now_ms, secs, wait_for_port};

const FIRST: &str = "acme-kdn";
const OTHER: &str = "acme-kdn-b";
const KEY: &str = "56da2cf8-c8a2-44b2-b6fa-476cd7d1ba17";
const WRONG: &str = "00000000-1111-2222-3333-444444444444";

/// The platform, and the worker's side of it.
struct Played {
    w: World,
    port: u16,
    _sandbox: Process,
}

/// The first account with this key and these settings, and another one that no test spoils.
fn accounts(port: u16, key: &str, more: &str) -> Table {
    let account = |business_id: &str, key: &str, more: &str| -> Table {
        let text = format!(
            "platform = 'kdniao'\nbase_url = 'http://127.0.0.1:{port}'\nallow_http = true\nallow_private = true\n\
             secrets = [{{ id = 'a', business_id = '{business_id}', secret = '{key}' }}]\n\
             limits = {{ rps = 500, concurrency = 4 }}\n{more}"
        );
        toml::from_str(&text).unwrap()
    };
    let both = [(FIRST, account("1237100", key, more)), (OTHER, account("1237200", KEY, ""))];
    both.into_iter().map(|(name, account)| (name.to_owned(), account.into())).collect()
}

impl Played {
    /// The platform knows the first account with its right key and the usual limit of a day; the worker has `key` and
    /// `more`.
    fn new(name: &str, key: &str, more: &str) -> Self {
        let mut w = World::new(name);
        let port = free_port();
        w.set("accounts", accounts(port, KEY, ""));
        let mut sandbox = w.worker().sandbox(port);
        sandbox.spawn();
        wait_for_port(port, secs(20));
        w.set("accounts", accounts(port, key, more));
        Self { w, port, _sandbox: sandbox }
    }

    /// What the platform was asked, in this order.
    fn asked(&self) -> Vec<Value> {
        let (_, text) = http::get(self.port, "/_ledger").unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// How many requests came with the EBusinessID of an account.
    fn count(&self, account: &str) -> usize {
        self.asked().iter().filter(|entry| entry["account"] == account).count()
    }

    /// The result of a call, as soon as there is one.
    fn result(&self, id: &str) -> Option<Value> {
        let mut results = self.results();
        results.retain(|result| result["trans_id"] == id);
        assert!(results.len() <= 1, "more than one result: {results:?}");
        results.pop()
    }

    fn results(&self) -> Vec<Value> {
        self.w.records("results").iter().map(value).collect()
    }

    fn wait_for(&self, id: &str) -> Value {
        eventually(secs(60), &format!("{id} has a result"), || self.result(id).is_some());
        self.result(id).unwrap()
    }
}

fn value(record: &Record) -> Value {
    serde_json::from_slice(record.value.as_deref().unwrap()).unwrap()
}

fn query(worker: &Worker, id: &str, waybill: &str) {
    let call = json!({
        "kind": "call", "trans_id": id, "platform": "kdniao", "account": FIRST, "call": "kdniao.track_query",
        "event_time_ms": now_ms(), "args": {"ShipperCode": "ZTO", "LogisticCode": waybill}, "reply": {"ttl_s": 600}
    });
    let output = worker.piped(&["send", "-"], call.to_string().as_bytes());
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
}

#[test]
fn a_second_query_about_a_waybill_waits_uncounted_in_a_tier_until_the_interval_ends() {
    const INTERVAL_MS: u64 = 20_000;
    let played = Played::new("kdniao", KEY, &format!("min_interval = '{}s'", INTERVAL_MS / 1000));
    let worker = played.w.started();
    query(&worker, "k-1", "73100-1234-5678 3");
    let result = played.wait_for("k-1");
    let said = &result["data"];
    assert_eq!((&result["status"], &result["final"], &result["attempts"]), (&json!("ok"), &json!(true), &json!(1)));
    assert_eq!(
        (&said["LogisticCode"], &said["State"], &said["state_name"]),
        (&json!("73100123456783"), &json!("3"), &json!("signed"))
    );
    assert_eq!(said["Traces"].as_array().unwrap().len(), 4);
    let text = result.to_string();
    assert!(!text.contains("13812345678") && !text.contains("13987654321"), "a phone number in a result");

    query(&worker, "k-2", "73100123456783");
    query(&worker, "k-3", "73100123456781");
    let copies = || {
        let mut copies = played.w.records("retry");
        copies.retain(|copy| value(copy)["trans_id"] == "k-2");
        copies
    };
    eventually(secs(30), "the second query about it waits in a tier", || !copies().is_empty());
    assert_eq!(played.wait_for("k-3")["status"], "ok", "a query about another waybill does not wait");
    let second = played.wait_for("k-2");
    assert_eq!((&second["status"], &second["attempts"]), (&json!("ok"), &json!(1)), "the wait is no attempt");
    for copy in copies() {
        assert_eq!((copy.number("pb-attempts"), copy.number("pb-pass")), (Some(0), Some(0)));
    }
    let mut asked = played.asked();
    assert_eq!(asked.len(), 3, "{asked:?}");
    asked.retain(|entry| entry["LogisticCode"] == "73100123456783");
    let [first, again] = [0, 1].map(|n| asked[n]["at_ms"].as_u64().unwrap());
    // Redis measures the interval, and the platform sees each request a little after that.
    assert!(again - first >= INTERVAL_MS - 2_000, "asked again after {} ms", again - first);
    assert_eq!(played.w.dead_letters().len(), 0);
}

#[test]
fn over_the_limit_of_the_day_calls_park_and_go_on_as_soon_as_the_limit_is_raised() {
    let mut played = Played::new("kdniao-day", KEY, "daily_limit = 2\nmin_interval = '0s'");
    let mut worker = played.w.started();
    for n in 0..5 {
        query(&worker, &format!("k-{n}"), &format!("7310012345678{n}"));
    }
    eventually(secs(60), "two are answered and three are parked", || {
        played.results().len() == 2 && played.w.records("parked").len() == 3
    });
    eventually(secs(20), "the lane shows it", || worker.lane_state(FIRST) == "throttled");
    query(&worker, "k-5", "73100123456785");
    eventually(secs(30), "one that comes later parks as well", || played.w.records("parked").len() == 4);
    assert_eq!((played.asked().len(), played.results().len()), (2, 2), "nothing was sent after the limit");

    // The limit is raised: a process that reads the new one goes on at once.
    worker.stop();
    played.w.set("accounts", accounts(played.port, KEY, "daily_limit = 100\nmin_interval = '0s'"));
    let _worker = played.w.started();
    eventually(secs(60), "every call has its result", || played.results().len() == 6);
    for n in 0..6 {
        assert_eq!(played.wait_for(&format!("k-{n}"))["status"], "ok");
    }
    assert_eq!((played.count(FIRST), played.w.dead_letters().len()), (6, 0), "each was asked once");
}

#[test]
fn what_the_day_has_left_is_sent_when_more_calls_are_released_at_once() {
    let played = Played::new("kdniao-left", KEY, "daily_limit = 3\nmin_interval = '0s'");
    let worker = played.w.started();
    worker.must(&["accounts", "pause", FIRST, "--reason", "tests"]);
    eventually(secs(20), "the lane is paused", || worker.lane_state(FIRST) == "paused");
    for n in 0..8 {
        query(&worker, &format!("k-{n}"), &format!("7310012345678{n}"));
    }
    eventually(secs(60), "all are parked", || played.w.records("parked").len() == 8);
    worker.must(&["accounts", "resume", FIRST, "--reason", "tests"]);
    eventually(secs(60), "as many as the day has left are answered", || played.results().len() == 3);
    eventually(secs(20), "the lane waits for the next day", || worker.lane_state(FIRST) == "throttled");
    eventually(secs(60), "the others are held or parked again", || played.count(FIRST) == 3);
    assert_eq!((played.results().len(), played.w.dead_letters().len()), (3, 0));
}

#[test]
fn a_signature_that_is_refused_halts_the_account_and_its_calls_wait() {
    let played = Played::new("kdniao-halt", WRONG, "");
    let worker = played.w.started();
    query(&worker, "k-1", "73100123456782");
    eventually(secs(60), "the account halts", || worker.lane_state(FIRST) == "halted");
    eventually(secs(30), "the call waits", || played.w.records("parked").len() == 1);
    let list = worker.must(&["accounts", "list", "--json"]);
    assert!(list.contains("check the API key"), "{list}");
    assert_eq!((played.count(FIRST), played.results().len(), played.w.dead_letters().len()), (1, 0, 0));
}

#[test]
fn another_account_answers_while_the_first_one_is_halted() {
    let played = Played::new("kdniao-other", WRONG, &format!("alternates = ['{OTHER}']"));
    let worker = played.w.started();
    for (id, waybill) in [("k-1", "73100123456781"), ("k-2", "73100123456782")] {
        // The answer to the first one halts the account, the second one finds it halted.
        query(&worker, id, waybill);
        let result = played.wait_for(id);
        let named = [&result["status"], &result["account"], &result["answered_by"]];
        assert_eq!(named, [&json!("ok"), &json!(FIRST), &json!(OTHER)], "{result}");
        assert_eq!(worker.lane_state(FIRST), "halted");
    }
    assert_eq!((played.count(FIRST), played.count(OTHER)), (1, 2));
    assert_eq!((played.w.records("parked").len(), played.w.dead_letters().len()), (0, 0));
}

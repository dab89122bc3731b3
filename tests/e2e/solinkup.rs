//! The calls of 数环通 against its strict fake: all pages, all chunks, tokens, what is masked, and the probe.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::support::process::Process;
use crate::support::worker::Worker;
use crate::support::world::World;
use crate::support::{eventually, free_port, http, now_ms, secs, unique, wait_for_port};

const PHONE: &str = "13812345678";

/// A worker's account, and the platform that plays it.
struct Played {
    w: World,
    port: u16,
    _sandbox: Process,
}

/// The account with these tokens and keys at the platform on `port`.
fn account(port: u16, token: &str, more: &str) -> toml::Table {
    let text = format!(
        "platform = 'solinkup'\nbase_url = 'http://127.0.0.1:{port}'\nallow_http = true\nallow_private = true\n\
         secrets = [{{ id = 'a', key = 'AppKey@0A03EDEB', secret = 'AppSecret@1' }}]\nopen_id = 'OpenId@128D573F'\n\
         limits = {{ rps = 500, concurrency = 4 }}\ntoken = {token}\n{more}"
    );
    toml::from_str(&text).unwrap()
}

fn accounts(account: toml::Table) -> toml::Table {
    toml::Table::from_iter([("acme-doudian".to_owned(), toml::Value::Table(account))])
}

impl Played {
    /// The platform agreed on `theirs`, the worker is configured with `ours`: tokens, and other keys.
    fn new(name: &str, theirs: (&str, &str), ours: (&str, &str)) -> Self {
        let mut w = World::new(name);
        let port = free_port();
        w.set("redis.token_key", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
        w.set("accounts", accounts(account(port, theirs.0, theirs.1)));
        let mut sandbox = w.worker().sandbox(port);
        sandbox.spawn();
        wait_for_port(port, secs(20));
        w.set("accounts", accounts(account(port, ours.0, ours.1)));
        Self { w, port, _sandbox: sandbox }
    }

    /// What the platform was asked: the name of each call and whether it was taken.
    fn asked(&self) -> Vec<(String, bool)> {
        let (_, text) = http::get(self.port, "/_ledger").unwrap();
        let entries: Vec<Value> = serde_json::from_str(&text).unwrap();
        entries.iter().map(|e| (e["event"].as_str().unwrap().to_owned(), e["accepted"] == true)).collect()
    }

    fn count(&self, call: &str) -> usize {
        self.asked().iter().filter(|(event, accepted)| event == call && *accepted).count()
    }

    /// The results so far.
    fn results(&self) -> Vec<Value> {
        let records = self.w.records("results");
        records.iter().map(|record| serde_json::from_slice(record.value.as_deref().unwrap()).unwrap()).collect()
    }

    /// Waits for the results of so many calls to their end; all of them.
    fn wait_for(&self, calls: usize) -> Vec<Value> {
        let ended = || self.results().iter().filter(|r| r["final"] == true).count();
        eventually(secs(40), "every call has its last result", || ended() >= calls);
        self.results()
    }
}

fn call(id: &str, name: &str, args: Value, paginate: &str) -> Value {
    json!({
        "kind": "call", "trans_id": id, "platform": "solinkup", "account": "acme-doudian", "call": name,
        "event_time_ms": now_ms(), "args": args, "reply": {"paginate": paginate, "ttl_s": 600}
    })
}

fn send(worker: &Worker, calls: &[Value]) {
    let lines: Vec<String> = calls.iter().map(Value::to_string).collect();
    let output = worker.piped(&["send", "-"], lines.join("\n").as_bytes());
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
}

fn orders() -> Value {
    let now = now_ms() / 1000;
    json!({"createTimeStart": now - 86_400, "createTimeEnd": now, "size": 100})
}

const SEEDS: &str = "{ access = 'AccessToken@0', refresh = 'RefreshToken@0' }";

#[test]
fn orders_come_over_all_pages_and_texts_over_all_chunks_in_the_order_of_the_event() {
    let played = Played::new("solinkup", (SEEDS, ""), (SEEDS, ""));
    let worker = played.w.started();
    let item = |n: usize| {
        let of = if n == 77 { "closed-77".to_owned() } else { format!("order-{n}") };
        json!({"auth_id": of, "cipher_text": format!("$c{n}$1$$")})
    };
    let ciphers = json!({"cipher_infos": (0..120).map(item).collect::<Vec<_>>()});
    send(
        &worker,
        &[
            call("c-orders", "doudian.order_list", orders(), "all"),
            call("c-decrypt", "doudian.decrypt", ciphers, "none"),
            call("c-one", "doudian.order_list", orders(), "none"),
            call("c-templates", "template.list", json!({}), "none"),
        ],
    );
    let results = played.wait_for(4);
    let of = |id: &str| results.iter().filter(|r| r["trans_id"] == id).collect::<Vec<_>>();
    let pages = of("c-orders");
    assert_eq!(pages.iter().map(|r| r["page"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(pages.iter().map(|r| r["final"] == true).collect::<Vec<_>>(), [false, false, true]);
    let ids: HashSet<String> = pages
        .iter()
        .flat_map(|r| r["data"]["shop_order_list"].as_array().unwrap())
        .map(|order| order["order_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), 230, "every order once");
    assert_eq!((of("c-one").len(), of("c-templates").len()), (1, 1));

    let decrypted = of("c-decrypt");
    assert_eq!((decrypted.len(), &decrypted[0]["status"]), (1, &json!("partial")));
    let items = decrypted[0]["items"].as_array().unwrap();
    assert_eq!(items.len(), 120);
    for (n, result) in items.iter().enumerate() {
        assert_eq!((&result["index"], &result["auth_id"]), (&json!(n), &item(n)["auth_id"]));
        assert_eq!(result["status"], if n == 77 { "error" } else { "ok" }, "{result}");
    }
    assert_eq!(items[77]["code"], "200001");
    assert_eq!(played.count("doudian.decrypt"), 3, "fifty at a time");
    assert_eq!(played.count("doudian.order_list"), 4);

    // Nothing allows personal data in this topic.
    let text = results.iter().map(Value::to_string).collect::<String>();
    assert!(!text.contains(PHONE) && !text.contains("张三") && !text.contains("丹棱街"), "personal data in a result");
    assert!(text.contains("\"pay_amount\":\"500\""), "and the rest is there");
}

#[test]
fn calls_that_break_a_rule_have_a_result_and_are_never_sent() {
    let played = Played::new("solinkup-rules", (SEEDS, ""), (SEEDS, ""));
    let worker = played.w.started();
    let mut deep = orders();
    deep["page"] = json!(501);
    let rows = [
        ("c-1", "doudian.order_list", deep, "args.page"),
        ("c-2", "doudian.order_detail", json!({}), "args.orderId"),
        ("c-3", "template.delete_flows", json!({"parentTemplateId": "p"}), "call"),
        ("c-4", "token.refresh", json!({}), "call"),
        ("c-5", "doudian.auth_info", json!({"url": "http://example.com"}), "args.url"),
    ];
    let records = rows.iter().map(|(id, name, args, _)| call(id, name, args.clone(), "none").to_string());
    // `send` would refuse them before they are published.
    let file: Vec<String> = records.collect();
    let publisher = crate::support::records::Publisher::new(&std::env::var("POSTBACK_TEST_KAFKA").unwrap());
    for value in &file {
        publisher.publish(&played.w.topic("conversions"), None, None, Some(value.as_bytes()), &[]);
    }
    publisher.flush();
    let results = played.wait_for(rows.len());
    for (id, _, _, field) in &rows {
        let result = results.iter().find(|r| r["trans_id"] == *id).unwrap();
        assert_eq!((&result["status"], &result["error"]["field"]), (&json!("invalid"), &json!(field)), "{result}");
    }
    assert_eq!(played.asked(), []);
    eventually(secs(20), "they are dead letters as well", || played.w.dead_letters().len() == rows.len());
    drop(worker);
}

#[test]
fn a_token_is_got_with_the_code_and_refreshed_once_for_all_replicas() {
    let theirs = "{ refresh = 'RefreshToken@0', auth_code = 'AuthCode@0' }";
    let played = Played::new("solinkup-token", (theirs, ""), ("{ auth_code = 'AuthCode@0' }", ""));
    let workers = [played.w.started(), played.w.started(), played.w.started()];
    let calls = |round: &str| -> Vec<Value> {
        (0..60).map(|n| call(&format!("c-{round}-{n}"), "doudian.auth_info", json!({}), "none")).collect()
    };
    send(&workers[0], &calls("first"));
    let results = played.wait_for(60);
    assert!(results.iter().all(|r| r["status"] == "ok"), "{results:?}");
    assert_eq!((played.count("token.get"), played.count("token.refresh")), (1, 0));

    let fault = json!({"acme-doudian": {"expired_token": true}}).to_string();
    assert_eq!(http::request(played.port, "PUT", "/_faults", &[], &fault).unwrap().0, 200);
    assert_eq!(http::request(played.port, "PUT", "/_faults", &[], "{}").unwrap().0, 200);
    send(&workers[1], &calls("second"));
    let results = played.wait_for(120);
    assert_eq!(results.len(), 120, "each call once");
    assert!(results.iter().all(|r| r["status"] == "ok"));
    assert_eq!((played.count("token.get"), played.count("token.refresh")), (1, 1));
    assert_eq!(played.count("doudian.auth_info"), 120, "and none was made twice");
    for worker in &workers {
        assert_eq!(worker.lane_state("acme-doudian"), "flowing");
    }
}

#[test]
fn a_refresh_that_is_refused_halts_the_account_and_says_how_to_go_on() {
    let stale = "{ access = 'AccessToken@stale', refresh = 'RefreshToken@stale' }";
    let played = Played::new("solinkup-halt", (SEEDS, ""), (stale, ""));
    let worker = played.w.started();
    send(&worker, &[call("c-1", "doudian.auth_info", json!({}), "none")]);
    eventually(secs(30), "the account halts", || worker.lane_state("acme-doudian") == "halted");
    let list = worker.must(&["accounts", "list", "--json"]);
    assert!(list.contains("re-authorise"), "{list}");
    assert_eq!(played.w.dead_letters().len(), 0, "the call waits");
}

#[test]
fn the_probe_finds_the_variant_that_the_platform_accepts() {
    let theirs = "sign = { version_label = 'v', algorithm = 'hmac-sha256' }";
    let played = Played::new("solinkup-probe", (SEEDS, theirs), (SEEDS, ""));
    let worker = played.w.worker();
    let output = worker.command(&["probe", "acme-doudian"]);
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
    assert!(output.stdout.contains("sign.algorithm = \"hmac-sha256\""), "{}", output.stdout);
    let tried = played.asked().len();
    assert!((2..=6).contains(&tried), "{tried}");
    let asked = serde_json::from_str::<Value>(&worker.must(&["probe", "--json", "acme-doudian"])).unwrap();
    assert_eq!(asked["keys"], json!({"sign.version_label": "v", "sign.algorithm": "hmac-sha256"}));
    let unknown = worker.command(&["probe", &unique("nobody")]);
    assert_eq!((unknown.code, unknown.stdout.as_str()), (Some(2), ""));
}

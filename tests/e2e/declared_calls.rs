//! Calls of a platform that is a file: asked for directly, in place of another platform's account that is broken, and
//! with an answer of which no result can be made.

use crate::support::event::{Event, Expect};
use crate::support::ledger::Check;
use crate::support::platform::Request;
use crate::support::process::Process;
use crate::support::records::Headers;
use crate::support::worker::Worker;
use crate::support::world::World;
use crate::support::{eventually, free_port, http, now_ms, secs, wait_for_port};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::time::SystemTime;

const FIRST: &str = "acme-kdn";
const OTHER: &str = "acme-kd100";
const CALL: &str = "kdniao.track_query";
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/examples/platforms/kuaidi100.toml");

/// Both accounts at one sandbox; the first one names the other as its alternate.
struct Played {
    w: World,
    port: u16,
    _sandbox: Process,
}

impl Played {
    fn new(name: &str, max_attempts: i64) -> Self {
        let mut w = World::new(name);
        let port = free_port();
        let accounts = format!(
            "[{FIRST}]\nplatform = 'kdniao'\nmin_interval = '0s'\nalternates = ['{OTHER}']\n\
             secrets = [{{ id = 'a', business_id = '1237100', secret = '56da2cf8-c8a2-44b2-b6fa-476cd7d1ba17' }}]\n\
             [{OTHER}]\nplatform = 'kuaidi100'\ncustomer = 'CUSTOMER-1'\nkey = 'kd100-synthetic'\nmin_interval = '0s'\n"
        );
        let mut accounts: toml::Table = accounts.parse().unwrap();
        for (_, account) in &mut accounts {
            let account = account.as_table_mut().unwrap();
            account.insert("base_url".into(), format!("http://127.0.0.1:{port}").into());
            account.insert("allow_http".into(), true.into());
            account.insert("allow_private".into(), true.into());
        }
        w.set("platform_files", vec![FILE.to_owned()]);
        w.set("accounts", accounts);
        w.set("retry.max_attempts", max_attempts);
        let mut sandbox = w.worker().sandbox(port);
        sandbox.spawn();
        wait_for_port(port, secs(20));
        Self { w, port, _sandbox: sandbox }
    }

    fn fault(&self, faults: &Value) {
        let (status, said) = http::request(self.port, "PUT", "/_faults", &[], &faults.to_string()).unwrap();
        assert_eq!(status, 200, "{said}");
    }

    fn publish(&mut self, account: &str, id: &str, waybill: &str, expect: Expect) {
        let platform = if account == FIRST { "kdniao" } else { "kuaidi100" };
        let call = json!({
            "kind": "call", "trans_id": id, "platform": platform, "account": account, "call": CALL,
            "event_time_ms": now_ms(), "args": {"ShipperCode": "ZTO", "LogisticCode": waybill},
            "reply": {"ttl_s": 600},
        });
        let ident = Some(format!("{CALL}:{waybill}"));
        let key = Some(format!("{platform}:{account}:{id}").into_bytes());
        let account = account.to_owned();
        let event = Event { account, json: call, raw: None, key, headers: Headers::new(), ident, expect, at: None };
        self.w.publish(vec![event]);
    }

    /// What the platforms were asked, by account.
    fn asked(&self, account: &str) -> Vec<Value> {
        let (_, text) = http::get(self.port, "/_ledger").unwrap();
        let mut entries: Vec<Value> = serde_json::from_str(&text).unwrap();
        entries.retain(|entry| entry["account"] == account);
        entries
    }

    fn results(&self) -> Vec<Value> {
        let value = |value: Option<Vec<u8>>| serde_json::from_slice(&value.unwrap()).unwrap();
        self.w.records("results").into_iter().map(|record| value(record.value)).collect()
    }

    fn result(&self, id: &str) -> Value {
        let found = || self.results().into_iter().find(|result| result["trans_id"] == id);
        eventually(secs(60), &format!("{id} has a result"), || found().is_some());
        found().unwrap()
    }

    /// Closes the test: each request at the sandbox counts for the account that its event names.
    fn balanced(&self, worker: &Worker) {
        self.w.settle(secs(60));
        let mut books = self.w.books();
        let requests = [FIRST, OTHER].into_iter().flat_map(|account| self.asked(account));
        books.requests = requests
            .map(|entry| {
                let body = STANDARD.decode(entry["body_base64"].as_str().unwrap()).unwrap();
                let body = String::from_utf8(body).unwrap();
                let about = |event: &&Event| body.contains(event.json["args"]["LogisticCode"].as_str().unwrap());
                let event = self.w.events.iter().find(about).unwrap();
                Request {
                    account: event.account.clone(),
                    ident: event.ident.clone(),
                    key: None,
                    arrived: SystemTime::now(),
                    answered: None,
                    executed: entry["accepted"] == true,
                    // A fault is the test's own doing.
                    problem: entry["problem"].as_str().filter(|said| !said.starts_with("fault:")).map(str::to_owned),
                    status: 200,
                    not_before: None,
                    fields: Value::Null,
                }
            })
            .collect();
        let problems = books.problems(&Check::default());
        assert!(problems.is_empty(), "the ledger does not balance:\n  {}", problems.join("\n  "));
        self.w.counters(worker, &books);
    }
}

#[test]
fn an_account_of_a_platform_that_is_a_file_answers_while_the_one_that_was_asked_is_broken() {
    let mut played = Played::new("declared-alternate", 20);
    played.fault(&json!({ FIRST: {"status": 503, "share": 1.0} }));
    let worker = played.w.started();
    for n in 0..6 {
        played.publish(FIRST, &format!("k-{n}"), &format!("7310012345678{n}"), Expect::Delivered);
    }
    for n in 0..6 {
        let result = played.result(&format!("k-{n}"));
        let named = ["status", "platform", "account", "answered_by", "call"].map(|member| result[member].clone());
        assert_eq!(named, [json!("ok"), json!("kdniao"), json!(FIRST), json!(OTHER), json!(CALL)], "{result}");
        let data = &result["data"];
        assert_eq!(data["LogisticCode"], format!("7310012345678{n}"), "{result}");
        // The shape of the other platform's own results.
        assert_eq!(
            (&data["Success"], &data["State"], &data["state_name"]),
            (&json!(true), &json!("3"), &json!("signed"))
        );
        let last = data["Traces"].as_array().unwrap().last().unwrap();
        assert!(
            last["AcceptTime"].is_string() && last["AcceptStation"].as_str().unwrap().contains("138****5678"),
            "{last}"
        );
        let text = result.to_string();
        assert!(!text.contains("13812345678") && !text.contains("张三"), "personal data in a result: {text}");
    }
    assert_eq!(played.asked(OTHER).len(), 6);
    assert!(played.asked(FIRST).iter().all(|entry| entry["accepted"] == false));
    assert_eq!((played.results().len(), played.w.dead_letters().len()), (6, 0));
    played.balanced(&worker);
}

#[test]
fn a_call_of_a_platform_that_is_a_file_is_previewed_sent_and_answered() {
    let mut played = Played::new("declared-call", 20);
    let worker = played.w.started();
    played.publish(OTHER, "d-1", "73100123456783", Expect::Delivered);
    let result = played.result("d-1");
    let named = ["status", "platform", "account", "platform_code", "final"].map(|member| result[member].clone());
    assert_eq!(named, [json!("ok"), json!("kuaidi100"), json!(OTHER), json!("200"), json!(true)], "{result}");
    assert!(result.get("answered_by").is_none(), "{result}");
    assert_eq!(result["data"]["Traces"].as_array().unwrap().len(), 2);

    let event = json!({
        "kind": "call", "trans_id": "d-2", "platform": "kuaidi100", "account": OTHER, "call": CALL,
        "event_time_ms": now_ms(), "args": {"ShipperCode": "SF", "LogisticCode": "SF1", "CustomerName": "5678"},
    });
    let preview = |event: &Value| worker.piped(&["preview", "--json", "-"], event.to_string().as_bytes());
    let shown: Value = serde_json::from_str(&preview(&event).stdout).unwrap();
    assert_eq!((&shown["accepted"], &shown["event"], &shown["lane"]), (&json!(true), &json!(CALL), &json!(OTHER)));
    let request = shown["request"].to_string();
    assert!(request.contains("sign=") && !request.contains("kd100-synthetic"), "{request}");
    let mut bad = event.clone();
    bad["args"]["Url"] = json!("https://example.com");
    let refused = preview(&bad);
    assert_eq!(refused.code, Some(3));
    assert!(refused.stdout.contains("args.Url"), "{}", refused.stdout);

    assert_eq!(played.w.dead_letters().len(), 0);
    played.balanced(&worker);
}

#[test]
fn a_call_whose_answer_is_broken_is_tried_again_and_ends_with_a_result_that_says_so() {
    let mut played = Played::new("declared-broken", 2);
    let worker = played.w.started();
    played.fault(&json!({ OTHER: {"body": {"message": "ok", "status": "200", "state": "3"}, "share": 1.0} }));
    played.publish(OTHER, "b-1", "73100123456781", Expect::Dead { reason: "attempts_exhausted", field: "" });
    let result = played.result("b-1");
    let named = ["status", "classification", "http_status", "data"].map(|member| result[member].clone());
    assert_eq!(named, [json!("platform_error"), json!("retry"), json!(200), Value::Null], "{result}");
    let detail = result["error"]["detail"].as_str().unwrap();
    assert!(detail.contains("calls.kdniao.track_query.result cannot be made of the answer"), "{detail}");
    assert_eq!(result["error"]["reason"], "attempts_exhausted");

    // Once it answers as its file says, the next call has a result.
    played.fault(&json!({}));
    played.publish(OTHER, "b-2", "73100123456782", Expect::Delivered);
    assert_eq!(played.result("b-2")["status"], "ok");
    played.balanced(&worker);
}

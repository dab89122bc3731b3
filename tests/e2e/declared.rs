//! Platforms that are files: each delivers its example through the sandbox, batches and tokens keep their promises, and
//! a callback leads nowhere but to the platform's own hosts.

use crate::support::event::{Event, Expect};
use crate::support::ledger::Check;
use crate::support::platform::Request;
use crate::support::process::Process;
use crate::support::records::Headers;
use crate::support::redis::State;
use crate::support::worker::Worker;
use crate::support::world::World;
use crate::support::{eventually, free_port, http, millis, now_ms, secs, unique, wait_for_port};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/examples");

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// An event as a test publishes it.
fn event(value: Value) -> Event {
    let name = |field: &str| value[field].as_str().unwrap().to_owned();
    let key = format!("{}:{}:{}", name("platform"), name("account"), name("trans_id"));
    Event {
        account: name("account"),
        json: value,
        raw: None,
        key: Some(key.into_bytes()),
        headers: Headers::new(),
        ident: None,
        expect: Expect::Delivered,
        at: None,
    }
}

/// Accounts of the configuration, all played by one sandbox at this port.
fn accounts(w: &mut World, port: u16, accounts: toml::Table) {
    let mut accounts = accounts;
    for (_, account) in &mut accounts {
        let account = account.as_table_mut().unwrap();
        account.insert("base_url".into(), format!("http://127.0.0.1:{port}").into());
        account.insert("allow_http".into(), true.into());
        account.insert("allow_private".into(), true.into());
        account.entry("limits").or_insert_with(|| table("rps = 5000\nconcurrency = 8").into());
    }
    w.set("accounts", accounts);
}

fn table(text: &str) -> toml::Table {
    text.parse().unwrap()
}

fn sandbox(worker: &Worker, port: u16) -> Process {
    let mut sandbox = worker.sandbox(port);
    sandbox.spawn();
    wait_for_port(port, secs(20));
    sandbox
}

fn ledger(port: u16) -> Vec<Value> {
    json_of(&http::get(port, "/_ledger").unwrap().1).as_array().unwrap().clone()
}

fn fault(port: u16, faults: &Value) {
    let (status, said) = http::request(port, "PUT", "/_faults", &[], &faults.to_string()).unwrap();
    assert_eq!(status, 200, "{said}");
}

/// What the receipts say became of each event: outcome and how many sends were declared to be possible second ones.
fn outcomes(w: &World) -> Vec<(String, u64)> {
    let receipts = w.receipts();
    let read = |record: &crate::support::records::Record| -> Value {
        serde_json::from_slice(record.value.as_deref().unwrap()).unwrap()
    };
    let said = receipts.iter().map(read);
    said.map(|r| (r["outcome"].as_str().unwrap().to_owned(), r["resends"].as_u64().unwrap_or(0))).collect()
}

/// Every event was delivered, and the platform took each of them as often as it was sent.
fn balanced(w: &World, port: u16, events: usize) {
    let outcomes = outcomes(w);
    assert_eq!(outcomes.len(), events);
    assert!(outcomes.iter().all(|(outcome, _)| outcome == "delivered"), "{outcomes:?}");
    let resends: u64 = outcomes.iter().map(|(_, resends)| resends).sum();
    let taken = ledger(port).iter().filter(|e| e["accepted"] == true && e["event"] != "token").count();
    assert!(taken >= events && taken <= events + resends as usize, "{taken} taken, {events} events, {resends} resends");
}

fn example(file: &std::path::Path) -> Value {
    let mut value: Value = json_of(&std::fs::read_to_string(file).unwrap());
    value["event_time_ms"] = (now_ms() - 1000).into();
    value["trans_id"] = unique("example").into();
    value
}

#[test]
fn every_declared_platform_delivers_its_examples_through_its_own_fake() {
    let mut w = World::new("declared");
    let port = free_port();
    let config = table(&std::fs::read_to_string(format!("{EXAMPLES}/accounts.toml")).unwrap());
    let mut known = config["accounts"].as_table().unwrap().clone();
    known
        .insert("example-ga4".into(), table("platform = \"ga4\"\nmeasurement_id = \"G-1\"\napi_secret = \"s\"").into());
    w.set("platform_files", vec![format!("{EXAMPLES}/platforms/ga4.toml")]);
    let mut files: Vec<_> = std::fs::read_dir(EXAMPLES).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "json"));
    let mut events: Vec<Event> = files.iter().map(|file| event(example(file))).collect();
    // Calls are the business of other tests.
    events.retain(|event| known.contains_key(&event.account) && event.json["kind"] != "call");
    known.retain(|name, _| name == "example-ga4" || events.iter().any(|event| event.account == *name));
    accounts(&mut w, port, known);
    events.push(event(json!({
        "trans_id": unique("ga"), "platform": "ga4", "account": "example-ga4", "event_type": "register",
        "event_time_ms": now_ms() - 1000, "click": {"ga_client_id": "1234.5678"},
    })));
    let platforms: std::collections::BTreeSet<_> =
        events.iter().map(|e| e.json["platform"].clone().to_string()).collect();
    assert_eq!(platforms.len(), 8, "{platforms:?}");
    let count = events.len();
    let mut worker = w.worker();
    let _sandbox = sandbox(&worker, port);
    worker.start();
    w.publish(events);
    w.settle(secs(60));
    for entry in ledger(port) {
        assert_eq!(entry["accepted"], true, "{entry}");
    }
    balanced(&w, port, count);
}

/// A platform that answers with what the test says, and the bodies that it received.
fn scripted(port: u16, answer: impl Fn(&Value) -> Value + Send + 'static) -> Arc<Mutex<Vec<Value>>> {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let received = Arc::new(Mutex::new(Vec::new()));
    let book = received.clone();
    std::thread::spawn(move || {
        let answer = Arc::new(Mutex::new(answer));
        for stream in listener.incoming() {
            let (Ok(mut stream), answer, book) = (stream, answer.clone(), book.clone()) else { return };
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                loop {
                    let (mut line, mut length) = (String::new(), 0);
                    while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
                        if let Some(n) = line.to_lowercase().strip_prefix("content-length:") {
                            length = n.trim().parse().unwrap();
                        }
                        line.clear();
                    }
                    let mut body = vec![0; length];
                    if length == 0 || reader.read_exact(&mut body).is_err() {
                        return;
                    }
                    let body: Value = serde_json::from_slice(&body).unwrap();
                    let said = answer.lock().unwrap()(&body).to_string();
                    book.lock().unwrap().push(body);
                    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ";
                    if write!(stream, "{head}{}\r\n\r\n{said}", said.len()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    received
}

fn lead(account: &str, trans_id: String) -> Event {
    event(json!({
        "trans_id": trans_id, "platform": "baidu", "account": account, "event_type": "form_submit",
        "event_time_ms": now_ms() - 1000, "click": {"logid_url": "https://shop.example/p?bd_vid=77"},
    }))
}

#[test]
fn a_batch_with_one_bad_item_delivers_the_others_and_dead_letters_that_one() {
    let mut w = World::new("bad-item");
    let port = free_port();
    let received = scripted(port, |body| {
        // Slow, so that batches form behind it.
        std::thread::sleep(std::time::Duration::from_millis(100));
        let entries = body["conversionTypes"].as_array().unwrap().iter().enumerate();
        let bad = entries.filter(|(_, e)| e["outerEventId"].as_str().unwrap().ends_with("bad"));
        let errors: Vec<_> = bad.map(|(n, _)| json!({"code": 2001, "message": "no", "position": n})).collect();
        let status = match errors.len() {
            0 => 0,
            n if n == body["conversionTypes"].as_array().unwrap().len() => 2,
            _ => 1,
        };
        json!({"header": {"status": status, "desc": "", "errors": errors}})
    });
    accounts(&mut w, port, table("[a]\nplatform = \"baidu\"\ntoken = \"t\""));
    let mut events: Vec<Event> = (0..60).map(|_| lead("a", unique("e"))).collect();
    let mut bad = lead("a", format!("{}bad", unique("e")));
    bad.expect = Expect::Dead { reason: "rejected", field: "" };
    events.insert(30, bad);
    w.publish(events);
    let _worker = w.started();
    w.settle(secs(60));
    let dead = w.dead_letters();
    assert_eq!(dead.len(), 1);
    assert!(dead[0].header("pb-trans-id").unwrap().ends_with("bad"));
    let outcomes = outcomes(&w);
    assert_eq!(outcomes.iter().filter(|(outcome, _)| outcome == "delivered").count(), 60);
    let received = received.lock().unwrap();
    assert!(received.len() < 61, "{} requests for 61 events: no batch", received.len());
    let mut ids: Vec<_> = received
        .iter()
        .flat_map(|body| body["conversionTypes"].as_array().unwrap())
        .map(|entry| entry["outerEventId"].as_str().unwrap().to_owned())
        .collect();
    ids.retain(|id| !id.ends_with("bad"));
    let sent = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), sent), (60, 60), "each once");
}

#[test]
fn a_batch_whose_answer_is_lost_is_sent_again_and_declared() {
    let mut w = World::new("lost-answer");
    let port = free_port();
    accounts(&mut w, port, table("[a]\nplatform = \"baidu\"\ntoken = \"t\""));
    let mut worker = w.worker();
    let _sandbox = sandbox(&worker, port);
    fault(port, &json!({"a": {"reset": "after"}}));
    worker.start();
    w.publish((0..40).map(|_| lead("a", unique("e"))).collect());
    eventually(secs(30), "some are taken without an answer", || ledger(port).iter().any(|e| e["accepted"] == true));
    fault(port, &json!({}));
    w.settle(secs(60));
    balanced(&w, port, 40);
    assert!(outcomes(&w).iter().any(|(_, resends)| *resends > 0), "none was declared");
}

#[test]
fn a_batch_that_is_in_flight_when_the_worker_is_killed_is_sent_again_and_declared_and_nothing_else_is() {
    let mut w = World::new("killed-batch");
    w.set("limits.timeout", "3s");
    w.set("retry.inline.max_retries", 0);
    let port = free_port();
    let ids = |body: &Value| -> Vec<String> {
        let entries = body["conversionTypes"].as_array().unwrap().iter();
        entries.map(|entry| entry["outerEventId"].as_str().unwrap().to_owned()).collect()
    };
    let (held, released) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
    let (holds, let_go) = (held.clone(), released.clone());
    let received = scripted(port, move |body| {
        let ids = ids(body);
        if ids.len() > 1 && holds.lock().unwrap().is_empty() {
            *holds.lock().unwrap() = ids;
            while !let_go.load(SeqCst) {
                std::thread::sleep(millis(5));
            }
        } else {
            // Slow, so that a batch forms behind it.
            std::thread::sleep(millis(100));
        }
        json!({"header": {"status": 0, "desc": "", "errors": []}})
    });
    let limits = "limits = { rps = 5000, concurrency = 1 }";
    accounts(&mut w, port, table(&format!("[a]\nplatform = \"baidu\"\ntoken = \"t\"\n{limits}")));
    let events = (0..40).map(|_| {
        let event = lead("a", unique("e"));
        let ident = Some(format!("3:{}", event.trans_id()));
        Event { ident, ..event }
    });
    w.publish(events.collect());
    let mut worker = w.started();
    eventually(secs(30), "a batch is in flight, and every other answer is confirmed", || {
        let answered: usize = received.lock().unwrap().iter().map(|body| ids(body).len()).sum();
        !held.lock().unwrap().is_empty() && w.redis().count(&w.id, State::Done) == answered
    });
    worker.kill();
    // Beside the batch it may hold claims for the next request.
    let claimed = w.redis().count(&w.id, State::Claimed);
    released.store(true, SeqCst);
    worker.launch();
    worker.wait_until_ready();
    w.settle(secs(120));
    // What the platform took, as the ledger wants it.
    let mut books = w.books();
    let taken: Vec<String> = received.lock().unwrap().iter().flat_map(ids).collect();
    books.requests.extend(taken.iter().map(|id| Request::taken("a", &format!("3:{id}"))));
    let problems = books.problems(&Check::DISTURBED);
    assert!(problems.is_empty(), "{problems:#?}");
    let held = held.lock().unwrap();
    for event in &books.events {
        let copies = taken.iter().filter(|id| *id == event.trans_id()).count();
        let in_flight = held.iter().any(|id| id == event.trans_id());
        assert_eq!(copies, if in_flight { 2 } else { 1 }, "{}", event.trans_id());
        assert!(!in_flight || books.receipt(event).resends == 1, "{}", event.trans_id());
    }
    assert_eq!(books.declared(), claimed as u64, "a repeat is declared for what was claimed, and for nothing else");
}

#[test]
fn tokens_that_expire_at_full_rate_over_three_replicas_are_refreshed_once_and_nothing_is_lost_or_sent_twice() {
    let mut w = World::new("tokens");
    let port = free_port();
    accounts(
        &mut w,
        port,
        table(
            "[a]\nplatform = \"tencent_ads\"\naccount_id = 1\nuser_action_set_id = 2\n\
             token = { access = \"at-1\", refresh = \"rt-1\", client_id = \"c\", client_secret = \"s\" }",
        ),
    );
    w.set("redis.token_key", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
    let mut workers: Vec<Worker> = (0..3).map(|_| w.worker()).collect();
    let _sandbox = sandbox(&workers[0], port);
    workers.iter_mut().for_each(Worker::launch);
    workers.iter_mut().for_each(Worker::wait_until_ready);
    let action = || {
        event(json!({
            "trans_id": unique("e"), "platform": "tencent_ads", "account": "a", "event_type": "register",
            "event_time_ms": now_ms() - 1000, "click": {"gdt_click_id": unique("c")},
        }))
    };
    w.publish_at((0..300).map(|_| action()).collect(), Some(300.0), None);
    fault(port, &json!({"a": {"expired_token": true}}));
    w.publish_at((0..600).map(|_| action()).collect(), Some(300.0), None);
    w.settle(secs(90));
    let entries = ledger(port);
    let tokens = entries.iter().filter(|e| e["event"] == "token").count();
    assert_eq!(tokens, 1, "one refresh for all replicas");
    let expired = entries.iter().filter(|e| e["problem"].as_str().is_some_and(|p| p.contains("expired"))).count();
    assert!(expired > 0, "the token was never refused");
    let taken: Vec<_> = entries.iter().filter(|e| e["accepted"] == true && e["event"] != "token").collect();
    assert_eq!(taken.len(), 900);
    assert!(taken.iter().all(|entry| entry["repeat"] == false));
    let outcomes = outcomes(&w);
    assert_eq!(outcomes.iter().filter(|(outcome, _)| outcome == "delivered").count(), 900, "{outcomes:?}");
}

#[test]
fn a_callback_to_a_host_off_the_list_is_refused_and_nothing_is_sent() {
    let mut w = World::new("callback");
    let port = free_port();
    accounts(&mut w, port, table("[a]\nplatform = \"baidu\"\nakey = \"k\""));
    let mut worker = w.worker();
    let _sandbox = sandbox(&worker, port);
    worker.start();
    let off = ["https://als.baidu.com.evil.example/cb/actionCb?a_type={{ATYPE}}", "http://127.0.0.1:6379/cb/actionCb"];
    let events = off.map(|url| {
        let mut event = event(json!({
            "trans_id": unique("e"), "platform": "baidu", "account": "a", "event_type": "install",
            "event_time_ms": now_ms() - 1000, "click": {"bd_callback_url": url},
        }));
        event.expect = Expect::Dead { reason: "invalid", field: "click.bd_callback_url" };
        event
    });
    w.publish(events.to_vec());
    w.settle(secs(60));
    let dead = w.dead_letters();
    assert_eq!(dead.len(), 2);
    assert!(dead.iter().all(|d| d.header("pb-field").as_deref() == Some("click.bd_callback_url")));
    assert_eq!(ledger(port), [json!(null); 0], "nothing is sent");
}

//! Calls: each page has its result in Kafka before the next one is asked for, and before the offset of the call passes.

use crate::support::event::Event;
use crate::support::world::World;
use crate::support::{eventually, now_ms, secs};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Lists orders, two a page. The page that is held is answered after [`Pages::let_go`].
struct Pages {
    port: u16,
    asked: Arc<Mutex<Vec<u64>>>,
    goes: Arc<AtomicBool>,
}

impl Pages {
    fn of(orders: u64, held: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let pages = Self { port: listener.local_addr().unwrap().port(), asked: Arc::default(), goes: Arc::default() };
        let (asked, goes) = (pages.asked.clone(), pages.goes.clone());
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let (asked, goes) = (asked.clone(), goes.clone());
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(connection.try_clone().unwrap());
                    while let Some(body) = body(&mut reader) {
                        let page = body["page"].as_u64().unwrap();
                        asked.lock().unwrap().push(page);
                        while page == held && !goes.load(SeqCst) {
                            std::thread::sleep(Duration::from_millis(20));
                        }
                        let answer = json!({
                            "err_no": 0, "code": 10_000, "message": "success", "msg": "success",
                            "data": {"page": page, "size": 2, "total": orders, "shop_order_list": [{"order_id": page}]}
                        });
                        say(&connection, &answer.to_string());
                    }
                });
            }
        });
        pages
    }

    fn asked(&self) -> Vec<u64> {
        self.asked.lock().unwrap().clone()
    }

    fn let_go(&self) {
        self.goes.store(true, SeqCst);
    }
}

/// The body of the next request.
fn body(reader: &mut impl BufRead) -> Option<Value> {
    let (mut length, mut line) = (0, String::new());
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            let mut bytes = vec![0; length];
            reader.read_exact(&mut bytes).ok()?;
            return serde_json::from_slice(&bytes).ok();
        }
    }
}

fn say(mut connection: &TcpStream, body: &str) {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    let _ = connection.write_all(format!("{head}{body}").as_bytes());
}

/// Page, whether it is the last one, and status of each result, in the order of the topic.
fn results(w: &World) -> Vec<(u64, bool, String)> {
    let records = w.records("results");
    let values = records.iter().map(|r| serde_json::from_slice::<Value>(r.value.as_deref().unwrap()).unwrap());
    values
        .map(|v| (v["page"].as_u64().unwrap(), v["final"].as_bool().unwrap(), v["status"].as_str().unwrap().to_owned()))
        .collect()
}

#[test]
fn killed_between_two_pages_it_gives_each_page_and_passes_the_call_only_after_the_last_one() {
    let mut w = World::new("calls-killed");
    w.quick_lease(16);
    let pages = Pages::of(6, 2);
    w.own_account(
        "acme-doudian",
        toml::toml! {
            platform = "solinkup"
            allow_http = true
            allow_private = true
            open_id = "OpenId@1"
            secrets = [{ id = "s1", key = "AppKey@0123456789ABCDEF0123456789ABCDEF", secret = "AppSecret@1" }]
            token = { access = "AccessToken@1" }
        },
        pages.port,
    );
    w.set("limits.timeout", "3s");
    let mut worker = w.started();
    let now = now_ms();
    let call = json!({
        "kind": "call", "trans_id": "c-77", "platform": "solinkup", "account": "acme-doudian", "event_time_ms": now,
        "call": "doudian.order_list",
        "args": {"createTimeStart": now / 1000 - 3600, "createTimeEnd": now / 1000, "page": 0, "size": 2},
        "reply": {"key": "acme", "paginate": "all", "ttl_s": 600},
    });
    w.publish(vec![Event::bytes(Some(call.to_string().as_bytes()), "", "")]);
    eventually(secs(60), "two pages are published and the third one is asked for", || {
        pages.asked() == [0, 1, 2] && results(&w).len() == 2
    });
    let topic = w.topic("conversions");
    std::thread::sleep(Duration::from_millis(1500));
    assert!(!w.admin.at_end(&w.group(), &topic), "the call has passed before its last page");
    worker.kill();
    pages.let_go();
    worker.start();
    eventually(secs(90), "the last page is published", || results(&w).iter().any(|(_, last, _)| *last));
    eventually(secs(30), "the call has passed", || w.admin.at_end(&w.group(), &topic));
    let found = results(&w);
    assert!(found.iter().all(|(page, last, status)| status == "ok" && *last == (*page == 2)), "{found:?}");
    for page in 0..3 {
        assert!(found.iter().any(|(n, ..)| *n == page), "page {page} is missing: {found:?}");
    }
    let record = &w.records("results")[0];
    assert_eq!((record.key.as_deref(), record.header("correlation-id").as_deref()), (Some(&b"acme"[..]), Some("c-77")));
    assert_eq!(w.dead_letters().len(), 0);
    eventually(secs(30), "it has one receipt", || w.receipts().len() == 1);
    let receipt: Value = serde_json::from_slice(w.receipts()[0].value.as_deref().unwrap()).unwrap();
    assert_eq!((&receipt["outcome"], &receipt["resends"]), (&json!("delivered"), &json!(0)));
    worker.stop();
}

#[test]
fn a_call_that_is_refused_has_a_result_and_a_dead_letter() {
    let mut w = World::new("calls-refused");
    let pages = Pages::of(2, u64::MAX);
    w.own_account(
        "acme-doudian",
        toml::toml! {
            platform = "solinkup"
            allow_http = true
            allow_private = true
            open_id = "OpenId@1"
            secrets = [{ id = "s1", key = "AppKey@0123456789ABCDEF0123456789ABCDEF", secret = "AppSecret@1" }]
            token = { access = "AccessToken@1" }
        },
        pages.port,
    );
    let mut worker = w.started();
    let call = |id: &str, edit: &dyn Fn(&mut Value)| {
        let mut call = json!({
            "kind": "call", "trans_id": id, "platform": "solinkup", "account": "acme-doudian",
            "event_time_ms": now_ms() - 60_000, "call": "doudian.auth_info",
        });
        edit(&mut call);
        Event::bytes(Some(call.to_string().as_bytes()), "", "")
    };
    w.publish(vec![
        call("destructive", &|c| c["call"] = "template.delete_flows".into()),
        call("token", &|c| c["call"] = "token.get".into()),
        call("elsewhere", &|c| c["reply"] = json!({"topic": "elsewhere"})),
        call("late", &|c| c["reply"] = json!({"ttl_s": 30})),
        call("nobody", &|c| c["account"] = "nobody".into()),
    ]);
    eventually(secs(60), "each has a result", || w.records("results").len() == 5 && w.dead_letters().len() == 5);
    let mut found: Vec<_> = (w.records("results").iter())
        .map(|r| serde_json::from_slice::<Value>(r.value.as_deref().unwrap()).unwrap())
        .map(|v| [&v["trans_id"], &v["status"], &v["error"]["field"]].map(|text| text.as_str().unwrap().to_owned()))
        .collect();
    found.sort();
    let expected = [
        ["destructive", "invalid", "call"],
        ["elsewhere", "invalid", "reply.topic"],
        ["late", "expired", "reply.ttl_s"],
        ["nobody", "invalid", "account"],
        ["token", "invalid", "call"],
    ];
    assert_eq!(found, expected.map(|row| row.map(str::to_owned)));
    assert!(pages.asked().is_empty());
    worker.stop();
}

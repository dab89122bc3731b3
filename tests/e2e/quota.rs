//! A platform's own limits: that of a day holds until its midnight, also over a restart, and that of a minute until the
//! next one.

use crate::support::event::{Event, Expect};
use crate::support::records::Headers;
use crate::support::world::World;
use crate::support::{eventually, now_ms, secs};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// Headers and body of the answer to a request of so many events; the number counts the requests from 0.
type Answer = dyn Fn(usize) -> (String, Value) + Send + Sync;

/// When each request came, and the events in it.
type Requests = Vec<(SystemTime, Vec<String>)>;

/// A platform of batches that answers as a test says, and what each request brought when.
struct Platform {
    port: u16,
    requests: Arc<Mutex<Requests>>,
}

impl Platform {
    fn open(answer: impl Fn(usize) -> (String, Value) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let platform = Self { port: listener.local_addr().unwrap().port(), requests: Arc::default() };
        let (answer, requests): (Arc<Answer>, _) = (Arc::new(answer), platform.requests.clone());
        std::thread::spawn(move || {
            for tcp in listener.incoming() {
                let (mut tcp, answer, requests) = (tcp.unwrap(), answer.clone(), requests.clone());
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(tcp.try_clone().unwrap());
                    while let Some(body) = request(&mut reader) {
                        let ids = body["actions"].as_array().unwrap().iter();
                        let ids = ids.map(|action| action["outer_action_id"].as_str().unwrap().to_owned()).collect();
                        let number = {
                            let mut requests = requests.lock().unwrap();
                            requests.push((SystemTime::now(), ids));
                            requests.len() - 1
                        };
                        let (headers, said) = answer(number);
                        let said = said.to_string();
                        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{headers}\r\n", said.len());
                        let _ = tcp.write_all(format!("{head}{said}").as_bytes());
                    }
                });
            }
        });
        platform
    }

    fn requests(&self) -> Requests {
        self.requests.lock().unwrap().clone()
    }
}

fn request(reader: &mut impl BufRead) -> Option<Value> {
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
        if let Some(n) = line.to_lowercase().strip_prefix("content-length:") {
            length = n.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}

fn world(name: &str, platform: &Platform) -> World {
    let mut w = World::new(name);
    let account = format!(
        "[acme-tx]\nplatform = \"tencent_ads\"\nbase_url = \"http://127.0.0.1:{}\"\nallow_http = true\n\
         allow_private = true\naccount_id = 1\nuser_action_set_id = 2\naccess_token = \"t\"\nlimits.rps = 1000\n",
        platform.port
    );
    w.set("accounts", account.parse::<toml::Table>().unwrap());
    w
}

fn events(numbers: std::ops::Range<usize>) -> Vec<Event> {
    let event = |n: usize| {
        let trans_id = format!("quota-{n}");
        Event {
            account: "acme-tx".into(),
            json: json!({
                "trans_id": trans_id, "platform": "tencent_ads", "account": "acme-tx", "event_type": "register",
                "event_time_ms": now_ms() - 1000, "click": {"gdt_click_id": format!("c{n}")},
            }),
            raw: None,
            key: Some(trans_id.into_bytes()),
            headers: Headers::new(),
            ident: None,
            expect: Expect::Delivered,
            at: None,
        }
    };
    numbers.map(event).collect()
}

/// How many events the receipts say were delivered.
fn delivered(w: &World) -> usize {
    let receipts = w.receipts();
    let outcome = |value: &[u8]| serde_json::from_slice::<Value>(value).unwrap()["outcome"].clone();
    receipts.iter().filter(|record| outcome(record.value.as_deref().unwrap()) == "delivered").count()
}

#[test]
fn a_limit_of_the_day_parks_everything_until_midnight_also_over_a_restart() {
    // By the platform's clock it is noon in Shanghai.
    let noon = "date: Sun, 29 Nov 2026 04:00:00 GMT\r\n".to_owned();
    let used_up = Arc::new(AtomicBool::new(true));
    let says = used_up.clone();
    let platform = Platform::open(move |_| {
        let code = if says.load(SeqCst) { 11018 } else { 0 };
        (noon.clone(), json!({"code": code, "message": "x"}))
    });
    let mut w = world("quota-day", &platform);
    let mut worker = w.started();
    w.publish(events(0..1));
    eventually(secs(30), "the first event is parked", || w.records("parked").len() == 1);
    w.publish(events(1..40));
    eventually(secs(30), "all are parked", || w.records("parked").len() == 40);
    eventually(secs(10), "the lane shows it", || worker.lane_state("acme-tx") == "throttled");
    let key = format!("{}:rate:tencent_ads:acme-tx", w.id);
    eventually(secs(10), "the bucket says until midnight", || {
        let life = w.redis().run(&["PTTL", &key]);
        matches!(life, redis::Value::Int(ms) if (11 * 3_600_000..13 * 3_600_000).contains(&ms))
    });

    worker.stop();
    worker.start();
    w.publish(events(40..50));
    eventually(secs(30), "the next ones are parked as well", || w.records("parked").len() >= 50);
    eventually(secs(10), "the new process knows of it", || worker.lane_state("acme-tx") == "throttled");
    assert_eq!(platform.requests().len(), 1, "nothing was sent after the limit: {:?}", platform.requests());

    // Midnight: the bucket is free, and a process that starts now knows of nothing.
    worker.stop();
    w.redis().run(&["DEL", &key]);
    used_up.store(false, SeqCst);
    worker.start();
    w.settle(secs(60));
    assert_eq!(delivered(&w), 50);
    let mut ids: Vec<_> = platform.requests().into_iter().skip(1).flat_map(|(_, ids)| ids).collect();
    ids.sort();
    ids.dedup();
    let sent: usize = platform.requests().iter().skip(1).map(|(_, ids)| ids.len()).sum();
    assert_eq!((ids.len(), sent), (50, 50), "each once");
    assert!(w.dead_letters().is_empty());
}

#[test]
fn the_limit_of_a_minute_pauses_the_account_until_the_next_minute_whether_an_answer_refuses_or_warns() {
    // Each time it is five seconds before the end of the platform's minute.
    const LEFT: u64 = 5;
    let platform = Platform::open(|number| {
        let date = format!("date: Sun, 29 Nov 2026 04:00:{:02} GMT\r\n", 60 - LEFT);
        match number {
            0 => (date, json!({"code": 11017, "message": "too many"})),
            1 => (format!("{date}x-ratelimit-remaining: 99,0\r\n"), json!({"code": 0})),
            _ => (date, json!({"code": 0})),
        }
    });
    let mut w = world("quota-minute", &platform);
    let _worker = w.started();
    w.publish(events(0..1));
    eventually(secs(30), "the first event is delivered", || delivered(&w) == 1);
    w.publish(events(1..30));
    w.settle(secs(60));
    assert_eq!(delivered(&w), 30);
    let requests = platform.requests();
    let waited = |n: usize| requests[n].0.duration_since(requests[n - 1].0).unwrap();
    for n in [1, 2] {
        assert!(waited(n) >= Duration::from_secs(LEFT), "request {n} came after {:?}", waited(n));
        assert!(waited(n) <= secs(25), "request {n} came after {:?}", waited(n));
    }
    assert!(w.dead_letters().is_empty());
}

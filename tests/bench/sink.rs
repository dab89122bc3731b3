//! The platform of the benchmark: answers every POST with a success body and counts what it received, one event or
//! several per request.
//!
//! `sink --listen ADDR [--latency-ms N] [--hang]`. With `--hang` it reads the request and never answers.
//! `GET /_stats` says what came since the last `DELETE /_stats`; times are epoch microseconds, ages are the time from
//! the producer's call (it stands in the event's id) to the whole request. `DELETE /_ages` forgets the ages alone;
//! `DELETE /_ages?run=0012ab` does that too, and from then on counts those of one run of the load and no others.
//!
//! `PUT /_fault?hang`, `?status=500`, `?status=429` (with `Retry-After: 1`) and `?latency_ms=2900` set a fault, `PUT
//! /_fault` ends it. `accepted` counts the different events that got an answer of success, or would have got one if the
//! client had waited for it: a request that hangs or fails is received and not accepted. `GET /_again` names those that
//! were accepted more than once, as often as they came again.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a tool of the benchmark: whatever fails ends the run")]

use std::collections::HashSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpSocket;

/// Buckets of 100 µs; the last one holds everything above.
const BUCKETS: usize = 600_000;
const BUCKET_US: u64 = 100;
/// No run of the load has this number.
const EVERY_RUN: u64 = u64::MAX;
/// So many sets of seen ids, each with its own lock.
const SHARDS: usize = 16;
/// Of 360 and of 腾讯广告.
const SUCCESS: &[u8] = br#"{"errno":0,"error":"Success","code":0}"#;
/// What stands before the id of an event in the body of each platform.
const IDS: [&[u8]; 2] = [br#""trans_id":""#, br#""outer_action_id":""#];

struct Sink {
    latency_ms: AtomicU64,
    hang: AtomicBool,
    /// The status of every answer; 200 is no fault.
    status: AtomicU64,
    connections: AtomicU64,
    received: AtomicU64,
    unsigned: AtomicU64,
    first_us: AtomicU64,
    last_us: AtomicU64,
    ages: Vec<AtomicU64>,
    /// The run of the load whose ages count.
    aged_run: AtomicU64,
    seen: Vec<Mutex<HashSet<u64>>>,
    accepted: Vec<Mutex<HashSet<u64>>>,
    /// The ids of events that were accepted once more.
    again: Mutex<Vec<String>>,
}

impl Sink {
    fn new(latency_ms: u64, hang: bool) -> Self {
        Self {
            latency_ms: latency_ms.into(),
            hang: hang.into(),
            status: 200.into(),
            connections: AtomicU64::new(0),
            received: AtomicU64::new(0),
            unsigned: AtomicU64::new(0),
            first_us: AtomicU64::new(u64::MAX),
            last_us: AtomicU64::new(0),
            ages: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            aged_run: EVERY_RUN.into(),
            seen: (0..SHARDS).map(|_| Mutex::default()).collect(),
            accepted: (0..SHARDS).map(|_| Mutex::default()).collect(),
            again: Mutex::default(),
        }
    }

    /// Sets the fault that a query names, and no other.
    fn fault(&self, query: &str) {
        let number = |name: &str, without: u64| value(query, name).map_or(without, |n| n.parse().expect("a number"));
        self.hang.store(query == "hang", Relaxed);
        self.status.store(number("status", 200), Relaxed);
        self.latency_ms.store(number("latency_ms", 0), Relaxed);
    }

    fn accept(&self, body: &[u8]) {
        for id in trans_ids(body) {
            let Some((unique, _)) = id.split_at_checked(16) else { continue };
            let hash = hash(unique);
            let is_new = self.accepted[hash as usize % SHARDS].lock().unwrap().insert(hash);
            if !is_new {
                self.again.lock().unwrap().push(id.to_owned());
            }
        }
    }

    fn count(&self, body: &[u8], is_signed: bool) {
        let now = now_us();
        self.received.fetch_add(1, Relaxed);
        self.unsigned.fetch_add(u64::from(!is_signed), Relaxed);
        self.first_us.fetch_min(now, Relaxed);
        self.last_us.fetch_max(now, Relaxed);
        trans_ids(body).for_each(|id| self.count_event(id, now));
    }

    fn count_event(&self, id: &str, now: u64) {
        // The load writes 16 digits of run and number, which make it unique, and 16 of microseconds.
        let Some((unique, sent)) = id.split_at_checked(16) else { return };
        let sent = u64::from_str_radix(sent, 16).ok().filter(|_| self.ages_count(unique));
        let hash = hash(unique);
        self.seen[hash as usize % SHARDS].lock().unwrap().insert(hash);
        if let Some(sent) = sent {
            let bucket = (now.saturating_sub(sent) / BUCKET_US) as usize;
            self.ages[bucket.min(BUCKETS - 1)].fetch_add(1, Relaxed);
        }
    }

    /// Whether the ages of the run in this id count.
    fn ages_count(&self, id: &str) -> bool {
        let run = self.aged_run.load(Relaxed);
        run == EVERY_RUN || id.get(..6).and_then(|own| u64::from_str_radix(own, 16).ok()) == Some(run)
    }

    fn forget_ages(&self, query: &str) {
        let run = value(query, "run").map_or(EVERY_RUN, |run| u64::from_str_radix(run, 16).expect("a run"));
        self.aged_run.store(run, Relaxed);
        self.ages.iter().for_each(|age| age.store(0, Relaxed));
    }

    fn stats(&self) -> String {
        let ages: Vec<u64> = self.ages.iter().map(|a| a.load(Relaxed)).collect();
        let all: u64 = ages.iter().sum();
        let age_ms = |share: f64| {
            let mut left = (all as f64 * share).ceil() as u64;
            let bucket = ages.iter().position(|n| {
                left = left.saturating_sub(*n);
                left == 0
            });
            bucket.unwrap_or(0) as f64 * BUCKET_US as f64 / 1000.0
        };
        let first = self.first_us.load(Relaxed);
        let sum = |sets: &[Mutex<HashSet<u64>>]| -> usize { sets.iter().map(|s| s.lock().unwrap().len()).sum() };
        serde_json::json!({
            "connections": self.connections.load(Relaxed),
            "received": self.received.load(Relaxed),
            "distinct": sum(&self.seen),
            "accepted": sum(&self.accepted),
            "again": self.again.lock().unwrap().len(),
            "unsigned": self.unsigned.load(Relaxed),
            "first_us": if first == u64::MAX { 0 } else { first },
            "last_us": self.last_us.load(Relaxed),
            "p50_ms": age_ms(0.5),
            "p99_ms": age_ms(0.99),
            "max_ms": age_ms(1.0),
        })
        .to_string()
    }

    fn forget(&self) {
        for counter in [&self.connections, &self.received, &self.unsigned, &self.last_us].into_iter().chain(&self.ages)
        {
            counter.store(0, Relaxed);
        }
        self.first_us.store(u64::MAX, Relaxed);
        self.again.lock().unwrap().clear();
        self.seen.iter().chain(&self.accepted).for_each(|s| s.lock().unwrap().clear());
    }
}

/// The value of a name in a query.
fn value<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

fn now_us() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros() as u64
}

fn trans_ids(body: &[u8]) -> impl Iterator<Item = &str> {
    let name = IDS.into_iter().find(|name| body.windows(name.len()).any(|w| w == *name));
    let mut rest = body;
    std::iter::from_fn(move || {
        let name = name?;
        let at = rest.windows(name.len()).position(|w| w == name)? + name.len();
        let end = rest[at..].iter().position(|b| *b == b'"')?;
        let id = std::str::from_utf8(&rest[at..at + end]).ok();
        rest = &rest[at + end..];
        id
    })
}

/// FNV-1a.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

async fn answer(request: Request<Incoming>, sink: &'static Sink) -> Result<Response<Full<Bytes>>, Infallible> {
    let json =
        |body: Bytes| Ok(Response::builder().header("content-type", "application/json").body(Full::new(body)).unwrap());
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/_stats") => return json(sink.stats().into()),
        (&Method::DELETE, "/_stats") => {
            sink.forget();
            return json(Bytes::from_static(b"{}"));
        }
        (&Method::GET, "/_again") => {
            let again = serde_json::json!(*sink.again.lock().unwrap());
            return json(again.to_string().into());
        }
        (&Method::DELETE, "/_ages") => {
            sink.forget_ages(request.uri().query().unwrap_or_default());
            return json(Bytes::from_static(b"{}"));
        }
        (&Method::PUT, "/_fault") => {
            sink.fault(request.uri().query().unwrap_or_default());
            return json(Bytes::from_static(b"{}"));
        }
        _ => {}
    }
    let is_signed = request.headers().get("app-sign").is_some_and(|s| s.len() == 32);
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    sink.count(&body, is_signed);
    if sink.hang.load(Relaxed) {
        std::future::pending::<()>().await;
    }
    let latency = sink.latency_ms.load(Relaxed);
    match sink.status.load(Relaxed) as u16 {
        200 => sink.accept(&body),
        status => {
            let wait = (status == 429).then_some(("retry-after", "1"));
            let answer =
                wait.into_iter().fold(Response::builder().status(status), |b, (name, value)| b.header(name, value));
            return Ok(answer.body(Full::default()).unwrap());
        }
    }
    if latency > 0 {
        tokio::time::sleep(Duration::from_millis(latency)).await;
    }
    json(Bytes::from_static(SUCCESS))
}

fn option(name: &str) -> Option<String> {
    std::env::args().skip_while(|a| a != name).nth(1)
}

fn main() {
    let listen: SocketAddr = option("--listen").expect("--listen ADDR").parse().expect("--listen");
    let latency = option("--latency-ms").map_or(0, |ms| ms.parse().expect("--latency-ms"));
    let sink: &'static Sink = Box::leak(Box::new(Sink::new(latency, std::env::args().any(|a| a == "--hang"))));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        // The library's queue of 128 drops what a worker with 1,024 in flight opens at its start, and then a second
        // passes.
        let socket = TcpSocket::new_v4().expect("socket");
        socket.set_reuseaddr(true).expect("socket");
        socket.bind(listen).expect("bind");
        let listener = socket.listen(4096).expect("listen");
        println!("listening");
        while let Ok((stream, _)) = listener.accept().await {
            sink.connections.fetch_add(1, Relaxed);
            let _ = stream.set_nodelay(true);
            let service = service_fn(move |request| answer(request, sink));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
}

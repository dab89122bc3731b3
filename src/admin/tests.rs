//! Tests the endpoint over a real socket, with a double of the worker behind it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::*;
use crate::inspect::dead_letters::scan::{self, Scan};
use crate::operate::By;
use crate::operate::audit::AuditRecord;
use crate::operate::readiness::{Dependency, Readiness, Status, StatusReport, SwitchError};
use crate::operate::reload::{Ask, ReloadReport, Reloads};
use crate::operate::report::{AccountRow, BlockedReport};
use crate::replay::{Replays, Setup};
use crate::settings::Config as Settings;

#[derive(Default)]
pub(crate) struct Double {
    not_ready: bool,
    dead: bool,
    store_away: bool,
    pub(crate) changes: Mutex<Vec<String>>,
}

impl Double {
    fn switch(&self, what: &str, account: &str, by: &By) -> Result<(), SwitchError> {
        if self.store_away {
            return Err(SwitchError::Unavailable("redis://u:secret@host refused".to_owned()));
        }
        if account != "acme-ps" {
            return Err(SwitchError::UnknownAccount(Some("acme-ps".to_owned())));
        }
        self.changes.lock().unwrap().push(format!("{what} {account} {} {} {:?}", by.why, by.who, by.via));
        Ok(())
    }
}

impl Status for Double {
    fn live(&self) -> bool {
        !self.dead
    }
    fn ready(&self) -> Readiness {
        let dependency = |detail: &str| Dependency { up: detail.is_empty(), detail: detail.to_owned() };
        Readiness {
            ready: !self.not_ready,
            why: if self.not_ready { "redis does not answer".to_owned() } else { String::new() },
            dependencies: BTreeMap::from([
                ("kafka", dependency("")),
                ("redis", dependency(if self.not_ready { "refused" } else { "" })),
            ]),
            parked_partitions: vec!["conversions/3".to_owned()],
            refused_topics: vec!["postback.dlt".to_owned()],
            stopped_topics: vec!["clicks".to_owned()],
        }
    }
    fn metrics(&self) -> String {
        "# TYPE postback_redis_up gauge\npostback_redis_up 1\n".to_owned()
    }
    fn status(&self) -> BoxFuture<'_, StatusReport> {
        Box::pin(async { StatusReport { version: "x".to_owned(), ..StatusReport::default() } })
    }
    fn accounts(&self) -> BoxFuture<'_, Vec<AccountRow>> {
        Box::pin(async { vec![AccountRow { account: "acme-ps".to_owned(), ..AccountRow::default() }] })
    }
    fn blocked(&self) -> BoxFuture<'_, BlockedReport> {
        Box::pin(async { BlockedReport::default() })
    }
    fn audit_waiting(&self) -> BoxFuture<'_, Option<Vec<AuditRecord>>> {
        Box::pin(async { None })
    }
    fn pause<'a>(&'a self, account: &'a str, by: By) -> BoxFuture<'a, Result<(), SwitchError>> {
        Box::pin(async move { self.switch("pause", account, &by) })
    }
    fn resume<'a>(&'a self, account: &'a str, by: By) -> BoxFuture<'a, Result<(), SwitchError>> {
        Box::pin(async move { self.switch("resume", account, &by) })
    }
}

struct Running {
    server: Server,
    double: Arc<Double>,
}

/// The double in front of Kafka and Redis that nobody runs.
fn parts(double: Arc<Double>) -> Arc<Parts> {
    let settings = Settings::load(None, []).unwrap_or_else(|found| panic!("{found}")).config;
    let client = crate::redis::Config::stub("redis://127.0.0.1:1").client().unwrap();
    Parts::new(worker(double, settings, client))
}

/// The double with this configuration and this store.
pub(crate) fn worker(double: Arc<Double>, settings: Settings, client: ::redis::Client) -> Worker {
    let (prefix, window) = (&settings.redis.prefix, settings.dedupe.window);
    let setup = Setup::new(client.clone(), prefix, &settings.kafka, settings.roster().live(), window).unwrap();
    let source = scan::Source { kafka: settings.kafka.clone(), redis: settings.redis.clone() };
    let scan = Arc::new(Scan::start(source).unwrap());
    let replays = Replays::with_plans(setup, scan.clone());
    let (reloads, mut asks) = Reloads::new();
    let asked = double.clone();
    std::thread::spawn(move || {
        while let Some(Ask { by, answer }) = asks.blocking_recv() {
            asked.changes.lock().unwrap().push(format!("reload acme-ps {} {} {:?}", by.why, by.who, by.via));
            let _ = answer.send(Ok(ReloadReport::default()));
        }
    });
    let config = settings.live();
    Worker { id: "w1".to_owned(), status: double, config, client, scan, replays, reloads }
}

fn run(double: Double, token: &str) -> Running {
    let double = Arc::new(double);
    let router = all_routes(parts(double.clone()), &SecretString::new(token));
    Running { server: Server::start("127.0.0.1:0".parse().unwrap(), router).unwrap(), double }
}

/// Sends the bytes and returns status, head and body.
pub(crate) fn raw(address: SocketAddr, request: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    (status, head.to_ascii_lowercase(), body.to_owned())
}

fn get(running: &Running, path: &str, headers: &str) -> (u16, String, String) {
    raw(running.server.address(), &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n"))
}

fn post(running: &Running, path: &str, headers: &str, body: &str) -> (u16, String, String) {
    let length = body.len();
    let request =
        format!("POST {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}");
    raw(running.server.address(), &request)
}

pub(crate) const LOCAL: &str = "host: localhost:9464\r\ncontent-type: application/json\r\n";
const PAUSE: &str = "/api/v1/accounts/acme-ps/pause";
const WHY: &str = r#"{"reason":"maintenance","who":"li"}"#;

fn error(body: &str) -> String {
    serde_json::from_str::<Value>(body).unwrap()["error"]["message"].as_str().unwrap().to_owned()
}

#[test]
fn the_runbook_answers_without_a_token() {
    let running = run(Double::default(), "t0ken");
    for path in ["/runbook/", "/runbook/PostbackLaneHalted", "/runbook/PostbackLaneHalted.md"] {
        assert_eq!(get(&running, path, "").0, 200, "{path}");
    }
    let (status, head, _) = get(&running, "/runbook/x", "");
    assert!(status == 404 && head.contains("x-content-type-options: nosniff"), "{head}");
}

#[test]
fn health_and_metrics_answer_without_a_token() {
    let running = run(Double::default(), "t0ken");
    assert_eq!(get(&running, "/live", "").0, 200);
    let (status, _, body) = get(&running, "/ready", "");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["ready"], &body["dependencies"]["kafka"]["up"]), (200, &json!(true), &json!(true)));
    assert_eq!(body["parked_partitions"], json!(["conversions/3"]));
    assert_eq!(body["refused_topics"], json!(["postback.dlt"]));
    assert_eq!(body["stopped_topics"], json!(["clicks"]));
    let (status, head, body) = get(&running, "/metrics", "");
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert!(body.contains("postback_redis_up 1"));
    assert!(head.contains("cache-control: no-store") && head.contains("x-content-type-options: nosniff"));
}

#[test]
fn not_ready_is_503_and_names_the_dependency_while_live_stays_200() {
    let running = run(Double { not_ready: true, ..Double::default() }, "");
    let (status, _, body) = get(&running, "/ready", "");
    assert_eq!(status, 503);
    assert!(body.contains("redis does not answer") && body.contains("refused"), "{body}");
    assert_eq!(get(&running, "/live", "").0, 200);
    assert_eq!(get(&run(Double { dead: true, ..Double::default() }, ""), "/live", "").0, 503);
}

#[test]
fn with_a_token_everything_but_status_needs_it() {
    let running = run(Double::default(), "t0ken");
    assert_eq!(get(&running, "/api/v1/status", "").0, 200);
    let closed = ["accounts", "blocked", "openapi.json", "nothing", "status/", "accounts/acme-ps/pause"];
    for path in closed {
        let (status, head, body) = get(&running, &format!("/api/v1/{path}"), "");
        assert_eq!(status, 401, "{path}");
        assert!(head.contains("www-authenticate: bearer"));
        assert!(error(&body).contains("admin.token"));
    }
    assert_eq!(get(&running, "/api/v1//status", "").0, 404);
    for header in ["Bearer wrong", "Bearer t0ken2", "Bearer t0ke", "Basic t0ken", "t0ken", "Bearer", "Bearer "] {
        assert_eq!(get(&running, "/api/v1/accounts", &format!("authorization: {header}\r\n")).0, 401, "{header}");
    }
    let twice = "authorization: Bearer t0ken\r\nauthorization: Bearer t0ken\r\n";
    assert_eq!(get(&running, "/api/v1/accounts", twice).0, 401);
    for path in ["accounts", "blocked", "openapi.json"] {
        assert_eq!(get(&running, &format!("/api/v1/{path}"), "authorization: Bearer t0ken\r\n").0, 200, "{path}");
    }
    assert_eq!(post(&running, "/api/v1/status", LOCAL, "").0, 401);
    assert_eq!(post(&running, PAUSE, LOCAL, WHY).0, 401);
    assert!(running.double.changes.lock().unwrap().is_empty());
    let with = format!("{LOCAL}authorization: bearer t0ken\r\n");
    assert_eq!(post(&running, PAUSE, &with, WHY).0, 200);
    assert_eq!(*running.double.changes.lock().unwrap(), ["pause acme-ps maintenance li Api"]);
}

#[test]
fn with_a_token_a_change_may_come_from_anywhere() {
    let running = run(Double::default(), "t0ken");
    let headers = "host: worker.example\r\norigin: https://console.example\r\nauthorization: Bearer t0ken\r\n";
    assert_eq!(post(&running, PAUSE, headers, WHY).0, 200);
}

#[test]
fn without_a_token_reads_are_open_and_changes_need_this_machine_and_no_foreign_page() {
    let running = run(Double::default(), "");
    for path in ["status", "accounts", "blocked", "openapi.json"] {
        assert_eq!(get(&running, &format!("/api/v1/{path}"), "").0, 200, "{path}");
    }
    let refused = [
        (403, "host: evil.example\r\ncontent-type: application/json\r\n"),
        (403, "host: 127.0.0.1.evil.example\r\ncontent-type: application/json\r\n"),
        (403, "host: localhost\r\nhost: evil.example\r\ncontent-type: application/json\r\n"),
        (403, "content-type: application/json\r\n"),
        (403, "host: localhost:9464\r\norigin: https://evil.example\r\ncontent-type: application/json\r\n"),
        (403, "host: localhost:9464\r\norigin: http://localhost:3000\r\ncontent-type: application/json\r\n"),
        (403, "host: localhost:9464\r\norigin: null\r\ncontent-type: application/json\r\n"),
        (415, "host: localhost:9464\r\ncontent-type: text/plain\r\n"),
        (415, "host: localhost:9464\r\ncontent-type: application/x-www-form-urlencoded\r\n"),
        (415, "host: localhost:9464\r\n"),
    ];
    for (want, headers) in refused {
        let (status, _, body) = post(&running, PAUSE, headers, WHY);
        // Hyper may refuse a request without a Host, or with two, before it gets here.
        assert!(status == want || status == 400, "{headers}: {status} {body}");
    }
    assert!(running.double.changes.lock().unwrap().is_empty());
    let allowed = [
        "host: localhost\r\ncontent-type: application/json\r\n",
        "host: 127.0.0.1:1\r\ncontent-type: application/json; charset=utf-8\r\n",
        "host: [::1]:9464\r\ncontent-type: APPLICATION/JSON\r\n",
        "host: localhost:9464\r\norigin: http://localhost:9464\r\ncontent-type: application/json\r\n",
    ];
    for headers in allowed {
        assert_eq!(post(&running, PAUSE, headers, WHY).0, 200, "{headers}");
    }
}

#[test]
fn a_peer_that_is_not_this_machine_may_not_change_anything() {
    let peer: SocketAddr = "10.1.2.3:4".parse().unwrap();
    let mapped: SocketAddr = "[::ffff:127.0.0.1]:4".parse().unwrap();
    for (peer, want) in [(peer, StatusCode::FORBIDDEN), (mapped, StatusCode::OK)] {
        let router = all_routes(parts(Arc::default()), &SecretString::default())
            .layer(axum::Extension(axum::extract::ConnectInfo(peer)));
        let request = axum::http::Request::post(PAUSE)
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(axum::body::Body::from(WHY))
            .unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let service = hyper_util::service::TowerToHyperService::new(router);
        let response = runtime.block_on(hyper::service::Service::call(&service, request)).unwrap();
        assert_eq!(response.status(), want);
    }
}

#[test]
fn neither_a_pause_nor_a_resume_needs_a_reason() {
    let running = run(Double::default(), "");
    for what in ["pause", "resume"] {
        for body in ["", "{}", r#"{"reason":" "}"#] {
            assert_eq!(
                post(&running, &format!("/api/v1/accounts/acme-ps/{what}"), LOCAL, body).0,
                200,
                "{what} {body}"
            );
        }
        let done = std::mem::take(&mut *running.double.changes.lock().unwrap());
        assert_eq!(done, [(); 3].map(|()| format!("{what} acme-ps no reason given api Api")));
    }
}

#[test]
fn errors_say_what_to_do() {
    let running = run(Double::default(), "");
    let (status, _, body) = post(&running, "/api/v1/accounts/acme-sp/pause", LOCAL, WHY);
    assert_eq!((status, error(&body).as_str()), (404, "no account `acme-sp` is configured; did you mean `acme-ps`?"));
    let (status, _, body) = post(&running, PAUSE, LOCAL, "{broken");
    assert_eq!(status, 400);
    assert!(error(&body).contains("the body must be"));
    assert_eq!(post(&running, PAUSE, LOCAL, r#"{"reason":"x","force":true}"#).0, 400);
    for list in ["[]", " [\"a reason\"]"] {
        let (status, _, body) = post(&running, PAUSE, LOCAL, list);
        assert_eq!(status, 400, "{list}: {body}");
        assert!(error(&body).contains("one JSON object"), "{list}: {body}");
    }
    let (status, _, body) = post(&running, "/api/v1/reconcile", LOCAL, r#"{"from":99999999999999999999}"#);
    assert_eq!(status, 400);
    assert!(error(&body).contains("RFC 3339") && !body.contains("untagged"), "{body}");
    for path in ["dead-letters", "dead-letters/groups", "dead-letters/export"] {
        let (status, _, body) = get(&running, &format!("/api/v1/{path}?reason=invalid&reason=rejected"), "");
        assert_eq!(status, 400, "{path}: {body}");
        assert!(error(&body).contains("twice") && body.contains(r#""field":"reason""#), "{path}: {body}");
    }
    let (status, _, body) = post(&running, "/api/v1/dead-letters/undiscard", LOCAL, r#"{"why":5}"#);
    assert_eq!(status, 400);
    assert!(body.contains(r#""field":"why""#), "{body}");
    let without = r#"{"why":"x"}"#;
    let request = format!(
        "PATCH /api/v1/replays/r-1 HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n{LOCAL}\r\n{without}",
        without.len()
    );
    let (status, _, body) = raw(running.server.address(), &request);
    assert_eq!(status, 400);
    assert!(body.contains(r#""field":"rate""#), "{body}");
    let (status, _, body) = get(&running, PAUSE, "");
    assert_eq!(status, 405);
    assert!(error(&body).contains("openapi"));
    assert_eq!(get(&running, "/api/v1/nothing", "").0, 404);
    assert_eq!(get(&running, "/nothing", "").0, 404);
    let away = run(Double { store_away: true, ..Double::default() }, "");
    let (status, _, body) = post(&away, PAUSE, LOCAL, WHY);
    assert_eq!(status, 503);
    assert!(!body.contains("secret"), "{body}");
}

#[test]
fn what_an_operator_writes_reaches_the_audit_trail_masked_and_on_one_line() {
    let running = run(Double::default(), "");
    let body = r#"{"reason":"asked by 13812345678\nforged","who":"li"}"#;
    assert_eq!(post(&running, PAUSE, LOCAL, body).0, 200);
    assert_eq!(*running.double.changes.lock().unwrap(), ["pause acme-ps asked by 138****5678 forged li Api"]);
}

#[test]
fn a_body_beyond_the_limit_is_refused() {
    let running = run(Double::default(), "");
    let body = format!(r#"{{"reason":"{}"}}"#, "x".repeat(20_000));
    assert_eq!(post(&running, PAUSE, LOCAL, &body).0, 413);
}

#[test]
fn the_second_listener_has_no_actions() {
    let router = health_routes(Arc::new(Double::default()));
    let running =
        Running { server: Server::start("127.0.0.1:0".parse().unwrap(), router).unwrap(), double: Arc::default() };
    for path in ["/live", "/ready", "/metrics"] {
        assert_eq!(get(&running, path, "").0, 200);
    }
    assert_eq!(get(&running, "/api/v1/status", "").0, 404);
    assert_eq!(post(&running, PAUSE, LOCAL, WHY).0, 404);
}

#[test]
fn a_crowd_of_slow_clients_does_not_keep_others_out_for_long() {
    let running = run(Double::default(), "");
    let address = running.server.address();
    let slow: Vec<TcpStream> = (0..80)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"GET /live HT").unwrap();
            stream
        })
        .collect();
    assert_eq!(get(&running, "/live", "").0, 200);
    drop(slow);
}

#[test]
fn an_address_in_use_is_an_error_at_start() {
    let running = run(Double::default(), "");
    assert!(Server::start(running.server.address(), Router::new()).is_err());
}

#[test]
fn the_console_is_served_without_a_token_and_asked_for_again_each_time() {
    let running = run(Double::default(), "t0ken");
    let (status, head, body) = get(&running, "/", "");
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/html; charset=utf-8") && body.starts_with("<!doctype html>"));
    assert!(head.contains("cache-control: no-cache") && head.contains("x-content-type-options: nosniff"), "{head}");
    assert!(head.contains("content-security-policy: default-src 'none'; script-src 'self' 'sha256-"), "{head}");
    let (status, head, _) = get(&running, "/app.js", "");
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/javascript"), "{head}");
    assert_eq!(get(&running, "/lib/", "").0, 404);
    assert_eq!(get(&running, "/../Cargo.toml", "").0, 404);
    assert_eq!(post(&running, "/", LOCAL, "").0, 405);
}

#[test]
fn the_second_listener_has_no_console() {
    let router = health_routes(Arc::new(Double::default()));
    let running =
        Running { server: Server::start("127.0.0.1:0".parse().unwrap(), router).unwrap(), double: Arc::default() };
    assert_eq!(get(&running, "/", "").0, 404);
    assert_eq!(get(&running, "/app.js", "").0, 404);
}

/// The `etag` of an answer, in its own letters.
fn tag(running: &Running, path: &str) -> String {
    let mut stream = TcpStream::connect(running.server.address()).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.lines().find_map(|line| line.strip_prefix("etag: ")).map(str::to_owned).unwrap()
}

#[test]
fn who_has_an_answer_already_gets_304_without_a_body() {
    let running = run(Double::default(), "");
    for path in ["/", "/app.js", "/vendor/preact.mjs", "/api/v1/accounts", "/api/v1/openapi.json"] {
        let tag = tag(&running, path);
        for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}")] {
            let (status, head, body) = get(&running, path, &format!("if-none-match: {known}\r\n"));
            assert_eq!((status, body.as_str()), (304, ""), "{path}");
            assert!(head.contains("etag: "), "{head}");
        }
        let (status, _, body) = get(&running, path, "if-none-match: \"other\"\r\n");
        assert!(status == 200 && !body.is_empty(), "{path}");
    }
    // An error has no tag, and a change is never answered so.
    assert!(!get(&running, "/api/v1/nothing", "").1.contains("etag"));
    assert!(!post(&running, PAUSE, LOCAL, WHY).1.contains("etag"));
}

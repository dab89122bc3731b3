//! Tests over real sockets: the answers that a client sees, and the entries of the ledger.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::ledger::{LedgerEntry, LedgerStatus};
use super::*;

impl Sandbox {
    fn status(&self) -> LedgerStatus {
        self.state.ledger.status()
    }
}

const UID: &str = "0123456789abcdef0123456789abcdef";

async fn sandbox() -> Sandbox {
    Sandbox::start(([127, 0, 0, 1], 0).into(), SandboxAccount::examples()).await.unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A good upload to acme-ps.
fn upload(trans_id: &str) -> Vec<u8> {
    let now = state::State::now_ms() / 1000;
    let body = format!(
        "{{\"data\":{{\"request_time\":{now},\"data_industry\":\"ocpc_ps_convert\",\"data_detail\":\
         {{\"qhclickid\":\"SATss51150532005\",\"trans_id\":\"{trans_id}\",\"event\":\"SUBMIT\",\"event_time\":{now}}}}}}}"
    );
    let sign = hex(&Md5::new().chain_update("0123456789abcdef0123456789abcdef").chain_update(&body).finalize());
    format!(
        "POST /uploadWebConvert HTTP/1.1\r\nHost: sandbox\r\nApp-Key: abcdefghij0123456789\r\nApp-Sign: {sign}\r\n\
         Content-Type: application/json;charset=utf-8\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A good install of acme-baizhu.
fn install() -> Vec<u8> {
    let body = format!(
        "--B\r\nContent-Disposition: form-data; name=\"product\"\r\n\r\nacc\r\n\
         --B\r\nContent-Disposition: form-data; name=\"uid\"\r\n\r\n{UID}\r\n--B--\r\n"
    );
    let length = body.len();
    format!(
        "POST /data/install HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Sends these bytes and returns what the client reads: until one answer is complete, the connection ends, an error,
/// `limit` bytes, or half a second of silence.
async fn exchange(sandbox: &Sandbox, bytes: &[u8], limit: usize) -> (String, &'static str) {
    let mut stream = TcpStream::connect(sandbox.address()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut seen = Vec::new();
    let mut piece = [0; 65536];
    let end = loop {
        if seen.len() >= limit {
            break "more";
        }
        if is_whole(&seen) {
            break "whole";
        }
        match tokio::time::timeout(Duration::from_secs(2), stream.read(&mut piece)).await {
            Err(_) => break "silence",
            Ok(Ok(0)) => break "end",
            Ok(Ok(n)) => seen.extend_from_slice(&piece[..n]),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => break "reset",
            Ok(Err(error)) => panic!("{error}"),
        }
    };
    (String::from_utf8_lossy(&seen).into_owned(), end)
}

fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&answer[..end]);
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse::<usize>().ok());
    length.is_some_and(|length| answer.len() >= end + 4 + length)
}

async fn call(sandbox: &Sandbox, method: &str, path: &str, body: &str) -> (u16, Value) {
    let length = body.len();
    let request = format!("{method} {path} HTTP/1.0\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}");
    let (answer, _) = exchange(sandbox, request.as_bytes(), usize::MAX).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap())
}

#[tokio::test]
async fn a_good_request_is_answered_as_the_platform_does_and_kept_byte_for_byte() {
    let sandbox = sandbox().await;
    let sent = upload("t-1");
    let (answer, end) = exchange(&sandbox, &sent, usize::MAX).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n{\"errno\":0,\"error\":\"Success\"}"), "{answer}");
    assert_eq!(end, "whole");
    assert!(!answer.contains("Connection: close"), "{answer}");
    let (_, ledger) = call(&sandbox, "GET", "/_ledger", "").await;
    let entry = &ledger[0];
    assert_eq!(entry["account"], "acme-ps");
    assert_eq!((&entry["trans_id"], &entry["event"]), (&json!("t-1"), &json!("SUBMIT")));
    assert_eq!((&entry["accepted"], &entry["problem"]), (&json!(true), &Value::Null));
    assert!(state::State::now_ms() - entry["at_ms"].as_u64().unwrap() < 60_000);
    assert_eq!(entry["headers"]["App-Key"], "abcdefghij0123456789");
    assert_eq!(entry["headers"]["Content-Type"], "application/json;charset=utf-8");
    let text = String::from_utf8(sent).unwrap();
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    assert_eq!(STANDARD.decode(entry["body_base64"].as_str().unwrap()).unwrap(), body.as_bytes());
    assert_eq!(entry["headers"].as_object().unwrap().len(), 5);
    sandbox.shutdown().await;
}

#[tokio::test]
async fn baizhu_is_answered_and_has_uid_and_order_number_instead_of_a_trans_id() {
    let sandbox = sandbox().await;
    let (answer, _) = exchange(&sandbox, &install(), usize::MAX).await;
    assert!(answer.ends_with("\r\n\r\n{\"code\":\"success\"}"), "{answer}");
    let (_, ledger) = call(&sandbox, "GET", "/_ledger", "").await;
    assert_eq!(ledger[0]["account"], "acme-baizhu");
    assert_eq!(ledger[0]["event"], "install");
    assert_eq!(ledger[0]["uid"], UID);
    assert!(ledger[0]["trans_id"].is_null() && ledger[0]["order_number"].is_null());
    assert_eq!(ledger[0]["accepted"], true);
}

#[tokio::test]
async fn every_fault_is_seen_by_the_client_and_told_by_the_ledger() {
    let sandbox = sandbox().await;
    let garbage = String::from_utf8_lossy(b"\x00\xff\xfe<<garbage>>\xc3\x28{]").into_owned();
    // Each row: the fault, the bytes sent, how the answer begins, what it contains, how it ends, and whether the
    // request was accepted.
    let ps = upload("t-1");
    let cases = [
        ("acme-ps", json!({"status": 500}), &ps, "HTTP/1.1 500 ", "fault: status 500", "whole", false),
        ("acme-ps", json!({"status": 204}), &ps, "HTTP/1.1 204 No Content\r\n\r\n", "", "silence", false),
        (
            "acme-ps",
            json!({"status": 429, "retry_after": 7}),
            &ps,
            "HTTP/1.1 429 ",
            "Retry-After: 7\r\n",
            "whole",
            false,
        ),
        ("acme-ps", json!({"retry_after": "soon"}), &ps, "HTTP/1.1 429 ", "Retry-After: soon\r\n", "whole", false),
        ("acme-ps", json!({"body": 2}), &ps, "HTTP/1.1 200 ", "app_sign] is unverified\"}", "whole", false),
        ("acme-ps", json!({"body": "1"}), &ps, "HTTP/1.1 200 ", "{\"errno\":1,", "whole", false),
        ("acme-ps", json!({"body": 77}), &ps, "HTTP/1.1 200 ", "{\"errno\":77,", "whole", false),
        ("acme-ps", json!({"body": "<html>"}), &ps, "HTTP/1.1 200 ", "\r\n\r\n<html>", "whole", false),
        ("acme-ps", json!({"body": {"a": 1}, "status": 503}), &ps, "HTTP/1.1 503 ", "{\"a\":1}", "whole", false),
        ("acme-ps", json!({"reset": "before"}), &ps, "", "", "reset", false),
        ("acme-ps", json!({"reset": "during"}), &ps, "HTTP/1.1 200 ", "{\"errno\":0,", "reset", true),
        ("acme-ps", json!({"reset": "after"}), &ps, "", "", "reset", true),
        ("acme-ps", json!({"hang": true}), &ps, "", "", "silence", true),
        ("acme-ps", json!({"garbage": true}), &ps, "HTTP/1.1 200 ", &garbage, "whole", true),
        ("acme-ps", json!({"endless": true}), &ps, "HTTP/1.1 200 ", "aaaaaaaa", "more", true),
        ("acme-ps", json!({"expired_token": true}), &ps, "HTTP/1.1 200 ", "Success", "whole", true),
        ("acme-ps", json!({"share": 0.0, "status": 500}), &ps, "HTTP/1.1 200 ", "Success", "whole", true),
        ("acme-zs", json!({"status": 500}), &ps, "HTTP/1.1 200 ", "Success", "whole", true),
        ("acme-baizhu", json!({"body": "full"}), &install(), "HTTP/1.1 200 ", "{\"code\":\"full\"}", "whole", false),
        ("acme-baizhu", json!({"body": 3}), &install(), "HTTP/1.1 200 ", "{\"code\":\"3\"}", "whole", false),
        ("acme-baizhu", json!({"body": "two words"}), &install(), "HTTP/1.1 200 ", "\r\n\r\ntwo words", "whole", false),
        ("acme-baizhu", json!({"reset": "after"}), &install(), "", "", "reset", true),
    ];
    for (account, fault, sent, begins, holds, ends, taken) in cases {
        sandbox.state.ledger.clear();
        sandbox.set_faults(&json!({ account: fault })).unwrap();
        let (answer, end) = exchange(&sandbox, sent, 300_000).await;
        assert!(answer.starts_with(begins), "{fault}: {answer}");
        assert!(answer.contains(holds), "{fault}: {answer}");
        assert_eq!(begins.is_empty(), answer.is_empty(), "{fault}: {answer}");
        assert_eq!(end, ends, "{fault}");
        let ledger = sandbox.ledger();
        assert_eq!((ledger.len(), ledger[0].accepted), (1, taken), "{fault}");
        let problem = ledger[0].problem.as_deref();
        assert_eq!(problem.is_some_and(|problem| problem.starts_with("fault: ")), !taken, "{fault}: {problem:?}");
    }
    sandbox.shutdown().await;
}

#[tokio::test]
async fn half_an_answer_is_less_than_the_whole() {
    let sandbox = sandbox().await;
    sandbox.set_faults(&json!({"acme-ps": {"reset": "during"}})).unwrap();
    let (answer, _) = exchange(&sandbox, &upload("t-1"), usize::MAX).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("Content-Length: 29"), "{head}");
    assert_eq!(body, "{\"errno\":0,\"er");
}

#[tokio::test]
async fn a_latency_delays_the_answer_but_not_the_taking() {
    let sandbox = sandbox().await;
    sandbox.set_faults(&json!({"acme-ps": {"latency_ms": 300}})).unwrap();
    let start = Instant::now();
    let mut stream = TcpStream::connect(sandbox.address()).await.unwrap();
    stream.write_all(&upload("t-1")).await.unwrap();
    while sandbox.ledger().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(sandbox.ledger()[0].accepted);
    assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_bad_request_under_a_fault_keeps_its_own_problem() {
    let sandbox = sandbox().await;
    sandbox.set_faults(&json!({"acme-ps": {"hang": true}, "unknown": {"status": 503}})).unwrap();
    let bad = String::from_utf8(upload("t-1")).unwrap().replace("SUBMIT", "SUMBIT");
    let (answer, end) = exchange(&sandbox, bad.as_bytes(), usize::MAX).await;
    assert_eq!((answer.as_str(), end), ("", "silence"));
    assert!(!sandbox.ledger()[0].accepted);
    assert_eq!(sandbox.ledger()[0].problem.as_deref(), Some("App-Sign: not the signature of these bytes"));
    // No account has this key, so the faults of `unknown` hit the request.
    let nobody = String::from_utf8(upload("t-1")).unwrap().replace("abcdefghij", "nobodyatal");
    let (answer, _) = exchange(&sandbox, nobody.as_bytes(), usize::MAX).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert_eq!(&*sandbox.ledger()[1].account, "unknown");
}

#[tokio::test]
async fn a_share_hits_an_event_on_each_attempt_or_on_none() {
    let sandbox = sandbox().await;
    sandbox.set_faults(&json!({"acme-ps": {"status": 500, "share": 0.5}})).unwrap();
    for attempt in 0..3 {
        let mut stream = TcpStream::connect(sandbox.address()).await.unwrap();
        for n in 0..100 {
            stream.write_all(&upload(&format!("t-{n}"))).await.unwrap();
            while sandbox.ledger().len() < attempt * 100 + n + 1 {
                tokio::task::yield_now().await;
            }
        }
    }
    let accepted: Vec<bool> = sandbox.ledger().iter().map(|entry| entry.accepted).collect();
    assert_eq!(accepted[..100], accepted[100..200]);
    assert_eq!(accepted[..100], accepted[200..]);
    let hit = accepted[..100].iter().filter(|accepted| !**accepted).count();
    assert!((25..75).contains(&hit), "{hit}");
    let totals = sandbox.status().accounts["acme-ps"];
    assert_eq!(
        (totals.received, totals.accepted, totals.repeats),
        (300, 3 * (100 - hit as u64), 2 * (100 - hit as u64))
    );
}

#[tokio::test]
async fn a_repeat_is_a_success_and_noted() {
    let sandbox = sandbox().await;
    for _ in 0..2 {
        let (answer, _) = exchange(&sandbox, &upload("t-1"), usize::MAX).await;
        assert!(answer.contains("Success"), "{answer}");
    }
    let ledger = sandbox.ledger();
    assert_eq!([ledger[0].repeat, ledger[1].repeat], [false, true]);
    assert!(ledger[1].accepted);
}

#[tokio::test]
async fn unknown_paths_are_not_found_and_written_down() {
    let sandbox = sandbox().await;
    for target in ["/uploadWebConvert/", "/uploadWebConvert?a=1", "/data/back?x=1", "/data", "/"] {
        let request = format!("POST {target} HTTP/1.1\r\nApp-Key: abcdefghij0123456789\r\nContent-Length: 0\r\n\r\n");
        let (answer, _) = exchange(&sandbox, request.as_bytes(), usize::MAX).await;
        assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{target}: {answer}");
    }
    let ledger = sandbox.ledger();
    assert_eq!(ledger.len(), 5);
    assert!(ledger.iter().all(|entry| !entry.accepted && &*entry.account == "acme-ps"));
}

#[tokio::test]
async fn requests_on_one_connection_are_answered_in_order() {
    let sandbox = sandbox().await;
    let mut stream = TcpStream::connect(sandbox.address()).await.unwrap();
    let last = String::from_utf8(upload("t-2")).unwrap().replace("Host: ", "Connection: close\r\nHost: ");
    stream.write_all(&[upload("t-1"), install(), last.into_bytes()].concat()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let first = answer.find("errno").unwrap();
    let second = answer.find("code").unwrap();
    assert!(first < second && second < answer.rfind("errno").unwrap(), "{answer}");
    assert_eq!(sandbox.ledger().len(), 3);
}

/// A request has an unusual header block and body, and another request follows it on the connection.
#[tokio::test]
async fn a_request_is_kept_byte_for_byte() {
    let sandbox = sandbox().await;
    let head = b"POST /a?b=c:d HTTP/1.1\r\nHost: x:1\r\nApp-KEY:  k \r\nX: \xff\r\nContent-Length: 3\r\n\r\n";
    exchange(&sandbox, &[&head[..], b"\x00\xff\n"].concat(), usize::MAX).await;
    let entry = sandbox.ledger()[0].clone();
    assert_eq!((&entry.head[..], &entry.body[..]), (&head[..], &b"\x00\xff\n"[..]));
    assert_eq!((entry.method.as_str(), entry.target.as_str()), ("POST", "/a?b=c:d"));
    let names: Vec<_> = entry.headers().into_keys().collect();
    assert_eq!(names, ["App-KEY", "Content-Length", "Host", "X"]);
}

#[tokio::test]
async fn two_requests_in_one_packet_are_two_requests() {
    let sandbox = sandbox().await;
    let (first, second) = (&b"PUT /1 HTTP/1.1\r\nContent-Length: 1\r\n\r\n"[..], &b"GET /2 HTTP/1.0\r\n\r\n"[..]);
    let mut stream = TcpStream::connect(sandbox.address()).await.unwrap();
    stream.write_all(&[first, b"a", second].concat()).await.unwrap();
    stream.read_to_end(&mut Vec::new()).await.unwrap();
    let ledger = sandbox.ledger();
    assert_eq!((&ledger[0].head[..], &ledger[0].body[..]), (first, &b"a"[..]));
    assert_eq!((&ledger[1].head[..], ledger[1].target.as_str()), (second, "/2"));
}

#[tokio::test]
async fn chunks_are_put_together_and_end_the_connection() {
    let sandbox = sandbox().await;
    let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n";
    let (answer, _) = exchange(&sandbox, chunked.as_bytes(), usize::MAX).await;
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("Connection: close"), "{answer}");
    assert_eq!(sandbox.ledger()[0].body, b"abcde"[..]);
    assert!(sandbox.ledger()[0].head.ends_with(b"chunked\r\n\r\n"));
}

#[tokio::test]
async fn what_cannot_be_framed_safely_is_refused() {
    let sandbox = sandbox().await;
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(16 * 1024));
    for (request, status) in [
        ("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", "400"),
        ("POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\na", "400"),
        ("POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na", "400"),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\na", "400"),
        ("POST / HTTP/1.1\r\nContent-Length: 1048577\r\n\r\n", "413"),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", "400"),
        ("no request at all\r\n\r\n", "400"),
        (&long, "431"),
    ] {
        let (answer, _) = exchange(&sandbox, request.as_bytes(), usize::MAX).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
    }
    let much = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n100001\r\n{}", "x".repeat(0x10_0001));
    let (answer, _) = exchange(&sandbox, much.as_bytes(), usize::MAX).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    exchange(&sandbox, b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\na", usize::MAX).await;
    assert!(sandbox.ledger().is_empty());
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_told_to_go_on() {
    let sandbox = sandbox().await;
    let mut stream = TcpStream::connect(sandbox.address()).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n").await.unwrap();
    let mut answer = [0; 25];
    stream.read_exact(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 100"));
    stream.write_all(b"ok").await.unwrap();
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(sandbox.ledger()[0].body, b"ok"[..]);
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_not_kept() {
    let sandbox = sandbox().await;
    let head = b"POST /uploadWebConvert HTTP/1.1\r\nContent-Length: 1048577\r\n\r\n";
    let (answer, _) = exchange(&sandbox, &[&head[..], &vec![b'x'; 100_000]].concat(), usize::MAX).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("Connection: close"), "{answer}");
    assert!(sandbox.ledger().is_empty());
}

#[tokio::test]
async fn faults_are_set_all_at_once_or_not_at_all() {
    let sandbox = sandbox().await;
    let (status, _) = call(&sandbox, "PUT", "/_faults", r#"{"acme-ps": {"status": 429, "retry_after": 7}}"#).await;
    assert_eq!(status, 200);
    let (status, answer) = call(&sandbox, "PUT", "/_faults", r#"{"acme-zs": {}, "acme-pss": {"stats": 1}}"#).await;
    assert_eq!(status, 400);
    let text = answer["error"].as_str().unwrap();
    assert!(text.contains("did you mean `acme-ps`") && text.contains("did you mean `status`"), "{text}");
    assert_eq!(call(&sandbox, "PUT", "/_faults", "{").await.0, 400);
    let (_, faults) = call(&sandbox, "GET", "/_faults", "").await;
    assert_eq!(faults, json!({"acme-ps": {"status": 429, "retry_after": 7}}));
    assert_eq!(call(&sandbox, "PUT", "/_faults", "{}").await, (200, json!({})));
    assert_eq!(call(&sandbox, "POST", "/_faults", "{}").await.0, 405);
    assert_eq!(call(&sandbox, "GET", "/_fault", "").await.0, 404);
}

#[tokio::test]
async fn the_ledger_is_cleared_and_the_status_sums_it_up() {
    let sandbox =
        Sandbox::start_with_capacity(([127, 0, 0, 1], 0).into(), SandboxAccount::examples(), 2).await.unwrap();
    for id in ["1", "2", "3"] {
        exchange(&sandbox, &upload(id), usize::MAX).await;
    }
    let (_, status) = call(&sandbox, "GET", "/_status", "").await;
    assert_eq!(status["ledger"]["dropped"], 1);
    assert_eq!(status["ledger"]["accounts"]["acme-ps"], json!({"received": 3, "accepted": 3, "repeats": 0}));
    assert_eq!(status["accounts"][0], json!({"name": "acme-ps", "platform": "qihoo360"}));
    assert_eq!(call(&sandbox, "DELETE", "/_ledger", "").await, (200, json!({"deleted": 2})));
    assert_eq!(call(&sandbox, "GET", "/_ledger", "").await, (200, json!([])));
}

#[tokio::test]
async fn a_long_ledger_arrives_whole_in_chunks() {
    let sandbox = sandbox().await;
    for n in 0..2_000 {
        sandbox.state.ledger.record(LedgerEntry { account: format!("a{n}").into(), ..LedgerEntry::default() });
    }
    let request = b"GET /_ledger HTTP/1.1\r\nConnection: close\r\n\r\n";
    let (answer, end) = exchange(&sandbox, request, usize::MAX).await;
    assert_eq!(end, "end");
    let (head, mut rest) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("Transfer-Encoding: chunked"), "{head}");
    let mut body = String::new();
    let mut chunks = 0;
    loop {
        let (size, more) = rest.split_once("\r\n").unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            break;
        }
        body.push_str(&more[..size]);
        rest = &more[size + 2..];
        chunks += 1;
    }
    let ledger: Vec<Value> = serde_json::from_str(&body).unwrap();
    assert_eq!((ledger.len(), &ledger[1_999]["account"]), (2_000, &json!("a1999")));
    assert!(chunks > 1, "{chunks}");
}

#[tokio::test]
async fn accounts_that_contradict_each_other_are_refused_with_every_problem() {
    let mut accounts = SandboxAccount::examples();
    accounts.push(accounts[0].clone());
    accounts.push(SandboxAccount::new("unknown", "qihoo360", json!({}), &[("k", "")]));
    let error = Sandbox::start(([127, 0, 0, 1], 0).into(), accounts).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    let text = error.to_string();
    for part in ["acme-ps is listed twice", "`unknown` is reserved", "unknown has an empty App-Key or secret"] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn a_shutdown_ends_hanging_clients_and_frees_the_port() {
    let sandbox = sandbox().await;
    let address = sandbox.address();
    sandbox.set_faults(&json!({"acme-ps": {"hang": true}})).unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&upload("t-1")).await.unwrap();
    while sandbox.ledger().is_empty() {
        tokio::task::yield_now().await;
    }
    tokio::time::timeout(Duration::from_secs(60), sandbox.shutdown()).await.unwrap();
    assert!(matches!(stream.read(&mut [0; 16]).await, Ok(0) | Err(_)));
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_sandbox_that_is_dropped_stops() {
    let sandbox = sandbox().await;
    let address = sandbox.address();
    drop(sandbox);
    let gone = async { while TcpStream::connect(address).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(60), gone).await.unwrap();
}

#[test]
fn no_secret_is_printed() {
    let text = format!("{:?}", SandboxAccount::examples());
    assert!(text.contains("abcdefghij0123456789") && !text.contains("0123456789abcdef"), "{text}");
}

#[tokio::test]
async fn a_request_of_several_events_has_an_entry_for_each_and_a_fault_that_hits_one_hits_them_all() {
    let sandbox = sandbox().await;
    let entry = |id: &str| {
        json!({"logidUrl": "https://shop.example/p?bd_vid=7", "newType": 3, "convertTime": 1_736_899_200,
            "outerEventId": id, "outerEventType": "custom_dedup"})
    };
    let body = json!({"token": "bd-synthetic", "conversionTypes": [entry("t-1"), entry("t-2")]}).to_string();
    let request = format!(
        "POST /ocpcapi/api/uploadConvertData HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes();
    let (answer, _) = exchange(&sandbox, &request, usize::MAX).await;
    assert!(answer.contains("\"status\":0"), "{answer}");
    let entries = |ledger: &Value| -> Vec<(String, bool, bool)> {
        let list = ledger.as_array().unwrap().iter();
        let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        list.map(|e| (text(e, "trans_id"), e["accepted"] == true, e["repeat"] == true)).collect()
    };
    let (_, ledger) = call(&sandbox, "GET", "/_ledger", "").await;
    assert_eq!(entries(&ledger), [("t-1".to_owned(), true, false), ("t-2".to_owned(), true, false)]);
    assert_eq!(sandbox.accepted(), 2);
    call(&sandbox, "PUT", "/_faults", &json!({"acme-baidu": {"status": 500}}).to_string()).await;
    let (answer, _) = exchange(&sandbox, &request, usize::MAX).await;
    assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
    assert_eq!(sandbox.accepted(), 2);
}

#[tokio::test]
async fn a_token_that_was_issued_while_its_fault_stands_is_good_until_the_fault_begins_anew() {
    let keys = json!({"account_id": 1, "user_action_set_id": 2, "token":
        {"access": "at-1", "refresh": "rt-1", "client_id": "c", "client_secret": "s"}});
    let accounts = vec![SandboxAccount::new("a", "tencent_ads", keys, &[])];
    let sandbox = Sandbox::start(([127, 0, 0, 1], 0).into(), accounts).await.unwrap();
    let refresh = |token: &str| {
        format!("/oauth/token?client_id=c&client_secret=s&grant_type=refresh_token&refresh_token={token}")
    };
    let (_, issued) = call(&sandbox, "GET", &refresh("rt-1"), "").await;
    let access = issued["data"]["access_token"].as_str().unwrap().to_owned();
    let send = async |access: &str| -> Value {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let nonce = "0123456789abcdef0123456789abcdef";
        let action = json!({"action_time": now, "action_type": "REGISTER", "trace": {"click_id": "c"},
            "outer_action_id": "t-1"});
        let body = json!({"account_id": 1, "user_action_set_id": 2, "actions": [action]}).to_string();
        let request = format!(
            "POST /v3.0/user_actions/add?access_token={access}&timestamp={now}&nonce={nonce} HTTP/1.1\r\nHost: x\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let (answer, _) = exchange(&sandbox, request.as_bytes(), usize::MAX).await;
        let answer: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        answer["code"].clone()
    };
    assert_eq!(send(&access).await, 0);
    let fault = json!({"a": {"expired_token": true}});
    sandbox.set_faults(&fault).unwrap();
    assert_eq!(send(&access).await, 11002);
    let (_, issued) = call(&sandbox, "GET", &refresh(issued["data"]["refresh_token"].as_str().unwrap()), "").await;
    let access = issued["data"]["access_token"].as_str().unwrap().to_owned();
    sandbox.set_faults(&fault).unwrap();
    assert_eq!(send(&access).await, 0, "the fault stood already");
    sandbox.set_faults(&json!({})).unwrap();
    sandbox.set_faults(&fault).unwrap();
    assert_eq!(send(&access).await, 11002);
}

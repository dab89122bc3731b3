//! Connections: one request after the other, judged, written down, answered or maltreated.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::baizhu::{self, Endpoint};
use super::control;
use super::faults::{Fault, Reset};
use super::http::{Header, ReadError, Request, Response, read_request};
use super::judgement::{Judgement, Refusal};
use super::ledger::LedgerEntry;
use super::qihoo360;
use super::state::State;

/// What a `garbage` answer says: no JSON, no UTF-8.
const GARBAGE: &[u8] = b"\x00\xff\xfe<<garbage>>\xc3\x28{]";
/// Between two pieces of an `endless` answer: enough to fill any reader's limit at once, not enough to fill a core.
const ENDLESS_PAUSE: Duration = Duration::from_millis(1);
/// How long the first half of an answer has to leave before the reset, which would take it along.
const HALF_SENT: Duration = Duration::from_millis(10);
/// How long a refused client may go on sending before it is cut off.
const FAREWELL: Duration = Duration::from_millis(500);

/// Serves connections until the sandbox stops.
pub(super) async fn accept(listener: TcpListener, state: Arc<State>, mut stop: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, state.clone(), stop.clone()));
                }
                // Out of files, most likely: what is open may close meanwhile.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
            _ = stopped(&mut stop) => break,
        }
    }
    connections.shutdown().await;
}

/// Resolves when the sandbox stops, or is gone.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, and the sandbox with it.
    let _ = stop.wait_for(|&stop| stop).await;
}

async fn serve(mut stream: TcpStream, state: Arc<State>, mut stop: watch::Receiver<bool>) {
    // Without it the second small answer on a connection waits for the client's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let mut buffer = BytesMut::with_capacity(8192);
    loop {
        let request = tokio::select! {
            request = read_request(&mut stream, &mut buffer) => request,
            () = stopped(&mut stop) => return,
        };
        let request = match request {
            Ok(request) => request,
            Err(ReadError::Gone) => return,
            Err(ReadError::Refused(status, text)) => return refuse(stream, status, text).await,
        };
        let keep = if request.target.starts_with("/_") {
            control::answer(&mut stream, &request, &state).await
        } else {
            let plan = plan(&request, &state);
            tokio::select! {
                keep = carry_out(&mut stream, plan, request.keep_alive) => keep,
                () = stopped(&mut stop) => return,
            }
        };
        if !keep {
            return;
        }
    }
}

/// Answers something that is no request, and waits a moment: a close on unread bytes would take the answer along.
async fn refuse(mut stream: TcpStream, status: u16, text: &'static str) {
    let answer = Response::text(status, format!("{text}\n")).encode(false);
    if stream.write_all(&answer).await.is_ok() && stream.shutdown().await.is_ok() {
        let drain = async { while matches!(stream.read(&mut [0; 4096]).await, Ok(1..)) {} };
        let _ = tokio::time::timeout(FAREWELL, drain).await;
    }
}

/// What is done to a client.
struct Plan {
    latency: Duration,
    form: Form,
}

enum Form {
    Answer(Response),
    Endless(Response),
    Hang,
    /// A reset, after half of this answer if there is one.
    Reset(Option<Response>),
}

/// Judges a request, applies the account's fault and writes both into the ledger.
fn plan(request: &Request, state: &State) -> Plan {
    let now_ms = State::now_ms();
    let endpoint = Endpoint::of(request.path());
    // A query would be a parameter that no platform documents.
    let judgement = if request.target == qihoo360::PATH {
        qihoo360::judge(request, &state.directory, i64::try_from(now_ms / 1000).unwrap_or(i64::MAX))
    } else if let (Some(endpoint), true) = (endpoint, request.path() == request.target) {
        baizhu::judge(request, endpoint, &state.directory)
    } else {
        lost(request, state)
    };
    let name = state.name(judgement.account);
    let faults = state.faults();
    let id = judgement.id.as_deref().map_or(&request.body[..], str::as_bytes);
    let fault = faults.of(&name).filter(|fault| fault.hits(&name, id));
    let (usual, problem) = match judgement.verdict {
        Ok(response) if fault.is_none_or(Fault::takes) => (response, None),
        Ok(response) => (response, fault.map(|fault| format!("fault: {}", fault.describe()))),
        Err(Refusal { response, problem }) => (response, Some(problem)),
    };
    // Written before the first byte of the answer: a client that has one finds its request in the ledger.
    state.ledger.record(LedgerEntry {
        account: name,
        trans_id: judgement.trans_id,
        event: judgement.event,
        accepted: problem.is_none(),
        problem,
        at_ms: now_ms,
        baizhu: judgement.baizhu,
        repeat: false,
        fault: fault.map(Fault::describe).filter(|text| !text.is_empty()),
        method: request.method.clone(),
        target: request.target.clone(),
        head: request.head.clone(),
        body: request.body.clone(),
    });
    let Some(fault) = fault else { return Plan { latency: Duration::ZERO, form: Form::Answer(usual) } };
    let latency = Duration::from_millis(fault.latency_ms.unwrap_or(0));
    Plan { latency, form: form(fault, usual, endpoint.is_some()) }
}

/// A path that no platform has; the App-Key may still tell whose it was.
fn lost(request: &Request, state: &State) -> Judgement {
    let key = match request.header("app-key") {
        Header::Once(key) => std::str::from_utf8(key).unwrap_or_default(),
        Header::Missing | Header::Repeated => "",
    };
    Judgement {
        account: state.directory.holders(key).first().map(|(index, _)| *index),
        trans_id: None,
        event: None,
        baizhu: None,
        id: None,
        verdict: Err(Refusal { response: Response::text(404, "not found\n"), problem: "path: unknown".to_owned() }),
    }
}

fn form(fault: &Fault, usual: Response, baizhu: bool) -> Form {
    let status = fault.status.unwrap_or(200);
    match fault.reset {
        Some(Reset::Before | Reset::After) => return Form::Reset(None),
        Some(Reset::During) => return Form::Reset(Some(usual)),
        None => {}
    }
    if fault.hang {
        return Form::Hang;
    }
    if fault.endless {
        return Form::Endless(Response::json(status, Bytes::new()));
    }
    let mut answer = if fault.garbage {
        Response::json(status, Bytes::from_static(GARBAGE))
    } else if let Some(body) = &fault.body {
        Response::json(status, body_text(body, baizhu))
    } else if fault.takes() {
        usual
    } else {
        let status = fault.status.unwrap_or(429);
        Response::text(status, format!("fault: status {status}\n"))
    };
    answer.retry_after = fault.retry_after.as_ref().map(|after| match after {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    Form::Answer(answer)
}

/// The text of a `body` fault: a number, or a word made for a code, in the form of the platform; all else as it is.
fn body_text(body: &Value, baizhu: bool) -> String {
    match body {
        Value::String(text) if baizhu => {
            let word = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
            if word { baizhu::answer(text) } else { text.clone() }
        }
        Value::String(text) => text.parse().map_or_else(|_| text.clone(), qihoo360::answer),
        Value::Number(code) if baizhu => baizhu::answer(&code.to_string()),
        Value::Number(code) => code.as_i64().map_or_else(|| code.to_string(), qihoo360::answer),
        other => other.to_string(),
    }
}

/// Does it; whether the connection goes on.
async fn carry_out(stream: &mut TcpStream, plan: Plan, keep_alive: bool) -> bool {
    if !plan.latency.is_zero() {
        tokio::time::sleep(plan.latency).await;
    }
    match plan.form {
        Form::Answer(response) => stream.write_all(&response.encode(keep_alive)).await.is_ok() && keep_alive,
        Form::Hang => {
            // Until the client gives up; what it sends meanwhile is not heard.
            while matches!(stream.read(&mut [0; 4096]).await, Ok(1..)) {}
            false
        }
        Form::Reset(response) => {
            if let Some(response) = response {
                let bytes = response.encode(keep_alive);
                let half = bytes.len() - response.body.len().div_ceil(2);
                let _ = stream.write_all(bytes.get(..half).unwrap_or_default()).await;
                tokio::time::sleep(HALF_SENT).await;
            }
            // Closing a socket that does not linger is a reset instead of an orderly end.
            let _ = stream.set_zero_linger();
            false
        }
        Form::Endless(response) => {
            let mut piece = response.head(false, Some("chunked"));
            piece.extend_from_slice(b"9\r\n{\"data\":\"\r\n");
            while stream.write_all(&piece).await.is_ok() {
                piece = format!("4000\r\n{}\r\n", "a".repeat(0x4000)).into_bytes();
                tokio::time::sleep(ENDLESS_PAUSE).await;
            }
            false
        }
    }
}

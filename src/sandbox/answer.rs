//! Handles a request to a platform: judges it, writes it into the ledger, then answers it or carries out a fault.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, Response, StatusCode};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use serde_json::Value;

use super::fake::Fake;
use super::faults::{self, Fault};
use super::judgement::{JudgedItem, Judgement, Refusal};
use super::ledger::LedgerEntry;
use super::request::{Answer, Request};
use super::state::State;

/// The body of a `garbage` answer. It is neither JSON nor UTF-8.
const GARBAGE: &[u8] = b"\x00\xff\xfe<<garbage>>\xc3\x28{]";
/// The time between two pieces of an `endless` answer: short enough to reach any reader's limit at once, long enough
/// not to use a whole core.
const ENDLESS_PAUSE: Duration = Duration::from_millis(1);
/// The time that the first half of an answer has to leave before the reset, which would discard it.
const HALF_SENT: Duration = Duration::from_millis(10);

/// The connection ends here with a reset.
#[derive(Debug, thiserror::Error)]
#[error("reset by a fault")]
pub(super) struct Reset;

/// Judges a request, writes it into the ledger with the account's fault, and answers as that says.
pub(super) async fn answer(request: &Request, state: &State) -> Result<Response<Body>, Reset> {
    let (usual, platform, fault) = judge(request, state);
    let Some(fault) = fault else { return Ok(response(&usual)) };
    tokio::time::sleep(Duration::from_millis(fault.latency_ms.unwrap_or(0))).await;
    match fault.reset {
        Some(faults::Reset::Before | faults::Reset::After) => return Err(Reset),
        Some(faults::Reset::During) => return Ok(half(&usual)),
        None => {}
    }
    if fault.hang {
        // The client never gets an answer and has to give up.
        std::future::pending::<Infallible>().await;
    }
    let status = fault.status.unwrap_or(200);
    if fault.endless {
        return Ok(endless(status));
    }
    let mut answered = response(&if fault.garbage {
        Answer::json(status, GARBAGE)
    } else if let Some(body) = &fault.body {
        Answer::json(status, body_text(body, platform))
    } else if fault.takes() {
        usual
    } else {
        let status = fault.status.unwrap_or(429);
        Answer::text(status, format!("fault: status {status}\n"))
    });
    let after = fault.retry_after.as_ref().map(text_of);
    if let Some(after) = after.and_then(|after| HeaderValue::from_str(&after).ok()) {
        answered.headers_mut().insert(RETRY_AFTER, after);
    }
    Ok(answered)
}

/// Returns the usual answer, the platform that gives it, and the fault that hits the request.
fn judge<'a>(request: &Request, state: &'a State) -> (Answer, Option<&'a dyn Fake>, Option<Fault>) {
    let now_ms = State::now_ms();
    let (judgement, platform) = state.directory.judge(request, i64::try_from(now_ms / 1000).unwrap_or(i64::MAX));
    let name = state.name(judgement.account);
    let faults = state.faults();
    let Judgement { trans_id, event, ids, id, conversion, mut items, verdict, .. } = judgement;
    if items.is_empty() {
        items.push(JudgedItem { trans_id, event, ids, id, problem: None });
    }
    let hits = |fault: &&Fault, item: &JudgedItem| {
        fault.hits(&name, item.id.as_deref().map_or(&request.body[..], str::as_bytes))
    };
    let fault = faults.of(&name).filter(|fault| items.iter().any(|item| hits(fault, item)));
    let (usual, problem) = match verdict {
        Ok(answer) if fault.is_none_or(Fault::takes) => (answer, None),
        Ok(answer) => (answer, fault.map(|fault| format!("fault: {}", fault.describe()))),
        Err(Refusal { answer, problem }) => (answer, Some(problem)),
    };
    // The entries are written before the first byte of the answer: a client that has an answer finds its request in the
    // ledger.
    for item in items {
        let problem = item.problem.or_else(|| problem.clone());
        state.ledger.record(LedgerEntry {
            account: name.clone(),
            trans_id: item.trans_id,
            event: item.event,
            accepted: problem.is_none(),
            conversion,
            problem,
            at_ms: now_ms,
            ids: item.ids,
            repeat: false,
            fault: fault.map(Fault::describe).filter(|text| !text.is_empty()),
            method: request.method.clone(),
            target: request.target.clone(),
            head: request.head.clone(),
            body: request.body.clone(),
        });
    }
    (usual, platform, fault.cloned())
}

/// The text of a `body` fault: a code in the form of the platform, anything else as it is.
fn body_text(body: &Value, platform: Option<&dyn Fake>) -> String {
    platform.and_then(|platform| platform.body_of(body)).unwrap_or_else(|| text_of(body))
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Builds the HTTP response.
pub(super) fn response(answer: &Answer) -> Response<Body> {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let bare = status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
    let mut response = Response::new(if bare { Body::empty() } else { Body::from(answer.body.clone()) });
    *response.status_mut() = status;
    if !bare {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    }
    response
}

/// Sends the first half of the body under the length of the whole, then resets the connection.
fn half(answer: &Answer) -> Response<Body> {
    let mut response = response(answer);
    let first = answer.body.slice(..answer.body.len() / 2);
    let reset = stream::once(async {
        tokio::time::sleep(HALF_SENT).await;
        Err(Reset)
    });
    response.headers_mut().insert(CONTENT_LENGTH, answer.body.len().into());
    *response.body_mut() = Body::from_stream(stream::iter([Ok(first)]).chain(reset));
    response
}

/// A body that never ends.
fn endless(status: u16) -> Response<Body> {
    let mut response = response(&Answer::json(status, ""));
    let first = stream::iter([Bytes::from_static(b"{\"data\":\"")]);
    let piece = Bytes::from_static(&[b'a'; 0x4000]);
    let rest = stream::repeat(piece).then(|piece| async {
        tokio::time::sleep(ENDLESS_PAUSE).await;
        piece
    });
    *response.body_mut() = Body::from_stream(first.chain(rest).map(Ok::<_, Infallible>));
    response
}

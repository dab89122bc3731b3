//! The sandbox's own paths: `/_ledger`, `/_faults`, `/_status`.

use axum::body::Body;
use axum::http::Response;
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};

use super::answer::response;
use super::request::{Answer, Request};
use super::state::State;

/// The ledger is sent in pieces of about this size, because a million entries are more than a gigabyte of text.
const PIECE: usize = 256 * 1024;

/// Answers a request to one of these paths.
pub(super) fn answer(request: &Request, state: &State) -> Response<Body> {
    response(&match (request.path(), request.method.as_str()) {
        ("/_ledger", "GET") => return ledger(state),
        ("/_ledger", "DELETE") => Answer::json(200, json!({ "deleted": state.ledger.clear() }).to_string()),
        ("/_faults", "GET") => Answer::json(200, json!(&*state.faults()).to_string()),
        ("/_faults", "PUT") => put_faults(&request.body, state),
        ("/_status", "GET") => Answer::json(200, status(state).to_string()),
        ("/_ledger" | "/_faults" | "/_status", _) => error(405, &["no such method for this path".to_owned()]),
        _ => error(404, &["there are: /_ledger, /_faults, /_status".to_owned()]),
    })
}

fn error(status: u16, problems: &[String]) -> Answer {
    Answer::json(status, json!({ "error": problems.join("; "), "problems": problems }).to_string())
}

fn put_faults(body: &[u8], state: &State) -> Answer {
    let json = match serde_json::from_slice::<Value>(body) {
        Ok(json) => json,
        Err(problem) => return error(400, &[format!("faults are JSON: {problem}")]),
    };
    match state.set_faults(&json) {
        Ok(faults) => Answer::json(200, json!(&*faults).to_string()),
        Err(problems) => error(400, &problems),
    }
}

fn status(state: &State) -> Value {
    let accounts: Vec<Value> = state
        .directory
        .accounts()
        .iter()
        .map(|account| json!({ "name": account.name, "platform": account.platform }))
        .collect();
    json!({ "accounts": accounts, "ledger": state.ledger.status(), "faults": &*state.faults() })
}

/// The ledger as it stands now, as a JSON array.
fn ledger(state: &State) -> Response<Body> {
    let entries = state.ledger.entries().into_iter().enumerate();
    let pieces = stream::iter(Pieces { entries: Some(entries), text: b"[".to_vec() });
    let mut response = response(&Answer::json(200, ""));
    *response.body_mut() = Body::from_stream(pieces);
    response
}

/// The text of these entries, piece by piece.
struct Pieces<I> {
    /// `None` after the last piece.
    entries: Option<I>,
    /// Text that is not sent yet.
    text: Vec<u8>,
}

impl<T: serde::Serialize, I: Iterator<Item = (usize, std::sync::Arc<T>)>> Iterator for Pieces<I> {
    type Item = serde_json::Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        let entries = self.entries.as_mut()?;
        let mut text = std::mem::take(&mut self.text);
        for (index, entry) in entries {
            text.extend_from_slice(if index == 0 { &b"\n"[..] } else { b",\n" });
            if let Err(error) = serde_json::to_writer(&mut text, &*entry) {
                return Some(Err(error));
            }
            if text.len() >= PIECE {
                return Some(Ok(text.into()));
            }
        }
        self.entries = None;
        text.extend_from_slice(b"]\n");
        Some(Ok(text.into()))
    }
}

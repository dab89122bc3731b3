//! The sandbox's own paths: `/_ledger`, `/_faults`, `/_status`.

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::http::{Request, Response};
use super::state::State;

/// A ledger leaves in pieces of about this size: a million entries are more than a gigabyte as text.
const PIECE: usize = 256 * 1024;

/// Answers one of them; whether the connection goes on.
pub(super) async fn answer(stream: &mut TcpStream, request: &Request, state: &State) -> bool {
    let response = match (request.path(), request.method.as_str()) {
        ("/_ledger", "GET") => return send_ledger(stream, request, state).await,
        ("/_ledger", "DELETE") => Response::json(200, json!({ "deleted": state.ledger.clear() }).to_string()),
        ("/_faults", "GET") => Response::json(200, json!(&*state.faults()).to_string()),
        ("/_faults", "PUT") => put_faults(&request.body, state),
        ("/_status", "GET") => Response::json(200, status(state).to_string()),
        ("/_ledger" | "/_faults" | "/_status", _) => error(405, &["no such method for this path".to_owned()]),
        _ => error(404, &["there are: /_ledger, /_faults, /_status".to_owned()]),
    };
    stream.write_all(&response.encode(request.keep_alive)).await.is_ok() && request.keep_alive
}

fn error(status: u16, problems: &[String]) -> Response {
    Response::json(status, json!({ "error": problems.join("; "), "problems": problems }).to_string())
}

fn put_faults(body: &[u8], state: &State) -> Response {
    let json = match serde_json::from_slice::<Value>(body) {
        Ok(json) => json,
        Err(problem) => return error(400, &[format!("faults are JSON: {problem}")]),
    };
    match state.set_faults(&json) {
        Ok(faults) => Response::json(200, json!(&*faults).to_string()),
        Err(problems) => error(400, &problems),
    }
}

fn status(state: &State) -> Value {
    let accounts: Vec<Value> = state
        .directory
        .accounts()
        .iter()
        .map(|account| json!({ "name": account.name, "platform": account.platform_name() }))
        .collect();
    json!({ "accounts": accounts, "ledger": state.ledger.status(), "faults": &*state.faults() })
}

/// Sends the ledger as it stands now, as a JSON array.
async fn send_ledger(stream: &mut TcpStream, request: &Request, state: &State) -> bool {
    // Who knows no chunks reads to the end of the connection.
    let chunked = request.http11;
    let keep_alive = request.keep_alive && chunked;
    let response = Response::json(200, "");
    let mut head = response.head(keep_alive, Some("chunked"));
    if !chunked {
        head = b"HTTP/1.0 200 OK\r\nContent-Type: application/json;charset=utf-8\r\nConnection: close\r\n\r\n".to_vec();
    }
    if stream.write_all(&head).await.is_err() {
        return false;
    }
    let entries = state.ledger.entries();
    let mut text = b"[".to_vec();
    for (index, entry) in entries.iter().enumerate() {
        text.extend_from_slice(if index == 0 { b"\n" } else { b",\n" });
        if serde_json::to_writer(&mut text, &**entry).is_err() {
            return false;
        }
        if text.len() >= PIECE {
            if send_piece(stream, &text, chunked).await.is_err() {
                return false;
            }
            text.clear();
        }
    }
    text.extend_from_slice(b"]\n");
    let sent = send_piece(stream, &text, chunked).await;
    let ended = if chunked { stream.write_all(b"0\r\n\r\n").await } else { Ok(()) };
    sent.is_ok() && ended.is_ok() && keep_alive
}

async fn send_piece(stream: &mut TcpStream, text: &[u8], chunked: bool) -> std::io::Result<()> {
    if !chunked {
        return stream.write_all(text).await;
    }
    let mut piece = format!("{:x}\r\n", text.len()).into_bytes();
    piece.extend_from_slice(text);
    piece.extend_from_slice(b"\r\n");
    stream.write_all(&piece).await
}

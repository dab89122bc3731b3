//! `GET /dead-letters/export`: all that a filter selects, in one answer that is sent while it is read.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::dead_letters::{as_texts, pairs, wrong};
use crate::admin::endpoint::Endpoint;
use crate::admin::parts::Parts;
use crate::admin::refusal::Refusal;
use crate::clock::now_ms;
use crate::inspect::dead_letters::{Export, Filter, Walk};

/// How long a request waits for the search to be complete. It is shorter than the time limit of an answer, so that the
/// client is told how far it is.
const PATIENCE: Duration = Duration::from_secs(8);
/// A client that takes nothing for this time has left.
const STALLED: Duration = Duration::from_secs(60);
/// How many dead letters there are to come: an answer that holds fewer lines was cut.
const TOTAL: &str = "postback-total";

/// The query of an export. It is read as pairs; this is its description.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "it describes the query for the document")]
struct ExportQuery {
    #[serde(flatten)]
    filter: Filter,
    /// Every dead letter, not only the newest of each origin.
    all: Option<bool>,
    /// `csv`, for a spreadsheet, if it is absent.
    format: Option<Export>,
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get::<String, _>("/dead-letters/export", "All dead letters that match, as a file", export)
            .says(
                "Masked as in the list, newest first. The header `postback-total` says how many match. One export at a time. \
                 503 until the search has looked at all: ask again.",
            )
            .query::<ExportQuery>()
            .answers(&["text/csv", "application/x-ndjson"])
            .refuses(&[503]),
    ]
}

async fn export(State(parts): State<Arc<Parts>>, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let pairs = pairs(query.as_deref())?;
    let (mut all, mut form, mut rest) = (false, Export::Csv, Vec::new());
    for (name, text) in as_texts(&pairs) {
        match name {
            "all" => all = text.parse().map_err(|_| Refusal::field("all", "neither true nor false"))?,
            "format" => form = Export::named(text).ok_or_else(|| Refusal::field("format", "neither csv nor jsonl"))?,
            _ => rest.push((name, text)),
        }
    }
    let filter = Filter::from_pairs(rest).map_err(wrong)?;
    let away = |text: String| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text);
    let busy = || away("another export is under way; try again in a moment".to_owned()).with_code("busy");
    let turn = parts.exports.clone().try_acquire_owned().map_err(|_| busy())?;
    let scan = parts.worker.scan.clone();
    scan.fresh(PATIENCE).await.map_err(|trouble| away(trouble.to_string()))?;
    let walk = Walk::new(scan, filter, all);
    let total = walk.count();
    let (lines, taken) = mpsc::channel(1);
    tokio::spawn(async move {
        let _turn = turn;
        send(walk, form, &lines).await;
    });
    let (ending, media_type) = form.file();
    let name = format!("attachment; filename=\"dead-letters-{}.{ending}\"", now_ms());
    let mut response = ([(header::CONTENT_TYPE, media_type)], body(taken)).into_response();
    response.headers_mut().insert(TOTAL, total.into());
    if let Ok(name) = HeaderValue::from_str(&name) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

/// What is sent: lines, and at the end nothing, so that no client takes an answer that was cut for whole.
type Part = Option<Bytes>;

/// The parts as the body of an answer. Without its end it breaks off.
fn body(parts: mpsc::Receiver<Part>) -> Body {
    Body::from_stream(unfold(Some(parts), |parts| async {
        let mut parts = parts?;
        match parts.recv().await {
            Some(Some(lines)) => Some((Ok(lines), Some(parts))),
            Some(None) => None,
            None => Some((Err(io::Error::other("the export broke off")), None)),
        }
    }))
}

/// Reads and sends all, until the client leaves.
async fn send(mut walk: Walk, form: Export, to: &mpsc::Sender<Part>) {
    let mut first = true;
    loop {
        let read = tokio::task::spawn_blocking(move || {
            let found = walk.read();
            (walk, found)
        });
        let Ok((next, found)) = read.await else { return };
        walk = next;
        let found = match found {
            Ok(found) => found,
            Err(error) => return tracing::warn!(%error, "an export of dead letters broke off"),
        };
        let lines = form.lines(&found, std::mem::take(&mut first));
        if !lines.is_empty() && to.send_timeout(Some(lines.into()), STALLED).await.is_err() {
            return;
        }
        if found.is_empty() {
            // Where the client has left, nobody needs the end.
            let _ = to.send_timeout(None, STALLED).await;
            return;
        }
    }
}

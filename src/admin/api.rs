//! The routes of `/api/v1`: the worker's state, and the switches of its lanes.

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::refusal::Refusal;
use super::{guard, openapi};
use crate::operate::By;
use crate::operate::audit::Via;
use crate::operate::readiness::{Shared, SwitchError};
use crate::secret::SecretString;

/// The most bytes of a request body. A reason and a name are short.
const LARGEST_BODY: usize = 16 * 1024;

/// The routes under `/api/v1`, with the guard in front of them.
pub(super) fn routes(token: &SecretString) -> Router<Shared> {
    Router::new()
        .route("/status", get(|State(state): State<Shared>| async move { Json(state.status()) }))
        .route("/accounts", get(|State(state): State<Shared>| async move { Json(state.accounts().await) }))
        .route("/blocked", get(|State(state): State<Shared>| async move { Json(state.blocked().await) }))
        .route("/accounts/{name}/pause", post(pause))
        .route("/accounts/{name}/resume", post(resume))
        .route("/openapi.json", get(|| async { Json(openapi::document()) }))
        // The fallback is inside the guard, so that a client without the token cannot find out which paths exist.
        .fallback(|| async { Refusal::new(StatusCode::NOT_FOUND, "no such resource; see /api/v1/openapi.json") })
        .method_not_allowed_fallback(|| async {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "this method does nothing here; see /api/v1/openapi.json")
        })
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(axum::middleware::from_fn_with_state(guard::Guard::new(token), guard::check))
}

/// The body of a change.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    who: String,
    #[serde(default)]
    via: Via,
}

impl Change {
    /// Reads a change. A missing body is an empty change, and a missing `who` becomes `api`. A reason is optional, as
    /// in the commands, because during an incident the switch comes first.
    fn read(body: &[u8]) -> Result<By, Refusal> {
        let change: Self = if body.is_empty() {
            Self::default()
        } else {
            serde_json::from_slice(body).map_err(|error| {
                let text = format!("the body must be {{\"reason\": \"...\", \"who\": \"...\"}}: {error}");
                Refusal::new(StatusCode::BAD_REQUEST, text)
            })?
        };
        let mut by = By::new(change.via, &change.who, &change.reason);
        if by.who.is_empty() {
            by.who = "api".to_owned();
        }
        if by.why.is_empty() {
            by.why = "no reason given".to_owned();
        }
        Ok(by)
    }
}

async fn pause(State(state): State<Shared>, Path(name): Path<String>, body: Bytes) -> Result<Response, Refusal> {
    state.pause(&name, Change::read(&body)?).await.map_err(|error| refuse(&name, error))?;
    Ok(done(&name, "paused"))
}

async fn resume(State(state): State<Shared>, Path(name): Path<String>, body: Bytes) -> Result<Response, Refusal> {
    state.resume(&name, Change::read(&body)?).await.map_err(|error| refuse(&name, error))?;
    Ok(done(&name, "resumed"))
}

fn done(account: &str, what: &str) -> Response {
    let body: Value = json!({ "account": account, "done": what, "note": "every replica obeys within two seconds" });
    Json(body).into_response()
}

fn refuse(account: &str, error: SwitchError) -> Refusal {
    match error {
        SwitchError::UnknownAccount(close) => {
            Refusal::new(StatusCode::NOT_FOUND, crate::operate::unknown_account(account, close.as_deref()))
        }
        SwitchError::Unavailable(detail) => Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("the switch could not be stored, try again: {}", crate::redact::mask_text(&detail)),
        ),
    }
}

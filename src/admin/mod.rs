//! The admin endpoint: health, metrics, the API, the console and the runbook. It has its own thread and runtime, so
//! that it answers however busy the rest of the worker is.

mod answer;
mod api;
pub mod client;
mod console;
mod endpoint;
mod etag;
mod guard;
mod openapi;
mod parts;
mod refusal;
mod request;
mod routes;
mod runbook;
mod server;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;

pub use parts::{Parts, Worker};
pub use server::Server;

use self::refusal::Refusal;
use crate::operate::readiness::Shared;
use crate::secret::SecretString;

/// The routes `/live`, `/ready` and `/metrics` alone, for `telemetry.listen`.
pub fn health_routes(state: Shared) -> Router {
    finish(health().with_state(state))
}

/// All routes, for `admin.listen`. Health, metrics and the runbook need no token. With an empty token everybody may
/// read, and only this machine may change something.
pub fn all_routes(parts: Arc<Parts>, token: &SecretString) -> Router {
    let health = health().with_state(parts.worker.status.clone());
    let api = api::routes(token).layer(axum::middleware::from_fn(etag::conditional));
    finish(
        health
            .merge(console::routes())
            .merge(runbook::routes())
            .merge(Router::new().nest("/api/v1", api).with_state(parts)),
    )
}

fn health() -> Router<Shared> {
    Router::new().route("/live", get(live)).route("/ready", get(ready)).route("/metrics", get(metrics))
}

fn finish(router: Router) -> Router {
    router
        .fallback(|| async { Refusal::new(StatusCode::NOT_FOUND, "nothing here; see /api/v1/openapi.json") })
        .method_not_allowed_fallback(|| async {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "this method does nothing here; see /api/v1/openapi.json")
        })
        .layer(axum::middleware::map_response(harden))
}

async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(header::HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
    response
}

async fn live(State(state): State<Shared>) -> Response {
    let live = state.live();
    let status = if live { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(json!({ "live": live }))).into_response()
}

async fn ready(State(state): State<Shared>) -> Response {
    let readiness = state.ready();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(readiness)).into_response()
}

async fn metrics(State(state): State<Shared>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], state.metrics()).into_response()
}

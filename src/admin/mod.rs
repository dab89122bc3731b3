//! The admin endpoint: health, metrics, the API. Its own thread and runtime, so that it answers however busy the rest is.

mod api;
pub mod client;
mod config;
mod guard;
mod openapi;
mod server;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::{Value, json};

pub use config::Config;
pub use server::Server;

use crate::platforms::SecretString;

/// One dependency of `/ready`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dependency {
    /// It answers, and what it answers is fit for work.
    pub up: bool,
    /// In words; empty where all is well.
    pub detail: String,
}

/// What `/ready` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Takes and delivers events: 200, else 503.
    pub ready: bool,
    /// In words why not, or what is amiss though it is ready; empty where all is well.
    pub why: String,
    /// `kafka` and `redis`.
    pub dependencies: BTreeMap<&'static str, Dependency>,
    /// Partitions that wait for `postback unblock offsets`, as `topic/partition`.
    pub parked_partitions: Vec<String>,
    /// Topics of the worker's own that take no records: what belongs there is held.
    pub refused_topics: Vec<String>,
}

/// Why a lane switch could not be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SwitchError {
    /// No such account; a name that is close, where there is one.
    UnknownAccount(Option<String>),
    /// Redis, which keeps the switches, does not answer.
    Unavailable(String),
}

/// What the endpoint shows of the worker, and what it can change. The worker implements it; tests have a double.
pub trait Status: Send + Sync + 'static {
    /// Whether poller and runtime turn. Never depends on Kafka or Redis: a restart would not bring them back.
    fn live(&self) -> bool;
    /// Whether it takes and delivers events.
    fn ready(&self) -> Readiness;
    /// The text exposition.
    fn metrics(&self) -> String;
    /// `GET /api/v1/status`; open to everybody, so nothing in it is secret.
    fn status(&self) -> Value;
    /// `GET /api/v1/accounts`.
    fn accounts(&self) -> BoxFuture<'_, Value>;
    /// `GET /api/v1/blocked`.
    fn blocked(&self) -> BoxFuture<'_, Value>;
    /// Pauses an account's lane on every replica, logged and with an audit entry.
    fn pause<'a>(&'a self, account: &'a str, reason: &'a str, who: &'a str) -> BoxFuture<'a, Result<(), SwitchError>>;
    /// Clears pause and halt of an account's lane on every replica, logged and with an audit entry.
    fn resume<'a>(&'a self, account: &'a str, reason: &'a str, who: &'a str) -> BoxFuture<'a, Result<(), SwitchError>>;
}

type Shared = Arc<dyn Status>;

/// `/live`, `/ready`, `/metrics` alone: for `telemetry.listen`.
pub fn health_routes(state: Shared) -> Router {
    finish(health().with_state(state))
}

/// Everything: for `admin.listen`. An empty token leaves reads open and changes to this machine.
pub fn all_routes(state: Shared, token: &SecretString) -> Router {
    finish(health().nest("/api/v1", api::routes(token)).with_state(state))
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
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
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

/// An error as the API shows it: `{"error": "what to do"}`.
#[derive(Clone, Debug)]
struct Refusal {
    status: StatusCode,
    error: String,
}

impl Refusal {
    fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(json!({ "error": self.error }))).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        }
        response
    }
}

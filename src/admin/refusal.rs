//! The error answers of the API.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

/// An error as the API returns it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
struct ErrorDetail {
    /// One word for programs, e.g. `not_found`.
    code: String,
    /// What is wrong and what to do.
    message: String,
    /// The member of the body or of the query that is wrong. Null if no single one is.
    field: Option<String>,
}

/// A request that is not carried out.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    field: Option<String>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, code: code(status), message: message.into(), field: None }
    }

    /// A member of the body or of the query is wrong.
    pub(super) fn field(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: Some(name.into()), ..Self::new(StatusCode::BAD_REQUEST, message) }
    }

    /// The same with another code than the usual one of its status.
    pub(super) fn with_code(self, code: &'static str) -> Self {
        Self { code, ..self }
    }
}

/// The usual code of a status.
fn code(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "bad_request",
        401 => "unauthorized",
        403 => "forbidden",
        404 => "not_found",
        405 => "method_not_allowed",
        409 => "conflict",
        413 => "too_large",
        415 => "unsupported_media_type",
        422 => "unprocessable",
        501 => "not_implemented",
        503 => "unavailable",
        _ => "internal",
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let error = ErrorDetail { code: self.code.to_owned(), message: self.message, field: self.field };
        let mut response = (self.status, axum::Json(ErrorBody { error })).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Gives the errors of the framework the form of all others: a body that is too large, a path that is no UTF-8.
pub(super) async fn uniform(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let is_json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
    let status = response.status();
    if is_json || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let message = match status {
        StatusCode::PAYLOAD_TOO_LARGE => "the body is larger than this path takes; see /api/v1/openapi.json".to_owned(),
        _ => body_text(response.into_body()).await,
    };
    Refusal::new(status, message).into_response()
}

/// The framework's own words, which hold nothing of the request but the kind of its mistake.
async fn body_text(body: Body) -> String {
    const MOST: usize = 512;
    let bytes = axum::body::to_bytes(body, MOST).await.unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

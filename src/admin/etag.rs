//! Entity tags: a client that already has an answer gets 304 without the body.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use sha2::{Digest as _, Sha256};

/// Longer answers get no tag: they are not held in memory for it.
const LONGEST: u64 = 4 * 1024 * 1024;

/// The entity tag of these bytes, in quotes.
pub(super) fn of(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(&digest[..18]))
}

/// Whether the client says that it has the answer with this tag. A proxy that compresses makes tags weak.
pub(super) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let given = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    given.flat_map(|value| value.split(',')).any(|one| one.trim().trim_start_matches("W/") == tag)
}

/// Adds a tag to the answer of a GET, and answers 304 if the client has it. Answers of unknown length pass unchanged.
pub(super) async fn conditional(request: Request, next: Next) -> Response {
    let asks = *request.method() == Method::GET;
    let headers = if asks { request.headers().clone() } else { HeaderMap::new() };
    let response = next.run(request).await;
    let length = response.body().size_hint().exact();
    if !asks || response.status() != StatusCode::OK || length.is_none_or(|length| length > LONGEST) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(body) = body.collect().await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let bytes = body.to_bytes();
    let tag = of(&bytes);
    let known = is_known(&headers, &tag);
    if let Ok(value) = HeaderValue::from_str(&tag) {
        parts.headers.insert(header::ETAG, value);
    }
    if known {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.remove(header::CONTENT_TYPE);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}

//! What a request carries, read into a type: its body and its query. An error names the member that is wrong.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use serde::de::DeserializeOwned;

use super::refusal::Refusal;

/// A JSON body. A missing one is an empty object.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let bytes = Bytes::from_request(request, state).await.map_err(axum::response::IntoResponse::into_response)?;
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        // A list would fill the members by their order.
        if bytes.trim_ascii_start().starts_with(b"[") {
            let text = "the body must be one JSON object, not a list";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, text).into_response());
        }
        let json = &mut serde_json::Deserializer::from_slice(text);
        let read = serde_path_to_error::deserialize(&mut *json).map_err(|error| {
            let (path, inner) = (error.path().to_string(), error.into_inner());
            let text = inner.to_string();
            let missing = || text.strip_prefix("missing field `")?.split('`').next().map(str::to_owned);
            let field = if path == "." { missing() } else { Some(path) };
            match field.filter(|_| inner.is_data()) {
                Some(field) => Refusal::field(field, format!("the body does not fit: {text}")),
                None => {
                    Refusal::new(StatusCode::BAD_REQUEST, format!("the body must be JSON as in the document: {text}"))
                }
            }
        });
        let read = read.and_then(|read| {
            let trailing = json.end().map_err(|e| Refusal::new(StatusCode::BAD_REQUEST, format!("the body: {e}")));
            trailing.map(|()| read)
        });
        read.map(Body).map_err(axum::response::IntoResponse::into_response)
    }
}

/// The query of a request. A member that is unknown or given twice is an error.
pub(super) struct Query<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let read = axum::extract::Query::try_from_uri(&parts.uri);
        let text = |error: axum::extract::rejection::QueryRejection| {
            let text = error.body_text();
            // The field of an unknown or malformed member stands in the text between backquotes or before a colon.
            let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text).to_owned();
            let field = text.split_once(": ").map(|(field, _)| field).or_else(|| text.split('`').nth(1));
            match field.map(str::to_owned) {
                Some(field) => Refusal::field(field, format!("the query does not fit: {text}")),
                None => Refusal::new(StatusCode::BAD_REQUEST, format!("the query does not fit: {text}")),
            }
            .into_response()
        };
        read.map(|axum::extract::Query(query)| Query(query)).map_err(text)
    }
}

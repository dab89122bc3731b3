//! The routes under `/api/v1`, with the guard in front of them.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use bytes::Bytes;

use super::parts::Parts;
use super::refusal::{Refusal, uniform};
use super::{guard, openapi, routes};
use crate::secret::SecretString;

pub(super) fn routes(token: &SecretString) -> Router<Arc<Parts>> {
    // Kept as text, because its tree takes ten times as much memory.
    let document = Bytes::from(openapi::document(&routes::all()).to_string());
    let router = routes::all().into_iter().fold(Router::new(), |router, endpoint| {
        let (path, route) = endpoint.into_route();
        router.route(path, route)
    });
    router
        .route("/openapi.json", get(move || async move { ([(CONTENT_TYPE, "application/json")], document) }))
        // The fallback is inside the guard, so that a client without the token cannot find out which paths exist.
        .fallback(|| async { Refusal::new(StatusCode::NOT_FOUND, "no such resource; see /api/v1/openapi.json") })
        .method_not_allowed_fallback(|| async {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "this method does nothing here; see /api/v1/openapi.json")
        })
        .layer(axum::middleware::from_fn(uniform))
        .layer(axum::middleware::from_fn_with_state(guard::Guard::new(token), guard::check))
}

//! One endpoint of the API: its handler, and what the OpenAPI document says of it. The routes and the document are made
//! from the same list, so that neither can hold what the other lacks.

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::parts::Parts;

/// The most bytes of a request body, unless an endpoint says otherwise. A reason and a name are short.
const BODY: usize = 16 * 1024;

/// Makes the schema of a type.
pub(super) type Describe = fn(&mut SchemaGenerator) -> Schema;

/// An endpoint below `/api/v1`.
pub(super) struct Endpoint {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    pub(super) description: &'static str,
    /// Whether it needs no token, even if one is set.
    pub(super) is_open: bool,
    pub(super) query: Option<Describe>,
    pub(super) body: Option<Describe>,
    pub(super) answer: Describe,
    /// The media types of an answer that is no JSON; none: it is.
    pub(super) texts: &'static [&'static str],
    /// The status of a success.
    pub(super) success: u16,
    /// Whether 202 may be the answer: what was asked for goes on in the background.
    pub(super) may_go_on: bool,
    /// The statuses of refusals, beside those that every request may get.
    pub(super) refusals: Vec<u16>,
    pub(super) largest_body: usize,
    pub(super) route: MethodRouter<Arc<Parts>>,
}

impl Endpoint {
    fn new<A: JsonSchema, H: Handler<T, Arc<Parts>>, T: 'static>(
        method: Method,
        filter: MethodFilter,
        path: &'static str,
        summary: &'static str,
        handler: H,
    ) -> Self {
        Self {
            method,
            path,
            summary,
            description: "",
            is_open: false,
            query: None,
            body: None,
            answer: SchemaGenerator::subschema_for::<A>,
            texts: &[],
            success: 200,
            may_go_on: false,
            refusals: Vec::new(),
            largest_body: BODY,
            route: on(filter, handler),
        }
    }

    /// An endpoint that reads. `A` is its answer.
    pub(super) fn get<A: JsonSchema, T: 'static>(
        path: &'static str,
        summary: &'static str,
        handler: impl Handler<T, Arc<Parts>>,
    ) -> Self {
        Self::new::<A, _, T>(Method::GET, MethodFilter::GET, path, summary, handler)
    }

    /// An endpoint that takes a body. `B` is the body, and `A` is its answer.
    pub(super) fn post<B: JsonSchema, A: JsonSchema, T: 'static>(
        path: &'static str,
        summary: &'static str,
        handler: impl Handler<T, Arc<Parts>>,
    ) -> Self {
        let body: Option<Describe> = Some(SchemaGenerator::subschema_for::<B>);
        Self { body, ..Self::new::<A, _, T>(Method::POST, MethodFilter::POST, path, summary, handler) }
    }

    /// An endpoint that changes a part of something. `B` is the body, and `A` is its answer.
    pub(super) fn patch<B: JsonSchema, A: JsonSchema, T: 'static>(
        path: &'static str,
        summary: &'static str,
        handler: impl Handler<T, Arc<Parts>>,
    ) -> Self {
        let body: Option<Describe> = Some(SchemaGenerator::subschema_for::<B>);
        Self { body, ..Self::new::<A, _, T>(Method::PATCH, MethodFilter::PATCH, path, summary, handler) }
    }

    /// An endpoint that takes something away. `A` is its answer.
    pub(super) fn delete<A: JsonSchema, T: 'static>(
        path: &'static str,
        summary: &'static str,
        handler: impl Handler<T, Arc<Parts>>,
    ) -> Self {
        Self::new::<A, _, T>(Method::DELETE, MethodFilter::DELETE, path, summary, handler)
    }

    pub(super) fn says(self, description: &'static str) -> Self {
        Self { description, ..self }
    }

    pub(super) fn open(self) -> Self {
        Self { is_open: true, ..self }
    }

    /// Its answer is text of one of these media types.
    pub(super) fn answers(self, texts: &'static [&'static str]) -> Self {
        Self { texts, ..self }
    }

    /// The status of a success is this one.
    pub(super) fn succeeds(self, success: u16) -> Self {
        Self { success, ..self }
    }

    /// It may answer 202 while it works on in the background.
    pub(super) fn may_go_on(self) -> Self {
        Self { may_go_on: true, ..self }
    }

    /// `Q` is its query.
    pub(super) fn query<Q: JsonSchema>(self) -> Self {
        Self { query: Some(SchemaGenerator::subschema_for::<Q>), ..self }
    }

    pub(super) fn refuses(self, refusals: &[u16]) -> Self {
        Self { refusals: refusals.to_vec(), ..self }
    }

    pub(super) fn largest_body(self, largest_body: usize) -> Self {
        Self { largest_body, ..self }
    }

    /// The route of this endpoint, with the bound of its body.
    pub(super) fn into_route(self) -> (&'static str, MethodRouter<Arc<Parts>>) {
        (self.path, self.route.layer(DefaultBodyLimit::max(self.largest_body)))
    }
}

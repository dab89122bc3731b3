//! The OpenAPI 3.1 document, made from the endpoints and their types.

use axum::http::Method;
use schemars::generate::SchemaSettings;
use schemars::{SchemaGenerator, transform};
use serde_json::{Map, Value, json};

use super::endpoint::{Describe, Endpoint};
use super::refusal::ErrorBody;
use crate::event::join_lines;
use crate::operate::readiness::Readiness;

/// The refusals that every request below `/api/v1` may get, and what they mean.
const REFUSALS: [(u16, &str); 11] = [
    (400, "The body or the query does not fit."),
    (401, "The token is missing or wrong."),
    (403, "Without a token only this machine may change something, and no page of another site."),
    (404, "There is no such thing."),
    (409, "It is not in a state that allows this, or another one is in its way."),
    (413, "The body is too large."),
    (415, "The body has to be application/json."),
    (422, "The account could send nothing at all."),
    (500, "A mistake of the worker."),
    (501, "Not in this version."),
    (503, "Redis or Kafka does not answer, or too many requests are under way."),
];

const ABOUT: &str = "With admin.token set, everything under /api/v1 but /status needs it as a bearer token. Without one, \
    reads are open; changes need a loopback peer, a JSON content type, a Host of localhost, 127.0.0.1 or ::1 and no \
    foreign Origin. Integers beyond 2^53 are written as strings.";

/// Builds the document.
pub(super) fn document(endpoints: &[Endpoint]) -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut answers = settings
        .with(|s| {
            s.definitions_path = "/components/schemas".into();
            s.meta_schema = None;
        })
        .into_generator();
    // What is taken is written in place: a type may have other rules where it is read than where it is shown.
    let mut bodies = SchemaSettings::draft2020_12()
        .for_deserialize()
        .with(|s| {
            s.inline_subschemas = true;
            s.meta_schema = None;
        })
        .into_generator();
    let mut paths = Map::new();
    for (path, operation) in open_paths(&mut answers) {
        paths.insert(path.to_owned(), json!({ "get": operation }));
    }
    for endpoint in endpoints {
        let path = paths.entry(format!("/api/v1{}", endpoint.path)).or_insert_with(|| json!({}));
        path[endpoint.method.as_str().to_ascii_lowercase()] = operation(endpoint, &mut answers, &mut bodies);
    }
    let error = answers.subschema_for::<ErrorBody>();
    let refusals: Map<String, Value> = REFUSALS
        .iter()
        .map(|(status, text)| {
            let content = json!({ "application/json": { "schema": error } });
            (format!("{status}"), json!({ "description": text, "content": content }))
        })
        .collect();
    let mut document = json!({
        "openapi": "3.1.0",
        "info": { "title": "postback", "version": env!("CARGO_PKG_VERSION"), "description": ABOUT },
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": answers.take_definitions(true),
            "responses": refusals,
        },
    });
    join_lines(&mut document);
    document
}

/// What needs no token and stands outside of `/api/v1`, and the document itself.
fn open_paths(answers: &mut SchemaGenerator) -> Vec<(&'static str, Value)> {
    let live = json!({ "type": "object", "properties": { "live": { "type": "boolean" } }, "required": ["live"] });
    let ready = json!(answers.subschema_for::<Readiness>());
    let content = |text: &str, schema: &Value| json!({ "description": text, "content": { "application/json": { "schema": schema } } });
    let open = |summary: &str, responses: Value| json!({ "summary": summary, "security": [], "responses": responses });
    let mut document = open("This document", json!({ "200": content("Now.", &json!({ "type": "object" })) }));
    document["security"] = json!([{}, { "token": [] }]);
    document["responses"]["401"] = refusal(401);
    vec![
        (
            "/live",
            open(
                "Whether the process turns",
                json!({ "200": content("It does.", &live), "503": content("It does not: restart it.", &live) }),
            ),
        ),
        (
            "/ready",
            open(
                "Whether it takes and delivers events",
                json!({ "200": content("It does.", &ready), "503": content("It does not; the body says why.", &ready) }),
            ),
        ),
        (
            "/metrics",
            open(
                "Metrics, text format 0.0.4",
                json!({ "200": { "description": "Now.", "content": { "text/plain": { "schema": { "type": "string" } } } } }),
            ),
        ),
        ("/api/v1/openapi.json", document),
    ]
}

fn refusal(status: u16) -> Value {
    json!({ "$ref": format!("#/components/responses/{status}") })
}

fn operation(endpoint: &Endpoint, answers: &mut SchemaGenerator, bodies: &mut SchemaGenerator) -> Value {
    let schema = (endpoint.answer)(answers);
    let types = if endpoint.texts.is_empty() { &["application/json"] } else { endpoint.texts };
    let content: Map<String, Value> =
        types.iter().map(|media_type| ((*media_type).to_owned(), json!({ "schema": schema }))).collect();
    let mut responses = json!({ endpoint.success.to_string(): { "description": "Done.", "content": content } });
    if endpoint.may_go_on {
        responses["202"] = responses[endpoint.success.to_string()].clone();
        responses["202"]["description"] = "Under way; ask again.".into();
    }
    let changes = endpoint.method != Method::GET;
    if !changes {
        responses["304"] = json!({ "description": "As the client has it already (If-None-Match)." });
    }
    let always: &[u16] = match (endpoint.is_open, changes) {
        (true, _) => &[],
        (false, false) => &[400, 401],
        (false, true) => &[400, 401, 403, 413, 415],
    };
    for status in always.iter().chain(&endpoint.refusals) {
        responses[status.to_string()] = refusal(*status);
    }
    let mut operation = json!({
        "summary": endpoint.summary,
        "security": if endpoint.is_open { json!([]) } else { json!([{}, { "token": [] }]) },
        "responses": responses,
    });
    if !endpoint.description.is_empty() {
        operation["description"] = endpoint.description.into();
    }
    let parameters = parameters(endpoint, bodies);
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(body) = endpoint.body {
        let schema = read_schema(body, bodies);
        operation["requestBody"] = json!({ "content": { "application/json": { "schema": schema } } });
    }
    operation
}

/// The names in the path, and the members of the query.
fn parameters(endpoint: &Endpoint, bodies: &mut SchemaGenerator) -> Vec<Value> {
    let names = endpoint.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut all: Vec<Value> = names
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    let query = endpoint.query.map(|query| read_schema(query, bodies)).unwrap_or_default();
    for (name, schema) in query["properties"].as_object().into_iter().flatten() {
        let mut parameter = json!({ "name": name, "in": "query", "schema": schema });
        if let Some(Value::String(text)) = parameter["schema"].as_object_mut().and_then(|s| s.remove("description")) {
            parameter["description"] = text.into();
        }
        all.push(parameter);
    }
    all
}

/// The schema of what a client sends.
fn read_schema(describe: Describe, bodies: &mut SchemaGenerator) -> Value {
    let mut schema = describe(bodies);
    for transform in bodies.transforms_mut() {
        transform::Transform::transform(transform, &mut schema);
    }
    schema.to_value()
}

#[cfg(test)]
mod tests;

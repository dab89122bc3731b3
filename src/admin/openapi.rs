//! The OpenAPI document, written by hand. It describes only what exists now. A test requests every path of it.

use serde_json::{Value, json};

fn answer(description: &str) -> Value {
    json!({ "description": description, "content": { "application/json": { "schema": { "type": "object" } } } })
}

fn read(summary: &str) -> Value {
    json!({ "get": {
        "summary": summary,
        "security": [{}, { "token": [] }],
        "responses": { "200": answer("Now."), "401": { "$ref": "#/components/responses/Refused" } }
    } })
}

fn change(summary: &str, description: &str) -> Value {
    let refused = json!({ "$ref": "#/components/responses/Refused" });
    json!({ "post": {
        "summary": summary,
        "description": description,
        "security": [{}, { "token": [] }],
        "parameters": [{ "name": "name", "in": "path", "required": true, "schema": { "type": "string" } }],
        "requestBody": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Change" } } } },
        "responses": {
            "200": answer("Stored; every replica obeys within two seconds."),
            "400": refused, "401": refused, "403": refused, "404": refused, "415": refused, "503": refused
        }
    } })
}

pub(super) fn document() -> Value {
    let open = |summary: &str, media: &str, not_ok: &str| {
        let mut responses = json!({ "200": { "description": "Yes.", "content": { media: {} } } });
        if !not_ok.is_empty() {
            responses["503"] = answer(not_ok);
        }
        json!({ "get": { "summary": summary, "security": [], "responses": responses } })
    };
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "postback",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "With admin.token set, everything under /api/v1 but /status needs it as a bearer token. \
                Without one, reads are open; changes need a loopback peer, a JSON content type, a Host of localhost, \
                127.0.0.1 or ::1 and no foreign Origin."
        },
        "paths": {
            "/live": open("Whether the process turns", "application/json", "It does not: restart it."),
            "/ready": open("Whether it takes and delivers events", "application/json", "It does not; the body says why."),
            "/metrics": open("Metrics, text format 0.0.4", "text/plain", ""),
            "/api/v1/status": {
                "get": { "summary": "The worker at a glance", "security": [], "responses": { "200": answer("Now.") } }
            },
            "/api/v1/accounts": read("Every account's lane"),
            "/api/v1/blocked": read("The oldest unfinished record of each partition, and lanes that do not flow"),
            "/api/v1/openapi.json": read("This document"),
            "/api/v1/accounts/{name}/pause": change("Pause an account's lane", "`reason` is optional; audited."),
            "/api/v1/accounts/{name}/resume":
                change("Resume an account's lane", "Clears a pause and a halt; `reason` is optional; audited.")
        },
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": {
                "Change": {
                    "type": "object",
                    "additionalProperties": false,
                    "properties": {
                        "reason": { "type": "string", "maxLength": 256 },
                        "who": { "type": "string", "maxLength": 256, "description": "As claimed; default `api`." }
                    }
                },
                "Error": {
                    "type": "object",
                    "required": ["error"],
                    "properties": { "error": { "type": "string", "description": "What is wrong and what to do." } }
                }
            },
            "responses": {
                "Refused": {
                    "description": "Refused.",
                    "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } }
                }
            }
        }
    })
}

//! The HTTP API of a running worker: what the OpenAPI document says of it is true, changes reach every replica, and
//! each of them can be read back from the audit with who, from where and why.

use crate::support::platform::Platform;
use crate::support::worker::Worker;
use crate::support::world::World;
use crate::support::{eventually, http, secs};
use boon::{Compiler, Schemas};
use serde_json::{Value, json};

fn get(worker: &Worker, path: &str) -> Value {
    let (status, body) = http::get(worker.admin_port, path).unwrap();
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap_or_else(|e| panic!("{path}: {e}: {body}"))
}

fn send(worker: &Worker, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let (status, body) = http::request(worker.admin_port, method, path, &[], &body.to_string()).unwrap();
    (status, serde_json::from_str(&body).unwrap_or_else(|e| panic!("{path}: {e}: {body}")))
}

/// Fails unless the document promises this answer to a GET of this path.
fn check(document: &Value, path: &str, answer: &Value) {
    let pointer = format!("/paths/{}/get/responses/200/content/application~1json/schema", path.replace('/', "~1"));
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.add_resource("document.json", document.clone()).unwrap();
    let pointer = pointer.replace('{', "%7B").replace('}', "%7D");
    let schema = compiler.compile(&format!("document.json#{pointer}"), &mut schemas).unwrap();
    if let Err(error) = schemas.validate(answer, schema) {
        panic!("{path}: {error:#}\n{answer}");
    }
}

#[test]
fn a_change_over_http_reaches_every_replica_and_is_read_back_from_the_audit() {
    let mut w = World::new("api-audit");
    w.account("acme-ps", Platform::Qihoo360);
    let (mut one, mut two) = (w.worker(), w.worker());
    one.start();
    two.start();
    let why = json!({"reason": "call 13812345678", "who": "li", "via": "console"});
    let (status, answer) = send(&one, "POST", "/api/v1/accounts/acme-ps/pause", &why);
    assert_eq!((status, answer["done"].as_str()), (200, Some("paused")), "{answer}");
    eventually(secs(20), "the other replica shows the pause", || get(&two, "/api/v1/accounts")[0]["state"] == "paused");
    one.must(&["accounts", "resume", "acme-ps", "--reason", "mended", "--who", "wang"]);
    eventually(secs(20), "both changes are published", || get(&two, "/api/v1/status")["audit_waiting"] == 0);
    let page = get(&two, "/api/v1/audit");
    let shown: Vec<_> = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| ["what", "who", "via", "why", "account"].map(|name| r[name].as_str().unwrap_or_default().to_owned()))
        .collect();
    let want =
        [["resume", "wang", "cli", "mended", "acme-ps"], ["pause", "li", "console", "call 138****5678", "acme-ps"]];
    assert_eq!(shown, want.map(|row| row.map(str::to_owned)));
    assert_eq!(page["items"][1]["worker"], get(&one, "/api/v1/status")["id"]);
    let status = get(&one, "/api/v1/status");
    assert_eq!(status["replicas"].as_array().unwrap().len(), 2, "{status}");
}

#[test]
fn what_a_worker_answers_is_what_the_document_says() {
    let mut w = World::new("api-document");
    w.account("acme-ps", Platform::Qihoo360);
    let worker = w.started();
    let refused = w.make.order("acme-ps").spoiled("invalid", "click.qhclickid", |e| e["click"] = json!({}));
    w.publish(vec![w.make.order("acme-ps"), refused.clone()]);
    w.settle(secs(60));
    let document = get(&worker, "/api/v1/openapi.json");
    let mut seen = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        if methods.get("get").is_none() || path.contains("{id}") || path == "/metrics" {
            continue;
        }
        let url = path.replace("{trans_id}", refused.trans_id()).replace("{partition}/{offset}", "0/0");
        let (status, body) = http::get(worker.admin_port, &url).unwrap();
        assert!(status == 200 || status == 404, "{url}: {status} {body}");
        // What is no JSON has no schema.
        let content = &methods["get"]["responses"]["200"]["content"];
        if status == 200 && content.get("application/json").is_some() {
            check(&document, path, &serde_json::from_str(&body).unwrap());
            seen += 1;
        }
    }
    assert!(seen >= 9, "{seen}");
}

//! `POST /preview`: the request that an event would cause. It sends nothing and changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::answer::{Answer, Answered};
use crate::admin::endpoint::Endpoint;
use crate::admin::parts::Parts;
use crate::admin::refusal::Refusal;
use crate::clock::now_ms;
use crate::event::ConversionEvent;
use crate::inspect::preview::Preview;

/// The most bytes of an event.
const LARGEST: usize = 1024 * 1024;

/// What would become of the event.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum PreviewAnswer {
    Accepted(Box<Accepted>),
    Refused(Refused),
}

/// The event would be sent. Secrets are masked.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Accepted {
    /// Always true.
    accepted: bool,
    platform: String,
    account: String,
    lane: String,
    /// The native name of the event.
    event: String,
    /// The key of its claim in Redis.
    dedupe_key: String,
    /// The last moment an attempt may start, epoch ms.
    deadline_ms: Option<i64>,
    warnings: Vec<String>,
    request: Request,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Request {
    method: String,
    url: String,
    headers: BTreeMap<String, String>,
    /// Null if there is no body, or if it is no text.
    body: Option<String>,
    /// The exact bytes.
    body_base64: String,
    /// The text that is signed. Null if nothing is.
    signature_input: Option<String>,
}

/// The event would end without being sent.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Refused {
    /// Always false.
    accepted: bool,
    /// The reason of the dead letter, or `suppressed`.
    reason: String,
    /// The dotted path of the faulty field; may be empty.
    field: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post::<ConversionEvent, PreviewAnswer, _>(
            "/preview",
            "The exact request that an event would cause now, or why there would be none",
            preview,
        )
        .says("The body is an event. It is judged as it is, so a malformed one is answered too. Sends nothing.")
        .refuses(&[422])
        .largest_body(LARGEST),
    ]
}

async fn preview(State(parts): State<Arc<Parts>>, event: Bytes) -> Answered<PreviewAnswer> {
    let shown = match parts.previewer().look(Some(&event), Vec::new(), now_ms()) {
        Preview::Accepted(accepted) => accepted.json(false),
        Preview::Refused(refused) => serde_json::to_value(&refused).unwrap_or_default(),
        Preview::Halted(why) => {
            let text = format!("{why}: the account would halt");
            return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, text).with_code("account_halts"));
        }
    };
    let read = serde_json::from_value(shown);
    read.map(Answer).map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the preview: {error}")))
}

//! `POST /accounts/{name}/pause` and `/resume`: the switches of the lanes.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::change::{Change, no_redis};
use crate::admin::answer::{Answer, Answered};
use crate::admin::endpoint::Endpoint;
use crate::admin::parts::Parts;
use crate::admin::refusal::Refusal;
use crate::admin::request::Body;
use crate::operate::readiness::SwitchError;

/// A switch that was stored.
#[derive(Serialize, JsonSchema)]
struct Switched {
    account: String,
    /// `paused` or `resumed`.
    done: &'static str,
    note: &'static str,
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    let audited = "`reason` is optional. Audited.";
    vec![
        Endpoint::post::<Change, Switched, _>("/accounts/{name}/pause", "Pause an account's lane", pause)
            .says(audited)
            .refuses(&[404, 503]),
        Endpoint::post::<Change, Switched, _>("/accounts/{name}/resume", "Clear an account's pause and halt", resume)
            .says(audited)
            .refuses(&[404, 503]),
    ]
}

async fn pause(
    State(parts): State<Arc<Parts>>,
    Path(name): Path<String>,
    Body(change): Body<Change>,
) -> Answered<Switched> {
    let done = parts.worker.status.pause(&name, change.by()?.at(&parts.worker.id)).await;
    done.map(|()| switched(&name, "paused")).map_err(|error| refuse(&name, error))
}

async fn resume(
    State(parts): State<Arc<Parts>>,
    Path(name): Path<String>,
    Body(change): Body<Change>,
) -> Answered<Switched> {
    let done = parts.worker.status.resume(&name, change.by()?.at(&parts.worker.id)).await;
    done.map(|()| switched(&name, "resumed")).map_err(|error| refuse(&name, error))
}

fn switched(account: &str, done: &'static str) -> Answer<Switched> {
    Answer(Switched { account: account.to_owned(), done, note: "every replica obeys within two seconds" })
}

fn refuse(account: &str, error: SwitchError) -> Refusal {
    match error {
        SwitchError::UnknownAccount(close) => {
            Refusal::new(StatusCode::NOT_FOUND, crate::operate::unknown_account(account, close.as_deref()))
        }
        SwitchError::Unavailable(detail) => no_redis(&detail),
    }
}

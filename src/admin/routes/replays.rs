//! `/replays`: plans, and what is done with them. What a replay is and does is `crate::replay`'s.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::change::{Act, LARGEST_SELECTION, by, reason};
use crate::admin::answer::{Answer, Answered};
use crate::admin::endpoint::Endpoint;
use crate::admin::parts::Parts;
use crate::admin::refusal::Refusal;
use crate::admin::request::Body;
use crate::operate::audit::Via;
use crate::replay::{ReplayError, ReplayView, Request};

/// How long a request for a plan waits for it. A plan that takes longer is made in the background.
const PATIENCE: Duration = Duration::from_secs(2);

/// Another rate for a replay.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewRate {
    /// Records per second over all replicas.
    #[schemars(range(min = 1))]
    rate: u32,
    /// Who asks for it, as claimed.
    #[serde(default)]
    who: String,
    #[serde(default)]
    via: Via,
    #[serde(default)]
    why: String,
}

/// The replays of the last 30 days, and the plans of the last 7.
#[derive(Serialize, JsonSchema)]
struct ReplayList {
    items: Vec<ReplayView>,
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    let act = |path, summary, endpoint: fn(&'static str, &'static str) -> Endpoint| {
        endpoint(path, summary).says("Takes effect within a second. Audited.").refuses(&[404, 409, 503])
    };
    vec![
        Endpoint::get::<ReplayList, _>("/replays", "The newest replays and plans, newest first", list).refuses(&[503]),
        Endpoint::post::<Request, ReplayView, _>("/replays", "Make a plan, which runs nothing", plan)
            .says(
                "Either `filter` or `items`. A plan that takes longer is made in the background: 202, with `progress`.",
            )
            .refuses(&[503])
            .largest_body(LARGEST_SELECTION)
            .may_go_on(),
        Endpoint::get::<ReplayView, _>("/replays/{id}", "One replay: its plan, how far it is, what came of it", get)
            .refuses(&[404, 503]),
        act("/replays/{id}/run", "Run a plan", |path, summary| {
            Endpoint::post::<Act, ReplayView, _>(path, summary, run)
        }),
        act("/replays/{id}/cancel", "Stop a replay", |path, summary| {
            Endpoint::post::<Act, ReplayView, _>(path, summary, cancel)
        }),
        act("/replays/{id}/resume", "Go on with a replay that stopped", |path, summary| {
            Endpoint::post::<Act, ReplayView, _>(path, summary, resume)
        }),
        act("/replays/{id}", "Change the rate of a replay", |path, summary| {
            Endpoint::patch::<NewRate, ReplayView, _>(path, summary, rate)
        }),
    ]
}

async fn list(State(parts): State<Arc<Parts>>) -> Answered<ReplayList> {
    let listed = parts.worker.replays.list().await;
    listed.map(|items| Answer(ReplayList { items })).map_err(|error| refuse(&error))
}

async fn plan(
    State(parts): State<Arc<Parts>>,
    Body(request): Body<Request>,
) -> Result<(StatusCode, Answer<ReplayView>), Refusal> {
    let via = request.via.unwrap_or_default();
    let by = by(&request.who, via, reason(&request.why))?.at(&parts.worker.id);
    let made = parts.worker.replays.plan(&request, &by, PATIENCE).await.map_err(|error| refuse(&error))?;
    let status = if made.progress.is_some() { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Answer(made)))
}

async fn get(State(parts): State<Arc<Parts>>, Path(id): Path<String>) -> Answered<ReplayView> {
    parts.worker.replays.get(&id).await.map(Answer).map_err(|error| refuse(&error))
}

async fn run(State(parts): State<Arc<Parts>>, Path(id): Path<String>, Body(act): Body<Act>) -> Answered<ReplayView> {
    let by = act.by()?.at(&parts.worker.id);
    parts.worker.replays.run(&id, &by).await.map(Answer).map_err(|error| refuse(&error))
}

async fn cancel(State(parts): State<Arc<Parts>>, Path(id): Path<String>, Body(act): Body<Act>) -> Answered<ReplayView> {
    let by = act.by()?.at(&parts.worker.id);
    parts.worker.replays.cancel(&id, &by).await.map(Answer).map_err(|error| refuse(&error))
}

async fn resume(State(parts): State<Arc<Parts>>, Path(id): Path<String>, Body(act): Body<Act>) -> Answered<ReplayView> {
    let by = act.by()?.at(&parts.worker.id);
    parts.worker.replays.resume(&id, &by).await.map(Answer).map_err(|error| refuse(&error))
}

async fn rate(
    State(parts): State<Arc<Parts>>,
    Path(id): Path<String>,
    Body(new): Body<NewRate>,
) -> Answered<ReplayView> {
    let by = by(&new.who, new.via, reason(&new.why))?.at(&parts.worker.id);
    parts.worker.replays.rate(&id, new.rate, &by).await.map(Answer).map_err(|error| refuse(&error))
}

pub(super) fn refuse(error: &ReplayError) -> Refusal {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let refusal = match error.field() {
        Some(field) => Refusal::field(field, error.to_string()),
        None => Refusal::new(status, error.to_string()),
    };
    refusal.with_code(error.code())
}

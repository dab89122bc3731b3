//! `/reconcile`: what became of a range of the input, read in the background, because it takes longer than an answer
//! may.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::admin::answer::{Answer, Answered};
use crate::admin::endpoint::Endpoint;
use crate::admin::parts::Parts;
use crate::admin::refusal::Refusal;
use crate::admin::request::Body;
use crate::inspect::reconcile::{Limits, Range, ReconcileError, Refused, Report, reconcile};

/// How long a request waits until the range is known or refused. It is shorter than the time limit of an answer.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long a request waits for the end after a stop.
const STOP: Duration = Duration::from_millis(500);
/// The most records of a range: they are kept in the memory of a worker that delivers.
const MOST_RECORDS: u64 = 5_000_000;
/// The most missing keys that are named.
const MOST_NAMED: usize = 10_000;

/// A range of the input, as the options of `postback reconcile`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// The beginning: RFC 3339, epoch ms, or a span before now, e.g. 2h. With `partition` an offset, and not required.
    #[serde(default)]
    from: Option<Bound>,
    /// The end, which is not part of the range; now, or the end of the partition, if it is absent.
    #[serde(default)]
    to: Option<Bound>,
    /// Only this input topic.
    #[serde(default)]
    topic: Option<String>,
    /// This partition of it: `from` and `to` are offsets.
    #[serde(default)]
    #[schemars(range(min = 0))]
    partition: Option<i32>,
    /// Name at most so many missing keys.
    #[serde(default = "thousand")]
    #[schemars(range(min = 0, max = MOST_NAMED))]
    limit: usize,
}

fn thousand() -> usize {
    1000
}

/// A time or an offset.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "neither a time (RFC 3339, epoch ms, a span such as 2h) nor an offset")]
enum Bound {
    Number(i64),
    Text(String),
}

impl Bound {
    fn text(&self) -> String {
        match self {
            Bound::Number(number) => number.to_string(),
            Bound::Text(text) => text.clone(),
        }
    }
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post::<Wanted, Report, _>("/reconcile", "Compare a range of the input with what became of it", start)
            .says(
                "Begins to read in the background of this replica, one at a time: 409 names the one that runs. Ask this \
                 replica for what it found. Changes nothing. A range of more than 5,000,000 records is for `postback \
                 reconcile`.",
            )
            .succeeds(202)
            .refuses(&[409, 503]),
        Endpoint::get::<Report, _>("/reconcile/{id}", "How far it is, and at the end what `reconcile --json` prints", get)
            .says("Kept for an hour after its end, in the memory of this replica alone.")
            .refuses(&[404]),
        Endpoint::delete::<Report, _>("/reconcile/{id}", "Stop reading", stop)
            .says("What has ended stays as it is.")
            .refuses(&[404]),
    ]
}

async fn start(
    State(parts): State<Arc<Parts>>,
    Body(wanted): Body<Wanted>,
) -> Result<(StatusCode, Answer<Report>), Refusal> {
    if wanted.limit > MOST_NAMED {
        return Err(Refusal::field("limit", format!("has to be at most {MOST_NAMED}")));
    }
    let (from, to) = (wanted.from.map(|bound| bound.text()), wanted.to.map(|bound| bound.text()));
    let range = Range::read((from.as_deref(), to.as_deref()), wanted.topic.as_deref(), wanted.partition)
        .map_err(|wrong| Refusal::field(wrong.field, wrong.message))?;
    let kafka = parts.worker.config.load().kafka.clone();
    let limits = Limits { named: wanted.limit, records: MOST_RECORDS };
    let started = parts.reconciles.start(range, move |range, progress| reconcile(&kafka, range, limits, progress));
    let started = started.map_err(|refused| {
        let status = match refused {
            Refused::Busy { .. } => StatusCode::CONFLICT,
            Refused::NoThread => StatusCode::SERVICE_UNAVAILABLE,
        };
        Refusal::new(status, refused.to_string())
    })?;
    let now = parts.reconciles.begun(&started.id, PATIENCE).await.unwrap_or(started);
    if let Some(error) = parts.reconciles.refused(&now.id) {
        return Err(match error {
            ReconcileError::Range(wrong) => Refusal::field(wrong.field, wrong.message),
            other => Refusal::new(StatusCode::BAD_REQUEST, other.to_string()),
        });
    }
    Ok((StatusCode::ACCEPTED, Answer(now)))
}

async fn get(State(parts): State<Arc<Parts>>, Path(id): Path<String>) -> Answered<Report> {
    parts.reconciles.get(&id).map(Answer).ok_or_else(unknown)
}

async fn stop(State(parts): State<Arc<Parts>>, Path(id): Path<String>) -> Answered<Report> {
    parts.reconciles.stop(&id).ok_or_else(unknown)?;
    parts.reconciles.wait(&id, STOP).await.map(Answer).ok_or_else(unknown)
}

fn unknown() -> Refusal {
    let text = "this replica knows no such one: another replica has it, or its end was more than an hour ago";
    Refusal::new(StatusCode::NOT_FOUND, text)
}

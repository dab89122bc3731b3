//! `/dead-letters`: one by one, by page and by group, and the decisions of an operator on them. All clients share one
//! search, which is in `crate::inspect::dead_letters`.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

use super::change::{LARGEST_SELECTION, with_why};
use crate::admin::answer::{Answer, Answered};
use crate::admin::endpoint::Endpoint;
use crate::admin::parts::Parts;
use crate::admin::refusal::Refusal;
use crate::admin::request::Body;
use crate::clock::now_ms;
use crate::inspect::dead_letters::listing::{self, GroupListing, Listing, ListingError, Query};
use crate::inspect::dead_letters::{Filter, FilterError, Full, Today};
use crate::replay::discard::{self, DiscardRequest, Discarded, UndiscardRequest};

/// How long a change waits for the search to be complete: only what was looked at can be counted and marked. It is
/// shorter than the time limit of an answer, so that the client is told.
const PATIENCE: Duration = Duration::from_secs(8);

/// The query of a page. It is read as pairs; this is its description.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "it describes the query for the document")]
struct PageQuery {
    #[serde(flatten)]
    filter: Filter,
    /// Every dead letter, not only the newest of each origin.
    all: Option<bool>,
    /// Where the last page ended.
    cursor: Option<String>,
    /// The length of the page; 50 if it is absent.
    #[schemars(range(min = 1, max = 500))]
    limit: Option<usize>,
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get::<Listing, _>("/dead-letters", "Dead letters, newest first", page)
            .says("Pages of one search that all clients share. A page that is not full has a cursor until `done`.")
            .query::<PageQuery>()
            .refuses(&[409, 503]),
        Endpoint::get::<GroupListing, _>("/dead-letters/groups", "Counts by reason, code, field and account", groups)
            .query::<Filter>()
            .refuses(&[503]),
        Endpoint::get::<Full, _>("/dead-letters/{partition}/{offset}", "One dead letter, with what to do", letter)
            .refuses(&[404, 503]),
        Endpoint::post::<DiscardRequest, Discarded, _>(
            "/dead-letters/discard",
            "Mark dead letters as done with",
            discard,
        )
        .says("Either `filter` or `items`: what is there now and open. Nothing is deleted. Audited.")
        .refuses(&[503])
        .largest_body(LARGEST_SELECTION),
        Endpoint::post::<UndiscardRequest, Discarded, _>("/dead-letters/undiscard", "Take a discard back", undiscard)
            .says("What it marked is open again. Audited.")
            .refuses(&[503]),
    ]
}

async fn page(State(parts): State<Arc<Parts>>, RawQuery(query): RawQuery) -> Answered<Listing> {
    let pairs = pairs(query.as_deref())?;
    let query = Query::from_pairs(as_texts(&pairs)).map_err(wrong)?;
    listing::page(&parts.worker.scan, &query).await.map(Answer).map_err(refuse)
}

async fn groups(State(parts): State<Arc<Parts>>, RawQuery(query): RawQuery) -> Answered<GroupListing> {
    let pairs = pairs(query.as_deref())?;
    let filter = Filter::from_pairs(as_texts(&pairs)).map_err(wrong)?;
    listing::groups(&parts.worker.scan, &filter).await.map(Answer).map_err(refuse)
}

async fn letter(State(parts): State<Arc<Parts>>, Path(place): Path<(i32, i64)>) -> Answered<Full> {
    let found = listing::letter(&parts.worker.scan, place).await.map_err(refuse)?;
    let Some((record, state)) = found else {
        let (partition, offset) = place;
        let text = format!("no dead letter at {partition}:{offset}: it was never written, or retention deleted it");
        return Err(Refusal::new(StatusCode::NOT_FOUND, text));
    };
    let today = Today::of(&record, &parts.previewer(), now_ms());
    Ok(Answer(Full::new(&record, state, &today)))
}

async fn discard(State(parts): State<Arc<Parts>>, Body(request): Body<DiscardRequest>) -> Answered<Discarded> {
    let by = with_why(&request.who, request.via.unwrap_or_default(), &request.why)?.at(&parts.worker.id);
    let (mut connection, keys) = (parts.redis().await?, parts.worker.keys());
    let redis = (&mut connection, &keys);
    let made = discard::discard(&parts.worker.scan, redis, &request, &by, PATIENCE).await;
    made.map(Answer).map_err(|error| super::replays::refuse(&error))
}

async fn undiscard(State(parts): State<Arc<Parts>>, Body(request): Body<UndiscardRequest>) -> Answered<Discarded> {
    let by = with_why(&request.who, request.via.unwrap_or_default(), &request.why)?.at(&parts.worker.id);
    let (mut connection, keys) = (parts.redis().await?, parts.worker.keys());
    let redis = (&mut connection, &keys);
    let undone = discard::undiscard(&parts.worker.scan, redis, &request.id, &by, PATIENCE).await;
    undone.map(Answer).map_err(|error| super::replays::refuse(&error))
}

/// Name and text of a member of a query.
type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// The members of a query.
///
/// # Errors
/// Refuses a member that is given twice: one of the two would select nothing, without a word.
pub(super) fn pairs(query: Option<&str>) -> Result<Vec<Pair<'_>>, Refusal> {
    let mut pairs: Vec<Pair<'_>> = Vec::new();
    for (name, text) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        if pairs.iter().any(|(known, _)| *known == name) {
            return Err(Refusal::field(name, "is given twice"));
        }
        pairs.push((name, text));
    }
    Ok(pairs)
}

pub(super) fn as_texts<'a>(pairs: &'a [(Cow<'_, str>, Cow<'_, str>)]) -> impl Iterator<Item = (&'a str, &'a str)> {
    pairs.iter().map(|(name, text)| (&**name, &**text))
}

pub(super) fn wrong(error: FilterError) -> Refusal {
    Refusal::field(error.field, error.message)
}

fn refuse(error: ListingError) -> Refusal {
    match error {
        ListingError::Stale(text) => Refusal::new(StatusCode::CONFLICT, text).with_code("stale_cursor"),
        ListingError::Unavailable(text) => Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text),
    }
}

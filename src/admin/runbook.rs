//! The runbook: a page per alert, served at `/runbook/NAME`. The pages are compiled in, so that the link of an alert
//! works while everything else is away, needs no token, and shows the page that fits the version that runs.
//!
//! The pages are the Markdown files of `deploy/runbook`. A browser gets them as HTML under a policy that allows nothing
//! but the page's own style sheet; `NAME.md`, or `Accept: text/markdown`, gets the file as it is. A test compares the
//! list here with the folder, so that no build script is needed.

mod page;
#[cfg(test)]
mod tests;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

use self::page::INDEX;
use super::etag;
use crate::similar::nearest;

/// A page: its name, and its Markdown.
type Page = (&'static str, &'static str);

macro_rules! pages {
    ($($name:literal)*) => { [$(($name, include_str!(concat!("../../deploy/runbook/", $name, ".md")))),*] };
}

const PAGES: [Page; 33] = pages! {
    "NotReady"
    "PostbackAmbiguousResends"
    "PostbackBreakerOpen"
    "PostbackClockHeld"
    "PostbackClockOff"
    "PostbackCommitStuck"
    "PostbackDeadLettersGrow"
    "PostbackDedupeHeld"
    "PostbackDeliverySlow"
    "PostbackErrorShareHigh"
    "PostbackEventsUnaccounted"
    "PostbackFreshnessBurn"
    "PostbackFreshnessBurnSlow"
    "PostbackKafkaAway"
    "PostbackLaneHalted"
    "PostbackLanePaused"
    "PostbackOldestEventOld"
    "PostbackParkedTooLong"
    "PostbackPartitionUnplaced"
    "PostbackRedisAway"
    "PostbackReloadFailed"
    "PostbackReplayStopped"
    "PostbackRetentionClose"
    "PostbackRolloutOld"
    "PostbackSecretOld"
    "PostbackStormStopped"
    "PostbackStuckLowTraffic"
    "PostbackSuccessBurn"
    "PostbackSuccessBurnSlow"
    "PostbackTargetAbsent"
    "PostbackTopicRefused"
    "PostbackUnclassifiedCode"
    "README"
};

/// The routes below `/runbook`. Every link in the pages is relative, so that they work under a path prefix too.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        // Relative links of the index start from the folder.
        .route("/runbook", get(|| async { Redirect::permanent("runbook/") }))
        .route("/runbook/", get(|headers: HeaderMap| async move { answer(&headers, INDEX) }))
        .route(
            "/runbook/{name}",
            get(|Path(name): Path<String>, headers: HeaderMap| async move { answer(&headers, &name) }),
        )
}

fn answer(headers: &HeaderMap, asked: &str) -> Response {
    let (name, is_file) = asked.strip_suffix(".md").map_or((asked, false), |name| (name, true));
    let Some((name, markdown)) = PAGES.iter().find(|(page, _)| *page == name) else {
        return unknown(name);
    };
    if is_file || wants_markdown(headers) {
        return finish(headers, StatusCode::OK, "text/markdown; charset=utf-8", (*markdown).to_owned());
    }
    finish(headers, StatusCode::OK, page::MEDIA_TYPE, page::html(name, markdown))
}

/// Whether the client asks for text and not for HTML.
fn wants_markdown(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let accepted: Vec<&str> = accepted.flat_map(|value| value.split(',')).map(media_range).collect();
    let has = |wanted: &str| accepted.contains(&wanted);
    !has("text/html") && (has("text/markdown") || has("text/plain"))
}

/// A media range without its parameters.
fn media_range(text: &str) -> &str {
    text.split(';').next().unwrap_or_default().trim()
}

/// 404 that lists the pages which may have been meant.
fn unknown(name: &str) -> Response {
    let close = close(name);
    let list: String = close.iter().map(|page| format!("- [{page}]({page}.md)\n")).collect();
    let meant = if close.is_empty() { String::new() } else { format!("Perhaps one of these was meant:\n\n{list}\n") };
    let text = format!("# No such page\n\n{meant}[All pages]({INDEX}.md)\n");
    finish(&HeaderMap::new(), StatusCode::NOT_FOUND, page::MEDIA_TYPE, page::html("No such page", &text))
}

/// The pages whose name contains the word, and the one that is most similar.
fn close(word: &str) -> Vec<&'static str> {
    let names = || PAGES.iter().map(|(name, _)| *name).filter(|name| *name != INDEX);
    let (lower, bare) =
        (word.to_ascii_lowercase(), |name: &str| name.trim_start_matches("Postback").to_ascii_lowercase());
    // Two letters are in too many names.
    let contains =
        |name: &&str| lower.len() > 2 && (name.to_ascii_lowercase().contains(&lower) || lower.contains(&bare(name)));
    let mut found: Vec<&str> = names().filter(contains).collect();
    found.extend(nearest(word, names()).filter(|name| !found.contains(name)).into_iter().collect::<Vec<_>>());
    found
}

fn finish(headers: &HeaderMap, status: StatusCode, media_type: &'static str, body: String) -> Response {
    let tag = etag::of(body.as_bytes());
    let mut response = if etag::is_known(headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        (status, [(header::CONTENT_TYPE, media_type)], body).into_response()
    };
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    };
    set(header::ETAG, &tag);
    // Kept, but asked for each time: a new version of the worker shows its own pages at once.
    set(header::CACHE_CONTROL, "no-cache");
    set(header::VARY, "accept");
    set(header::CONTENT_SECURITY_POLICY, &page::policy());
    set(header::REFERRER_POLICY, "no-referrer");
    response
}

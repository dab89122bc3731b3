//! The console: a static page that uses only the API. Its files are compiled in and served as they are, so it needs no
//! build step, no other host, and no setting to work under a path prefix: every URL in it is relative.
//!
//! The policy allows scripts and styles of this origin only. The import map is the one inline script; it is allowed by
//! its hash.

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::etag;

#[cfg(test)]
mod tests;

const PAGE: &str = include_str!("console/index.html");

/// A file of the console: its path below the page, and its bytes.
type File = (&'static str, &'static [u8]);

macro_rules! files {
    ($($path:literal)*) => { [$(($path, include_bytes!(concat!("console/", $path)).as_slice())),*] };
}

const FILES: [File; 41] = files! {
    "index.html" "style.css" "icon.svg" "app.js"
    "lib/all.js" "lib/bytes.js" "lib/chart.js" "lib/dialog.js" "lib/fetch.js" "lib/filter.js" "lib/flow.js"
    "lib/lane.js" "lib/live.js" "lib/needs.js" "lib/reasons.js" "lib/route.js" "lib/state.js" "lib/table.js"
    "lib/time.js" "lib/ui.js" "lib/view.js"
    "pages/audit.js" "pages/blocked.js" "pages/decide.js" "pages/lanes.js" "pages/letter.js" "pages/letters.js"
    "pages/list.js" "pages/overview.js" "pages/platforms.js" "pages/replay.js" "pages/replays.js" "pages/trace.js"
    "vendor/hooks.mjs" "vendor/htm-preact.mjs" "vendor/htm.mjs" "vendor/preact.mjs" "vendor/signals-core.mjs"
    "vendor/signals.mjs" "vendor/uPlot.iife.min.js" "vendor/uPlot.min.css"
};

/// A route per file, and the page at `/`.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let policy = policy();
    FILES.iter().fold(Router::new(), |router, (path, bytes)| {
        let route = if *path == "index.html" { "/".to_owned() } else { format!("/{path}") };
        let (tag, policy) = (etag::of(bytes), policy.clone());
        let serve = move |headers: HeaderMap| async move { answer(&headers, media_type(path), bytes, &tag, &policy) };
        router.route(&route, get(serve))
    })
}

fn answer(headers: &HeaderMap, media_type: &'static str, bytes: &'static [u8], tag: &str, policy: &str) -> Response {
    let mut response = if etag::is_known(headers, tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, media_type)], bytes).into_response()
    };
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    };
    set(header::ETAG, tag);
    // Kept, but asked for each time: a new version of the worker shows its own console at once.
    set(header::CACHE_CONTROL, "no-cache");
    set(header::CONTENT_SECURITY_POLICY, policy);
    set(header::REFERRER_POLICY, "no-referrer");
    response
}

fn policy() -> String {
    format!(
        "default-src 'none'; script-src 'self' 'sha256-{}'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
        STANDARD.encode(Sha256::digest(import_map()))
    )
}

/// The text of the inline import map, which the browser hashes.
fn import_map() -> &'static str {
    let begin = "<script type=\"importmap\">";
    let text = PAGE.split_once(begin).and_then(|(_, rest)| rest.split_once("</script>"));
    text.map_or("", |(text, _)| text)
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/javascript; charset=utf-8",
    }
}

//! A URL as the parts of a request and its connection.

use http::Uri;
use http::header::HeaderValue;
use url::Url;

/// Where a request goes.
pub(super) struct Target {
    pub base: usize,
    /// As the sender gave it.
    pub path: String,
    /// Path and query.
    pub uri: Uri,
    pub host: HeaderValue,
}

/// Scheme, host and port.
pub(super) fn origin(url: &Url) -> Option<Uri> {
    format!("{}://{}/", url.scheme(), authority(url)?).parse().ok()
}

/// As in a `Host` header.
fn authority(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

pub(super) fn target(url: &Url, base: usize, path: String) -> Option<Target> {
    let host = authority(url)?;
    let query = url.query().map_or_else(String::new, |query| format!("?{query}"));
    Some(Target {
        base,
        path,
        uri: format!("{}{query}", url.path()).parse().ok()?,
        host: HeaderValue::try_from(host).ok()?,
    })
}

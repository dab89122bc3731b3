//! A URL, and a sender's request in the form of an HTTP request.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Uri};
use http_body_util::Full;
use url::Url;

use crate::platforms::Request;

/// The target of a request.
pub(super) struct Target {
    pub base: usize,
    /// The path as the sender gave it.
    pub path: String,
    /// Path and query.
    pub uri: Uri,
    pub host: HeaderValue,
}

/// Scheme, host and port.
pub(super) fn origin(url: &Url) -> Option<Uri> {
    format!("{}://{}/", url.scheme(), authority(url)?).parse().ok()
}

/// Host and port in the form of a `Host` header.
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

/// The HTTP request without the headers that the connection adds; or the name of the part that HTTP cannot carry.
pub(super) fn http(request: Request, target: &Target) -> Result<http::Request<Full<Bytes>>, String> {
    let mut http = http::Request::new(Full::<Bytes>::new(request.body));
    *http.method_mut() = Method::from_bytes(request.method.as_bytes()).map_err(|_| "method")?;
    *http.uri_mut() = target.uri.clone();
    let headers = http.headers_mut();
    headers.reserve(request.headers.len() + 3);
    for (name, value) in request.headers {
        let name = if name.eq_ignore_ascii_case("content-type") {
            CONTENT_TYPE
        } else {
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| name)?
        };
        let value = HeaderValue::try_from(value).map_err(|_| name.as_str())?;
        headers.insert(name, value);
    }
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("postback/", env!("CARGO_PKG_VERSION"))));
    headers.insert(HOST, target.host.clone());
    Ok(http)
}

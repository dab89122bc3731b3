//! The hosts of an account, and a sender's request in the form of an HTTP request to one of them.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use http::uri::PathAndQuery;
use http::{Method, Uri};
use http_body_util::Full;
use url::Url;

use crate::platforms::{CallbackHost, Request};
use crate::send::client::Connections;

/// A host to which requests of an account go.
pub(super) struct Host {
    pub connections: Connections,
    /// The part of the path that stands before the path of each request. It is empty or begins with `/`.
    pub prefix: Box<str>,
    /// The `Host` header.
    name: HeaderValue,
}

impl Host {
    /// The host of a base URL, which may end with a path.
    pub fn of_base(text: &str, connections: impl FnOnce(Uri) -> Connections) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let host = url.host_str()?;
        let name = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Self::new(url.scheme(), &name, url.path().trim_end_matches('/'), connections)
    }

    /// A callback host of the account's platform.
    pub fn of_callback(host: &str, is_https: bool, connections: impl FnOnce(Uri) -> Connections) -> Option<Self> {
        Self::new(if is_https { "https" } else { "http" }, host, "", connections)
    }

    fn new(scheme: &str, name: &str, prefix: &str, connections: impl FnOnce(Uri) -> Connections) -> Option<Self> {
        let origin: Uri = format!("{scheme}://{name}/").parse().ok()?;
        let name = HeaderValue::try_from(name).ok()?;
        Some(Self { connections: connections(origin), prefix: prefix.into(), name })
    }

    /// Whether a callback leads to this host.
    pub fn is_of(&self, callback: &CallbackHost) -> bool {
        let origin = self.connections.origin();
        let is_https = origin.scheme_str() == Some("https");
        is_https == callback.is_https && origin.host().is_some_and(|host| host.eq_ignore_ascii_case(&callback.host))
    }

    /// The HTTP request without the headers that the connection adds; or the name of the part that HTTP cannot carry.
    /// `path` is the whole path.
    pub fn http(&self, request: Request, path: PathAndQuery) -> Result<http::Request<Full<Bytes>>, String> {
        let mut http = http::Request::new(Full::<Bytes>::new(request.body));
        *http.method_mut() = Method::from_bytes(request.method.as_bytes()).map_err(|_| "method")?;
        *http.uri_mut() = Uri::from(path);
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
        headers.insert(HOST, self.name.clone());
        Ok(http)
    }
}

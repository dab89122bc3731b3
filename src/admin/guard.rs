//! Decides who may do what under `/api/v1` (contract section 8).
//!
//! With a token: everything but `/status` needs it. Without a token: everybody may read, and a change must come from
//! this machine in a form that no foreign web page can send: a JSON body, a local `Host`, and no foreign `Origin`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq as _;

use super::Refusal;
use crate::secret::SecretString;

/// The rule that is in force.
#[derive(Clone)]
pub(super) struct Guard {
    token: Option<Arc<SecretString>>,
}

impl Guard {
    pub(super) fn new(token: &SecretString) -> Self {
        let set = !token.expose().is_empty();
        Self { token: set.then(|| Arc::new(token.clone())) }
    }

    fn judge(&self, request: &Request) -> Result<(), Refusal> {
        let change = !matches!(*request.method(), Method::GET | Method::HEAD);
        if let Some(token) = &self.token {
            // The path is relative to `/api/v1`. No handler answers to another spelling of it, so an exact match is
            // enough.
            if !change && request.uri().path() == "/status" {
                return Ok(());
            }
            return bearer(request.headers(), token.expose());
        }
        if change { local(request) } else { Ok(()) }
    }
}

/// Passes a request on, or answers it with a refusal.
pub(super) async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.judge(&request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

fn bearer(headers: &HeaderMap, token: &str) -> Result<(), Refusal> {
    let refused = || Refusal::new(StatusCode::UNAUTHORIZED, "send `Authorization: Bearer TOKEN` with admin.token");
    let given = single(headers, header::AUTHORIZATION).ok_or_else(refused)?;
    let (scheme, given) = given.split_once(' ').ok_or_else(refused)?;
    let same = bool::from(given.trim_start().as_bytes().ct_eq(token.as_bytes()));
    if scheme.eq_ignore_ascii_case("bearer") && same { Ok(()) } else { Err(refused()) }
}

fn local(request: &Request) -> Result<(), Refusal> {
    let headers = request.headers();
    let forbidden = |why: &str| {
        Err(Refusal::new(StatusCode::FORBIDDEN, format!("{why}; set admin.token to change things from elsewhere")))
    };
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    if !peer.is_some_and(|ConnectInfo(peer)| peer.ip().to_canonical().is_loopback()) {
        return forbidden("without a token only this machine may change something");
    }
    let Some(host) = single(headers, header::HOST).filter(|host| local_name(host)) else {
        return forbidden("the Host header must be localhost, 127.0.0.1 or [::1]");
    };
    if headers.contains_key(header::ORIGIN) && !single(headers, header::ORIGIN).is_some_and(|o| same_origin(o, host)) {
        return forbidden("the Origin header names another site");
    }
    let json = single(headers, header::CONTENT_TYPE)
        .is_some_and(|t| t.split(';').next().is_some_and(|t| t.trim().eq_ignore_ascii_case("application/json")));
    if !json {
        let text = "send `Content-Type: application/json`";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    Ok(())
}

/// The value of a header that occurs exactly once.
fn single(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}

/// Whether the host is `localhost`, `127.0.0.1` or `::1`, with any port.
fn local_name(host: &str) -> bool {
    let port = |p: &str| p.is_empty() || p.strip_prefix(':').is_some_and(|p| p.parse::<u16>().is_ok());
    let host = host.to_ascii_lowercase();
    host == "::1" || ["localhost", "127.0.0.1", "[::1]"].iter().any(|n| host.strip_prefix(n).is_some_and(port))
}

/// Whether the origin is a page of this endpoint. Another local port is another site.
fn same_origin(origin: &str, host: &str) -> bool {
    let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    rest.is_some_and(|rest| rest.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_local() {
        for host in ["localhost", "LOCALHOST:9464", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:9464", "::1"] {
            assert!(local_name(host), "{host}");
        }
        for host in
            ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil", "127.0.0.1:x", "[::1]x", "10.0.0.1"]
        {
            assert!(!local_name(host), "{host}");
        }
    }

    #[test]
    fn a_page_of_another_port_or_scheme_is_another_site() {
        assert!(same_origin("http://localhost:9464", "localhost:9464"));
        assert!(!same_origin("http://localhost:3000", "localhost:9464"));
        assert!(!same_origin("http://127.0.0.1:9464", "localhost:9464"));
        assert!(!same_origin("null", "localhost:9464"));
        assert!(!same_origin("file://localhost:9464", "localhost:9464"));
    }
}

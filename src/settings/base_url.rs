//! The base URL of an account. A URL that would show a credential, send in the clear, or lead to a private address by
//! accident is refused.

use std::net::IpAddr;

use url::{Host, Url};

use crate::account::address::named_private;

/// What an account explicitly allows.
#[derive(Clone, Copy)]
pub(super) struct Allowed {
    /// Plain `http://`.
    pub http: bool,
    /// Private and loopback addresses.
    pub private: bool,
}

/// Returns the URL without the `/` at its end, as it will be used, or every reason against it. The reasons do not
/// repeat the URL, because it may hold a password.
pub(super) fn check(text: &str, allowed: Allowed) -> Result<String, Vec<String>> {
    let url = Url::parse(text).map_err(|error| vec![format!("is no URL: {error}")])?;
    let mut reasons = Vec::new();
    match url.scheme() {
        "https" => {}
        "http" if allowed.http => {}
        "http" => reasons.push(
            "is plain http://, which anybody on the way can read; use https://, or set allow_http = true for a sandbox"
                .to_owned(),
        ),
        other => return Err(vec![format!("has the scheme {other}://; it has to be https://")]),
    }
    if !url.username().is_empty() || url.password().is_some() {
        reasons.push("holds a user name or password; credentials belong into `secrets`".to_owned());
    }
    if url.query().is_some() {
        reasons.push("holds a query (?…); only scheme, host, port and a path prefix may stand here".to_owned());
    }
    if url.fragment().is_some() {
        reasons.push("holds a fragment (#…); only scheme, host, port and a path prefix may stand here".to_owned());
    }
    // The address of a host name is judged again when it is resolved.
    if !allowed.private
        && let Some(why) = named_private(&url)
    {
        reasons.push(format!("leads to an address that is {why}; set allow_private = true if that is meant"));
    }
    if !reasons.is_empty() {
        return Err(reasons);
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Whether a URL leads to this base URL, which has no path of its own.
pub(super) fn is_of(url: &str, base: &str) -> bool {
    let (Ok(url), Ok(base)) = (Url::parse(url), Url::parse(base)) else { return false };
    url.origin() == base.origin() && base.path() == "/"
}

/// Whether a URL that [`check`] returned leads to this host and nowhere else.
pub(super) fn is_loopback(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).to_canonical().is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests;

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
mod tests {
    use super::*;

    const STRICT: Allowed = Allowed { http: false, private: false };

    #[test]
    fn every_spelling_of_a_private_address_is_refused() {
        for host in [
            "127.0.0.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "0x7f.1",
            "127.1",
            "017700000001",
            "10.1.2.3",
            "192.168.0.1:8443",
            "169.254.169.254",
            "0.0.0.0",
            "0",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:a9fe:a9fe]",
            "[fd00:ec2::254]",
            "[fe80::1]",
            "localhost",
            "LOCALHOST",
            "localhost.",
            "api.localhost",
            "127.0.0.1.",
        ] {
            let reasons = check(&format!("https://{host}/x"), STRICT).expect_err(host);
            assert!(reasons.iter().any(|r| r.contains("allow_private")), "{host}: {reasons:?}");
            assert!(check(&format!("https://{host}/x"), Allowed { http: false, private: true }).is_ok(), "{host}");
        }
    }

    #[test]
    fn a_public_host_loses_its_last_slash_and_keeps_its_path() {
        for (text, want) in [
            ("https://convert.dop.360.cn/", "https://convert.dop.360.cn"),
            ("https://proxy.example:8443/a/b//", "https://proxy.example:8443/a/b"),
            ("https://16843009", "https://1.1.1.1"),
            ("HTTPS://Example.ORG", "https://example.org"),
        ] {
            assert_eq!(check(text, STRICT).as_deref(), Ok(want));
        }
    }

    #[test]
    fn what_does_not_belong_into_a_base_url_is_refused_without_repeating_it() {
        for text in [
            "https://user:MARKER@example.org",
            "https://MARKER@example.org",
            "https://example.org?k=MARKER",
            "https://example.org/#MARKER",
            "ftp://example.org/MARKER",
            "http://example.org/MARKER",
            "example.org/MARKER",
            "https://",
            "https://exa mple/MARKER",
        ] {
            let reasons = check(text, STRICT).expect_err(text);
            assert!(!reasons.concat().contains("MARKER"), "{reasons:?}");
        }
    }

    #[test]
    fn all_reasons_are_given_at_once() {
        assert_eq!(check("http://u:p@10.0.0.1/?q#f", STRICT).map_err(|r| r.len()), Err(5));
    }
}

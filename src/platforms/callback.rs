//! A callback: a URL that an event brings, to which its request goes instead of the account's base URL.
//!
//! Whoever fakes a click can write this URL. It is therefore followed only to the host names on the platform's own
//! list, at their scheme's own port, and it is never resolved here: the addresses of the host are checked before each
//! connection. The authority is compared as text and not parsed, because two parsers could read two hosts out of one
//! URL.

use std::borrow::Cow;
use std::fmt;

use http::uri::PathAndQuery;

use crate::error::Fault;

/// Scheme and host of a callback: the host of its platform's list, and the own port of the scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackHost {
    /// The field of the event that holds the URL.
    pub field: Cow<'static, str>,
    /// `false`: plain `http://`, which an account has to allow.
    pub is_https: bool,
    /// In lower case.
    pub host: Box<str>,
    /// The platform states the whole URL and the event only fills its query, so that a redirect says something about
    /// the platform and not about the event.
    pub is_fixed: bool,
}

impl fmt::Display for CallbackHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.is_https { "https" } else { "http" }, self.host)
    }
}

/// Splits the URL in `field` into its host and its path with query, both as they are sent. A fragment is left out.
///
/// # Errors
/// The URL is not to be followed. The text does not repeat it.
pub fn callback<'a>(
    field: impl Into<Cow<'static, str>>,
    url: &'a str,
    hosts: &[impl AsRef<str>],
) -> Result<(CallbackHost, Cow<'a, str>), Fault> {
    let field = field.into();
    let refuse = |reason: &str| Fault::new(field.clone(), reason);
    if !url.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(refuse("holds a space, a control character or a character that is not ASCII"));
    }
    let (scheme, rest) = url.split_once("://").ok_or_else(|| refuse("is no URL that begins with https://"))?;
    let (is_https, port) = match scheme {
        _ if scheme.eq_ignore_ascii_case("https") => (true, ":443"),
        _ if scheme.eq_ignore_ascii_case("http") => (false, ":80"),
        _ => return Err(refuse("is no URL that begins with https://")),
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err(refuse("holds a user name or a password, which no callback has"));
    }
    let name = authority.strip_suffix(port).unwrap_or(authority);
    if !is_callback_host(name) {
        return Err(refuse(
            "does not lead to a named host at its scheme's own port (443 for https, 80 for http): neither an address nor \
             another port is followed",
        ));
    }
    let mut listed = hosts.iter().map(AsRef::as_ref);
    if !listed.any(|host| host.eq_ignore_ascii_case(name)) {
        return Err(refuse("leads to a host that is not on the platform's list of callback hosts"));
    }
    let path = path.split('#').next().unwrap_or_default();
    let path = if path.starts_with('/') { Cow::Borrowed(path) } else { Cow::Owned(format!("/{path}")) };
    if PathAndQuery::try_from(&*path).is_err() {
        return Err(refuse("holds a character that no path or query of a URL may have"));
    }
    Ok((CallbackHost { field, is_https, host: name.to_ascii_lowercase().into(), is_fixed: false }, path))
}

/// Whether a text is a full host name, as a platform's list of callback hosts states them: no address in any spelling,
/// no port, no name without a dot.
pub fn is_callback_host(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // The last label of an address begins with a digit, in decimal, octal and hexadecimal.
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253
        && name.contains('.')
        && name.split('.').all(is_label)
        && last.starts_with(|c: char| c.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTS: [&str; 2] = ["als.baidu.com", "OCPC.baidu.com"];

    fn of(url: &str) -> Result<(String, String), String> {
        let (host, path) = callback("click.callback", url, &HOSTS).map_err(|fault| {
            assert_eq!(fault.field, "click.callback");
            assert!(!fault.detail.contains("MARKER"), "{}", fault.detail);
            fault.detail
        })?;
        Ok((host.to_string(), path.into_owned()))
    }

    #[test]
    fn a_listed_host_is_followed_with_the_path_and_query_as_they_came() {
        for (url, host, path) in [
            ("https://als.baidu.com/cb/actionCb?a=1&b=%2F", "https://als.baidu.com", "/cb/actionCb?a=1&b=%2F"),
            ("HTTPS://ALS.Baidu.Com:443/x", "https://als.baidu.com", "/x"),
            ("http://ocpc.baidu.com:80/ocpcapi/cb/actionCb?x", "http://ocpc.baidu.com", "/ocpcapi/cb/actionCb?x"),
            ("https://als.baidu.com", "https://als.baidu.com", "/"),
            ("https://als.baidu.com?a=1", "https://als.baidu.com", "/?a=1"),
            ("https://als.baidu.com/a#b", "https://als.baidu.com", "/a"),
            ("https://als.baidu.com/a/../b?u=http://other/@x", "https://als.baidu.com", "/a/../b?u=http://other/@x"),
            ("https://als.baidu.com//other.example/a", "https://als.baidu.com", "//other.example/a"),
        ] {
            assert_eq!(of(url), Ok((host.to_owned(), path.to_owned())), "{url}");
        }
    }

    #[test]
    fn no_spelling_leads_to_another_host() {
        for (url, says) in [
            ("https://evil.example/MARKER", "not on the platform's list"),
            ("https://als.baidu.com.evil.example/MARKER", "not on the platform's list"),
            ("https://evilals.baidu.com/", "not on the platform's list"),
            ("https://x.als.baidu.com/", "not on the platform's list"),
            ("https://baidu.com/", "not on the platform's list"),
            ("https://als.baidu.com./MARKER", "named host"),
            ("https://als.baidu.com@evil.example/", "user name"),
            ("https://user:MARKER@als.baidu.com/", "user name"),
            ("https://@als.baidu.com/", "user name"),
            ("https://als.baidu.com:8443/MARKER", "own port"),
            ("https://als.baidu.com:80/", "own port"),
            ("http://als.baidu.com:443/", "own port"),
            ("https://als.baidu.com:/", "own port"),
            ("https://als.baidu.com:0443/", "own port"),
            ("https://127.0.0.1/MARKER", "named host"),
            ("https://169.254.169.254/latest/meta-data", "named host"),
            ("https://2130706433/", "named host"),
            ("https://0x7f.1/", "named host"),
            ("https://0177.0.0.0x1/", "named host"),
            ("https://[::1]/", "named host"),
            ("https://[::ffff:127.0.0.1]:443/", "named host"),
            ("https://localhost/", "named host"),
            ("https:///als.baidu.com/", "named host"),
            ("https://evil.example\\.als.baidu.com/", "not on the platform's list"),
            ("https://als.baidu.com%2eevil.example/", "named host"),
            ("https://evil.example%2f.als.baidu.com/", "named host"),
            ("https:/als.baidu.com/", "begins with https://"),
            ("https:\\\\als.baidu.com/", "begins with https://"),
            ("//als.baidu.com/MARKER", "begins with https://"),
            ("als.baidu.com/MARKER", "begins with https://"),
            ("ftp://als.baidu.com/MARKER", "begins with https://"),
            ("file:///etc/passwd://als.baidu.com", "begins with https://"),
            (" https://als.baidu.com/", "a space"),
            ("https://als.baidu.com/MARKER\r\nhost: evil.example", "control character"),
            ("https://als.baidu\t.com/", "control character"),
            ("https://als.baidu.com/游戏", "not ASCII"),
            ("https://аls.baidu.com/", "not ASCII"),
            ("", "begins with https://"),
        ] {
            let said = of(url).expect_err(url);
            assert!(said.contains(says), "{url}: {said}");
        }
    }

    #[test]
    fn a_list_that_names_an_address_leads_to_no_address() {
        let hosts = ["127.0.0.1", "[::1]", "localhost", "2130706433", "als.baidu.com:8443", "0x7f.0x1"];
        for host in hosts {
            assert!(!is_callback_host(host), "{host}");
            assert!(callback("f", &format!("https://{host}/"), &hosts).is_err(), "{host}");
        }
        for host in ["als.baidu.com", "api.e.qq.com", "a-b.example", "x.3com"] {
            assert_eq!(is_callback_host(host), host != "x.3com", "{host}");
        }
    }
}

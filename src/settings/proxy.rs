//! `accounts.NAME.proxy`: one URL. No error message repeats it, because it may hold a password.

use percent_encoding::percent_decode_str;
use serde::Deserializer;
use serde::de::Error;
use url::Url;

use crate::account::proxy::{Proxy, ProxyLogin, ProxyProtocol};
use crate::config::fields::secret;
use crate::config::secret::intact;
use crate::secret::SecretString;

/// The longest user or password, in bytes, that every proxy protocol can carry.
const LONGEST: usize = 255;

/// Reads `http://user:password@host:port`, `https://…` or `socks5://…`.
pub(super) fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Proxy>, D::Error> {
    parse(secret(from)?.expose()).map(Some).map_err(D::Error::custom)
}

fn parse(text: &str) -> Result<Proxy, String> {
    let url = Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
    let (protocol, default_port) = match url.scheme() {
        "http" => (ProxyProtocol::Http, 80),
        "https" => (ProxyProtocol::Https, 443),
        "socks5" | "socks5h" => (ProxyProtocol::Socks5, 1080),
        other => return Err(format!("has the scheme {other}://; it has to be http://, https:// or socks5://")),
    };
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or("names no host")?.to_owned();
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err("holds more than user, password, host and port".to_owned());
    }
    Ok(Proxy { protocol, host, port: url.port().unwrap_or(default_port), login: login(&url, protocol)? })
}

fn login(url: &Url, protocol: ProxyProtocol) -> Result<Option<ProxyLogin>, String> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let part = |text: &str| {
        let plain = percent_decode_str(text).decode_utf8().map_err(|_| "holds an escape that is no UTF-8")?;
        intact(&plain)?;
        if plain.len() > LONGEST {
            return Err(format!("holds a user or a password of more than {LONGEST} bytes"));
        }
        Ok(plain.into_owned())
    };
    let (user, password) = (part(url.username())?, part(url.password().unwrap_or_default())?);
    match protocol {
        ProxyProtocol::Http | ProxyProtocol::Https if user.contains(':') => {
            Err("has a user with a colon, which HTTP cannot carry".to_owned())
        }
        ProxyProtocol::Socks5 if user.is_empty() || password.is_empty() => {
            Err("needs a user and a password, or neither".to_owned())
        }
        _ => Ok(Some(ProxyLogin { user: SecretString::new(user), password: SecretString::new(password) })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_read_with_its_protocol_port_and_login() {
        use ProxyProtocol::{Http, Https, Socks5};
        let rows = [
            ("http://proxy.example", Http, "proxy.example", 80, None),
            ("http://proxy.example:3128/", Http, "proxy.example", 3128, None),
            ("HTTP://li:s%3Acret%40@10.0.0.1:8080", Http, "10.0.0.1", 8080, Some(("li", "s:cret@"))),
            ("http://key@proxy.example:8080", Http, "proxy.example", 8080, Some(("key", ""))),
            ("https://proxy:443", Https, "proxy", 443, None),
            ("https://proxy.example", Https, "proxy.example", 443, None),
            ("https://li:s%3Acret@[::1]:8443/", Https, "[::1]", 8443, Some(("li", "s:cret"))),
            ("socks5://[::1]:9050", Socks5, "[::1]", 9050, None),
            ("socks5h://li:%E5%AF%86@proxy.example", Socks5, "proxy.example", 1080, Some(("li", "密"))),
        ];
        for (text, protocol, host, port, login) in rows {
            let proxy = parse(text).unwrap_or_else(|reason| panic!("{text}: {reason}"));
            let read = proxy.login.as_ref().map(|login| (login.user.expose(), login.password.expose()));
            assert_eq!((proxy.protocol, &*proxy.host, proxy.port, read), (protocol, host, port, login), "{text}");
        }
    }

    #[test]
    fn what_is_no_proxy_is_refused_without_repeating_it() {
        let long = format!("socks5://u:MARKER{}@h", "x".repeat(255));
        let rows = [
            ("socks4://u:MARKER@h", "it has to be http://, https:// or socks5://"),
            ("h:3128", "it has to be http://, https:// or socks5://"),
            ("MARKER", "is no URL"),
            ("http://u:MARKER@", "is no URL"),
            ("http://u:MARKER@h/path", "holds more than"),
            ("http://h?q=MARKER", "holds more than"),
            ("http://h#MARKER", "holds more than"),
            ("http://u%3A:MARKER@h", "a user with a colon"),
            ("https://u%3A:MARKER@h", "a user with a colon"),
            ("https://u:MARKER@h/path", "holds more than"),
            ("socks5://MARKER@h", "needs a user and a password"),
            ("http://u:MARKER%0A@h", "a line break"),
            ("http://u:MARKER%FF@h", "no UTF-8"),
            (&long, "more than 255 bytes"),
        ];
        for (text, why) in rows {
            let reason = parse(text).expect_err(text);
            assert!(reason.contains(why) && !reason.contains("MARKER"), "{text}: {reason}");
        }
    }

    #[test]
    fn a_proxy_prints_no_login() {
        let proxy = parse("http://MARKER:MARKER@h").unwrap();
        assert!(!format!("{proxy:?}").contains("MARKER"));
    }
}

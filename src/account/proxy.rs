//! The proxy through which an account reaches its platform.

use crate::secret::SecretString;

/// `accounts.NAME.proxy`.
#[derive(Clone, Debug)]
pub struct Proxy {
    pub protocol: ProxyProtocol,
    /// Its name or address; an IPv6 address stands in brackets. It may be private.
    pub host: String,
    /// Where it listens.
    pub port: u16,
    /// `None`: it asks for nothing.
    pub login: Option<ProxyLogin>,
}

/// How a proxy is asked for a connection to the platform. The platform's name is resolved by the proxy either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// `CONNECT` of HTTP/1.1.
    Http,
    /// The same inside of TLS with the proxy, whose certificate has to be valid for its host.
    Https,
    /// SOCKS5.
    Socks5,
}

/// Who the account is to its proxy.
#[derive(Clone, Debug)]
pub struct ProxyLogin {
    /// Hidden too: some providers put their key here.
    pub user: SecretString,
    /// As it is, without the escapes of a URL.
    pub password: SecretString,
}

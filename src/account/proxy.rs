//! The proxy through which an account reaches its platform.

use crate::secret::SecretString;

/// `accounts.NAME.proxy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    pub protocol: ProxyProtocol,
    /// The name or address of the proxy, which may be private. An IPv6 address stands in brackets.
    pub host: String,
    /// The port of the proxy.
    pub port: u16,
    /// The login; `None`: the proxy asks for none.
    pub login: Option<ProxyLogin>,
}

/// How the account asks its proxy for a connection. With both protocols the proxy resolves the platform's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// `CONNECT` of HTTP/1.1.
    Http,
    /// `CONNECT` inside TLS to the proxy. The certificate of the proxy has to be valid for its host.
    Https,
    Socks5,
}

/// The login of the account at its proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyLogin {
    /// The user is hidden too, because some providers put their key here.
    pub user: SecretString,
    /// The password without the escapes of a URL.
    pub password: SecretString,
}

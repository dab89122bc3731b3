//! The way of a connection to the platform's host: direct, or through the account's proxy. TLS, where it is spoken, is spoken
//! with the platform, inside of what the proxy passes on.

use std::net::SocketAddr;
use std::task::{Context, Poll};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::future::BoxFuture;
use http::Uri;
use http::header::HeaderValue;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_socks::tcp::Socks5Stream;
use tower_service::Service;
use url::Url;

use super::lookup::lookup;
use crate::account::address::{named_private, private};
use crate::account::proxy::{Proxy, ProxyLogin, ProxyProtocol};

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Tcp = HttpConnector<Resolver>;
type TunnelError = <Tunnel<Tcp> as Service<Uri>>::Error;

/// The host resolves to an address that the account may not reach.
#[derive(Debug, thiserror::Error)]
#[error("the host resolves to a private address")]
pub struct PrivateAddress;

/// The host is named by an address that the account may not reach. A proxy resolves names itself, so nothing else of it can
/// be judged.
#[derive(Debug, thiserror::Error)]
#[error("the host is named by a private address")]
pub struct PrivateName;

/// What the account's proxy has against a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyFailure {
    /// There is no connection to it.
    #[error("the proxy cannot be reached")]
    Unreached,
    /// It asks for another user or password.
    #[error("the proxy refuses the account")]
    Refused,
    /// It does not connect to the platform.
    #[error("the proxy makes no connection to the platform")]
    NoWay,
}

#[derive(Clone)]
pub(super) enum Way {
    Direct(Tcp),
    Proxied { through: Through, allow_private: bool },
}

#[derive(Clone)]
pub(super) enum Through {
    Http(Tunnel<Tcp>),
    Socks5 { tcp: Tcp, proxy: Uri, login: Option<ProxyLogin> },
}

impl Way {
    pub(super) fn new(allow_private: bool, proxy: Option<&Proxy>) -> Result<Self, BoxError> {
        let Some(proxy) = proxy else { return Ok(Self::Direct(tcp(allow_private))) };
        // The operator names the proxy, which usually stands in the own network.
        let (tcp, uri) = (tcp(true), format!("http://{}:{}/", proxy.host, proxy.port).parse()?);
        let through = match proxy.protocol {
            ProxyProtocol::Http => {
                let tunnel = Tunnel::new(uri, tcp);
                Through::Http(match &proxy.login {
                    Some(login) => tunnel.with_auth(basic(login)?),
                    None => tunnel,
                })
            }
            ProxyProtocol::Socks5 => Through::Socks5 { tcp, proxy: uri, login: proxy.login.clone() },
        };
        Ok(Self::Proxied { through, allow_private })
    }
}

fn tcp(allow_private: bool) -> Tcp {
    let mut tcp = HttpConnector::new_with_resolver(Resolver { allow_private });
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp
}

fn basic(login: &ProxyLogin) -> Result<HeaderValue, BoxError> {
    let plain = format!("{}:{}", login.user.expose(), login.password.expose());
    Ok(HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(plain)))?)
}

impl Service<Uri> for Way {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // Neither TCP nor the resolver has anything to wait for.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        match self {
            Self::Direct(tcp) => {
                let connecting = tcp.call(to);
                Box::pin(async { Ok(connecting.await?) })
            }
            Self::Proxied { through, allow_private } => {
                let (through, allow_private) = (through.clone(), *allow_private);
                Box::pin(async move {
                    let url = Url::parse(&to.to_string())?;
                    if !allow_private && named_private(&url).is_some() {
                        return Err(PrivateName.into());
                    }
                    let (host, port) =
                        url.host_str().zip(url.port_or_known_default()).ok_or("the URL names no host")?;
                    through.connect(host, port).await
                })
            }
        }
    }
}

impl Through {
    async fn connect(self, host: &str, port: u16) -> Result<TokioIo<TcpStream>, BoxError> {
        match self {
            Self::Http(mut tunnel) => {
                // With its port, which would be 443 otherwise.
                let to = format!("http://{host}:{port}/").parse::<Uri>()?;
                Ok(tunnel.call(to).await.map_err(|error| match error {
                    TunnelError::ConnectFailed(_) | TunnelError::Io(_) => ProxyFailure::Unreached,
                    TunnelError::ProxyAuthRequired => ProxyFailure::Refused,
                    _ => ProxyFailure::NoWay,
                })?)
            }
            Self::Socks5 { mut tcp, proxy, login } => {
                let stream = tcp.call(proxy).await.map_err(|_| ProxyFailure::Unreached)?.into_inner();
                let to = (host.trim_matches(['[', ']']), port);
                let connecting = match &login {
                    Some(ProxyLogin { user, password }) => {
                        let (user, password) = (user.expose(), password.expose());
                        Socks5Stream::connect_with_password_and_socket(stream, to, user, password).await
                    }
                    None => Socks5Stream::connect_with_socket(stream, to).await,
                };
                let stream = connecting.map_err(|error| {
                    use tokio_socks::Error;
                    match error {
                        Error::Io(_) => ProxyFailure::Unreached,
                        Error::NoAcceptableAuthMethods
                        | Error::PasswordAuthFailure(_)
                        | Error::InvalidAuthValues(_)
                        | Error::AuthorizationRequired => ProxyFailure::Refused,
                        _ => ProxyFailure::NoWay,
                    }
                })?;
                Ok(TokioIo::new(stream.into_inner()))
            }
        }
    }
}

/// The resolved address is what is checked: a name may point anywhere, and elsewhere tomorrow.
#[derive(Clone)]
pub(super) struct Resolver {
    allow_private: bool,
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let allow_private = self.allow_private;
        Box::pin(async move { Ok(addresses(name.as_str(), 0, allow_private).await?.into_iter()) })
    }
}

/// One private address among public ones refuses them all: which one is taken is not ours to say.
pub fn reachable(found: Vec<SocketAddr>, allow_private: bool) -> Result<Vec<SocketAddr>, PrivateAddress> {
    if !allow_private && found.iter().any(|a| private(a.ip()).is_some()) {
        return Err(PrivateAddress);
    }
    Ok(found)
}

/// Where a name leads; refused as a whole where any of it is private and that is not allowed.
///
/// # Errors
/// The name does not resolve, or [`PrivateAddress`].
pub async fn addresses(host: &str, port: u16, allow_private: bool) -> Result<Vec<SocketAddr>, BoxError> {
    let found = lookup(host).await?;
    Ok(reachable(found.iter().map(|ip| SocketAddr::new(*ip, port)).collect(), allow_private)?)
}

//! Asks an account's proxy for a connection to the platform.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::Uri;
use http::header::HeaderValue;
use hyper::rt::{Read, Write};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio_socks::tcp::Socks5Stream;
use tower_service::Service;

use super::sources::{is_bad_certificate, sources};
use super::stream::WayStream;
use super::tcp::{BoxError, Tcp, tcp};
use crate::account::proxy::{Proxy, ProxyLogin, ProxyProtocol};

type TunnelError = <Tunnel<Tcp> as Service<Uri>>::Error;

/// Why the account's proxy makes no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyFailure {
    /// No connection to the proxy can be made.
    #[error("the proxy cannot be reached")]
    Unreached,
    /// The proxy is reached over TLS, and its certificate is not valid for its host.
    #[error("the proxy's certificate is not valid")]
    Certificate,
    /// The proxy demands another user or password.
    #[error("the proxy refuses the account")]
    Refused,
    /// The proxy does not connect to the platform.
    #[error("the proxy makes no connection to the platform")]
    NoWay,
}

#[derive(Clone)]
pub(super) enum Through {
    Http(Tunnel<Tcp>),
    Https(Tunnel<HttpsConnector<Tcp>>),
    Socks5 { tcp: Tcp, proxy: Uri, login: Option<ProxyLogin> },
}

impl Through {
    /// `tls` holds the trusted certificates for a proxy that is reached over TLS.
    pub(super) fn new(proxy: &Proxy, tls: &ClientConfig) -> Result<Self, BoxError> {
        // A proxy may have a private address, because an operator names it, and it usually stands in the operator's own
        // network.
        let tcp = tcp(true);
        let uri = |scheme| format!("{scheme}://{}:{}/", proxy.host, proxy.port).parse();
        let login = proxy.login.as_ref();
        Ok(match proxy.protocol {
            ProxyProtocol::Http => Self::Http(tunnel(uri("http")?, tcp, login)?),
            ProxyProtocol::Https => {
                let https = HttpsConnectorBuilder::new().with_tls_config(tls.clone()).https_only();
                Self::Https(tunnel(uri("https")?, https.enable_http1().wrap_connector(tcp), login)?)
            }
            ProxyProtocol::Socks5 => Self::Socks5 { tcp, proxy: uri("http")?, login: proxy.login.clone() },
        })
    }

    pub(super) async fn connect(self, host: &str, port: u16) -> Result<WayStream, BoxError> {
        match self {
            Self::Http(tunnel) => Ok(WayStream::Tcp(ask(tunnel, host, port).await?)),
            Self::Https(tunnel) => Ok(WayStream::Tls(Box::new(ask(tunnel, host, port).await?))),
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
                Ok(WayStream::Tcp(TokioIo::new(stream.into_inner())))
            }
        }
    }
}

fn tunnel<C>(proxy: Uri, connector: C, login: Option<&ProxyLogin>) -> Result<Tunnel<C>, BoxError> {
    let tunnel = Tunnel::new(proxy, connector);
    Ok(match login {
        Some(login) => tunnel.with_auth(basic(login)?),
        None => tunnel,
    })
}

fn basic(login: &ProxyLogin) -> Result<HeaderValue, BoxError> {
    let plain = format!("{}:{}", login.user.expose(), login.password.expose());
    Ok(HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(plain)))?)
}

/// Asks for a connection by `CONNECT`.
async fn ask<C>(mut tunnel: Tunnel<C>, host: &str, port: u16) -> Result<C::Response, BoxError>
where
    C: Service<Uri>,
    C::Future: Send + 'static,
    C::Response: Read + Write + Unpin + Send + 'static,
    C::Error: Into<BoxError>,
{
    // The port is stated, because it would be 443 otherwise.
    let to = format!("http://{host}:{port}/").parse::<Uri>()?;
    Ok(tunnel.call(to).await.map_err(|error| match error {
        TunnelError::ConnectFailed(why) if sources(&*why).any(is_bad_certificate) => ProxyFailure::Certificate,
        TunnelError::ConnectFailed(_) | TunnelError::Io(_) => ProxyFailure::Unreached,
        TunnelError::ProxyAuthRequired => ProxyFailure::Refused,
        _ => ProxyFailure::NoWay,
    })?)
}

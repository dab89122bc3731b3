//! The route of a connection to the platform's host: direct, or through the account's proxy. TLS with the platform, if
//! any, runs inside the proxied connection.

use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::Uri;
use rustls::ClientConfig;
use tower_service::Service;
use url::Url;

use super::proxy::Through;
use super::stream::WayStream;
use super::tcp::{BoxError, Tcp, tcp};
use crate::account::address::named_private;
use crate::account::proxy::Proxy;

/// The URL names the host by an address that the account may not reach. A proxy resolves names itself, so only such a
/// URL can be judged.
#[derive(Debug, thiserror::Error)]
#[error("the host is named by a private address")]
pub struct PrivateName;

#[derive(Clone)]
pub(super) enum Way {
    Direct(Tcp),
    /// Boxed, because a direct route is much smaller.
    Proxied {
        through: Box<Through>,
        allow_private: bool,
    },
}

impl Way {
    pub(super) fn direct(allow_private: bool) -> Self {
        Self::Direct(tcp(allow_private))
    }

    /// `tls` holds the trusted certificates for a proxy that is reached over TLS.
    pub(super) fn through(proxy: &Proxy, allow_private: bool, tls: &ClientConfig) -> Result<Self, BoxError> {
        Ok(Self::Proxied { through: Box::new(Through::new(proxy, tls)?), allow_private })
    }
}

impl Service<Uri> for Way {
    type Response = WayStream;
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
                Box::pin(async { Ok(WayStream::Tcp(connecting.await?)) })
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

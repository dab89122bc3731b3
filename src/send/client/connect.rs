//! How a connection is made: name, TCP, TLS.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::Uri;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::client::Resumption;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::account::address::private;
use crate::send::client::lookup::lookup;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// TLS sessions that an account may resume: 8 each for as many hosts as it may have base URLs in use. The library sets
/// their memory aside at once.
const SESSIONS: usize = 32;

/// A connection with TLS or without.
pub type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Makes connections to the hosts that an account may reach. No proxy of the environment is asked.
#[derive(Clone)]
pub struct Connector {
    https: HttpsConnector<HttpConnector<Resolver>>,
}

impl Connector {
    /// With the certificates that the machine trusts.
    ///
    /// # Errors
    /// TLS cannot be set up on this machine.
    pub fn new(allow_private: bool) -> Result<Self, rustls::Error> {
        // Read once for all accounts: they are some hundred certificates.
        static TLS: OnceLock<ClientConfig> = OnceLock::new();
        let tls = match TLS.get() {
            Some(tls) => tls,
            None => {
                let read = ClientConfig::builder().try_with_platform_verifier()?.with_no_client_auth();
                TLS.get_or_init(|| read)
            }
        };
        // The trust is shared, the sessions are not: a platform must not see that two accounts are of one worker.
        let mut own = tls.clone();
        own.resumption = Resumption::in_memory_sessions(SESSIONS);
        Ok(Self::over(own, allow_private))
    }

    fn over(tls: ClientConfig, allow_private: bool) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(Resolver { allow_private });
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let https =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
        Self { https }
    }

    /// To scheme, host and port of `to`.
    ///
    /// # Errors
    /// The name, TCP or TLS; [`PrivateAddress`] and `rustls::Error` are among the sources.
    pub async fn connect(&self, to: &Uri) -> Result<Stream, BoxError> {
        let mut https = self.https.clone();
        std::future::poll_fn(|cx| https.poll_ready(cx)).await?;
        https.call(to.clone()).await
    }
}

/// Trusting one certificate alone.
#[cfg(test)]
pub fn trusting(root: rustls::pki_types::CertificateDer<'static>, allow_private: bool) -> Connector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root).unwrap();
    Connector::over(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth(), allow_private)
}

/// The resolved address is what is checked: a name may point anywhere, and elsewhere tomorrow.
#[derive(Clone)]
struct Resolver {
    allow_private: bool,
}

/// The host resolves to an address that the account may not reach.
#[derive(Debug, thiserror::Error)]
#[error("the host resolves to a private address")]
pub struct PrivateAddress;

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

//! How a connection is made: the way to the host, then TLS.

use std::sync::OnceLock;

use http::Uri;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use rustls::ClientConfig;
use rustls::client::Resumption;
use tower_service::Service;

use super::stream::WayStream;
use super::tcp::BoxError;
use super::way::Way;
use crate::account::proxy::Proxy;

/// TLS sessions that an account may resume: 8 each for as many hosts as it may have base URLs in use. The library sets
/// their memory aside at once.
const SESSIONS: usize = 32;

/// A connection with TLS or without.
pub type Stream = MaybeHttpsStream<WayStream>;

/// Makes connections to the hosts that an account may reach. No proxy of the environment is asked.
#[derive(Clone)]
pub struct Connector {
    https: HttpsConnector<Way>,
}

impl Connector {
    /// With the certificates that the machine trusts.
    ///
    /// # Errors
    /// TLS cannot be set up on this machine, or the proxy cannot be asked.
    pub fn new(allow_private: bool, proxy: Option<&Proxy>) -> Result<Self, BoxError> {
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
        Self::over(own, allow_private, proxy)
    }

    fn over(tls: ClientConfig, allow_private: bool, proxy: Option<&Proxy>) -> Result<Self, BoxError> {
        let way = Way::new(allow_private, proxy, &tls)?;
        let https =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(way);
        Ok(Self { https })
    }

    /// To scheme, host and port of `to`.
    ///
    /// # Errors
    /// The name, TCP, the proxy or TLS; what a failure is judged by is among the sources.
    pub async fn connect(&self, to: &Uri) -> Result<Stream, BoxError> {
        let mut https = self.https.clone();
        std::future::poll_fn(|cx| https.poll_ready(cx)).await?;
        https.call(to.clone()).await
    }
}

/// Trusting one certificate alone.
#[cfg(test)]
pub fn trusting(
    root: rustls::pki_types::CertificateDer<'static>,
    allow_private: bool,
    proxy: Option<&Proxy>,
) -> Connector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root).unwrap();
    let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Connector::over(tls, allow_private, proxy).unwrap()
}

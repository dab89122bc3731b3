//! Makes connections: first to the host, then TLS.

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

/// How many TLS sessions an account can resume: 8 for each of the hosts that its base URLs may have in use. The library
/// reserves their memory at once.
const SESSIONS: usize = 32;

/// A connection with or without TLS. Boxed, because the state of TLS is large and each request moves it.
pub type Stream = Box<MaybeHttpsStream<WayStream>>;

/// Makes connections to the hosts that an account may reach. It uses no proxy of the environment.
#[derive(Clone)]
pub struct Connector {
    https: HttpsConnector<Way>,
}

impl Connector {
    /// Trusts the certificates that the machine trusts.
    ///
    /// # Errors
    /// TLS cannot be set up on this machine, or the proxy cannot be used.
    pub fn new(allow_private: bool, proxy: Option<&Proxy>) -> Result<Self, BoxError> {
        // Read once for all accounts, because there are some hundred certificates.
        static TLS: OnceLock<ClientConfig> = OnceLock::new();
        let tls = match TLS.get() {
            Some(tls) => tls,
            None => {
                let read = ClientConfig::builder().try_with_platform_verifier()?.with_no_client_auth();
                TLS.get_or_init(|| read)
            }
        };
        // Accounts share the trusted certificates but not the sessions: a platform must not see that two accounts
        // belong to one worker.
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

    /// Connects to scheme, host and port of `to`.
    ///
    /// # Errors
    /// The name, TCP, the proxy or TLS failed. The sources of the error tell which.
    pub async fn connect(&self, to: &Uri) -> Result<Stream, BoxError> {
        let mut https = self.https.clone();
        std::future::poll_fn(|cx| https.poll_ready(cx)).await?;
        https.call(to.clone()).await.map(Box::new)
    }
}

/// Trusts only one certificate.
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

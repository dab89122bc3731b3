//! Makes connections: first to the host, then TLS.

use std::future::poll_fn;
use std::sync::{Arc, OnceLock};

use http::Uri;
use http::uri::Scheme;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use rustls::ClientConfig;
use rustls::client::Resumption;
use tower_service::Service;

use super::stream::Stream;
use super::tcp::BoxError;
use super::way::Way;
use crate::account::proxy::Proxy;

/// How many TLS sessions an account can resume: 8 for each of the hosts that its base URLs may have in use. The library
/// reserves their memory at once.
const SESSIONS: usize = 32;

/// Makes connections to the hosts that an account may reach. It uses no proxy of the environment.
#[derive(Clone)]
pub struct Connector {
    way: Way,
    /// The trusted certificates, which all accounts share.
    trusted: Arc<ClientConfig>,
    /// Over TLS, with the sessions of this account. Made when it is first needed, because it reserves two KiB for them.
    https: Arc<OnceLock<HttpsConnector<Way>>>,
}

impl Connector {
    /// Trusts the certificates that the machine trusts.
    ///
    /// # Errors
    /// TLS cannot be set up on this machine, or the proxy cannot be used.
    pub fn new(allow_private: bool, proxy: Option<&Proxy>) -> Result<Self, BoxError> {
        // Read once for all accounts, because there are some hundred certificates.
        static TRUSTED: OnceLock<Arc<ClientConfig>> = OnceLock::new();
        let trusted = match TRUSTED.get() {
            Some(trusted) => trusted,
            None => {
                let read = ClientConfig::builder().try_with_platform_verifier()?.with_no_client_auth();
                TRUSTED.get_or_init(|| Arc::new(read))
            }
        };
        Self::over(trusted.clone(), allow_private, proxy)
    }

    fn over(trusted: Arc<ClientConfig>, allow_private: bool, proxy: Option<&Proxy>) -> Result<Self, BoxError> {
        let way = match proxy {
            None => Way::direct(allow_private),
            Some(proxy) => Way::through(proxy, allow_private, &with_own_sessions(&trusted))?,
        };
        Ok(Self { way, trusted, https: Arc::default() })
    }

    /// Connects to scheme, host and port of `to`.
    ///
    /// # Errors
    /// The name, TCP, the proxy or TLS failed. The sources of the error tell which.
    pub async fn connect(&self, to: &Uri) -> Result<Stream, BoxError> {
        if to.scheme() == Some(&Scheme::HTTP) {
            let mut way = self.way.clone();
            poll_fn(|cx| way.poll_ready(cx)).await?;
            return Ok(Stream::Plain(way.call(to.clone()).await?));
        }
        let mut https = self.https.get_or_init(|| self.over_tls()).clone();
        poll_fn(|cx| https.poll_ready(cx)).await?;
        Ok(Stream::Tls(Box::new(https.call(to.clone()).await?)))
    }

    fn over_tls(&self) -> HttpsConnector<Way> {
        let tls = with_own_sessions(&self.trusted);
        HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().wrap_connector(self.way.clone())
    }
}

/// Accounts share the trusted certificates but not the sessions: a platform must not see that two accounts belong to
/// one worker.
fn with_own_sessions(trusted: &ClientConfig) -> ClientConfig {
    let mut own = trusted.clone();
    own.resumption = Resumption::in_memory_sessions(SESSIONS);
    own
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
    Connector::over(Arc::new(tls), allow_private, proxy).unwrap()
}

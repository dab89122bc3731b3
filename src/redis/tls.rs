//! TLS to Redis: which issuers the client trusts, and a description of each failure that names its remedy.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::redis::{Client, ConnectionAddr, ConnectionInfo, ErrorKind, RedisError, TlsCertificates};
use base64::Engine as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::unreadable;

/// How long the probe of the protocol at a port may take.
const WITHIN: Duration = Duration::from_secs(1);

/// Builds a client that trusts the issuers in `ca_file` (PEM) in addition to those of this machine.
///
/// # Errors
/// Fails if the file cannot be read or holds no certificate, or if the address is invalid.
pub(super) fn client(address: ConnectionInfo, ca_file: &Path) -> Result<Client, String> {
    let failed = |why: String| format!("redis.ca_file: {}: {why}", ca_file.display());
    let own = std::fs::read(ca_file).map_err(|error| failed(unreadable::why(&error)))?;
    let own: Vec<_> = CertificateDer::pem_slice_iter(&own)
        .collect::<Result<_, _>>()
        .map_err(|error| failed(format!("is no PEM: {error}")))?;
    if own.is_empty() {
        return Err(failed("holds no certificate; it has to be PEM, BEGIN CERTIFICATE".to_owned()));
    }
    if own.iter().any(|issuer| !is_usable(issuer)) {
        return Err(failed("holds a certificate that cannot be read".to_owned()));
    }
    // An unreadable certificate among those of the machine has nothing to do with this setting, so it is left out.
    let machine = rustls_native_certs::load_native_certs().certs.into_iter().filter(is_usable);
    let pem: String = own.into_iter().chain(machine).map(|issuer| pem(&issuer)).collect();
    let certificates = TlsCertificates { client_tls: None, root_cert: Some(pem.into_bytes()) };
    Client::build_with_tls(address, certificates).map_err(|error| failed(error.category().to_owned()))
}

fn is_usable(issuer: &CertificateDer<'static>) -> bool {
    RootCertStore::empty().add(issuer.clone()).is_ok()
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

/// What is wrong with TLS and how to repair it, if TLS is the cause of the error. The text contains no secret.
pub fn trouble(error: &RedisError) -> Option<String> {
    if error.kind() == ErrorKind::InvalidClientConfig {
        return error.detail().filter(|text| [SPEAKS_TLS, SPEAKS_PLAIN].contains(text)).map(str::to_owned);
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<Arc<dyn Error + Send + Sync>>() {
            return of_cause(error.as_ref());
        }
        if let Some(text) = of_cause(error) {
            return Some(text);
        }
        cause = error.source();
    }
    None
}

fn of_cause(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(error) = error.downcast_ref::<rustls_native_certs::Error>() {
        return Some(format!("this machine's trusted issuers cannot be read ({error}): correct SSL_CERT_FILE"));
    }
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(of_tls(error));
    }
    let wrapped = error.downcast_ref::<std::io::Error>()?.get_ref()?;
    wrapped.downcast_ref::<rustls::Error>().map(of_tls)
}

fn of_tls(error: &rustls::Error) -> String {
    use CertificateError as Bad;
    match error {
        rustls::Error::InvalidCertificate(why) => match why {
            Bad::Expired | Bad::ExpiredContext { .. } => "its certificate has expired: renew it".to_owned(),
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
                "its certificate is not valid yet: compare the clocks".to_owned()
            }
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
                "its certificate is for another host: write the name in redis.url that stands in the certificate"
                    .to_owned()
            }
            _ => {
                "its certificate is not trusted: name its issuer (PEM) in redis.ca_file, or in SSL_CERT_FILE".to_owned()
            }
        },
        rustls::Error::InvalidMessage(_) => SPEAKS_PLAIN.to_owned(),
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "it asks for a certificate of the client, and postback has none: set tls-auth-clients no there".to_owned()
        }
        other => format!("TLS: {other}"),
    }
}

/// The message for a port that speaks TLS when the URL does not ask for TLS.
const SPEAKS_TLS: &str = "it speaks TLS at this port: write rediss:// instead of redis://";
/// The message for a port that does not speak TLS when the URL asks for TLS.
const SPEAKS_PLAIN: &str =
    "it does not speak TLS at this port: write redis:// instead of rediss://, or name its TLS port";

/// Returns the same error, or an error which says that the port speaks TLS and the URL does not ask for it, or the
/// reverse.
pub(super) async fn explained(client: &Client, error: RedisError) -> RedisError {
    let (host, port, hint) = match client.get_connection_info().addr() {
        ConnectionAddr::Tcp(host, port) => (host, *port, SPEAKS_TLS),
        ConnectionAddr::TcpTls { host, port, .. } => (host, *port, SPEAKS_PLAIN),
        _ => return error,
    };
    // A Redis without TLS may take the greeting for a command and wait for the rest of it, so silence counts too.
    let broke_off = error.is_connection_dropped() && !error.is_connection_refusal();
    let suspect = match hint {
        SPEAKS_TLS => broke_off || error.kind() == ErrorKind::Parse,
        _ => broke_off || (error.is_timeout() && trouble(&error).is_none()),
    };
    let greeting = match hint {
        SPEAKS_TLS => hello(host),
        _ => Some(b"*1\r\n$4\r\nPING\r\n".to_vec()),
    };
    let Some(greeting) = greeting.filter(|_| suspect) else { return error };
    let wanted: &[u8] = if hint == SPEAKS_TLS { &[ALERT, HANDSHAKE] } else { b"+-" };
    match timeout(WITHIN, first_byte(host, port, &greeting)).await {
        Ok(Ok(byte)) if wanted.contains(&byte) => {
            RedisError::from((ErrorKind::InvalidClientConfig, "TLS", hint.to_owned()))
        }
        _ => error,
    }
}

/// The first byte that a TLS server sends is one of these two.
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

async fn first_byte(host: &str, port: u16, greeting: &[u8]) -> std::io::Result<u8> {
    let mut stream = TcpStream::connect((host, port)).await?;
    stream.write_all(greeting).await?;
    stream.read_u8().await
}

/// The first message of a TLS client.
fn hello(host: &str) -> Option<Vec<u8>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
    let config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).ok()?;
    let mut hello = Vec::new();
    ClientConnection::new(Arc::new(config), name).ok()?.write_tls(&mut hello).ok()?;
    Some(hello)
}

#[cfg(test)]
mod tests;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::*;
use crate::embedded::store::Store;
use crate::redis::error::describe;
use crate::redis::{Config, connect_within};
use crate::secret::SecretString;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name)
}

/// Opens a port in front of the store that speaks TLS and shows this certificate.
fn in_front_of(store: &Store, certificate: &str) -> u16 {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let chain = vec![CertificateDer::from_pem_file(fixture(certificate)).unwrap()];
    let key = PrivateKeyDer::from_pem_file(fixture("leaf.key.pem")).unwrap();
    let config = Arc::new(ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap());
    let address = store.url().trim_start_matches("redis://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (config, address) = (config.clone(), address.clone());
            std::thread::spawn(move || {
                let mut tls = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
                let mut store = TcpStream::connect(address).unwrap();
                let mut bytes = [0; 4096];
                // One side asks, and the other answers.
                while let Ok(n) = tls.read(&mut bytes) {
                    if n == 0 || store.write_all(&bytes[..n]).is_err() {
                        return;
                    }
                    let Ok(n) = store.read(&mut bytes) else { return };
                    if n == 0 || tls.write_all(&bytes[..n]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

/// A port that answers a command of Redis and stays silent on anything else. Redis does the same when it gets a TLS
/// greeting.
fn waits_for_a_line() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while stream.read(&mut bytes).is_ok_and(|n| n > 0) {
                    if bytes[0] == b'*' && stream.write_all(b"+PONG\r\n").is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

/// Returns how a connection to this URL ends.
async fn said(url: &str, ca_file: &str) -> String {
    let ca_file = if ca_file.is_empty() { String::new() } else { fixture(ca_file).display().to_string() };
    let client =
        Config { url: SecretString::new(url), prefix: "pb".into(), ca_file, token_key: SecretString::default() }
            .client()
            .unwrap();
    let (connecting, answer) = (Duration::from_secs(1), Duration::from_secs(2));
    match connect_within(&client, connecting, answer).await {
        Ok(mut connection) => ::redis::cmd("PING").query_async(&mut connection).await.unwrap(),
        Err(error) => describe(&error),
    }
}

#[tokio::test]
async fn a_certificate_is_trusted_where_its_issuer_is_named_and_each_cause_names_its_mend() {
    let store = Store::start().unwrap();
    for (certificate, ca_file, parts) in [
        ("valid.pem", "root.pem", &["PONG"][..]),
        ("valid.pem", "", &["not trusted", "redis.ca_file", "SSL_CERT_FILE"]),
        ("self-signed.pem", "root.pem", &["not trusted", "redis.ca_file"]),
        ("wrong-name.pem", "root.pem", &["for another host"]),
        ("expired.pem", "root.pem", &["has expired"]),
    ] {
        let text = said(&format!("rediss://localhost:{}", in_front_of(&store, certificate)), ca_file).await;
        for part in parts {
            assert!(text.contains(part), "{certificate}, {ca_file}: no `{part}` in {text}");
        }
    }
}

#[tokio::test]
async fn tls_spoken_to_a_plain_port_and_the_reverse_are_told_apart() {
    let store = Store::start().unwrap();
    let tls = in_front_of(&store, "valid.pem");
    let text = said(&format!("redis://localhost:{tls}"), "").await;
    assert!(text.contains("it speaks TLS at this port: write rediss://"), "{text}");
    let plain = store.url().replace("redis://127.0.0.1", "rediss://localhost");
    let text = said(&plain, "root.pem").await;
    assert!(text.contains("does not speak TLS at this port: write redis://"), "{text}");
    // Redis takes the greeting for a line and waits for its end.
    let text = said(&format!("rediss://localhost:{}", waits_for_a_line()), "root.pem").await;
    assert!(text.contains("does not speak TLS at this port: write redis://"), "{text}");
    assert_eq!(said(&store.url(), "").await, "PONG");
    assert_eq!(said("redis://127.0.0.1:1", "").await, "not reachable");
}

#[test]
fn a_file_that_holds_no_issuer_is_named() {
    let said = |ca_file: String| {
        Config {
            url: SecretString::new("rediss://localhost:1"),
            prefix: "pb".into(),
            ca_file,
            token_key: SecretString::default(),
        }
        .client()
        .unwrap_err()
    };
    let absent = said("/no/such/file.pem".into());
    assert!(absent.starts_with("redis.ca_file: /no/such/file.pem: "), "{absent}");
    let key = said(fixture("leaf.key.pem").display().to_string());
    assert!(key.contains("holds no certificate"), "{key}");
}

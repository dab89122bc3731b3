//! Certificates: a certificate that is not valid for the host halts the account, and the host sees no byte of the
//! request.

use std::path::Path;
use std::sync::Mutex;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ServerConnection, StreamOwned};

use super::*;
use server::read_request;

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name)
}

/// A platform with this certificate, and the texts that it could read.
fn showing(certificate: &str) -> (Server, Arc<Mutex<Vec<String>>>) {
    let config = server::tls(certificate);
    let read = Arc::new(Mutex::new(Vec::new()));
    let seen = read.clone();
    let server = Server::start(move |connection| {
        let tls = ServerConnection::new(config.clone()).unwrap();
        let mut stream = StreamOwned::new(tls, connection.tcp.try_clone().unwrap());
        if let Some(request) = read_request(&mut stream) {
            seen.lock().unwrap().push(request);
            stream.write_all(answer("200 OK", "ok").as_bytes()).unwrap();
        }
    });
    (server, read)
}

fn at(server: &Server, trusting: Option<&str>) -> Dispatcher {
    let account = Arc::new(account(&[format!("https://localhost:{}", server.port)]));
    let Some(root) = trusting else { return Dispatcher::new(account, Arc::default()).unwrap() };
    let root = CertificateDer::from_pem_file(fixture(root)).unwrap();
    Dispatcher::trusting(account, Arc::default(), root)
}

#[tokio::test]
async fn a_certificate_that_is_valid_for_the_host_is_accepted() {
    let (server, read) = showing("valid.pem");
    assert_eq!(end(attempt(&at(&server, Some("root.pem"))).await).0, Class::Delivered);
    assert!(read.lock().unwrap()[0].ends_with("\r\n\r\nt-1"));
}

#[tokio::test]
async fn a_certificate_that_is_not_valid_for_the_host_halts_and_nothing_is_sent() {
    for (shown, trusting) in [
        ("wrong-name.pem", Some("root.pem")),
        ("expired.pem", Some("root.pem")),
        ("self-signed.pem", Some("root.pem")),
        ("self-signed.pem", None),
        // Signed by an authority that the machine does not trust.
        ("valid.pem", None),
    ] {
        let (server, read) = showing(shown);
        let result = attempt(&at(&server, trusting)).await;
        assert_eq!(end(result), (Class::Halt, None, false), "{shown}, trusting {trusting:?}");
        assert_eq!(server.connections(), 1, "{shown}");
        assert_eq!(*read.lock().unwrap(), [""; 0], "{shown}");
    }
}

#[tokio::test]
async fn a_peer_that_speaks_no_tls_is_no_connection() {
    let server = Server::start(|mut connection| connection.say(&answer("400 Bad Request", "")));
    assert_eq!(end(attempt(&at(&server, None)).await), (Class::Retry, None, false));
}

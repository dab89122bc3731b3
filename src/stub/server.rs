//! A platform for tests. The test says what it does with each connection.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Listens until the test ends.
pub(crate) struct Server {
    pub(crate) port: u16,
    requests: Arc<Mutex<Vec<String>>>,
    arrivals: Arc<Mutex<Vec<Instant>>>,
    connections: Arc<Mutex<usize>>,
}

/// One accepted connection.
pub(crate) struct Connection {
    /// Counts from 0, in the order of arrival.
    pub(crate) number: usize,
    pub(crate) tcp: TcpStream,
    requests: Arc<Mutex<Vec<String>>>,
    arrivals: Arc<Mutex<Vec<Instant>>>,
}

impl Server {
    /// Serves each connection on its own thread, and closes it when `serve` returns.
    pub(crate) fn start(serve: impl Fn(Connection) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (requests, connections) = (Arc::new(Mutex::default()), Arc::new(Mutex::new(0)));
        let server = Self { port, requests, connections, arrivals: Arc::default() };
        let (requests, connections) = (server.requests.clone(), server.connections.clone());
        let arrivals = server.arrivals.clone();
        let serve = Arc::new(serve);
        std::thread::spawn(move || {
            for tcp in listener.incoming() {
                let tcp = tcp.unwrap();
                tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                let number = {
                    let mut count = connections.lock().unwrap();
                    *count += 1;
                    *count - 1
                };
                let connection = Connection { number, tcp, requests: requests.clone(), arrivals: arrivals.clone() };
                let serve = serve.clone();
                std::thread::spawn(move || serve(connection));
            }
        });
        server
    }

    /// Answers every request with the same bytes and keeps its connections open.
    pub(crate) fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::start(move |mut connection| {
            while connection.request().is_some() {
                let _ = connection.tcp.write_all(&answer);
            }
        })
    }

    /// The same over TLS, at `localhost`, for clients that trust [`root`]. `before` runs between the connection and its
    /// handshake.
    pub(crate) fn secure(answer: impl Into<Vec<u8>>, before: impl Fn() + Send + Sync + 'static) -> Self {
        let config = tls("valid.pem");
        let answer = answer.into();
        Self::start(move |connection| {
            before();
            let tls = ServerConnection::new(config.clone()).unwrap();
            let mut stream = StreamOwned::new(tls, connection.tcp.try_clone().unwrap());
            while let Some(request) = read_request(&mut stream) {
                connection.note(&request);
                let _ = stream.write_all(&answer);
            }
        })
    }

    /// When each request arrived.
    pub(crate) fn arrivals(&self) -> Vec<Instant> {
        self.arrivals.lock().unwrap().clone()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The whole requests, as they arrived.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

impl Connection {
    /// Reads one request. `None`: the peer has closed the connection.
    pub(crate) fn request(&mut self) -> Option<String> {
        let request = read_request(&mut self.tcp)?;
        self.note(&request);
        Some(request)
    }

    fn note(&self, request: &str) {
        self.arrivals.lock().unwrap().push(Instant::now());
        self.requests.lock().unwrap().push(request.to_owned());
    }

    pub(crate) fn say(&mut self, text: &str) {
        let _ = self.tcp.write_all(text.as_bytes());
    }

    /// Closes with a reset instead of an end.
    pub(crate) fn reset(self) {
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        let size = size_of::<libc::linger>() as libc::socklen_t;
        let done = unsafe {
            let value = std::ptr::from_ref(&linger).cast();
            libc::setsockopt(self.tcp.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, value, size)
        };
        assert_eq!(done, 0);
    }

    /// Waits until the peer has closed.
    pub(crate) fn drain(&mut self) {
        let mut rest = [0; 1024];
        while self.tcp.read(&mut rest).is_ok_and(|n| n > 0) {}
    }
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name)
}

/// A TLS server configuration with this certificate.
pub(crate) fn tls(certificate: &str) -> Arc<ServerConfig> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let chain = vec![CertificateDer::from_pem_file(fixture(certificate)).unwrap()];
    let key = PrivateKeyDer::from_pem_file(fixture("leaf.key.pem")).unwrap();
    Arc::new(ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap())
}

/// The issuer of the certificate of [`Server::secure`].
pub(crate) fn root() -> CertificateDer<'static> {
    CertificateDer::from_pem_file(fixture("root.pem")).unwrap()
}

/// Reads head and body; `content-length` gives the length of the body.
pub(crate) fn read_request(from: &mut impl Read) -> Option<String> {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        if from.read(&mut byte).ok()? == 0 {
            return None;
        }
        text.push(byte[0]);
    }
    let head = String::from_utf8(text).unwrap();
    let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    from.read_exact(&mut body).ok()?;
    Some(head + std::str::from_utf8(&body).unwrap())
}

pub(crate) fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

//! TLS in front of a platform, which can be slow to shake hands.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

pub struct TlsFront {
    pub port: u16,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    held: bool,
    waiting: usize,
}

/// A file of the certificates for `localhost`.
pub fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name)
}

impl TlsFront {
    /// In front of a platform at this port.
    pub fn new(target: u16) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = vec![CertificateDer::from_pem_file(fixture("valid.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(fixture("leaf.key.pem")).unwrap();
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let front = Self { port: listener.local_addr().unwrap().port(), state: Arc::default() };
        let state = front.state.clone();
        std::thread::spawn(move || {
            for tcp in listener.incoming().flatten() {
                let (config, state) = (config.clone(), state.clone());
                std::thread::spawn(move || serve(tcp, target, config, &state));
            }
        });
        front
    }

    /// From now on connections wait for [`TlsFront::let_go`] before they shake hands.
    pub fn hold(&self) {
        self.state.0.lock().unwrap().held = true;
    }

    pub fn let_go(&self) {
        self.state.0.lock().unwrap().held = false;
        self.state.1.notify_all();
    }

    /// How many connections wait to shake hands.
    pub fn waiting(&self) -> usize {
        self.state.0.lock().unwrap().waiting
    }
}

/// Passes one request after the other on, and its answer back. `None`: an end.
fn serve(
    tcp: TcpStream,
    target: u16,
    config: Arc<ServerConfig>,
    (state, changed): &(Mutex<State>, Condvar),
) -> Option<()> {
    {
        let mut state = state.lock().unwrap();
        state.waiting += 1;
        let mut state = changed.wait_while(state, |state| state.held).unwrap();
        state.waiting -= 1;
    }
    tcp.set_nodelay(true).ok()?;
    let tls = StreamOwned::new(ServerConnection::new(config).ok()?, tcp);
    let mut platform = TcpStream::connect(("127.0.0.1", target)).ok()?;
    platform.set_nodelay(true).ok()?;
    let mut client = BufReader::new(tls);
    let mut answers = BufReader::new(platform.try_clone().ok()?);
    loop {
        platform.write_all(&message(&mut client)?).ok()?;
        let answer = message(&mut answers)?;
        client.get_mut().write_all(&answer).ok()?;
        client.get_mut().flush().ok()?;
    }
}

/// A head, and a body as long as it says.
fn message(from: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    let mut length = 0;
    loop {
        let start = whole.len();
        if from.read_until(b'\n', &mut whole).ok()? == 0 {
            return None;
        }
        let line = String::from_utf8_lossy(&whole[start..]).to_ascii_lowercase();
        if let Some(n) = line.strip_prefix("content-length:") {
            length = n.trim().parse().ok()?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let start = whole.len();
    whole.resize(start + length, 0);
    from.read_exact(&mut whole[start..]).ok()?;
    Some(whole)
}

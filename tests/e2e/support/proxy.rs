//! A TCP proxy with faults, between the program and a server of ours.
//!
//! Freezing the server itself is not the same: what the program has written waits in the server's socket and is carried
//! out after the thaw, although the program may be dead by then. What waits here is thrown away with the connection.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the proxy does with bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// Passes both directions.
    Pass,
    /// Keeps what the program sends until `Pass`; a connection that ends meanwhile takes it along.
    Hold,
    /// Passes requests and swallows answers.
    DropReplies,
}

pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    target: AtomicU16,
    mode: AtomicU8,
    connections: Mutex<Vec<TcpStream>>,
}

impl Shared {
    fn mode(&self) -> Mode {
        match self.mode.load(Ordering::SeqCst) {
            0 => Mode::Pass,
            1 => Mode::Hold,
            _ => Mode::DropReplies,
        }
    }
}

impl Proxy {
    pub fn new(target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared =
            Arc::new(Shared { target: AtomicU16::new(target), mode: AtomicU8::new(0), connections: Mutex::default() });
        let for_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                serve(&for_thread, client);
            }
        });
        Self { port, shared }
    }

    pub fn set(&self, mode: Mode) {
        self.shared.mode.store(mode as u8, Ordering::SeqCst);
    }

    /// New connections lead to another port.
    pub fn lead_to(&self, target: u16) {
        self.shared.target.store(target, Ordering::SeqCst);
    }

    /// Ends every connection; new ones are accepted.
    pub fn cut(&self) {
        for stream in self.shared.connections.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn serve(shared: &Arc<Shared>, client: TcpStream) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", shared.target.load(Ordering::SeqCst))) else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (Ok(client2), Ok(server2)) = (client.try_clone(), server.try_clone()) else { return };
    if let (Ok(a), Ok(b)) = (client.try_clone(), server.try_clone()) {
        shared.connections.lock().unwrap().extend([a, b]);
    }
    let (up, down) = (Arc::clone(shared), Arc::clone(shared));
    std::thread::spawn(move || pump(&up, client, server, false));
    std::thread::spawn(move || pump(&down, server2, client2, true));
}

fn pump(shared: &Shared, mut from: TcpStream, mut to: TcpStream, replies: bool) {
    let _ = from.set_read_timeout(Some(Duration::from_millis(50)));
    let mut buffer = vec![0; 64 << 10];
    let mut kept = Vec::new();
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => kept.extend_from_slice(&buffer[..n]),
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
        match shared.mode() {
            Mode::Hold if !replies => continue,
            Mode::DropReplies if replies => kept.clear(),
            _ => {}
        }
        if !kept.is_empty() {
            if to.write_all(&kept).is_err() {
                break;
            }
            kept.clear();
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

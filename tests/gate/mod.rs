//! A way to the store that can be closed: open connections end, and new ones are dropped.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Listens until the test binary ends.
pub struct Gate {
    url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    closed: bool,
    streams: Vec<TcpStream>,
}

impl Gate {
    /// In front of the server that this client leads to; open.
    pub fn before(client: &redis::Client) -> Self {
        let address = match client.get_connection_info().addr().clone() {
            redis::ConnectionAddr::Tcp(host, port) => Some((host, port)),
            _ => None,
        };
        let address = address.expect("the store is reached over TCP");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        std::thread::spawn(move || {
            for here in listener.incoming().flatten() {
                let mut state = shared.lock().unwrap();
                if state.closed {
                    continue;
                }
                let there = TcpStream::connect((&*address.0, address.1)).unwrap();
                for (from, to) in [(&here, &there), (&there, &here)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    std::thread::spawn(move || _ = std::io::copy(&mut from, &mut to));
                }
                state.streams.extend([here, there]);
            }
        });
        Self { url, state }
    }

    /// A client of the store by this way.
    pub fn redis(&self) -> redis::Client {
        redis::Client::open(self.url.as_str()).unwrap()
    }

    /// Nobody gets through.
    pub fn close(&self) {
        let mut state = self.state.lock().unwrap();
        state.closed = true;
        for stream in state.streams.drain(..) {
            // One that has ended already is closed.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Everybody gets through again.
    pub fn open(&self) {
        self.state.lock().unwrap().closed = false;
    }
}

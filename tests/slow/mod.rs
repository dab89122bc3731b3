//! A way to the store on which replies take as long as a test says; their order stays.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// Listens until the test binary ends.
pub struct Slow {
    url: String,
    latency_us: Arc<AtomicU64>,
}

impl Slow {
    /// In front of the server that this client leads to.
    pub fn before(client: &redis::Client) -> Self {
        let address = match client.get_connection_info().addr().clone() {
            redis::ConnectionAddr::Tcp(host, port) => Some((host, port)),
            _ => None,
        };
        let (host, port) = address.expect("the store is reached over TCP");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let latency_us = Arc::new(AtomicU64::new(0));
        let latency = latency_us.clone();
        std::thread::spawn(move || {
            for there in listener.incoming().flatten() {
                serve(there, TcpStream::connect((&*host, port)).unwrap(), latency.clone());
            }
        });
        Self { url, latency_us }
    }

    /// A client of the store by this way.
    pub fn redis(&self) -> redis::Client {
        redis::Client::open(self.url.as_str()).unwrap()
    }

    /// What comes from the store from now on takes so long.
    pub fn set(&self, latency: Duration) {
        self.latency_us.store(latency.as_micros() as u64, SeqCst);
    }
}

fn serve(there: TcpStream, store: TcpStream, latency_us: Arc<AtomicU64>) {
    for stream in [&there, &store] {
        stream.set_nodelay(true).unwrap();
    }
    let (mut from_there, mut to_store) = (there.try_clone().unwrap(), store.try_clone().unwrap());
    std::thread::spawn(move || std::io::copy(&mut from_there, &mut to_store));
    let (sender, replies) = channel::<(Instant, Vec<u8>)>();
    let (mut from_store, mut to_there) = (store, there);
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(n @ 1..) = from_store.read(&mut bytes) {
            let due = Instant::now() + Duration::from_micros(latency_us.load(SeqCst));
            let _ = sender.send((due, bytes[..n].to_vec()));
        }
    });
    std::thread::spawn(move || {
        for (due, bytes) in replies {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if to_there.write_all(&bytes).is_err() {
                return;
            }
        }
    });
}

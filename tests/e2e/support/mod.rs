//! What the tests stand on: servers, the built program, a scripted platform, events, and the ledger that closes a test.

pub mod event;
pub mod http;
pub mod kafka;
pub mod ledger;
pub mod own;
pub mod platform;
pub mod process;
pub mod proxy;
pub mod records;
pub mod redis;
pub mod tls;
pub mod worker;
pub mod world;

use std::collections::HashSet;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Calls `check` until it is true; fails the test, naming `what`, when the time is over.
#[track_caller]
pub fn eventually(patience: Duration, what: &str, mut check: impl FnMut() -> bool) {
    if !within(patience, &mut check) {
        panic!("not within {patience:?}: {what}");
    }
}

/// Whether `check` becomes true in time.
pub fn within(patience: Duration, mut check: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + patience;
    loop {
        if check() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// A name no other test of this or another run has.
pub fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{name}-{:x}-{:x}-{n}", std::process::id(), now_ms() % 0xff_ffff)
}

/// A free loopback port below the ephemeral range, so that a server that is stopped gets it back.
pub fn free_port() -> u16 {
    static TAKEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);
    let mut taken = TAKEN.lock().unwrap();
    for _ in 0..5000 {
        let port = rand::random_range(18_000..32_000);
        if !taken.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            taken.insert(port);
            return port;
        }
    }
    panic!("no free port");
}

#[track_caller]
pub fn wait_for_port(port: u16, patience: Duration) {
    eventually(patience, &format!("something listens on port {port}"), || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
}

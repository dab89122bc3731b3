//! A loopback endpoint that answers what the worker asks of Redis, from memory.
//!
//! It speaks RESP2 and has exactly the commands and scripts that the worker and its commands use, with their replies and
//! errors as Redis 7.0 gives them; anything else is refused by name. It runs on a thread of its own, one command after
//! the other, so that each is atomic as in Redis. It keeps nothing beyond the process, and says so in `INFO`.

mod commands;
mod connection;
mod keys;
mod scripts;
#[cfg(test)]
mod tests;
mod wire;

use std::cell::RefCell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{MissedTickBehavior, interval, sleep};

use keys::Keys;

/// What has expired is removed at each command, and so often without one.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// A running store. It ends when this is dropped, and with it all that it holds.
#[derive(Debug)]
pub struct Store {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Store {
    /// Starts it on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// No port, or no thread.
    pub fn start() -> io::Result<Store> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (stop, stopped) = oneshot::channel();
        let work = move || {
            LocalSet::new().block_on(&runtime, async {
                tokio::select! { _ = stopped => {}, () = serve(listener) => {} }
            });
        };
        let thread = std::thread::Builder::new().name("embedded-store".into()).spawn(work)?;
        Ok(Store { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where clients of Redis find it.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It only fails where the thread has panicked, and then it has ended too.
            let _ = thread.join();
        }
    }
}

async fn serve(listener: std::net::TcpListener) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the embedded store cannot listen"),
    };
    let state = Rc::new(State { keys: RefCell::default(), clock: Clock::start(), info: info() });
    let swept = state.clone();
    spawn_local(async move {
        let mut ticks = interval(SWEEP_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            swept.keys.borrow_mut().advance(swept.clock.now_us());
        }
    });
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let state = state.clone();
                spawn_local(async move {
                    // A client that is gone is nobody's trouble.
                    if let Err(error) = connection::serve(stream, &state).await {
                        tracing::debug!(%error, "a connection to the embedded store ended");
                    }
                });
            }
            // Out of files, most likely: others may be closed meanwhile.
            Err(error) => {
                tracing::warn!(%error, "the embedded store cannot take a connection");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// What all connections share.
struct State {
    keys: RefCell<Keys>,
    clock: Clock,
    info: String,
}

impl State {
    /// Runs one command, now.
    fn run(&self, request: &[Vec<u8>]) -> wire::Reply {
        let mut keys = self.keys.borrow_mut();
        keys.advance(self.clock.now_us());
        commands::run(&mut keys, &self.info, request)
    }
}

/// The time of day at the start, and what has passed since: nobody can set it back.
struct Clock {
    start_us: i64,
    since: Instant,
}

impl Clock {
    fn start() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start_us: i64::try_from(now.as_micros()).unwrap_or(i64::MAX), since: Instant::now() }
    }

    fn now_us(&self) -> i64 {
        self.start_us.saturating_add(i64::try_from(self.since.elapsed().as_micros()).unwrap_or(i64::MAX))
    }
}

/// What `INFO` says: the fields that the worker judges a Redis by, and the truth about durability.
fn info() -> String {
    let id = format!("{:040x}", rand::random::<u128>());
    [
        "# Server",
        "redis_version:7.0.0-embedded",
        "redis_mode:standalone",
        "# Memory",
        "maxmemory:0",
        "maxmemory_policy:noeviction",
        "# Persistence",
        "aof_enabled:0",
        "rdb_last_save_time:0",
        "# Replication",
        "role:master",
        "connected_slaves:0",
        &format!("master_replid:{id}"),
        "# Cluster",
        "cluster_enabled:0",
        "# Keyspace",
        "db0:keys={keys}",
        "",
    ]
    .join("\r\n")
}

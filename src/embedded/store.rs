//! A loopback endpoint that answers the worker's Redis commands from memory.
//!
//! It speaks RESP2 and has exactly the commands and scripts of the worker and of `postback`, with the replies and
//! errors of Redis 7.0. It refuses any other command by name. It runs one command after the other on a thread of its
//! own, so that each is atomic as in Redis. It keeps nothing beyond the process, and says so in `INFO`.

mod args;
mod change;
mod commands;
mod connection;
mod keys;
mod outcomes;
mod scripts;
mod state;
#[cfg(test)]
mod tests;
mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{MissedTickBehavior, interval, sleep};

use state::State;

/// Each command removes expired keys first. Without commands this happens at this interval.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// A running store. When it is dropped, it stops and its data is gone.
#[derive(Debug)]
pub struct Store {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Store {
    /// Starts the store on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// There is no free port, or the thread cannot be made.
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

    /// The URL for clients of Redis.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Joining fails only if the thread has panicked, and then it has ended too.
            let _ = thread.join();
        }
    }
}

async fn serve(listener: std::net::TcpListener) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the embedded store cannot listen"),
    };
    let state = Rc::new(State::new());
    let swept = state.clone();
    spawn_local(async move {
        let mut ticks = interval(SWEEP_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            swept.sweep();
        }
    });
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let state = state.clone();
                spawn_local(async move {
                    // An error here only means that the client has gone.
                    if let Err(error) = connection::serve(stream, &state).await {
                        tracing::debug!(%error, "a connection to the embedded store ended");
                    }
                });
            }
            // Most likely the process has no file handle left. Other files may be closed meanwhile.
            Err(error) => {
                tracing::warn!(%error, "the embedded store cannot take a connection");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

//! The listener. It has a thread and a current-thread runtime of its own, and limits on connections and waiting times.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};

use super::Refusal;

/// The most connections at once. Further ones wait in the backlog of the socket.
const CONNECTIONS: usize = 64;
/// The time limit for a request's headers, and for an idle connection.
const HEADERS: Duration = if cfg!(test) { Duration::from_millis(500) } else { Duration::from_secs(10) };
/// The time limit for a request's body and its answer.
const ANSWER: Duration = Duration::from_secs(10);
/// The most bytes of a request line and headers.
const LARGEST_HEADERS: usize = 16 * 1024;

/// A running endpoint. It stops when it is dropped.
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Binds `listen` and serves `router` from then on.
    ///
    /// # Errors
    /// Fails if the address cannot be bound, or if no thread or runtime can be created.
    pub fn start(listen: SocketAddr, router: Router) -> io::Result<Server> {
        let socket = std::net::TcpListener::bind(listen)?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
            runtime.block_on(async move {
                match TcpListener::from_std(socket) {
                    Ok(listener) => {
                        // If the server stops, the runtime drops the requests that are still being answered.
                        tokio::select! { () = accept(listener, router) => {}, _ = stopped => {} }
                    }
                    Err(error) => tracing::error!(%error, "the admin endpoint cannot listen"),
                }
            });
        })?;
        Ok(Server { address, stop: Some(stop), thread: Some(thread) })
    }

    /// The address it listens on. If port 0 was asked for, this holds the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // If the thread panicked, the panic hook has logged it.
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, router: Router) {
    let router = router.layer(axum::middleware::from_fn(in_time));
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    connection(stream, peer, router).await;
                    drop(permit);
                });
            }
            Err(error) => {
                // Most likely the process has no free file descriptors. A busy loop would not help, so wait a moment.
                tracing::warn!(%error, "a connection to the admin endpoint could not be accepted");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router) {
    let service = TowerToHyperService::new(router.layer(Extension(ConnectInfo(peer))));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(LARGEST_HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, %peer, "a connection to the admin endpoint ended");
    }
}

async fn in_time(request: Request, next: Next) -> Response {
    tokio::time::timeout(ANSWER, next.run(request)).await.unwrap_or_else(|_| {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "no answer in time; try again").into_response()
    })
}

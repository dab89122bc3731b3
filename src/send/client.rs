//! Connections to one host: made, kept, and one request at a time on each.
//!
//! A connection belongs to the walk that uses it and is turned by that walk's own future, on its own thread: no task
//! beside it, no wake between threads. What this owes the platform is exact: a request that never reached a connection
//! says so, and one that may have is never sent again here.

mod body;
mod connect;
mod growth;
mod lookup;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, timeout};

pub use body::NoBody;
use connect::Stream;
pub use connect::{Connector, PrivateAddress, addresses};
#[cfg(test)]
pub use connect::{reachable, trusting};
use growth::{Growth, Open, Starting};

/// An answer is read to at most this, and unpacked to at most this; more is no answer.
pub const MAX_BODY: usize = 64 * 1024;
/// Far more header lines than any platform sends.
const MAX_HEADERS: usize = 512;
/// Below the keep-alive of common servers, so that a request seldom meets a connection that is being closed.
const IDLE: Duration = Duration::from_secs(15);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No connection; not a byte of the request went out.
    #[error("no connection")]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No connection in time; not a byte of the request went out.
    #[error("no connection in time")]
    ConnectTimeout,
    /// The connection ended before the request was given to it; not a byte went out.
    #[error("the connection closed before the request")]
    Unsent,
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The connection broke before an answer.
    #[error("the connection broke before an answer")]
    Broken,
    /// What came is no HTTP answer.
    #[error("its head is not HTTP")]
    Unreadable,
}

/// The head of an answer, and its body as far as it came.
pub struct Answered {
    /// Status and headers.
    pub head: http::response::Parts,
    /// The whole body, unpacked, or why there is none.
    pub body: Result<Vec<u8>, NoBody>,
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// `None`: it has ended. Gone with its end, so that a request that it had not taken yet comes back at once.
    io: Option<http1::Connection<Stream, Full<Bytes>>>,
    idle_since: Instant,
    _open: Open,
}

/// The connections of one account to one of its base URLs.
pub struct Connections {
    connector: Connector,
    connect_timeout: Duration,
    growth: Arc<Growth>,
    /// The one used last is at the back, and is used next.
    kept: RefCell<VecDeque<Box<Connection>>>,
    most_kept: Cell<usize>,
}

impl Connections {
    /// None yet. `connect_timeout` covers the name, TCP and TLS.
    pub fn new(connector: Connector, connect_timeout: Duration) -> Self {
        let growth = Arc::default();
        Self { connector, connect_timeout, growth, kept: RefCell::default(), most_kept: Cell::new(usize::MAX) }
    }

    /// Keeps no more than so many that nobody uses.
    pub fn keep_at_most(&self, most: usize) {
        self.most_kept.set(most);
    }

    /// One request, with `Host` and a URI in origin form; `to`: scheme, host and port. All of it within `limit`.
    ///
    /// # Errors
    /// [`Failure`], exact about whether a byte may have gone out.
    pub async fn exchange(
        &self,
        to: &Uri,
        mut request: Request<Full<Bytes>>,
        limit: Duration,
    ) -> Result<Answered, Failure> {
        let mut deadline = pin!(tokio::time::sleep(limit));
        loop {
            let (mut connection, kept) = match self.take().await {
                Some(connection) => (connection, true),
                None => {
                    // Boxed: seldom needed, and several times the size of all else that a walk carries.
                    let got = before(deadline.as_mut(), Box::pin(self.take_or_connect(to))).await;
                    got.ok_or(Failure::ConnectTimeout)??
                }
            };
            let sent = before(deadline.as_mut(), connection.send(request)).await.ok_or(Failure::Timeout)?;
            match sent {
                Ok(response) => {
                    let (head, incoming) = response.into_parts();
                    let read = before(deadline.as_mut(), connection.read(incoming)).await;
                    let body = read.unwrap_or(Err(NoBody::Cut("the answer did not end in time")));
                    if body.is_ok() {
                        self.keep(connection);
                    }
                    let body = body.and_then(|body| body::unpacked(&head.headers, body));
                    return Ok(Answered { head, body });
                }
                // A kept connection that had closed gives the request back: the next one may take it.
                Err(mut error) => match error.take_message() {
                    Some(back) if kept => request = back,
                    Some(_) => return Err(Failure::Unsent),
                    None if error.error().is_parse() => return Err(Failure::Unreadable),
                    None => return Err(Failure::Broken),
                },
            }
        }
    }

    /// Connects as an exchange would, with TLS where the scheme says so, and sends nothing.
    ///
    /// # Errors
    /// [`Failure::Connect`], [`Failure::ConnectTimeout`].
    pub async fn probe(&self, to: &Uri) -> Result<(), Failure> {
        self.connect(to, self.growth.start_anyway()).await.map(drop)
    }

    /// Closes what has been idle for too long.
    pub fn sweep(&self) {
        let mut kept = self.kept.borrow_mut();
        let old = kept.iter().take_while(|c| c.idle_since.elapsed() >= IDLE).count();
        drop(kept.drain(..old).collect::<Vec<_>>());
    }

    /// A new connection, or a kept one that comes back sooner; `true`: a kept one.
    async fn take_or_connect(&self, to: &Uri) -> Result<(Box<Connection>, bool), Failure> {
        loop {
            if let Some(starting) = self.growth.start() {
                return Ok((self.connect(to, starting).await?, false));
            }
            self.growth.changed.notified().await;
            if let Some(connection) = self.take().await {
                return Ok((connection, true));
            }
        }
    }

    async fn connect(&self, to: &Uri, starting: Starting) -> Result<Box<Connection>, Failure> {
        let connecting = async {
            let stream = self.connector.connect(to).await.map_err(Failure::Connect)?;
            let (sender, io) = builder().handshake(stream).await.map_err(|e| Failure::Connect(e.into()))?;
            Ok(Box::new(Connection { sender, io: Some(io), idle_since: Instant::now(), _open: starting.done() }))
        };
        timeout(self.connect_timeout, connecting).await.unwrap_or(Err(Failure::ConnectTimeout))
    }

    /// The kept connection used last, as far as one is still open.
    async fn take(&self) -> Option<Box<Connection>> {
        loop {
            let mut connection = self.kept.borrow_mut().pop_back()?;
            if connection.idle_since.elapsed() < IDLE && connection.is_open().await {
                return Some(connection);
            }
        }
    }

    fn keep(&self, mut connection: Box<Connection>) {
        // Its waker is that of a walk that goes on without it, and would keep that walk's memory.
        connection.turn(&mut noop());
        if connection.io.is_some() && self.kept.borrow().len() < self.most_kept.get() {
            connection.idle_since = Instant::now();
            self.kept.borrow_mut().push_back(connection);
            self.growth.changed.notify_one();
        }
    }
}

impl Connection {
    /// Lets the connection write and read what it can. What it finds is told to the request under way.
    fn turn(&mut self, cx: &mut Context<'_>) {
        if self.io.as_mut().is_some_and(|io| Pin::new(io).poll(cx).is_ready()) {
            self.io = None;
        }
    }

    /// Whether a request may be given to it, as far as is known without waiting.
    async fn is_open(&mut self) -> bool {
        poll_fn(|cx| {
            self.turn(cx);
            let ready = self.io.is_some() && matches!(self.sender.poll_ready(&mut noop()), Poll::Ready(Ok(())));
            Poll::Ready(ready)
        })
        .await
    }

    async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Full<Bytes>>>> {
        // Only a turn of this connection can bring the answer, and that is woken: a waker of the answer's own would
        // only turn the walk once more. Without the runtime's budget, which would take that waker for its own purpose.
        let mut answer = pin!(unconstrained(self.sender.try_send_request(request)));
        poll_fn(|cx| {
            self.turn(cx);
            answer.as_mut().poll(&mut noop())
        })
        .await
    }

    async fn read(&mut self, mut incoming: Incoming) -> Result<Vec<u8>, NoBody> {
        let mut body = Vec::new();
        poll_fn(|cx| {
            loop {
                self.turn(cx);
                match Pin::new(&mut incoming).poll_frame(&mut noop()) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(None) => return Poll::Ready(Ok(())),
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(body::failed(&error))),
                    Poll::Ready(Some(Ok(frame))) => {
                        let data = frame.into_data().unwrap_or_default();
                        if body.len() + data.len() > MAX_BODY {
                            return Poll::Ready(Err(body::TOO_LONG));
                        }
                        body.extend_from_slice(&data);
                    }
                }
            }
        })
        .await?;
        Ok(body)
    }
}

/// How answers are read: whatever can be understood is, because an answer that is not counts as lost, and its event is
/// sent again.
fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // One buffer for head and body: for a kilobyte a copy costs less than a vectored write.
        .writev(false)
        .max_headers(MAX_HEADERS)
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        // E.g. a warning of PHP among the headers.
        .ignore_invalid_headers_in_responses(true);
    builder
}

fn noop() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// `None`: the deadline came first.
async fn before<T>(deadline: Pin<&mut Sleep>, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = deadline => None,
    }
}

#[cfg(test)]
mod tests {
    use http::header::HOST;

    use super::*;
    use crate::stub::server::{Server, answer};

    fn connections() -> Connections {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Connections::new(Connector::new(true).unwrap(), Duration::from_secs(20))
    }

    async fn exchange(connections: &Connections, server: &Server) -> Result<Answered, Failure> {
        let request = Request::post("/").header(HOST, "h").body(Full::from("x")).unwrap();
        connections.exchange(&server.url().parse().unwrap(), request, Duration::from_secs(20)).await
    }

    fn age(connections: &Connections, by: Duration) {
        connections.kept.borrow_mut().iter_mut().for_each(|c| c.idle_since -= by);
    }

    #[tokio::test]
    async fn a_connection_that_was_idle_for_too_long_is_not_used_again() {
        let server = Server::answering(answer("200 OK", "ok"));
        let connections = connections();
        for (idle, made) in [(Duration::ZERO, 1), (IDLE - Duration::from_secs(5), 1), (IDLE, 2), (Duration::ZERO, 2)] {
            age(&connections, idle);
            assert_eq!(exchange(&connections, &server).await.unwrap().body.as_deref(), Ok(&b"ok"[..]));
            assert_eq!(server.connections(), made, "after {idle:?}");
        }
    }

    #[tokio::test]
    async fn a_sweep_closes_what_was_idle_for_too_long_and_nothing_else() {
        let (sender, closed) = std::sync::mpsc::channel();
        let server = Server::start(move |mut connection| {
            connection.request();
            connection.say(&answer("200 OK", "ok"));
            connection.drain();
            sender.send(()).unwrap();
        });
        let connections = connections();
        exchange(&connections, &server).await.unwrap();
        connections.sweep();
        assert_eq!(connections.kept.borrow().len(), 1);
        age(&connections, IDLE);
        connections.sweep();
        assert_eq!(connections.kept.borrow().len(), 0);
        let closed = tokio::task::spawn_blocking(move || closed.recv_timeout(Duration::from_secs(20)));
        closed.await.unwrap().expect("its other end is told");
    }

    #[tokio::test]
    async fn no_more_than_were_allowed_are_kept_for_later() {
        // None is answered before all are there, so that each has a connection of its own.
        let all = std::sync::Barrier::new(3);
        let server = Server::start(move |mut connection| {
            connection.request();
            all.wait();
            connection.say(&answer("200 OK", "ok"));
            connection.drain();
        });
        let connections = connections();
        connections.keep_at_most(2);
        let three = [(); 3].map(|()| exchange(&connections, &server));
        assert!(futures_util::future::join_all(three).await.iter().all(Result::is_ok));
        assert_eq!((server.connections(), connections.kept.borrow().len()), (3, 2));
    }

    #[tokio::test]
    async fn of_requests_at_once_the_first_alone_begins_to_connect() {
        let server = Server::answering(answer("200 OK", "ok"));
        let connections = connections();
        let mut at_once = [(); 64].map(|()| Box::pin(exchange(&connections, &server)));
        for request in &mut at_once {
            assert!(request.as_mut().poll(&mut noop()).is_pending());
        }
        assert!(connections.growth.start().is_none(), "one is being made, and none is open");
        assert!(futures_util::future::join_all(at_once).await.iter().all(Result::is_ok));
    }

    #[tokio::test]
    async fn requests_that_wait_for_their_answers_do_not_wait_for_each_other() {
        let (sender, arrived) = std::sync::mpsc::channel();
        let all = std::sync::Arc::new(std::sync::Barrier::new(33));
        let together = all.clone();
        let server = Server::start(move |mut connection| {
            connection.request();
            sender.send(()).unwrap();
            together.wait();
            connection.say(&answer("200 OK", "ok"));
            connection.drain();
        });
        let let_go = tokio::task::spawn_blocking(move || {
            (0..32).for_each(|_| arrived.recv_timeout(Duration::from_secs(20)).expect("all of them are under way"));
            all.wait();
        });
        let connections = connections();
        let at_once = [(); 32].map(|()| exchange(&connections, &server));
        assert!(futures_util::future::join_all(at_once).await.iter().all(Result::is_ok));
        let_go.await.unwrap();
    }

    #[tokio::test]
    async fn an_answer_that_announces_its_end_is_the_connections_last() {
        let server = Server::start(|mut connection| {
            connection.request();
            connection.say(&answer("200 OK\r\nconnection: close", "ok"));
            connection.drain();
        });
        let connections = connections();
        for made in 1..=3 {
            exchange(&connections, &server).await.unwrap();
            assert_eq!((connections.kept.borrow().len(), server.connections()), (0, made));
        }
    }
}

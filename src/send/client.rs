//! Connections to one host: makes them, keeps them, and sends one request at a time on each.
//!
//! A connection belongs to the attempt that uses it and is driven by that attempt's own future, on its own thread. It
//! needs no task of its own and no wake-up between threads.
//!
//! **Why this is not reqwest.** Of hyper this uses a single HTTP/1 connection, the engine under reqwest, for two
//! reasons.
//!
//! - Cost. The HTTP client takes more CPU than all else that an event needs. With 64 requests in flight on two cores,
//!   one event costs 20.2 µs in reqwest, 11.9 µs in hyper-util's pool and 8.3 µs on bare connections. For the whole
//!   worker that is 25.5 µs against 13.6 µs, and 46,200 events a second against 72,000. Reqwest spends the difference
//!   on its pool, on building `Request`, `Url` and headers anew, and on wake-ups between threads.
//! - Exactness. Whether a byte may have gone out decides whether an event is silently tried again or declared as a
//!   possible second send. Reqwest returns the same kind of error for both. A hyper connection gives back a request
//!   that it has not taken. So a request that never reached a connection is known as such, and one that may have
//!   reached it is never sent again here.
//!
//! In addition, only a request with an open connection can use its slot at once, and the last check before the first
//! byte ([`Line::exchange`]) needs connecting and sending to be two steps. A client with a pool makes them one.
//!
//! Some features of reqwest are left out on purpose: redirects, cookies, proxies of the environment, retries of its
//! own. Requests that do not go to a platform (the CLI's calls to the API) use reqwest.

mod answered;
mod body;
mod connect;
mod connection;
mod growth;
mod lookup;
mod patience;
mod proxy;
mod room;
mod sources;
mod stream;
mod tcp;
mod way;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Full;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

pub use answered::{Answered, Failure, Unanswered};
pub use body::NoBody;
pub use connect::Connector;
#[cfg(test)]
pub use connect::trusting;
use connection::{Connection, Exchange};
use growth::{Growth, Starting};
use patience::Queue;
pub use proxy::ProxyFailure;
pub use room::Room;
pub use sources::{is_bad_certificate, sources};
#[cfg(test)]
pub use tcp::reachable;
pub use tcp::{PrivateAddress, addresses};
pub use way::PrivateName;

/// The connections of one account to one of its base URLs.
pub struct Connections {
    connector: Connector,
    /// Scheme, host and port.
    origin: Uri,
    connect_timeout: Duration,
    growth: Arc<Growth>,
    /// The unused connections. The last used one is at the back and is used next.
    kept: RefCell<VecDeque<Connection>>,
    most_kept: Cell<usize>,
    /// How many there may be without a wait for one of them.
    at_once: Cell<usize>,
    queue: Queue,
}

impl Connections {
    /// Starts without connections. `connect_timeout` covers name lookup, TCP and TLS.
    pub fn new(connector: Connector, origin: Uri, connect_timeout: Duration) -> Self {
        Self {
            connector,
            origin,
            connect_timeout,
            growth: Arc::default(),
            kept: RefCell::default(),
            most_kept: Cell::new(usize::MAX),
            at_once: Cell::new(usize::MAX),
            queue: Queue::default(),
        }
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> &Uri {
        &self.origin
    }

    /// Keeps at most `most` unused connections beyond the next sweep, and makes more than `at_once` only for attempts that
    /// have waited.
    pub fn keep_at_most(&self, most: usize, at_once: usize) {
        self.most_kept.set(most);
        self.at_once.set(at_once);
    }

    /// A kept connection, if one is still open and no other attempt waits for it.
    pub fn kept(&self) -> Option<Line<'_>> {
        let connection = if self.queue.is_empty() { self.take() } else { None }?;
        Some(self.line_of(connection, true))
    }

    /// Makes a new connection, or takes a kept one that becomes free sooner, within `limit`.
    ///
    /// # Errors
    /// [`Failure::Connect`], [`Failure::ConnectTimeout`].
    pub async fn line(&self, limit: Duration) -> Result<Line<'_>, Failure> {
        let (connection, kept) = self.take_or_connect(limit).await?;
        Ok(self.line_of(connection, kept))
    }

    fn line_of(&self, connection: Connection, kept: bool) -> Line<'_> {
        Line { connections: self, connection: Some(connection), kept }
    }

    /// Connects as for a request, with TLS if the scheme demands it, and sends nothing.
    ///
    /// # Errors
    /// [`Failure::Connect`], [`Failure::ConnectTimeout`].
    pub async fn probe(&self) -> Result<(), Failure> {
        self.connect(self.growth.start_anyway(), self.connect_timeout).await.map(drop)
    }

    /// Takes the unused connections of another one to the same host, made in the same way.
    pub fn take_over(&self, earlier: &Connections) {
        self.kept.borrow_mut().extend(earlier.kept.borrow_mut().drain(..));
    }

    /// Closes connections that have been unused for too long, and those that are more than may be kept.
    pub fn sweep(&self) {
        let mut kept = self.kept.borrow_mut();
        let old = kept.iter().take_while(|c| c.is_old()).count();
        let surplus = kept.len().saturating_sub(self.most_kept.get());
        drop(kept.drain(..old.max(surplus)).collect::<Vec<_>>());
    }

    async fn take_or_connect(&self, limit: Duration) -> Result<(Connection, bool), Failure> {
        let end = Instant::now() + limit;
        let mut waiting = self.queue.enter(limit);
        let mut may_take = waiting.is_first;
        loop {
            // It is in line from here on: what becomes free while it looks at its wait is told to it as well.
            let mut changed = pin!(self.growth.changed.notified());
            if let Some(connection) = if may_take { self.take() } else { None } {
                return Ok((connection, true));
            }
            loop {
                let left = end.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(Failure::ConnectTimeout);
                }
                let may_grow = self.growth.total() < self.at_once.get() || waiting.is_over();
                if may_grow && let Some(starting) = self.growth.start() {
                    waiting.connects();
                    // Boxed, because most attempts only wait, and the future that connects is far larger.
                    return Ok((Box::pin(self.connect(starting, left.min(self.connect_timeout))).await?, false));
                }
                tokio::select! {
                    biased;
                    () = changed.as_mut() => break,
                    () = sleep_until(waiting.looks_at().min(end)) => {}
                }
            }
            may_take = true;
        }
    }

    async fn connect(&self, starting: Starting, limit: Duration) -> Result<Connection, Failure> {
        let connecting = async {
            let stream = self.connector.connect(&self.origin).await.map_err(Failure::Connect)?;
            Ok(Connection::over(stream, starting))
        };
        timeout(limit, connecting).await.unwrap_or(Err(Failure::ConnectTimeout))
    }

    /// The last used of the kept connections that are still open.
    fn take(&self) -> Option<Connection> {
        loop {
            let connection = self.kept.borrow_mut().pop_back()?;
            if let Some(open) = connection.if_open() {
                return Some(open);
            }
        }
    }

    fn keep(&self, connection: Connection) {
        self.kept.borrow_mut().push_back(connection);
        self.growth.changed.notify_one();
    }

    fn take_back(&self, exchange: Exchange) {
        if let Some(connection) = exchange.end() {
            self.keep(connection);
        }
    }
}

/// A connection for one request. If it is not used, it goes back to the kept ones.
pub struct Line<'a> {
    connections: &'a Connections,
    /// `None`: the request has taken it.
    connection: Option<Connection>,
    /// It was used before, so its other end may have closed it.
    kept: bool,
}

impl<'a> Line<'a> {
    /// Whether the connection may still be used, as far as that is known without waiting.
    pub fn is_open(&mut self) -> bool {
        self.connection.as_mut().is_some_and(Connection::is_open)
    }

    /// Waits until the connection must not be used any more.
    pub async fn spent(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.spent().await;
        }
    }

    /// Sends one request, with `Host` and a URI in origin form. The time from its first byte to the last byte of the
    /// answer is bounded by `limit`, and the answer by `answer_bytes`, both as it came and unpacked. `judge` is called
    /// directly before the first byte: nothing is awaited between it and the system's write.
    ///
    /// # Errors
    /// A [`Failure`], which is exact about whether a byte may have gone out; or the error of `judge`.
    pub async fn exchange<E>(
        mut self,
        request: Request<Full<Bytes>>,
        limit: Duration,
        answer_bytes: usize,
        judge: impl FnOnce() -> Result<(), E>,
    ) -> Result<Answered, Unanswered<Failure, E>> {
        let Some(connection) = self.connection.take() else { return Err(Unanswered::Closed) };
        let begun = connection.begin().await;
        let mut exchange = begun.map_err(|_| Unanswered::Failed(Failure::Unsent))?;
        let mut deadline = pin!(tokio::time::sleep(limit));
        let sent = before(deadline.as_mut(), exchange.send(request, judge)).await;
        match sent.ok_or(Unanswered::Failed(Failure::Timeout))? {
            Ok(Ok(response)) => {
                let (head, incoming) = response.into_parts();
                let mut room = None;
                let read = before(deadline.as_mut(), exchange.read(incoming, answer_bytes, &mut room)).await;
                let mut body = read.unwrap_or(Err(NoBody::Cut("the answer did not end in time")));
                if body.is_ok() {
                    self.connections.take_back(*exchange);
                }
                if room.is_none() && answer_bytes > room::SHORT && body.as_ref().is_ok_and(|b| body::is_packed(b)) {
                    match before(deadline.as_mut(), Room::of(answer_bytes)).await {
                        Some(taken) => room = Some(taken),
                        None => body = Err(NoBody::Cut("the answer was not unpacked in time")),
                    }
                }
                let body = body.and_then(|body| body::unpacked(&head.headers, body, answer_bytes));
                if let Some(room) = &mut room {
                    room.shrink_to(body.as_ref().map_or(0, Vec::len));
                }
                Ok(Answered { head, body, room })
            }
            Ok(Err(mut error)) => Err(match error.take_message() {
                Some(_) if self.kept => Unanswered::Closed,
                Some(_) => Unanswered::Failed(Failure::Unsent),
                None if error.error().is_parse() => Unanswered::Failed(Failure::Unreadable),
                None => Unanswered::Failed(Failure::Broken),
            }),
            Err(why) => {
                self.connection = exchange.end();
                Err(Unanswered::Stopped(why))
            }
        }
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        // `if_open` also makes the connection wake this attempt no more.
        if let Some(connection) = self.connection.take().and_then(Connection::if_open) {
            self.connections.keep(connection);
        }
    }
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
    use std::task::{Context, Waker};

    use http::header::HOST;

    use super::connection::IDLE;
    use super::*;
    use crate::stub::server::{Server, answer};

    const LONG: Duration = Duration::from_secs(20);

    fn connections(server: &Server) -> Connections {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Connections::new(Connector::new(true, None).unwrap(), server.url().parse().unwrap(), LONG)
    }

    fn request() -> Request<Full<Bytes>> {
        Request::post("/").header(HOST, "h").body(Full::from("x")).unwrap()
    }

    async fn exchange(connections: &Connections) -> Result<Answered, Failure> {
        loop {
            let line = connections.line(LONG).await?;
            match line.exchange(request(), LONG, 1024, || Ok::<_, ()>(())).await {
                Ok(answered) => return Ok(answered),
                Err(Unanswered::Failed(failure)) => return Err(failure),
                Err(Unanswered::Closed) => {}
                Err(Unanswered::Stopped(())) => panic!("nobody stopped it"),
            }
        }
    }

    fn age(connections: &Connections, by: Duration) {
        connections.kept.borrow_mut().iter_mut().for_each(|c| c.age(by));
    }

    #[tokio::test]
    async fn a_connection_that_was_idle_for_too_long_is_not_used_again() {
        let server = Server::answering(answer("200 OK", "ok"));
        let connections = connections(&server);
        for (idle, made) in [(Duration::ZERO, 1), (IDLE - Duration::from_secs(5), 1), (IDLE, 2), (Duration::ZERO, 2)] {
            age(&connections, idle);
            assert_eq!(exchange(&connections).await.unwrap().body.as_deref(), Ok(&b"ok"[..]));
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
        let connections = connections(&server);
        exchange(&connections).await.unwrap();
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
        // None is answered before all have arrived, so each has a connection of its own.
        let all = std::sync::Barrier::new(3);
        let server = Server::start(move |mut connection| {
            connection.request();
            all.wait();
            connection.say(&answer("200 OK", "ok"));
            connection.drain();
        });
        let connections = connections(&server);
        connections.keep_at_most(2, 3);
        let three = [(); 3].map(|()| exchange(&connections));
        assert!(futures_util::future::join_all(three).await.iter().all(Result::is_ok));
        connections.sweep();
        assert_eq!((server.connections(), connections.kept.borrow().len()), (3, 2));
    }

    /// A server that holds back the answer on its first connection until the sender is used or dropped.
    fn holding_the_first() -> (Server, std::sync::mpsc::Sender<()>) {
        let (let_go, gate) = std::sync::mpsc::channel::<()>();
        let gate = std::sync::Mutex::new(gate);
        let server = Server::start(move |mut connection| {
            connection.request();
            if connection.number == 0 {
                let _ = gate.lock().unwrap().recv();
            }
            connection.say(&answer("200 OK", "ok"));
            connection.drain();
        });
        (server, let_go)
    }

    fn poll_once(future: Pin<&mut impl Future>) -> bool {
        future.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[tokio::test]
    async fn one_more_than_are_made_at_once_is_made_only_for_an_attempt_that_has_waited() {
        for (at_once, made_at_once) in [(1, false), (2, true)] {
            let (server, let_go) = holding_the_first();
            let connections = connections(&server);
            connections.keep_at_most(2, at_once);
            let mut hanging = Box::pin(exchange(&connections));
            while server.requests().is_empty() {
                assert!(timeout(Duration::from_millis(5), &mut hanging).await.is_err());
            }
            let began = Instant::now();
            let mut second = Box::pin(exchange(&connections));
            assert!(!poll_once(second.as_mut()));
            assert_eq!(connections.growth.total() == 2, made_at_once, "{at_once} at once");
            assert!(second.await.is_ok() && (made_at_once || began.elapsed() >= patience::LOOK_AFTER));
            drop(let_go);
            assert!(hanging.await.is_ok());
        }
    }

    #[tokio::test]
    async fn on_a_thread_without_time_to_spare_it_waits_longer_and_not_for_ever() {
        let (server, let_go) = holding_the_first();
        let connections = connections(&server);
        connections.keep_at_most(2, 1);
        let busy = tokio::spawn(async {
            loop {
                std::thread::sleep(Duration::from_millis(2));
                tokio::task::yield_now().await;
            }
        });
        let mut hanging = Box::pin(exchange(&connections));
        while server.requests().is_empty() {
            assert!(timeout(Duration::from_millis(5), &mut hanging).await.is_err());
        }
        let began = Instant::now();
        assert!(exchange(&connections).await.is_ok());
        assert!(began.elapsed() >= patience::LONGEST);
        busy.abort();
        drop(let_go);
        assert!(hanging.await.is_ok());
    }

    #[tokio::test]
    async fn who_comes_later_waits_behind_those_that_wait() {
        let (server, let_go) = holding_the_first();
        let connections = connections(&server);
        connections.keep_at_most(1, 1);
        let mut first = Box::pin(exchange(&connections));
        while server.requests().is_empty() {
            assert!(timeout(Duration::from_millis(5), &mut first).await.is_err());
        }
        let mut second = Box::pin(connections.line(LONG));
        assert!(!poll_once(second.as_mut()));
        drop(let_go);
        assert!(first.await.is_ok());
        assert_eq!(connections.kept.borrow().len(), 1);
        assert!(connections.kept().is_none(), "it is the second one's");
        let mut third = Box::pin(connections.line(LONG));
        assert!(!poll_once(third.as_mut()));
        drop(second.await.unwrap());
        assert!(connections.kept().is_none(), "and now the third one's");
        drop(third.await.unwrap());
        assert!(connections.kept().is_some());
        assert_eq!(server.connections(), 1);
    }

    #[tokio::test]
    async fn of_requests_at_once_the_first_alone_begins_to_connect() {
        let server = Server::answering(answer("200 OK", "ok"));
        let connections = connections(&server);
        let mut at_once = [(); 64].map(|()| Box::pin(exchange(&connections)));
        for request in &mut at_once {
            assert!(request.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
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
        let connections = connections(&server);
        let at_once = [(); 32].map(|()| exchange(&connections));
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
        let connections = connections(&server);
        for made in 1..=3 {
            exchange(&connections).await.unwrap();
            assert_eq!((connections.kept.borrow().len(), server.connections()), (0, made));
        }
    }
}

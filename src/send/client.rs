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
pub use proxy::ProxyFailure;
pub use room::Room;
pub use sources::{is_bad_certificate, sources};
#[cfg(test)]
pub use tcp::reachable;
pub use tcp::{PrivateAddress, addresses};
pub use way::PrivateName;

/// If an attempt needs one more connection than are kept, it first waits for one that becomes free: this many times as
/// long as a request usually takes, within these bounds. A connection that becomes free costs less than one that is
/// made and soon closed.
const PATIENCE: u32 = 4;
const PATIENCE_BOUNDS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

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
    /// The smoothed time for which a connection is taken.
    taken_for: Cell<Duration>,
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
            taken_for: Cell::new(PATIENCE_BOUNDS.1 / PATIENCE),
        }
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> &Uri {
        &self.origin
    }

    /// Keeps at most `most` unused connections beyond the next sweep.
    pub fn keep_at_most(&self, most: usize) {
        self.most_kept.set(most);
    }

    /// A kept connection, if one is still open.
    pub fn kept(&self) -> Option<Line<'_>> {
        let connection = self.take()?;
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
        Line { connections: self, connection: Some(connection), kept, since: Instant::now() }
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
        self.taken_for.set(earlier.taken_for.get());
    }

    /// Closes connections that have been unused for too long, and those that are more than may be kept.
    pub fn sweep(&self) {
        let mut kept = self.kept.borrow_mut();
        let old = kept.iter().take_while(|c| c.is_old()).count();
        let surplus = kept.len().saturating_sub(self.most_kept.get());
        drop(kept.drain(..old.max(surplus)).collect::<Vec<_>>());
    }

    /// It has no timer around the whole, because in a burst thousands wait here, each with one of its own already.
    async fn take_or_connect(&self, limit: Duration) -> Result<(Connection, bool), Failure> {
        // Most of the limit stays for connecting.
        let patience = self.patience().min(limit / 4);
        let began = Instant::now();
        let (patient_until, until) = (began + patience, began + limit);
        loop {
            if let Some(connection) = self.take() {
                return Ok((connection, true));
            }
            let now = Instant::now();
            let may_grow = self.growth.total() < self.most_kept.get() || now >= patient_until;
            if may_grow && let Some(starting) = self.growth.start() {
                // Boxed, because most attempts only wait, and the future that connects is far larger.
                return Ok((Box::pin(self.connect(starting, until.saturating_duration_since(now))).await?, false));
            }
            if now >= until {
                return Err(Failure::ConnectTimeout);
            }
            // A waiter that must not make a connection yet may be woken in place of one that may, so each looks again.
            let look_again = until.min(if now < patient_until { patient_until } else { now + patience });
            tokio::select! {
                () = self.growth.changed.notified() => {}
                () = sleep_until(look_again) => {}
            }
        }
    }

    fn patience(&self) -> Duration {
        (self.taken_for.get() * PATIENCE).clamp(PATIENCE_BOUNDS.0, PATIENCE_BOUNDS.1)
    }

    async fn connect(&self, starting: Starting, limit: Duration) -> Result<Connection, Failure> {
        let connecting = async {
            let stream = self.connector.connect(&self.origin).await.map_err(Failure::Connect)?;
            Ok(Connection::over(stream, starting))
        };
        timeout(self.connect_timeout.min(limit), connecting).await.unwrap_or(Err(Failure::ConnectTimeout))
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

    /// Takes a connection back that was taken at `since`.
    fn take_back(&self, exchange: Box<Exchange>, since: Instant) {
        if let Some(connection) = exchange.end() {
            self.taken_for.set((self.taken_for.get() * 7 + (connection.idle_since() - since)) / 8);
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
    since: Instant,
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
                    self.connections.take_back(exchange, self.since);
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
mod tests;

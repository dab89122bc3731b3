//! One HTTP/1 connection. A request is driven by the future that sends it. Between two requests it is a bare stream,
//! unless the process has few connections.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, Parts, SendRequest};
use hyper::rt::{Read as _, ReadBuf};
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, timeout_at};

use super::body::{self, NoBody};
use super::growth::{Open, Starting, few_are_open};
use super::room::{self, Room};
use super::stream::Stream;

/// Shorter than the keep-alive of common servers, so that a request seldom meets a connection that is being closed.
pub(super) const IDLE: Duration = Duration::from_secs(15);
/// Far more header lines than any platform sends.
const MAX_HEADERS: usize = 512;
/// A longer answer makes hyper's buffer grow, and it stays large.
const SHORT_ANSWER: usize = 4 * 1024;

/// An open connection without a request.
pub(super) struct Connection {
    unused: Unused,
    idle_since: Instant,
}

/// What a connection keeps between two requests.
enum Unused {
    /// No state of HTTP, which takes over 30 KiB.
    Bare(Stream, Open),
    /// The state of HTTP too. To make it anew for each request costs a twentieth of what an event costs in all.
    Ready(Box<Exchange>),
}

impl Connection {
    /// Takes an open stream.
    pub(super) fn over(stream: Stream, starting: Starting) -> Self {
        Self { unused: Unused::Bare(stream, starting.done()), idle_since: Instant::now() }
    }

    /// Whether it has been unused for so long that the other end may be about to close it.
    pub(super) fn is_old(&self) -> bool {
        self.idle_since.elapsed() >= IDLE
    }

    #[cfg(test)]
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.unused, Unused::Ready(_))
    }

    #[cfg(test)]
    pub(super) fn age(&mut self, by: Duration) {
        self.idle_since -= by;
    }

    /// Since when it is unused.
    pub(super) fn idle_since(&self) -> Instant {
        self.idle_since
    }

    /// Waits until it is too old, or the other end has closed it.
    pub(super) async fn spent(&mut self) {
        let old = self.idle_since + IDLE;
        let _ = timeout_at(old, poll_fn(|cx| self.poll_end(cx))).await;
    }

    /// Whether it can take a request, as far as that is known without waiting.
    pub(super) fn is_open(&mut self) -> bool {
        !self.is_old() && self.poll_end(&mut noop()).is_pending()
    }

    pub(super) fn if_open(mut self) -> Option<Self> {
        self.is_open().then_some(self)
    }

    /// Ready if the other end has closed it, or has sent something without a request.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.unused {
            Unused::Bare(stream, _) => {
                let mut byte = [0];
                let mut buffer = ReadBuf::new(&mut byte);
                Pin::new(stream).poll_read(cx, buffer.unfilled()).map(drop)
            }
            Unused::Ready(exchange) => {
                exchange.turn(cx);
                if exchange.may_send() { Poll::Pending } else { Poll::Ready(()) }
            }
        }
    }

    /// Starts HTTP on it, unless it is ready.
    pub(super) async fn begin(self) -> hyper::Result<Box<Exchange>> {
        match self.unused {
            Unused::Ready(exchange) => Ok(exchange),
            Unused::Bare(stream, open) => {
                let (sender, io) = builder().handshake(stream).await?;
                Ok(Box::new(Exchange { sender, io: Some(io), has_grown: false, open }))
            }
        }
    }
}

/// One request on a connection and its answer.
pub(super) struct Exchange {
    sender: SendRequest<Full<Bytes>>,
    /// `None`: the connection has ended. It is dropped then, so that a request that it had not taken comes back at
    /// once.
    io: Option<http1::Connection<Stream, Full<Bytes>>>,
    /// It has read a long answer, so its buffer is large.
    has_grown: bool,
    open: Open,
}

impl Exchange {
    /// Lets the connection write and read as much as it can. The request in flight learns what it finds.
    fn turn(&mut self, cx: &mut Context<'_>) {
        if self.io.as_mut().is_some_and(|io| Pin::new(io).poll(cx).is_ready()) {
            self.io = None;
        }
    }

    /// Whether another request may be given to it.
    fn may_send(&self) -> bool {
        self.io.is_some() && self.sender.is_ready()
    }

    /// The connection, if another request may follow. Its waker belongs to an attempt that continues without it, and
    /// would keep that attempt's memory. `if_open` replaces the waker.
    pub(super) fn end(mut self: Box<Self>) -> Option<Connection> {
        if !self.sender.is_ready() {
            self.turn(&mut noop());
        }
        if !self.may_send() {
            return None;
        }
        let idle_since = Instant::now();
        if few_are_open() && !self.has_grown {
            return Connection { unused: Unused::Ready(self), idle_since }.if_open();
        }
        let Self { io, open, .. } = *self;
        let Parts { io: stream, read_buf, .. } = io?.into_parts();
        let connection = Connection { unused: Unused::Bare(stream, open), idle_since };
        if read_buf.is_empty() { connection.if_open() } else { None }
    }

    /// Gives it a request, which its next turn writes. `judge` is called directly before, and may refuse.
    pub(super) async fn send<E>(
        &mut self,
        request: Request<Full<Bytes>>,
        judge: impl FnOnce() -> Result<(), E>,
    ) -> Result<Result<Response<Incoming>, TrySendError<Request<Full<Bytes>>>>, E> {
        judge()?;
        // Only a turn of this connection can bring the answer, and the connection is woken for that. A waker of the
        // answer's own would only poll the attempt a second time. It runs without the runtime's budget, which would use
        // that waker for its own purpose.
        let mut answer = pin!(unconstrained(self.sender.try_send_request(request)));
        poll_fn(|cx| {
            self.turn(cx);
            answer.as_mut().poll(&mut noop()).map(Ok)
        })
        .await
    }

    pub(super) async fn read(
        &mut self,
        mut incoming: Incoming,
        most: usize,
        room: &mut Option<Room>,
    ) -> Result<Vec<u8>, NoBody> {
        let mut body = Vec::new();
        if !self.read_on(&mut incoming, &mut body, most.min(room::SHORT)).await? {
            if body.len() > most {
                return Err(NoBody::TooLong(most));
            }
            *room = Some(Room::of(most).await);
            if !self.read_on(&mut incoming, &mut body, most).await? {
                return Err(NoBody::TooLong(most));
            }
        }
        self.has_grown |= body.len() > SHORT_ANSWER;
        Ok(body)
    }

    /// Reads to the end, or until there are more than so many bytes; `false`: it has not ended.
    async fn read_on(&mut self, incoming: &mut Incoming, body: &mut Vec<u8>, until: usize) -> Result<bool, NoBody> {
        poll_fn(|cx| {
            loop {
                if body.len() > until {
                    return Poll::Ready(Ok(false));
                }
                self.turn(cx);
                match Pin::new(&mut *incoming).poll_frame(&mut noop()) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(None) => return Poll::Ready(Ok(true)),
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(body::failed(&error))),
                    Poll::Ready(Some(Ok(frame))) => body.extend_from_slice(&frame.into_data().unwrap_or_default()),
                }
            }
        })
        .await
    }
}

/// How answers are read: as leniently as possible, because an answer that cannot be read counts as lost, and its event
/// is sent again.
fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // One buffer for head and body: for a kilobyte, a copy costs less than a vectored write.
        .writev(false)
        .max_headers(MAX_HEADERS)
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        // For example a PHP warning among the headers.
        .ignore_invalid_headers_in_responses(true);
    builder
}

fn noop() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

//! One HTTP/1 connection, driven by the future that uses it.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, timeout_at};

use super::body::{self, NoBody};
use super::connect::Stream;
use super::growth::{Open, Starting};

/// Shorter than the keep-alive of common servers, so that a request seldom meets a connection that is being closed.
pub(super) const IDLE: Duration = Duration::from_secs(15);
/// Far more header lines than any platform sends.
const MAX_HEADERS: usize = 512;

pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// `None`: the connection has ended. It is dropped then, so that a request that it had not taken comes back at
    /// once.
    io: Option<http1::Connection<Stream, Full<Bytes>>>,
    idle_since: Instant,
    _open: Open,
}

impl Connection {
    /// Starts HTTP on an open stream.
    pub(super) async fn over(stream: Stream, starting: Starting) -> hyper::Result<Box<Self>> {
        let (sender, io) = builder().handshake(stream).await?;
        Ok(Box::new(Self { sender, io: Some(io), idle_since: Instant::now(), _open: starting.done() }))
    }

    /// Lets the connection write and read as much as it can. The request in flight learns what it finds.
    fn turn(&mut self, cx: &mut Context<'_>) {
        if self.io.as_mut().is_some_and(|io| Pin::new(io).poll(cx).is_ready()) {
            self.io = None;
        }
    }

    /// Notes that a request is over.
    pub(super) fn is_done(&mut self) {
        self.idle_since = Instant::now();
    }

    /// Whether it has been unused for so long that the other end may be about to close it.
    pub(super) fn is_old(&self) -> bool {
        self.idle_since.elapsed() >= IDLE
    }

    #[cfg(test)]
    pub(super) fn age(&mut self, by: Duration) {
        self.idle_since -= by;
    }

    /// Prepares the connection to be kept. `false`: it has ended. Its waker belongs to an attempt that continues
    /// without it, and would keep that attempt's memory.
    pub(super) fn rest(&mut self) -> bool {
        self.turn(&mut noop());
        self.io.is_some()
    }

    /// Waits until it is too old, or the other end has closed it.
    pub(super) async fn spent(&mut self) {
        let old = self.idle_since + IDLE;
        let ended = poll_fn(|cx| {
            self.turn(cx);
            if self.io.is_some() { Poll::Pending } else { Poll::Ready(()) }
        });
        let _ = timeout_at(old, ended).await;
    }

    /// Whether it can take a request, as far as that is known without waiting.
    pub(super) async fn is_open(&mut self) -> bool {
        if self.is_old() {
            return false;
        }
        poll_fn(|cx| {
            self.turn(cx);
            let ready = self.io.is_some() && matches!(self.sender.poll_ready(&mut noop()), Poll::Ready(Ok(())));
            Poll::Ready(ready)
        })
        .await
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

    pub(super) async fn read(&mut self, mut incoming: Incoming, most: usize) -> Result<Vec<u8>, NoBody> {
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
                        if body.len() + data.len() > most {
                            return Poll::Ready(Err(NoBody::TooLong(most)));
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

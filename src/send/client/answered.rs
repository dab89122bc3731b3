//! What comes of a request: an answer, or why there is none.

use super::body::NoBody;
use super::room::Room;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// There is no connection. No byte of the request went out.
    #[error("no connection")]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There was no connection in time. No byte of the request went out.
    #[error("no connection in time")]
    ConnectTimeout,
    /// The connection ended before it took the request. No byte went out.
    #[error("the connection closed before the request")]
    Unsent,
    /// The answer did not come in time.
    #[error("no answer in time")]
    Timeout,
    /// The connection broke before an answer.
    #[error("the connection broke before an answer")]
    Broken,
    /// What came is not an HTTP answer.
    #[error("its head is not HTTP")]
    Unreadable,
}

/// The head of an answer, and its body if that could be read.
pub struct Answered {
    /// Status and headers.
    pub head: http::response::Parts,
    /// The whole body, unpacked, or why there is none.
    pub body: Result<Vec<u8>, NoBody>,
    /// The room that a long answer takes, to be kept for as long as anything of the answer is.
    pub room: Option<Room>,
}

/// Why there is no answer to a request on a [`Line`](super::Line).
#[derive(Debug)]
pub enum Unanswered<F, E> {
    Failed(F),
    /// `judge` refused. No byte went out.
    Stopped(E),
    /// The kept connection had closed. No byte went out, and another connection may take the request.
    Closed,
}

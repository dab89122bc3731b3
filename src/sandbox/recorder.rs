//! Keeps the header block of each request as it was sent. A server library changes the case of names and their order,
//! but the ledger shows the bytes of the network.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The bytes that were read from a connection and belong to no finished request.
#[derive(Clone, Debug, Default)]
pub(super) struct Recorded(Arc<Mutex<BytesMut>>);

impl Recorded {
    fn lock(&self) -> MutexGuard<'_, BytesMut> {
        // No code under the lock can leave the bytes half written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the request line and headers of the request that the server has just accepted.
    pub(super) fn take_head(&self) -> Bytes {
        let mut bytes = self.lock();
        // HTTP allows empty lines before a request; they belong to no request.
        while matches!(bytes.first(), Some(b'\r' | b'\n')) {
            bytes.advance(1);
        }
        let mut end = 0;
        for line in bytes.split_inclusive(|&b| b == b'\n') {
            end += line.len();
            if line.trim_ascii().is_empty() {
                break;
            }
        }
        // The bytes are copied: a slice would keep the whole buffer in memory for as long as the ledger has the entry.
        let head = Bytes::copy_from_slice(bytes.get(..end).unwrap_or_default());
        bytes.advance(end);
        head
    }

    /// Drops a body with this many bytes on the network.
    pub(super) fn skip(&self, length: usize) {
        let mut bytes = self.lock();
        let length = length.min(bytes.len());
        bytes.advance(length);
    }
}

/// A connection that records the bytes read from it.
#[derive(Debug)]
pub(super) struct Recorder {
    stream: TcpStream,
    recorded: Recorded,
}

impl Recorder {
    pub(super) fn new(stream: TcpStream) -> (Self, Recorded) {
        let recorded = Recorded::default();
        (Self { stream, recorded: recorded.clone() }, recorded)
    }

    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }
}

impl AsyncRead for Recorder {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.recorded.lock().extend_from_slice(buf.filled().get(before..).unwrap_or_default());
        polled
    }
}

impl AsyncWrite for Recorder {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

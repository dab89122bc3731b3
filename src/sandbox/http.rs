//! HTTP/1.1 over a bare socket: one request in, exactly as it was sent, and one answer out.
//!
//! Written on `httparse` instead of a server library, because half of what a sandbox is for needs the socket itself
//! (a reset in the middle of an answer, silence, an answer without end) and because the ledger shows the header block
//! byte for byte, with the order and spelling that a server library normalises away.

use axum::http::StatusCode;
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Largest request body.
pub(super) const MAX_BODY: usize = 1024 * 1024;
/// Largest request line and header block, and largest trailer block.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

/// One request, complete.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) target: String,
    /// Request line and headers, byte for byte.
    pub(super) head: Bytes,
    /// The body without transfer coding.
    pub(super) body: Bytes,
    /// Whether the client speaks HTTP/1.1 and so understands chunks.
    pub(super) http11: bool,
    pub(super) keep_alive: bool,
}

/// How often a header stands in a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Header<'a> {
    Missing,
    Once(&'a [u8]),
    Repeated,
}

impl Request {
    /// The header of this name, in any case.
    pub(super) fn header(&self, name: &str) -> Header<'_> {
        let mut found = header_lines(&self.head).filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()));
        match (found.next(), found.next()) {
            (None, _) => Header::Missing,
            (Some((_, value)), None) => Header::Once(value),
            (Some(_), Some(_)) => Header::Repeated,
        }
    }

    /// The path without its query.
    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// Name and value of every header in a block that the reader has accepted, as they were sent.
pub(super) fn header_lines(head: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    head.split(|&b| b == b'\n').filter_map(|line| {
        // The request line holds a colon at most in its target, which stands after a blank; a name never holds one.
        let colon = line.iter().position(|&b| b == b':')?;
        let (name, value) = (line.get(..colon)?, line.get(colon + 1..)?);
        (!name.contains(&b' ')).then(|| (name, value.trim_ascii()))
    })
}

/// Why there is no request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReadError {
    /// The peer went away.
    Gone,
    /// What it sent is refused with this status, and the connection ends.
    Refused(u16, &'static str),
}

struct Head {
    len: usize,
    method: String,
    target: String,
    length: Option<usize>,
    chunked: bool,
    expects_continue: bool,
    http11: bool,
    keep_alive: bool,
}

/// Reads one request; what was read beyond it stays in `buffer`.
pub(super) async fn read_request<S>(stream: &mut S, buffer: &mut BytesMut) -> Result<Request, ReadError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let head = loop {
        if let Some(head) = parse_head(buffer)? {
            break head;
        }
        if buffer.len() > MAX_HEAD {
            return Err(ReadError::Refused(431, "header block too large"));
        }
        fill(stream, buffer).await?;
    };
    let length = head.length.unwrap_or(0);
    if length > MAX_BODY {
        return Err(ReadError::Refused(413, "body too large"));
    }
    let raw_head = buffer.split_to(head.len).freeze();
    if head.expects_continue && (head.chunked || buffer.len() < length) {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.map_err(|_| ReadError::Gone)?;
    }
    let body = if head.chunked {
        read_chunks(stream, buffer).await?
    } else {
        while buffer.len() < length {
            fill(stream, buffer).await?;
        }
        buffer.split_to(length).freeze()
    };
    let Head { method, target, http11, keep_alive, .. } = head;
    Ok(Request { method, target, head: raw_head, body, http11, keep_alive })
}

async fn fill<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut BytesMut) -> Result<(), ReadError> {
    buffer.reserve(4096);
    match stream.read_buf(buffer).await {
        Ok(0) | Err(_) => Err(ReadError::Gone),
        Ok(_) => Ok(()),
    }
}

fn parse_head(buffer: &[u8]) -> Result<Option<Head>, ReadError> {
    let bad = |text| ReadError::Refused(400, text);
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let len = match request.parse(buffer) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(ReadError::Refused(431, "too many headers")),
        Err(_) => return Err(bad("not an HTTP/1.1 request")),
    };
    if len > MAX_HEAD {
        return Err(ReadError::Refused(431, "header block too large"));
    }
    let http11 = request.version == Some(1);
    let mut head = Head {
        len,
        method: request.method.unwrap_or_default().to_owned(),
        target: request.path.unwrap_or_default().to_owned(),
        length: None,
        chunked: false,
        expects_continue: false,
        http11,
        keep_alive: http11,
    };
    for header in request.headers.iter() {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("content-length") {
            // Two lengths, even equal ones, are how requests are smuggled.
            let digits = std::str::from_utf8(header.value).ok().filter(|v| v.bytes().all(|b| b.is_ascii_digit()));
            let length = digits.and_then(|v| v.parse().ok()).ok_or(bad("unreadable Content-Length"))?;
            if head.length.replace(length).is_some() {
                return Err(bad("two Content-Length headers"));
            }
        } else if is("transfer-encoding") {
            if head.chunked || !header.value.eq_ignore_ascii_case(b"chunked") {
                return Err(ReadError::Refused(501, "transfer coding not supported"));
            }
            head.chunked = true;
        } else if is("connection") && header.value.to_ascii_lowercase().windows(5).any(|w| w == b"close") {
            head.keep_alive = false;
        } else if is("expect") && header.value.eq_ignore_ascii_case(b"100-continue") {
            head.expects_continue = true;
        }
    }
    if head.chunked && head.length.is_some() {
        return Err(bad("Content-Length beside Transfer-Encoding"));
    }
    Ok(Some(head))
}

async fn read_chunks<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut BytesMut) -> Result<Bytes, ReadError> {
    let bad = ReadError::Refused(400, "unreadable chunk");
    let mut body = BytesMut::new();
    loop {
        let (start, size) = loop {
            match httparse::parse_chunk_size(buffer) {
                Ok(httparse::Status::Complete(found)) => break found,
                Ok(httparse::Status::Partial) if buffer.len() <= MAX_HEAD => fill(stream, buffer).await?,
                _ => return Err(bad),
            }
        };
        buffer.advance(start);
        if size == 0 {
            read_trailers(stream, buffer).await?;
            return Ok(body.freeze());
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size > MAX_BODY - body.len() {
            return Err(ReadError::Refused(413, "body too large"));
        }
        while buffer.len() < size + 2 {
            fill(stream, buffer).await?;
        }
        body.extend_from_slice(&buffer.split_to(size));
        if buffer.split_to(2) != b"\r\n"[..] {
            return Err(bad);
        }
    }
}

/// Skips trailers: no platform documents any.
async fn read_trailers<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut BytesMut) -> Result<(), ReadError> {
    let mut seen = 0;
    loop {
        match buffer.windows(2).position(|pair| pair == b"\r\n") {
            Some(end) => {
                buffer.advance(end + 2);
                seen += end + 2;
                if end == 0 {
                    return Ok(());
                }
            }
            None => fill(stream, buffer).await?,
        }
        if seen + buffer.len() > MAX_HEAD + MAX_BODY {
            return Err(ReadError::Refused(431, "trailers too large"));
        }
    }
}

/// An answer before it is put on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) retry_after: Option<String>,
    pub(super) body: Bytes,
}

impl Response {
    /// A JSON answer.
    pub(super) fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, content_type: "application/json;charset=utf-8", retry_after: None, body: body.into() }
    }

    /// A plain answer.
    pub(super) fn text(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, content_type: "text/plain;charset=utf-8", retry_after: None, body: body.into() }
    }

    /// The whole answer as it goes out.
    pub(super) fn encode(&self, keep_alive: bool) -> Vec<u8> {
        let mut out = self.head(keep_alive, None);
        if !without_body(self.status) {
            out.extend_from_slice(&self.body);
        }
        out
    }

    /// Status line and headers; with `coding` instead of the length where the length is not known.
    pub(super) fn head(&self, keep_alive: bool, coding: Option<&str>) -> Vec<u8> {
        let reason = StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason.unwrap_or("Status"));
        if !without_body(self.status) {
            head.push_str(&format!("Content-Type: {}\r\n", self.content_type));
            match coding {
                Some(coding) => head.push_str(&format!("Transfer-Encoding: {coding}\r\n")),
                None => head.push_str(&format!("Content-Length: {}\r\n", self.body.len())),
            }
        }
        if let Some(after) = &self.retry_after {
            head.push_str(&format!("Retry-After: {after}\r\n"));
        }
        if !keep_alive {
            head.push_str("Connection: close\r\n");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

fn without_body(status: u16) -> bool {
    status == 204 || status == 304
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8]) -> Result<Request, ReadError> {
        let (mut client, mut server) = tokio::io::duplex(4 * 1024 * 1024);
        client.write_all(bytes).await.unwrap();
        client.shutdown().await.unwrap();
        read_request(&mut server, &mut BytesMut::new()).await
    }

    #[tokio::test]
    async fn a_request_is_kept_byte_for_byte() {
        let head = b"POST /a?b=c:d HTTP/1.1\r\nHost: x:1\r\nApp-KEY:  k \r\nX: \xff\r\nContent-Length: 3\r\n\r\n";
        let request = read(&[&head[..], b"\x00\xff\n"].concat()).await.unwrap();
        assert_eq!(request.head, head[..]);
        assert_eq!(request.body, b"\x00\xff\n"[..]);
        assert_eq!((request.method.as_str(), request.path()), ("POST", "/a"));
        assert_eq!(request.header("app-key"), Header::Once(b"k"));
        assert_eq!(request.header("post /a?b=c"), Header::Missing);
        assert_eq!(header_lines(&request.head).count(), 4);
        assert!(request.keep_alive && request.http11);
    }

    #[tokio::test]
    async fn two_requests_in_one_packet_are_two_requests() {
        let (mut client, mut server) = tokio::io::duplex(4096);
        client.write_all(b"PUT /1 HTTP/1.1\r\nContent-Length: 1\r\n\r\naGET /2 HTTP/1.0\r\n\r\n").await.unwrap();
        let mut buffer = BytesMut::new();
        assert_eq!(read_request(&mut server, &mut buffer).await.unwrap().body, b"a"[..]);
        let second = read_request(&mut server, &mut buffer).await.unwrap();
        assert_eq!(second.target, "/2");
        assert!(!second.keep_alive);
    }

    #[tokio::test]
    async fn chunks_are_put_together() {
        let chunked =
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n";
        assert_eq!(read(chunked).await.unwrap().body, b"abcde"[..]);
        let broken = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n";
        assert_eq!(read(broken).await.unwrap_err(), ReadError::Refused(400, "unreadable chunk"));
    }

    #[tokio::test]
    async fn what_cannot_be_framed_safely_is_refused() {
        for (head, status) in [
            ("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", 400),
            ("POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\na", 400),
            ("POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na", 400),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\na", 501),
            ("POST / HTTP/1.1\r\nContent-Length: 1048577\r\n\r\n", 413),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n100001\r\n", 413),
            ("no request at all\r\n\r\n", 400),
        ] {
            match read(head.as_bytes()).await {
                Err(ReadError::Refused(seen, _)) => assert_eq!(seen, status, "{head}"),
                other => panic!("{head}: {other:?}"),
            }
        }
        let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(MAX_HEAD));
        assert!(matches!(read(long.as_bytes()).await, Err(ReadError::Refused(431, _))));
        assert_eq!(read(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\na").await.unwrap_err(), ReadError::Gone);
    }

    #[tokio::test]
    async fn a_client_that_asks_before_it_sends_is_told_to_go_on() {
        let (mut client, mut server) = tokio::io::duplex(4096);
        client.write_all(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n").await.unwrap();
        let reader = tokio::spawn(async move { read_request(&mut server, &mut BytesMut::new()).await });
        let mut answer = [0; 25];
        client.read_exact(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 100"));
        client.write_all(b"ok").await.unwrap();
        assert_eq!(reader.await.unwrap().unwrap().body, b"ok"[..]);
    }
}

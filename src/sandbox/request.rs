//! One request as a fake sees it, and its answer.

use bytes::Bytes;

/// The largest request body.
pub(super) const MAX_BODY: usize = 1024 * 1024;

/// One complete request.
#[derive(Debug)]
pub struct Request {
    /// HTTP method.
    pub method: String,
    /// The path and query as they were sent.
    pub target: String,
    /// The request line and headers, byte for byte.
    pub head: Bytes,
    /// The body, without transfer coding.
    pub body: Bytes,
}

/// Whether a header is missing, stands once, or is repeated.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Header<'a> {
    Missing,
    Once(&'a [u8]),
    Repeated,
}

impl Request {
    /// Finds the header with this name, in any case.
    pub(super) fn header(&self, name: &str) -> Header<'_> {
        let mut found = header_lines(&self.head).filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()));
        match (found.next(), found.next()) {
            (None, _) => Header::Missing,
            (Some((_, value)), None) => Header::Once(value),
            (Some(_), Some(_)) => Header::Repeated,
        }
    }

    /// The header as text; empty where it is missing, repeated or not UTF-8.
    pub(super) fn header_text(&self, name: &str) -> &str {
        match self.header(name) {
            Header::Once(value) => std::str::from_utf8(value).unwrap_or_default(),
            Header::Missing | Header::Repeated => "",
        }
    }

    /// The path without its query.
    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// The name and value of every header as they were sent. The server has accepted the block already.
pub(super) fn header_lines(head: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    head.split(|&b| b == b'\n').filter_map(|line| {
        // The first line is the request line. It has a colon only in its target, behind a blank; the name of a header
        // has no blank.
        let colon = line.iter().position(|&b| b == b':')?;
        let (name, value) = (line.get(..colon)?, line.get(colon + 1..)?);
        (!name.contains(&b' ')).then(|| (name, value.trim_ascii()))
    })
}

/// An answer, before a fault changes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    pub body: Bytes,
}

impl Answer {
    /// A JSON answer.
    pub(super) fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, content_type: "application/json;charset=utf-8", body: body.into() }
    }

    /// A plain answer.
    pub(super) fn text(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, content_type: "text/plain;charset=utf-8", body: body.into() }
    }
}

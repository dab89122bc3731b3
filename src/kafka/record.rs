//! A record as Kafka gave it: bytes and headers, nothing interpreted.

use std::sync::Arc;

use bytes::Bytes;

/// One header: names repeat, values may be null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The name; UTF-8, since others cannot be written back.
    pub name: Box<str>,
    /// The value; null and empty differ.
    pub value: Option<Bytes>,
}

impl Header {
    /// A text header.
    pub fn text(name: &str, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: Some(Bytes::from(value.into())) }
    }
}

/// What Kafka gave us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Topic it was read from.
    pub topic: Arc<str>,
    /// Partition it was read from.
    pub partition: i32,
    pub offset: i64,
    /// Record time in epoch ms; `None` where the broker has none.
    pub timestamp_ms: Option<i64>,
    /// Key; null and empty differ.
    pub key: Option<Bytes>,
    /// Value; null and empty differ.
    pub value: Option<Bytes>,
    /// The readable headers, in order.
    pub headers: Vec<Header>,
    /// How many headers have a name that is not UTF-8; they are left out.
    pub unreadable_headers: usize,
}

impl Record {
    /// Bytes that count against the memory bounds: key, value, headers, and a constant for our own bookkeeping.
    pub fn size(&self) -> usize {
        let headers: usize =
            self.headers.iter().map(|h| h.name.len() + h.value.as_ref().map_or(0, Bytes::len) + 48).sum();
        self.key.as_ref().map_or(0, Bytes::len) + self.value.as_ref().map_or(0, Bytes::len) + headers + 256
    }
}

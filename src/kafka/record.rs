//! A record as Kafka delivered it: bytes and headers, without interpretation.

use std::sync::Arc;

use bytes::Bytes;

/// One header. Names may repeat, and values may be null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The name. It is UTF-8, because the client library cannot write other names.
    pub name: Box<str>,
    /// The value. Null and empty are different values.
    pub value: Option<Bytes>,
}

impl Header {
    /// Builds a header with a text value.
    pub fn text(name: &str, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: Some(Bytes::from(value.into())) }
    }
}

/// A record that was read from Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Topic it was read from.
    pub topic: Arc<str>,
    /// Partition it was read from.
    pub partition: i32,
    pub offset: i64,
    /// The record time in epoch ms. `None` if the broker states none.
    pub timestamp_ms: Option<i64>,
    /// The key. Null and empty are different values.
    pub key: Option<Bytes>,
    /// The value. Null and empty are different values.
    pub value: Option<Bytes>,
    /// The headers that could be read, in order.
    pub headers: Vec<Header>,
    /// The number of headers whose name is not UTF-8. `headers` leaves them out.
    pub unreadable_headers: usize,
}

impl Record {
    /// The bytes that count against the memory bounds: key, value, headers, and a constant for the worker's own data
    /// about the record.
    pub fn size(&self) -> usize {
        let headers: usize =
            self.headers.iter().map(|h| h.name.len() + h.value.as_ref().map_or(0, Bytes::len) + 48).sum();
        self.key.as_ref().map_or(0, Bytes::len) + self.value.as_ref().map_or(0, Bytes::len) + headers + 256
    }
}

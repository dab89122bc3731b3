//! Converts a message of the client to a [`Record`], with one copy and without interpretation.
//!
//! It reads the headers through the raw interface, because the library's accessor panics on a name that is not UTF-8.

use std::ffi::CStr;
use std::ops::Range;
use std::sync::Arc;
use std::{ptr, slice};

use bytes::Bytes;
use rdkafka::Message;
use rdkafka::bindings as sys;
use rdkafka::message::BorrowedMessage;

use crate::kafka::record::{Header, Record};

/// Collects the parts of a record in its one buffer.
struct Parts {
    buffer: Vec<u8>,
}

impl Parts {
    fn put(&mut self, bytes: Option<&[u8]>) -> Option<Range<usize>> {
        let bytes = bytes?;
        let start = self.buffer.len();
        self.buffer.extend_from_slice(bytes);
        Some(start..self.buffer.len())
    }
}

/// Copies a message out of the client's memory.
pub(crate) fn record(message: &BorrowedMessage<'_>, topic: Arc<str>) -> Record {
    let headers: usize = RawHeaders::of(message).filter_map(|(_, value)| Some(value?.len())).sum();
    // The capacity is exact, because thousands of these buffers wait in memory.
    let mut parts = Parts { buffer: Vec::with_capacity(message.key_len() + message.payload_len() + headers) };
    let key = parts.put(message.key());
    let value = parts.put(message.payload());
    let mut ranges = Vec::new();
    let mut unreadable_headers = 0;
    for (name, bytes) in RawHeaders::of(message) {
        match name.to_str() {
            Ok(name) => ranges.push((Box::from(name), parts.put(bytes))),
            Err(_) => unreadable_headers += 1,
        }
    }
    let buffer = Bytes::from(parts.buffer);
    let cut = |range: Option<Range<usize>>| range.map(|r| buffer.slice(r));
    Record {
        topic,
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis().filter(|&ms| ms >= 0),
        key: cut(key),
        value: cut(value),
        headers: ranges.into_iter().map(|(name, range)| Header { name, value: cut(range) }).collect(),
        unreadable_headers,
    }
}

/// The last header of this name whose value is not null, in the client's memory.
pub(crate) fn header<'a>(message: &'a BorrowedMessage<'_>, name: &CStr) -> Option<&'a [u8]> {
    RawHeaders::of(message).filter(|(known, _)| *known == name).filter_map(|(_, value)| value).last()
}

/// The headers of a message in the client's memory.
struct RawHeaders<'a> {
    headers: *mut sys::rd_kafka_headers_t,
    next: usize,
    message: std::marker::PhantomData<&'a BorrowedMessage<'a>>,
}

impl<'a> RawHeaders<'a> {
    fn of(message: &'a BorrowedMessage<'_>) -> Self {
        let mut headers = ptr::null_mut();
        // SAFETY: the message lives as long as `'a`. The call parses its headers and lends them out for that time. If
        // there are none, `headers` stays null.
        let err = unsafe { sys::rd_kafka_message_headers(message.ptr(), &mut headers) };
        if err != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            headers = ptr::null_mut();
        }
        Self { headers, next: 0, message: std::marker::PhantomData }
    }
}

impl<'a> Iterator for RawHeaders<'a> {
    type Item = (&'a CStr, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.headers.is_null() {
            return None;
        }
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        // SAFETY: `headers` belongs to the message. After the last header the call returns an error and sets nothing.
        let err = unsafe { sys::rd_kafka_header_get_all(self.headers, self.next, &mut name, &mut value, &mut size) };
        if err != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        self.next += 1;
        // SAFETY: the client terminates a name with a zero byte, and a value that is not null has `size` bytes. Both
        // live as long as the message.
        unsafe {
            let value = (!value.is_null()).then(|| slice::from_raw_parts(value.cast::<u8>(), size));
            Some((CStr::from_ptr(name), value))
        }
    }
}

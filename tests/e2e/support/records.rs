//! Records as bytes: null, empty and repeated things stay what they are, and header names need not be UTF-8.
//! The safe calls of the client library can neither write nor read such names, so this file uses the C ones.

use super::kafka::quiet;
use super::{eventually, secs};
use rdkafka::bindings as sys;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::ffi::{CString, c_char, c_void};
use std::sync::{Arc, Mutex};

/// Name and value of a header, in order, repeats included.
pub type Headers = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// One record as it lies in a topic.
#[derive(Clone, Debug)]
pub struct Record {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Headers,
}

impl Record {
    /// A header of the worker's as text: the last one of that name.
    pub fn header(&self, name: &str) -> Option<String> {
        let found = self.headers.iter().rev().find(|(n, _)| n == name.as_bytes())?;
        Some(String::from_utf8_lossy(found.1.as_deref().unwrap_or_default()).into_owned())
    }

    pub fn number(&self, name: &str) -> Option<i64> {
        self.header(name)?.parse().ok()
    }

    /// Where the record first came from: (topic, partition, offset).
    pub fn origin(&self) -> Option<Origin> {
        Some(Origin {
            topic: self.header("pb-origin-topic")?,
            partition: self.number("pb-origin-partition")? as i32,
            offset: self.number("pb-origin-offset")?,
        })
    }

    pub fn at(&self) -> Origin {
        Origin { topic: self.topic.clone(), partition: self.partition, offset: self.offset }
    }
}

/// The lineage of an event.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]@{}", self.topic, self.partition, self.offset)
    }
}

/// Where each published record came to lie, by the number that `publish` gave it.
#[derive(Default)]
struct Reports(Mutex<Vec<Option<(i32, i64)>>>);

#[derive(Clone)]
struct Context(Arc<Reports>);

impl ClientContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        if let Ok(message) = result {
            self.0.0.lock().unwrap()[number] = Some((message.partition(), message.offset()));
        }
    }
}

/// Publishes to any topic and remembers where each record came to lie.
pub struct Publisher {
    producer: BaseProducer<Context>,
    reports: Arc<Reports>,
}

impl Publisher {
    pub fn new(bootstrap: &str) -> Self {
        let reports = Arc::new(Reports::default());
        let mut config = quiet(bootstrap);
        config.set("linger.ms", "5").set("acks", "all").set("enable.idempotence", "true");
        config.set("message.max.bytes", "8388608").set("partitioner", "murmur2_random");
        Self { producer: config.create_with_context(Context(Arc::clone(&reports))).unwrap(), reports }
    }

    /// Queues one record; `at` tells its place after `flush`.
    pub fn publish(
        &self,
        topic: &str,
        partition: Option<i32>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(Vec<u8>, Option<Vec<u8>>)],
    ) -> usize {
        let number = {
            let mut all = self.reports.0.lock().unwrap();
            all.push(None);
            all.len() - 1
        };
        let name = CString::new(topic).unwrap();
        loop {
            // SAFETY: each pointer is valid for its length during the call, the library copies key and value
            // (RD_KAFKA_MSG_F_COPY) and owns the header list once the call has succeeded.
            let error = unsafe { self.producev(&name, partition.unwrap_or(-1), key, value, headers, number) };
            match error {
                sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => return number,
                sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__QUEUE_FULL => {
                    self.producer.poll(secs(1));
                }
                other => panic!("cannot publish: {other:?}"),
            }
        }
    }

    unsafe fn producev(
        &self,
        topic: &CString,
        partition: i32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(Vec<u8>, Option<Vec<u8>>)],
        number: usize,
    ) -> sys::rd_kafka_resp_err_t {
        use sys::rd_kafka_vtype_t::*;
        let (key, key_len) = raw(key);
        let (value, value_len) = raw(value);
        // SAFETY: the caller keeps topic, key, value and headers alive; the variadic list is typed as the C header
        // says.
        unsafe {
            let list = sys::rd_kafka_headers_new(headers.len());
            for (name, value) in headers {
                let (value, len) = raw(value.as_deref());
                sys::rd_kafka_header_add(
                    list,
                    name.as_ptr().cast::<c_char>(),
                    name.len() as isize,
                    value,
                    len as isize,
                );
            }
            let error = sys::rd_kafka_producev(
                self.producer.client().native_ptr(),
                RD_KAFKA_VTYPE_TOPIC,
                topic.as_ptr(),
                RD_KAFKA_VTYPE_PARTITION,
                partition,
                RD_KAFKA_VTYPE_MSGFLAGS,
                sys::RD_KAFKA_MSG_F_COPY,
                RD_KAFKA_VTYPE_VALUE,
                value,
                value_len,
                RD_KAFKA_VTYPE_KEY,
                key,
                key_len,
                RD_KAFKA_VTYPE_OPAQUE,
                number as *mut c_void,
                RD_KAFKA_VTYPE_HEADERS,
                list,
                RD_KAFKA_VTYPE_END,
            );
            if error != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                sys::rd_kafka_headers_destroy(list);
            }
            error
        }
    }

    /// Serves delivery reports; call it now and then while publishing for long.
    pub fn poll(&self) {
        self.producer.poll(std::time::Duration::ZERO);
    }

    /// Waits until every record is acknowledged.
    pub fn flush(&self) {
        eventually(secs(120), "every record is acknowledged", || {
            let _ = self.producer.flush(secs(5));
            self.producer.poll(std::time::Duration::ZERO);
            self.reports.0.lock().unwrap().iter().all(Option::is_some)
        });
    }

    /// Partition and offset of a flushed record.
    pub fn at(&self, number: usize) -> (i32, i64) {
        self.reports.0.lock().unwrap()[number].expect("not acknowledged")
    }
}

/// A null pointer for nothing, a valid one for an empty slice.
fn raw(bytes: Option<&[u8]>) -> (*const c_void, usize) {
    bytes.map_or((std::ptr::null(), 0), |b| (b.as_ptr().cast(), b.len()))
}

/// Reads one topic from its beginning, a bit further at each call.
pub struct TopicLog {
    topic: String,
    config: ClientConfig,
    consumer: BaseConsumer,
    assigned: usize,
    next: BTreeMap<i32, i64>,
    records: Vec<Record>,
}

impl TopicLog {
    pub fn new(bootstrap: &str, topic: &str) -> Self {
        let mut config = quiet(bootstrap);
        config.set("group.id", "postback-tests-reader").set("enable.auto.commit", "false");
        config.set("auto.offset.reset", "earliest").set("fetch.wait.max.ms", "50").set("fetch.queue.backoff.ms", "5");
        config.set("fetch.message.max.bytes", "8388608");
        let consumer = config.create().unwrap();
        Self { topic: topic.into(), config, consumer, assigned: 0, next: BTreeMap::new(), records: Vec::new() }
    }

    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Reads up to the present end. A topic that does not exist (yet) is empty; a broker that is away adds nothing.
    pub fn catch_up(&mut self) -> &[Record] {
        let Ok(metadata) = self.consumer.fetch_metadata(None, secs(5)) else { return &self.records };
        let Some(found) = metadata.topics().iter().find(|t| t.name() == self.topic) else { return &self.records };
        if found.partitions().len() > self.assigned {
            self.assigned = found.partitions().len();
            let mut all = TopicPartitionList::new();
            for p in found.partitions() {
                let from = *self.next.entry(p.id()).or_insert(0);
                all.add_partition_offset(&self.topic, p.id(), Offset::Offset(from)).unwrap();
            }
            self.consumer.assign(&all).unwrap();
        }
        let mut ends = BTreeMap::new();
        for p in self.next.keys() {
            if let Ok((_, high)) = self.consumer.fetch_watermarks(&self.topic, *p, secs(5)) {
                ends.insert(*p, high);
            }
        }
        let give_up = std::time::Instant::now() + secs(10);
        while ends.iter().any(|(p, end)| self.next[p] < *end) && std::time::Instant::now() < give_up {
            if let Some(Ok(message)) = self.consumer.poll(std::time::Duration::from_millis(200)) {
                let record = read(&self.topic, &message);
                if self.next.get(&record.partition).is_none_or(|n| record.offset >= *n) {
                    self.next.insert(record.partition, record.offset + 1);
                    self.records.push(record);
                }
            }
        }
        if ends.iter().any(|(p, end)| self.next[p] < *end) {
            // A client that was once told that nobody leads a partition may never read it again (librdkafka, issue
            // 5430).
            (self.consumer, self.assigned) = (self.config.create().unwrap(), 0);
        }
        &self.records
    }
}

fn read(topic: &str, message: &BorrowedMessage<'_>) -> Record {
    Record {
        topic: topic.into(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis().unwrap_or(-1),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers_of(message),
    }
}

fn headers_of(message: &BorrowedMessage<'_>) -> Headers {
    let mut found = Headers::new();
    let mut list = std::ptr::null_mut();
    // SAFETY: the message outlives this function; the library keeps name and value alive as long as the message, and
    // both are copied here. A name ends at its first zero byte.
    unsafe {
        if sys::rd_kafka_message_headers(message.ptr(), &mut list)
            != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
        {
            return found;
        }
        let (mut name, mut value, mut len) = (std::ptr::null(), std::ptr::null(), 0);
        while sys::rd_kafka_header_get_all(list, found.len(), &mut name, &mut value, &mut len)
            == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
        {
            let value = (!value.is_null()).then(|| std::slice::from_raw_parts(value.cast::<u8>(), len).to_vec());
            found.push((std::ffi::CStr::from_ptr(name).to_bytes().to_vec(), value));
        }
    }
    found
}

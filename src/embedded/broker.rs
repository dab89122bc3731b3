//! Uses the mock cluster of the client library as a broker: real consumer groups over real TCP, in memory.
//!
//! The mock cluster is not Kafka, and its users avoid what it lacks: it creates no topic on request, describes nothing,
//! and has no transactions. It keeps at most 5 MiB, or 100 000 batches, of each partition. Beyond that it silently
//! drops the oldest records, even if nobody has read them. A reader then finds the low mark above its position and must
//! end the run.

use std::ffi::{CStr, CString};
use std::fmt;
use std::io;

use rdkafka::ClientConfig;
use rdkafka::bindings as sys;
use rdkafka::client::{Client, DefaultClientContext};
use rdkafka::types::RDKafkaType;

/// A running broker. It ends when this is dropped.
pub struct Broker {
    /// The cluster lives exactly as long as this client.
    _client: Client<DefaultClientContext>,
    address: String,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Broker {
    /// Starts the broker with these topics and their numbers of partitions. All topics have to exist before a client
    /// names one: the cluster would create an unknown topic itself, with four partitions.
    ///
    /// # Errors
    /// The library cannot start a cluster, or refuses a topic.
    pub fn start(topics: &[(String, i32)]) -> io::Result<Broker> {
        let mut config = ClientConfig::new();
        config.set("client.id", "embedded-broker").set("test.mock.num.brokers", "1");
        let native = config.create_native_config().map_err(io::Error::other)?;
        let client = Client::new(&config, native, RDKafkaType::RD_KAFKA_PRODUCER, DefaultClientContext)
            .map_err(|e| io::Error::other(format!("the embedded broker does not start: {e}")))?;
        // SAFETY: the client lives through this block, and the cluster lives as long as the client. The library copies
        // the texts that it is given, and the other arguments are plain values.
        let address = unsafe {
            let cluster = sys::rd_kafka_handle_mock_cluster(client.native_ptr());
            if cluster.is_null() {
                return Err(io::Error::other("the embedded broker does not start"));
            }
            // Without this setting the first member of a group waits three seconds for other members.
            sys::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0);
            for (topic, partitions) in topics {
                create(cluster, topic, *partitions)?;
            }
            CStr::from_ptr(sys::rd_kafka_mock_cluster_bootstraps(cluster)).to_string_lossy().into_owned()
        };
        Ok(Broker { _client: client, address })
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// From now on the topic answers with this error, or with none.
    #[cfg(test)]
    pub(crate) fn break_topic(&self, topic: &str, error: sys::rd_kafka_resp_err_t) {
        let name = CString::new(topic).unwrap();
        // SAFETY: the cluster lives as long as its client, and the name outlives the call.
        unsafe {
            let cluster = sys::rd_kafka_handle_mock_cluster(self._client.native_ptr());
            sys::rd_kafka_mock_topic_set_error(cluster, name.as_ptr(), error);
        }
    }

    /// Refuses the next writes, one for each of these errors.
    #[cfg(test)]
    pub(crate) fn refuse_writes(&self, errors: &[sys::rd_kafka_resp_err_t]) {
        const PRODUCE: i16 = 0;
        // SAFETY: the cluster lives as long as its client, and the errors are copied.
        unsafe {
            let cluster = sys::rd_kafka_handle_mock_cluster(self._client.native_ptr());
            sys::rd_kafka_mock_push_request_errors_array(cluster, PRODUCE, errors.len(), errors.as_ptr());
        }
    }
}

/// Makes one topic.
///
/// # Safety
/// `cluster` is a running cluster.
unsafe fn create(cluster: *mut sys::rd_kafka_mock_cluster_t, topic: &str, partitions: i32) -> io::Result<()> {
    let name = CString::new(topic).map_err(io::Error::other)?;
    // SAFETY: the caller promises a running cluster, and the name outlives the call.
    let code = unsafe { sys::rd_kafka_mock_topic_create(cluster, name.as_ptr(), partitions, 1) };
    if code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Ok(());
    }
    Err(io::Error::other(format!("the embedded broker cannot make the topic {topic}: {code:?}")))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
    use rdkafka::{Message as _, Offset, TopicPartitionList};

    use super::*;

    const WAIT: Duration = Duration::from_secs(20);

    fn client(broker: &Broker, more: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", broker.address()).set("group.id", "g").set("enable.auto.commit", "false");
        config.set("auto.offset.reset", "earliest").set("allow.auto.create.topics", "false");
        // After a member has left, a group of the mock waits until its session would have ended.
        config.set("session.timeout.ms", "6000").set("heartbeat.interval.ms", "300");
        more.iter().for_each(|(key, value)| _ = config.set(*key, *value));
        config
    }

    fn produce(broker: &Broker, topic: &str, values: impl Iterator<Item = Vec<u8>>) {
        let producer: BaseProducer = client(broker, &[("linger.ms", "5")]).create().unwrap();
        for value in values {
            while producer.send(BaseRecord::<str, [u8]>::to(topic).payload(&value).partition(0)).is_err() {
                producer.poll(Duration::from_millis(10));
            }
        }
        producer.flush(WAIT).unwrap();
    }

    /// Reads the values from the committed position of the group until there are `count` of them.
    fn consume(broker: &Broker, topic: &str, count: usize) -> Vec<Vec<u8>> {
        let consumer: BaseConsumer = client(broker, &[]).create().unwrap();
        consumer.subscribe(&[topic]).unwrap();
        let (mut values, deadline) = (Vec::new(), Instant::now() + WAIT);
        while values.len() < count && Instant::now() < deadline {
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
                values.push(message.payload().unwrap().to_vec());
                consumer.commit_message(&message, CommitMode::Sync).unwrap();
            }
        }
        values
    }

    #[test]
    fn a_group_reads_what_was_written_and_goes_on_where_it_committed() {
        let broker = Broker::start(&[("in".into(), 16), ("parked".into(), 1)]).unwrap();
        let numbers = |range: std::ops::Range<u8>| range.map(|n| vec![n]);
        produce(&broker, "in", numbers(0..3));
        let began = Instant::now();
        assert_eq!(consume(&broker, "in", 3), [[0], [1], [2]]);
        assert!(began.elapsed() < Duration::from_secs(3), "the group waits for more members: {:?}", began.elapsed());
        produce(&broker, "in", numbers(3..5));
        assert_eq!(consume(&broker, "in", 2), [[3], [4]]);
        let outsider: BaseConsumer = client(&broker, &[]).create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition("in", 0);
        let committed = outsider.committed_offsets(list, WAIT).unwrap();
        assert_eq!(committed.elements()[0].offset(), Offset::Offset(5));
        let metadata = outsider.fetch_metadata(None, WAIT).unwrap();
        let mut topics: Vec<_> = metadata.topics().iter().map(|t| (t.name(), t.partitions().len())).collect();
        topics.sort_unstable();
        assert_eq!(topics, [("in", 16), ("parked", 1)]);
    }

    #[test]
    fn what_exceeds_five_mebibytes_of_a_partition_is_gone_and_the_low_mark_tells() {
        let broker = Broker::start(&[("in".into(), 1)]).unwrap();
        produce(&broker, "in", (0..120_u8).map(|n| vec![n; 64 << 10]));
        let outsider: BaseConsumer = client(&broker, &[]).create().unwrap();
        let (low, high) = outsider.fetch_watermarks("in", 0, WAIT).unwrap();
        assert_eq!(high, 120);
        assert!(low > 0, "nothing was dropped");
    }

    #[test]
    fn a_topic_that_cannot_be_made_is_named() {
        let error = Broker::start(&[("a\0b".into(), 1)]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Other);
        let error = Broker::start(&[("twice".into(), 1), ("twice".into(), 1)]).unwrap_err().to_string();
        assert!(error.contains("twice"), "{error}");
    }
}

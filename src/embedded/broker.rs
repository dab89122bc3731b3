//! The client library's mock cluster as a broker: real consumer groups over real TCP, in memory.
//!
//! It is not Kafka, and those who use it leave out what it lacks: it creates no topic by request, describes nothing, keeps
//! no transaction. It keeps at most 5 MiB, or 100 000 batches, of each partition and drops the oldest beyond that without
//! a word, whoever has read them or not: a reader finds the low mark above its position and must end the run.

use std::ffi::{CStr, CString};
use std::fmt;
use std::io;

use rdkafka::ClientConfig;
use rdkafka::bindings as sys;
use rdkafka::client::{Client, DefaultClientContext};
use rdkafka::types::RDKafkaType;

/// A running broker. It ends when this is dropped.
pub struct Broker {
    /// The cluster lives exactly as long as its client.
    _client: Client<DefaultClientContext>,
    address: String,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Broker {
    /// Starts it with these topics and their numbers of partitions. All of them, and before any client names one: the
    /// cluster would make a topic that is asked for by itself, with four partitions.
    ///
    /// # Errors
    /// The library cannot start one, or refuses a topic.
    pub fn start(topics: &[(String, i32)]) -> io::Result<Broker> {
        let mut config = ClientConfig::new();
        config.set("client.id", "embedded-broker").set("test.mock.num.brokers", "1");
        let native = config.create_native_config().map_err(io::Error::other)?;
        let client = Client::new(&config, native, RDKafkaType::RD_KAFKA_PRODUCER, DefaultClientContext)
            .map_err(|e| io::Error::other(format!("the embedded broker does not start: {e}")))?;
        // SAFETY: the client lives through this block, and the cluster as long as the client. What is asked of it is a
        // plain value, or text that is copied before the client can go.
        let address = unsafe {
            let cluster = sys::rd_kafka_handle_mock_cluster(client.native_ptr());
            if cluster.is_null() {
                return Err(io::Error::other("the embedded broker does not start"));
            }
            // Without it the first member of a group waits for others for three seconds.
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
}

/// Makes one topic.
///
/// # Safety
/// `cluster` is a running one.
unsafe fn create(cluster: *mut sys::rd_kafka_mock_cluster_t, topic: &str, partitions: i32) -> io::Result<()> {
    let name = CString::new(topic).map_err(io::Error::other)?;
    // SAFETY: as promised; the name outlives the call.
    let code = unsafe { sys::rd_kafka_mock_topic_create(cluster, name.as_ptr(), partitions, 1) };
    if code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Ok(());
    }
    Err(io::Error::other(format!("the embedded broker cannot make the topic {topic}: {code:?}")))
}

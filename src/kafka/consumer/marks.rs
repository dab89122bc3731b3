//! Asks where partitions begin and end, for many partitions at once: one request per broker and end.
//!
//! It uses a client of its own. On the connection that fetches, each request would wait until the fetch before it is
//! answered, which takes a tenth of a second if no records arrive.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::metadata::Metadata;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::context::Context;

/// The lowest offset and the end of each partition. It leaves out partitions without an answer.
pub(super) type Ends = HashMap<(String, i32), (i64, i64)>;

/// Asks for both ends of partitions, and for the cluster's topics.
pub(super) struct Marks {
    client: BaseConsumer<Context>,
}

impl Marks {
    /// Creates the client without asking a broker. The client joins no group and reads nothing.
    pub(super) fn new(name: &str, config: &ClientConfig) -> KafkaResult<Self> {
        Ok(Self { client: config.create_with_context(Context::new(&format!("{name}-positions")))? })
    }

    /// Both ends of these partitions. Each request takes at most `timeout`. A partition without a leader does not keep
    /// the others from their answer.
    pub(super) fn ends(&self, of: &[(&str, i32)], timeout: Duration) -> KafkaResult<Ends> {
        if of.is_empty() {
            return Ok(Ends::new());
        }
        self.drop_complaints();
        self.both(of, timeout).or_else(|error| {
            let metadata = self.topics(timeout)?;
            let all_led = led(&metadata);
            let led: Vec<_> = of.iter().copied().filter(|place| all_led.contains(place)).collect();
            if led.is_empty() || led.len() == of.len() { Err(error) } else { self.both(&led, timeout) }
        })
    }

    /// The topics of the whole cluster.
    pub(super) fn topics(&self, timeout: Duration) -> KafkaResult<Metadata> {
        self.client.fetch_metadata(None, timeout)
    }

    fn both(&self, of: &[(&str, i32)], timeout: Duration) -> KafkaResult<Ends> {
        let mut low = self.one(of, Offset::Beginning, timeout)?;
        let mut ends = Ends::with_capacity(of.len());
        for (place, high) in self.one(of, Offset::End, timeout)? {
            if let Some(low) = low.remove(&place) {
                ends.insert(place, (low, high));
            }
        }
        Ok(ends)
    }

    fn one(&self, of: &[(&str, i32)], end: Offset, timeout: Duration) -> KafkaResult<HashMap<(String, i32), i64>> {
        let mut list = TopicPartitionList::with_capacity(of.len());
        for (topic, partition) in of {
            list.add_partition_offset(topic, *partition, end)?;
        }
        // The protocol has one request for times and ends: a constant for the end takes the place of a time.
        let list = self.client.offsets_for_times(list, timeout)?;
        let answered = |e: rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match (e.error(), e.offset()) {
            (Ok(()), Offset::Offset(at)) => Some(((e.topic().to_owned(), e.partition()), at)),
            _ => None,
        };
        Ok(list.elements().into_iter().filter_map(answered).collect())
    }

    /// Drops the connection errors that the client reports to its poller, because nobody else takes them out of its
    /// queue.
    fn drop_complaints(&self) {
        while self.client.poll(Duration::ZERO).is_some() {}
    }
}

fn led(metadata: &Metadata) -> HashSet<(&str, i32)> {
    let of_topic = |t: &rdkafka::metadata::MetadataTopic| {
        let led = t.partitions().iter().filter(|p| p.leader() >= 0 && p.error().is_none());
        led.map(|p| p.id()).collect::<Vec<_>>()
    };
    metadata.topics().iter().flat_map(|t| of_topic(t).into_iter().map(move |id| (t.name(), id))).collect()
}

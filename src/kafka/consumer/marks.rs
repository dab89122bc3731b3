//! Where partitions begin and end, asked for many at once: one request per broker and end.
//!
//! On a client of its own: on the connection that fetches, each request waits until the fetch before it is answered, a
//! tenth of a second where nothing comes.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::metadata::Metadata;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::context::Context;

/// Lowest offset and end by partition; what has no answer is not in it.
pub(super) type Ends = HashMap<(String, i32), (i64, i64)>;

/// Asks for both ends of partitions, and for topics.
pub(super) struct Marks {
    client: BaseConsumer<Context>,
}

impl Marks {
    /// Creates the client. It joins no group and reads nothing; no broker is asked.
    pub(super) fn new(name: &str, config: &ClientConfig) -> KafkaResult<Self> {
        Ok(Self { client: config.create_with_context(Context::new(&format!("{name}-positions")))? })
    }

    /// Both ends of these partitions, each question within `timeout`. A partition that nobody leads does not keep the
    /// others from their answer.
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

    /// The whole cluster's topics.
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
        // An end stands where a time would: the protocol has one request for both.
        let list = self.client.offsets_for_times(list, timeout)?;
        let answered = |e: rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match (e.error(), e.offset()) {
            (Ok(()), Offset::Offset(at)) => Some(((e.topic().to_owned(), e.partition()), at)),
            _ => None,
        };
        Ok(list.elements().into_iter().filter_map(answered).collect())
    }

    /// Lost connections are told to whoever polls; nobody else takes them away.
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

//! Reads parts of one topic outside of any consumer group, with one client: ranges in any order, and single records.
//!
//! The reader joins no group, commits nothing and disturbs nobody. Its functions block: call them on a plain thread.
//! The threads of its client take over the priority of the thread that makes it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Message, Offset, TopicPartitionList};

use super::record::Record;
use super::topics::context::Context;
use super::topics::{AdminError, TIMEOUT};
use super::{Config, consumer, native, settings};

/// How long the broker may stay silent before the reading fails.
const PATIENCE: Duration = Duration::from_secs(20);
/// What is left is assigned anew if nothing has come for this time.
const STALLED: Duration = Duration::from_secs(2);
/// Records that lie so close together are read in one go, with those between them.
const GAP: i64 = 64;

/// A range of offsets in one partition of the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    pub partition: i32,
    /// The first offset to read.
    pub from: i64,
    /// The first offset not to read.
    pub end: i64,
}

/// How much the client fetches at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// For long ranges: up to 256 KiB of each partition, and not much ahead of what is read.
    Ranges,
    /// For single records: up to 64 KiB of each partition.
    Records,
}

/// A client that reads one topic.
pub struct Reader {
    consumer: BaseConsumer<Context>,
    topic: Arc<str>,
    /// The embedded broker does not answer the question for the id of a topic.
    has_ids: bool,
}

impl Reader {
    /// Makes the client without asking a broker.
    ///
    /// # Errors
    /// Fails if the settings are refused.
    pub fn new(config: &Config, topic: &str, fetch: Fetch) -> Result<Self, AdminError> {
        let mut client = settings::reader(config).map_err(|e| AdminError::Refused(e.to_string()))?;
        let (bytes, queued) = match fetch {
            Fetch::Ranges => ("262144", "1024"),
            Fetch::Records => ("65536", "1024"),
        };
        client.set("fetch.message.max.bytes", bytes).set("queued.max.messages.kbytes", queued);
        client.set("queued.min.messages", "1000");
        // A fetch that waits at the end of one partition keeps the next one from being asked for.
        client.set("fetch.wait.max.ms", "10");
        Ok(Self { consumer: client.create_with_context(Context)?, topic: topic.into(), has_ids: !config.embedded })
    }

    /// The id of the topic, which another topic of the same name does not have. `None`: the brokers have no ids.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn topic_id(&self) -> Result<Option<String>, AdminError> {
        if !self.has_ids {
            return Ok(None);
        }
        match native::topic_ids(self.consumer.client(), &[&self.topic], TIMEOUT) {
            Ok(mut ids) => match ids.remove(&*self.topic) {
                Some(id) => Ok(id.map(|id| id.to_string())),
                None => Err(AdminError::NoAnswer(format!("topic {} has no leader, or is gone", self.topic))),
            },
            Err(KafkaError::AdminOp(RDKafkaErrorCode::UnsupportedFeature)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The range of offsets that each partition holds now. A topic that does not exist has no partition.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn bounds(&self) -> Result<Vec<Range>, AdminError> {
        let metadata = self.consumer.fetch_metadata(Some(&self.topic), TIMEOUT)?;
        let found = metadata.topics().iter().find(|topic| topic.name() == &*self.topic);
        let error = found.and_then(|topic| topic.error()).map(RDKafkaErrorCode::from);
        if let Some(RDKafkaErrorCode::TopicAuthorizationFailed) = error {
            return Err(AdminError::Refused(format!("topic {} may not be read by this user", self.topic)));
        }
        let partitions: Vec<i32> =
            found.map(|topic| topic.partitions().iter().map(|partition| partition.id()).collect()).unwrap_or_default();
        let range = |partition| {
            let (from, end) = self.consumer.fetch_watermarks(&self.topic, partition, TIMEOUT)?;
            Ok(Range { partition, from, end })
        };
        partitions.into_iter().map(range).collect()
    }

    /// Reads these ranges, at most one per partition, and hands each record to `each`. The records of one partition
    /// come in order. What retention has deleted is left out.
    ///
    /// # Errors
    /// See [`AdminError`]. Records that were handed over before the error stay handed over.
    pub fn read(&self, ranges: &[Range], each: &mut dyn FnMut(Record)) -> Result<(), AdminError> {
        // Per partition what is left to read.
        let mut left: BTreeMap<i32, Range> = ranges
            .iter()
            .filter(|range| range.from < range.end)
            .map(|range| (range.partition, range.clone()))
            .collect();
        self.assign(&left)?;
        let (mut heard, mut trouble) = (Instant::now(), String::from("nothing came"));
        let mut assigned = Instant::now();
        while !left.is_empty() {
            match self.consumer.poll(Duration::from_millis(200)) {
                None => {}
                Some(Ok(message)) => {
                    (heard, assigned) = (Instant::now(), Instant::now());
                    let (partition, offset) = (message.partition(), message.offset());
                    let Some(range) = left.get_mut(&partition) else { continue };
                    if (range.from..range.end).contains(&offset) {
                        range.from = offset + 1;
                        each(consumer::record(&message, self.topic.clone()));
                    }
                    if offset + 1 >= range.end {
                        left.remove(&partition);
                        self.leave(partition);
                    }
                }
                // The end of the log can lie beyond the last readable record: after it come transaction markers or
                // deleted records.
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    heard = Instant::now();
                    left.remove(&partition);
                    self.leave(partition);
                }
                Some(Err(error)) => match error.rdkafka_error_code() {
                    Some(RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::UnknownTopicOrPartition) => {
                        return Err(AdminError::Refused(format!("topic {} cannot be read: {error}", self.topic)));
                    }
                    // Brokers come and go, and the client continues by itself.
                    _ => trouble = error.to_string(),
                },
            }
            if heard.elapsed() > PATIENCE {
                return Err(AdminError::NoAnswer(format!("topic {}: {trouble}", self.topic)));
            }
            // A change of the assignment that meets a fetch under way can leave a partition unread.
            if assigned.elapsed() > STALLED && !left.is_empty() {
                self.assign(&left)?;
                assigned = Instant::now();
            }
        }
        Ok(())
    }

    fn assign(&self, left: &BTreeMap<i32, Range>) -> Result<(), AdminError> {
        let mut list = TopicPartitionList::with_capacity(left.len());
        for range in left.values() {
            list.add_partition_offset(&self.topic, range.partition, Offset::Offset(range.from))?;
        }
        Ok(self.consumer.assign(&list)?)
    }

    /// Reads the records at these places, partition and offset, in the order that is asked. A record that does not
    /// exist any more is left out.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn fetch(&self, places: &[(i32, i64)]) -> Result<Vec<Record>, AdminError> {
        let mut sorted = places.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        // Per partition the ranges to read one after the other.
        let mut queues: BTreeMap<i32, Vec<Range>> = BTreeMap::new();
        for (partition, offset) in sorted.iter().copied() {
            let ranges = queues.entry(partition).or_default();
            match ranges.last_mut() {
                Some(last) if offset - last.end <= GAP => last.end = offset + 1,
                _ => ranges.push(Range { partition, from: offset, end: offset + 1 }),
            }
        }
        let mut found: BTreeMap<(i32, i64), Record> = BTreeMap::new();
        for turn in 0.. {
            let ranges: Vec<Range> = queues.values().filter_map(|ranges| ranges.get(turn).cloned()).collect();
            if ranges.is_empty() {
                break;
            }
            self.read(&ranges, &mut |record| {
                let place = (record.partition, record.offset);
                if sorted.binary_search(&place).is_ok() {
                    found.insert(place, record);
                }
            })?;
        }
        Ok(places.iter().filter_map(|place| found.remove(place)).collect())
    }

    /// Leaves a partition that was read to its end, so that the client fetches no later records.
    fn leave(&self, partition: i32) {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(&self.topic, partition);
        // If that fails, a few more records arrive, and the reader skips them.
        let _ = self.consumer.incremental_unassign(&list);
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

    use super::*;

    fn number(record: &Record) -> i64 {
        std::str::from_utf8(record.value.as_deref().unwrap()).unwrap().parse().unwrap()
    }

    #[test]
    fn ranges_and_single_records_are_read_with_one_client_in_any_order() {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic("t", 3, 1).unwrap();
        let config = Config::stub(&mock.bootstrap_servers(), &[]);
        let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &config.brokers).create().unwrap();
        for n in 0..600 {
            let text = n.to_string();
            producer.send(BaseRecord::<(), str>::to("t").partition(n % 2).payload(&text)).ok().unwrap();
        }
        producer.flush(Duration::from_secs(10)).unwrap();
        let reader = Reader::new(&config, "t", Fetch::Ranges).unwrap();
        let bounds = reader.bounds().unwrap();
        assert_eq!(
            bounds.iter().map(|b| (b.partition, b.from, b.end)).collect::<Vec<_>>(),
            [(0, 0, 300), (1, 0, 300), (2, 0, 0)]
        );

        for from in [200, 100, 0] {
            let ranges: Vec<Range> = (0..2).map(|partition| Range { partition, from, end: from + 100 }).collect();
            let mut seen = Vec::new();
            reader.read(&ranges, &mut |record| seen.push(number(&record))).unwrap();
            seen.sort_unstable();
            assert_eq!(seen, (2 * from..2 * from + 200).collect::<Vec<_>>());
        }
        let places = [(1, 299), (0, 3), (1, 7), (0, 250), (2, 5), (0, 999), (0, 3)];
        let found: Vec<i64> = reader.fetch(&places).unwrap().iter().map(number).collect();
        assert_eq!(found, [599, 6, 15, 500], "those that are there, once, in the order asked");
        assert_eq!(Reader::new(&config, "absent", Fetch::Records).unwrap().bounds(), Ok(Vec::new()));
    }
}

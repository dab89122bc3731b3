//! Reads topics outside of any consumer group: from given offsets up to the end as it is at the start.
//!
//! The reader joins no group, commits nothing and disturbs nobody. Its functions block, like all functions that ask a
//! cluster from outside: call them on a plain thread.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Message, Offset, TopicPartitionList};

use super::record::Record;
use super::topics::context::Context;
use super::topics::{AdminError, Cluster, PartitionName};
use super::{Config, consumer, settings};

/// How many topics are read at once. Each has a client of its own.
const AT_ONCE: usize = 6;
/// How long the broker may stay silent before the reading fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A range of offsets in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub topic: String,
    pub partition: i32,
    /// The first offset to read.
    pub from: i64,
    /// The first offset not to read.
    pub end: i64,
}

impl Span {
    /// The number of offsets.
    #[expect(clippy::len_without_is_empty, reason = "a span without an offset is never made")]
    pub fn len(&self) -> u64 {
        u64::try_from(self.end - self.from).unwrap_or(0)
    }
}

/// The spans of everything that these topics hold now. Topics that do not exist and partitions without records are left
/// out.
///
/// # Errors
/// See [`AdminError`].
pub fn spans(cluster: &Cluster, wanted: impl Fn(&str) -> bool) -> Result<Vec<Span>, AdminError> {
    let topics = cluster.topics()?.into_iter().filter(|topic| wanted(&topic.name));
    let all: Vec<PartitionName> = topics.flat_map(|t| (0..t.partitions).map(move |p| (t.name.clone(), p))).collect();
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let offsets = cluster.offsets()?;
    let (first, ends) = (offsets.first(&all)?, offsets.ends(&all)?);
    let spans = all.into_iter().filter_map(|name| {
        let (from, end) = (*first.get(&name)?, *ends.get(&name)?);
        (from < end).then_some(Span { topic: name.0, partition: name.1, from, end })
    });
    Ok(spans.collect())
}

/// Reduces the spans to what the group has not committed: only those records may be unfinished.
///
/// # Errors
/// See [`AdminError`].
pub fn unfinished(cluster: &Cluster, group: &str, mut spans: Vec<Span>) -> Result<Vec<Span>, AdminError> {
    if spans.is_empty() {
        return Ok(spans);
    }
    let partitions: Vec<PartitionName> = spans.iter().map(|s| (s.topic.clone(), s.partition)).collect();
    let committed = cluster.committed(group, &partitions)?;
    for span in &mut spans {
        if let Some(at) = committed.get(&(span.topic.clone(), span.partition)) {
            span.from = span.from.max(*at);
        }
    }
    spans.retain(|span| span.from < span.end);
    Ok(spans)
}

/// How far a reading has come. The reader shares it with the code that displays it.
#[derive(Debug, Default)]
pub struct Progress {
    /// The number of records in all spans.
    pub total: AtomicU64,
    /// The number of records read.
    pub done: AtomicU64,
    /// Set by whoever does not want the result any more: the reading ends early, without an error.
    pub stop: AtomicBool,
}

/// Reads the spans, several topics at once, and hands each record to `each`. The records of one partition come in
/// order.
///
/// # Errors
/// See [`AdminError`]. Records that were handed over before the error stay handed over.
pub fn read(
    config: &Config,
    spans: Vec<Span>,
    progress: &Progress,
    each: &(dyn Fn(Record) + Sync),
) -> Result<(), AdminError> {
    progress.total.fetch_add(spans.iter().map(Span::len).sum(), Relaxed);
    let mut topics: BTreeMap<String, Vec<Span>> = BTreeMap::new();
    for span in spans {
        topics.entry(span.topic.clone()).or_default().push(span);
    }
    let threads = topics.len().min(AT_ONCE);
    let work = Mutex::new(topics.into_iter().collect::<VecDeque<_>>());
    let next = || work.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    while let Some((topic, spans)) = next() {
                        read_topic(config, &topic, &spans, progress, each)?;
                    }
                    Ok(())
                })
            })
            .collect();
        readers.into_iter().try_for_each(|reader| {
            reader.join().unwrap_or_else(|_| Err(AdminError::NoAnswer("the reading broke off".into())))
        })
    })
}

fn read_topic(
    config: &Config,
    topic: &str,
    spans: &[Span],
    progress: &Progress,
    each: &(dyn Fn(Record) + Sync),
) -> Result<(), AdminError> {
    let client = settings::reader(config).map_err(|e| AdminError::Refused(e.to_string()))?;
    let consumer: BaseConsumer<Context> = client.create_with_context(Context)?;
    let mut list = TopicPartitionList::with_capacity(spans.len());
    let mut left: BTreeMap<i32, &Span> = BTreeMap::new();
    for span in spans {
        list.add_partition_offset(topic, span.partition, Offset::Offset(span.from))?;
        left.insert(span.partition, span);
    }
    consumer.assign(&list)?;
    let name: std::sync::Arc<str> = topic.into();
    let (mut heard, mut trouble) = (Instant::now(), String::from("nothing came"));
    while !left.is_empty() && !progress.stop.load(Relaxed) {
        match consumer.poll(Duration::from_millis(200)) {
            None => {}
            Some(Ok(message)) => {
                heard = Instant::now();
                let (partition, offset) = (message.partition(), message.offset());
                let Some(span) = left.get(&partition).copied() else { continue };
                if offset < span.end {
                    progress.done.fetch_add(1, Relaxed);
                    each(consumer::record(&message, name.clone()));
                }
                if offset + 1 >= span.end {
                    left.remove(&partition);
                    leave(&consumer, topic, partition);
                }
                continue;
            }
            // The end of the log can lie beyond the last readable record: after it come transaction markers or deleted
            // records.
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                heard = Instant::now();
                left.remove(&partition);
                continue;
            }
            Some(Err(error)) => match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::UnknownTopicOrPartition) => {
                    return Err(AdminError::Refused(format!("topic {topic} cannot be read: {error}")));
                }
                // Brokers come and go, and the client continues by itself.
                _ => trouble = error.to_string(),
            },
        }
        if heard.elapsed() > PATIENCE {
            return Err(AdminError::NoAnswer(format!("topic {topic}: {trouble}")));
        }
    }
    Ok(())
}

/// Pauses a partition that was read to its end, so that the client fetches no later records.
fn leave(consumer: &BaseConsumer<Context>, topic: &str, partition: i32) {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition(topic, partition);
    // If the pause fails, a few more records arrive, and the reader skips them.
    let _ = consumer.pause(&list);
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

    use super::*;

    #[test]
    fn what_lies_between_the_watermarks_is_read_once_and_what_comes_later_is_not() {
        let mock = MockCluster::new(1).unwrap();
        for (topic, partitions) in [("a", 3), ("b", 1), ("empty", 1)] {
            mock.create_topic(topic, partitions, 1).unwrap();
        }
        let config = Config::stub(&mock.bootstrap_servers(), &[]);
        let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &config.brokers).create().unwrap();
        let send = |topic: &str, partition, n: i32| {
            let text = n.to_string();
            producer.send(BaseRecord::<(), str>::to(topic).partition(partition).payload(&text)).ok().unwrap();
        };
        for n in 0..30 {
            send("a", n % 3, n);
        }
        send("b", 0, 100);
        producer.flush(Duration::from_secs(10)).unwrap();
        let cluster = Cluster::new(&config).unwrap();
        let spans = spans(&cluster, |topic| ["a", "b", "empty", "absent"].contains(&topic)).unwrap();
        assert_eq!(spans.iter().map(Span::len).sum::<u64>(), 31);
        assert_eq!(spans.len(), 4);
        send("a", 0, 999);
        producer.flush(Duration::from_secs(10)).unwrap();

        let (seen, progress) = (Mutex::new(Vec::new()), Progress::default());
        let number = |r: &Record| std::str::from_utf8(r.value.as_deref().unwrap()).unwrap().parse::<i32>().unwrap();
        read(&config, spans, &progress, &|record| seen.lock().unwrap().push(number(&record))).unwrap();
        let mut seen = seen.into_inner().unwrap();
        seen.sort_unstable();
        assert_eq!(seen, (0..30).chain([100]).collect::<Vec<_>>());
        assert_eq!((progress.total.into_inner(), progress.done.into_inner()), (31, 31));
    }

    #[test]
    fn what_a_group_has_committed_is_passed_over() {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic("t", 1, 1).unwrap();
        let config = Config::stub(&mock.bootstrap_servers(), &[]);
        let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &config.brokers).create().unwrap();
        for n in 0..5 {
            let text = n.to_string();
            producer.send(BaseRecord::<(), str>::to("t").partition(0).payload(&text)).ok().unwrap();
        }
        producer.flush(Duration::from_secs(10)).unwrap();
        let cluster = Cluster::new(&config).unwrap();
        let all = spans(&cluster, |topic| topic == "t").unwrap();
        assert_eq!(unfinished(&cluster, "g", all.clone()).unwrap(), all);
        cluster.commit_positions("g", vec![("t".into(), 0, 3)]).unwrap();
        let left = unfinished(&cluster, "g", all.clone()).unwrap();
        assert_eq!((left[0].from, left[0].end), (3, 5));
        cluster.commit_positions("g", vec![("t".into(), 0, 5)]).unwrap();
        assert_eq!(unfinished(&cluster, "g", all).unwrap(), []);
    }
}

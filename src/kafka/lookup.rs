//! Looks for a few records in long topics: it reads spans up to a deadline, judges each record in the client's memory,
//! and copies only the wanted ones.
//!
//! Like [`scan`](super::scan) it joins no group and commits nothing, and its functions block.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::CStr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message, Offset, TopicPartitionList};

use super::record::Record;
use super::scan::{Progress, Span};
use super::topics::AdminError;
use super::topics::context::Context;
use super::{Config, consumer, settings};

/// How long the broker may stay silent before the reading fails.
const PATIENCE: Duration = Duration::from_secs(20);
/// After this silence a partition whose end was reported counts as read: retention has deleted the rest.
const QUIET: Duration = Duration::from_secs(1);

/// A record in the client's memory.
pub struct Seen<'a>(&'a BorrowedMessage<'a>);

impl Seen<'_> {
    pub fn key(&self) -> Option<&[u8]> {
        self.0.key()
    }

    pub fn value(&self) -> Option<&[u8]> {
        self.0.payload()
    }

    /// The last header of this name.
    pub fn header(&self, name: &CStr) -> Option<&[u8]> {
        consumer::header(self.0, name)
    }
}

/// How far a span was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// The first offset that was not read. The end of the span if all of it was read.
    pub next: i64,
    /// The time of the first record that was read, epoch ms.
    pub first_ms: Option<i64>,
}

/// Decides in the client's memory whether a record is wanted.
pub type Wanted<'a> = &'a (dyn Fn(&Seen<'_>) -> bool + Sync);

/// Reads spans of the same partitions, one reading after another, with one client.
pub struct Lookup {
    consumer: BaseConsumer<Context>,
    names: HashMap<String, Arc<str>>,
    is_assigned: bool,
}

impl Lookup {
    /// Makes the client without asking a broker.
    ///
    /// # Errors
    /// Fails if the client library refuses the settings.
    pub fn new(config: &Config) -> Result<Self, AdminError> {
        let client = settings::reader(config).map_err(|e| AdminError::Refused(e.to_string()))?;
        Ok(Self { consumer: client.create_with_context(Context)?, names: HashMap::new(), is_assigned: false })
    }

    /// Reads the spans, each of another partition, until all are read or `until` has passed. It says of each span how
    /// far it was read. Every reading has to name the same partitions; of some it may read nothing.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn read(
        &mut self,
        spans: &[Span],
        until: Option<Instant>,
        progress: &Progress,
        wanted: Wanted<'_>,
        take: &mut dyn FnMut(Record),
    ) -> Result<Vec<Reached>, AdminError> {
        let mut reached: Vec<Reached> = spans.iter().map(|s| Reached { next: s.from, first_ms: None }).collect();
        let unread = || spans.iter().enumerate().filter(|(_, span)| span.from < span.end);
        let mut left: BTreeMap<(&str, i32), usize> =
            unread().map(|(n, span)| ((span.topic.as_str(), span.partition), n)).collect();
        if left.is_empty() || until.is_some_and(|until| Instant::now() >= until) {
            return Ok(reached);
        }
        if self.is_assigned {
            self.go_to(unread().map(|(_, span)| span))?;
        } else {
            let mut list = TopicPartitionList::with_capacity(spans.len());
            for span in spans {
                list.add_partition_offset(&span.topic, span.partition, Offset::Offset(span.from))?;
            }
            self.consumer.assign(&list)?;
            self.is_assigned = true;
        }
        let (mut heard, mut trouble, mut ended) = (Instant::now(), String::from("nothing came"), BTreeSet::new());
        while !left.is_empty() && until.is_none_or(|until| Instant::now() < until) {
            match self.consumer.poll(Duration::from_millis(50)) {
                Some(Ok(message)) => {
                    heard = Instant::now();
                    let offset = message.offset();
                    let Some(n) = left.get(&(message.topic(), message.partition())).copied() else { continue };
                    let (span, reached) = (&spans[n], &mut reached[n]);
                    if offset < span.end {
                        progress.done.fetch_add(1, Relaxed);
                        reached.first_ms = reached.first_ms.or(message.timestamp().to_millis());
                        reached.next = offset + 1;
                        if wanted(&Seen(&message)) {
                            let name =
                                self.names.entry(span.topic.clone()).or_insert_with(|| span.topic.as_str().into());
                            take(consumer::record(&message, name.clone()));
                        }
                    }
                    if offset + 1 >= span.end {
                        reached.next = span.end;
                        left.remove(&(span.topic.as_str(), span.partition));
                        leave(&self.consumer, &span.topic, span.partition);
                    }
                    continue;
                }
                // It names no topic.
                Some(Err(KafkaError::PartitionEOF(partition))) => _ = ended.insert(partition),
                Some(Err(error)) => match error.rdkafka_error_code() {
                    Some(RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::UnknownTopicOrPartition) => {
                        return Err(AdminError::Refused(format!("a topic cannot be read: {error}")));
                    }
                    // Brokers come and go, and the client continues by itself.
                    _ => trouble = error.to_string(),
                },
                None => {}
            }
            if heard.elapsed() > QUIET {
                left.retain(|(_, partition), n| {
                    if ended.contains(partition) {
                        reached[*n].next = spans[*n].end;
                    }
                    !ended.contains(partition)
                });
            }
            if heard.elapsed() > PATIENCE {
                return Err(AdminError::NoAnswer(trouble));
            }
        }
        Ok(reached)
    }

    /// Moves to the beginning of each span. A second assignment instead, given up before it has begun, makes the client
    /// library abort the process.
    fn go_to<'a>(&self, spans: impl Iterator<Item = &'a Span>) -> Result<(), AdminError> {
        let mut list = TopicPartitionList::new();
        for span in spans {
            list.add_partition_offset(&span.topic, span.partition, Offset::Offset(span.from))?;
        }
        let moved = self.consumer.seek_partitions(list, PATIENCE)?;
        moved.elements().iter().try_for_each(|element| element.error())?;
        Ok(self.consumer.resume(&moved)?)
    }
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

    fn span(topic: &str, partition: i32, from: i64, end: i64) -> Span {
        Span { topic: topic.into(), partition, from, end }
    }

    #[test]
    fn only_what_is_wanted_is_copied_and_each_span_says_how_far_it_was_read() {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic("a", 2, 1).unwrap();
        mock.create_topic("b", 1, 1).unwrap();
        let config = Config::stub(&mock.bootstrap_servers(), &[]);
        let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &config.brokers).create().unwrap();
        for n in 0..100 {
            let key = format!("k-{n}");
            let (topic, partition) = if n < 80 { ("a", n % 2) } else { ("b", 0) };
            producer.send(BaseRecord::<str, str>::to(topic).partition(partition).key(&key).payload("v")).ok().unwrap();
        }
        producer.flush(Duration::from_secs(10)).unwrap();
        let (mut lookup, progress) = (Lookup::new(&config).unwrap(), Progress::default());
        let mut keys = Vec::new();
        let wanted = |seen: &Seen<'_>| seen.key().is_some_and(|key| key.ends_with(b"4"));
        let mut read = |spans: &[Span], until| {
            keys.clear();
            let mut take = |record: Record| keys.push(String::from_utf8(record.key.unwrap().to_vec()).unwrap());
            let reached = lookup.read(spans, until, &progress, &wanted, &mut take).unwrap();
            keys.sort();
            (reached.into_iter().map(|r| r.next).collect::<Vec<_>>(), keys.clone())
        };
        // The newest first, then what lies before: the same client reads a partition backwards.
        let both = [span("a", 0, 30, 40), span("b", 0, 0, 20)];
        assert_eq!(read(&both, None), (vec![40, 20], ["k-64", "k-74", "k-84", "k-94"].map(String::from).to_vec()));
        let before = [span("b", 0, 20, 20), span("a", 0, 0, 30)];
        let wanted = ["k-14", "k-24", "k-34", "k-4", "k-44", "k-54"].map(String::from).to_vec();
        assert_eq!(read(&before, None), (vec![20, 30], wanted.clone()));
        assert_eq!(read(&before, None), (vec![20, 30], wanted), "again");
        assert_eq!(read(&both, Some(Instant::now())), (vec![30, 0], vec![]), "the time is over");
        assert_eq!(progress.done.into_inner(), 90);
    }
}

//! The callbacks of the client library. They only record what happened.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use super::options::Settings;
use crate::kafka::log::log;

/// Something that happened inside a poll.
#[derive(Debug)]
pub(super) enum Event {
    /// Partitions were given to this member.
    Assigned(Vec<(String, i32)>),
    /// The group asks for partitions back. The loop drains them and then gives them back.
    Revoked(Vec<(String, i32)>),
    /// Partitions are lost already. No position of theirs may be stored.
    Lost(Vec<(String, i32)>),
    /// The broker has committed these positions.
    Committed(Vec<(String, i32, i64)>),
    /// A commit was refused, as a whole or for one partition.
    CommitFailed(RefusedCommit),
}

#[derive(Debug)]
pub(super) struct RefusedCommit {
    pub(super) why: String,
    /// Whether the coordinator answered, and refuses only the commits of this topic.
    pub(super) of_topic: bool,
}

impl RefusedCommit {
    fn new(why: String, code: Option<RDKafkaErrorCode>) -> Self {
        use RDKafkaErrorCode::{
            InvalidTopic, OffsetMetadataTooLarge, TopicAuthorizationFailed, UnknownPartition, UnknownTopic,
            UnknownTopicOrPartition,
        };
        let of_topic = matches!(
            code,
            Some(
                InvalidTopic
                    | OffsetMetadataTooLarge
                    | TopicAuthorizationFailed
                    | UnknownPartition
                    | UnknownTopic
                    | UnknownTopicOrPartition
            )
        );
        Self { why, of_topic }
    }
}

/// The callbacks of the consumer.
pub(super) struct Context {
    name: String,
    events: Mutex<VecDeque<Event>>,
    closing: AtomicBool,
    last_error: Mutex<Option<String>>,
}

impl Context {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            events: Mutex::default(),
            closing: AtomicBool::new(false),
            last_error: Mutex::default(),
        }
    }

    pub(super) fn next(&self) -> Option<Event> {
        lock(&self.events).pop_front()
    }

    pub(super) fn has_events(&self) -> bool {
        !lock(&self.events).is_empty()
    }

    pub(super) fn take_error(&self) -> Option<String> {
        lock(&self.last_error).take()
    }

    /// From now on the callback gives partitions back by itself, because the loop has stored all positions.
    pub(super) fn set_closing(&self) {
        self.closing.store(true, Ordering::Release);
    }

    fn record(&self, event: Event) {
        lock(&self.events).push_back(event);
    }
}

/// Locks a mutex. Nothing panics while it holds one of these locks, and even then their content would be consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn names(list: &TopicPartitionList) -> Vec<(String, i32)> {
    list.elements().iter().map(|e| (e.topic().to_owned(), e.partition())).collect()
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        log(&self.name, level, fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(client = %self.name, %error, reason, "kafka client error");
        *lock(&self.last_error) = Some(reason.to_owned());
    }
}

/// Creates a client that asks to join its group.
pub(super) fn connect(name: &str, settings: &Settings) -> io::Result<BaseConsumer<Context>> {
    let failed = |error: rdkafka::error::KafkaError| io::Error::other(error.to_string());
    let client: BaseConsumer<Context> = settings.client.create_with_context(Context::new(name)).map_err(failed)?;
    let topics: Vec<&str> = settings.subscribe.iter().map(String::as_str).collect();
    client.subscribe(&topics).map_err(failed)?;
    Ok(client)
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let assign = err == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        let revoke = err == RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS;
        let closing = self.closing.load(Ordering::Acquire);
        if assign && !closing {
            self.record(Event::Assigned(names(list)));
            return;
        }
        if revoke && !closing && !consumer.assignment_lost() {
            self.record(Event::Revoked(names(list)));
            return;
        }
        if assign {
            // The consumer is closing. It takes no partitions, but it has to answer, or the close would wait for ever.
            answer(consumer.incremental_assign(&TopicPartitionList::new()));
            return;
        }
        let gone = names(list);
        answer(consumer.incremental_unassign(&in_client(consumer, &gone)));
        self.record(Event::Lost(gone));
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        match result {
            Err(e) if e.rdkafka_error_code() == Some(RDKafkaErrorCode::NoOffset) => return,
            Err(e) => {
                return self.record(Event::CommitFailed(RefusedCommit::new(e.to_string(), e.rdkafka_error_code())));
            }
            Ok(()) => {}
        }
        let mut committed = Vec::new();
        for element in offsets.elements() {
            match (element.error(), element.offset()) {
                (Ok(()), Offset::Offset(next)) => {
                    committed.push((element.topic().to_owned(), element.partition(), next));
                }
                (Ok(()), _) => {}
                (Err(e), _) => {
                    let why = format!("{} [{}]: {e}", element.topic(), element.partition());
                    self.record(Event::CommitFailed(RefusedCommit::new(why, e.rdkafka_error_code())));
                }
            }
        }
        if !committed.is_empty() {
            self.record(Event::Committed(committed));
        }
    }
}

/// Those of `wanted` that the client reads. A partition that is parked or still being judged belongs to this member,
/// but the client does not know it.
fn in_client(consumer: &BaseConsumer<Context>, wanted: &[(String, i32)]) -> TopicPartitionList {
    let in_client: HashSet<(String, i32)> =
        consumer.assignment().map(|list| names(&list).into_iter().collect()).unwrap_or_default();
    let mut list = TopicPartitionList::new();
    for (topic, partition) in wanted {
        if in_client.contains(&(topic.clone(), *partition)) {
            list.add_partition(topic, *partition);
        }
    }
    list
}

fn answer(result: KafkaResult<()>) {
    if let Err(error) = result {
        tracing::warn!(%error, "rebalance answer was refused");
    }
}

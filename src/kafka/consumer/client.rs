//! The client library's consumer, and how the polling thread speaks to it.

use std::ffi::CString;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{ClientConfig, TopicPartitionList};

use super::assignment::Assignment;
use super::command::Command;
use super::context::{Context, Event, connect};
use super::marks::Marks;
use super::options::{ConsumerFailed, Settings};
use super::partition::{Fetching, Partition};
use super::queries::BrokerQueries;
use super::work::Work;

/// How long leaving the group may take.
pub(super) const CLOSE_WITHIN: Duration = Duration::from_secs(2);
/// The time between two checks whether a query still holds a client that is to be closed.
const HELD_CHECK: Duration = Duration::from_millis(10);
/// Up to this many partitions, the client is asked for the end of all of them each second.
const FEW: usize = 64;

pub(super) struct Client<W: Work> {
    pub(super) name: String,
    pub(super) consumer: Arc<BaseConsumer<Context>>,
    pub(super) queries: BrokerQueries<W>,
    settings: Settings,
    /// Partitions whose query could not be started yet.
    unasked: Vec<Arc<Assignment>>,
    /// Whether the first rebalance is over.
    pub(super) joined: bool,
    /// The last error that was reported or returned.
    pub(super) last_error: Option<String>,
}

impl<W: Work> Client<W> {
    pub(super) fn new(
        name: &str,
        (consumer, marks): (Arc<BaseConsumer<Context>>, Arc<Marks>),
        settings: Settings,
        sender: Sender<Command<W>>,
    ) -> Self {
        let queries = BrokerQueries {
            consumer: consumer.clone(),
            client_number: 0,
            marks,
            sender,
            kind: settings.kind,
            subscribe: Arc::new(Mutex::new(settings.subscribe.clone())),
            unplaced: settings.unplaced.clone(),
            last_ids: Arc::default(),
            has_ids: settings.has_ids,
            begins: settings.begins.clone(),
        };
        let (unasked, joined, last_error) = (Vec::new(), false, None);
        Self { name: name.to_owned(), consumer, queries, settings, unasked, joined, last_error }
    }

    pub(super) fn config(&self) -> &ClientConfig {
        &self.settings.client
    }

    /// What happened inside the polls, oldest first.
    pub(super) fn next_event(&self) -> Option<Event> {
        self.consumer.context().next()
    }

    /// Answers an assignment at once with an empty list, so that the partitions which this member keeps are read
    /// without a break.
    pub(super) fn accept_assignment(&mut self) {
        self.check(self.consumer.incremental_assign(&TopicPartitionList::new()), "assign");
    }

    pub(super) fn unassign(&mut self, list: &TopicPartitionList) {
        self.check(self.consumer.incremental_unassign(list), "unassign");
    }

    fn check(&mut self, result: KafkaResult<()>, what: &str) {
        if let Err(error) = result {
            tracing::error!(%error, "{what} was refused");
            self.last_error = Some(format!("{what} was refused: {error}"));
        }
    }

    /// Adds topics to the subscription. Topics that are read already are not disturbed. A client that stops is not
    /// asked to read more; the next one is.
    pub(super) fn subscribe(&mut self, topics: Vec<String>, is_stopping: bool) {
        self.settings.subscribe.extend(topics);
        let all: Vec<&str> = self.settings.subscribe.iter().map(String::as_str).collect();
        self.queries.subscribe.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&self.settings.subscribe);
        if !is_stopping {
            self.check(self.consumer.subscribe(&all), "subscribe");
        }
    }

    /// Asks where these partitions begin.
    pub(super) fn look(&mut self, wanted: Vec<Arc<Assignment>>) {
        let again = wanted.clone();
        if !wanted.is_empty() && !self.queries.spawn(move |queries| queries.look(wanted)) {
            self.unasked.extend(again);
        }
    }

    /// Asks again what could not be asked yet.
    pub(super) fn look_again(&mut self) {
        let unasked = std::mem::take(&mut self.unasked);
        self.look(unasked);
    }

    /// Handles an error that the client returns in place of a record. Returns `true` if the client stopped reading a
    /// partition whose position is out of range; it does not tell which one.
    pub(super) fn poll_error(&mut self, error: &KafkaError) -> Result<bool, ConsumerFailed> {
        match error {
            KafkaError::MessageConsumptionFatal(code) => {
                let detail = self.consumer.context().take_error().unwrap_or_default();
                return Err(ConsumerFailed(format!("{code}: {detail}")));
            }
            KafkaError::PartitionEOF(_) => return Ok(false),
            _ => {}
        }
        let text = self.consumer.context().take_error().unwrap_or_else(|| error.to_string());
        if self.last_error.as_deref() != Some(&text) {
            tracing::warn!(consumer = %self.name, error = %text, "consumer complains");
        }
        self.last_error = Some(text);
        Ok(matches!(error, KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset)))
    }

    /// Asks for the end of a partition that the client fetches. For each such question the client searches all its
    /// topics. So with more than `FEW` partitions it is asked only about those of which a record was read since, or of
    /// which there are more records. The surveys find the end of the others.
    pub(super) fn look_for_end(&self, owned: &mut Partition<W>, of: usize) {
        let position = owned.progress.position();
        if owned.fetching == Fetching::Resumed && (owned.end.may_have_moved(position) || of <= FEW) {
            let cached = self.cached_high(&owned.assignment.topic, owned.assignment.partition);
            owned.end.fetched(cached, position);
        }
    }

    /// The end of a partition as the last fetch saw it.
    fn cached_high(&self, topic: &str, partition: i32) -> Option<i64> {
        let topic = CString::new(topic).ok()?;
        let (mut low, mut high) = (-1, -1);
        // SAFETY: the client outlives the call, which only reads the name and writes the two numbers.
        let err = unsafe {
            let client = self.consumer.client().native_ptr();
            sys::rd_kafka_get_watermark_offsets(client, topic.as_ptr(), partition, &mut low, &mut high)
        };
        (err == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
    }

    /// Replaces a client that was drained by a new one, which joins the group anew.
    pub(super) fn renew(&mut self) -> Result<(), ConsumerFailed> {
        let client = connect(&self.name, &self.settings).map_err(|error| ConsumerFailed(error.to_string()))?;
        // The client that asks for the ends has known the old topics too.
        let marks = Marks::new(&self.name, &self.settings.client);
        self.queries.marks = Arc::new(marks.map_err(|error| ConsumerFailed(error.to_string()))?);
        let client = Arc::new(client);
        self.queries.consumer = client.clone();
        self.queries.client_number += 1;
        let old = std::mem::replace(&mut self.consumer, client);
        leave_group(&self.name, old);
        self.unasked.clear();
        tracing::info!(consumer = %self.name, "joins anew");
        Ok(())
    }

    /// Leaves the group for good.
    pub(super) fn leave_for_good(self) {
        let Self { name, consumer, queries, .. } = self;
        drop(queries);
        leave_group(&name, consumer);
    }
}

/// Dropping the client leaves the group and commits the stored positions. While the coordinator is away this may take
/// for ever; then the thread that waits for it keeps the client, and this function returns.
fn leave_group(name: &str, consumer: Arc<BaseConsumer<Context>>) {
    consumer.context().set_closing();
    let (left, wait) = channel();
    let leave = move || {
        // Helper threads with a running query still hold the client, but not for long, because all assignments are
        // gone.
        while Arc::strong_count(&consumer) > 1 {
            std::thread::sleep(HELD_CHECK);
        }
        drop(consumer);
        let _ = left.send(());
    };
    let spawned = std::thread::Builder::new().name(format!("{name}-close")).spawn(leave);
    if spawned.is_err() || wait.recv_timeout(CLOSE_WITHIN).is_err() {
        tracing::warn!(consumer = %name, "leaving the group takes too long: not waited for");
    }
}

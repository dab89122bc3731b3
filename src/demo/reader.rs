//! Reads receipts, dead letters and results into the counts as the worker writes them, and from the input which records
//! are replayed copies, on a thread of its own.
//!
//! The reader stays close behind the worker, because the embedded broker drops the oldest records of a full partition
//! even if nobody has read them. If the broker drops a record before it is read, the run ends as failed: nobody could
//! tell what became of that event.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::counts::Counts;
use crate::envelope::{Envelope, Source};
use crate::inspect::ledger::{dead_letter, final_result, receipt};
use crate::kafka::consumer::record;
use crate::kafka::{Config, settings};

/// Time between two queries for the ends of the input partitions.
const ENDS_EVERY: Duration = Duration::from_millis(500);
/// If the embedded broker takes longer than this to answer, it is gone.
const ANSWER: Duration = Duration::from_secs(5);
/// Time for reading the rest at the end.
const LAST_LOOK: Duration = Duration::from_secs(20);

pub struct Reader {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

struct Shared {
    counts: Mutex<Counts>,
    trouble: Mutex<Option<String>>,
    last: AtomicBool,
}

impl Reader {
    /// Starts to read from the beginning. `accounts` are the names that belong to the indices of the counts.
    ///
    /// # Errors
    /// The client or the thread cannot be made.
    pub fn start(kafka: &Config, accounts: Vec<String>) -> Result<Reader, String> {
        let shared = Arc::new(Shared {
            counts: Mutex::new(Counts::new(accounts.len())),
            trouble: Mutex::new(None),
            last: AtomicBool::new(false),
        });
        let work = Work::new(kafka, accounts, shared.clone())?;
        let thread = std::thread::Builder::new().name("demo-counts".into()).spawn(move || work.run());
        Ok(Reader { shared, thread: thread.map_err(|error| error.to_string())? })
    }

    /// The counts so far.
    pub fn counts(&self) -> MutexGuard<'_, Counts> {
        lock(&self.shared.counts)
    }

    /// Why the reader cannot go on; `None`: it can.
    pub fn trouble(&self) -> Option<String> {
        lock(&self.shared.trouble).clone()
    }

    /// Reads up to the present ends of the topics, and stops. Blocks.
    ///
    /// # Errors
    /// Something is missing that the counts would not show.
    pub fn finish(self) -> Result<Counts, String> {
        self.shared.last.store(true, Ordering::Relaxed);
        if self.thread.join().is_err() {
            return Err("the counts broke off".into());
        }
        match self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(trouble) => Err(trouble),
            None => Ok(std::mem::take(&mut *lock(&self.shared.counts))),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Work {
    consumer: BaseConsumer,
    /// Asks for the ends of partitions on a connection of its own. On the reader's connection each question would wait
    /// behind a fetch.
    ends: BaseConsumer,
    input: (String, i32),
    receipts: String,
    dead_letters: String,
    results: String,
    accounts: Vec<String>,
    /// The next offset to read in each partition.
    next: HashMap<(String, i32), i64>,
    shared: Arc<Shared>,
}

impl Work {
    fn new(kafka: &Config, accounts: Vec<String>, shared: Arc<Shared>) -> Result<Self, String> {
        let config = client(kafka)?;
        let consumer: BaseConsumer = config.create().map_err(|error| error.to_string())?;
        let ends = config.create().map_err(|error| error.to_string())?;
        let mut next = HashMap::new();
        let mut list = TopicPartitionList::new();
        let input = kafka.input.first().cloned().unwrap_or_default();
        for topic in [&input, &kafka.receipts, &kafka.dead_letter, &kafka.results] {
            for partition in 0..kafka.partitions {
                let at = list.add_partition_offset(topic, partition, Offset::Offset(0));
                at.map_err(|error| error.to_string())?;
                next.insert((topic.clone(), partition), 0);
            }
        }
        consumer.assign(&list).map_err(|error| error.to_string())?;
        Ok(Self {
            consumer,
            ends,
            input: (input, kafka.partitions),
            receipts: kafka.receipts.clone(),
            dead_letters: kafka.dead_letter.clone(),
            results: kafka.results.clone(),
            accounts,
            next,
            shared,
        })
    }

    fn run(mut self) {
        let mut looked: Option<Instant> = None;
        let result = loop {
            if let Err(trouble) = self.read() {
                break Err(trouble);
            }
            if self.shared.last.load(Ordering::Relaxed) {
                break self.read_to_the_ends();
            }
            if looked.is_none_or(|at| at.elapsed() >= ENDS_EVERY) {
                // One failed query does no harm; only the last one counts.
                let _ = self.look_at_input();
                looked = Some(Instant::now());
            }
        };
        *lock(&self.shared.trouble) = result.err();
    }

    /// Reads the records that are there now, and waits for them only a moment.
    fn read(&mut self) -> Result<(), String> {
        let mut patience = Duration::from_millis(50);
        for _ in 0..2_000 {
            match self.consumer.poll(patience) {
                None => break,
                Some(Ok(message)) => {
                    let place = (message.topic().to_owned(), message.partition());
                    let after = message.offset() + 1;
                    self.take(&message);
                    self.next.insert(place, after);
                }
                Some(Err(error)) if is_gone(&error) => {
                    return Err(
                        "the embedded broker has dropped events, receipts, dead letters or results that were not read yet"
                            .into(),
                    );
                }
                // The client opens a broken connection again by itself.
                Some(Err(_)) => {}
            }
            patience = Duration::ZERO;
        }
        Ok(())
    }

    fn take(&self, message: &BorrowedMessage<'_>) {
        let record = record(message, message.topic().into());
        if *record.topic == *self.input.0 {
            let (envelope, _) = Envelope::read(&record, Source::Input, record.timestamp_ms.unwrap_or(0));
            if envelope.replay.is_some() && *envelope.origin.topic == *self.input.0 {
                let origin = (envelope.origin.partition, envelope.origin.offset);
                lock(&self.shared.counts).replayed((record.partition, record.offset), origin);
            }
        } else if *record.topic == *self.receipts
            && let Some(found) = receipt(&record).filter(|found| found.topic == self.input.0)
        {
            let account = found.account.and_then(|name| self.accounts.iter().position(|a| *a == name));
            lock(&self.shared.counts).receipt(found.place, found.outcome, found.resends, account);
        } else if *record.topic == *self.dead_letters
            && let Some(found) = dead_letter(&record).filter(|found| found.topic == self.input.0)
        {
            lock(&self.shared.counts).dead_letter(found.place, found.reason);
        } else if *record.topic == *self.results
            && let Some((topic, place)) = final_result(&record)
            && topic == self.input.0
        {
            lock(&self.shared.counts).result(place);
        }
    }

    fn end(&self, topic: &str, partition: i32) -> Result<i64, String> {
        let marks = self.ends.fetch_watermarks(topic, partition, ANSWER);
        marks.map(|(_, high)| high).map_err(|error| format!("the embedded broker does not answer: {error}"))
    }

    fn look_at_input(&self) -> Result<(), String> {
        for partition in 0..self.input.1 {
            let high = self.end(&self.input.0, partition)?;
            lock(&self.shared.counts).reaches(partition, high);
        }
        Ok(())
    }

    fn read_to_the_ends(&mut self) -> Result<(), String> {
        self.look_at_input()?;
        let mut ends = HashMap::new();
        for (topic, partition) in self.next.keys() {
            ends.insert((topic.clone(), *partition), self.end(topic, *partition)?);
        }
        let began = Instant::now();
        while self.next.iter().any(|(place, next)| ends.get(place).is_some_and(|end| next < end)) {
            if began.elapsed() > LAST_LOOK {
                return Err("receipts, dead letters and results could not be read to their end".into());
            }
            self.read()?;
        }
        Ok(())
    }
}

fn client(kafka: &Config) -> Result<ClientConfig, String> {
    let mut config = settings::admin(kafka, Some("postback-demo-tally")).map_err(|error| error.to_string())?;
    config.set("fetch.wait.max.ms", "100").set("fetch.queue.backoff.ms", "5");
    Ok(config)
}

fn is_gone(error: &KafkaError) -> bool {
    matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::AutoOffsetReset))
}

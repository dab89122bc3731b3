//! The polling thread: subscribe, assignment, revocation. It alone owns the trackers.
//!
//! One plain thread per consumer polls and does nothing else; whoever works on a record holds a [`AckHandle`] and hands
//! it back over one channel. The rebalance callback only records what happened: a revoked partition drains while
//! polling goes on, and is handed back from the loop. Assigned partitions are not read before their position has been
//! judged off this thread (`lookup`); a partition without a sound position is *parked*: owned, but not read, until
//! an operator names an offset.
//!
//! Rejected: the async stream consumer and split partition queues, whose wake-ups can be lost; explicit commits in the
//! hot path, which move backwards and report nothing.

mod ack_handle;
mod begin;
mod commits;
mod context;
mod epochs;
mod ids;
mod lookup;
mod marks;
mod message;
mod order;
mod partition;
mod poll;
mod position;
mod probe;
mod rebalance;
mod renew;
mod snapshot;
mod stop;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{fmt, io};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use crate::error::Outcome;
use crate::kafka::native::TopicIds;
use crate::kafka::record::Record;

pub use ack_handle::{AckHandle, Assignment, Info, Open, Stage};
#[cfg(test)]
pub use snapshot::Parked;
pub use snapshot::{ConsumerView, OwnPosition, PartitionView, Snapshot};

use context::Context;
pub(in crate::kafka) use context::log;
pub(in crate::kafka) use message::record;

/// How the work on a record ended, as far as its offset is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// In a terminal state.
    Finished(Outcome),
    /// Handed off to a tier.
    Retried,
    /// Handed off to parking.
    Parked,
    /// Given back unstarted or unfinished, at revoke or shutdown.
    Returned,
    /// Nobody works on it any more, and nobody said so: it is read again.
    Lost,
}

/// Whether the handler takes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Take what is there.
    Poll,
    /// A bound is reached: take nothing for now.
    Skip,
}

/// What the polling thread asks of whoever works on the records. Every method runs on that thread and must not block.
pub trait Handler: Send {
    /// A record, already registered; the ack handle holds its offset back until it is completed.
    fn received(&mut self, record: Record, ack: AckHandle);
    /// The end of a batch of `received`.
    fn flush(&mut self);
    /// A record of a current assignment has ended; called once per record, never with `Returned` or `Lost`.
    fn completed(&mut self, open: &Open, end: End);
    /// A record was unfinished when its partition was handed back.
    fn returned(&mut self, open: &Open);
    /// Start nothing more of this assignment, and give back what is queued.
    fn leaving(&mut self, assignment: &Assignment);
    /// Asked before each poll. Half a second of `Skip` pauses every partition.
    fn may_poll(&mut self) -> Flow;
    /// Changes whenever some answer of `pause_wanted` may have changed; `None`: it is to be asked in each turn.
    fn pauses(&self) -> Option<u64> {
        None
    }
    /// Whether this partition should rest.
    fn pause_wanted(&self, topic: &str, partition: i32) -> bool;
    /// Called in each turn; the answer says when it wants to be called again.
    fn tick(&mut self, now: Instant) -> Option<Duration>;
}

/// Which topics a consumer reads: it decides where a partition without an offset begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Producers' topics: a missing offset is a new partition, or a loss.
    Input,
    /// Tiers and parking: a missing offset is always the beginning.
    Waiting,
}

/// What a consumer is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Client configuration, from `settings`.
    pub client: ClientConfig,
    /// Names of topics; [`ConsumerHandle::subscribe`] adds others.
    pub subscribe: BTreeSet<String>,
    /// What it reads.
    pub kind: Kind,
    /// How long a revoked partition waits for its unfinished records.
    pub drain: Duration,
    /// Partitions that were parked for want of an offset and that no operator has placed yet.
    pub unplaced: Unplaced,
    /// Of topics that are new to the input.
    pub begins: Begins,
    /// Whether the brokers are asked for the ids of topics: the embedded one does not answer that, and nobody makes a
    /// topic of it anew.
    pub has_ids: bool,
}

/// Partitions that lost their offset: another one's offset does not make them new.
pub type Unplaced = Arc<Mutex<BTreeSet<(String, i32)>>>;

/// Where partitions begin that have no offset and do not begin at their beginning.
pub type Begins = Arc<BTreeMap<(String, i32), i64>>;

/// An operator's position for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnblockOrder {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Where to go on.
    pub to: UnblockTo,
}

/// A position by name or number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnblockTo {
    /// The oldest record that is still there.
    Earliest,
    /// The end: what lies before is given up.
    Latest,
    /// This offset.
    At(i64),
}

/// Why a consumer's thread ended without being asked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerFailed(pub String);

impl fmt::Display for ConsumerFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "consumer stopped: {}", self.0)
    }
}

impl std::error::Error for ConsumerFailed {}

/// What reaches the polling thread over its one channel.
enum Command {
    /// A ack handle came back.
    Done { generation: u64, seq: u64, end: End },
    /// The positions of assigned partitions were judged.
    Found(Vec<lookup::Found>),
    /// The ids of the topics that are read, as the client of this number was told.
    Identified(u64, TopicIds),
    /// What comes next in partitions whose position was in doubt.
    Probed(Vec<probe::Probed>),
    /// Watermarks and committed offsets of what is assigned.
    Surveyed(Vec<lookup::Surveyed>),
    /// Topics that are to be read too.
    Subscribe(Vec<String>),
    /// An operator's order.
    Order(UnblockOrder),
    /// An order was carried out at the broker, or could not be.
    Ordered { generation: u64, result: Result<i64, String> },
    /// Drain, hand back, leave.
    Stop(Duration),
    /// The broker has what was stored before the stop, or will not take it.
    Flushed,
}

/// A consumer; `spawn` is its only function.
pub struct Consumer;

impl Consumer {
    /// Starts the polling thread.
    ///
    /// # Errors
    /// Where the client cannot be created, does not take the subscription, or the thread cannot be started.
    pub fn spawn<H: Handler + 'static>(
        name: &str,
        settings: Settings,
        handler: H,
        shared: Arc<ConsumerView>,
    ) -> io::Result<ConsumerHandle> {
        let (sender, commands) = channel();
        let marks = marks::Marks::new(name, &settings.client).map_err(|e| io::Error::other(e.to_string()))?;
        let client = (Arc::new(connect(name, &settings)?), Arc::new(marks));
        let turn = poll::Poller::new(name, client, settings, handler, commands, sender.clone(), shared);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || turn.run())?;
        Ok(ConsumerHandle { sender, thread: Mutex::new(Some(thread)) })
    }
}

/// A client that has asked to join its group.
fn connect(name: &str, settings: &Settings) -> io::Result<BaseConsumer<Context>> {
    let failed = |error: rdkafka::error::KafkaError| io::Error::other(error.to_string());
    let client: BaseConsumer<Context> = settings.client.create_with_context(Context::new(name)).map_err(failed)?;
    let topics: Vec<&str> = settings.subscribe.iter().map(String::as_str).collect();
    client.subscribe(&topics).map_err(failed)?;
    Ok(client)
}

/// A running consumer. Dropping the handle does not stop it.
pub struct ConsumerHandle {
    sender: Sender<Command>,
    thread: Mutex<Option<JoinHandle<Result<(), ConsumerFailed>>>>,
}

impl ConsumerHandle {
    /// Without a thread, and the orders that it would have been given.
    #[cfg(test)]
    pub(crate) fn stub() -> (Self, impl FnMut() -> Vec<UnblockOrder>) {
        let (sender, commands) = std::sync::mpsc::channel();
        let orders = move || {
            let order = |command| if let Command::Order(order) = command { Some(order) } else { None };
            commands.try_iter().filter_map(order).collect()
        };
        (Self { sender, thread: Mutex::default() }, orders)
    }

    /// Begins to stop: takes nothing more, waits for what is unfinished, stores, commits, leaves the group.
    pub fn shutdown(&self, drain: Duration) {
        // A thread that has ended has nothing left to stop.
        let _ = self.sender.send(Command::Stop(drain));
    }

    /// Reads these topics too.
    pub fn subscribe(&self, topics: Vec<String>) {
        let _ = self.sender.send(Command::Subscribe(topics));
    }

    /// Passes an operator's order on.
    pub fn order(&self, order: UnblockOrder) {
        let _ = self.sender.send(Command::Order(order));
    }

    /// Whether the thread still runs.
    pub fn is_alive(&self) -> bool {
        self.lock().as_ref().is_some_and(|t| !t.is_finished())
    }

    /// Waits for the thread to end. Blocks: not for a runtime's thread.
    ///
    /// # Errors
    /// Where it ended by itself: a fatal client error, or a panic.
    pub fn join(&self) -> Result<(), ConsumerFailed> {
        let thread = self.lock().take();
        match thread.map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(ConsumerFailed("the polling thread panicked".into())),
            None => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<JoinHandle<Result<(), ConsumerFailed>>>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

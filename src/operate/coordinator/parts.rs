//! The parts that the coordinator watches and controls.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use ::redis::Client;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::account::Halted;
use crate::delivery::progress::{ConsumerHandle, ConsumerView};
use crate::kafka::consumer::Unplaced;
use crate::kafka::refusals::Refusals;
use crate::kafka::topics::Retention;
use crate::lane::handle::known::Known;
use crate::lane::handle::lanes::Lanes;
use crate::lane::threads::Runtimes;
use crate::metrics::Metrics;
use crate::operate::Keys;
use crate::quiet::{QuietKinds, Repeated};
use crate::redis::health::Health;
use crate::storm::board::Storms;

/// A consumer as it is seen from outside its thread.
pub struct Watched {
    /// The name of the consumer in logs and in `blocked`.
    pub name: &'static str,
    pub view: Arc<ConsumerView>,
    pub handle: Arc<ConsumerHandle>,
}

/// Watches the worker's state, carries out switches and orders, and publishes this replica's state, once a second.
pub struct Coordinator {
    pub client: Client,
    /// The names of the keys in Redis.
    pub keys: Keys,
    /// The id of this replica.
    pub id: String,
    pub lanes: Arc<Lanes>,
    /// The threads that the lanes run on.
    pub runtimes: Arc<Runtimes>,
    /// Whether Redis can be relied on.
    pub health: Arc<Health>,
    pub metrics: Arc<Metrics>,
    /// Both consumers.
    pub consumers: Vec<Watched>,
    /// Halts that still have to be written to Redis.
    pub halts: UnboundedReceiver<Halted>,
    /// The largest number of replicas seen in the last hour.
    pub replicas: Arc<AtomicUsize>,
    /// How long the topics that are read keep their records.
    pub retention: Arc<Retention>,
    /// Topics that take no records.
    pub refusals: Arc<Refusals>,
    /// The prefix of the names of parking topics.
    pub parked_prefix: String,
    /// Partitions that are parked because they have no offset.
    pub unplaced: Unplaced,
    /// Which accounts received records from which topic lately.
    pub known: Arc<Known>,
    /// Whether the store is part of this process, so that it has no clock of its own.
    pub own_store: bool,
    /// The topics that the storm brake stopped.
    pub storms: Arc<Storms>,
    /// Counts the repeated log lines that were left out. The coordinator logs the count when their minute is over.
    pub quiet: Arc<QuietKinds<Repeated>>,
}

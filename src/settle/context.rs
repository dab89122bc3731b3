//! What all lanes of the process share: the ways out of the process, and the rules that are the same for all.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use crate::account::Halted;
use crate::delivery::Delivery;
use crate::kafka::producer::Producer;
use crate::kafka::refusals::Refusals;
use crate::metrics::Metrics;
use crate::quiet::{QuietKinds, Repeated};
use crate::redis::health::Health;

/// The topics that `settle` writes to.
#[derive(Clone, Debug)]
pub struct Topics {
    pub retry_prefix: String,
    pub parked_prefix: String,
    pub dead_letter: String,
    /// Receipts, one per terminal state. If empty, none are written.
    pub receipts: String,
}

/// What all lanes of the process share: ways out, counters and rules.
pub struct StageContext {
    pub metrics: Arc<Metrics>,
    pub producer: Producer,
    pub topics: Topics,
    /// The topics that refuse records at present.
    pub refusals: Arc<Refusals>,
    /// How long a claim must be left alone before it may be taken over.
    pub lease: Duration,
    /// The state of Redis.
    pub health: Arc<Health>,
    /// The most replicas seen in the last hour, this one included.
    pub replicas: Arc<AtomicUsize>,
    /// Records that were read from parking and go back to the buffer of their partition.
    pub give_back: Sender<Box<Delivery>>,
    /// Halts to be published to every replica.
    pub halts: UnboundedSender<Halted>,
    /// Limits log lines that a storm would repeat for each record.
    pub quiet: Arc<QuietKinds<Repeated>>,
}

//! What every lane shares: the ways out of the process and the rules that are the same for all.

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

/// Topics that settle writes to.
#[derive(Clone, Debug)]
pub struct Topics {
    pub retry_prefix: String,
    pub parked_prefix: String,
    /// Of last resort.
    pub dead_letter: String,
    /// One record per terminal state; empty: none.
    pub receipts: String,
}

/// What the lanes of the process share: the ways out, counters and rules.
pub struct StageContext {
    pub metrics: Arc<Metrics>,
    pub producer: Producer,
    pub topics: Topics,
    /// Topics that take no records.
    pub refusals: Arc<Refusals>,
    /// How long a claim is not taken over.
    pub lease: Duration,
    /// Whether Redis can be relied on.
    pub health: Arc<Health>,
    /// The most replicas seen in the last hour, this one included.
    pub replicas: Arc<AtomicUsize>,
    /// Records read from parking go back to the buffer of their partition.
    pub held: Sender<Box<Delivery>>,
    /// Halts, to be made known to every replica.
    pub halts: UnboundedSender<Halted>,
    /// Lines of the log that a storm would repeat for each record.
    pub quiet: Arc<QuietKinds<Repeated>>,
}

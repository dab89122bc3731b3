//! What the coordinator looks at and steers.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use ::redis::Client;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::account::Halted;
use crate::delivery::progress::{ConsumerHandle, ConsumerView};
use crate::kafka::consumer::Unplaced;
use crate::kafka::refusals::Refusals;
use crate::lane::handle::Lanes;
use crate::lane::handle::known::Known;
use crate::lane::threads::Runtimes;
use crate::metrics::Metrics;
use crate::operate::Keys;
use crate::quiet::{QuietKinds, Repeated};
use crate::redis::health::Health;

/// One consumer as seen from outside its thread.
pub struct Watched {
    /// What it is called in logs and `blocked`.
    pub name: &'static str,
    pub view: Arc<ConsumerView>,
    pub handle: Arc<ConsumerHandle>,
}

/// Looks, obeys and shows, once a second.
pub struct Coordinator {
    pub client: Client,
    /// Keys there.
    pub keys: Keys,
    /// This replica.
    pub id: String,
    pub lanes: Arc<Lanes>,
    /// The threads they live on.
    pub runtimes: Arc<Runtimes>,
    /// Whether Redis can be relied on.
    pub health: Arc<Health>,
    pub metrics: Arc<Metrics>,
    /// Both consumers.
    pub consumers: Vec<Watched>,
    /// Halts to be made known.
    pub halts: UnboundedReceiver<Halted>,
    /// The most replicas seen in the last hour.
    pub replicas: Arc<AtomicUsize>,
    /// Topics that take no records.
    pub refusals: Arc<Refusals>,
    /// Before an account's parking topic.
    pub parked_prefix: String,
    /// Partitions parked for want of an offset.
    pub unplaced: Unplaced,
    /// Who received from which topic lately.
    pub known: Arc<Known>,
    /// The store is part of this process: its clock is no other one.
    pub own_store: bool,
    /// What the log left out is told when its minute is over.
    pub quiet: Arc<QuietKinds<Repeated>>,
}

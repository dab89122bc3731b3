//! The state of the polling thread. Its actions are in the other files, one subject each.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::consumer::BaseConsumer;

use super::assignment::Assignment;
use super::command::Command;
use super::commits::Commits;
use super::context::Context;
use super::handler::Handler;
use super::marks::Marks;
use super::options::Settings;
use super::partition::Partition;
use super::queries::BrokerQueries;
use super::snapshot::{ConsumerView, Counts};
use super::work::Work;
use crate::kafka::native::TopicIds;
use crate::quiet::QuietKinds;

/// The longest poll while partitions drain or everything is paused, because ack handles must not wait for a long poll
/// to end.
pub(super) const SHORT_POLL: Duration = Duration::from_millis(10);
/// The time between two snapshots.
pub(super) const VIEW_EVERY: Duration = Duration::from_secs(1);

/// Partitions that have to be given back together.
pub(super) struct Revoked {
    pub(super) generations: Vec<u64>,
    pub(super) deadline: Instant,
}

/// A consumer that was asked to end.
pub(super) struct Stopping {
    pub(super) deadline: Instant,
    /// The deadline of the last commit. `None`: the consumer still drains.
    pub(super) flush: Option<Instant>,
    pub(super) flushed: bool,
    /// Whether it continues with a new client.
    pub(super) renew: bool,
}

/// Which partitions are paused.
#[derive(Default)]
pub(super) struct Pauses {
    /// A bound was reached for so long that every partition is paused.
    pub(super) resting: bool,
    pub(super) skipping_since: Option<Instant>,
    /// The inputs from which the pauses were last derived. `None`: derive them again.
    pub(super) seen: Option<(u64, bool)>,
}

/// When the broker is asked about positions.
pub(super) struct Surveys {
    pub(super) next: Instant,
    pub(super) next_full: Instant,
    pub(super) running: bool,
    /// The client reported that some position is out of range, but not which one.
    pub(super) suspicious: bool,
    /// Before this time the suspicion starts no further survey.
    pub(super) next_suspicion: Instant,
}

/// The search for partitions that have reached their last record and lag all the same.
pub(super) struct Ends {
    pub(super) next_look: Instant,
    /// Since when the client has delivered nothing, although it was polled all the time and no bound held it back.
    pub(super) empty_since: Option<Instant>,
    pub(super) probing: bool,
}

/// When the windows of the partitions are checked next, and what was logged of them.
pub(super) struct Windows {
    pub(super) next_look: Instant,
    /// Of each partition, whether its window was full.
    pub(super) quiet: QuietKinds<(Arc<str>, i32, bool)>,
}

/// The ids of the topics that the consumer reads.
pub(super) struct Ids {
    pub(super) next: Instant,
    pub(super) running: bool,
    /// The ids under which this client knows its topics. It may refuse the leaders of a topic with another id.
    pub(super) met: TopicIds,
    /// Topics that were created again, and when that was noticed, in epoch ms.
    pub(super) remade: HashMap<Arc<str>, i64>,
}

pub(super) struct Poller<H: Handler> {
    pub(super) name: String,
    pub(super) consumer: Arc<BaseConsumer<Context>>,
    pub(super) settings: Settings,
    pub(super) handler: H,
    pub(super) commands: Receiver<Command<H::Work>>,
    pub(super) queries: BrokerQueries<H::Work>,
    pub(super) view: Arc<ConsumerView<<H::Work as Work>::Shown>>,
    pub(super) partitions: HashMap<u64, Partition<H::Work>>,
    /// The present generation of each partition. The keys are the shared copies of the topic names.
    pub(super) current: HashMap<Arc<str>, HashMap<i32, u64>>,
    pub(super) revoked: VecDeque<Revoked>,
    pub(super) stopping: Option<Stopping>,
    pub(super) pauses: Pauses,
    /// Generations that are being judged, wait for their time, or drain.
    pub(super) unsettled: HashSet<u64>,
    /// Partitions whose query could not be started yet.
    pub(super) unasked: Vec<Arc<Assignment>>,
    pub(super) next_store: Instant,
    pub(super) next_view: Instant,
    pub(super) surveys: Surveys,
    pub(super) ends: Ends,
    pub(super) windows: Windows,
    pub(super) ids: Ids,
    pub(super) counts: Counts,
    pub(super) commits: Commits,
}

impl<H: Handler> Poller<H> {
    pub(super) fn new(
        name: &str,
        (consumer, marks): (Arc<BaseConsumer<Context>>, Arc<Marks>),
        settings: Settings,
        handler: H,
        commands: Receiver<Command<H::Work>>,
        sender: Sender<Command<H::Work>>,
        view: Arc<ConsumerView<<H::Work as Work>::Shown>>,
    ) -> Self {
        let now = Instant::now();
        let subscribe = Arc::new(Mutex::new(settings.subscribe.clone()));
        let unplaced = settings.unplaced.clone();
        let commits = Commits::new(&settings.client, now);
        Self {
            name: name.to_owned(),
            queries: BrokerQueries {
                consumer: consumer.clone(),
                client_number: 0,
                marks,
                sender,
                kind: settings.kind,
                subscribe,
                unplaced,
                last_ids: Arc::default(),
                has_ids: settings.has_ids,
                begins: settings.begins.clone(),
            },
            consumer,
            settings,
            handler,
            commands,
            view,
            partitions: HashMap::new(),
            current: HashMap::new(),
            revoked: VecDeque::new(),
            stopping: None,
            pauses: Pauses::default(),
            unsettled: HashSet::new(),
            unasked: Vec::new(),
            next_store: now,
            next_view: now,
            surveys: Surveys { next: now, next_full: now, running: false, suspicious: false, next_suspicion: now },
            ends: Ends { next_look: now, empty_since: None, probing: false },
            windows: Windows { next_look: now, quiet: QuietKinds::default() },
            ids: Ids { next: now, running: false, met: TopicIds::new(), remade: HashMap::new() },
            counts: Counts::default(),
            commits,
        }
    }
}

//! The state of the polling thread. What it does stands in the other files, one subject each.

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

/// While something drains, or everything rests, ack handles must not wait for a poll to end.
pub(super) const SHORT_POLL: Duration = Duration::from_millis(10);
/// Between two snapshots.
pub(super) const VIEW_EVERY: Duration = Duration::from_secs(1);

/// Partitions that are to be handed back together.
pub(super) struct Revoked {
    pub(super) generations: Vec<u64>,
    pub(super) deadline: Instant,
}

/// A consumer that is asked to end.
pub(super) struct Stopping {
    pub(super) deadline: Instant,
    /// Of the last commit; `None`: still draining.
    pub(super) flush: Option<Instant>,
    pub(super) flushed: bool,
    /// It goes on with another client.
    pub(super) renew: bool,
}

/// Which partitions rest.
#[derive(Default)]
pub(super) struct Pauses {
    /// The bound lasts: every partition is paused.
    pub(super) resting: bool,
    pub(super) skipping_since: Option<Instant>,
    /// What the pauses followed from when they were looked at last; `None`: to be looked at.
    pub(super) seen: Option<(u64, bool)>,
}

/// What the broker is asked about positions from time to time.
pub(super) struct Surveys {
    pub(super) next: Instant,
    pub(super) next_full: Instant,
    pub(super) running: bool,
    /// The client said that some position is out of range, but not which.
    pub(super) suspicious: bool,
    /// Before this the positions are not looked at again for it.
    pub(super) next_suspicion: Instant,
}

/// The look for partitions that have come to their last record and lag all the same.
pub(super) struct Ends {
    pub(super) next_look: Instant,
    /// Since when the client has had nothing to give, though it was asked all the time and no bound held it back.
    pub(super) empty_since: Option<Instant>,
    pub(super) probing: bool,
}

/// Of which topics it reads.
pub(super) struct Ids {
    pub(super) next: Instant,
    pub(super) running: bool,
    /// Under which ids this client knows its topics: it may refuse the leaders of other ones.
    pub(super) met: TopicIds,
    /// Topics that were made again, and when that was seen, epoch ms.
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
    pub(super) parts: HashMap<u64, Partition<H::Work>>,
    /// Which generation a partition is in. Its keys intern the topic names.
    pub(super) current: HashMap<Arc<str>, HashMap<i32, u64>>,
    pub(super) revoked: VecDeque<Revoked>,
    pub(super) stopping: Option<Stopping>,
    pub(super) pauses: Pauses,
    /// Generations that are being judged, wait for their time or drain.
    pub(super) unsettled: HashSet<u64>,
    /// Partitions whose question could not be asked yet.
    pub(super) unasked: Vec<Arc<Assignment>>,
    pub(super) next_store: Instant,
    pub(super) next_view: Instant,
    pub(super) surveys: Surveys,
    pub(super) ends: Ends,
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
            parts: HashMap::new(),
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
            ids: Ids { next: now, running: false, met: TopicIds::new(), remade: HashMap::new() },
            counts: Counts::default(),
            commits,
        }
    }
}

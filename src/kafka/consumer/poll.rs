//! The loop of the polling thread. Nothing in it waits for anything but records and ack handles.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::consumer::BaseConsumer;
use rdkafka::consumer::Consumer as _;
use rdkafka::message::BorrowedMessage;

use super::ack_handle::{AckHandle, Assignment, Open};
use super::commits::Commits;
use super::context::Context;
use super::lookup::BrokerQueries;
use super::marks::Marks;
use super::partition::{Next, Partition, State};
use super::rebalance::Revoked;
use super::snapshot::{ConsumerView, Snapshot};
use super::stop::Stopping;
use crate::kafka::native::{self, TopicIds};
use crate::kafka::now_ms;

use super::{Command, ConsumerFailed, End, Flow, Handler, Settings, message};

const LONGEST_POLL: Duration = Duration::from_millis(100);
/// While something drains, or everything rests, ack handles must not wait for a poll to end.
pub(super) const SHORT_POLL: Duration = Duration::from_millis(10);
/// One skipped poll: what is queued lasts far longer.
const SKIP: Duration = Duration::from_millis(5);
/// Skipping this long means that the bound lasts. Not sooner: a pause throws away what was fetched ahead.
const PAUSE_AFTER: Duration = Duration::from_millis(500);
const BATCH: usize = 256;
const VIEW_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Poller<H> {
    pub(super) name: String,
    pub(super) consumer: Arc<BaseConsumer<Context>>,
    pub(super) settings: Settings,
    pub(super) handler: H,
    commands: Receiver<Command>,
    pub(super) queries: BrokerQueries,
    pub(super) view: Arc<ConsumerView>,
    /// By generation.
    pub(super) parts: HashMap<u64, Partition>,
    /// Which generation a partition is in. Its keys intern the topic names.
    pub(super) current: HashMap<Arc<str>, HashMap<i32, u64>>,
    pub(super) revoked: VecDeque<Revoked>,
    pub(super) stopping: Option<Stopping>,
    /// The bound lasts: every partition is paused.
    pub(super) resting: bool,
    skipping_since: Option<Instant>,
    /// What the pauses followed from when they were looked at last; `None`: to be looked at.
    pub(super) pauses_seen: Option<(u64, bool)>,
    /// Generations that are being judged, wait for their time or drain.
    pub(super) unsettled: HashSet<u64>,
    pub(super) next_store: Instant,
    next_view: Instant,
    pub(super) next_survey: Instant,
    pub(super) next_full_survey: Instant,
    pub(super) surveying: bool,
    pub(super) next_identify: Instant,
    pub(super) identifying: bool,
    pub(super) next_look_at_ends: Instant,
    /// Since when the client has had nothing to give, though it was asked all the time and no bound held it back.
    pub(super) empty_since: Option<Instant>,
    pub(super) probing: bool,
    /// Partitions whose question could not be asked yet.
    pub(super) unasked: Vec<Arc<Assignment>>,
    /// The client said that some position is out of range, but not which.
    pub(super) suspicious: bool,
    /// Before this the positions are not looked at again for it.
    pub(super) next_suspicion: Instant,
    /// Under which ids this client knows its topics: it may refuse the leaders of other ones.
    pub(super) met: TopicIds,
    /// Topics that were made again, and when that was seen, epoch ms.
    pub(super) remade: HashMap<Arc<str>, i64>,
    pub(super) counts: Snapshot,
    pub(super) commits: Commits,
}

impl<H: Handler> Poller<H> {
    pub(super) fn new(
        name: &str,
        (consumer, marks): (Arc<BaseConsumer<Context>>, Arc<Marks>),
        settings: Settings,
        handler: H,
        commands: Receiver<Command>,
        sender: Sender<Command>,
        view: Arc<ConsumerView>,
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
            resting: false,
            skipping_since: None,
            pauses_seen: None,
            unsettled: HashSet::new(),
            next_store: now,
            next_view: now,
            next_survey: now,
            next_full_survey: now,
            surveying: false,
            next_identify: now,
            identifying: false,
            next_look_at_ends: now,
            empty_since: None,
            probing: false,
            unasked: Vec::new(),
            suspicious: false,
            next_suspicion: now,
            met: TopicIds::new(),
            remade: HashMap::new(),
            counts: Snapshot::default(),
            commits,
        }
    }

    pub(super) fn run(mut self) -> Result<(), ConsumerFailed> {
        let result = loop {
            let result = self.turns();
            self.let_everything_go();
            match result.and_then(|()| self.renew()) {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if let Err(error) = &result {
            tracing::error!(consumer = %self.name, %error, "consumer ends");
        }
        self.leave_for_good();
        result
    }

    fn turns(&mut self) -> Result<(), ConsumerFailed> {
        loop {
            self.take_notes();
            while let Some(event) = self.consumer.context().next() {
                self.event(event);
            }
            let now = Instant::now();
            self.advance(now);
            if self.has_stopped(now) {
                return Ok(());
            }
            let wish = self.handler.tick(now).unwrap_or(LONGEST_POLL);
            self.keep(now);
            let wait = wish.min(if self.is_moving() { SHORT_POLL } else { LONGEST_POLL });
            if self.flow(now) == Flow::Skip {
                self.empty_since = None;
                // Not a wait for the next note: every lane would wake this thread for every event.
                std::thread::sleep(wait.min(SKIP));
                continue;
            }
            self.apply_pauses();
            self.batch(if self.resting { wait.min(SHORT_POLL) } else { wait })?;
        }
    }

    /// Skips polls while a bound is full; when that lasts, pauses everything and goes on polling.
    fn flow(&mut self, now: Instant) -> Flow {
        if self.handler.may_poll() == Flow::Poll {
            (self.skipping_since, self.resting) = (None, false);
            return Flow::Poll;
        }
        let since = *self.skipping_since.get_or_insert(now);
        self.resting |= now - since >= PAUSE_AFTER;
        if self.resting { Flow::Poll } else { Flow::Skip }
    }

    pub(super) fn take_notes(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            self.take(command);
        }
    }

    fn batch(&mut self, wait: Duration) -> Result<(), ConsumerFailed> {
        let consumer = self.consumer.clone();
        let now_ms = now_ms();
        let (mut timeout, mut received) = (wait, false);
        for _ in 0..BATCH {
            match consumer.poll(timeout) {
                None => break,
                Some(Ok(message)) => received |= self.receive(&message, now_ms),
                Some(Err(error)) => self.poll_error(&error)?,
            }
            timeout = Duration::ZERO;
            if consumer.context().has_events() || (!self.resting && self.handler.may_poll() == Flow::Skip) {
                break;
            }
        }
        if received || self.resting {
            self.empty_since = None;
        } else {
            self.empty_since.get_or_insert_with(Instant::now);
        }
        if received {
            self.handler.flush();
        }
        Ok(())
    }

    /// Registers a record before anything is decided about it.
    fn receive(&mut self, message: &BorrowedMessage<'_>, now_ms: i64) -> bool {
        let generation = self.current.get(message.topic()).and_then(|t| t.get(&message.partition()));
        let Some(part) = generation.and_then(|g| self.parts.get_mut(g)) else { return false };
        // What is no longer read, or not yet, is read again from its committed position.
        if !matches!(part.state, State::Reading) || part.assignment.is_leaving() {
            return false;
        }
        let open = Arc::new(Open::new(now_ms));
        let Some(seq) = part.tracker.receive(message.offset(), open.clone()) else {
            self.counts.repeats += 1;
            if let Some(not_logged) = self.commits.repeats.allow(Instant::now()) {
                let Assignment { topic, partition, .. } = &*part.assignment;
                tracing::warn!(
                    kafka.topic = %topic, kafka.partition = partition, kafka.offset = message.offset(), not_logged,
                    "an offset came twice in one assignment: the second one is passed over"
                );
            }
            return false;
        };
        part.epochs.read(message.offset(), native::record_epoch(message));
        let record = message::record(message, part.assignment.topic.clone());
        part.last_steady_ms = Some(open.steady_of(record.timestamp_ms.unwrap_or(now_ms)));
        let ack = AckHandle::new(part.assignment.clone(), open, seq, self.queries.sender.clone());
        self.handler.received(record, ack);
        true
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Done { generation, seq, end } => self.done(generation, seq, end),
            Command::Found(found) => self.found(found),
            // What an earlier client was told may be of an earlier topic.
            Command::Identified(number, ids) if number == self.queries.client_number => {
                self.identifying = false;
                self.compare(&ids);
            }
            Command::Identified(..) => {}
            Command::Probed(probed) => self.probed(probed),
            Command::Surveyed(surveyed) => self.surveyed(surveyed),
            Command::Subscribe(topics) => self.subscribe(topics),
            Command::Order(order) => self.ordered_by_operator(&order),
            Command::Ordered { generation, result } => self.order_done(generation, result),
            Command::Stop(drain) => self.stop(drain),
            Command::Flushed => {
                if let Some(stopping) = &mut self.stopping {
                    stopping.flushed = true;
                }
            }
        }
    }

    /// A ack handle came back. Of an assignment that is gone it means nothing: another member reads that record now.
    fn done(&mut self, generation: u64, seq: u64, end: End) {
        let Some(part) = self.parts.get_mut(&generation) else { return };
        match end {
            End::Finished(_) | End::Retried | End::Parked => {
                if let Some(open) = part.tracker.finish(seq) {
                    self.handler.completed(&open, end);
                }
            }
            End::Returned | End::Lost => {
                part.given_back += 1;
                // Nobody holds the record, so only reading it again brings it to an end.
                self.turn(generation, Next::Reread);
            }
        }
    }

    fn keep(&mut self, now: Instant) {
        if now >= self.next_store {
            self.store();
            self.next_store = now + super::position::STORE_EVERY;
        }
        self.survey(now);
        self.identify(now);
        self.look_at_ends(now);
        if now >= self.next_view {
            self.judge_commits(now);
            self.changed();
        }
    }

    /// Something happened that status should show at once.
    pub(super) fn changed(&mut self) {
        self.next_view = Instant::now() + VIEW_EVERY;
        self.refresh_view();
    }
}

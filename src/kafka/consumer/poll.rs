//! The loop of the polling thread. It waits for nothing but records and ack handles.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::consumer::Consumer as _;
use rdkafka::message::BorrowedMessage;

use super::ack_handle::AckHandle;
use super::assignment::Assignment;
use super::command::Command;
use super::handler::{Flow, Handler};
use super::message;
use super::options::ConsumerFailed;
use super::partition::{Next, State};
use super::poller::{Poller, SHORT_POLL, VIEW_EVERY};
use super::position::STORE_EVERY;
use super::work::Work;
use crate::clock::now_ms;
use crate::kafka::native;

const LONGEST_POLL: Duration = Duration::from_millis(100);
/// The length of one skipped poll. The queued records last far longer.
const SKIP: Duration = Duration::from_millis(5);
/// If polls were skipped for this long, the bound is likely to last, and the partitions are paused. They are not paused
/// sooner, because a pause drops the records that were fetched ahead.
const PAUSE_AFTER: Duration = Duration::from_millis(500);
const BATCH: usize = 256;

impl<H: Handler> Poller<H> {
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
            self.take_commands();
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
                self.ends.empty_since = None;
                // It does not wait for the next command, because then every lane would wake this thread for every
                // event.
                std::thread::sleep(wait.min(SKIP));
                continue;
            }
            self.apply_pauses();
            self.batch(if self.pauses.resting { wait.min(SHORT_POLL) } else { wait })?;
        }
    }

    /// Skips polls while a bound is reached. If that lasts, it pauses all partitions and continues to poll.
    fn flow(&mut self, now: Instant) -> Flow {
        if self.handler.may_poll() == Flow::Poll {
            (self.pauses.skipping_since, self.pauses.resting) = (None, false);
            return Flow::Poll;
        }
        let since = *self.pauses.skipping_since.get_or_insert(now);
        self.pauses.resting |= now - since >= PAUSE_AFTER;
        if self.pauses.resting { Flow::Poll } else { Flow::Skip }
    }

    pub(super) fn take_commands(&mut self) {
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
            if consumer.context().has_events() || (!self.pauses.resting && self.handler.may_poll() == Flow::Skip) {
                break;
            }
        }
        if received || self.pauses.resting {
            self.ends.empty_since = None;
        } else {
            self.ends.empty_since.get_or_insert_with(Instant::now);
        }
        if received {
            self.handler.flush();
        }
        Ok(())
    }

    /// Registers a record before anything is decided about it.
    fn receive(&mut self, message: &BorrowedMessage<'_>, now_ms: i64) -> bool {
        let generation = self.current.get(message.topic()).and_then(|t| t.get(&message.partition()));
        let Some(owned) = generation.and_then(|g| self.partitions.get_mut(g)) else { return false };
        // A record of a partition that is no longer read, or not yet, is read again from the committed position.
        if !matches!(owned.state, State::Reading) || owned.assignment.is_leaving() {
            return false;
        }
        let work = Arc::new(H::Work::received(now_ms));
        let Some(seq) = owned.tracker.receive(message.offset(), work.clone()) else {
            self.counts.repeats += 1;
            if let Some(not_logged) = self.commits.repeats.allow(Instant::now()) {
                let Assignment { topic, partition, .. } = &*owned.assignment;
                tracing::warn!(
                    kafka.topic = %topic, kafka.partition = partition, kafka.offset = message.offset(), not_logged,
                    "an offset came twice in one assignment: the second one is passed over"
                );
            }
            return false;
        };
        if self.settings.window.is_some_and(|most| owned.tracker.span() >= most) && !owned.window_full {
            owned.window_full = true;
            self.pauses.seen = None;
        }
        owned.epochs.read(message.offset(), native::record_epoch(message));
        let record = message::record(message, owned.assignment.topic.clone());
        owned.last_steady_ms = Some(work.steady_of(record.timestamp_ms.unwrap_or(now_ms)));
        let ack = AckHandle::new(owned.assignment.clone(), work, seq, self.queries.sender.clone());
        self.handler.received(record, ack);
        true
    }

    fn take(&mut self, command: Command<H::Work>) {
        match command {
            Command::Done { generation, seq, end } => self.done(generation, seq, end),
            Command::Found(found) => self.found(found),
            // The answer to an earlier client may be about an earlier topic of the same name.
            Command::Identified(number, ids) if number == self.queries.client_number => {
                self.ids.running = false;
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

    /// Handles an ack handle that was completed. If its assignment is gone, it is ignored: another member reads that
    /// record now.
    fn done(&mut self, generation: u64, seq: u64, end: <H::Work as Work>::End) {
        let Some(owned) = self.partitions.get_mut(&generation) else { return };
        if H::Work::is_over(end) {
            if let Some(work) = owned.tracker.finish(seq) {
                self.handler.completed(&work, end);
            }
        } else {
            owned.given_back += 1;
            // Nobody holds the record any more, so it has to be read again to reach its end.
            self.turn(generation, Next::Reread);
        }
    }

    fn keep(&mut self, now: Instant) {
        if now >= self.next_store {
            self.store();
            self.next_store = now + STORE_EVERY;
        }
        self.survey(now);
        self.identify(now);
        self.look_at_ends(now);
        self.look_at_windows(now);
        if now >= self.next_view {
            self.judge_commits(now);
            self.changed();
        }
    }

    /// Refreshes the status at once, because something happened.
    pub(super) fn changed(&mut self) {
        self.next_view = Instant::now() + VIEW_EVERY;
        self.refresh_view();
    }
}

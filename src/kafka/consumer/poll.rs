//! The loop of the polling thread. It waits for nothing but records and ack handles.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::consumer::Consumer as _;
use rdkafka::message::BorrowedMessage;

use super::ack_handle::AckHandle;
use super::drains::{FLUSH_WITHIN, StopStep};
use super::handler::{Flow, Handler};
use super::message;
use super::options::ConsumerFailed;
use super::poller::Poller;
use super::work::Work;
use crate::clock::now_ms;
use crate::kafka::native;

const LONGEST_POLL: Duration = Duration::from_millis(100);
/// The longest poll while partitions drain or everything is paused, because ack handles must not wait for a long poll
/// to end.
const SHORT_POLL: Duration = Duration::from_millis(10);
/// The length of one skipped poll. The queued records last far longer.
const SKIP: Duration = Duration::from_millis(5);
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
            tracing::error!(consumer = %self.client.name, %error, "consumer ends");
        }
        self.client.leave_for_good();
        result
    }

    fn turns(&mut self) -> Result<(), ConsumerFailed> {
        loop {
            self.take_commands();
            while let Some(event) = self.client.next_event() {
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
            if self.pauses.flow(self.handler.may_poll(), now) == Flow::Skip {
                self.checks.ends.busy();
                // It does not wait for the next command, because then every lane would wake this thread for every
                // event.
                std::thread::sleep(wait.min(SKIP));
                continue;
            }
            self.apply_pauses();
            self.batch(if self.pauses.is_resting() { wait.min(SHORT_POLL) } else { wait })?;
        }
    }

    fn batch(&mut self, wait: Duration) -> Result<(), ConsumerFailed> {
        let consumer = self.client.consumer.clone();
        let now_ms = now_ms();
        let (mut timeout, mut received) = (wait, false);
        for _ in 0..BATCH {
            match consumer.poll(timeout) {
                None => break,
                Some(Ok(message)) => received |= self.receive(&message, now_ms),
                Some(Err(error)) => self.checks.surveys.suspicious |= self.client.poll_error(&error)?,
            }
            timeout = Duration::ZERO;
            if consumer.context().has_events() || (!self.pauses.is_resting() && self.handler.may_poll() == Flow::Skip) {
                break;
            }
        }
        if received || self.pauses.is_resting() {
            self.checks.ends.busy();
        } else {
            self.checks.ends.idle();
        }
        if received {
            self.handler.flush();
        }
        Ok(())
    }

    /// Registers a record before anything is decided about it.
    fn receive(&mut self, message: &BorrowedMessage<'_>, now_ms: i64) -> bool {
        let Some(owned) = self.partitions.reading_mut(message.topic(), message.partition()) else { return false };
        let work = Arc::new(H::Work::received(now_ms));
        let epoch = native::record_epoch(message);
        let Some(seq) = owned.progress.receive(message.offset(), epoch, work.clone()) else {
            let assignment = owned.assignment.clone();
            self.partitions.repeated(&assignment, message.offset());
            return false;
        };
        let filled = self.windows.fill(owned);
        let record = message::record(message, owned.assignment.topic.clone());
        owned.progress.set_last_steady_ms(work.steady_of(record.timestamp_ms.unwrap_or(now_ms)));
        let ack = AckHandle::new(owned.assignment.clone(), work, seq, self.client.queries.sender.clone());
        self.partitions.pauses_changed |= filled;
        self.handler.received(record, ack);
        true
    }

    fn keep(&mut self, now: Instant) {
        if self.commits.is_due(now) {
            self.store();
        }
        if !self.drains.is_stopping() {
            self.checks.ask(now, &mut self.partitions, &self.client);
        }
        self.windows.look(now, &mut self.partitions, &mut self.handler);
        if self.snapshots.is_due(now) {
            self.commits.judge(&self.partitions, &self.client.name, now);
            self.changed();
        }
    }

    /// Whether everything is drained, stored and committed, or the time limit of each step is over.
    fn has_stopped(&mut self, now: Instant) -> bool {
        let partitions = &self.partitions;
        match self.drains.step(now, || partitions.iter().any(|owned| owned.progress.pending() > 0)) {
            StopStep::Wait => false,
            StopStep::End => true,
            StopStep::Flush => {
                let busy = self.partitions.iter().map(|owned| owned.progress.pending()).sum();
                self.drains.ended(busy, &self.client.name);
                self.store();
                !self.partitions.iter().any(|owned| owned.group.unacked_since().is_some())
                    || !self.client.queries.spawn(|queries| queries.flush(FLUSH_WITHIN))
            }
        }
    }

    /// Replaces a client that was drained; the handler stays. If the consumer was asked to stop meanwhile, it gets no
    /// new client.
    fn renew(&mut self) -> Result<bool, ConsumerFailed> {
        if !self.drains.take_renewal() {
            return Ok(false);
        }
        self.client.renew()?;
        self.checks.renewed();
        Ok(true)
    }
}

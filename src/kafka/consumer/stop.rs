//! The end of a consumer: it drains, stores, commits, gives the rest back, and leaves the group.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::context::{Context, Event};
use super::handler::Handler;
use super::partition::{Partition, State};
use super::poller::{Poller, Revoked, SHORT_POLL, Stopping};

/// How long the last commit may take.
const FLUSH_WITHIN: Duration = Duration::from_secs(3);
/// How long leaving the group may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

impl<H: Handler> Poller<H> {
    pub(super) fn stop(&mut self, drain: Duration) {
        match &mut self.stopping {
            Some(stopping) => stopping.renew = false,
            None => self.begin_to_stop(drain, false),
        }
    }

    /// Stops in the same way, and starts again with a new client.
    pub(super) fn stop_to_renew(&mut self) {
        if self.stopping.is_none() {
            self.begin_to_stop(self.settings.drain, true);
        }
    }

    fn begin_to_stop(&mut self, drain: Duration, renew: bool) {
        self.stopping = Some(Stopping { deadline: Instant::now() + drain, flush: None, flushed: false, renew });
        let all: Vec<u64> = self.partitions.keys().copied().collect();
        for generation in all {
            self.leave(generation, State::Leaving);
        }
    }

    /// Whether everything is drained, stored and committed, or the time limit of each step is over.
    pub(super) fn has_stopped(&mut self, now: Instant) -> bool {
        let Some(stopping) = &mut self.stopping else { return false };
        match stopping.flush {
            Some(deadline) => stopping.flushed || now >= deadline,
            None if now < stopping.deadline && self.partitions.values().any(|p| p.pending() > 0) => false,
            None => {
                stopping.flush = Some(now + FLUSH_WITHIN);
                let busy = self.partitions.values().map(Partition::pending).sum();
                self.drain_ended(busy);
                self.store();
                !self.partitions.values().any(|p| p.unacked_since.is_some())
                    || !self.queries.spawn(|a| a.flush(FLUSH_WITHIN))
            }
        }
    }

    /// Answers the rebalances that were recorded and not answered. Without an answer the group could not be left.
    pub(super) fn answer_outstanding(&mut self) {
        while let Some(event) = self.consumer.context().next() {
            match event {
                Event::Assigned(_) => {
                    self.check(self.consumer.incremental_assign(&TopicPartitionList::new()), "assign");
                }
                Event::Revoked(list) => {
                    let generations = self.generations(&list);
                    self.revoked.push_back(Revoked { generations, deadline: Instant::now() });
                }
                Event::Lost(_) | Event::Committed(_) | Event::CommitFailed(_) => self.commit_event(event),
            }
        }
        while let Some(Revoked { generations, .. }) = self.revoked.pop_front() {
            self.let_go(&generations, true);
        }
    }

    /// Stores the positions and gives everything else back.
    pub(super) fn let_everything_go(&mut self) {
        let all: Vec<u64> = self.partitions.keys().copied().collect();
        for generation in &all {
            self.leave(*generation, State::Leaving);
        }
        for owned in self.partitions.values() {
            owned.assignment.set_gone();
        }
        self.take_commands();
        self.store();
        self.answer_outstanding();
        for generation in all {
            self.forget(generation);
        }
        self.changed();
    }

    /// Leaves the group for good.
    pub(super) fn leave_for_good(self) {
        let Self { name, consumer, queries, .. } = self;
        drop(queries);
        leave_group(&name, consumer);
    }
}

/// Dropping the client leaves the group and commits the stored positions. While the coordinator is away this may take
/// for ever; then the thread that waits for it keeps the client, and this function returns.
pub(super) fn leave_group(name: &str, consumer: Arc<BaseConsumer<Context>>) {
    consumer.context().set_closing();
    let (left, wait) = channel();
    let leave = move || {
        // Helper threads with a running query still hold the client, but not for long, because all assignments are
        // gone.
        while Arc::strong_count(&consumer) > 1 {
            std::thread::sleep(SHORT_POLL);
        }
        drop(consumer);
        let _ = left.send(());
    };
    let spawned = std::thread::Builder::new().name(format!("{name}-close")).spawn(leave);
    if spawned.is_err() || wait.recv_timeout(CLOSE_WITHIN).is_err() {
        tracing::warn!(consumer = %name, "leaving the group takes too long: not waited for");
    }
}

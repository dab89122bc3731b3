//! Partitions come and go: they are assigned, drained, given back, and taken up again.

use std::sync::Arc;
use std::time::Instant;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer as _;

use super::assignment::Assignment;
use super::begin;
use super::command::UnblockTo;
use super::context::Event;
use super::handler::Handler;
use super::partition::{Next, REREAD_AFTER, State};
use super::poller::Poller;
use super::start_decision::StartDecision;

impl<H: Handler> Poller<H> {
    pub(super) fn event(&mut self, event: Event) {
        match event {
            Event::Assigned(list) => self.assigned(list),
            Event::Revoked(list) => self.revoked(&list),
            Event::Lost(list) => {
                tracing::warn!(partitions = list.len(), "assignment lost: what is under way is read again elsewhere");
                let generations = self.partitions.generations(&list);
                self.forget(&generations);
                self.changed();
            }
            Event::Committed(list) => self.commits.committed(list, &mut self.partitions),
            Event::CommitFailed(refusal) => self.commits.refused(refusal, &mut self.client),
        }
    }

    /// Answers the rebalance at once. Each new partition is added when its position is known.
    fn assigned(&mut self, list: Vec<(String, i32)>) {
        self.client.accept_assignment();
        self.client.joined = true;
        if self.drains.is_stopping() {
            return;
        }
        let wanted: Vec<_> = list.into_iter().map(|(topic, p)| self.add(&topic, p, State::Judging)).collect();
        self.client.look(wanted);
        self.changed();
    }

    fn add(&mut self, topic: &str, partition: i32, state: State) -> Arc<Assignment> {
        let assignment = self.partitions.add(topic, partition, state, &mut self.handler);
        assignment.set_unconfirmed(self.commits.stalled);
        assignment
    }

    fn revoked(&mut self, list: &[(String, i32)]) {
        let generations = self.partitions.generations(list);
        for generation in &generations {
            self.partitions.leave(*generation, State::Leaving, &mut self.handler);
        }
        tracing::info!(partitions = generations.len(), "partitions revoked: draining");
        self.drains.revoke(generations);
    }

    /// Starts the partitions that are due, and gives back those that are drained.
    pub(super) fn advance(&mut self, now: Instant) {
        while let Some(revoked) = self.drains.next_revoked() {
            let busy = self.partitions.pending(&revoked.generations);
            let lost = self.client.consumer.assignment_lost();
            if busy > 0 && now < revoked.deadline && !lost {
                break;
            }
            let generations = revoked.generations.clone();
            tracing::info!(partitions = generations.len(), unfinished = busy, lost, "partitions handed back");
            self.drains.ended(busy, &self.client.name);
            self.let_go(&generations, !lost);
            // Only now, because what was revoked must stay answerable until it was answered.
            self.drains.pop_revoked();
            self.changed();
        }
        self.client.look_again();
        if begin::seek(&mut self.partitions, &self.client) {
            self.apply_pauses();
        }
        // The client takes any unassign as the answer to an outstanding revocation. So a partition that only turns has
        // to wait for that answer.
        for generation in self.partitions.due(now, self.drains.is_answering()) {
            self.next_step(generation);
        }
    }

    fn next_step(&mut self, generation: u64) {
        let Some(owned) = self.partitions.get_mut(generation) else { return };
        match std::mem::replace(&mut owned.state, State::Judging) {
            State::Due(_, decision) => self.judged(generation, decision),
            State::Turning(_, next) => self.take_up(generation, next),
            other => owned.state = other,
        }
    }

    /// Takes up a drained partition that stays with this member, as another assignment.
    fn take_up(&mut self, generation: u64, next: Next) {
        let Some(owned) = self.partitions.get(generation) else { return };
        let (topic, partition) = (owned.assignment.topic.clone(), owned.assignment.partition);
        let (at, busy, kept) = (owned.going_on(), owned.progress.pending(), owned.kept());
        self.let_go(&[generation], true);
        self.drains.ended(busy, &self.client.name);
        let soon = Instant::now() + REREAD_AFTER;
        let state = match (&next, at) {
            (Next::Reread, Some(begin)) => State::Due(soon, StartDecision::Start(begin)),
            (Next::Park(parked), _) => State::Due(Instant::now(), StartDecision::Park(parked.clone())),
            (Next::Reread | Next::Rewind(_) | Next::Order(_), _) => State::Judging,
        };
        let assignment = self.add(&topic, partition, state);
        if let Some(owned) = self.partitions.get_mut(assignment.generation) {
            owned.take_over(kept);
        }
        match next {
            Next::Order(to) => self.order(assignment.generation, to),
            // The committed position lies above the truncation. Only an explicit commit moves it back.
            Next::Rewind(cut) => {
                self.order(assignment.generation, UnblockTo::At(at.map_or(cut, |begin| begin.at.min(cut))))
            }
            Next::Reread if at.is_none() => self.client.look(vec![assignment]),
            Next::Reread | Next::Park(_) => {}
        }
        self.changed();
    }

    /// Gives partitions back in this order: the position of the finished records, then the partition, then the
    /// unfinished records.
    fn let_go(&mut self, generations: &[u64], store: bool) {
        self.partitions.set_gone(generations);
        // Ack handles that were completed before this moment still count.
        self.take_commands();
        if store {
            self.store();
        }
        let mut list = TopicPartitionList::new();
        for owned in generations.iter().filter_map(|g| self.partitions.get(*g)).filter(|p| p.fetching.is_in_client()) {
            list.add_partition(&owned.assignment.topic, owned.assignment.partition);
        }
        self.client.unassign(&list);
        self.forget(generations);
    }

    /// Stores the positions and gives everything back, because the consumer stops.
    pub(super) fn let_everything_go(&mut self) {
        let all = self.partitions.all();
        self.partitions.leave_all(&mut self.handler);
        self.partitions.set_gone(&all);
        self.take_commands();
        self.store();
        self.answer_outstanding();
        self.forget(&all);
        self.changed();
    }

    /// Answers the rebalances that were recorded and not answered. Without an answer the group could not be left.
    fn answer_outstanding(&mut self) {
        while let Some(event) = self.client.next_event() {
            match event {
                Event::Assigned(_) => self.client.accept_assignment(),
                Event::Revoked(list) => self.drains.revoke(self.partitions.generations(&list)),
                Event::Committed(_) | Event::CommitFailed(_) => self.event(event),
                Event::Lost(_) => {}
            }
        }
        while let Some(revoked) = self.drains.pop_revoked() {
            self.let_go(&revoked.generations, true);
        }
    }

    /// Whether partitions come or go. Then the answers about them must not wait for a long poll to end.
    pub(super) fn is_moving(&self) -> bool {
        self.drains.is_draining() || self.partitions.is_moving()
    }
}

//! Assignment and revocation: partitions come and go.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer as _;

use super::assignment::Assignment;
use super::command::UnblockTo;
use super::context::Event;
use super::handler::Handler;
use super::partition::{Next, Partition, REREAD_AFTER, State};
use super::poller::{Poller, Revoked};
use super::start_decision::StartDecision;

static GENERATION: AtomicU64 = AtomicU64::new(1);

impl<H: Handler> Poller<H> {
    pub(super) fn event(&mut self, event: Event) {
        match event {
            Event::Assigned(list) => self.assigned(list),
            Event::Revoked(list) => self.revoked(&list),
            Event::Lost(list) => {
                tracing::warn!(partitions = list.len(), "assignment lost: what is under way is read again elsewhere");
                for generation in self.generations(&list) {
                    self.forget(generation);
                }
                self.changed();
            }
            Event::Committed(_) | Event::CommitFailed(_) => self.commit_event(event),
        }
    }

    /// Adds topics to the subscription. Topics that are read already are not disturbed.
    pub(super) fn subscribe(&mut self, topics: Vec<String>) {
        self.settings.subscribe.extend(topics);
        let all: Vec<&str> = self.settings.subscribe.iter().map(String::as_str).collect();
        self.queries.subscribe.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&self.settings.subscribe);
        if self.stopping.is_none() {
            self.check(self.consumer.subscribe(&all), "subscribe");
        }
    }

    /// Answers the rebalance at once with an empty list, so that the partitions which this member keeps are read
    /// without a break. Each new partition is added when its position is known.
    fn assigned(&mut self, list: Vec<(String, i32)>) {
        self.check(self.consumer.incremental_assign(&TopicPartitionList::new()), "assign");
        self.counts.joined = true;
        if self.stopping.is_some() {
            return;
        }
        let wanted: Vec<_> = list.into_iter().map(|(topic, p)| self.add(&topic, p, State::Judging)).collect();
        self.look(wanted);
        self.changed();
    }

    fn add(&mut self, topic: &str, partition: i32, state: State) -> Arc<Assignment> {
        let generation = GENERATION.fetch_add(1, Ordering::Relaxed);
        let topic = self.current.get_key_value(topic).map_or_else(|| Arc::from(topic), |(name, _)| name.clone());
        let owned = Partition::new(Assignment::new(topic.clone(), partition, generation), state);
        let assignment = owned.assignment.clone();
        assignment.set_unconfirmed(self.commits.is_stalled());
        self.partitions.insert(generation, owned);
        self.unsettled.insert(generation);
        if let Some(older) = self.current.entry(topic).or_default().insert(partition, generation) {
            self.forget(older);
        }
        assignment
    }

    pub(super) fn look(&mut self, wanted: Vec<Arc<Assignment>>) {
        let again = wanted.clone();
        if !wanted.is_empty() && !self.queries.spawn(move |queries| queries.look(wanted)) {
            self.unasked.extend(again);
        }
    }

    pub(super) fn generations(&self, list: &[(String, i32)]) -> Vec<u64> {
        list.iter().filter_map(|(topic, p)| self.current.get(topic.as_str())?.get(p).copied()).collect()
    }

    fn revoked(&mut self, list: &[(String, i32)]) {
        let generations = self.generations(list);
        for generation in &generations {
            self.leave(*generation, State::Leaving);
        }
        tracing::info!(partitions = generations.len(), "partitions revoked: draining");
        self.revoked.push_back(Revoked { generations, deadline: Instant::now() + self.settings.drain });
    }

    /// Begins to give a partition up: no new work on its records begins, but completions still count.
    pub(super) fn leave(&mut self, generation: u64, state: State) {
        let Some(owned) = self.partitions.get_mut(&generation) else { return };
        owned.state = state;
        self.pauses.seen = None;
        if !owned.assignment.is_leaving() {
            owned.assignment.set_leaving();
            self.handler.leaving(&owned.assignment);
        }
    }

    /// Drains a partition that stays with this member, to take it up again in another way.
    pub(super) fn turn(&mut self, generation: u64, next: Next) {
        if self.partitions.get(&generation).is_some_and(|owned| !owned.assignment.is_leaving()) {
            self.leave(generation, State::Turning(Instant::now() + self.settings.drain, next));
            self.unsettled.insert(generation);
        }
    }

    /// Starts the partitions that are due, and gives back those that are drained.
    pub(super) fn advance(&mut self, now: Instant) {
        while let Some(front) = self.revoked.front() {
            let busy = self.pending(&front.generations);
            let lost = self.consumer.assignment_lost();
            if busy > 0 && now < front.deadline && !lost {
                break;
            }
            let generations = front.generations.clone();
            tracing::info!(partitions = generations.len(), unfinished = busy, lost, "partitions handed back");
            self.drain_ended(busy);
            self.let_go(&generations, !lost);
            // Only now, because what was revoked must stay answerable until it was answered.
            self.revoked.pop_front();
            self.changed();
        }
        let unasked = std::mem::take(&mut self.unasked);
        self.look(unasked);
        self.seek();
        // The client takes any unassign as the answer to an outstanding revocation. So a partition that only turns has
        // to wait for that answer.
        let answering = !self.revoked.is_empty();
        let due = |p: &Partition<H::Work>| match &p.state {
            State::Due(at, _) => now >= *at,
            State::Turning(deadline, _) => !answering && (p.pending() == 0 || now >= *deadline),
            _ => false,
        };
        let partitions = &self.partitions;
        self.unsettled.retain(|g| partitions.get(g).is_some_and(Partition::is_unsettled));
        let due: Vec<u64> = self.unsettled.iter().filter(|g| partitions.get(g).is_some_and(due)).copied().collect();
        for generation in due {
            self.next_step(generation);
        }
    }

    /// Counts and logs the records that somebody still works on when their partition goes. The next owner of the
    /// partition reads them again.
    pub(super) fn drain_ended(&mut self, busy: usize) {
        if busy > 0 {
            self.counts.drains_expired += 1;
            tracing::warn!(
                consumer = %self.name, unfinished = busy,
                "partitions went with work under way: it is read again, and a second send of it is declared"
            );
        }
    }

    pub(super) fn pending(&self, generations: &[u64]) -> usize {
        generations.iter().filter_map(|g| self.partitions.get(g)).map(Partition::pending).sum()
    }

    /// Whether partitions come or go. Then the answers about them must not wait for a long poll to end.
    pub(super) fn is_moving(&self) -> bool {
        self.stopping.is_some()
            || !self.revoked.is_empty()
            || self.unsettled.iter().any(|g| self.partitions.get(g).is_some_and(Partition::is_moving))
    }

    fn next_step(&mut self, generation: u64) {
        let Some(owned) = self.partitions.get_mut(&generation) else { return };
        match std::mem::replace(&mut owned.state, State::Judging) {
            State::Due(_, decision) => self.judged(generation, decision),
            State::Turning(_, next) => self.take_up(generation, next),
            other => owned.state = other,
        }
    }

    /// Takes up a drained partition that stays with this member, as another assignment.
    fn take_up(&mut self, generation: u64, next: Next) {
        let Some(owned) = self.partitions.get(&generation) else { return };
        let (topic, partition) = (owned.assignment.topic.clone(), owned.assignment.partition);
        let at = owned.going_on();
        let (committed, nudged_at, sound_at) = (owned.committed, owned.nudged_at, owned.sound_at);
        let (topic_id, remade_ms) = (owned.topic_id.clone(), owned.remade_ms);
        let busy = self.pending(&[generation]);
        self.let_go(&[generation], true);
        self.drain_ended(busy);
        let soon = Instant::now() + REREAD_AFTER;
        let state = match (&next, at) {
            (Next::Reread, Some(begin)) => State::Due(soon, StartDecision::Start(begin)),
            (Next::Park(parked), _) => State::Due(Instant::now(), StartDecision::Park(parked.clone())),
            (Next::Reread | Next::Rewind(_) | Next::Order(_), _) => State::Judging,
        };
        let assignment = self.add(&topic, partition, state);
        if let Some(owned) = self.partitions.get_mut(&assignment.generation) {
            (owned.committed, owned.nudged_at, owned.sound_at) = (committed, nudged_at, sound_at);
            (owned.topic_id, owned.remade_ms) = (topic_id, remade_ms);
        }
        match next {
            Next::Order(to) => self.order(assignment, to),
            // The committed position lies above the truncation. Only an explicit commit moves it back.
            Next::Rewind(cut) => self.order(assignment, UnblockTo::At(at.map_or(cut, |begin| begin.at.min(cut)))),
            Next::Reread if at.is_none() => self.look(vec![assignment]),
            Next::Reread | Next::Park(_) => {}
        }
        self.changed();
    }

    /// Gives partitions back in this order: the position of the finished records, then the partition, then the
    /// unfinished records.
    pub(super) fn let_go(&mut self, generations: &[u64], store: bool) {
        for owned in generations.iter().filter_map(|g| self.partitions.get(g)) {
            owned.assignment.set_gone();
        }
        // Ack handles that were completed before this moment still count.
        self.take_commands();
        if store {
            self.store();
        }
        let mut list = TopicPartitionList::new();
        for owned in generations.iter().filter_map(|g| self.partitions.get(g)).filter(|p| p.in_client) {
            list.add_partition(&owned.assignment.topic, owned.assignment.partition);
        }
        self.check(self.consumer.incremental_unassign(&list), "unassign");
        for generation in generations {
            self.forget(*generation);
        }
    }

    /// Drops a partition's state. Its unfinished records count as given back.
    pub(super) fn forget(&mut self, generation: u64) {
        let Some(owned) = self.partitions.remove(&generation) else { return };
        let Assignment { topic, partition, .. } = &*owned.assignment;
        if !owned.assignment.is_leaving() {
            owned.assignment.set_leaving();
            self.handler.leaving(&owned.assignment);
        }
        owned.assignment.set_gone();
        for unfinished in owned.tracker.unfinished() {
            self.handler.returned(unfinished.work);
        }
        if let Some(of_topic) = self.current.get_mut(topic)
            && of_topic.get(partition) == Some(&generation)
        {
            of_topic.remove(partition);
        }
    }

    pub(super) fn check(&mut self, result: rdkafka::error::KafkaResult<()>, what: &str) {
        if let Err(error) = result {
            tracing::error!(%error, "{what} was refused");
            self.counts.last_error = Some(format!("{what} was refused: {error}"));
        }
    }
}

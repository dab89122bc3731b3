//! The partitions that this member owns, by assignment: which of them is the present one of its name, which are about
//! to change their state, and how one leaves.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::assignment::Assignment;
use super::handler::Handler;
use super::partition::{Next, Partition, State};
use super::start_decision::{Begin, StartDecision};
use super::work::Work;
use crate::quiet::Quiet;

static GENERATION: AtomicU64 = AtomicU64::new(1);

pub(super) struct Partitions<W> {
    by_generation: HashMap<u64, Partition<W>>,
    /// The present generation of each partition. The keys are the shared copies of the topic names.
    current: HashMap<Arc<str>, HashMap<i32, u64>>,
    /// Generations that are being judged, wait for their time, or drain. Others may be among them until `due` is
    /// called.
    unsettled: HashSet<u64>,
    /// Whether a partition changed in a way that may pause or resume it. `Pauses` clears it.
    pub(super) pauses_changed: bool,
    /// Offsets that were delivered twice in one assignment.
    pub(super) repeats: u64,
    logged_repeats: Quiet,
}

impl<W> Default for Partitions<W> {
    fn default() -> Self {
        Self {
            by_generation: HashMap::new(),
            current: HashMap::new(),
            unsettled: HashSet::new(),
            pauses_changed: false,
            repeats: 0,
            logged_repeats: Quiet::default(),
        }
    }
}

impl<W> Partitions<W> {
    pub(super) fn get(&self, generation: u64) -> Option<&Partition<W>> {
        self.by_generation.get(&generation)
    }

    pub(super) fn get_mut(&mut self, generation: u64) -> Option<&mut Partition<W>> {
        self.by_generation.get_mut(&generation)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Partition<W>> {
        self.by_generation.values()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Partition<W>> {
        self.by_generation.values_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.by_generation.len()
    }

    pub(super) fn all(&self) -> Vec<u64> {
        self.by_generation.keys().copied().collect()
    }

    /// The present generation of this partition.
    pub(super) fn generation(&self, topic: &str, partition: i32) -> Option<u64> {
        self.current.get(topic)?.get(&partition).copied()
    }

    pub(super) fn generations(&self, list: &[(String, i32)]) -> Vec<u64> {
        list.iter().filter_map(|(topic, partition)| self.generation(topic, *partition)).collect()
    }

    pub(super) fn current_mut(&mut self, topic: &str, partition: i32) -> Option<&mut Partition<W>> {
        self.get_mut(self.generation(topic, partition)?)
    }

    /// The partition, if its records are taken. A record of a partition that is no longer read, or not yet, is read
    /// again from the committed position.
    pub(super) fn reading_mut(&mut self, topic: &str, partition: i32) -> Option<&mut Partition<W>> {
        let owned = self.current_mut(topic, partition)?;
        (owned.is_reading() && !owned.assignment.is_leaving()).then_some(owned)
    }

    /// Counts an offset that was delivered twice in one assignment.
    pub(super) fn repeated(&mut self, assignment: &Assignment, offset: i64) {
        self.repeats += 1;
        if let Some(not_logged) = self.logged_repeats.allow(Instant::now()) {
            let Assignment { topic, partition, .. } = assignment;
            tracing::warn!(
                kafka.topic = %topic, kafka.partition = partition, kafka.offset = offset, not_logged,
                "an offset came twice in one assignment: the second one is passed over"
            );
        }
    }

    /// The records of these partitions that somebody still works on.
    pub(super) fn pending(&self, generations: &[u64]) -> usize {
        generations.iter().filter_map(|generation| self.get(*generation)).map(|owned| owned.progress.pending()).sum()
    }

    /// Whether the state of a partition may change at any moment.
    pub(super) fn is_moving(&self) -> bool {
        self.unsettled().any(Partition::is_moving)
    }

    pub(super) fn unsettled(&self) -> impl Iterator<Item = &Partition<W>> {
        self.unsettled.iter().filter_map(|generation| self.get(*generation))
    }

    /// The partitions that start now, or have drained and are taken up again. The latter wait while a revocation is
    /// answered.
    pub(super) fn due(&mut self, now: Instant, answering: bool) -> Vec<u64> {
        let partitions = &self.by_generation;
        self.unsettled.retain(|generation| partitions.get(generation).is_some_and(Partition::is_unsettled));
        let due = |owned: &Partition<W>| match &owned.state {
            State::Due(at, _) => now >= *at,
            State::Turning(deadline, _) => !answering && (owned.progress.pending() == 0 || now >= *deadline),
            _ => false,
        };
        self.unsettled().filter(|owned| due(owned)).map(|owned| owned.assignment.generation).collect()
    }

    /// The client reads the partition from here on.
    pub(super) fn begin(&mut self, generation: u64, begin: Begin) {
        if let Some(owned) = self.by_generation.get_mut(&generation) {
            owned.begin(begin);
            self.unsettled.insert(generation);
        }
    }

    /// Takes this decision again at that time.
    pub(super) fn defer(&mut self, generation: u64, until: Instant, decision: StartDecision) {
        if let Some(owned) = self.by_generation.get_mut(&generation) {
            owned.state = State::Due(until, decision);
            self.unsettled.insert(generation);
        }
    }

    /// Marks these partitions as given back. The code that works on their records asks [`Assignment::is_gone`].
    pub(super) fn set_gone(&self, generations: &[u64]) {
        for owned in generations.iter().filter_map(|generation| self.get(*generation)) {
            owned.assignment.set_gone();
        }
    }
}

impl<W: Work> Partitions<W> {
    /// Adds a partition as a new assignment. If it has an older one, that one is forgotten.
    pub(super) fn add<H: Handler<Work = W>>(
        &mut self,
        topic: &str,
        partition: i32,
        state: State,
        handler: &mut H,
    ) -> Arc<Assignment> {
        let generation = GENERATION.fetch_add(1, Ordering::Relaxed);
        let topic = self.current.get_key_value(topic).map_or_else(|| Arc::from(topic), |(name, _)| name.clone());
        let owned = Partition::new(Assignment::new(topic.clone(), partition, generation), state);
        let assignment = owned.assignment.clone();
        self.by_generation.insert(generation, owned);
        self.unsettled.insert(generation);
        if let Some(older) = self.current.entry(topic).or_default().insert(partition, generation) {
            self.forget(older, handler);
        }
        assignment
    }

    /// Ends the work on a record. If its assignment is gone, this is ignored: another member reads that record now.
    /// Returns `true` if nobody holds the record any more, so that it has to be read again to reach its end.
    pub(super) fn finish<H: Handler<Work = W>>(
        &mut self,
        generation: u64,
        seq: u64,
        end: W::End,
        handler: &mut H,
    ) -> bool {
        let Some(owned) = self.get_mut(generation) else { return false };
        if !W::is_over(end) {
            owned.progress.give_back();
            return true;
        }
        if let Some(work) = owned.progress.finish(seq) {
            handler.completed(&work, end);
        }
        false
    }

    /// Begins to give a partition up: no new work on its records begins, but completions still count.
    pub(super) fn leave<H: Handler<Work = W>>(&mut self, generation: u64, state: State, handler: &mut H) {
        let Some(owned) = self.by_generation.get_mut(&generation) else { return };
        owned.state = state;
        self.pauses_changed = true;
        announce(&owned.assignment, handler);
    }

    pub(super) fn leave_all<H: Handler<Work = W>>(&mut self, handler: &mut H) {
        for generation in self.all() {
            self.leave(generation, State::Leaving, handler);
        }
    }

    /// Drains a partition that stays with this member, to take it up again in another way.
    pub(super) fn turn<H: Handler<Work = W>>(
        &mut self,
        generation: u64,
        next: Next,
        deadline: Instant,
        handler: &mut H,
    ) {
        if self.get(generation).is_some_and(|owned| !owned.assignment.is_leaving()) {
            self.leave(generation, State::Turning(deadline, next), handler);
            self.unsettled.insert(generation);
        }
    }

    /// Drops a partition's state. Its unfinished records count as given back.
    pub(super) fn forget<H: Handler<Work = W>>(&mut self, generation: u64, handler: &mut H) {
        let Some(owned) = self.by_generation.remove(&generation) else { return };
        let Assignment { topic, partition, .. } = &*owned.assignment;
        announce(&owned.assignment, handler);
        owned.assignment.set_gone();
        for unfinished in owned.progress.unfinished_records() {
            handler.returned(unfinished.work);
        }
        if let Some(of_topic) = self.current.get_mut(topic)
            && of_topic.get(partition) == Some(&generation)
        {
            of_topic.remove(partition);
        }
    }
}

/// Announces to the handler, once, that the assignment is about to leave.
fn announce<H: Handler>(assignment: &Assignment, handler: &mut H) {
    if !assignment.is_leaving() {
        assignment.set_leaving();
        handler.leaving(assignment);
    }
}

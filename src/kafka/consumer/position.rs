//! Positions and pauses: which positions are stored, which the broker confirmed, and which it has.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::assignment::Assignment;
use super::context::Event;
use super::handler::Handler;
use super::options::ConsumerFailed;
use super::partition::{Next, Partition, State};
use super::poller::Poller;
use super::start_decision::{Parked, Subject, Surveyed};
use super::work::Work;
use crate::kafka::native;
use crate::kafka::offsets::NextOffset;

pub(super) const STORE_EVERY: Duration = Duration::from_millis(100);
/// The client does not know the end of a partition that it does not fetch, so the broker is asked.
const SURVEY_EVERY: Duration = Duration::from_secs(5);
/// Commits can fail silently, so the broker's positions are compared with the stored ones.
const FULL_SURVEY_EVERY: Duration = Duration::from_secs(30);
/// A commit that is not confirmed within this time is asked about.
const CONFIRM_WITHIN: Duration = Duration::from_secs(10);

impl<H: Handler> Poller<H> {
    /// Stops sending this consumer's records, or lets it continue.
    pub(super) fn judge_commits(&mut self, now: Instant) {
        let waiting_since = self.partitions.values().filter_map(|owned| owned.unacked_since).min();
        let unconfirmed = self.commits.unconfirmed(waiting_since, now);
        self.counts.unconfirmed_for = unconfirmed;
        let stalled = unconfirmed.is_some();
        if stalled || self.commits.stalled {
            // This happens each time, because partitions come and go meanwhile.
            self.partitions.values().for_each(|owned| owned.assignment.set_unconfirmed(stalled));
        }
        if stalled != self.commits.stalled {
            self.commits.stalled = stalled;
            match unconfirmed {
                Some(time) => tracing::error!(
                    consumer = %self.name, seconds = time.as_secs(),
                    "the broker confirms no commit: nothing more is sent, since another member may have these partitions by \
                     now; look for the group's coordinator"
                ),
                None => tracing::info!(consumer = %self.name, "commits are confirmed again: sending goes on"),
            }
        }
    }

    /// Stores the frontiers that moved. It stores the next offset, uses the call for a list, and reads the error of
    /// every element. The client commits the stored positions.
    pub(super) fn store(&mut self) {
        let mut list = TopicPartitionList::new();
        let mut stored: Vec<(u64, NextOffset)> = Vec::new();
        for (generation, owned) in &self.partitions {
            let Some(next) = owned.to_store() else { continue };
            match put(&mut list, owned, next) {
                Ok(()) => stored.push((*generation, next)),
                Err(error) => tracing::error!(%error, "a position cannot be stored"),
            }
        }
        if stored.is_empty() {
            return;
        }
        // The result says little: it is Ok even if elements of the list were refused. The elements tell which.
        if let Err(error) = self.consumer.store_offsets(&list) {
            self.counts.last_error = Some(error.to_string());
        }
        let now = Instant::now();
        for (generation, next) in stored {
            let Some(owned) = self.partitions.get_mut(&generation) else { continue };
            let element = list.find_partition(&owned.assignment.topic, owned.assignment.partition);
            match element.map_or(Ok(()), |e| e.error()) {
                Ok(()) => {
                    owned.stored = Some(next);
                    owned.epochs.forget_below(next.get());
                    owned.unacked_since.get_or_insert(now);
                }
                Err(error) => {
                    let assignment = &owned.assignment;
                    tracing::warn!(
                        kafka.topic = %assignment.topic, kafka.partition = assignment.partition, %error,
                        "position refused: the partition is no longer ours"
                    );
                    self.counts.commit_errors += 1;
                    self.counts.last_error = Some(error.to_string());
                    self.forget(generation);
                }
            }
        }
    }

    /// Handles positions that the broker confirmed or refused.
    pub(super) fn commit_event(&mut self, event: Event) {
        match event {
            Event::Committed(list) => {
                self.commits.confirmed(Instant::now());
                for (topic, partition, next) in list {
                    let generation = self.current.get(topic.as_str()).and_then(|t| t.get(&partition));
                    if let Some(owned) = generation.and_then(|g| self.partitions.get_mut(g)) {
                        owned.confirmed(next);
                    }
                }
            }
            Event::CommitFailed(refusal) => {
                // A topic that may not be committed must not stop all the others: the answer shows that the group still
                // knows this member.
                if refusal.of_topic {
                    self.commits.confirmed(Instant::now());
                }
                self.commit_failed(refusal.why);
            }
            Event::Assigned(_) | Event::Revoked(_) | Event::Lost(_) => {}
        }
    }

    fn commit_failed(&mut self, text: String) {
        self.counts.commit_errors += 1;
        // A commit that fails is tried again each second, so its log lines are limited.
        if let Some(not_logged) = self.commits.refusals.allow(Instant::now()) {
            tracing::warn!(consumer = %self.name, error = %text, not_logged, "commit refused");
        }
        self.counts.last_error = Some(text);
    }

    /// Tells the client which partitions to pause; only changes are sent. Inside the client a pause survives a
    /// revocation, so each assignment begins with an explicit pause or resume.
    pub(super) fn apply_pauses(&mut self) {
        let follow = self.handler.pauses().map(|pauses| (pauses, self.pauses.resting));
        if follow.is_some() && follow == self.pauses.seen {
            return;
        }
        self.pauses.seen = follow;
        let (mut pause, mut resume) = (TopicPartitionList::new(), TopicPartitionList::new());
        let mut told: Vec<(u64, bool)> = Vec::new();
        // A partition that is still being compared with the log is paused or resumed once it is read.
        let told_of = self.partitions.iter().filter(|(_, p)| p.in_client && !matches!(p.state, State::Seeking(_)));
        for (generation, owned) in told_of {
            let assignment = &owned.assignment;
            let want = self.pauses.resting
                || assignment.is_leaving()
                || owned.window_full
                || self.handler.pause_wanted(&assignment.topic, assignment.partition);
            if owned.paused != Some(want) {
                let list = if want { &mut pause } else { &mut resume };
                list.add_partition(&assignment.topic, assignment.partition);
                told.push((*generation, want));
            }
        }
        if told.is_empty() {
            return;
        }
        for (list, result) in [(&pause, self.consumer.pause(&pause)), (&resume, self.consumer.resume(&resume))] {
            if let (false, Err(error)) = (list.count() == 0, result) {
                tracing::warn!(%error, "pause or resume was refused");
                self.pauses.seen = None;
                return;
            }
        }
        for (generation, want) in told {
            if let Some(owned) = self.partitions.get_mut(&generation) {
                owned.paused = Some(want);
            }
        }
    }

    /// Asks the broker, outside this thread, about partitions that the client does not fetch, and from time to time
    /// about all.
    pub(super) fn survey(&mut self, now: Instant) {
        let suspicious = self.surveys.suspicious && now >= self.surveys.next_suspicion;
        let full = suspicious || now >= self.surveys.next_full;
        if self.surveys.running || self.stopping.is_some() || !(full || now >= self.surveys.next) {
            return;
        }
        self.surveys.next = now + SURVEY_EVERY;
        if full {
            self.surveys.next_full = now + FULL_SURVEY_EVERY;
        }
        if suspicious {
            (self.surveys.suspicious, self.surveys.next_suspicion) = (false, now + SURVEY_EVERY);
        }
        let subject = |owned: &Partition<H::Work>| {
            let reading = matches!(owned.state, State::Reading);
            // The client may not know the end of a partition that has delivered nothing yet.
            let unknown = owned.high.is_none() && owned.tracker.last_received().is_none();
            let unread =
                matches!(owned.state, State::Parked(_)) || (reading && (owned.paused == Some(true) || unknown));
            (unread || (full && reading)).then(|| Subject {
                assignment: owned.assignment.clone(),
                suspect: owned.position().filter(|_| suspicious && reading),
            })
        };
        let subjects: Vec<Subject> = self.partitions.values().filter_map(subject).collect();
        if !subjects.is_empty() {
            self.surveys.running = self.queries.spawn(move |queries| queries.survey(&subjects, full));
            self.surveys.suspicious |= suspicious && !self.surveys.running;
        }
    }

    pub(super) fn surveyed(&mut self, surveyed: Vec<Surveyed>) {
        self.surveys.running = false;
        let mut doubted = Vec::new();
        for answer in surveyed {
            let Some(owned) = self.partitions.get_mut(&answer.generation) else { continue };
            let Some((low, high)) = answer.ends else {
                // A suspicion stays until there is an answer.
                self.surveys.suspicious |= answer.suspect.is_some();
                continue;
            };
            owned.high = Some(high);
            if let State::Parked(parked) = &mut owned.state {
                (parked.low, parked.high) = (low, high);
            }
            let overdue = owned.unacked_since.is_some_and(|at| at.elapsed() > CONFIRM_WITHIN);
            match answer.committed {
                Some(committed) if owned.committed.is_none_or(|known| committed > known) => {
                    self.commits.seen(owned, committed, Instant::now());
                }
                // The broker was asked and has nothing new, so the commits do not arrive.
                Some(_) if overdue => {
                    let text = format!("commits of {} do not arrive", owned.assignment.topic);
                    self.commit_failed(text);
                }
                _ => {}
            }
            let Some(owned) = self.partitions.get_mut(&answer.generation) else { continue };
            if owned.is_stuck(Instant::now()) {
                owned.nudged_at = owned.position();
                let Assignment { topic, partition, .. } = &*owned.assignment;
                tracing::error!(kafka.topic = %topic, kafka.partition = partition, "nothing comes, though there is more");
                self.turn(answer.generation, Next::Reread);
            } else if let Some(suspect) = answer.suspect
                && !self.judge_suspect(answer.generation, suspect, low, high)
            {
                doubted.push(answer.generation);
            }
        }
        self.doubt_all(&doubted);
        self.changed();
    }

    /// Handles an error that the client returns in place of a record.
    pub(super) fn poll_error(&mut self, error: &KafkaError) -> Result<(), ConsumerFailed> {
        match error {
            KafkaError::MessageConsumptionFatal(code) => {
                let detail = self.consumer.context().take_error().unwrap_or_default();
                return Err(ConsumerFailed(format!("{code}: {detail}")));
            }
            KafkaError::PartitionEOF(_) => return Ok(()),
            KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset) => self.surveys.suspicious = true,
            _ => {}
        }
        let text = self.consumer.context().take_error().unwrap_or_else(|| error.to_string());
        if self.counts.last_error.as_deref() != Some(&text) {
            tracing::warn!(consumer = %self.name, error = %text, "consumer complains");
        }
        self.counts.last_error = Some(text);
        Ok(())
    }

    /// Decides whether this is the partition that the client stopped reading because its position is out of range.
    /// `suspect` was read before the query, so it is compared with the high mark; the present position is compared with
    /// the low mark. Returns `true` if it is.
    fn judge_suspect(&mut self, generation: u64, suspect: i64, low: i64, high: i64) -> bool {
        let Some(owned) = self.partitions.get(&generation) else { return true };
        let position = owned.position().unwrap_or(suspect);
        let why = if suspect > high {
            "the position lies beyond the end"
        } else if position < low {
            "the position was deleted by retention"
        } else {
            return false;
        };
        let committed = owned.stored.map(NextOffset::get).or(owned.committed).or(Some(position));
        self.turn(generation, Next::Park(Parked { why, committed, low, high }));
        true
    }
}

/// Adds a position to the list, with the data that ties it to this log: the epoch of the record before it, and the id
/// of its topic.
fn put<W: Work>(list: &mut TopicPartitionList, owned: &Partition<W>, next: NextOffset) -> KafkaResult<()> {
    let Assignment { topic, partition, .. } = &*owned.assignment;
    let mut element = list.add_partition(topic, *partition);
    element.set_offset(Offset::Offset(next.get()))?;
    if let Some(id) = &owned.topic_id {
        element.set_metadata(id.note());
    }
    if let Some(epoch) = owned.epochs.before(next.get()) {
        native::set_leader_epoch(list, topic, *partition, epoch);
    }
    Ok(())
}

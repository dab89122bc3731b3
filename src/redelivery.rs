//! The loop on retry tiers and parking topics: a record of a tier is due at a given time, a parked record when its lane
//! opens.
//!
//! It runs on the polling thread of its consumer. Each partition has a buffer that keeps its waiting records in order.
//! A full buffer pauses its partition but never stops the polling.

mod pace;
mod parked;
mod partition_buffer;
mod release;
mod remainder;
mod rollout;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use crate::admit::accounting::Accounting;
use crate::admit::backpressure::Backpressure;
use crate::admit::examine::Examiner;
use crate::delivery::progress::{AckHandle, End, Open, Stage};
use crate::delivery::{Delivery, Subject, TopicKind};
use crate::kafka::consumer::{Assignment, Flow, Handler};
use crate::kafka::matching::WaitingNames;
use crate::kafka::record::Record;
use crate::lane::handle::known::Known;
use crate::lane::handle::lanes::Lanes;
use crate::lane::handle::occupancy::ASIDE_RELEASED;
use crate::metrics::Metrics;
use crate::redis::health::Health;
use crate::settle::give_back;

use pace::Pace;
use parked::{Alarm, overdue_ms, rest};
use partition_buffer::{Buffered, PartitionBuffer};
use remainder::Remainders;

/// The most bytes in one buffer.
const BUFFER_BYTES: usize = 1024 * 1024;
/// The most bytes in all buffers. They are divided evenly, so that no buffer can keep another partition from being
/// read.
const ALL_BYTES: usize = 16 * 1024 * 1024;
/// The most records on their way to Kafka, as dead letters or to parking, and their bytes.
const LEAVING: Load = Load { records: 2_000, bytes: ALL_BYTES };
// The records that parking topics refuse are always fewer than this bound, so they cannot stop the polling.
const _: () = assert!(ASIDE_RELEASED.0 * 2 <= LEAVING.records && ASIDE_RELEASED.1 * 2 <= LEAVING.bytes);
/// How often the loop checks buffers whose lanes did not take a due record: a lane may have opened.
const GLANCE: Duration = Duration::from_millis(50);

type Place = (Arc<str>, i32);

/// Handles the records of retry tiers and parking topics.
pub struct Waiting {
    examiner: Examiner,
    lanes: Arc<Lanes>,
    accounting: Accounting,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    parked_prefix: String,
    retry_prefix: String,
    given_back: Receiver<Box<Delivery>>,
    buffers: HashMap<Place, PartitionBuffer>,
    /// Buffers with a record that is not due yet, by the time when the first of them is due.
    due: BTreeSet<(Instant, Place)>,
    /// Buffers with a due record that its lane did not take.
    blocked: HashSet<Place>,
    /// For each lane, its pace with the records of the tiers, as far as it was given any.
    paces: Vec<Pace>,
    next_glance: Instant,
    /// Changes whenever a buffer changes its mind about pausing its partition.
    pauses: u64,
    /// A partition left, so the lanes have to check what they hold of it.
    left: bool,
    backpressure: Backpressure,
    alarm: Alarm,
    /// The events that gray releases do not send yet.
    remainders: Remainders,
    /// Records that were read and are not finished.
    open: Load,
    /// The open records that are in buffers.
    in_buffers: Load,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Load {
    records: usize,
    bytes: usize,
}

impl Load {
    fn add(&mut self, records: usize, bytes: usize) {
        self.records += records;
        self.bytes += bytes;
    }

    fn sub(&mut self, records: usize, bytes: usize) {
        *self = self.without(Load { records, bytes });
    }

    /// The rest without `other`. Other threads change the counts, so they may overlap for a moment.
    fn without(self, other: Load) -> Load {
        Load { records: self.records.saturating_sub(other.records), bytes: self.bytes.saturating_sub(other.bytes) }
    }
}

impl Waiting {
    /// Builds the loop. The process has one. `given_back` returns the parked records that a closing lane gives back.
    pub fn new(
        examiner: Examiner,
        lanes: Arc<Lanes>,
        metrics: Arc<Metrics>,
        health: Arc<Health>,
        (retry_prefix, parked_prefix): (String, String),
        given_back: Receiver<Box<Delivery>>,
        known: Arc<Known>,
    ) -> Self {
        let now = Instant::now();
        Self {
            examiner,
            paces: Vec::new(),
            lanes,
            accounting: Accounting::new(metrics.clone()),
            metrics,
            health,
            remainders: Remainders::new(WaitingNames::new(&retry_prefix, &parked_prefix), now),
            parked_prefix: format!("{parked_prefix}."),
            retry_prefix: format!("{retry_prefix}."),
            given_back,
            buffers: HashMap::new(),
            due: BTreeSet::new(),
            blocked: HashSet::new(),
            next_glance: now,
            pauses: 0,
            left: false,
            backpressure: Backpressure::new(known),
            alarm: Alarm::default(),
            open: Load::default(),
            in_buffers: Load::default(),
        }
    }

    /// The records that left their buffer and are not finished.
    fn released(&self) -> Load {
        self.open.without(self.in_buffers)
    }

    /// The records that are on their way to Kafka.
    fn on_its_way(&self) -> Load {
        let (records, bytes) = self.lanes.released();
        self.released().without(Load { records, bytes })
    }

    fn topic_kind_of(&self, topic: &str) -> TopicKind {
        if topic.starts_with(&self.parked_prefix) { TopicKind::Parked } else { TopicKind::Tier }
    }

    fn show(&self) {
        let Load { records, bytes } = self.released();
        self.metrics.released_events.set(records as i64);
        self.metrics.released_bytes.set(bytes as i64);
    }

    fn budget(&self) -> usize {
        BUFFER_BYTES.min(ALL_BYTES / self.buffers.len().max(1))
    }

    fn admit(&mut self, delivery: Box<Delivery>, due: Instant) {
        if delivery.ack.assignment().is_leaving() {
            return give_back(delivery);
        }
        let place = (delivery.record.topic.clone(), delivery.record.partition);
        self.in_buffers.add(1, delivery.record.size());
        let buffers = self.buffers.len();
        let buffer = self.buffers.entry(place.clone()).or_default();
        let (overdue_ms, not_before) = (overdue_ms(&delivery), rest(&delivery).map(|rest| Instant::now() + rest));
        if let Some(sooner) = buffer.admit(Buffered { delivery, due, overdue_ms, not_before }) {
            if let Some(later) = buffer.next.replace(sooner) {
                self.due.remove(&(later, place.clone()));
            }
            self.due.insert((sooner, place.clone()));
        }
        self.judge_fill(&place, buffers);
    }

    /// A new buffer makes the share of each buffer smaller. Otherwise only this buffer has changed.
    fn judge_fill(&mut self, place: &Place, buffers_before: usize) {
        let budget = self.budget();
        let mut changed = 0;
        if buffers_before != self.buffers.len() {
            changed = self.buffers.values_mut().map(|buffer| u64::from(buffer.judge_fill(budget))).sum();
        } else if let Some(buffer) = self.buffers.get_mut(place) {
            changed = u64::from(buffer.judge_fill(budget));
        }
        self.pauses += changed;
    }

    /// How long a record of a tier still waits, in ms: until the time in its header, but never longer than 1.1 × the
    /// tier's delay.
    fn wait_ms(&self, delivery: &Delivery, now_ms: i64) -> i64 {
        let Some(name) = delivery.record.topic.strip_prefix(&self.retry_prefix) else { return 0 };
        let Some(delay) = crate::units::parse_duration(name) else { return 0 };
        let delay = delay.as_millis() as i64;
        let record_time = || delivery.record.timestamp_ms.unwrap_or(now_ms);
        let wanted = delivery.envelope.due_ms.unwrap_or_else(|| record_time() + delay);
        (wanted - now_ms).clamp(0, delay + delay / 10)
    }
}

impl Handler for Waiting {
    type Work = Open;

    fn received(&mut self, record: Record, ack: AckHandle) {
        let (now, now_ms) = (Instant::now(), self.health.clock.now_ms());
        let Some((record, ack)) = self.rest(record, ack, now_ms) else { return };
        let topic_kind = self.topic_kind_of(&record.topic);
        let delivery = self.examiner.examine(record, topic_kind, ack, now_ms);
        self.accounting.received(&delivery);
        self.open.add(1, delivery.record.size());
        let Subject::Ready(ready) = &delivery.subject else { return self.lanes.end(delivery) };
        if topic_kind == TopicKind::Tier {
            self.backpressure.seen(&delivery.record.topic, delivery.record.partition, ready.lane);
        }
        let wait_ms = if topic_kind == TopicKind::Tier { self.wait_ms(&delivery, now_ms) } else { 0 };
        let open = delivery.ack.open();
        open.set_stage(if topic_kind == TopicKind::Tier { Stage::Waiting } else { Stage::Holding });
        if topic_kind == TopicKind::Tier {
            open.set_next_try_ms(now_ms + wait_ms);
        }
        self.admit(delivery, now + Duration::from_millis(wait_ms.unsigned_abs()));
    }

    fn flush(&mut self) {
        self.release();
        self.show();
    }

    fn completed(&mut self, open: &Open, end: End) {
        if open.info.get().is_none() {
            // It rested in a remainder, and was never received.
            return;
        }
        let bytes = self.accounting.completed(open, end);
        self.open.sub(1, bytes);
    }

    fn returned(&mut self, open: &Open) {
        self.completed(open, End::Returned);
    }

    fn leaving(&mut self, assignment: &Assignment) {
        self.backpressure.left(&assignment.topic, assignment.partition);
        let place = (assignment.topic.clone(), assignment.partition);
        self.remainders.leaves(&place);
        self.empty(&place).into_iter().for_each(give_back);
        // The loop tells the lanes once in its next turn, for all partitions that leave together, because the message
        // goes to every lane.
        self.left = true;
        self.pauses += 1;
    }

    fn may_poll(&mut self) -> Flow {
        // A record that is neither in a buffer nor counted by a lane is on its way to Kafka. A slow platform cannot
        // make such records pile up.
        let leaving = self.on_its_way();
        let full = leaving.records >= LEAVING.records || leaving.bytes >= LEAVING.bytes;
        if full { Flow::Skip } else { Flow::Poll }
    }

    fn pauses(&self) -> Option<u64> {
        Some(self.pauses)
    }

    fn pause_wanted(&self, topic: &str, partition: i32) -> bool {
        // The key is seldom built: the consumer asks only after `pauses` has changed.
        let place = (Arc::from(topic), partition);
        self.remainders.rests(&place) || self.buffers.get(&place).is_some_and(|r| r.full)
    }

    fn tick(&mut self, now: Instant) -> Option<Duration> {
        while let Ok(delivery) = self.given_back.try_recv() {
            self.admit(delivery, now);
        }
        if std::mem::take(&mut self.left) {
            self.lanes.touch_all();
        }
        self.alarm.look(&self.buffers, &self.lanes, &self.metrics, now);
        self.look_at_remainders(now);
        self.release();
        self.show();
        let glance = (!self.blocked.is_empty()).then_some(self.next_glance);
        let next = self.due.first().map(|(at, _)| *at).into_iter().chain(glance).min();
        next.map(|at| at.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)))
    }
}

#[cfg(test)]
mod tests;

//! The loop on the input topics: receive, examine, queue into a lane, finish.
//!
//! Runs on its consumer's polling thread and never waits. Back-pressure is not polling for a moment, then pausing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::kafka::consumer::{Assignment, End, Flow, Handler, Open, Ticket};
use crate::kafka::record::Record;
use crate::metrics::Metrics;
use crate::pipeline::config::Intake as Config;
use crate::pipeline::delivery::{Delivery, Subject, Visit};
use crate::pipeline::gate::Gate;
use crate::pipeline::handle::Lanes;
use crate::pipeline::shared::now_ms;
use crate::redis::health::Health;
use crate::tally::Tally;
use crate::traffic::Traffic;

/// After so long without a poll the consumer pauses; then it resumes at a lower mark, since a pause drops what was
/// prefetched.
const PAUSED_AFTER: Duration = Duration::from_millis(500);

/// So many records for one lane go to it at once: a wake for each would cost more, and with many it would start late and
/// look full meanwhile.
const HAND_OVER: usize = 16;

/// What becomes of records of the input topics.
pub struct Intake {
    gate: Gate,
    lanes: Arc<Lanes>,
    tally: Tally,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    bounds: Config,
    in_flight: usize,
    bytes: usize,
    traffic: Traffic,
    /// Per lane, what this batch of polls brought.
    #[expect(clippy::vec_box, reason = "a delivery moves as one pointer from the gate to its end")]
    arrived: Vec<Vec<Box<Delivery>>>,
    /// Topics whose only lanes are full, with the lane that is.
    full: HashMap<Arc<str>, usize>,
    /// Since when nothing is taken.
    stopped: Option<Instant>,
}

impl Intake {
    /// One for the process.
    pub fn new(gate: Gate, lanes: Arc<Lanes>, metrics: Arc<Metrics>, health: Arc<Health>, bounds: Config) -> Self {
        Self {
            gate,
            arrived: lanes.iter().map(|_| Vec::new()).collect(),
            lanes,
            tally: Tally::new(metrics.clone()),
            metrics,
            health,
            bounds,
            in_flight: 0,
            bytes: 0,
            traffic: Traffic::default(),
            full: HashMap::new(),
            stopped: None,
        }
    }

    fn route(&mut self, delivery: Box<Delivery>) {
        let Subject::Ready(ready) = &delivery.subject else { return self.lanes.end(delivery) };
        let index = ready.index;
        let lane = self.lanes.get(index);
        self.traffic.seen(&delivery.record.topic, delivery.record.partition, index);
        if !lane.is_full(Visit::Input) || !lane.is_open() {
            return self.enqueue(index, delivery);
        }
        // Full. Beside others that flow its arrivals park; alone it holds its topic back.
        let held = self.health.trouble().is_some();
        let topic = delivery.record.topic.clone();
        if !held && self.traffic.others_flow(&topic, lane.index, Visit::Input, &self.lanes) {
            lane.park(delivery);
        } else {
            self.full.insert(topic, lane.index);
            self.enqueue(index, delivery);
        }
    }

    fn enqueue(&mut self, index: usize, delivery: Box<Delivery>) {
        self.lanes.get(index).enqueued(&delivery);
        let arrived = &mut self.arrived[index];
        arrived.push(delivery);
        if arrived.len() >= HAND_OVER {
            self.lanes.get(index).deliver(std::mem::take(arrived));
        }
    }

    /// Forgets lanes that have room again, or do not stand alone any more: at 7/8 while nothing was paused, at 1/4
    /// after a pause. A lane that hangs must not keep its topic from one that flows again.
    fn look_at_full_lanes(&mut self) {
        if self.full.is_empty() {
            return;
        }
        // Beside other topics a full one is paused at once.
        let beside = self.full.len() < self.traffic.topics().count();
        let paused = beside || self.stopped.is_some_and(|s| s.elapsed() >= PAUSED_AFTER);
        let (part, whole) = if paused { (1, 4) } else { (7, 8) };
        let (lanes, traffic) = (&self.lanes, &self.traffic);
        let held = self.health.trouble().is_some();
        self.full.retain(|topic, lane| {
            let lane = lanes.get(*lane);
            let alone = held || !traffic.others_below(topic, lane.index, Visit::Input, (part, whole), lanes);
            lane.is_open() && lane.is_above(Visit::Input, part, whole) && alone
        });
    }

    fn is_at_bound(&self) -> bool {
        let Config { max_in_flight, max_in_flight_bytes, .. } = self.bounds;
        let (part, whole) = match self.stopped {
            None => (1, 1),
            Some(since) if since.elapsed() >= PAUSED_AFTER => (1, 2),
            Some(_) => (7, 8),
        };
        self.in_flight >= (max_in_flight * part / whole).max(1)
            || self.bytes >= (max_in_flight_bytes / whole * part).max(1)
    }

    fn show(&self) {
        self.metrics.in_flight_events.set(self.in_flight as i64);
        self.metrics.in_flight_bytes.set(self.bytes as i64);
    }
}

impl Handler for Intake {
    fn received(&mut self, record: Record, ticket: Ticket) {
        let delivery = self.gate.examine(record, Visit::Input, ticket, now_ms());
        self.tally.received(&delivery);
        self.in_flight += 1;
        self.bytes += delivery.record.size();
        self.route(delivery);
    }

    fn flush(&mut self) {
        for (lane, arrived) in self.lanes.iter().zip(&mut self.arrived) {
            if !arrived.is_empty() {
                lane.deliver(std::mem::take(arrived));
            }
        }
        self.show();
    }

    fn completed(&mut self, open: &Open, end: End) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(self.tally.completed(open, end));
        self.show();
    }

    fn returned(&mut self, open: &Open) {
        self.completed(open, End::Returned);
    }

    fn leaving(&mut self, assignment: &Assignment) {
        if self.traffic.left(&assignment.topic, assignment.partition) {
            self.full.remove(&assignment.topic);
        }
        self.lanes.touch_all();
    }

    fn gate(&mut self) -> Flow {
        self.look_at_full_lanes();
        let all_full = !self.full.is_empty() && self.traffic.topics().all(|t| self.full.contains_key(t));
        if all_full || self.is_at_bound() {
            self.stopped.get_or_insert_with(Instant::now);
            return Flow::Skip;
        }
        self.stopped = None;
        Flow::Poll
    }

    fn pause_wanted(&self, topic: &str, _partition: i32) -> bool {
        // A topic alone pauses only where another one still flows; else `gate` holds everything back more cheaply.
        self.full.contains_key(topic)
    }

    fn tick(&mut self, _now: Instant) -> Option<Duration> {
        // A full lane empties without a message to this thread.
        (!self.full.is_empty()).then_some(Duration::from_millis(20))
    }
}

#[cfg(test)]
mod tests;

//! The loop on the input topics: receive, examine, queue into a lane, finish.
//!
//! It runs on the polling thread of its consumer and never waits. For back-pressure it stops polling for a moment, and
//! then pauses the partitions.

mod arrived;
mod brake;
mod catch_up;
mod pressure;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::account::Intake as Config;
use crate::admit::accounting::Accounting;
use crate::admit::backpressure::Backpressure;
use crate::admit::examine::Examiner;
use crate::delivery::progress::{AckHandle, End, Open};
use crate::delivery::{Delivery, Subject, TopicKind};
use crate::kafka::consumer::{Assignment, Flow, Handler};
use crate::kafka::record::Record;
use crate::lane::handle::known::Known;
use crate::lane::handle::lanes::Lanes;
use crate::metrics::Metrics;
use crate::redis::health::Health;
use crate::storm::board::Storms;

use arrived::Arrived;
use brake::Brake;
use catch_up::CatchUp;
use pressure::{Load, Pressure};

/// After this long without a poll the consumer pauses its partitions. After a pause it resumes at a lower mark, because
/// a pause drops the prefetched records.
const PAUSED_AFTER: Duration = Duration::from_millis(500);

/// The time between two checks of lanes that hold their topics back. Each check may iterate over all lanes.
const FULL_LOOK_EVERY: Duration = Duration::from_millis(2);

/// Where to send a record.
enum Way {
    /// Into its lane.
    Queue,
    /// To its parking topic.
    Park,
    /// Into its lane, and the topic is held back.
    Hold,
}

/// Handles the records of the input topics.
pub struct Intake {
    examiner: Examiner,
    lanes: Arc<Lanes>,
    accounting: Accounting,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    bounds: Config,
    load: Load,
    backpressure: Backpressure,
    pressure: Pressure,
    brake: Brake,
    arrived: Arrived,
    catch_up: CatchUp,
    /// Topics that are held back because their lanes are full, each with the full lane.
    full: HashMap<Arc<str>, usize>,
    /// When those lanes are checked next.
    next_look: Instant,
    /// Since when the intake takes no records.
    stopped: Option<Instant>,
    /// A partition left, so the lanes have to check what they hold of it.
    left: bool,
}

impl Intake {
    /// Builds the intake. The process has one.
    pub fn new(
        examiner: Examiner,
        lanes: Arc<Lanes>,
        metrics: Arc<Metrics>,
        health: Arc<Health>,
        bounds: Config,
        known: Arc<Known>,
        storms: Arc<Storms>,
    ) -> Self {
        let now = Instant::now();
        Self {
            examiner,
            arrived: Arrived::default(),
            catch_up: CatchUp::new(lanes.idled()),
            pressure: Pressure::new(lanes.count(), now),
            lanes,
            accounting: Accounting::new(metrics.clone()),
            metrics,
            health,
            bounds,
            load: Load::default(),
            backpressure: Backpressure::new(known),
            brake: Brake::new(storms),
            full: HashMap::new(),
            next_look: now,
            stopped: None,
            left: false,
        }
    }

    fn route(&mut self, delivery: Box<Delivery>) {
        let Subject::Ready(ready) = &delivery.subject else { return self.lanes.end(delivery) };
        let (index, topic, now) = (ready.lane, &delivery.record.topic, Instant::now());
        self.backpressure.seen_at(now, topic, delivery.record.partition, index);
        let lane = self.lanes.get(index);
        if lane.is_open() && lane.holds_back(&delivery) {
            // The lane writes it to the remainder. If that takes nothing, its topic is held back.
            if !lane.can_park(TopicKind::Input) {
                self.full.insert(topic.clone(), index);
            }
            return lane.park(delivery);
        }
        match self.way(index, topic, now) {
            Way::Queue => {}
            Way::Park => return self.lanes.get(index).park(delivery),
            Way::Hold => _ = self.full.insert(topic.clone(), index),
        }
        self.enqueue(index, delivery);
    }

    fn way(&mut self, index: usize, topic: &Arc<str>, now: Instant) -> Way {
        let lane = self.lanes.get(index);
        self.pressure.arrives(lane, now);
        if !lane.is_open() {
            // A closed lane's task parks every new record, unless the lane can be given no more to park because its
            // parking topic takes nothing.
            return if lane.can_park(TopicKind::Input) { Way::Queue } else { Way::Hold };
        }
        if self.pressure.parks(lane, self.load, &self.bounds, now) && lane.can_park(TopicKind::Input) {
            return Way::Park;
        }
        if !lane.occupancy.is_full(TopicKind::Input) {
            return Way::Queue;
        }
        // The lane is full. If other lanes of the topic can send, its new records are parked. Otherwise it holds its
        // topic back.
        let holds = self.health.trouble().is_some();
        let parks = !self.full.contains_key(topic)
            && lane.can_park(TopicKind::Input)
            && self.backpressure.others_flow(topic, index, TopicKind::Input, holds, &self.lanes);
        if parks { Way::Park } else { Way::Hold }
    }

    fn enqueue(&mut self, index: usize, delivery: Box<Delivery>) {
        let lane = self.lanes.get(index);
        lane.occupancy.enqueued(&delivery);
        self.catch_up.hands_over(delivery.ack.open(), lane.id.thread);
        if let Some(arrived) = self.arrived.push(index, delivery) {
            self.lanes.deliver([(index, arrived)]);
        }
    }

    /// Releases topics whose full lane has room again, or is no longer the only lane of its topic that matters. A lane
    /// has room at 7/8 if nothing was paused, and at 1/4 after a pause. A lane that hangs must not hold its topic back
    /// from a lane that flows again.
    fn look_at_full_lanes(&mut self, now: Instant) {
        if self.full.is_empty() || now < self.next_look {
            return;
        }
        self.next_look = now + FULL_LOOK_EVERY;
        // If there are other topics, a full topic is paused at once.
        let beside = self.full.len() < self.backpressure.topics().count();
        let paused = beside || self.stopped.is_some_and(|s| s.elapsed() >= PAUSED_AFTER);
        let (part, whole) = if paused { (1, 4) } else { (7, 8) };
        let (lanes, backpressure) = (&self.lanes, &self.backpressure);
        let holds = self.health.trouble().is_some();
        self.full.retain(|topic, lane| {
            let lane = lanes.get(*lane);
            let alone =
                || !backpressure.others_below(topic, lane.id.index, TopicKind::Input, holds, (part, whole), lanes);
            lane.is_aside_above(TopicKind::Input, part, whole)
                || (lane.is_open() && lane.occupancy.is_above(TopicKind::Input, part, whole) && alone())
        });
    }

    fn is_at_bound(&self, now: Instant) -> bool {
        let (part, whole) = match self.stopped {
            None => (1, 1),
            // If lanes that do not keep up hold the load, the lanes that do keep up wait no longer than necessary.
            Some(since) if since.elapsed() >= PAUSED_AFTER && !self.pressure.relieves(now) => (1, 2),
            Some(_) => (7, 8),
        };
        self.load.is_above(&self.bounds, part, whole)
    }

    /// Above the high mark, makes lanes that do not keep up give room to those that do.
    fn relieve(&mut self, now: Instant) {
        if self.load.is_above(&self.bounds, 1, 2) {
            let holds = self.health.trouble().is_some();
            self.pressure.look(self.load, &self.bounds, (&self.lanes, &self.backpressure), holds, now);
        }
    }

    fn show(&self) {
        self.metrics.in_flight_events.set(self.load.records as i64);
        self.metrics.in_flight_bytes.set(self.load.bytes as i64);
    }
}

impl Handler for Intake {
    type Work = Open;

    fn received(&mut self, record: Record, ack: AckHandle) {
        // Redis's time while this machine's clock is off: a call whose arguments name a time is judged here, for good.
        let now_ms = self.health.clock.now_ms();
        let delivery = self.examiner.examine(record, TopicKind::Input, ack, now_ms);
        self.accounting.received(&delivery);
        self.brake.count(&delivery, now_ms);
        self.load.records += 1;
        self.load.bytes += delivery.record.size();
        self.route(delivery);
    }

    fn flush(&mut self) {
        self.lanes.deliver(self.arrived.take());
        self.catch_up.batch_ended(self.lanes.idled());
        self.show();
    }

    fn completed(&mut self, open: &Open, end: End) {
        let bytes = self.accounting.completed(open, end);
        self.load = self.load.without(1, bytes);
        self.catch_up.completed(open);
        if let (true, Some(lane)) = (open.got_through(), open.info.get().and_then(|info| info.lane)) {
            self.pressure.got_through(lane, Instant::now());
        }
        self.show();
    }

    fn hand_off(&mut self, blockers: &[Arc<Open>]) -> usize {
        let mut lanes = BTreeSet::new();
        let mut new = 0;
        for open in blockers {
            // A record without a lane is on its way to the dead letters already.
            let Some(lane) = open.info.get().and_then(|info| info.lane) else { continue };
            new += usize::from(open.set_leaves());
            lanes.insert(lane);
        }
        // Told before, too: one that was with its platform then may be back in its queue.
        lanes.iter().for_each(|lane| self.lanes.get(*lane).changes.touch());
        new
    }

    fn returned(&mut self, open: &Open) {
        self.completed(open, End::Returned);
    }

    fn leaving(&mut self, assignment: &Assignment) {
        if self.backpressure.left(&assignment.topic, assignment.partition) {
            self.full.remove(&assignment.topic);
            self.brake.left(&assignment.topic);
        }
        // The loop tells the lanes once in its next turn, for all partitions that leave together, because the message
        // goes to every lane.
        self.left = true;
    }

    fn may_poll(&mut self) -> Flow {
        let now = Instant::now();
        self.look_at_full_lanes(now);
        self.relieve(now);
        let all_full = !self.full.is_empty() && self.backpressure.topics().all(|t| self.full.contains_key(t));
        if self.brake.ends_batch() {
            return Flow::Skip;
        }
        if all_full || self.is_at_bound(now) {
            self.stopped.get_or_insert(now);
            return Flow::Skip;
        }
        self.stopped = None;
        if self.catch_up.is_needed(self.lanes.idled(), now) { Flow::Skip } else { Flow::Poll }
    }

    fn pause_wanted(&self, topic: &str, _partition: i32) -> bool {
        // A single topic is paused only if another topic still flows. Otherwise `may_poll` holds everything back at
        // less cost.
        self.full.contains_key(topic) || self.brake.stops(topic)
    }

    fn tick(&mut self, now: Instant) -> Option<Duration> {
        if std::mem::take(&mut self.left) {
            self.lanes.touch_all();
        }
        self.brake.look();
        if self.health.trouble().is_some() {
            self.pressure.troubled(now);
        }
        // A full lane empties without a message to this thread, so the loop has to check again soon.
        (!self.full.is_empty()).then_some(Duration::from_millis(20))
    }
}

#[cfg(test)]
mod tests;

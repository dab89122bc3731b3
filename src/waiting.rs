//! The loop on retry tiers and parking topics: a tier's record is due at a time, a parked one when its lane opens.
//!
//! Runs on its consumer's polling thread. Each partition has a room that keeps what is not due, in order; a full room
//! pauses its partition, never the polling.

mod parked;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use crate::kafka::consumer::{Assignment, End, Flow, Handler, Open, Stage, Ticket};
use crate::kafka::record::Record;
use crate::metrics::Metrics;
use crate::pipeline::delivery::{Delivery, Subject, Visit};
use crate::pipeline::gate::Gate;
use crate::pipeline::handle::Lanes;
use crate::pipeline::shared::now_ms;
use crate::redis::health::Health;
use crate::tally::Tally;
use crate::traffic::{Known, Traffic};

use parked::{Alarm, is_overdue};

/// A room pauses its partition at this many records and resumes it at [`LOW_MARK`].
const HIGH_MARK: usize = 500;
const LOW_MARK: usize = 100;
/// Bytes of one room at most.
const ROOM_BYTES: usize = 1024 * 1024;
/// Bytes of all rooms, divided evenly, so that none can keep another from being read.
const ALL_BYTES: usize = 16 * 1024 * 1024;
/// Records on their way to Kafka at most, dead letters and parking, and their bytes.
const LEAVING: Fill = Fill { records: 2_000, bytes: ALL_BYTES };
/// How often rooms are looked at though nothing is due: a lane may have opened.
const GLANCE: Duration = Duration::from_millis(50);

/// What becomes of records of tiers and parking topics.
pub struct Waiting {
    gate: Gate,
    lanes: Arc<Lanes>,
    tally: Tally,
    health: Arc<Health>,
    parked_prefix: String,
    retry_prefix: String,
    held: Receiver<Box<Delivery>>,
    rooms: HashMap<(Arc<str>, i32), Room>,
    traffic: Traffic,
    alarm: Alarm,
    /// Records read and not finished.
    open: Fill,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Fill {
    records: usize,
    bytes: usize,
}

impl Fill {
    fn add(&mut self, records: usize, bytes: usize) {
        self.records += records;
        self.bytes += bytes;
    }

    /// What is left without `other`; counts that are moved on other threads may overlap for a moment.
    fn without(self, other: Fill) -> Fill {
        Fill { records: self.records.saturating_sub(other.records), bytes: self.bytes.saturating_sub(other.bytes) }
    }
}

#[derive(Default)]
struct Room {
    waiting: VecDeque<Guest>,
    bytes: usize,
    full: bool,
}

struct Guest {
    delivery: Box<Delivery>,
    /// Not the wall clock's time: a clock that is set back holds nobody up.
    due: Instant,
}

impl Room {
    fn admit(&mut self, guest: Guest) {
        self.bytes += guest.delivery.record.size();
        // Held ones come back from their lane in any order; the oldest stands first.
        let offset = guest.delivery.record.offset;
        let place = self.waiting.iter().rposition(|g| g.delivery.record.offset < offset).map_or(0, |p| p + 1);
        self.waiting.insert(place, guest);
    }

    fn judge_fill(&mut self, budget: usize) {
        let (records, bytes) = (self.waiting.len(), self.bytes);
        self.full = if self.full {
            records > LOW_MARK || (bytes > budget / 4 && records > 0)
        } else {
            records >= HIGH_MARK || (bytes >= budget && records > 0)
        };
    }
}

impl Waiting {
    /// One for the process; `held` brings back what a closing lane had of parking.
    pub fn new(
        gate: Gate,
        lanes: Arc<Lanes>,
        metrics: Arc<Metrics>,
        health: Arc<Health>,
        (retry_prefix, parked_prefix): (String, String),
        held: Receiver<Box<Delivery>>,
        known: Arc<Known>,
    ) -> Self {
        Self {
            gate,
            lanes,
            tally: Tally::new(metrics),
            health,
            parked_prefix: format!("{parked_prefix}."),
            retry_prefix: format!("{retry_prefix}."),
            held,
            rooms: HashMap::new(),
            traffic: Traffic::new(known),
            alarm: Alarm::default(),
            open: Fill::default(),
        }
    }

    /// What is on its way to Kafka.
    fn on_its_way(&self) -> Fill {
        let mut elsewhere = Fill::default();
        for room in self.rooms.values() {
            elsewhere.add(room.waiting.len(), room.bytes);
        }
        for lane in self.lanes.iter() {
            for fill in [&lane.released, &lane.walking] {
                elsewhere.add(fill.records(), fill.bytes());
            }
        }
        self.open.without(elsewhere)
    }

    fn budget(&self) -> usize {
        ROOM_BYTES.min(ALL_BYTES / self.rooms.len().max(1))
    }

    fn admit(&mut self, delivery: Box<Delivery>, due: Instant) {
        if delivery.ticket.assignment().is_leaving() {
            return delivery.ticket.complete(End::Returned);
        }
        let place = (delivery.record.topic.clone(), delivery.record.partition);
        let room = self.rooms.entry(place).or_default();
        room.admit(Guest { delivery, due });
        let budget = self.budget();
        for room in self.rooms.values_mut() {
            room.judge_fill(budget);
        }
    }

    /// How long a tier's record still waits, ms: until what its header says, never longer than 1.1 × the tier's delay.
    fn wait_ms(&self, delivery: &Delivery, now_ms: i64) -> i64 {
        let Some(name) = delivery.record.topic.strip_prefix(&self.retry_prefix) else { return 0 };
        let Some(delay) = crate::config::parse_duration(name) else { return 0 };
        let delay = delay.as_millis() as i64;
        let record_time = || delivery.record.timestamp_ms.unwrap_or(now_ms);
        let wanted = delivery.envelope.due_ms.unwrap_or_else(|| record_time() + delay);
        (wanted - now_ms).clamp(0, delay + delay / 10)
    }

    /// Lets go what can go. Returns when the next one is due.
    fn release(&mut self) -> Option<Instant> {
        let (now, now_ms) = (Instant::now(), now_ms());
        let mut next = None;
        let held = self.health.trouble().is_some();
        let budget = self.budget();
        for ((topic, _), room) in &mut self.rooms {
            let mut kept = VecDeque::with_capacity(room.waiting.len());
            let any_due = room.waiting.iter().any(|g| g.due <= now);
            if !any_due {
                next = earliest(next, room.waiting.iter().map(|g| g.due).min());
                continue;
            }
            for mut guest in room.waiting.drain(..) {
                let size = guest.delivery.record.size();
                let Subject::Ready(ready) = &guest.delivery.subject else {
                    room.bytes -= size;
                    self.lanes.end(guest.delivery);
                    continue;
                };
                let lane = self.lanes.get(ready.index);
                let visit = guest.delivery.visit;
                let go = guest.due <= now
                    && match visit {
                        Visit::Parked => {
                            (lane.is_open() || is_overdue(&guest.delivery, now_ms)) && !lane.is_full(visit)
                        }
                        // A closed lane parks it; a full one parks it beside others that flow.
                        _ => {
                            (lane.is_open() && !lane.is_full(visit))
                                || (lane.can_park(visit)
                                    && (!lane.is_open()
                                        || self.traffic.others_flow(topic, lane.index, visit, held, &self.lanes)))
                        }
                    };
                if !go {
                    if guest.due > now {
                        next = earliest(next, Some(guest.due));
                    }
                    kept.push_back(guest);
                    continue;
                }
                room.bytes -= size;
                if visit == Visit::Parked {
                    // It leaves parking: a new spell of retrying.
                    guest.delivery.envelope.retry_since_ms = Some(now_ms);
                }
                if visit == Visit::Tier && lane.is_open() && lane.is_full(visit) {
                    lane.park(guest.delivery);
                } else {
                    lane.enqueued(&guest.delivery);
                    lane.deliver(vec![guest.delivery]);
                }
            }
            room.waiting = kept;
            room.judge_fill(budget);
        }
        next
    }
}

fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

impl Handler for Waiting {
    fn received(&mut self, record: Record, ticket: Ticket) {
        let (now, now_ms) = (Instant::now(), now_ms());
        let visit = if record.topic.starts_with(&self.parked_prefix) { Visit::Parked } else { Visit::Tier };
        let delivery = self.gate.examine(record, visit, ticket, now_ms);
        self.tally.received(&delivery);
        self.open.add(1, delivery.record.size());
        let Subject::Ready(ready) = &delivery.subject else { return self.lanes.end(delivery) };
        if visit == Visit::Tier {
            self.traffic.seen(&delivery.record.topic, delivery.record.partition, ready.index);
        }
        let wait_ms = if visit == Visit::Tier { self.wait_ms(&delivery, now_ms) } else { 0 };
        let open = delivery.ticket.open();
        open.set_stage(if visit == Visit::Tier { Stage::Waiting } else { Stage::Held });
        if visit == Visit::Tier {
            open.set_next_try_ms(now_ms + wait_ms);
        }
        self.admit(delivery, now + Duration::from_millis(wait_ms.unsigned_abs()));
    }

    fn flush(&mut self) {
        self.release();
    }

    fn completed(&mut self, open: &Open, end: End) {
        let bytes = self.tally.completed(open, end);
        self.open = self.open.without(Fill { records: 1, bytes });
    }

    fn returned(&mut self, open: &Open) {
        self.completed(open, End::Returned);
    }

    fn leaving(&mut self, assignment: &Assignment) {
        self.traffic.left(&assignment.topic, assignment.partition);
        let place = (assignment.topic.clone(), assignment.partition);
        if let Some(room) = self.rooms.remove(&place) {
            for guest in room.waiting {
                guest.delivery.ticket.complete(End::Returned);
            }
        }
        self.lanes.touch_all();
    }

    fn gate(&mut self) -> Flow {
        // What is neither in a room nor counted by a lane is on its way to Kafka: no platform can make it pile up.
        let leaving = self.on_its_way();
        let full = leaving.records >= LEAVING.records || leaving.bytes >= LEAVING.bytes;
        if full { Flow::Skip } else { Flow::Poll }
    }

    fn pause_wanted(&self, topic: &str, partition: i32) -> bool {
        // The key is built seldom: once per partition and turn of a consumer that mostly waits.
        self.rooms.get(&(Arc::from(topic), partition)).is_some_and(|r| r.full)
    }

    fn tick(&mut self, now: Instant) -> Option<Duration> {
        while let Ok(delivery) = self.held.try_recv() {
            self.admit(delivery, now);
        }
        self.alarm.look(&self.rooms, &self.lanes, now);
        let next = self.release();
        let waiting = self.rooms.values().any(|r| !r.waiting.is_empty());
        let due = next.map(|due| due.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)));
        waiting.then(|| due.unwrap_or(GLANCE).min(GLANCE))
    }
}

#[cfg(test)]
mod tests;

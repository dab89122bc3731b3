//! Releases the records that can leave their buffers: those that are due and whose lane takes them again.

use std::collections::VecDeque;
use std::time::Instant;

use crate::delivery::{Delivery, TopicKind};
use crate::redelivery::pace::Pace;
use crate::redelivery::partition_buffer::{Block, Buffered, PartitionBuffer};
use crate::redelivery::remainder::age_of;
use crate::redelivery::{GLANCE, Place, Waiting};

/// The state of one check of a buffer.
struct Look<'a> {
    topic: &'a str,
    now: Instant,
    now_ms: i64,
    /// Whether the worker's own Redis is away.
    holds: bool,
    /// Whether any lane of the topic flows. `None` until it was needed.
    flows: Option<bool>,
    /// Whether the buffer is full, so that its records keep others from being read.
    full: bool,
}

/// What to do with a waiting record.
enum Fate {
    /// It is not due before this.
    Wait(Instant),
    /// The lane does not take it.
    Blocked(usize),
    /// It leaves the buffer.
    Leave(Way),
}

/// Where a record goes when it leaves the buffer.
enum Way {
    /// Into its lane.
    Lane(usize),
    /// To its parking topic, because its lane is closed, or is full while other lanes flow; or to the remainder of its
    /// account.
    Parking(usize),
    /// To its end, because it has no lane, or its account was removed from the configuration.
    End,
}

impl Waiting {
    /// Checks the buffers in which a record is due, and from time to time those that wait for a lane. It checks no
    /// others.
    pub(crate) fn release(&mut self) {
        let now = Instant::now();
        let mut places = Vec::new();
        while let Some((at, _)) = self.due.first()
            && *at <= now
            && let Some((_, place)) = self.due.pop_first()
        {
            if let Some(buffer) = self.buffers.get_mut(&place) {
                buffer.next = None;
            }
            places.push(place);
        }
        if now >= self.next_glance {
            self.next_glance = now + GLANCE;
            let now_ms = self.health.clock.now_ms();
            let moves =
                |place: &&Place| self.buffers.get(*place).is_some_and(|buffer| self.may_move(place, buffer, now_ms));
            let moved: Vec<Place> = self.blocked.iter().filter(moves).cloned().collect();
            places.extend(moved);
        }
        // A retry has a due time and a parked record has none, so room in a lane goes to tiers first. A remainder comes
        // last, the partition with the oldest event first.
        places.sort_by_cached_key(|place| {
            let first = self.buffers.get(place).filter(|_| self.remainders.is(&place.0)).map(|b| b.waiting.front());
            let age = first.map(|first| first.map_or(i64::MAX, |buffered| age_of(&buffered.delivery)));
            (self.topic_kind_of(&place.0) == TopicKind::Parked, age)
        });
        for place in places {
            self.look_at(place, now);
        }
    }

    /// Whether a check of a buffer that waits for lanes would release anything.
    fn may_move(&self, (topic, _): &Place, buffer: &PartitionBuffer, now_ms: i64) -> bool {
        let topic_kind = self.topic_kind_of(topic);
        let overdue = buffer.overdue_ms.is_some_and(|at| at <= now_ms);
        if topic_kind == TopicKind::Parked && overdue {
            return true;
        }
        let flows = topic_kind == TopicKind::Tier && self.any_flows(topic, self.health.trouble().is_some());
        buffer.blocked_on.iter().any(|Block { lane: index, bytes }| {
            let lane = self.lanes.get(*index);
            if lane.is_removed() {
                return true;
            }
            let (open, takes) = (lane.is_open(), self.lanes.takes(*index, topic_kind, *bytes));
            let parks = !open || (flows && (buffer.full || lane.occupancy.is_full(topic_kind)));
            ((open || overdue || (topic_kind == TopicKind::Parked && lane.offers_probe(topic_kind))) && takes)
                || (topic_kind == TopicKind::Tier && parks && lane.can_park(topic_kind))
        })
    }

    fn any_flows(&self, topic: &str, holds: bool) -> bool {
        self.backpressure.others_flow(topic, usize::MAX, TopicKind::Tier, holds, &self.lanes)
    }

    fn look_at(&mut self, place: Place, now: Instant) {
        let Some(mut buffer) = self.buffers.get_mut(&place).map(std::mem::take) else { return };
        let holds = self.health.trouble().is_some();
        let mut look =
            Look { topic: &place.0, now, now_ms: self.health.clock.now_ms(), holds, flows: None, full: buffer.full };
        let waiting = std::mem::take(&mut buffer.waiting);
        let old_next = buffer.next.take();
        (buffer.blocked_on, buffer.overdue_ms) = (Vec::new(), None);
        let mut kept = VecDeque::with_capacity(waiting.len());
        for buffered in waiting {
            let fate = self.fate(&mut look, &buffered, &buffer);
            match fate {
                Fate::Wait(until) => buffer.next = buffer.next.into_iter().chain([until]).min(),
                Fate::Blocked(lane) if !buffer.is_blocked_on(lane) => {
                    buffer.blocked_on.push(Block { lane, bytes: buffered.delivery.record.size() });
                }
                Fate::Blocked(_) => {}
                Fate::Leave(way) => {
                    buffer.bytes -= buffered.delivery.record.size();
                    self.let_go(buffered, way, (look.now, look.now_ms));
                    continue;
                }
            }
            buffer.note_age(&buffered);
            kept.push_back(buffered);
        }
        buffer.waiting = kept;
        if buffer.blocked_on.is_empty() {
            self.blocked.remove(&place)
        } else {
            self.blocked.insert(place.clone())
        };
        if let Some(old) = old_next {
            self.due.remove(&(old, place.clone()));
        }
        if let Some(next) = buffer.next {
            self.due.insert((next, place.clone()));
        }
        self.pauses += u64::from(buffer.judge_fill(self.budget()));
        self.buffers.insert(place, buffer);
    }

    fn fate(&self, look: &mut Look<'_>, buffered: &Buffered, buffer: &PartitionBuffer) -> Fate {
        let Some(index) = buffered.lane().filter(|index| !self.lanes.get(*index).is_removed()) else {
            return Fate::Leave(Way::End);
        };
        if buffered.due > look.now {
            return Fate::Wait(buffered.due);
        }
        let (lane, topic_kind) = (self.lanes.get(index), buffered.delivery.topic_kind);
        let overdue = buffered.overdue_ms.is_some_and(|at| at <= look.now_ms);
        if let Some(until) = buffered.not_before.filter(|at| *at > look.now && !overdue && lane.is_open()) {
            return Fate::Wait(until);
        }
        // Records keep their order: a later record does not overtake an earlier one that its lane did not take.
        if buffer.is_blocked_on(index) && !overdue {
            return Fate::Blocked(index);
        }
        let takes = self.lanes.takes(index, topic_kind, buffered.delivery.record.size());
        let offers_probe = lane.offers_probe(topic_kind);
        // Rollout is judged once the lane is open again. A record that does not belong to the share makes way for a
        // probe.
        if !overdue && lane.holds_back(&buffered.delivery) && (lane.is_open() || offers_probe) {
            return if lane.can_park(topic_kind) { Fate::Leave(Way::Parking(index)) } else { Fate::Blocked(index) };
        }
        // A record that is too old for parking ends in its lane, even if the lane is closed.
        let tried = lane.is_open() || overdue || (topic_kind == TopicKind::Parked && offers_probe);
        if takes && tried {
            return Fate::Leave(Way::Lane(index));
        }
        if topic_kind == TopicKind::Parked || !lane.can_park(topic_kind) {
            return Fate::Blocked(index);
        }
        if !lane.is_open() {
            // The lane's task chooses the record that is tried.
            return Fate::Leave(if offers_probe { Way::Lane(index) } else { Way::Parking(index) });
        }
        // A retry waits for its lane if the lane has room, or has to end the record, as long as this keeps no other
        // record from being read.
        let waits = overdue || !lane.occupancy.is_full(topic_kind);
        if waits
            && (!look.full
                || self.paces.get(index).is_some_and(|pace| pace.is_quick(lane.occupancy.retries(), look.now)))
        {
            return Fate::Blocked(index);
        }
        // Otherwise it is parked, if other lanes flow.
        let (topic, holds) = (look.topic, look.holds);
        let any = *look.flows.get_or_insert_with(|| self.any_flows(topic, holds));
        let others = any
            && (lane.occupancy.is_full(topic_kind)
                || self.backpressure.others_flow(topic, index, topic_kind, holds, &self.lanes));
        if others { Fate::Leave(Way::Parking(index)) } else { Fate::Blocked(index) }
    }

    /// Takes all records of a partition out of its buffer.
    #[expect(clippy::vec_box, reason = "a delivery moves as one pointer from admission to its end")]
    pub(super) fn empty(&mut self, place: &Place) -> Vec<Box<Delivery>> {
        let Some(buffer) = self.buffers.remove(place) else { return Vec::new() };
        self.in_buffers.sub(buffer.waiting.len(), buffer.bytes);
        self.blocked.remove(place);
        if let Some(next) = buffer.next {
            self.due.remove(&(next, place.clone()));
        }
        buffer.waiting.into_iter().map(|buffered| buffered.delivery).collect()
    }

    fn let_go(&mut self, mut buffered: Buffered, way: Way, (now, now_ms): (Instant, i64)) {
        self.in_buffers.sub(1, buffered.delivery.record.size());
        match way {
            Way::Lane(lane) => {
                if buffered.delivery.topic_kind == TopicKind::Tier {
                    if self.paces.len() <= lane {
                        // Lanes may be added at any time.
                        self.paces.resize_with(lane + 1, || Pace::new(now));
                    }
                    self.paces[lane].gives(self.lanes.get(lane).occupancy.retries(), now);
                }
                if buffered.delivery.topic_kind == TopicKind::Parked {
                    // The record leaves parking, so a new period of retries begins.
                    buffered.delivery.envelope.retry_since_ms = Some(now_ms);
                }
                let lane = self.lanes.get(lane);
                if buffered.delivery.topic_kind == TopicKind::Parked && !lane.is_open() {
                    // If another record took the probe first, the lane's task holds this one back.
                    buffered.delivery.probe = lane.take_probe(TopicKind::Parked);
                }
                lane.enqueue(buffered.delivery);
            }
            Way::Parking(lane) => self.lanes.get(lane).park(buffered.delivery),
            Way::End => {
                self.examiner.judge_again(&mut buffered.delivery, now_ms);
                match buffered.delivery.lane() {
                    None => self.lanes.end(buffered.delivery),
                    // Its account has returned since.
                    Some(lane) => self.lanes.get(lane).enqueue(buffered.delivery),
                }
            }
        }
    }
}

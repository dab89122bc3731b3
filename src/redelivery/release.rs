//! Lets go what can go: what is due, and what a lane takes again.

use std::collections::VecDeque;
use std::time::Instant;

use crate::delivery::Visit;
use crate::redelivery::partition_buffer::{Block, Guest, Room};
use crate::redelivery::{GLANCE, Place, Waiting};

/// One look at a room.
struct Look<'a> {
    topic: &'a str,
    now: Instant,
    now_ms: i64,
    /// The worker's own Redis is away.
    held: bool,
    /// Whether any lane of the topic flows, once that was asked.
    flows: Option<bool>,
    /// The room is full: what waits in it keeps others from being read.
    full: bool,
}

/// What becomes of a guest.
enum Fate {
    /// It is not due.
    Wait,
    /// Its lane does not take it.
    Blocked(usize),
    /// It leaves the room.
    Leave(Way),
}

/// Where to.
enum Way {
    /// Into its lane.
    Lane(usize),
    /// To parking: its lane is closed, or full beside others that flow.
    Parking(usize),
    /// To its end: it has no lane.
    End,
}

impl Waiting {
    /// Looks at the rooms in which something is due, and now and then at those that wait for a lane; at no others.
    pub(crate) fn release(&mut self) {
        let now = Instant::now();
        let mut places = Vec::new();
        while let Some((at, _)) = self.due.first()
            && *at <= now
            && let Some((_, place)) = self.due.pop_first()
        {
            if let Some(room) = self.rooms.get_mut(&place) {
                room.next = None;
            }
            places.push(place);
        }
        if now >= self.next_glance {
            self.next_glance = now + GLANCE;
            let now_ms = self.health.clock.now_ms();
            let moves = |place: &&Place| self.rooms.get(*place).is_some_and(|room| self.may_move(place, room, now_ms));
            let moved: Vec<Place> = self.blocked.iter().filter(moves).cloned().collect();
            places.extend(moved);
        }
        // A retry has its time, a parked record has none: what room a lane has is for tiers first.
        places.sort_by_key(|place| self.visit_of(&place.0) == Visit::Parked);
        for place in places {
            self.look_at(place, now);
        }
    }

    /// Whether a look at a room that waits for lanes would find anything to do.
    fn may_move(&self, (topic, _): &Place, room: &Room, now_ms: i64) -> bool {
        let visit = self.visit_of(topic);
        let overdue = room.overdue_ms.is_some_and(|at| at <= now_ms);
        if visit == Visit::Parked && overdue {
            return true;
        }
        let flows = visit == Visit::Tier && self.any_flows(topic, self.health.trouble().is_some());
        room.blocked_on.iter().any(|Block { lane: index, bytes }| {
            let lane = self.lanes.get(*index);
            let (open, takes) = (lane.is_open(), self.lanes.takes(*index, visit, *bytes));
            let parks = !open || (flows && (room.full || lane.is_full(visit)));
            ((open || overdue || (visit == Visit::Parked && lane.offers_trial())) && takes)
                || (visit == Visit::Tier && parks && lane.can_park(visit))
        })
    }

    fn any_flows(&self, topic: &str, held: bool) -> bool {
        self.traffic.others_flow(topic, usize::MAX, Visit::Tier, held, &self.lanes)
    }

    fn look_at(&mut self, place: Place, now: Instant) {
        let Some(mut room) = self.rooms.get_mut(&place).map(std::mem::take) else { return };
        let held = self.health.trouble().is_some();
        let mut look =
            Look { topic: &place.0, now, now_ms: self.health.clock.now_ms(), held, flows: None, full: room.full };
        let waiting = std::mem::take(&mut room.waiting);
        let old_next = room.next.take();
        (room.blocked_on, room.overdue_ms) = (Vec::new(), None);
        let mut kept = VecDeque::with_capacity(waiting.len());
        for guest in waiting {
            let fate = self.fate(&mut look, &guest, &room);
            match fate {
                Fate::Wait => room.next = room.next.into_iter().chain([guest.due]).min(),
                Fate::Blocked(lane) if !room.is_blocked_on(lane) => {
                    room.blocked_on.push(Block { lane, bytes: guest.delivery.record.size() });
                }
                Fate::Blocked(_) => {}
                Fate::Leave(way) => {
                    room.bytes -= guest.delivery.record.size();
                    self.let_go(guest, way, (look.now, look.now_ms));
                    continue;
                }
            }
            room.note_age(&guest);
            kept.push_back(guest);
        }
        room.waiting = kept;
        if room.blocked_on.is_empty() {
            self.blocked.remove(&place)
        } else {
            self.blocked.insert(place.clone())
        };
        if let Some(old) = old_next {
            self.due.remove(&(old, place.clone()));
        }
        if let Some(next) = room.next {
            self.due.insert((next, place.clone()));
        }
        self.pauses += u64::from(room.judge_fill(self.budget()));
        self.rooms.insert(place, room);
    }

    fn fate(&self, look: &mut Look<'_>, guest: &Guest, room: &Room) -> Fate {
        let Some(index) = guest.lane() else { return Fate::Leave(Way::End) };
        if guest.due > look.now {
            return Fate::Wait;
        }
        let (lane, visit) = (self.lanes.get(index), guest.delivery.visit);
        let overdue = guest.overdue_ms.is_some_and(|at| at <= look.now_ms);
        // In their order: what came later does not overtake what its lane did not take.
        if room.is_blocked_on(index) && !overdue {
            return Fate::Blocked(index);
        }
        let takes = self.lanes.takes(index, visit, guest.delivery.record.size());
        // What is too old for parking ends in its lane, which may be closed.
        let tried = lane.is_open() || overdue || (visit == Visit::Parked && lane.offers_trial());
        if takes && tried {
            return Fate::Leave(Way::Lane(index));
        }
        if visit == Visit::Parked || !lane.can_park(visit) {
            return Fate::Blocked(index);
        }
        if !lane.is_open() {
            // Its task chooses the one that is tried.
            return Fate::Leave(if lane.offers_trial() { Way::Lane(index) } else { Way::Parking(index) });
        }
        // A retry waits for its lane, where that has room by itself or is to end it, for as long as nobody waits for that.
        let waits = overdue || !lane.is_full(visit);
        if waits && (!look.full || self.paces[index].is_quick(lane.retries(), look.now)) {
            return Fate::Blocked(index);
        }
        // Else it parks beside others that flow.
        let (topic, held) = (look.topic, look.held);
        let any = *look.flows.get_or_insert_with(|| self.any_flows(topic, held));
        let others = any && (lane.is_full(visit) || self.traffic.others_flow(topic, index, visit, held, &self.lanes));
        if others { Fate::Leave(Way::Parking(index)) } else { Fate::Blocked(index) }
    }

    fn let_go(&mut self, mut guest: Guest, way: Way, (now, now_ms): (Instant, i64)) {
        self.in_rooms.sub(1, guest.delivery.record.size());
        match way {
            Way::Lane(lane) => {
                if guest.delivery.visit == Visit::Tier {
                    self.paces[lane].gives(self.lanes.get(lane).retries(), now);
                }
                if guest.delivery.visit == Visit::Parked {
                    // It leaves parking: a new spell of retrying.
                    guest.delivery.envelope.retry_since_ms = Some(now_ms);
                }
                let lane = self.lanes.get(lane);
                if guest.delivery.visit == Visit::Parked && !lane.is_open() {
                    // Where another was faster it is held.
                    guest.delivery.trial = lane.take_trial();
                }
                lane.enqueued(&guest.delivery);
                lane.deliver(vec![guest.delivery]);
            }
            Way::Parking(lane) => self.lanes.get(lane).park(guest.delivery),
            Way::End => self.lanes.end(guest.delivery),
        }
    }
}

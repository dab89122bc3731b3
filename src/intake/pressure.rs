//! The high mark of the process: if lanes that do not keep up fill the process's bounds together, the fullest of them
//! park their queues, so that intake continues for the lanes that do keep up.
//!
//! Nothing here iterates over all lanes for each record. All lanes are checked every [`LOOK_EVERY`], and only above the
//! mark.

use std::time::{Duration, Instant};

use crate::account::Intake as Bounds;
use crate::admit::backpressure::Backpressure;
use crate::delivery::TopicKind;
use crate::lane::handle::LaneHandle;
use crate::lane::handle::lanes::Lanes;

/// A lane does not keep up if records wait in it and it finished none of them for this long.
pub(super) const STUCK: Duration = Duration::from_secs(3);
/// A lane does not keep up either if records waited in it without a break for this long, which is the time its cap
/// stands for, and more than a second's work waits now.
pub(super) const BEHIND: Duration = Duration::from_secs(10);
/// The time between two checks of all lanes.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A lane that had to be emptied does not count as keeping up for this long.
const EMPTIED_FOR: Duration = Duration::from_secs(10);

/// The records that were read and are not finished, and their bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

impl Load {
    /// Whether the records or the bytes are at least `part`/`whole` of their bound.
    pub(super) fn is_above(self, bounds: &Bounds, part: usize, whole: usize) -> bool {
        self.records >= (bounds.max_in_flight * part / whole).max(1)
            || self.bytes >= (bounds.max_in_flight_bytes / whole * part).max(1)
    }

    /// The load without these records and bytes.
    pub(super) fn without(self, records: usize, bytes: usize) -> Self {
        Self { records: self.records.saturating_sub(records), bytes: self.bytes.saturating_sub(bytes) }
    }
}

/// How fast each lane works, as the intake sees it.
pub(super) struct Pressure {
    paces: Vec<Pace>,
    next_look: Instant,
    /// Whether another lane could send at the last check.
    relief: bool,
    /// Until when trouble with Redis kept lanes from sending.
    troubled: Instant,
    /// When any lane had to be emptied.
    all: Emptied,
}

/// When a lane last had to be emptied, or its new records parked, to make room for others.
#[derive(Clone, Copy, Default)]
struct Emptied(Option<Instant>);

impl Emptied {
    fn lately(self, now: Instant) -> bool {
        self.0.is_some_and(|at| now.saturating_duration_since(at) < EMPTIED_FOR)
    }
}

struct Pace {
    /// Since when records wait in the queue of the lane without a break.
    waiting: Instant,
    /// When the lane last finished a record that it had waiting.
    ended: Instant,
    emptied: Emptied,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { waiting: now, ended: now, emptied: Emptied::default() }
    }
}

impl Pressure {
    pub(super) fn new(lanes: usize, now: Instant) -> Self {
        Self {
            paces: (0..lanes).map(|_| Pace::new(now)).collect(),
            next_look: now,
            relief: false,
            troubled: now,
            all: Emptied::default(),
        }
    }

    /// Called when a record arrives for this lane, before it is queued.
    pub(super) fn arrives(&mut self, lane: &LaneHandle, now: Instant) {
        if self.paces.len() <= lane.id.index {
            // Lanes may be added at any time.
            self.paces.resize_with(lane.id.index + 1, || Pace::new(now));
        }
        let pace = &mut self.paces[lane.id.index];
        // A queue that was emptied to make room says nothing about the lane's pace.
        if lane.occupancy.live.records() == 0 && !pace.emptied.lately(now) {
            pace.waiting = now;
        }
    }

    /// Called when this lane has finished a record.
    pub(super) fn got_through(&mut self, lane: usize, now: Instant) {
        if let Some(pace) = self.paces.get_mut(lane) {
            pace.ended = now;
        }
    }

    /// Called while trouble with Redis keeps lanes from sending, so that no lane is blamed for the time until now.
    pub(super) fn troubled(&mut self, now: Instant) {
        self.troubled = now;
    }

    /// Whether lanes recently had to make room for a lane that could send more records if they were read.
    pub(super) fn relieves(&self, now: Instant) -> bool {
        self.relief && self.all.lately(now)
    }

    /// Whether a new record for this lane is parked, because the lane was emptied recently and would fill again.
    pub(super) fn parks(&mut self, lane: &LaneHandle, load: Load, bounds: &Bounds, now: Instant) -> bool {
        let emptied = self.paces.get(lane.id.index).is_some_and(|pace| pace.emptied.lately(now));
        if !self.relief || !emptied || !load.is_above(bounds, 1, 2) {
            return false;
        }
        // The lane keeps a few records, so that it can go on with what it can send. All lanes together keep a quarter
        // of the bound at most.
        let share = (bounds.max_in_flight / 4 / self.paces.len()).max(1);
        let keeps = share.min((lane.account().events_per_second() as usize).max(1));
        let parks = load.is_above(bounds, 3, 4) || lane.occupancy.live.records() >= keeps;
        if parks {
            self.empty(lane.id.index, now);
        }
        parks
    }

    fn empty(&mut self, lane: usize, now: Instant) {
        let emptied = Emptied(Some(now));
        if let Some(pace) = self.paces.get_mut(lane) {
            pace.emptied = emptied;
        }
        self.all = emptied;
    }

    /// Checks all lanes, if a check is due. Above three quarters of the bounds, if some lane can send, the fullest of
    /// the lanes that do not keep up park their queues until the load is down to a half. `holds` says that Redis is
    /// away.
    pub(super) fn look(
        &mut self,
        load: Load,
        bounds: &Bounds,
        (lanes, backpressure): (&Lanes, &Backpressure),
        holds: bool,
        now: Instant,
    ) {
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK_EVERY;
        self.relief = backpressure.any(|lane| self.flows(lanes.get(lane), holds, now));
        if !self.relief || !load.is_above(bounds, 3, 4) {
            return;
        }
        let mut left = load;
        let mut slow = Vec::new();
        for lane in lanes.iter() {
            let (live, aside) = (&lane.occupancy.live, &lane.occupancy.aside.live);
            // Records that are set aside for parking leave by themselves.
            left = left.without(aside.records(), aside.bytes());
            let (records, bytes) = (live.records(), live.bytes());
            if lane.inbox.is_emptying() {
                left = left.without(records, bytes);
            } else if records > 0 && lane.can_park(TopicKind::Input) && !self.keeps_up(lane, holds, now) {
                let share = (records as f64 / bounds.max_in_flight.max(1) as f64)
                    .max(bytes as f64 / bounds.max_in_flight_bytes.max(1) as f64);
                slow.push((share, lane));
            }
        }
        slow.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        for (_, lane) in slow {
            if !left.is_above(bounds, 1, 2) {
                break;
            }
            left = left.without(lane.occupancy.live.records(), lane.occupancy.live.bytes());
            self.empty(lane.id.index, now);
            lane.inbox.park_queue();
        }
    }

    /// Whether the lane sends its records soon enough.
    fn keeps_up(&self, lane: &LaneHandle, holds: bool, now: Instant) -> bool {
        let queued = lane.occupancy.live.records();
        if queued == 0 {
            return true;
        }
        if !lane.can_send(holds) {
            return false;
        }
        // A lane that was just added has received nothing.
        let Some(pace) = self.paces.get(lane.id.index) else { return true };
        let since = pace.waiting.max(self.troubled);
        let stuck = now.saturating_duration_since(since.max(pace.ended)) >= STUCK;
        let has_long = now.saturating_duration_since(since) >= BEHIND;
        let behind = has_long && queued as f64 > lane.account().events_per_second();
        !stuck && !behind
    }

    /// Whether the lane could send new records. An account that the configuration names no longer gets none.
    fn flows(&self, lane: &LaneHandle, holds: bool, now: Instant) -> bool {
        if lane.is_removed() {
            return false;
        }
        let Some(pace) = self.paces.get(lane.id.index) else { return lane.can_send(holds) };
        let ended_since =
            pace.emptied.0.is_none_or(|at| pace.ended > at && now.saturating_duration_since(pace.ended) < STUCK);
        lane.can_send(holds) && self.keeps_up(lane, holds, now) && (ended_since || !pace.emptied.lately(now))
    }
}

#[cfg(test)]
mod tests;

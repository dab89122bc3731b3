//! The high mark of the process: where lanes that do not keep up fill its bounds together, the fullest of them park what
//! they queue, so that intake goes on for those that do.
//!
//! Nothing here walks all lanes for each record: a look is taken every [`LOOK_EVERY`], and only above the mark.

use std::time::{Duration, Instant};

use crate::account::Intake as Bounds;
use crate::admit::backpressure::Traffic;
use crate::delivery::TopicKind;
use crate::lane::handle::{LaneHandle, Lanes};

/// A lane whose records wait, and which got through with none for so long, does not keep up.
pub(super) const STUCK: Duration = Duration::from_secs(3);
/// Nor does one that had waiting records all the time for so long, which is what its cap stands for, and has more of them
/// than a second's work.
pub(super) const BEHIND: Duration = Duration::from_secs(10);
/// Between two looks at all lanes.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(50);
/// For so long after it had to be emptied a lane does not count as one that keeps up.
const EMPTIED_FOR: Duration = Duration::from_secs(10);

/// What is read and not finished, against its bounds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

impl Load {
    /// Whether either is at least `part` of `whole` of its bound.
    pub(super) fn is_above(self, bounds: &Bounds, part: usize, whole: usize) -> bool {
        self.records >= (bounds.max_in_flight * part / whole).max(1)
            || self.bytes >= (bounds.max_in_flight_bytes / whole * part).max(1)
    }

    /// What is left without these.
    pub(super) fn without(self, records: usize, bytes: usize) -> Self {
        Self { records: self.records.saturating_sub(records), bytes: self.bytes.saturating_sub(bytes) }
    }
}

/// How each lane does, as the intake sees it.
pub(super) struct Pressure {
    paces: Vec<Pace>,
    next_look: Instant,
    /// Another lane could send when that was looked at last.
    relief: bool,
    /// Until when Redis kept lanes from sending.
    troubled: Instant,
    /// When any lane had to be emptied.
    all: Emptied,
}

/// When a lane had to be emptied last, or what came for it parked, to make room for others.
#[derive(Clone, Copy, Default)]
struct Emptied(Option<Instant>);

impl Emptied {
    fn lately(self, now: Instant) -> bool {
        self.0.is_some_and(|at| now.saturating_duration_since(at) < EMPTIED_FOR)
    }
}

struct Pace {
    /// Since when records wait in its queue without a break.
    waiting: Instant,
    /// When it got through with one of them.
    ended: Instant,
    emptied: Emptied,
}

impl Pressure {
    pub(super) fn new(lanes: usize, now: Instant) -> Self {
        let pace = |_| Pace { waiting: now, ended: now, emptied: Emptied::default() };
        Self {
            paces: (0..lanes).map(pace).collect(),
            next_look: now,
            relief: false,
            troubled: now,
            all: Emptied::default(),
        }
    }

    /// A record comes for a lane and finds its queue as it is now.
    pub(super) fn arrives(&mut self, lane: &LaneHandle, now: Instant) {
        let pace = &mut self.paces[lane.index];
        // A queue that was emptied for it says nothing of its pace.
        if lane.live.records() == 0 && !pace.emptied.lately(now) {
            pace.waiting = now;
        }
    }

    /// Its lane got through with a record of this account.
    pub(super) fn got_through(&mut self, account: usize, now: Instant) {
        if let Some(pace) = self.paces.get_mut(account) {
            pace.ended = now;
        }
    }

    /// Redis keeps lanes from sending: nobody is to blame for the time until now.
    pub(super) fn troubled(&mut self, now: Instant) {
        self.troubled = now;
    }

    /// Whether lanes had to make room lately for one that could send what would be read for it.
    pub(super) fn relieves(&self, now: Instant) -> bool {
        self.relief && self.all.lately(now)
    }

    /// Whether what comes for this lane parks, since it was emptied lately and would fill again.
    pub(super) fn parks(&mut self, lane: &LaneHandle, load: Load, bounds: &Bounds, now: Instant) -> bool {
        if !self.relief || !self.paces[lane.index].emptied.lately(now) || !load.is_above(bounds, 1, 2) {
            return false;
        }
        // It keeps a little, so that it goes on with what it can send, all lanes together a quarter at most.
        let share = (bounds.max_in_flight / 4 / self.paces.len()).max(1);
        let keeps = share.min((lane.account.limits.rps as usize).max(1));
        let parks = load.is_above(bounds, 3, 4) || lane.live.records() >= keeps;
        if parks {
            self.empty(lane.index, now);
        }
        parks
    }

    fn empty(&mut self, lane: usize, now: Instant) {
        let emptied = Emptied(Some(now));
        self.paces[lane].emptied = emptied;
        self.all = emptied;
    }

    /// Looks at all lanes where it is time to. Above three quarters of the bounds the fullest of those that do not keep up
    /// park what they queue, down to a half, where another can send. `held`: Redis is away.
    pub(super) fn look(
        &mut self,
        load: Load,
        bounds: &Bounds,
        (lanes, traffic): (&Lanes, &Traffic),
        held: bool,
        now: Instant,
    ) {
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK_EVERY;
        self.relief = traffic.any(|lane| self.flows(lanes.get(lane), held, now));
        if !self.relief || !load.is_above(bounds, 3, 4) {
            return;
        }
        let mut left = load;
        let mut slow = Vec::new();
        for lane in lanes.iter() {
            // What is on its way out leaves by itself.
            left = left.without(lane.aside.records(), lane.aside.bytes());
            let (records, bytes) = (lane.live.records(), lane.live.bytes());
            if lane.is_emptying() {
                left = left.without(records, bytes);
            } else if records > 0 && lane.can_park(TopicKind::Input) && !self.keeps_up(lane, held, now) {
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
            left = left.without(lane.live.records(), lane.live.bytes());
            self.empty(lane.index, now);
            lane.park_queue();
        }
    }

    /// Whether it sends what comes for it, soon enough.
    fn keeps_up(&self, lane: &LaneHandle, held: bool, now: Instant) -> bool {
        let queued = lane.live.records();
        if queued == 0 {
            return true;
        }
        if !lane.can_send(held) {
            return false;
        }
        let pace = &self.paces[lane.index];
        let since = pace.waiting.max(self.troubled);
        let stuck = now.saturating_duration_since(since.max(pace.ended)) >= STUCK;
        let behind = now.saturating_duration_since(since) >= BEHIND && queued as f64 > lane.account.limits.rps;
        !stuck && !behind
    }

    /// Whether it could send what would come for it.
    fn flows(&self, lane: &LaneHandle, held: bool, now: Instant) -> bool {
        let pace = &self.paces[lane.index];
        let ended_since =
            pace.emptied.0.is_none_or(|at| pace.ended > at && now.saturating_duration_since(pace.ended) < STUCK);
        lane.can_send(held) && self.keeps_up(lane, held, now) && (ended_since || !pace.emptied.lately(now))
    }
}

#[cfg(test)]
mod tests;

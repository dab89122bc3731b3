//! Remembers which lanes received records from which topic lately. This decides whether a full lane parks its records
//! or holds its topic back.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::delivery::TopicKind;
use crate::lane::handle::LaneHandle;
use crate::lane::handle::known::{Known, LATELY};
use crate::lane::handle::lanes::Lanes;

/// A lane that keeps receiving records is reported to Redis again after this time.
const NOTED_FOR: Duration = Duration::from_secs(3600);

/// The last arrivals by topic and lane, for the topics that this member reads.
#[derive(Default)]
pub struct Backpressure {
    topics: HashMap<Arc<str>, Arrivals>,
    known: Arc<Known>,
}

struct Arrivals {
    last: HashMap<usize, Last>,
    /// The newest arrival of all lanes. "Lately" is measured from here: while the topic is held back nothing arrives,
    /// and a lane that flowed before must not be forgotten because of that.
    newest: Instant,
    /// Partitions that records arrived from and that have not left since.
    partitions: HashSet<i32>,
    /// The lanes that Redis knows of this topic, with the version of that answer.
    known: RefCell<(u64, Arc<[usize]>)>,
    /// A lane that was found to flow. It is checked first, because checking all lanes takes too long for each record.
    flows: Cell<usize>,
}

struct Last {
    seen: Instant,
    noted: Instant,
}

impl Backpressure {
    /// Builds it with the arrivals that all members know.
    pub fn new(known: Arc<Known>) -> Self {
        Self { known, ..Self::default() }
    }

    /// Remembers that a record of this topic arrived for this lane.
    pub fn seen(&mut self, topic: &Arc<str>, partition: i32, lane: usize) {
        self.seen_at(Instant::now(), topic, partition, lane);
    }

    /// The same as [`seen`](Self::seen), at a time that the caller has read already.
    pub fn seen_at(&mut self, now: Instant, topic: &Arc<str>, partition: i32, lane: usize) {
        if !self.topics.contains_key(topic) {
            let known = (self.known.version(), self.known.lanes(topic)).into();
            let (last, partitions, flows) = (HashMap::new(), HashSet::new(), Cell::new(lane));
            self.topics.insert(topic.clone(), Arrivals { last, newest: now, partitions, known, flows });
            self.known.want(topic);
        }
        if let Some(arrivals) = self.topics.get_mut(topic) {
            let last = arrivals.last.entry(lane).or_insert_with(|| {
                self.known.note(topic, lane);
                Last { seen: now, noted: now }
            });
            last.seen = now;
            if now.saturating_duration_since(last.noted) >= NOTED_FOR {
                last.noted = now;
                self.known.note(topic, lane);
            }
            arrivals.newest = now;
            arrivals.partitions.insert(partition);
        }
    }

    /// Remembers that a partition left this member. Returns `true` if the whole topic left with it; the topic is then
    /// forgotten.
    pub fn left(&mut self, topic: &str, partition: i32) -> bool {
        let Some(arrivals) = self.topics.get_mut(topic) else { return true };
        arrivals.partitions.remove(&partition);
        let gone = arrivals.partitions.is_empty();
        if gone {
            self.topics.remove(topic);
            self.known.forget(topic);
        }
        gone
    }

    /// The topics that records arrived from.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<str>> {
        self.topics.keys()
    }

    /// Whether another lane received records from this topic lately, is below its own cap, and can send. `holds` says
    /// that Redis is away.
    pub fn others_flow(&self, topic: &str, lane: usize, topic_kind: TopicKind, holds: bool, lanes: &Lanes) -> bool {
        self.others_below(topic, lane, topic_kind, holds, (1, 1), lanes)
    }

    /// The same as [`others_flow`](Self::others_flow), for lanes below this part of their own cap.
    pub fn others_below(
        &self,
        topic: &str,
        lane: usize,
        topic_kind: TopicKind,
        holds: bool,
        part: (usize, usize),
        lanes: &Lanes,
    ) -> bool {
        // An account that the configuration names no longer gets no new records.
        let flows = |other: &LaneHandle| {
            other.id.index != lane
                && !other.is_removed()
                && other.can_send(holds)
                && !other.occupancy.is_above(topic_kind, part.0, part.1)
        };
        self.topics.get(topic).is_some_and(|arrivals| {
            let first = arrivals.flows.get();
            let received = arrivals.last.get(&first).is_some_and(|last| arrivals.is_lately(last));
            (received && flows(lanes.get(first)))
                || arrivals.lately(&self.known, topic, |other| {
                    let found = flows(lanes.get(other));
                    if found {
                        arrivals.flows.set(other);
                    }
                    found
                })
        })
    }

    /// Whether `holds` is true of any lane that received records from any topic lately.
    pub fn any(&self, holds: impl Fn(usize) -> bool) -> bool {
        self.topics.iter().any(|(topic, arrivals)| arrivals.lately(&self.known, topic, &holds))
    }
}

impl Arrivals {
    fn is_lately(&self, last: &Last) -> bool {
        self.newest.saturating_duration_since(last.seen) < LATELY
    }

    /// Whether `holds` is true of any lane that received records lately, in this process or at another member.
    fn lately(&self, shared: &Known, topic: &str, holds: impl Fn(usize) -> bool) -> bool {
        if self.last.iter().any(|(lane, last)| self.is_lately(last) && holds(*lane)) {
            return true;
        }
        let version = shared.version();
        if self.known.borrow().0 != version {
            self.known.replace((version, shared.lanes(topic)));
        }
        self.known.borrow().1.iter().any(|lane| holds(*lane))
    }
}

#[cfg(test)]
mod tests;

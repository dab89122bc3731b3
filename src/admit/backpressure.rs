//! Which lanes received from which topic lately: decides whether a full lane parks or holds its topic back.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::delivery::TopicKind;
use crate::lane::handle::known::{Known, LATELY};
use crate::lane::handle::{LaneHandle, Lanes};

/// Redis is told again of a lane that goes on receiving.
const NOTED_FOR: Duration = Duration::from_secs(3600);

/// Last arrivals by topic and lane, of topics that this member owns.
#[derive(Default)]
pub struct Traffic {
    topics: HashMap<Arc<str>, Arrivals>,
    known: Arc<Known>,
}

struct Arrivals {
    last: HashMap<usize, Last>,
    /// The last of all. "Lately" is measured from here: while the topic is held back nothing arrives, and a lane that
    /// flowed before must not be forgotten for that.
    newest: Instant,
    /// Partitions that records came from and that have not left since.
    partitions: HashSet<i32>,
    /// What Redis said of it, and in which version.
    known: RefCell<(u64, Arc<[usize]>)>,
    /// A lane that was found to flow: asked first, since a walk over all is too long for each record.
    flows: Cell<usize>,
}

struct Last {
    seen: Instant,
    noted: Instant,
}

impl Traffic {
    /// With what all members know.
    pub fn new(known: Arc<Known>) -> Self {
        Self { known, ..Self::default() }
    }

    /// A record of this topic came for this lane.
    pub fn seen(&mut self, topic: &Arc<str>, partition: i32, lane: usize) {
        self.seen_at(Instant::now(), topic, partition, lane);
    }

    /// The same, at a time that the caller has looked up already.
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

    /// A partition leaves this member. `true`: with it the whole topic, which is forgotten.
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

    /// Topics that records came from.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<str>> {
        self.topics.keys()
    }

    /// Whether another lane received from this topic lately, is below its own cap and can send. `held`: Redis is away.
    pub fn others_flow(&self, topic: &str, lane: usize, topic_kind: TopicKind, held: bool, lanes: &Lanes) -> bool {
        self.others_below(topic, lane, topic_kind, held, (1, 1), lanes)
    }

    /// The same, below this part of its own cap.
    pub fn others_below(
        &self,
        topic: &str,
        lane: usize,
        topic_kind: TopicKind,
        held: bool,
        part: (usize, usize),
        lanes: &Lanes,
    ) -> bool {
        let flows = |other: &LaneHandle| {
            other.index != lane && other.can_send(held) && !other.is_above(topic_kind, part.0, part.1)
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

    /// Whether this holds of any lane that received from any topic lately.
    pub fn any(&self, holds: impl Fn(usize) -> bool) -> bool {
        self.topics.iter().any(|(topic, arrivals)| arrivals.lately(&self.known, topic, &holds))
    }
}

impl Arrivals {
    fn is_lately(&self, last: &Last) -> bool {
        self.newest.saturating_duration_since(last.seen) < LATELY
    }

    /// Whether this holds of any lane that received lately, here or at another member.
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

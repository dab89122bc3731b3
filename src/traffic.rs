//! Which lanes received from which topic lately: decides whether a full lane parks or holds its topic back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::pipeline::delivery::Visit;
use crate::pipeline::handle::Lanes;

/// A lane counts as one that flows for so long after its last arrival.
const LATELY: Duration = Duration::from_secs(60);

/// Last arrivals by topic and lane.
#[derive(Default)]
pub struct Traffic {
    last: HashMap<Arc<str>, HashMap<usize, Instant>>,
}

impl Traffic {
    /// A record of this topic came for this lane.
    pub fn seen(&mut self, topic: &Arc<str>, lane: usize) {
        let now = Instant::now();
        if let Some(lanes) = self.last.get_mut(topic) {
            lanes.insert(lane, now);
        } else {
            self.last.insert(topic.clone(), HashMap::from([(lane, now)]));
        }
    }

    /// Topics that records came from.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<str>> {
        self.last.keys()
    }

    /// Whether another lane received from this topic lately and is below its own cap.
    pub fn others_flow(&self, topic: &str, lane: usize, visit: Visit, lanes: &Lanes) -> bool {
        self.others_below(topic, lane, visit, (1, 1), lanes)
    }

    /// Whether another lane received from this topic lately and is below this part of its own cap.
    pub fn others_below(&self, topic: &str, lane: usize, visit: Visit, part: (usize, usize), lanes: &Lanes) -> bool {
        self.last.get(topic).is_some_and(|seen| {
            seen.iter().any(|(other, at)| {
                *other != lane && at.elapsed() < LATELY && {
                    let other = lanes.get(*other);
                    other.is_open() && !other.is_above(visit, part.0, part.1)
                }
            })
        })
    }
}

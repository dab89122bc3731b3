//! Which lanes received from which topic lately: decides whether a full lane parks or holds its topic back.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::pipeline::delivery::Visit;
use crate::pipeline::handle::Lanes;

/// A lane counts as one that flows for so long after its last arrival.
const LATELY: Duration = Duration::from_secs(60);

/// Last arrivals by topic and lane, of topics that this member owns.
#[derive(Default)]
pub struct Traffic {
    topics: HashMap<Arc<str>, Arrivals>,
}

struct Arrivals {
    last: HashMap<usize, Instant>,
    /// The last of all. "Lately" is measured from here: while the topic is held back nothing arrives, and a lane that
    /// flowed before must not be forgotten for that.
    newest: Instant,
    /// Partitions that records came from and that have not left since.
    partitions: HashSet<i32>,
}

impl Traffic {
    /// A record of this topic came for this lane.
    pub fn seen(&mut self, topic: &Arc<str>, partition: i32, lane: usize) {
        self.seen_at(Instant::now(), topic, partition, lane);
    }

    fn seen_at(&mut self, now: Instant, topic: &Arc<str>, partition: i32, lane: usize) {
        if !self.topics.contains_key(topic) {
            let new = Arrivals { last: HashMap::new(), newest: now, partitions: HashSet::new() };
            self.topics.insert(topic.clone(), new);
        }
        if let Some(arrivals) = self.topics.get_mut(topic) {
            arrivals.last.insert(lane, now);
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
        }
        gone
    }

    /// Topics that records came from.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<str>> {
        self.topics.keys()
    }

    /// Whether another lane received from this topic lately and is below its own cap.
    pub fn others_flow(&self, topic: &str, lane: usize, visit: Visit, lanes: &Lanes) -> bool {
        self.others_below(topic, lane, visit, (1, 1), lanes)
    }

    /// Whether another lane received from this topic lately and is below this part of its own cap.
    pub fn others_below(&self, topic: &str, lane: usize, visit: Visit, part: (usize, usize), lanes: &Lanes) -> bool {
        self.topics.get(topic).is_some_and(|arrivals| {
            arrivals.last.iter().any(|(other, at)| {
                *other != lane && arrivals.newest.saturating_duration_since(*at) < LATELY && {
                    let other = lanes.get(*other);
                    other.is_open() && !other.is_above(visit, part.0, part.1)
                }
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::config::{Account, Intake};
    use crate::pipeline::handle::LaneHandle;

    fn lanes() -> Lanes {
        let bounds = Intake { max_in_flight: 4, max_in_flight_bytes: 4096, drain_timeout: Duration::ZERO };
        let lane = |index, name: &str| {
            let inbox = tokio::sync::mpsc::unbounded_channel().0;
            Arc::new(LaneHandle::new(index, Arc::new(Account::stub(name)), inbox, &bounds))
        };
        Lanes::new(vec![lane(0, "a"), lane(1, "b")], Vec::new())
    }

    #[test]
    fn a_topic_whose_last_partition_has_left_is_forgotten() {
        let (mut traffic, lanes) = (Traffic::default(), lanes());
        let (one, two): (Arc<str>, Arc<str>) = ("one".into(), "two".into());
        traffic.seen(&one, 0, 0);
        traffic.seen(&one, 1, 1);
        traffic.seen(&two, 0, 0);
        assert!(!traffic.left("one", 0), "partition 1 is still here");
        assert!(traffic.others_flow("one", 0, Visit::Input, &lanes));
        assert!(traffic.left("one", 1));
        assert_eq!(traffic.topics().collect::<Vec<_>>(), [&two]);
        assert!(!traffic.others_flow("one", 0, Visit::Input, &lanes));
        assert!(traffic.left("never seen", 0));
        traffic.seen(&one, 1, 0);
        assert!(!traffic.others_flow("one", 0, Visit::Input, &lanes), "what came before it left counts no more");
    }

    #[test]
    fn while_a_topic_is_held_back_nobody_is_forgotten() {
        let (mut traffic, lanes) = (Traffic::default(), lanes());
        let topic: Arc<str> = "t".into();
        let long_ago = Instant::now().checked_sub(2 * LATELY).unwrap();
        traffic.seen_at(long_ago, &topic, 0, 1);
        traffic.seen_at(long_ago + LATELY / 2, &topic, 0, 0);
        assert!(traffic.others_flow("t", 0, Visit::Input, &lanes), "nothing came since for anybody");
        traffic.seen(&topic, 0, 0);
        assert!(
            !traffic.others_flow("t", 0, Visit::Input, &lanes),
            "the topic is read, and nothing comes for the other"
        );
    }

    #[test]
    fn only_another_lane_that_is_open_and_has_room_flows() {
        let (mut traffic, lanes) = (Traffic::default(), lanes());
        let topic: Arc<str> = "t".into();
        traffic.seen(&topic, 0, 0);
        assert!(!traffic.others_flow("t", 0, Visit::Input, &lanes), "itself");
        traffic.seen(&topic, 0, 1);
        assert!(traffic.others_flow("t", 0, Visit::Input, &lanes));
        assert!(!traffic.others_flow("u", 0, Visit::Input, &lanes), "another topic");
        lanes.get(1).halt("why");
        assert!(!traffic.others_flow("t", 0, Visit::Input, &lanes), "closed");
    }
}

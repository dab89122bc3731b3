//! An operator's order: one partition goes on where they say.

use std::sync::Arc;

use super::lookup::{Asker, Begin};
use super::part::{Next, State};
use super::poll::Poller;
use super::ticket::Assignment;
use super::{Handler, UnblockOrder, UnblockTo};

impl<H: Handler> Poller<H> {
    pub(super) fn ordered_by_operator(&mut self, order: &UnblockOrder) {
        let generation = self.current.get(order.topic.as_str()).and_then(|t| t.get(&order.partition)).copied();
        // Another member's partition.
        let Some(part) = generation.and_then(|g| self.parts.get(&g)) else { return };
        tracing::warn!(kafka.topic = %order.topic, kafka.partition = order.partition, to = ?order.to, "operator's order");
        if matches!(part.state, State::Parked(_)) {
            self.order(part.assignment.clone(), order.to);
        } else if let Some(generation) = generation {
            self.turn(generation, Next::Order(order.to));
        }
    }

    pub(super) fn order(&mut self, assignment: Arc<Assignment>, to: UnblockTo) {
        let Some(part) = self.parts.get_mut(&assignment.generation) else { return };
        let id = part.topic_id.clone();
        let work = move |asker: &Asker| asker.order(&assignment, to, id.as_ref());
        if !std::mem::replace(&mut part.ordering, true) && !self.asker.spawn(work) {
            part.ordering = false;
        }
    }

    pub(super) fn order_done(&mut self, generation: u64, result: Result<i64, String>) {
        let Some(part) = self.parts.get_mut(&generation) else { return };
        part.ordering = false;
        if part.assignment.is_leaving() {
            return;
        }
        match result {
            Ok(at) => {
                part.committed = Some(at);
                self.start(&[(generation, Begin::at(at))]);
            }
            Err(why) => {
                tracing::error!(kafka.topic = %part.assignment.topic, "the order failed: {why}");
                self.counts.last_error = Some(why);
                // A partition that was healthy before the order goes on from its committed position.
                if matches!(part.state, State::Judging) {
                    let assignment = part.assignment.clone();
                    self.look(vec![assignment]);
                }
            }
        }
        self.changed();
    }
}

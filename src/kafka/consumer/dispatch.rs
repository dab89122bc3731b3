//! Passes each command to the part that it concerns, and carries out what follows from it.

use std::time::Duration;

use super::begin;
use super::command::{Command, UnblockOrder, UnblockTo};
use super::handler::Handler;
use super::order;
use super::partition::{Next, State};
use super::poller::Poller;
use super::start_decision::{Begin, Found, Probed, Surveyed};
use crate::kafka::native::TopicIds;

impl<H: Handler> Poller<H> {
    pub(super) fn take_commands(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            self.take(command);
        }
    }

    fn take(&mut self, command: Command<H::Work>) {
        match command {
            Command::Done { generation, seq, end } => {
                if self.partitions.finish(generation, seq, end, &mut self.handler) {
                    self.turn(generation, Next::Reread);
                }
            }
            Command::Found(found) => self.found(found),
            // The answer to an earlier client may be about an earlier topic of the same name.
            Command::Identified(number, ids) if number == self.client.queries.client_number => {
                self.checks.ids.answered();
                self.compare(&ids);
            }
            Command::Identified(..) => {}
            Command::Probed(probed) => self.probed(probed),
            Command::Surveyed(surveyed) => self.surveyed(surveyed),
            Command::Subscribe(topics) => self.client.subscribe(topics, self.drains.is_stopping()),
            Command::Order(order) => self.ordered_by_operator(&order),
            Command::Ordered { generation, result } => self.order_done(generation, result),
            Command::Stop(drain) => self.stop(drain),
            Command::Flushed => self.drains.flushed(),
        }
    }

    /// Handles the decisions about partitions: each is read from its sound position, or parked.
    pub(super) fn found(&mut self, mut all: Vec<Found>) {
        all.retain(|found| {
            let owned = self.partitions.get(found.generation);
            owned.is_some_and(|owned| !owned.assignment.is_leaving() && matches!(owned.state, State::Judging))
        });
        // If a topic is another one now than the topic that this client knows, the next client reads it, and all
        // partitions are judged again.
        let name =
            |found: &Found| self.partitions.get(found.generation).map(|owned| owned.assignment.topic.to_string());
        let ids: TopicIds = all.iter().filter_map(|found| Some((name(found)?, found.topic_id.clone()))).collect();
        if self.compare(&ids) {
            return;
        }
        self.checks.ids.meet(ids);
        let starts = begin::note(all, &mut self.partitions, &mut self.checks.ids);
        self.start(&starts);
        self.changed();
    }

    /// Compares ids with those that the client knows. Returns `true` if the client is about to be replaced.
    fn compare(&mut self, ids: &TopicIds) -> bool {
        if self.drains.is_stopping() {
            return self.drains.is_renewing();
        }
        let other = self.checks.ids.compare(ids, &mut self.partitions);
        if other && self.drains.stop_to_renew() {
            self.partitions.leave_all(&mut self.handler);
        }
        other
    }

    fn probed(&mut self, probed: Vec<Probed>) {
        let turns = self.checks.probed(probed, &mut self.partitions);
        self.turn_each(turns);
    }

    pub(super) fn surveyed(&mut self, surveyed: Vec<Surveyed>) {
        let turns = self.checks.surveyed(surveyed, &mut self.partitions, &mut self.commits, &mut self.client);
        self.turn_each(turns);
    }

    fn turn_each(&mut self, turns: Vec<(u64, Next)>) {
        turns.into_iter().for_each(|(generation, next)| self.turn(generation, next));
        self.changed();
    }

    fn stop(&mut self, drain: Duration) {
        if self.drains.stop(drain) {
            self.partitions.leave_all(&mut self.handler);
        }
    }

    fn ordered_by_operator(&mut self, order: &UnblockOrder) {
        // If it has none, the partition belongs to another member.
        let Some(generation) = self.partitions.generation(&order.topic, order.partition) else { return };
        let Some(owned) = self.partitions.get(generation) else { return };
        tracing::warn!(kafka.topic = %order.topic, kafka.partition = order.partition, to = ?order.to, "operator's order");
        if matches!(owned.state, State::Parked(_)) {
            self.order(generation, order.to);
        } else {
            self.turn(generation, Next::Order(order.to));
        }
    }

    /// Asks for an order to be carried out about a partition that is not read now.
    pub(super) fn order(&mut self, generation: u64, to: UnblockTo) {
        if let Some(owned) = self.partitions.get_mut(generation) {
            order::carry_out(owned, to, &self.client.queries);
        }
    }

    fn order_done(&mut self, generation: u64, result: Result<i64, String>) {
        let Some(owned) = self.partitions.get_mut(generation) else { return };
        owned.end_order();
        if owned.assignment.is_leaving() {
            return;
        }
        match result {
            Ok(at) => {
                owned.group.set_committed(Some(at));
                self.start(&[(generation, Begin::at(at))]);
            }
            Err(why) => {
                tracing::error!(kafka.topic = %owned.assignment.topic, "the order failed: {why}");
                self.client.last_error = Some(why);
                // A partition that was healthy before the order continues from its committed position.
                if matches!(owned.state, State::Judging) {
                    let assignment = owned.assignment.clone();
                    self.client.look(vec![assignment]);
                }
            }
        }
        self.changed();
    }
}

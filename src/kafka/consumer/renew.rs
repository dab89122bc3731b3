//! Handles a topic that is deleted and created again while the worker runs: its partitions begin again, with a new
//! client.
//!
//! The ids of all topics that are read are compared every few seconds. A client of the library that has read the old
//! topic keeps the leader epochs of its partitions, and refuses every leader of the new topic whose epoch is lower. So
//! the client is drained and replaced. The new client joins the group, and each partition is judged. A partition whose
//! committed position belongs to another topic starts at its beginning. If the deletion removed that position, the
//! topic that this process last read counts instead (`queries`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::assignment::Assignment;
use super::context::connect;
use super::handler::Handler;
use super::marks::Marks;
use super::options::ConsumerFailed;
use super::poller::Poller;
use super::stop::leave_group;
use crate::clock::now_ms;
use crate::kafka::native::{TopicId, TopicIds};

/// The time between two checks of the ids.
const IDENTIFY_EVERY: Duration = Duration::from_secs(5);
/// This many topics are checked at the full rate, twice as many at half the rate, and so on.
const IDENTIFIED_OFTEN: u32 = 200;

impl<H: Handler> Poller<H> {
    /// Asks for the ids of the topics that are read, outside this thread.
    pub(super) fn identify(&mut self, now: Instant) {
        if self.ids.running || self.stopping.is_some() || now < self.ids.next {
            return;
        }
        let known = self.partitions.values().filter(|owned| owned.topic_id.is_some());
        let mut seen = BTreeSet::new();
        let subjects: Vec<Arc<Assignment>> =
            known.map(|owned| owned.assignment.clone()).filter(|a| seen.insert(a.topic.clone())).collect();
        // The answer names every topic, so many topics are asked about less often.
        self.ids.next = now + IDENTIFY_EVERY * (1 + subjects.len() as u32 / IDENTIFIED_OFTEN);
        if !subjects.is_empty() {
            self.ids.running = self.queries.spawn(move |queries| queries.identify(&subjects));
        }
    }

    /// Compares ids with those that the client knows. If one has changed, what was read of that topic no longer counts,
    /// neither as a position nor as work. Returns `true` if the client is about to be replaced.
    pub(super) fn compare(&mut self, ids: &TopicIds) -> bool {
        if self.stopping.is_some() {
            return self.stopping.as_ref().is_some_and(|stopping| stopping.renew);
        }
        let others = ids.iter().filter(|(topic, now)| {
            let met = self.ids.met.get(*topic).and_then(Option::as_ref);
            met.zip(now.as_ref()).is_some_and(|(met, now)| met != now)
        });
        let remade: BTreeSet<Arc<str>> = others.map(|(topic, _)| Arc::from(topic.as_str())).collect();
        if remade.is_empty() {
            return false;
        }
        for topic in remade {
            let mut unfinished = 0;
            for owned in self.partitions.values_mut().filter(|owned| owned.assignment.topic == topic) {
                owned.void = true;
                unfinished += owned.tracker.len();
            }
            tracing::error!(
                kafka.topic = %topic, unfinished,
                "the topic was deleted and made again: what was read of the old one is given back"
            );
            self.ids.remade.insert(topic, now_ms());
        }
        self.stop_to_renew();
        true
    }

    /// Remembers the id of a topic that the client is about to read.
    pub(super) fn meet(&mut self, topic: &str, id: Option<&TopicId>) {
        if let Some(id) = id
            && !self.ids.met.contains_key(topic)
        {
            self.ids.met.insert(topic.to_owned(), Some(id.clone()));
        }
    }

    /// Replaces a client that was drained; the handler stays. If the consumer was asked to stop meanwhile, it gets no
    /// new client.
    pub(super) fn renew(&mut self) -> Result<bool, ConsumerFailed> {
        if !self.stopping.take().is_some_and(|stopping| stopping.renew) {
            return Ok(false);
        }
        let client = connect(&self.name, &self.settings).map_err(|error| ConsumerFailed(error.to_string()))?;
        // The client that asks for the ends has known the old topics too.
        let marks = Marks::new(&self.name, &self.settings.client);
        self.queries.marks = Arc::new(marks.map_err(|error| ConsumerFailed(error.to_string()))?);
        let client = Arc::new(client);
        self.queries.consumer = client.clone();
        self.queries.client_number += 1;
        let old = std::mem::replace(&mut self.consumer, client);
        leave_group(&self.name, old);
        (self.surveys.running, self.ids.running, self.ends.probing, self.surveys.suspicious) =
            (false, false, false, false);
        self.unasked.clear();
        self.ids.met.clear();
        tracing::info!(consumer = %self.name, "joins anew");
        Ok(true)
    }
}

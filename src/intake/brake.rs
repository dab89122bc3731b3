//! Feeds the storm brake with what the input topics bring, and holds back the topics that are stopped.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::delivery::{Delivery, Subject};
use crate::error::{DeliveryError, Reason};
use crate::storm::board::Storms;
use crate::storm::count::{Count, TooMany};
use crate::storm::pass::Pass;
use crate::storm::{Place, Storm, sample, unblock};

/// The counts of this process, and the topics that are not read.
pub(super) struct Brake {
    storms: Arc<Storms>,
    /// The topics of which some records lately named no account of ours.
    counts: HashMap<Arc<str>, Count>,
    stopped: BTreeSet<String>,
    /// The topics that are not read until Redis says how many of their bad records this replica may let pass.
    waiting: BTreeSet<String>,
    /// The version of the board from which both were read.
    version: u64,
    /// In the present turn of the loop a topic was stopped, or began to wait. Nothing more is taken until its
    /// partitions are paused.
    has_just_stopped: bool,
}

impl Brake {
    pub(super) fn new(storms: Arc<Storms>) -> Self {
        let (version, stopped, waiting) = (storms.version(), storms.topics(), storms.asking());
        Self { storms, counts: HashMap::new(), stopped, waiting, version, has_just_stopped: false }
    }

    /// Counts a record that was examined. A replayed one does not count: an operator sent it.
    pub(super) fn count(&mut self, delivery: &Delivery, now_ms: i64) {
        if delivery.is_replayed() {
            return;
        }
        let topic = &delivery.record.topic;
        let Some((reason, detail)) = none_of_ours(&delivery.subject) else {
            if let Some(count) = self.counts.get_mut(topic) {
                count.good();
                if count.is_clean() {
                    self.counts.remove(topic);
                }
            }
            return;
        };
        // What was read before the stop still arrives, and says nothing new.
        if self.stopped.contains(&**topic) {
            return;
        }
        match self.storms.pass(topic) {
            Pass::Passes => {
                // After the last one that passes, it is counted anew.
                self.counts.remove(topic);
                return;
            }
            Pass::Asks => {
                self.waiting.insert(topic.to_string());
                self.has_just_stopped = true;
            }
            Pass::Judged => {}
        }
        let place = Place { partition: delivery.record.partition, offset: delivery.record.offset };
        if let Some(found) = self.counts.entry(topic.clone()).or_default().bad(reason, place) {
            self.stop(delivery, found, (reason, detail), now_ms);
        }
    }

    fn stop(&mut self, delivery: &Delivery, found: TooMany, (reason, detail): (Reason, String), now_ms: i64) {
        let topic = &delivery.record.topic;
        let TooMany { why, counts, first, last } = found;
        let storm = Storm {
            topic: topic.to_string(),
            since_ms: now_ms,
            replica: self.storms.id().to_owned(),
            why,
            counts,
            first,
            last,
            reason: reason.as_str().to_owned(),
            detail,
            sample: sample(delivery.record.value.as_deref()),
            unblock: unblock(topic),
        };
        self.counts.remove(topic);
        self.stopped.insert(storm.topic.clone());
        self.has_just_stopped = true;
        tracing::error!(
            kafka.topic = %topic, first = %storm.first, last = %storm.last, reason = storm.reason, detail = storm.detail,
            sample = storm.sample,
            "the storm brake stops a topic, {}; nothing more of it is read until `{}`", storm.summary(), storm.unblock
        );
        self.storms.stop(storm);
    }

    /// Takes over what the board says. Called in each turn of the loop.
    pub(super) fn look(&mut self) {
        self.has_just_stopped = false;
        let version = self.storms.version();
        if version != self.version {
            self.version = version;
            let stopped = self.storms.topics();
            // A topic that is stopped or read on is counted anew.
            self.counts.retain(|topic, _| stopped.contains(&**topic) == self.stopped.contains(&**topic));
            (self.stopped, self.waiting) = (stopped, self.storms.asking());
        }
    }

    /// Whether this topic is not read.
    pub(super) fn stops(&self, topic: &str) -> bool {
        [&self.stopped, &self.waiting].into_iter().any(|topics| !topics.is_empty() && topics.contains(topic))
    }

    /// Whether the present batch of records has to end.
    pub(super) fn ends_batch(&self) -> bool {
        self.has_just_stopped
    }

    /// Forgets a topic of which no partition is left here.
    pub(super) fn left(&mut self, topic: &str) {
        self.counts.remove(topic);
    }
}

/// Why a record cannot be an event of ours, and what is wrong with it.
fn none_of_ours(subject: &Subject) -> Option<(Reason, String)> {
    let Subject::Ended(ended) = subject else { return None };
    match &ended.end {
        Err(DeliveryError::Malformed(fault)) => Some((Reason::Malformed, fault.detail.clone())),
        Err(DeliveryError::UnknownAccount(fault)) => {
            let field = if fault.field.is_empty() { String::new() } else { format!("{}: ", fault.field) };
            Some((Reason::UnknownAccount, format!("{field}{}", fault.detail)))
        }
        _ => None,
    }
}

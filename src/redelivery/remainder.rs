//! Reads remainders: the events that gray releases do not send yet (`account::rollout` says which, and where they wait).
//!
//! A partition that its share does not cover is read up to one record, which tells how long the oldest of them waits, and
//! then rests. Nothing of that record is kept but the handle of its offset. When the share grows, the handle is given
//! back, and the partition is read again from its committed position. When the share shrinks, what was read of a partition
//! that is no longer covered is given back in the same way; what a lane is sending ends as ever.
//!
//! A record of a remainder counts as received when its turn has come, so that what waits by intention is neither open nor
//! old.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::delivery::Delivery;
use crate::delivery::progress::{AckHandle, End, Stage};
use crate::envelope::{Envelope, Source};
use crate::kafka::matching::WaitingNames;
use crate::kafka::record::Record;
use crate::lane::handle::LaneHandle;
use crate::lane::handle::lanes::Lanes;
use crate::redelivery::{Place, Waiting};
use crate::settle::give_back;
use crate::units::show_duration;

/// The time between two comparisons with the shares of the accounts.
const LOOK: Duration = Duration::from_millis(250);
/// An event of a remainder that waits for so long is warned of. Its topic keeps it for 30 days.
const OLD: Duration = Duration::from_secs(20 * 24 * 3600);
/// The time between two warnings about one account.
const REPEAT: Duration = Duration::from_secs(3600);

/// The partitions of remainders that rest.
pub(super) struct Remainders {
    names: WaitingNames,
    resting: HashMap<Place, Resting>,
    next_look: Instant,
    /// When the log last warned about each account, by index.
    told: HashMap<usize, Instant>,
}

/// The records of a partition that were read although they may not go yet: the first, and those that came with it.
struct Resting {
    acks: Vec<AckHandle>,
    /// Since when the first of them is under way, epoch ms.
    since_ms: i64,
}

impl Remainders {
    pub(super) fn new(names: WaitingNames, now: Instant) -> Self {
        Self { names, resting: HashMap::new(), next_look: now, told: HashMap::new() }
    }

    /// Whether the partition holds events that may not go yet, as far as is known.
    pub(super) fn rests(&self, place: &Place) -> bool {
        self.resting.contains_key(place)
    }

    /// Whether the topic is a remainder.
    pub(super) fn is(&self, topic: &str) -> bool {
        self.names.remainder_of(topic).is_some()
    }

    /// Whether the share of the account covers this partition of its remainder. A remainder without an account is read, as
    /// every topic of an account that is gone: its events end.
    fn releases(&self, topic: &str, partition: i32, lanes: &Lanes) -> bool {
        let lane = self.names.remainder_of(topic).and_then(|name| lanes.of_account(name));
        lane.is_none_or(|lane| lane.is_removed() || lane.account().rollout.releases(partition))
    }

    /// Drops what is known of a partition that leaves.
    pub(super) fn leaves(&mut self, place: &Place) {
        self.resting.remove(place).into_iter().for_each(Resting::give_back);
    }
}

impl Resting {
    fn give_back(self) {
        self.acks.into_iter().for_each(|ack| ack.complete(End::Returned));
    }
}

/// Since when an event is under way, epoch ms.
fn since_ms(envelope: &Envelope) -> i64 {
    let origin = envelope.origin.timestamp_ms;
    if origin > 0 { origin.min(envelope.first_seen_ms) } else { envelope.first_seen_ms }
}

/// The age of an event by which older records go first.
pub(super) fn age_of(delivery: &Delivery) -> i64 {
    since_ms(&delivery.envelope)
}

impl Waiting {
    /// Leaves a record of a remainder where it is, if its share does not cover it. Otherwise it returns the record.
    pub(super) fn rest(&mut self, record: Record, ack: AckHandle, now_ms: i64) -> Option<(Record, AckHandle)> {
        if !self.remainders.is(&record.topic) || self.remainders.releases(&record.topic, record.partition, &self.lanes)
        {
            return Some((record, ack));
        }
        ack.open().set_stage(Stage::Waiting);
        let since_ms = since_ms(&Envelope::read(&record, Source::Owned, now_ms).0);
        let resting = self.remainders.resting.entry((record.topic, record.partition)).or_insert_with(|| {
            self.pauses += 1;
            Resting { acks: Vec::new(), since_ms }
        });
        resting.acks.push(ack);
        None
    }

    /// Compares what rests and what is read with the shares, and shows how long the oldest event of each remainder waits.
    pub(super) fn look_at_remainders(&mut self, now: Instant) {
        if now < self.remainders.next_look {
            return;
        }
        self.remainders.next_look = now + LOOK;
        let covered = |(topic, partition): &Place| self.remainders.releases(topic, *partition, &self.lanes);
        let grown: Vec<Place> = self.remainders.resting.keys().filter(|place| covered(place)).cloned().collect();
        let read = self.buffers.keys().filter(|(topic, _)| self.remainders.is(topic));
        let shrunk: Vec<Place> = read.filter(|place| !covered(place)).cloned().collect();
        for place in &grown {
            self.remainders.leaves(place);
            self.pauses += 1;
        }
        for place in &shrunk {
            self.empty(place).into_iter().for_each(give_back);
            self.pauses += 1;
        }
        self.show_oldest(now);
    }

    fn show_oldest(&mut self, now: Instant) {
        let read = self.buffers.iter().filter_map(|(place, buffer)| {
            let first = buffer.waiting.front().filter(|_| self.remainders.is(&place.0))?;
            Some((&place.0, age_of(&first.delivery)))
        });
        let resting = self.remainders.resting.iter().map(|((topic, _), resting)| (topic, resting.since_ms));
        let mut oldest: HashMap<&str, i64> = HashMap::new();
        for (topic, since_ms) in resting.chain(read) {
            let Some(account) = self.remainders.names.remainder_of(topic) else { continue };
            oldest.entry(account).and_modify(|oldest| *oldest = since_ms.min(*oldest)).or_insert(since_ms);
        }
        let now_ms = self.health.clock.now_ms();
        let mut old = Vec::new();
        for lane in self.lanes.accounts() {
            let age_ms = oldest.get(&*lane.account_name).map_or(0, |since_ms| (now_ms - since_ms).max(0));
            self.metrics.account(lane.account_index).rollout_oldest.set(age_ms as f64 / 1000.0);
            if age_ms.unsigned_abs() >= OLD.as_millis() as u64 {
                old.push((lane.clone(), age_ms));
            }
        }
        old.into_iter().for_each(|(lane, age_ms)| self.remainders.warn(&lane, age_ms, now));
    }
}

impl Remainders {
    fn warn(&mut self, lane: &Arc<LaneHandle>, age_ms: i64, now: Instant) {
        if self.told.get(&lane.account_index).is_some_and(|told| now.duration_since(*told) < REPEAT) {
            return;
        }
        self.told.insert(lane.account_index, now);
        let days = Duration::from_secs(age_ms.unsigned_abs() / 86_400_000 * 86_400);
        tracing::warn!(
            account = &*lane.account_name,
            "the oldest event that the gray release keeps back waits for {}; after 30 days its topic deletes it. The share \
             is {}: raise rollout.percent",
            show_duration(days),
            lane.account().rollout
        );
    }
}

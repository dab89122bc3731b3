//! Compares remainders with the shares of their accounts: what rests, what is read again, and how long the oldest event
//! waits.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::delivery::progress::{AckHandle, Stage};
use crate::envelope::{Envelope, Source};
use crate::kafka::record::Record;
use crate::redelivery::remainder::{Resting, age_of};
use crate::redelivery::{Place, Waiting};
use crate::settle::give_back;

/// The time between two comparisons with the shares of the accounts.
const LOOK: Duration = Duration::from_millis(250);
/// An event of a remainder that waits for so long is warned of. Its topic keeps it for 30 days.
const OLD: Duration = Duration::from_secs(20 * 24 * 3600);

impl Waiting {
    /// Leaves a record of a remainder where it is, if its share does not cover it, or if another one rests there: it is
    /// read again with that one, and would be read twice if it went before. Otherwise it returns the record.
    pub(super) fn rest(&mut self, record: Record, ack: AckHandle, now_ms: i64) -> Option<(Record, AckHandle)> {
        if !self.remainders.is(&record.topic) {
            return Some((record, ack));
        }
        let place = (record.topic.clone(), record.partition);
        if !self.remainders.rests(&place) && self.remainders.releases(&place.0, place.1, &self.lanes) {
            return Some((record, ack));
        }
        ack.open().set_stage(Stage::Waiting);
        let since_ms = Envelope::read(&record, Source::Owned, now_ms).0.since_ms();
        let resting = self.remainders.resting.entry(place).or_insert_with(|| {
            self.pauses += 1;
            Resting { acks: Vec::new(), since_ms }
        });
        resting.acks.push(ack);
        None
    }

    /// Compares what rests and what is read with the shares, and shows how long the oldest event of each remainder
    /// waits.
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
            self.remainders.read_again(place);
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
        let (mut old, mut shown) = (Vec::new(), HashSet::new());
        for (name, since_ms) in oldest {
            let Some(lane) = self.lanes.of_account(name) else { continue };
            let age_ms = (now_ms - since_ms).max(0);
            self.metrics.account(lane.id.account_index).rollout_oldest.set(age_ms as f64 / 1000.0);
            shown.insert(lane.id.account_index);
            if age_ms.unsigned_abs() >= OLD.as_millis() as u64 {
                old.push((lane.clone(), age_ms));
            }
        }
        for gone in self.remainders.shown.difference(&shown) {
            self.metrics.account(*gone).rollout_oldest.set(0.0);
        }
        self.remainders.shown = shown;
        old.into_iter().for_each(|(lane, age_ms)| self.remainders.warn(&lane, age_ms, now));
    }
}

//! Reads remainders: the events that gray releases do not send yet (`account::rollout` says which, and where they
//! wait).
//!
//! A partition that its share does not cover is read up to one record, which tells how long the oldest of them waits,
//! and then rests. Nothing of that record is kept but the handle of its offset. When the share grows, the handle is
//! given back, and the partition is read again from its committed position. When the share shrinks, what was read of a
//! partition that is no longer covered is given back in the same way; what a lane is sending ends as ever.
//!
//! A record of a remainder counts as received when its turn has come, so that what waits by intention is neither open
//! nor old.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::delivery::Delivery;
use crate::delivery::progress::AckHandle;
use crate::kafka::matching::WaitingNames;
use crate::lane::handle::LaneHandle;
use crate::lane::handle::lanes::Lanes;
use crate::settle::give_back_unread;
use crate::units::show_duration;

/// The time between two warnings about one account.
const REPEAT: Duration = Duration::from_secs(3600);

/// A partition of a remainder.
type Place = (Arc<str>, i32);

/// The partitions of remainders that rest.
pub(super) struct Remainders {
    pub(super) names: WaitingNames,
    pub(super) resting: HashMap<Place, Resting>,
    pub(super) next_look: Instant,
    /// When the log last warned about each account, by index.
    told: HashMap<usize, Instant>,
    /// The accounts, by index, whose metric shows an age.
    pub(super) shown: HashSet<usize>,
}

/// The records of a partition that were read although they may not go yet: the first, and those that came with it.
pub(super) struct Resting {
    pub(super) acks: Vec<AckHandle>,
    /// Since when the first of them is under way, epoch ms.
    pub(super) since_ms: i64,
}

impl Remainders {
    pub(super) fn new(names: WaitingNames, now: Instant) -> Self {
        Self { names, resting: HashMap::new(), next_look: now, told: HashMap::new(), shown: HashSet::new() }
    }

    /// Whether the partition holds events that may not go yet, as far as is known.
    pub(super) fn rests(&self, place: &Place) -> bool {
        self.resting.contains_key(place)
    }

    /// Whether the topic is a remainder.
    pub(super) fn is(&self, topic: &str) -> bool {
        self.names.remainder_of(topic).is_some()
    }

    /// Whether the share of the account covers this partition of its remainder. A remainder without an account is read,
    /// as every topic of an account that is gone: its events end.
    pub(super) fn releases(&self, topic: &str, partition: i32, lanes: &Lanes) -> bool {
        let lane = self.names.remainder_of(topic).and_then(|name| lanes.of_account(name));
        lane.is_none_or(|lane| lane.is_removed() || lane.account().rollout.releases(partition))
    }

    /// Gives the records of a partition that rests back, so that the consumer reads them again. It rests until the
    /// consumer has taken it away, because what comes before that is read again too.
    pub(super) fn read_again(&mut self, place: &Place) {
        let resting = self.resting.get_mut(place);
        resting.into_iter().flat_map(|resting| resting.acks.drain(..)).for_each(give_back_unread);
    }

    /// Drops what is known of a partition that leaves.
    pub(super) fn leaves(&mut self, place: &Place) {
        self.read_again(place);
        self.resting.remove(place);
    }
}

/// The age of an event by which older records go first.
pub(super) fn age_of(delivery: &Delivery) -> i64 {
    delivery.envelope.since_ms()
}

impl Remainders {
    pub(super) fn warn(&mut self, lane: &Arc<LaneHandle>, age_ms: i64, now: Instant) {
        if self.told.get(&lane.id.account_index).is_some_and(|told| now.duration_since(*told) < REPEAT) {
            return;
        }
        self.told.insert(lane.id.account_index, now);
        let days = Duration::from_secs(age_ms.unsigned_abs() / 86_400_000 * 86_400);
        tracing::warn!(
            account = &*lane.id.account_name,
            "the oldest event that the gray release keeps back waits for {}; after 30 days its topic deletes it. The share \
             is {}: raise rollout.percent",
            show_duration(days),
            lane.account().rollout
        );
    }
}

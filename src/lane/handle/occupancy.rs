//! How full a lane is: the records in its queues, the records that are set aside for parking, and the limits of both.

pub(in crate::lane) mod caps;
pub mod fill;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use crate::account::{Account, Intake};
use crate::delivery::{Delivery, TopicKind};
use crate::lane::handle::occupancy::caps::Caps;
use crate::lane::handle::occupancy::fill::{All, Fill, Released, SetAside};

/// The most records from tiers, and their bytes, that all lanes together may have set aside for parking. It is only a
/// part of the records that may be on their way to Kafka, so that parking topics that take nothing keep no topic from
/// being read.
pub const ASIDE_RELEASED: (usize, usize) = (1_000, 8 * 1024 * 1024);

/// What one lane holds, and how much it may hold.
pub struct Occupancy {
    /// Records from input topics that wait for a permit.
    pub live: Fill,
    /// Records from tiers and the parking topic that wait for a permit.
    pub released: Fill,
    /// The records of `released` that come from the parking topic.
    parked: Fill,
    /// Records from tiers and the parking topic that wait for a permit or have one, by kind.
    pub(super) holds: Released,
    /// Records that have a permit, or wait for their confirmation.
    pub in_flight: AtomicUsize,
    /// Records that are set aside for parking, until their copies are acknowledged.
    pub aside: SetAside,
    /// What all lanes of the process hold together.
    all: OnceLock<Arc<All>>,
    caps: Caps,
}

impl Occupancy {
    pub(super) fn new(account: &Account, intake: &Intake) -> Self {
        Self {
            live: Fill::default(),
            released: Fill::default(),
            parked: Fill::default(),
            holds: Released::default(),
            in_flight: AtomicUsize::new(0),
            aside: SetAside::default(),
            all: OnceLock::new(),
            caps: Caps::new(account, intake),
        }
    }

    /// Counts what this lane holds among what all lanes hold, from now on.
    pub(super) fn count_among(&self, all: &Arc<All>) {
        // A lane belongs to one `Lanes` only, so a second call would change nothing.
        let _ = self.all.set(all.clone());
    }

    /// Sets the limits that the rate of the account decides.
    pub(super) fn set_account(&self, account: &Account) {
        self.caps.set(account);
    }

    pub(super) fn queued(&self, topic_kind: TopicKind) -> &Fill {
        if topic_kind == TopicKind::Input { &self.live } else { &self.released }
    }

    /// Counts a record into the queue of its kind. The caller delivers it afterwards.
    pub fn enqueued(&self, delivery: &Delivery) {
        let bytes = delivery.record.size();
        self.queued(delivery.topic_kind).add(bytes);
        if delivery.topic_kind == TopicKind::Parked {
            self.parked.add(bytes);
        }
        self.move_released(delivery.topic_kind, |count| count.add(bytes));
    }

    /// Counts a record out of its queue.
    pub fn dequeued(&self, delivery: &Delivery) {
        let bytes = delivery.record.size();
        self.queued(delivery.topic_kind).sub(bytes);
        if delivery.topic_kind == TopicKind::Parked {
            self.parked.sub(bytes);
        }
        self.move_released(delivery.topic_kind, |count| count.sub(bytes));
    }

    /// Counts a record that got a permit, from here until its attempt is settled.
    pub fn got_permit(&self, topic_kind: TopicKind, bytes: usize) {
        self.move_released(topic_kind, |count| count.add(bytes));
    }

    /// Stops counting a record whose attempt is settled.
    pub fn permit_ended(&self, topic_kind: TopicKind, bytes: usize) {
        self.move_released(topic_kind, |count| count.sub(bytes));
    }

    /// The number of records from tiers that wait for a permit or have one.
    pub fn retries(&self) -> usize {
        self.holds.tier.records()
    }

    /// Changes the counters of one kind, for this lane and for all lanes together.
    fn move_released(&self, topic_kind: TopicKind, by: impl Fn(&Fill)) {
        let all = self.all.get().and_then(|all| all.released.of(topic_kind));
        self.holds.of(topic_kind).into_iter().chain(all).for_each(by);
    }

    /// Counts a record as set aside for parking.
    pub fn set_aside(&self, topic_kind: TopicKind, bytes: usize) {
        self.move_aside(topic_kind, |aside| aside.add(bytes));
    }

    /// Reports that a record which was set aside has its copy, or was given back.
    pub fn left_aside(&self, topic_kind: TopicKind, bytes: usize) {
        self.move_aside(topic_kind, |aside| aside.sub(bytes));
    }

    fn move_aside(&self, topic_kind: TopicKind, by: impl Fn(&Fill)) {
        by(self.aside.of(topic_kind));
        if let Some(all) = self.all.get() {
            by(all.aside.of(topic_kind));
        }
    }

    /// Whether the queue of this kind has no room.
    pub fn is_full(&self, topic_kind: TopicKind) -> bool {
        self.is_above(topic_kind, 1, 1)
    }

    /// Whether the queue of this kind, together with its records that are set aside for parking, holds at least
    /// `part`/`whole` of its cap.
    pub fn is_above(&self, topic_kind: TopicKind, part: usize, whole: usize) -> bool {
        let aside = self.aside.of(topic_kind);
        let above = |queue: &Fill, cap: usize, cap_bytes: usize| {
            queue.records() + aside.records() >= cap * part / whole
                || queue.bytes() + aside.bytes() >= cap_bytes * part / whole
        };
        // A backlog from the parking topic that drains leaves half of the room to retries, which have a due time.
        let (cap, cap_bytes) = (self.caps.queue.load(Relaxed), self.caps.queue_bytes);
        let parked = topic_kind == TopicKind::Parked && above(&self.parked, cap / 2, cap_bytes / 2);
        parked || above(self.queued(topic_kind), cap, cap_bytes)
    }

    /// Whether the lane has set aside at least `part`/`whole` of what it may, and of what other lanes leave it. The
    /// whole queue of a closed lane counts, because it is going to be parked.
    pub(super) fn is_aside_above(&self, topic_kind: TopicKind, part: usize, whole: usize, is_closed: bool) -> bool {
        let aside = self.aside.of(topic_kind);
        let (mut records, mut bytes) = (aside.records(), aside.bytes());
        if is_closed {
            records += self.queued(topic_kind).records();
            bytes += self.queued(topic_kind).bytes();
        }
        let caps = &self.caps;
        let cap = match topic_kind {
            TopicKind::Input => (caps.aside.load(Relaxed), caps.aside_bytes),
            TopicKind::Tier | TopicKind::Parked => (caps.aside_released.load(Relaxed), caps.aside_released_bytes),
        };
        let left = self.aside_left(topic_kind);
        let above = |count: usize, most: usize| most == 0 || count >= (most * part / whole).max(1);
        above(records, cap.0.min(left.0)) || above(bytes, cap.1.min(left.1))
    }

    /// How many records and bytes this lane may set aside for parking, after what all lanes have set aside already.
    fn aside_left(&self, topic_kind: TopicKind) -> (usize, usize) {
        let of_all = || (self.caps.aside_of_all.load(Relaxed), self.caps.aside_of_all_bytes);
        let (records, bytes) = if topic_kind == TopicKind::Input { of_all() } else { ASIDE_RELEASED };
        let Some(all) = self.all.get().map(|all| all.aside.of(topic_kind)) else { return (records, bytes) };
        (records.saturating_sub(all.records()), bytes.saturating_sub(all.bytes()))
    }
}

#[cfg(test)]
mod tests;

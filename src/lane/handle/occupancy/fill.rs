//! Counters of records and bytes, for one lane and for all lanes of the process together.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use crate::delivery::TopicKind;

/// The counters of one of a lane's two queues.
#[derive(Default)]
pub struct Fill {
    records: AtomicUsize,
    bytes: AtomicUsize,
}

impl Fill {
    /// Counts one more record of this size.
    pub fn add(&self, bytes: usize) {
        self.records.fetch_add(1, SeqCst);
        self.bytes.fetch_add(bytes, SeqCst);
    }

    pub fn sub(&self, bytes: usize) {
        self.records.fetch_sub(1, SeqCst);
        self.bytes.fetch_sub(bytes, SeqCst);
    }

    /// The number of records.
    pub fn records(&self) -> usize {
        self.records.load(SeqCst)
    }

    pub fn bytes(&self) -> usize {
        self.bytes.load(SeqCst)
    }
}

/// Counts records from tiers and from parking topics that are queued or have a permit.
#[derive(Default)]
pub struct Released {
    pub(in crate::lane::handle) tier: Fill,
    parked: Fill,
}

impl Released {
    /// The counters of one kind. Records from input topics are not counted here.
    pub fn of(&self, topic_kind: TopicKind) -> Option<&Fill> {
        match topic_kind {
            TopicKind::Input => None,
            TopicKind::Tier => Some(&self.tier),
            TopicKind::Parked => Some(&self.parked),
        }
    }

    /// The records and bytes of both kinds together.
    pub fn sum(&self) -> (usize, usize) {
        (self.tier.records() + self.parked.records(), self.tier.bytes() + self.parked.bytes())
    }
}

/// Counts the records that are set aside for parking.
#[derive(Default)]
pub struct SetAside {
    /// Records from input topics.
    pub live: Fill,
    /// Records from tiers and parking topics.
    pub released: Fill,
}

impl SetAside {
    pub(super) fn of(&self, topic_kind: TopicKind) -> &Fill {
        if topic_kind == TopicKind::Input { &self.live } else { &self.released }
    }
}

/// The counters over all lanes.
#[derive(Default)]
pub struct All {
    pub(in crate::lane::handle) released: Released,
    pub(in crate::lane::handle) aside: SetAside,
}

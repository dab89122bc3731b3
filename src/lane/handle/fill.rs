//! Records and their bytes, counted: of one lane, and of all of the process together.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use crate::delivery::TopicKind;

/// One of a lane's two queues, counted.
#[derive(Default)]
pub struct Fill {
    records: AtomicUsize,
    bytes: AtomicUsize,
}

impl Fill {
    /// One more, of so many bytes.
    pub fn add(&self, bytes: usize) {
        self.records.fetch_add(1, SeqCst);
        self.bytes.fetch_add(bytes, SeqCst);
    }

    pub fn sub(&self, bytes: usize) {
        self.records.fetch_sub(1, SeqCst);
        self.bytes.fetch_sub(bytes, SeqCst);
    }

    /// Records counted.
    pub fn records(&self) -> usize {
        self.records.load(SeqCst)
    }

    pub fn bytes(&self) -> usize {
        self.bytes.load(SeqCst)
    }
}

/// Records from tiers and from parking, queued or with a permit.
#[derive(Default)]
pub struct Released {
    pub(super) tier: Fill,
    parked: Fill,
}

impl Released {
    /// Those of one kind; records from inputs are not counted here.
    pub fn of(&self, topic_kind: TopicKind) -> Option<&Fill> {
        match topic_kind {
            TopicKind::Input => None,
            TopicKind::Tier => Some(&self.tier),
            TopicKind::Parked => Some(&self.parked),
        }
    }

    /// All of them: records and bytes.
    pub fn sum(&self) -> (usize, usize) {
        (self.tier.records() + self.parked.records(), self.tier.bytes() + self.parked.bytes())
    }
}

/// Counted over all lanes.
#[derive(Default)]
pub struct All {
    pub(super) released: Released,
    /// Records from inputs that are set aside for parking.
    pub(super) aside: Fill,
    /// The same of records from tiers and parking.
    pub(super) aside_released: Fill,
}

impl All {
    pub(super) fn aside_of(&self, topic_kind: TopicKind) -> &Fill {
        if topic_kind == TopicKind::Input { &self.aside } else { &self.aside_released }
    }
}

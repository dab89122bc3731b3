//! What all lanes of the process together hold of records from tiers and parking topics, and how much of it each lane
//! may hold.
//!
//! A lane may hold as many bytes as the other lanes leave of the bound. So there is always some room left for a lane
//! that holds little, however many lanes hang.

use crate::delivery::TopicKind;
use crate::lane::handle::lanes::Lanes;

/// The most bytes from tiers and parking topics that all lanes together may hold, queued or with a permit. In addition
/// every lane may hold one record of each kind.
const RELEASED_BYTES: usize = 64 * 1024 * 1024;
/// The part that tiers may use. If retries hang, the rest is left to a parking backlog that drains.
const TIER_BYTES: usize = 48 * 1024 * 1024;
/// The part that parking topics may use. The rest is left to tiers.
const PARKED_BYTES: usize = 32 * 1024 * 1024;

impl Lanes {
    /// The records, and their bytes, from tiers and parking topics that all lanes hold, queued or with a permit.
    pub fn released(&self) -> (usize, usize) {
        self.all.released.sum()
    }

    /// Whether a lane may take a record from a tier or a parking topic: it is below its own caps, and holds no more
    /// than the others leave it of that kind. A lane that holds no record of that kind takes one in any case.
    pub fn takes(&self, index: usize, topic_kind: TopicKind, bytes: usize) -> bool {
        let lane = &self.get(index).occupancy;
        let (Some(own), Some(of_all)) = (lane.holds.of(topic_kind), self.all.released.of(topic_kind)) else {
            return false;
        };
        if lane.is_full(topic_kind) {
            return false;
        }
        let bound = if topic_kind == TopicKind::Parked { PARKED_BYTES } else { TIER_BYTES };
        let left = bound.saturating_sub(of_all.bytes()).min(RELEASED_BYTES.saturating_sub(self.released().1));
        own.records() == 0 || own.bytes() + bytes <= left
    }
}

#[cfg(test)]
mod tests;

//! Which position of a partition was stored to be committed, and which one the group has.

use std::time::Instant;

use crate::kafka::offsets::NextOffset;

#[derive(Debug, Default)]
pub(super) struct GroupPosition {
    stored: Option<NextOffset>,
    committed: Option<i64>,
    /// The time of the oldest stored position that no commit has covered.
    unacked_since: Option<Instant>,
}

impl GroupPosition {
    /// The position that the group has.
    pub(super) fn committed(&self) -> Option<i64> {
        self.committed
    }

    /// Notes the position that the group has, without counting it as the confirmation of a commit of ours.
    pub(super) fn set_committed(&mut self, committed: Option<i64>) {
        self.committed = committed;
    }

    /// The latest position that was stored, else the one that the group has.
    pub(super) fn latest(&self) -> Option<i64> {
        self.stored.map(NextOffset::get).or(self.committed)
    }

    pub(super) fn unacked_since(&self) -> Option<Instant> {
        self.unacked_since
    }

    /// Whether this position lies beyond the one that was stored last.
    pub(super) fn is_new(&self, next: NextOffset) -> bool {
        self.stored.is_none_or(|stored| next > stored)
    }

    /// The client has taken this position and will commit it.
    pub(super) fn stored(&mut self, next: NextOffset, now: Instant) {
        self.stored = Some(next);
        self.unacked_since.get_or_insert(now);
    }

    /// Handles a confirmation: the broker has committed the position `next`.
    pub(super) fn confirmed(&mut self, next: i64) {
        self.committed = Some(next);
        self.unacked_since = match self.stored {
            // Positions that were stored since the last commit are younger than one interval.
            Some(stored) if stored.get() > next => Some(Instant::now()),
            _ => None,
        };
    }

    /// Handles the position that the broker showed when it was asked, and returns whether it is taken as the
    /// confirmation of a commit of ours. Another member's commit looks the same, unless it lies beyond what we stored.
    /// While sending is `stalled`, only a position that equals all that we stored is taken as a confirmation.
    pub(super) fn seen(&mut self, next: i64, stalled: bool) -> bool {
        let stored = self.stored.map(NextOffset::get);
        let is_ours = stored.is_none_or(|stored| next == stored || (next < stored && !stalled));
        if is_ours {
            self.confirmed(next);
        } else {
            self.committed = Some(next);
        }
        is_ours
    }

    /// What stays true in another assignment.
    pub(super) fn kept(&self) -> Self {
        Self { committed: self.committed, ..Self::default() }
    }
}

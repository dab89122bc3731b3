//! Which receipt and which dead letter of a record is the newest (pure).

use crate::inspect::ledger::read::Written;

/// What told the end of a record that ended as a dead letter or as a duplicate.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    /// The newest receipt.
    pub(super) receipt: Option<Written>,
    /// The newest dead letter, and how often the record had been replayed before it.
    pub(super) letter: Option<(i64, Written)>,
}

impl Told {
    /// Whether a newer dead letter is known: inside a partition by the offset, else by how often the record had been
    /// replayed, and then by the clock.
    pub(super) fn has_newer(&self, (replays, written): (i64, Written)) -> bool {
        self.letter.is_some_and(|(known_replays, known)| {
            let by_place = Written::order(Some(known), Some(written));
            let is_beside = known.partition == written.partition;
            if is_beside { by_place } else { known_replays.cmp(&replays).then(by_place) }.is_gt()
        })
    }

    /// Whether this is the end of a copy: its dead letter, or one of a later copy. The clock decides only where both
    /// were replayed equally often.
    pub(super) fn ends(&self, (replays, at_ms): (i64, i64)) -> bool {
        match self.letter {
            Some((of_letter, _)) if of_letter != replays => of_letter > replays,
            _ => self.receipt.and_then(|receipt| receipt.at_ms).is_some_and(|ended_ms| ended_ms >= at_ms),
        }
    }
}

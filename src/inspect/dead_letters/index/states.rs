//! What has become of each dead letter: the bitmaps of replays, and the discards.

use std::collections::{BTreeMap, BTreeSet};

use super::rows::{DISCARDED, Packed, REPLAYED};
use crate::inspect::dead_letters::filter::Filter;
use crate::inspect::dead_letters::state::State;
use crate::operate::keys::{LetterTopic, OFFSETS_PER_KEY};

/// Per partition the first offset that does not belong to a selection.
pub type EndOffsets = BTreeMap<i32, i64>;

/// How many offsets one bitmap covers.
pub(super) const CHUNK: i64 = OFFSETS_PER_KEY;

/// A mark of an operator: these dead letters are done with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discard {
    /// The id of its record in the audit.
    pub id: String,
    /// The id of the topic whose dead letters it covers, where that is stated.
    pub topic_id: Option<String>,
    pub cover: Cover,
}

/// What a discard covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cover {
    /// What the filter selects before these ends.
    Filter { filter: Box<Filter>, ends: EndOffsets },
    /// These places, partition and offset: of dead letters that were replayed, or of open ones.
    Items { places: BTreeSet<(i32, i64)>, replayed: bool },
}

impl Cover {
    /// Whether the discard marks the dead letter at this place. `fits` says whether the other parts of the filter do.
    ///
    /// A discard takes the letters in the state that its filter names, open ones if it names none. So a letter that was
    /// replayed is `replayed`, whether the discard was made before or after, and `discarded` only where the discard
    /// meant the replayed ones.
    pub(super) fn covers(&self, (partition, offset): (i32, i64), replayed: bool, fits: impl FnOnce() -> bool) -> bool {
        match self {
            Cover::Items { places, replayed: meant } => replayed == *meant && places.contains(&(partition, offset)),
            Cover::Filter { filter, ends } => {
                let meant = match filter.state {
                    None | Some(State::Open) => !replayed,
                    Some(State::Replayed) => replayed,
                    Some(State::Discarded) => false,
                };
                meant && ends.get(&partition).is_some_and(|end| offset < *end) && fits()
            }
        }
    }
}

#[derive(Default)]
pub(super) struct States {
    /// By partition and number of the chunk, as Redis keeps them: the first offset is the highest bit of the first
    /// byte.
    pub(super) replayed: BTreeMap<(i32, i64), Box<[u8]>>,
    pub(super) discards: Vec<Discard>,
    pub(super) claims_lost_ms: Option<i64>,
    pub(super) topic: LetterTopic,
}

impl States {
    pub(super) fn is_replayed(&self, partition: i32, offset: i64) -> bool {
        let (chunk, bit) = (offset.div_euclid(CHUNK), offset.rem_euclid(CHUNK) as usize);
        let byte = self.replayed.get(&(partition, chunk)).and_then(|bits| bits.get(bit / 8));
        byte.is_some_and(|byte| byte & (0x80 >> (bit % 8)) != 0)
    }

    pub(super) fn bytes(&self) -> usize {
        self.replayed.values().map(|bits| bits.len() + 64).sum()
    }
}

pub(super) fn of(row: &Packed) -> State {
    match (row.has(DISCARDED), row.has(REPLAYED)) {
        (true, _) => State::Discarded,
        (false, true) => State::Replayed,
        (false, false) => State::Open,
    }
}

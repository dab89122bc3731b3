//! What is found out about partitions off the polling thread, and what follows for where they begin (pure).

use std::sync::Arc;

use super::assignment::Assignment;
use super::options::Kind;
use crate::kafka::native::TopicId;

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Begin {
    pub(super) at: i64,
    /// The leader epoch of the record before it, where it is known: the client compares it with the log.
    pub(super) epoch: Option<i32>,
}

impl Begin {
    /// At an offset that says nothing about what was before it.
    pub(super) fn at(at: i64) -> Self {
        Self { at, epoch: None }
    }
}

/// What the group has committed for a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Committed {
    pub(super) begin: Option<Begin>,
    /// Of which topic, where the worker committed it.
    pub(super) topic_id: Option<TopicId>,
}

/// What was found out about an assigned partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) generation: u64,
    pub(super) verdict: Verdict,
    pub(super) topic_id: Option<TopicId>,
    /// The topic is another one than that which was read under this name.
    pub(super) remade: bool,
    /// Of a partition of the worker's own topics.
    pub(super) own: Option<OwnPosition>,
}

/// What is to be done with an assigned partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Read from here.
    Start(Begin),
    /// Read nothing until an operator names an offset.
    Park(Parked),
}

/// Judges a position. Nothing is ever skipped or re-read silently: what is not plainly sound is parked.
pub(super) fn judge(kind: Kind, committed: Option<Begin>, low: i64, high: i64, is_new: bool) -> Verdict {
    let park = |why| Verdict::Park(Parked { why, committed: committed.map(|c| c.at), low, high });
    match committed {
        Some(begin) if (low..=high).contains(&begin.at) => Verdict::Start(begin),
        Some(begin) if begin.at < low => park("the committed offset was deleted by retention"),
        Some(_) => park("the committed offset lies beyond the end"),
        None if kind == Kind::Waiting || is_new => Verdict::Start(Begin::at(low)),
        None => park("the group has no committed offset"),
    }
}

/// How a partition of a tier or a parking topic began in this assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnPosition {
    /// Of its topic; empty where the brokers have no ids.
    pub topic_id: String,
    /// Without a committed offset, with records: their beginning and end then.
    pub anew: Option<(i64, i64)>,
}

/// A partition without a sound position; it waits for `postback unblock offsets`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// What is wrong with the position.
    pub why: &'static str,
    /// What the group has committed.
    pub committed: Option<i64>,
    /// The oldest offset there is.
    pub low: i64,
    pub high: i64,
}

impl Parked {
    /// Records that are there and not known to be finished.
    pub fn lag(&self) -> i64 {
        let from = self.committed.filter(|at| (self.low..=self.high).contains(at)).unwrap_or(self.low);
        (self.high - from).max(0)
    }

    /// Records that are gone between the committed position and what is still there; without a committed position, or
    /// one beyond the end, all that are there are in doubt.
    pub fn hole(&self) -> i64 {
        match self.committed {
            Some(at) if at < self.low => self.low - at,
            Some(at) if at > self.high => at - self.high,
            _ => self.high - self.low,
        }
    }
}

/// The broker's view of one assigned partition.
pub(super) struct Surveyed {
    pub(super) generation: u64,
    /// The position when the question was asked, where it is in doubt.
    pub(super) suspect: Option<i64>,
    /// `None`: not asked.
    pub(super) committed: Option<i64>,
    /// Its beginning and its end; `None`: no answer.
    pub(super) ends: Option<(i64, i64)>,
}

/// What a survey asks about one partition.
pub(super) struct Subject {
    pub(super) assignment: Arc<Assignment>,
    pub(super) suspect: Option<i64>,
}

/// What was found out about a partition whose position was in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probed {
    pub(super) generation: u64,
    /// The position that was asked about.
    pub(super) at: i64,
    pub(super) suspect: bool,
    /// `None`: there was no answer.
    pub(super) next: Option<Ahead>,
}

/// What lies at a position, or behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ahead {
    /// A record with this offset. One below the position took the place of what was read there.
    Record(i64),
    /// Nothing that can be delivered, up to an end that the broker stated before. Behind it there may be records of a
    /// transaction that is still open.
    End(i64),
}

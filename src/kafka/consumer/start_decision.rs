//! The answers of the queries about partitions, and the judgement where a partition begins (pure).

use std::sync::Arc;

use super::assignment::Assignment;
use super::options::Kind;
use crate::kafka::native::TopicId;

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Begin {
    pub(super) at: i64,
    /// The leader epoch of the record before the offset, if it is known. The client compares it with the log.
    pub(super) epoch: Option<i32>,
}

impl Begin {
    /// A beginning at an offset, without knowledge of the record before it.
    pub(super) fn at(at: i64) -> Self {
        Self { at, epoch: None }
    }
}

/// What the group has committed for a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Committed {
    pub(super) begin: Option<Begin>,
    /// The id of the topic, if the worker committed the position.
    pub(super) topic_id: Option<TopicId>,
}

/// The answer about an assigned partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) generation: u64,
    pub(super) decision: StartDecision,
    pub(super) topic_id: Option<TopicId>,
    /// Whether the topic is another one than the topic that was read under this name.
    pub(super) remade: bool,
    /// How the partition began, if it belongs to a retry tier or a parking topic.
    pub(super) own: Option<OwnPosition>,
}

/// What to do with an assigned partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StartDecision {
    /// Read from here.
    Start(Begin),
    /// Read nothing until an operator names an offset.
    Park(Parked),
}

/// Judges a position. No record is ever skipped or read again silently: a partition whose position is not clearly sound
/// is parked.
pub(super) fn judge(kind: Kind, committed: Option<Begin>, low: i64, high: i64, is_new: bool) -> StartDecision {
    let park = |why| StartDecision::Park(Parked { why, committed: committed.map(|c| c.at), low, high });
    match committed {
        Some(begin) if (low..=high).contains(&begin.at) => StartDecision::Start(begin),
        Some(begin) if begin.at < low => park("the committed offset was deleted by retention"),
        Some(_) => park("the committed offset lies beyond the end"),
        None if kind == Kind::Waiting || is_new => StartDecision::Start(Begin::at(low)),
        None => park("the group has no committed offset"),
    }
}

/// How a partition of a retry tier or a parking topic began in this assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnPosition {
    /// The id of its topic. Empty if the brokers have no ids.
    pub topic_id: String,
    /// Set if it began without a committed offset and with records: its beginning and its end at that time.
    pub anew: Option<(i64, i64)>,
}

/// A partition without a sound position. It waits for `postback unblock offsets`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// What is wrong with the position.
    pub why: &'static str,
    /// The position that the group has committed.
    pub committed: Option<i64>,
    /// The oldest existing offset.
    pub low: i64,
    pub high: i64,
}

impl Parked {
    /// The first existing record that is not known to be finished.
    pub fn first_open(&self) -> i64 {
        self.committed.filter(|at| (self.low..=self.high).contains(at)).unwrap_or(self.low)
    }

    /// The existing records that are not known to be finished.
    pub fn lag(&self) -> i64 {
        (self.high - self.first_open()).max(0)
    }

    /// The number of records that are missing between the committed position and the existing records. Without a
    /// committed position all existing records are in doubt, so they all count.
    pub fn hole(&self) -> i64 {
        match self.committed {
            Some(at) if at < self.low => self.low - at,
            Some(at) if at > self.high => at - self.high,
            _ => self.high - self.low,
        }
    }
}

/// The broker's answer about one assigned partition.
pub(super) struct Surveyed {
    pub(super) generation: u64,
    /// The position when the query was sent, if it is in doubt.
    pub(super) suspect: Option<i64>,
    /// `None`: the survey did not ask for it.
    pub(super) committed: Option<i64>,
    /// The beginning and the end. `None`: no answer.
    pub(super) ends: Option<(i64, i64)>,
}

/// What a survey asks about one partition.
pub(super) struct Subject {
    pub(super) assignment: Arc<Assignment>,
    pub(super) suspect: Option<i64>,
}

/// The answer about a partition whose position was in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probed {
    pub(super) generation: u64,
    /// The position that the query was about.
    pub(super) at: i64,
    pub(super) suspect: bool,
    /// `None`: there was no answer.
    pub(super) next: Option<Ahead>,
}

/// What lies at a position or after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ahead {
    /// A record with this offset. If the offset is below the position, this record took the place of one that was read
    /// there.
    Record(i64),
    /// No record that can be delivered, up to this end, which the broker stated before. After it there may be records
    /// of a transaction that is still open.
    End(i64),
}

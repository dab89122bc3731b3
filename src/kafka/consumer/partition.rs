//! One owned partition, as the polling thread keeps it: its state, and a part for each subject that has rules of its
//! own. Here are the rules that join several of those parts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::assignment::Assignment;
use super::command::UnblockTo;
use super::group_position::GroupPosition;
use super::log_end::LogEnd;
use super::progress::Progress;
use super::read_ahead::ReadAhead;
use super::standstill::Standstill;
use super::start_decision::{Begin, OwnPosition, Parked, StartDecision};
use super::topic_identity::TopicIdentity;
use crate::kafka::offsets::NextOffset;

/// The state of an owned partition.
#[derive(Debug)]
pub(super) enum State {
    /// The queries look for its position.
    Judging,
    /// The client still has to compare its position with the log. No records are taken before that.
    Seeking(Begin),
    /// It starts at this time.
    Due(Instant, StartDecision),
    /// Its records are taken.
    Reading,
    /// It is owned but not read.
    Parked(Parked),
    /// It was revoked, or the consumer stops. It drains, and the rebalance or the stop waits for it.
    Leaving,
    /// It drains, and this member takes it up again afterwards.
    Turning(Instant, Next),
}

/// How a partition continues after it was drained without being revoked.
#[derive(Clone, Debug)]
pub(super) enum Next {
    /// From its frontier, because somebody dropped a record.
    Reread,
    /// From an offset below its frontier: the records above the offset were truncated, and other records took their
    /// place.
    Rewind(i64),
    /// Not at all, until an operator gives an order.
    Park(Parked),
    /// Where an operator's order says.
    Order(UnblockTo),
}

/// How long a partition rests before a dropped record is read again, because it may be dropped again.
pub(super) const REREAD_AFTER: Duration = Duration::from_secs(1);

/// What the client does with an owned partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fetching {
    /// It does not have it: the partition was not begun, or is parked.
    Absent,
    /// It has it, and got neither a pause nor a resume of it in this assignment.
    Untold,
    Paused,
    Resumed,
}

impl Fetching {
    /// What it does after it got this pause or resume.
    pub(super) fn told(pause: bool) -> Self {
        if pause { Self::Paused } else { Self::Resumed }
    }

    pub(super) fn is_in_client(self) -> bool {
        self != Self::Absent
    }
}

pub(super) struct Partition<W> {
    pub(super) assignment: Arc<Assignment>,
    pub(super) state: State,
    pub(super) fetching: Fetching,
    pub(super) progress: Progress<W>,
    pub(super) read_ahead: ReadAhead,
    pub(super) group: GroupPosition,
    pub(super) end: LogEnd,
    pub(super) standstill: Standstill,
    pub(super) topic: TopicIdentity,
    /// How it began, if it belongs to a retry tier or a parking topic.
    pub(super) own: Option<OwnPosition>,
    /// Whether an order is being carried out.
    ordering: bool,
}

/// What stays true of a partition that this member takes up again, as another assignment.
pub(super) struct Kept {
    group: GroupPosition,
    standstill: Standstill,
    topic: TopicIdentity,
}

impl<W> Partition<W> {
    pub(super) fn new(assignment: Assignment, state: State) -> Self {
        Self {
            assignment: Arc::new(assignment),
            state,
            fetching: Fetching::Absent,
            progress: Progress::default(),
            read_ahead: ReadAhead::default(),
            group: GroupPosition::default(),
            end: LogEnd::default(),
            standstill: Standstill::default(),
            topic: TopicIdentity::default(),
            own: None,
            ordering: false,
        }
    }

    pub(super) fn is_reading(&self) -> bool {
        matches!(self.state, State::Reading)
    }

    /// Whether it is about to change its state.
    pub(super) fn is_unsettled(&self) -> bool {
        matches!(self.state, State::Judging | State::Seeking(_) | State::Due(..) | State::Turning(..))
    }

    /// Whether its state may change at any moment, without a known time.
    pub(super) fn is_moving(&self) -> bool {
        matches!(self.state, State::Judging | State::Seeking(_) | State::Turning(..))
    }

    /// Updates whether records are there and none arrives. Returns `true` once that has lasted too long.
    pub(super) fn is_stuck(&mut self, now: Instant) -> bool {
        let reading = self.is_reading() && self.fetching == Fetching::Resumed;
        let behind = self.progress.position().filter(|at| reading && self.end.lies_beyond(*at));
        self.standstill.is_stuck(behind, now)
    }

    /// The position `at` was found to belong to this log.
    pub(super) fn found_sound(&mut self, at: i64) {
        if self.progress.position() == Some(at) {
            self.standstill.found_sound(at);
        }
    }

    /// The client reads it from here on, once it has compared the position with the log.
    pub(super) fn begin(&mut self, begin: Begin) {
        let seeks = begin.epoch.is_some() && begin.at > 0;
        self.state = if seeks { State::Seeking(begin) } else { State::Reading };
        self.fetching = Fetching::Untold;
        self.progress.begin(begin);
    }

    /// It is not read until an operator names an offset.
    pub(super) fn park(&mut self, parked: Parked) {
        self.group.set_committed(parked.committed);
        self.end.stated(parked.high);
        self.state = State::Parked(parked);
    }

    /// Where it continues, and the leader epoch of that position.
    pub(super) fn going_on(&self) -> Option<Begin> {
        let at = self.progress.frontier()?;
        Some(Begin { at, epoch: self.progress.epoch_before(at).filter(|_| !self.standstill.is_sound(at)) })
    }

    /// What the next assignment of the same partition takes over.
    pub(super) fn kept(&self) -> Kept {
        Kept { group: self.group.kept(), standstill: self.standstill.kept(), topic: self.topic.kept() }
    }

    pub(super) fn take_over(&mut self, kept: Kept) {
        (self.group, self.standstill, self.topic) = (kept.group, kept.standstill, kept.topic);
    }

    /// The position to store, if it is new.
    pub(super) fn to_store(&self) -> Option<NextOffset> {
        let counts = self.fetching.is_in_client() && !self.topic.is_void();
        self.progress.finished_up_to().filter(|next| counts && self.group.is_new(*next))
    }

    /// Begins an operator's order. Returns `false` if one is being carried out.
    pub(super) fn begin_order(&mut self) -> bool {
        !std::mem::replace(&mut self.ordering, true)
    }

    pub(super) fn end_order(&mut self) {
        self.ordering = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::progress::Open;

    type Part = Partition<Open>;

    #[test]
    fn a_partition_that_gives_nothing_for_a_minute_is_taken_up_anew_once_per_position() {
        let mut owned = Part::new(Assignment::new("t".into(), 0, 1), State::Reading);
        let begin = Instant::now();
        owned.progress.begin(Begin::at(5));
        owned.end.stated(9);
        owned.fetching = Fetching::Resumed;
        assert!(!owned.is_stuck(begin));
        assert!(!owned.is_stuck(begin + Duration::from_secs(59)));
        assert!(owned.is_stuck(begin + Duration::from_secs(60)));
        owned.standstill.nudged(Some(5));
        assert!(!owned.is_stuck(begin + Duration::from_secs(90)));
        owned.standstill.nudged(None);
        owned.fetching = Fetching::Paused;
        assert!(!owned.is_stuck(begin + Duration::from_secs(90)), "paused on purpose");
        owned.fetching = Fetching::Resumed;
        owned.end.stated(5);
        assert!(!owned.is_stuck(begin + Duration::from_secs(500)), "nothing more is there");
    }

    #[test]
    fn a_position_that_was_found_sound_is_taken_up_once_more_and_not_compared_again() {
        let mut owned = Part::new(Assignment::new("t".into(), 0, 1), State::Reading);
        owned.progress.begin(Begin { at: 5, epoch: Some(2) });
        owned.standstill.nudged(Some(5));
        let nudged_at = |owned: &Part| owned.standstill.nudged_at();
        assert_eq!(owned.going_on(), Some(Begin { at: 5, epoch: Some(2) }));
        owned.found_sound(4);
        assert_eq!(nudged_at(&owned), Some(5));
        assert!(!owned.standstill.is_sound(4), "of an earlier position");
        owned.found_sound(5);
        assert_eq!((nudged_at(&owned), owned.going_on()), (None, Some(Begin::at(5))));
        owned.standstill.nudged(Some(5));
        owned.found_sound(5);
        assert_eq!(nudged_at(&owned), Some(5), "once");
    }
}

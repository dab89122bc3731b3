//! One owned partition, as the polling thread keeps it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::assignment::Assignment;
use super::command::UnblockTo;
use super::epochs::Epochs;
use super::start_decision::{Begin, OwnPosition, Parked, StartDecision};
use crate::kafka::native::TopicId;
use crate::kafka::offsets::{NextOffset, OffsetTracker};

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

/// If the client delivers nothing for this long although there are more records, it has lost a wake-up.
const STUCK_AFTER: Duration = Duration::from_secs(60);

pub(super) struct Partition<W> {
    pub(super) assignment: Arc<Assignment>,
    pub(super) state: State,
    pub(super) tracker: OffsetTracker<W>,
    /// Unfinished records that nobody works on any more.
    pub(super) given_back: usize,
    /// Whether the client reads it. A parked partition is owned, but the client does not have it.
    pub(super) in_client: bool,
    /// The last pause or resume that the client received. `None`: none yet in this assignment.
    pub(super) paused: Option<bool>,
    /// Whether as many records were read beyond the first unfinished one as may be.
    pub(super) window_full: bool,
    /// The offset where it began.
    pub(super) start: Option<i64>,
    pub(super) stored: Option<NextOffset>,
    pub(super) committed: Option<i64>,
    pub(super) unacked_since: Option<Instant>,
    pub(super) high: Option<i64>,
    /// Its position when the client was last asked for its end.
    pub(super) looked_at: Option<i64>,
    /// The time of the last record that was read, by [`crate::clock::steady_ms`].
    pub(super) last_steady_ms: Option<i64>,
    /// Whether an order is being carried out.
    pub(super) ordering: bool,
    /// Its position while no record was unfinished and the end lay further on, and since when.
    pub(super) quiet: Option<(i64, Instant)>,
    /// Its position while more records were there and none arrived, and since when.
    pub(super) stuck: Option<(i64, Instant)>,
    /// The position at which it was taken up again because no record arrived. This happens once per position.
    pub(super) nudged_at: Option<i64>,
    /// A position that was compared with the log and found to belong to it.
    pub(super) sound_at: Option<i64>,
    /// The id of its topic. Another topic may have the same name later.
    pub(super) topic_id: Option<TopicId>,
    /// The leader epochs of its records.
    pub(super) epochs: Epochs,
    /// Whether its topic was deleted and created again, so that positions of the old topic mean nothing in the new one.
    pub(super) void: bool,
    /// When another topic was found under the same name, in epoch ms.
    pub(super) remade_ms: Option<i64>,
    /// How it began, if it belongs to a retry tier or a parking topic.
    pub(super) own: Option<OwnPosition>,
}

impl<W> Partition<W> {
    pub(super) fn new(assignment: Assignment, state: State) -> Self {
        Self {
            assignment: Arc::new(assignment),
            state,
            tracker: OffsetTracker::new(),
            given_back: 0,
            in_client: false,
            paused: None,
            window_full: false,
            start: None,
            stored: None,
            committed: None,
            unacked_since: None,
            high: None,
            looked_at: None,
            last_steady_ms: None,
            ordering: false,
            quiet: None,
            stuck: None,
            nudged_at: None,
            sound_at: None,
            topic_id: None,
            epochs: Epochs::default(),
            void: false,
            remade_ms: None,
            own: None,
        }
    }

    /// Whether it is about to change its state.
    pub(super) fn is_unsettled(&self) -> bool {
        matches!(self.state, State::Judging | State::Seeking(_) | State::Due(..) | State::Turning(..))
    }

    /// Whether its state may change at any moment, without a known time.
    pub(super) fn is_moving(&self) -> bool {
        matches!(self.state, State::Judging | State::Seeking(_) | State::Turning(..))
    }

    /// The records that somebody still works on.
    pub(super) fn pending(&self) -> usize {
        self.tracker.len().saturating_sub(self.given_back)
    }

    pub(super) fn frontier(&self) -> Option<i64> {
        self.tracker.frontier().map(NextOffset::get).or(self.start)
    }

    /// The next offset to read.
    pub(super) fn position(&self) -> Option<i64> {
        self.tracker.last_received().map(|last| NextOffset::after(last).get()).or(self.start)
    }

    /// Updates whether records are there and none arrives. Returns `true` once that has lasted too long.
    pub(super) fn is_stuck(&mut self, now: Instant) -> bool {
        let behind = self.position().filter(|at| self.high.is_some_and(|high| *at < high));
        let reading = matches!(self.state, State::Reading) && self.paused == Some(false);
        self.stuck = match (behind.filter(|_| reading), self.stuck) {
            (Some(at), Some((then, since))) if then == at => Some((at, since)),
            (Some(at), _) => Some((at, now)),
            (None, _) => None,
        };
        // After the last record there may be only transaction markers. Then nothing more will arrive, so it is taken up
        // again only once for each position.
        self.stuck.is_some_and(|(at, since)| now - since >= STUCK_AFTER && self.nudged_at != Some(at))
    }

    /// Remembers that the position belongs to this log. If the client is stuck at it all the same, the partition is
    /// taken up once more, without the comparison.
    pub(super) fn found_sound(&mut self, at: i64) {
        if self.position() == Some(at) && self.sound_at != Some(at) {
            (self.sound_at, self.nudged_at) = (Some(at), None);
        }
    }

    /// The client reads it from here on, once it has compared the position with the log.
    pub(super) fn begin(&mut self, begin: Begin) {
        let Begin { at, epoch } = begin;
        let seeks = epoch.is_some() && at > 0;
        self.state = if seeks { State::Seeking(begin) } else { State::Reading };
        (self.in_client, self.start, self.paused) = (true, Some(at), None);
        self.epochs = Epochs::starting(at, epoch);
    }

    /// Where it continues, and the leader epoch of that position.
    pub(super) fn going_on(&self) -> Option<Begin> {
        let at = self.frontier()?;
        Some(Begin { at, epoch: self.epochs.before(at).filter(|_| self.sound_at != Some(at)) })
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

    /// The position to store, if it is new.
    pub(super) fn to_store(&self) -> Option<NextOffset> {
        let next = self.tracker.frontier().filter(|_| self.in_client && !self.void);
        next.filter(|next| self.stored.is_none_or(|stored| *next > stored))
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
        (owned.start, owned.high, owned.paused) = (Some(5), Some(9), Some(false));
        assert!(!owned.is_stuck(begin));
        assert!(!owned.is_stuck(begin + Duration::from_secs(59)));
        assert!(owned.is_stuck(begin + Duration::from_secs(60)));
        owned.nudged_at = Some(5);
        assert!(!owned.is_stuck(begin + Duration::from_secs(90)));
        (owned.nudged_at, owned.paused) = (None, Some(true));
        assert!(!owned.is_stuck(begin + Duration::from_secs(90)), "paused on purpose");
        (owned.paused, owned.high) = (Some(false), Some(5));
        assert!(!owned.is_stuck(begin + Duration::from_secs(500)), "nothing more is there");
    }

    #[test]
    fn a_position_that_was_found_sound_is_taken_up_once_more_and_not_compared_again() {
        let mut owned = Part::new(Assignment::new("t".into(), 0, 1), State::Reading);
        (owned.start, owned.epochs, owned.nudged_at) = (Some(5), Epochs::starting(5, Some(2)), Some(5));
        assert_eq!(owned.going_on(), Some(Begin { at: 5, epoch: Some(2) }));
        owned.found_sound(4);
        assert_eq!((owned.nudged_at, owned.sound_at), (Some(5), None), "of an earlier position");
        owned.found_sound(5);
        assert_eq!((owned.nudged_at, owned.going_on()), (None, Some(Begin::at(5))));
        owned.nudged_at = Some(5);
        owned.found_sound(5);
        assert_eq!(owned.nudged_at, Some(5), "once");
    }
}

//! One owned partition, as the polling thread keeps it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::assignment::Assignment;
use super::command::UnblockTo;
use super::epochs::Epochs;
use super::verdict::{Begin, OwnPosition, Parked, Verdict};
use crate::kafka::native::TopicId;
use crate::kafka::offsets::{NextOffset, OffsetTracker};

/// Where a partition stands.
#[derive(Debug)]
pub(super) enum State {
    /// Its position is being asked for.
    Judging,
    /// The client is to compare its position with the log before records of it are taken.
    Seeking(Begin),
    /// It starts when its time has come.
    Due(Instant, Verdict),
    /// Records of it are taken.
    Reading,
    /// Owned, not read.
    Parked(Parked),
    /// Revoked, or the consumer stops: drains; whoever asked waits for it.
    Leaving,
    /// Drains, and is then taken up again by this member.
    Turning(Instant, Next),
}

/// How a partition goes on after it was drained without being revoked.
#[derive(Clone, Debug)]
pub(super) enum Next {
    /// From its frontier, since somebody dropped a record.
    Reread,
    /// From an offset below its frontier: what lay above it was cut off, and other records took its place.
    Rewind(i64),
    /// Not at all until an operator says.
    Park(Parked),
    /// Where an operator said.
    Order(UnblockTo),
}

/// How long a partition rests before a record that was dropped is read again: it may be dropped again.
pub(super) const REREAD_AFTER: Duration = Duration::from_secs(1);

/// A client that gives nothing for this long, though there is more, has lost a wake-up.
const STUCK_AFTER: Duration = Duration::from_secs(60);

pub(super) struct Partition<W> {
    pub(super) assignment: Arc<Assignment>,
    pub(super) state: State,
    pub(super) tracker: OffsetTracker<W>,
    /// Unfinished records that nobody works on any more.
    pub(super) given_back: usize,
    /// The client reads it. Parked partitions are owned, but not held.
    pub(super) held: bool,
    /// What the client was told; `None`: nothing yet in this assignment.
    pub(super) paused: Option<bool>,
    /// Where it began.
    pub(super) start: Option<i64>,
    pub(super) stored: Option<NextOffset>,
    pub(super) committed: Option<i64>,
    pub(super) unacked_since: Option<Instant>,
    pub(super) high: Option<i64>,
    /// Where it stood when the client was asked for its end.
    pub(super) looked_at: Option<i64>,
    /// Time of the last record read, by [`crate::clock::steady_ms`].
    pub(super) last_steady_ms: Option<i64>,
    /// An order is being carried out.
    pub(super) ordering: bool,
    /// Where it stood with nothing unfinished, though the end lay further on, and since when.
    pub(super) quiet: Option<(i64, Instant)>,
    /// Where it stood, though there was more, and since when.
    pub(super) stuck: Option<(i64, Instant)>,
    /// Where it was taken up anew since nothing came; once per position.
    pub(super) nudged_at: Option<i64>,
    /// A position that was compared with the log and is one of it.
    pub(super) sound_at: Option<i64>,
    /// Of which topic it is: another one may have its name later.
    pub(super) topic_id: Option<TopicId>,
    /// Of which leader epochs its records were.
    pub(super) epochs: Epochs,
    /// Its topic was deleted and made again: what was read of the old one is no position in the new one.
    pub(super) void: bool,
    /// Since when its topic is another one under the known name, epoch ms.
    pub(super) remade_ms: Option<i64>,
    /// How it began, where it is of the worker's own topics.
    pub(super) own: Option<OwnPosition>,
}

impl<W> Partition<W> {
    pub(super) fn new(assignment: Assignment, state: State) -> Self {
        Self {
            assignment: Arc::new(assignment),
            state,
            tracker: OffsetTracker::new(),
            given_back: 0,
            held: false,
            paused: None,
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

    /// Something is still to be done with it.
    pub(super) fn is_unsettled(&self) -> bool {
        matches!(self.state, State::Judging | State::Seeking(_) | State::Due(..) | State::Turning(..))
    }

    /// That may be done at any moment.
    pub(super) fn is_moving(&self) -> bool {
        matches!(self.state, State::Judging | State::Seeking(_) | State::Turning(..))
    }

    /// Records that somebody still works on.
    pub(super) fn pending(&self) -> usize {
        self.tracker.len().saturating_sub(self.given_back)
    }

    pub(super) fn frontier(&self) -> Option<i64> {
        self.tracker.frontier().map(NextOffset::get).or(self.start)
    }

    /// The next offset to be read.
    pub(super) fn position(&self) -> Option<i64> {
        self.tracker.last_received().map(|last| NextOffset::after(last).get()).or(self.start)
    }

    /// Notes whether records are there and none come; `true` once that has lasted.
    pub(super) fn is_stuck(&mut self, now: Instant) -> bool {
        let behind = self.position().filter(|at| self.high.is_some_and(|high| *at < high));
        let reading = matches!(self.state, State::Reading) && self.paused == Some(false);
        self.stuck = match (behind.filter(|_| reading), self.stuck) {
            (Some(at), Some((then, since))) if then == at => Some((at, since)),
            (Some(at), _) => Some((at, now)),
            (None, _) => None,
        };
        // Behind the last record there may be only markers of transactions: then there is nothing to wait for.
        self.stuck.is_some_and(|(at, since)| now - since >= STUCK_AFTER && self.nudged_at != Some(at))
    }

    /// What comes next was found at this position: where the client stands still all the same, it is taken up once more, and
    /// without being compared.
    pub(super) fn found_sound(&mut self, at: i64) {
        if self.position() == Some(at) && self.sound_at != Some(at) {
            (self.sound_at, self.nudged_at) = (Some(at), None);
        }
    }

    /// Where it goes on, and of which leader epoch that is.
    pub(super) fn going_on(&self) -> Option<Begin> {
        let at = self.frontier()?;
        Some(Begin { at, epoch: self.epochs.before(at).filter(|_| self.sound_at != Some(at)) })
    }

    /// The broker has `next` of it.
    pub(super) fn confirmed(&mut self, next: i64) {
        self.committed = Some(next);
        self.unacked_since = match self.stored {
            // What was stored since the last commit is younger than one interval.
            Some(stored) if stored.get() > next => Some(Instant::now()),
            _ => None,
        };
    }

    /// What is to be stored, if anything is new.
    pub(super) fn to_store(&self) -> Option<NextOffset> {
        let next = self.tracker.frontier().filter(|_| self.held && !self.void);
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
        let mut part = Part::new(Assignment::new("t".into(), 0, 1), State::Reading);
        let begin = Instant::now();
        (part.start, part.high, part.paused) = (Some(5), Some(9), Some(false));
        assert!(!part.is_stuck(begin));
        assert!(!part.is_stuck(begin + Duration::from_secs(59)));
        assert!(part.is_stuck(begin + Duration::from_secs(60)));
        part.nudged_at = Some(5);
        assert!(!part.is_stuck(begin + Duration::from_secs(90)));
        (part.nudged_at, part.paused) = (None, Some(true));
        assert!(!part.is_stuck(begin + Duration::from_secs(90)), "paused on purpose");
        (part.paused, part.high) = (Some(false), Some(5));
        assert!(!part.is_stuck(begin + Duration::from_secs(500)), "nothing more is there");
    }

    #[test]
    fn a_position_that_was_found_sound_is_taken_up_once_more_and_not_compared_again() {
        let mut part = Part::new(Assignment::new("t".into(), 0, 1), State::Reading);
        (part.start, part.epochs, part.nudged_at) = (Some(5), Epochs::starting(5, Some(2)), Some(5));
        assert_eq!(part.going_on(), Some(Begin { at: 5, epoch: Some(2) }));
        part.found_sound(4);
        assert_eq!((part.nudged_at, part.sound_at), (Some(5), None), "of an earlier position");
        part.found_sound(5);
        assert_eq!((part.nudged_at, part.going_on()), (None, Some(Begin::at(5))));
        part.nudged_at = Some(5);
        part.found_sound(5);
        assert_eq!(part.nudged_at, Some(5), "once");
    }
}

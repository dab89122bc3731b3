//! Which partitions are paused, and when no records are taken at all.
//!
//! A pause drops the records that were fetched ahead. So a bound of the handler first makes the loop skip polls, and
//! pauses the partitions only if it lasts.

use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer as _;

use super::client::Client;
use super::handler::{Flow, Handler};
use super::partition::{Fetching, State};
use super::partitions::Partitions;

/// If polls were skipped for this long, the bound is likely to last, and the partitions are paused. They are not paused
/// sooner, because a pause drops the records that were fetched ahead.
const PAUSE_AFTER: Duration = Duration::from_millis(500);

#[derive(Default)]
pub(super) struct Pauses {
    /// A bound was reached for so long that every partition is paused.
    resting: bool,
    skipping_since: Option<Instant>,
    /// The inputs from which the pauses were last derived. `None`: derive them again.
    seen: Option<(u64, bool)>,
}

impl Pauses {
    pub(super) fn is_resting(&self) -> bool {
        self.resting
    }

    /// Skips polls while a bound is reached. If that lasts, it pauses all partitions and continues to poll.
    pub(super) fn flow(&mut self, wanted: Flow, now: Instant) -> Flow {
        if wanted == Flow::Poll {
            (self.skipping_since, self.resting) = (None, false);
            return Flow::Poll;
        }
        let since = *self.skipping_since.get_or_insert(now);
        self.resting |= now - since >= PAUSE_AFTER;
        if self.resting { Flow::Poll } else { Flow::Skip }
    }

    /// Tells the client which partitions to pause; only changes are sent. Inside the client a pause survives a
    /// revocation, so each assignment begins with an explicit pause or resume.
    pub(super) fn apply<H: Handler>(
        &mut self,
        partitions: &mut Partitions<H::Work>,
        client: &Client<H::Work>,
        handler: &H,
    ) {
        let follow = handler.pauses().map(|pauses| (pauses, self.resting));
        if !partitions.pauses_changed && follow.is_some() && follow == self.seen {
            return;
        }
        (self.seen, partitions.pauses_changed) = (follow, false);
        let (mut pause, mut resume) = (TopicPartitionList::new(), TopicPartitionList::new());
        let mut told: Vec<(u64, bool)> = Vec::new();
        // A partition that is still being compared with the log is paused or resumed once it is read.
        for owned in partitions.iter().filter(|p| p.fetching.is_in_client() && !matches!(p.state, State::Seeking(_))) {
            let assignment = &owned.assignment;
            let want = self.resting
                || assignment.is_leaving()
                || owned.read_ahead.is_full()
                || handler.pause_wanted(&assignment.topic, assignment.partition);
            if owned.fetching != Fetching::told(want) {
                let list = if want { &mut pause } else { &mut resume };
                list.add_partition(&assignment.topic, assignment.partition);
                told.push((assignment.generation, want));
            }
        }
        if told.is_empty() {
            return;
        }
        for (list, result) in [(&pause, client.consumer.pause(&pause)), (&resume, client.consumer.resume(&resume))] {
            if let (false, Err(error)) = (list.count() == 0, result) {
                tracing::warn!(%error, "pause or resume was refused");
                self.seen = None;
                return;
            }
        }
        for (generation, want) in told {
            if let Some(owned) = partitions.get_mut(generation) {
                owned.fetching = Fetching::told(want);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_skips_polls_and_pauses_all_only_if_it_lasts() {
        let mut pauses = Pauses::default();
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        assert_eq!(pauses.flow(Flow::Poll, at(0)), Flow::Poll);
        assert_eq!(pauses.flow(Flow::Skip, at(100)), Flow::Skip);
        assert_eq!(pauses.flow(Flow::Skip, at(599)), Flow::Skip);
        assert!(!pauses.is_resting());
        assert_eq!(pauses.flow(Flow::Skip, at(600)), Flow::Poll, "it polls again, since all are paused");
        assert!(pauses.is_resting());
        assert_eq!(pauses.flow(Flow::Poll, at(700)), Flow::Poll);
        assert!(!pauses.is_resting());
        assert_eq!(pauses.flow(Flow::Skip, at(800)), Flow::Skip, "the time begins anew");
        assert_eq!(pauses.flow(Flow::Poll, at(900)), Flow::Poll);
        assert_eq!(pauses.flow(Flow::Skip, at(1_350)), Flow::Skip);
    }
}

//! For which partitions the consumer waits until the work on their records has ended, and how long: those that the
//! group asks back, and all of them if the consumer stops (pure).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long the last commit may take.
pub(super) const FLUSH_WITHIN: Duration = Duration::from_secs(3);

/// Partitions that have to be given back together.
#[derive(Clone, Debug)]
pub(super) struct Revoked {
    pub(super) generations: Vec<u64>,
    pub(super) deadline: Instant,
}

/// A consumer that was asked to end.
struct Stopping {
    deadline: Instant,
    /// The deadline of the last commit. `None`: the consumer still drains.
    flush: Option<Instant>,
    flushed: bool,
    /// Whether it continues with a new client.
    renew: bool,
}

/// What comes next in a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StopStep {
    /// Nothing: the consumer does not stop, or waits.
    Wait,
    /// Everything is drained, or the time for it is over: the positions are stored and committed.
    Flush,
    /// The positions are committed, or the time for it is over.
    End,
}

pub(super) struct Drains {
    /// How long a partition waits for its unfinished records.
    within: Duration,
    /// Revocations without an answer, oldest first.
    revoked: VecDeque<Revoked>,
    stopping: Option<Stopping>,
    /// How often partitions were given back while records were still under way.
    pub(super) expired: u64,
}

impl Drains {
    pub(super) fn new(within: Duration) -> Self {
        Self { within, revoked: VecDeque::new(), stopping: None, expired: 0 }
    }

    /// When a drain that begins now is over.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.within
    }

    /// The group asks for these partitions.
    pub(super) fn revoke(&mut self, generations: Vec<u64>) {
        self.revoked.push_back(Revoked { generations, deadline: self.deadline() });
    }

    /// The revocation that is answered next.
    pub(super) fn next_revoked(&self) -> Option<&Revoked> {
        self.revoked.front()
    }

    /// Takes the revocation that is answered next from the queue.
    pub(super) fn pop_revoked(&mut self) -> Option<Revoked> {
        self.revoked.pop_front()
    }

    pub(super) fn is_answering(&self) -> bool {
        !self.revoked.is_empty()
    }

    /// Whether partitions drain that do not stay with this member.
    pub(super) fn is_draining(&self) -> bool {
        self.is_stopping() || self.is_answering()
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    pub(super) fn is_renewing(&self) -> bool {
        self.stopping.as_ref().is_some_and(|stopping| stopping.renew)
    }

    /// Stops for good. Returns `false` if a stop has begun before; it then goes on without a renewal.
    pub(super) fn stop(&mut self, within: Duration) -> bool {
        if let Some(stopping) = &mut self.stopping {
            stopping.renew = false;
            return false;
        }
        self.begin_to_stop(within, false);
        true
    }

    /// Stops in the same way, to start again with a new client. Returns `false` if a stop has begun before.
    pub(super) fn stop_to_renew(&mut self) -> bool {
        if self.is_stopping() {
            return false;
        }
        self.begin_to_stop(self.within, true);
        true
    }

    fn begin_to_stop(&mut self, within: Duration, renew: bool) {
        let deadline = Instant::now() + within;
        self.stopping = Some(Stopping { deadline, flush: None, flushed: false, renew });
    }

    /// The next step of the stop. `is_busy` tells whether somebody still works on a record.
    pub(super) fn step(&mut self, now: Instant, is_busy: impl FnOnce() -> bool) -> StopStep {
        let Some(stopping) = &mut self.stopping else { return StopStep::Wait };
        match stopping.flush {
            Some(deadline) if stopping.flushed || now >= deadline => StopStep::End,
            Some(_) => StopStep::Wait,
            None if now < stopping.deadline && is_busy() => StopStep::Wait,
            None => {
                stopping.flush = Some(now + FLUSH_WITHIN);
                StopStep::Flush
            }
        }
    }

    /// The broker has the positions that were stored before the stop, or refuses them.
    pub(super) fn flushed(&mut self) {
        if let Some(stopping) = &mut self.stopping {
            stopping.flushed = true;
        }
    }

    /// Ends the stop. Returns whether the consumer continues with a new client.
    pub(super) fn take_renewal(&mut self) -> bool {
        self.stopping.take().is_some_and(|stopping| stopping.renew)
    }

    /// Counts and logs the records that somebody still works on when their partition goes. The next owner of the
    /// partition reads them again.
    pub(super) fn ended(&mut self, busy: usize, consumer: &str) {
        if busy > 0 {
            self.expired += 1;
            tracing::warn!(
                consumer = %consumer, unfinished = busy,
                "partitions went with work under way: it is read again, and a second send of it is declared"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_secs(5);

    #[test]
    fn a_stop_waits_for_the_work_then_for_the_last_commit_and_for_each_only_so_long() {
        let mut drains = Drains::new(WITHIN);
        let begin = Instant::now();
        let (early, late) = (begin + Duration::from_secs(1), begin + Duration::from_secs(60));
        assert_eq!(drains.step(late, || panic!("nobody asks while it runs")), StopStep::Wait);
        assert!(drains.stop(WITHIN) && drains.is_stopping() && !drains.is_renewing());
        assert_eq!(drains.step(early, || true), StopStep::Wait);
        assert_eq!(drains.step(early, || false), StopStep::Flush);
        assert_eq!(drains.step(early, || panic!("it has drained")), StopStep::Wait);
        drains.flushed();
        assert_eq!(drains.step(early, || true), StopStep::End);

        let mut drains = Drains::new(WITHIN);
        assert!(drains.stop(WITHIN));
        assert_eq!(drains.step(late, || true), StopStep::Flush, "the work takes too long");
        assert_eq!(drains.step(late + FLUSH_WITHIN, || true), StopStep::End, "the commit takes too long");
    }

    #[test]
    fn a_stop_for_good_takes_a_renewal_away_and_the_other_way_round_does_nothing() {
        let mut drains = Drains::new(WITHIN);
        assert!(drains.stop_to_renew() && drains.is_renewing());
        assert!(!drains.stop_to_renew() && drains.is_renewing());
        assert!(!drains.stop(WITHIN) && drains.is_stopping() && !drains.is_renewing());
        assert!(!drains.take_renewal() && !drains.is_stopping());
        assert!(drains.stop(WITHIN) && !drains.stop_to_renew() && !drains.is_renewing());
    }

    #[test]
    fn revocations_are_answered_one_after_the_other() {
        let mut drains = Drains::new(WITHIN);
        assert!(!drains.is_draining());
        drains.revoke(vec![1, 2]);
        drains.revoke(vec![3]);
        assert_eq!(drains.next_revoked().map(|revoked| revoked.generations.clone()), Some(vec![1, 2]));
        assert_eq!(drains.pop_revoked().map(|revoked| revoked.generations), Some(vec![1, 2]));
        assert!(drains.is_answering() && drains.is_draining());
        assert_eq!(drains.pop_revoked().map(|revoked| revoked.generations), Some(vec![3]));
        assert!(!drains.is_answering() && drains.next_revoked().is_none());
    }
}

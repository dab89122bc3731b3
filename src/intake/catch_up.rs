//! How far the intake reads ahead of the threads of the lanes.
//!
//! A record that its thread has not come to yet only fills memory. With records of many lanes the caches of the
//! processor then hold nothing of a record when its turn comes, so that each of its steps waits for memory. So the
//! intake waits until the threads catch up. Records that wait for Redis, a platform, a rate, or Kafka do not count:
//! they are those that are in flight when their thread has run out of work.

use std::time::{Duration, Instant};

use crate::delivery::progress::{HandedOver, Open};

/// The intake reads this many records ahead of a thread. They keep it busy for about twice as long as a skipped poll
/// lasts, so that it does not run out of work before the intake looks again.
const AHEAD: usize = 256;
/// A thread that has run out of work gets this many records, however far ahead of the other threads the intake is: a
/// topic may bring long runs of records for the lanes of one thread.
const FEW: usize = 32;
/// The intake waits no longer than this, because a thread that hangs must not stop the lanes of the others. A busy
/// machine keeps a thread from running for a shorter time.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// Decides whether the threads have to catch up.
pub(super) struct CatchUp {
    threads: Vec<Thread>,
    /// Since when the intake waits.
    since: Option<Instant>,
}

/// A thread of the lanes.
struct Thread {
    /// How often it had run out of work when the intake last looked.
    idled: u64,
    /// It got records of the present batch.
    got_some: bool,
    /// A round ends when it has run out of work.
    round: u64,
    /// The records in flight that it got in this round.
    ahead: usize,
    /// It ran out of work, and got few records since. At first no thread has work.
    is_short: bool,
}

impl Thread {
    fn new(idled: u64) -> Self {
        Self { idled, got_some: false, round: 0, ahead: 0, is_short: true }
    }

    fn end_round(&mut self) {
        self.round += 1;
        self.ahead = 0;
    }
}

impl CatchUp {
    /// `idled` says, here and below, how often each thread has run out of work. Without threads nothing has to catch
    /// up.
    pub(super) fn new(idled: impl Iterator<Item = u64>) -> Self {
        Self { threads: idled.map(Thread::new).collect(), since: None }
    }

    /// Counts a record for a lane of this thread.
    pub(super) fn hands_over(&mut self, open: &Open, thread: usize) {
        if let Some(own) = self.threads.get_mut(thread) {
            own.ahead += 1;
            own.got_some = true;
            own.is_short &= own.ahead < FEW;
            // A record is handed over once.
            let _ = open.handed_over.set(HandedOver { round: own.round, thread });
        }
    }

    /// The lanes have the records of a batch now. A thread that ran out of work before has work again if some of them
    /// are its own.
    pub(super) fn batch_ended(&mut self, idled: impl Iterator<Item = u64>) {
        for (thread, idled) in self.threads.iter_mut().zip(idled) {
            if std::mem::take(&mut thread.got_some) {
                thread.idled = idled;
            }
        }
    }

    /// This record has ended.
    pub(super) fn completed(&mut self, open: &Open) {
        let Some(record) = open.handed_over.get() else { return };
        if let Some(thread) = self.threads.get_mut(record.thread).filter(|thread| thread.round == record.round) {
            thread.ahead = thread.ahead.saturating_sub(1);
        }
    }

    /// Whether the intake has to wait.
    pub(super) fn is_needed(&mut self, idled: impl Iterator<Item = u64>, now: Instant) -> bool {
        let is_needed = self.is_far_ahead() && {
            self.end_rounds(idled, now);
            self.is_far_ahead() && !self.threads.iter().any(|thread| thread.is_short)
        };
        self.since = is_needed.then(|| self.since.unwrap_or(now));
        is_needed
    }

    /// Once it waits, it waits for an eighth of the records, so that the next batch has several.
    fn is_far_ahead(&self) -> bool {
        let limit = if self.since.is_some() { AHEAD / 8 * 7 } else { AHEAD };
        self.threads.iter().any(|thread| thread.ahead >= limit)
    }

    fn end_rounds(&mut self, idled: impl Iterator<Item = u64>, now: Instant) {
        let is_late = self.since.is_some_and(|since| now.saturating_duration_since(since) >= LONGEST_WAIT);
        for (thread, idled) in self.threads.iter_mut().zip(idled) {
            let ran_out = std::mem::replace(&mut thread.idled, idled) != idled;
            if ran_out || is_late {
                thread.end_round();
                thread.is_short |= ran_out;
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! What the polling thread asks of whoever works on its records.

use std::time::{Duration, Instant};

use super::ack_handle::AckHandle;
use super::assignment::Assignment;
use super::work::Work;
use crate::kafka::record::Record;

/// Whether the handler takes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Take what is there.
    Poll,
    /// A bound is reached: take nothing for now.
    Skip,
}

/// What the polling thread asks of whoever works on the records. Every method runs on that thread and must not block.
pub trait Handler: Send {
    /// What is kept beside each record while its offset is held back.
    type Work: Work;

    /// A record, already registered; the ack handle holds its offset back until it is completed.
    fn received(&mut self, record: Record, ack: AckHandle<Self::Work>);
    /// The end of a batch of `received`.
    fn flush(&mut self);
    /// A record of a current assignment has ended; called once per record, and with no end after which it is read again.
    fn completed(&mut self, work: &Self::Work, end: <Self::Work as Work>::End);
    /// A record was unfinished when its partition was handed back.
    fn returned(&mut self, work: &Self::Work);
    /// Start nothing more of this assignment, and give back what is queued.
    fn leaving(&mut self, assignment: &Assignment);
    /// Asked before each poll. Half a second of `Skip` pauses every partition.
    fn may_poll(&mut self) -> Flow;
    /// Changes whenever some answer of `pause_wanted` may have changed; `None`: it is to be asked in each turn.
    fn pauses(&self) -> Option<u64> {
        None
    }
    /// Whether this partition should rest.
    fn pause_wanted(&self, topic: &str, partition: i32) -> bool;
    /// Called in each turn; the answer says when it wants to be called again.
    fn tick(&mut self, now: Instant) -> Option<Duration>;
}

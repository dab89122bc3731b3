//! The interface between the polling thread and the code that works on its records.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ack_handle::AckHandle;
use super::assignment::Assignment;
use super::work::Work;
use crate::kafka::record::Record;

/// Whether the handler takes more records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Poll for records.
    Poll,
    /// A bound is reached: take no records for now.
    Skip,
}

/// The code that works on the records of a consumer. Every method runs on the polling thread and must not block.
pub trait Handler: Send {
    /// What is kept beside each record while its offset is held back.
    type Work: Work;

    /// Handles a new record, which is registered already. The ack handle holds its offset back until it is completed.
    fn received(&mut self, record: Record, ack: AckHandle<Self::Work>);
    /// Called at the end of a batch of `received`.
    fn flush(&mut self);
    /// A record of a present assignment has ended. Called once per record, and not for an end after which the record is
    /// read again.
    fn completed(&mut self, work: &Self::Work, end: <Self::Work as Work>::End);
    /// These records hold their partition's position back, although most of the records after them are finished. The
    /// handler lets those of them leave that can, by a durable copy elsewhere. Returns how many it was not asked about
    /// before.
    fn hand_off(&mut self, _blockers: &[Arc<Self::Work>]) -> usize {
        0
    }
    /// A record was unfinished when its partition was given back.
    fn returned(&mut self, work: &Self::Work);
    /// The assignment is about to leave: begin no new work on its records, and give the queued ones back.
    fn leaving(&mut self, assignment: &Assignment);
    /// Asked before each poll. If the answer is `Skip` for half a second, every partition is paused.
    fn may_poll(&mut self) -> Flow;
    /// A number that changes whenever some answer of `pause_wanted` may have changed. `None`: `pause_wanted` is asked
    /// in each turn of the loop.
    fn pauses(&self) -> Option<u64> {
        None
    }
    /// Whether this partition should be paused.
    fn pause_wanted(&self, topic: &str, partition: i32) -> bool;
    /// Called in each turn of the loop. The answer says when the handler wants to be called again.
    fn tick(&mut self, now: Instant) -> Option<Duration>;
}

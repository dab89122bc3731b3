//! Bounds how far a partition is read beyond its first unfinished record, and has what holds its position back handed
//! off before the bound is reached.
//!
//! The bound protects no memory, because finished records are forgotten. It bounds what is read again after a crash,
//! and keeps the committed position near the present: retention deletes what was never committed like anything else. It
//! is ten times the bound of unfinished records, so that a request that hangs until its timeout fills no window by
//! itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::assignment::Assignment;
use super::handler::Handler;
use super::partition::Partition;
use super::partitions::Partitions;
use super::read_ahead::{Judgement, judge};
use super::work::Work;
use crate::quiet::QuietKinds;

/// The time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The windows of the partitions.
pub(super) struct Windows {
    /// The most records of one partition that may be read beyond its first unfinished one. `None`: no bound.
    most: Option<u64>,
    next_look: Instant,
    /// Of each partition, whether its window was full.
    quiet: QuietKinds<(Arc<str>, i32, bool)>,
}

impl Windows {
    pub(super) fn new(most: Option<u64>, now: Instant) -> Self {
        Self { most, next_look: now, quiet: QuietKinds::default() }
    }

    /// Returns whether the record that was just received fills the window of its partition.
    pub(super) fn fill<W>(&self, owned: &mut Partition<W>) -> bool {
        self.most.is_some_and(|most| owned.read_ahead.fill(owned.progress.span(), most))
    }

    /// Looks for windows that are nearly full, from time to time.
    pub(super) fn look<H: Handler>(&mut self, now: Instant, partitions: &mut Partitions<H::Work>, handler: &mut H) {
        let Some(most) = self.most else { return };
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK_EVERY;
        let mut has_room = false;
        for owned in partitions.iter_mut().filter(|owned| owned.is_reading()) {
            let span = owned.progress.span();
            let Assignment { topic, partition, .. } = &*owned.assignment;
            has_room |= owned.read_ahead.open(span, most);
            if judge(span, owned.progress.unfinished() as u64, most) == Judgement::Fine {
                continue;
            }
            let blockers: Vec<Arc<H::Work>> = owned.progress.behind(most / 2).cloned().collect();
            let new = handler.hand_off(&blockers);
            let told = |full: bool| self.quiet.allow((topic.clone(), *partition, full), now);
            let offset = owned.progress.oldest().map(|first| first.offset);
            if new > 0
                && let Some(not_logged) = told(false)
            {
                tracing::warn!(
                    kafka.topic = %topic, kafka.partition = partition, kafka.offset = offset, read = span, records = new,
                    not_logged,
                    "records hold the position of their partition back: they go to parking or to a tier as far as they can"
                );
            }
            if owned.read_ahead.is_full()
                && let Some(not_logged) = told(true)
            {
                let work = owned.progress.oldest().map(|first| first.work.shown());
                tracing::warn!(
                    kafka.topic = %topic, kafka.partition = partition, kafka.offset = offset, read = span, work = ?work,
                    not_logged,
                    "a partition is not read on until its oldest unfinished record ends"
                );
            }
        }
        partitions.pauses_changed |= has_room;
    }
}

//! Bounds how far a partition is read beyond its first unfinished record, and has what holds its position back handed
//! off before the bound is reached.
//!
//! The bound protects no memory, because finished records are forgotten. It bounds what is read again after a crash, and
//! keeps the committed position near the present: retention deletes what was never committed like anything else. It is
//! ten times the bound of unfinished records, so that a request that hangs until its timeout fills no window by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::assignment::Assignment;
use super::handler::Handler;
use super::partition::{Partition, State};
use super::partitions::Partitions;
use super::work::Work;
use crate::quiet::QuietKinds;

/// The time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A window that is so full, in percent, and of which so much is finished, has its blockers handed off.
const FULL: u64 = 90;
const FINISHED: u64 = 98;

/// What becomes of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judgement {
    /// Nothing holds it back for long.
    Fine,
    /// What holds it back is handed off.
    HandOff,
}

/// `span` records were read since the first unfinished one, `unfinished` of them are open, and `most` may be read.
fn judge(span: u64, unfinished: u64, most: u64) -> Judgement {
    let nearly_full = span * 100 > most * FULL;
    let mostly_finished = (span - unfinished.min(span)) * 100 > span * FINISHED;
    // At the bound nothing more is read, so its blockers leave whatever their share is. There are never more of them than
    // the process may hold unfinished, a tenth of the window.
    if (nearly_full && mostly_finished) || span >= most { Judgement::HandOff } else { Judgement::Fine }
}

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
        let full = self.most.is_some_and(|most| owned.tracker.span() >= most) && !owned.window_full;
        owned.window_full |= full;
        full
    }

    /// Looks for windows that are nearly full, from time to time.
    pub(super) fn look<H: Handler>(&mut self, now: Instant, partitions: &mut Partitions<H::Work>, handler: &mut H) {
        let Some(most) = self.most else { return };
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK_EVERY;
        let mut has_room = false;
        for owned in partitions.iter_mut().filter(|owned| matches!(owned.state, State::Reading)) {
            let span = owned.tracker.span();
            let Assignment { topic, partition, .. } = &*owned.assignment;
            // A pause drops what was fetched ahead, so it ends only when there is some room again.
            if owned.window_full && span <= most / 4 * 3 {
                owned.window_full = false;
                has_room = true;
            }
            if judge(span, owned.tracker.len() as u64, most) == Judgement::Fine {
                continue;
            }
            let blockers: Vec<Arc<H::Work>> = owned.tracker.behind(most / 2).cloned().collect();
            let new = handler.hand_off(&blockers);
            let told = |full: bool| self.quiet.allow((topic.clone(), *partition, full), now);
            let offset = owned.tracker.unfinished().next().map(|first| first.offset);
            if new > 0
                && let Some(not_logged) = told(false)
            {
                tracing::warn!(
                    kafka.topic = %topic, kafka.partition = partition, kafka.offset = offset, read = span, records = new,
                    not_logged,
                    "records hold the position of their partition back: they go to parking or to a tier as far as they can"
                );
            }
            if owned.window_full
                && let Some(not_logged) = told(true)
            {
                let work = owned.tracker.unfinished().next().map(|first| first.work.shown());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_over_nine_tenths_full_and_over_98_percent_finished_has_its_blockers_handed_off() {
        for (span, unfinished, judgement) in [
            (9_001, 1, Judgement::HandOff),
            (9_000, 1, Judgement::Fine),
            (9_100, 181, Judgement::HandOff),
            (9_100, 182, Judgement::Fine),
            (9_999, 5_000, Judgement::Fine),
            (10_000, 5_000, Judgement::HandOff),
            (0, 0, Judgement::Fine),
        ] {
            assert_eq!(judge(span, unfinished, 10_000), judgement, "{span} {unfinished}");
        }
    }
}

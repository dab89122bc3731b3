//! Writes what the status and the metrics see of a consumer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client::Client;
use super::partition::{Partition, State};
use super::partitions::Partitions;
use super::snapshot::{ConsumerView, Counts, Oldest, PartitionView, SHOWN_MS, Snapshot};
use super::work::Work;
use crate::clock::{now_ms, steady_ms};

/// The time between two snapshots.
const VIEW_EVERY: Duration = Duration::from_secs(1);

/// Writes the snapshots of one consumer.
pub(super) struct SnapshotWriter<W: Work> {
    view: Arc<ConsumerView<W::Shown>>,
    next: Instant,
}

impl<W: Work> SnapshotWriter<W> {
    pub(super) fn new(view: Arc<ConsumerView<W::Shown>>, now: Instant) -> Self {
        Self { view, next: now }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        now >= self.next
    }

    /// Writes a new snapshot.
    pub(super) fn write(&mut self, counts: Counts, partitions: &mut Partitions<W>, client: &Client<W>) {
        let (now, now_ms) = (Instant::now(), now_ms());
        self.next = now + VIEW_EVERY;
        let mut oldest_by_group: HashMap<usize, i64> = HashMap::new();
        let count = partitions.len();
        let mut views = Vec::with_capacity(count);
        for owned in partitions.iter_mut() {
            client.look_for_end(owned, count);
            for unfinished in owned.progress.unfinished_records() {
                if let Some(group) = unfinished.work.group() {
                    let open_since = unfinished.work.since_steady_ms();
                    let since = oldest_by_group.entry(group).or_insert(open_since);
                    *since = open_since.min(*since);
                }
            }
            views.push(view_of(owned, now, now_ms));
        }
        views.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        self.view.set(Snapshot { counts, partitions: views, oldest_by_group });
    }
}

fn view_of<W: Work>(owned: &Partition<W>, now: Instant, now_ms: i64) -> PartitionView<W::Shown> {
    let assignment = &owned.assignment;
    let (frontier, high) = (owned.progress.frontier(), owned.end.high());
    let lag_records = match &owned.state {
        State::Parked(parked) => Some(parked.lag()),
        _ => high.zip(frontier.or(owned.group.committed())).map(|(high, at)| (high - at).max(0)),
    };
    let oldest = owned.progress.oldest().map(|first| Oldest { offset: first.offset, work: first.work.shown() });
    PartitionView {
        topic: assignment.topic.clone(),
        partition: assignment.partition,
        generation: assignment.generation,
        frontier,
        committed: owned.group.committed(),
        position: owned.progress.position(),
        high,
        lag_records,
        lag_seconds: lag_seconds(owned, lag_records),
        commit_age_seconds: owned.group.unacked_since().map_or(0.0, |at| (now - at).as_secs_f64()),
        oldest,
        parked: match &owned.state {
            State::Parked(parked) => Some(parked.clone()),
            _ => None,
        },
        remade_ms: owned.topic.remade_ms().filter(|at| now_ms - at < SHOWN_MS),
        position_lost_ms: None,
        own: owned.own.clone(),
        window_full: owned.read_ahead.is_full(),
        unfinished: owned.progress.unfinished(),
    }
}

/// The lag in seconds, on the monotonic clock, because the wall clock may have been set since.
fn lag_seconds<W: Work>(owned: &Partition<W>, lag_records: Option<i64>) -> Option<f64> {
    let since = match owned.progress.oldest() {
        Some(first) => first.work.since_steady_ms(),
        None if lag_records? == 0 => return Some(0.0),
        None => owned.progress.last_steady_ms()?,
    };
    Some((steady_ms() - since).max(0) as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::super::assignment::Assignment;
    use super::*;
    use crate::delivery::progress::Open;

    /// A lag of 0 would say that there is nothing left to read.
    #[test]
    fn the_age_of_what_was_never_read_is_not_known() {
        let mut owned = Partition::new(Assignment::new("t".into(), 0, 1), State::Reading);
        assert_eq!([lag_seconds(&owned, None), lag_seconds(&owned, Some(0))], [None, Some(0.0)]);
        assert_eq!(lag_seconds(&owned, Some(7)), None);
        owned.progress.set_last_steady_ms(steady_ms() - 60_000);
        assert!((60.0..90.0).contains(&lag_seconds(&owned, Some(7)).unwrap()), "as old as the last one that was read");
        let seq = owned.progress.receive(3, None, Arc::new(Open::received(now_ms()))).unwrap();
        assert!(lag_seconds(&owned, None).unwrap() < 30.0, "the oldest one that is unfinished");
        owned.progress.finish(seq);
        assert_eq!(lag_seconds(&owned, Some(0)), Some(0.0));
    }
}

//! Writes what the status and the metrics see of a consumer.

use std::collections::HashMap;
use std::ffi::CString;
use std::time::Instant;

use rdkafka::bindings as sys;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::context::Context;
use super::handler::Handler;
use super::partition::{Partition, State};
use super::poller::Poller;
use super::snapshot::{Oldest, PartitionView, SHOWN_MS, Snapshot};
use super::work::Work;
use crate::clock::now_ms;
use crate::clock::steady_ms;

/// Up to this many partitions, the client is asked about all of them each second.
const FEW: usize = 64;

impl<H: Handler> Poller<H> {
    /// Writes a new snapshot.
    pub(super) fn refresh_view(&mut self) {
        let (now, now_ms) = (Instant::now(), now_ms());
        let mut oldest_by_group: HashMap<usize, i64> = HashMap::new();
        let mut partitions = Vec::with_capacity(self.partitions.len());
        let count = self.partitions.len();
        for owned in self.partitions.values_mut() {
            look_for_end(owned, &self.consumer, count);
            for unfinished in owned.tracker.unfinished() {
                if let Some(group) = unfinished.work.group() {
                    let open_since = unfinished.work.since_steady_ms();
                    let since = oldest_by_group.entry(group).or_insert(open_since);
                    *since = open_since.min(*since);
                }
            }
            partitions.push(view_of(owned, now, now_ms));
        }
        partitions.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        self.view.set(Snapshot { counts: self.counts.clone(), partitions, oldest_by_group });
    }
}

/// Asks the client for the end of a partition that it fetches. For each such question the client searches all its
/// topics. So with more than `FEW` partitions it asks only about those of which a record was read since, or of which
/// there are more records. The surveys find the end of the others.
pub(super) fn look_for_end<W: Work>(owned: &mut Partition<W>, consumer: &BaseConsumer<Context>, of: usize) {
    let position = owned.position();
    let fetched = owned.in_client && owned.paused == Some(false);
    let moved = owned.looked_at != position || owned.high.is_none_or(|high| position.is_some_and(|at| at < high));
    if fetched && (moved || of <= FEW) {
        let cached = cached_high(consumer, &owned.assignment.topic, owned.assignment.partition);
        owned.high = cached.max(owned.high);
        owned.looked_at = cached.and(position);
    }
}

fn view_of<W: Work>(owned: &Partition<W>, now: Instant, now_ms: i64) -> PartitionView<W::Shown> {
    let assignment = &owned.assignment;
    let (frontier, high) = (owned.frontier(), owned.high);
    let lag_records = match &owned.state {
        State::Parked(parked) => Some(parked.lag()),
        _ => high.zip(frontier.or(owned.committed)).map(|(high, at)| (high - at).max(0)),
    };
    let first = owned.tracker.unfinished().next();
    let oldest = first.map(|first| Oldest { offset: first.offset, work: first.work.shown() });
    PartitionView {
        topic: assignment.topic.clone(),
        partition: assignment.partition,
        generation: assignment.generation,
        frontier,
        committed: owned.committed,
        position: owned.position(),
        high,
        lag_records,
        lag_seconds: lag_seconds(owned, lag_records),
        commit_age_seconds: owned.unacked_since.map_or(0.0, |at| (now - at).as_secs_f64()),
        oldest,
        parked: match &owned.state {
            State::Parked(parked) => Some(parked.clone()),
            _ => None,
        },
        remade_ms: owned.remade_ms.filter(|at| now_ms - at < SHOWN_MS),
        position_lost_ms: None,
        own: owned.own.clone(),
        window_full: owned.window_full,
        unfinished: owned.tracker.len(),
    }
}

/// The lag in seconds, on the monotonic clock, because the wall clock may have been set since.
fn lag_seconds<W: Work>(owned: &Partition<W>, lag_records: Option<i64>) -> Option<f64> {
    let since = match owned.tracker.unfinished().next() {
        Some(first) => first.work.since_steady_ms(),
        None if lag_records? == 0 => return Some(0.0),
        None => owned.last_steady_ms?,
    };
    Some((steady_ms() - since).max(0) as f64 / 1000.0)
}

/// The end of a partition as the last fetch saw it.
fn cached_high(consumer: &BaseConsumer<Context>, topic: &str, partition: i32) -> Option<i64> {
    let topic = CString::new(topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: the client outlives the call, which only reads the name and writes the two numbers.
    let err = unsafe {
        let client = consumer.client().native_ptr();
        sys::rd_kafka_get_watermark_offsets(client, topic.as_ptr(), partition, &mut low, &mut high)
    };
    (err == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
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
        owned.last_steady_ms = Some(steady_ms() - 60_000);
        assert!((60.0..90.0).contains(&lag_seconds(&owned, Some(7)).unwrap()), "as old as the last one that was read");
        let seq = owned.tracker.receive(3, std::sync::Arc::new(Open::received(now_ms()))).unwrap();
        assert!(lag_seconds(&owned, None).unwrap() < 30.0, "the oldest one that is unfinished");
        owned.tracker.finish(seq);
        assert_eq!(lag_seconds(&owned, Some(0)), Some(0.0));
    }
}

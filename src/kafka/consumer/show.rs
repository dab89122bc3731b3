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
use crate::clock::steady_ms;
use crate::kafka::now_ms;

/// Up to this many partitions, the client is asked about all of them each second.
const FEW: usize = 64;

impl<H: Handler> Poller<H> {
    /// Writes a new snapshot.
    pub(super) fn refresh_view(&mut self) {
        let (now, now_ms) = (Instant::now(), now_ms());
        let mut oldest_by_group: HashMap<usize, i64> = HashMap::new();
        let mut partitions = Vec::with_capacity(self.parts.len());
        let count = self.parts.len();
        for part in self.parts.values_mut() {
            look_for_end(part, &self.consumer, count);
            for unfinished in part.tracker.unfinished() {
                if let Some(group) = unfinished.work.group() {
                    let open_since = unfinished.work.since_steady_ms();
                    let since = oldest_by_group.entry(group).or_insert(open_since);
                    *since = open_since.min(*since);
                }
            }
            partitions.push(view_of(part, now, now_ms));
        }
        partitions.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        self.view.set(Snapshot { counts: self.counts.clone(), partitions, oldest_by_group });
    }
}

/// Asks the client for the end of a partition that it fetches. For each such question the client searches all its
/// topics. So with more than `FEW` partitions it asks only about those of which a record was read since, or of which
/// there are more records. The surveys find the end of the others.
pub(super) fn look_for_end<W: Work>(part: &mut Partition<W>, consumer: &BaseConsumer<Context>, of: usize) {
    let position = part.position();
    let fetched = part.in_client && part.paused == Some(false);
    let moved = part.looked_at != position || part.high.is_none_or(|high| position.is_some_and(|at| at < high));
    if fetched && (moved || of <= FEW) {
        let cached = cached_high(consumer, &part.assignment.topic, part.assignment.partition);
        part.high = cached.max(part.high);
        part.looked_at = cached.and(position);
    }
}

fn view_of<W: Work>(part: &Partition<W>, now: Instant, now_ms: i64) -> PartitionView<W::Shown> {
    let assignment = &part.assignment;
    let (frontier, high) = (part.frontier(), part.high);
    let lag_records = match &part.state {
        State::Parked(parked) => Some(parked.lag()),
        _ => high.zip(frontier.or(part.committed)).map(|(high, at)| (high - at).max(0)),
    };
    let first = part.tracker.unfinished().next();
    let oldest = first.map(|first| Oldest { offset: first.offset, work: first.work.shown() });
    PartitionView {
        topic: assignment.topic.clone(),
        partition: assignment.partition,
        generation: assignment.generation,
        frontier,
        committed: part.committed,
        position: part.position(),
        high,
        lag_records,
        lag_seconds: lag_seconds(part, lag_records),
        commit_age_seconds: part.unacked_since.map_or(0.0, |at| (now - at).as_secs_f64()),
        oldest,
        parked: match &part.state {
            State::Parked(parked) => Some(parked.clone()),
            _ => None,
        },
        remade_ms: part.remade_ms.filter(|at| now_ms - at < SHOWN_MS),
        position_lost_ms: None,
        own: part.own.clone(),
        window_full: part.window_full,
        unfinished: part.tracker.len(),
    }
}

/// The lag in seconds, on the monotonic clock, because the wall clock may have been set since.
fn lag_seconds<W: Work>(part: &Partition<W>, lag_records: Option<i64>) -> Option<f64> {
    let since = match part.tracker.unfinished().next() {
        Some(first) => first.work.since_steady_ms(),
        None if lag_records? == 0 => return Some(0.0),
        None => part.last_steady_ms?,
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
        let mut part = Partition::new(Assignment::new("t".into(), 0, 1), State::Reading);
        assert_eq!([lag_seconds(&part, None), lag_seconds(&part, Some(0))], [None, Some(0.0)]);
        assert_eq!(lag_seconds(&part, Some(7)), None);
        part.last_steady_ms = Some(steady_ms() - 60_000);
        assert!((60.0..90.0).contains(&lag_seconds(&part, Some(7)).unwrap()), "as old as the last one that was read");
        let seq = part.tracker.receive(3, std::sync::Arc::new(Open::received(now_ms()))).unwrap();
        assert!(lag_seconds(&part, None).unwrap() < 30.0, "the oldest one that is unfinished");
        part.tracker.finish(seq);
        assert_eq!(lag_seconds(&part, Some(0)), Some(0.0));
    }
}

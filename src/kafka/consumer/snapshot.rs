//! What status and metrics see of a consumer.

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::bindings as sys;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::clock::steady_ms;
use crate::kafka::consumer::Handler;
use crate::kafka::consumer::ack_handle::Stage;
use crate::kafka::consumer::context::Context;
use crate::kafka::consumer::partition::{Partition, State};
use crate::kafka::consumer::poll::Poller;
use crate::kafka::now_ms;

/// A topic that was made again, and a position that was lost, are named for a day: what it cost is for a person to find out.
const SHOWN_MS: i64 = 24 * 3600 * 1000;

/// The latest snapshot, shared by the polling thread and whoever looks.
#[derive(Debug, Default)]
pub struct ConsumerView {
    latest: Mutex<Arc<Snapshot>>,
    lost: Mutex<HashMap<(Arc<str>, i32), i64>>,
}

impl ConsumerView {
    /// The latest snapshot: at most about a second old while the thread runs.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The group lost its committed offset of a partition that is read here; seen at `at_ms`, epoch ms. For the next
    /// snapshots.
    pub fn lost_position(&self, topic: &Arc<str>, partition: i32, at_ms: i64) {
        self.lost().insert((topic.clone(), partition), at_ms);
    }

    fn lost(&self) -> MutexGuard<'_, HashMap<(Arc<str>, i32), i64>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, mut snapshot: Snapshot) {
        let mut lost = self.lost();
        if !lost.is_empty() {
            let now_ms = now_ms();
            lost.retain(|_, at| now_ms - *at < SHOWN_MS);
            for p in &mut snapshot.partitions {
                p.position_lost_ms = lost.get(&(p.topic.clone(), p.partition)).copied();
            }
        }
        drop(lost);
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
    }
}

/// A consumer at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// The first rebalance is over.
    pub joined: bool,
    /// Commits and stores that were refused.
    pub commit_errors: u64,
    /// Offsets that were handed over twice in one assignment.
    pub repeats: u64,
    /// Revoked partitions that were handed back with work under way.
    pub drains_expired: u64,
    /// For how long the broker has confirmed no commit, where that is too long: nothing is sent meanwhile.
    pub unconfirmed_for: Option<Duration>,
    /// The client's last complaint.
    pub last_error: Option<String>,
    /// What this member owns.
    pub partitions: Vec<PartitionView>,
    /// Per account index: since when its oldest unfinished record is open, by [`steady_ms`].
    pub oldest_by_account: HashMap<usize, i64>,
}

/// One owned partition.
#[derive(Clone, Debug, PartialEq)]
pub struct PartitionView {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
    /// Its assignment.
    pub generation: u64,
    /// The lowest unfinished offset.
    pub frontier: Option<i64>,
    /// What the broker has confirmed.
    pub committed: Option<i64>,
    /// The next offset to be read.
    pub position: Option<i64>,
    /// The end of the partition.
    pub high: Option<i64>,
    /// Records between frontier and end; of a partition that is parked, those that are still there and not committed.
    /// `None`: not known yet.
    pub lag_records: Option<i64>,
    /// Age of the oldest unfinished record; without one, of the last record read while there are more: the next one is no
    /// older. `None`: there are more than were read, and none was read in this assignment, or it is not known whether there are.
    pub lag_seconds: Option<f64>,
    /// Since the oldest stored position that no commit has covered.
    pub commit_age_seconds: f64,
    /// The oldest unfinished record.
    pub oldest: Option<OldestView>,
    /// Why it is not read.
    pub parked: Option<Parked>,
    /// Since when its topic is another one under the known name, epoch ms.
    pub remade_ms: Option<i64>,
    /// When it was found that the group had lost its position, epoch ms: it is read again from its beginning.
    pub position_lost_ms: Option<i64>,
    /// How it began, where it is of a tier or a parking topic.
    pub own: Option<OwnPosition>,
    /// Records read and not finished.
    pub unfinished: usize,
}

/// How a partition of a tier or a parking topic began in this assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnPosition {
    /// Of its topic; empty where the brokers have no ids.
    pub topic_id: String,
    /// Without a committed offset, with records: their beginning and end then.
    pub anew: Option<(i64, i64)>,
}

/// The record that holds a frontier back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldestView {
    /// Its offset.
    pub offset: i64,
    /// Its identity, once decoded.
    pub trans_id: Option<Box<str>>,
    /// Index of its account, once known.
    pub account: Option<usize>,
    /// Where the work stands.
    pub stage: Stage,
    /// Since when it is open, epoch ms.
    pub since_ms: i64,
    /// When it is tried next, epoch ms.
    pub next_try_ms: Option<i64>,
}

/// A partition without a sound position; it waits for `postback unblock offsets`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// What is wrong with the position.
    pub why: &'static str,
    /// What the group has committed.
    pub committed: Option<i64>,
    /// The oldest offset there is.
    pub low: i64,
    /// The end.
    pub high: i64,
}

impl Parked {
    /// Records that are there and not known to be finished.
    pub fn lag(&self) -> i64 {
        let from = self.committed.filter(|at| (self.low..=self.high).contains(at)).unwrap_or(self.low);
        (self.high - from).max(0)
    }

    /// Records that are gone between the committed position and what is still there; without a committed position, or
    /// one beyond the end, all that are there are in doubt.
    pub fn hole(&self) -> i64 {
        match self.committed {
            Some(at) if at < self.low => self.low - at,
            Some(at) if at > self.high => at - self.high,
            _ => self.high - self.low,
        }
    }
}

/// Partitions that may all be asked about each second.
const FEW: usize = 64;

impl<H: Handler> Poller<H> {
    /// Writes a new snapshot.
    pub(super) fn refresh_view(&mut self) {
        let (now, now_ms) = (Instant::now(), now_ms());
        let mut oldest_by_account: HashMap<usize, i64> = HashMap::new();
        let mut partitions = Vec::with_capacity(self.parts.len());
        let count = self.parts.len();
        for part in self.parts.values_mut() {
            look_for_end(part, &self.consumer, count);
            for unfinished in part.tracker.unfinished() {
                if let Some(info) = unfinished.open.info.get() {
                    let open_since = unfinished.open.since_steady_ms();
                    let since = oldest_by_account.entry(info.account).or_insert(open_since);
                    *since = open_since.min(*since);
                }
            }
            partitions.push(view_of(part, now, now_ms));
        }
        partitions.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        self.view.set(Snapshot { partitions, oldest_by_account, ..self.counts.clone() });
    }
}

/// Asks the client for the end of a partition that it fetches. The client searches all its topics for each: where there
/// are more than `FEW`, only those are asked about of which something was read since, or of which there is more; the
/// surveys tell the end of the others.
pub(super) fn look_for_end(part: &mut Partition, consumer: &BaseConsumer<Context>, of: usize) {
    let position = part.position();
    let fetched = part.held && part.paused == Some(false);
    let moved = part.looked_at != position || part.high.is_none_or(|high| position.is_some_and(|at| at < high));
    if fetched && (moved || of <= FEW) {
        let cached = cached_high(consumer, &part.assignment.topic, part.assignment.partition);
        part.high = cached.max(part.high);
        part.looked_at = cached.and(position);
    }
}

fn view_of(part: &Partition, now: Instant, now_ms: i64) -> PartitionView {
    let assignment = &part.assignment;
    let (frontier, high) = (part.frontier(), part.high);
    let lag_records = match &part.state {
        State::Parked(parked) => Some(parked.lag()),
        _ => high.zip(frontier.or(part.committed)).map(|(high, at)| (high - at).max(0)),
    };
    let first = part.tracker.unfinished().next();
    let oldest = first.map(|u| {
        let info = u.open.info.get();
        OldestView {
            offset: u.offset,
            trans_id: info.map(|i| i.trans_id.clone()),
            account: info.map(|i| i.account),
            stage: u.open.stage(),
            since_ms: u.open.since_ms(),
            next_try_ms: Some(u.open.next_try_ms.load(std::sync::atomic::Ordering::Relaxed)).filter(|&at| at != 0),
        }
    });
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
        unfinished: part.tracker.len(),
    }
}

/// On the steady clock: the wall clock may have been set since.
fn lag_seconds(part: &Partition, lag_records: Option<i64>) -> Option<f64> {
    let since = match part.tracker.unfinished().next() {
        Some(first) => first.open.since_steady_ms(),
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
    use super::*;
    use crate::kafka::consumer::ack_handle::{Assignment, Open};

    /// 0 would say that there is nothing to be read.
    #[test]
    fn the_age_of_what_was_never_read_is_not_known() {
        let mut part = Partition::new(Assignment::new("t".into(), 0, 1), State::Reading);
        assert_eq!([lag_seconds(&part, None), lag_seconds(&part, Some(0))], [None, Some(0.0)]);
        assert_eq!(lag_seconds(&part, Some(7)), None);
        part.last_steady_ms = Some(steady_ms() - 60_000);
        assert!((60.0..90.0).contains(&lag_seconds(&part, Some(7)).unwrap()), "as old as the last one that was read");
        let seq = part.tracker.receive(3, Arc::new(Open::new(now_ms()))).unwrap();
        assert!(lag_seconds(&part, None).unwrap() < 30.0, "the oldest one that is unfinished");
        part.tracker.finish(seq);
        assert_eq!(lag_seconds(&part, Some(0)), Some(0.0));
    }

    #[test]
    fn the_lag_of_a_parked_partition_is_what_is_there_and_not_known_to_be_finished() {
        let lag = |committed| Parked { why: "", committed, low: 5, high: 9 }.lag();
        assert_eq!([lag(None), lag(Some(3)), lag(Some(7)), lag(Some(9)), lag(Some(20))], [4, 4, 2, 0, 4]);
    }
}

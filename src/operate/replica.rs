//! Builds the state of this replica in the shape of [`crate::operate::snapshot`], for Redis and its commands, the API,
//! and the gauges.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::clock::{now_ms, steady_ms};
use crate::delivery::progress::PartitionView;
use crate::error::{Class, Outcome};
use crate::kafka::REMAINDER;
use crate::kafka::consumer::Counts;
use crate::kafka::refusals::TopicRefusal;
use crate::lane::handle::LaneHandle;
use crate::lane::handle::lanes::Lanes;
use crate::lane::handle::unclassified::UnclassifiedCode;
use crate::metrics::{AccountMetrics, Metrics};
use crate::operate::coordinator::parts::Watched;
use crate::operate::snapshot::{KEPT_BACK, LaneLoad, LaneTotals, PartitionRow, RefusedTopic, RolloutLoad};
use crate::operate::{ConsumerSnapshot, LaneSnapshot, ReplicaSnapshot};
use crate::redact::{mask_text, mask_trans_id};

/// The number of unfinished records of a partition, whether they were read or not.
pub fn unfinished(p: &PartitionView) -> i64 {
    let unread = match (p.high, p.position) {
        (Some(high), Some(position)) => (high - position).max(0),
        _ => p.lag_records.unwrap_or(0),
    };
    unread + p.unfinished as i64
}

fn refused(id: &str, refusal: &TopicRefusal) -> RefusedTopic {
    RefusedTopic {
        topic: refusal.topic.clone(),
        replica: id.to_owned(),
        since_ms: refusal.since_ms,
        why: refusal.why.clone(),
        records: refusal.records as u64,
    }
}

fn consumer_snapshot(name: &str, of: &Counts) -> ConsumerSnapshot {
    ConsumerSnapshot {
        name: name.to_owned(),
        commit_errors: of.commit_errors,
        repeats: of.repeats,
        drains_expired: of.drains_expired,
        unconfirmed_ms: of.unconfirmed_for.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        last_error: of.last_error.as_deref().map(|text| mask_text(text).into_owned()),
    }
}

fn oldest_ms(of: &AccountMetrics) -> Option<u64> {
    let seconds = of.oldest_open_age.get();
    (seconds > 0.0).then_some((seconds * 1000.0) as u64)
}

fn rollout(lane: &LaneHandle, of: &AccountMetrics) -> Option<RolloutLoad> {
    let (percent, waiting) = (lane.account().rollout, of.rollout_waiting.get().max(0) as u64);
    let seconds = of.rollout_oldest.get();
    let oldest_ms = (seconds > 0.0).then_some((seconds * 1000.0) as u64);
    (!percent.is_all() || waiting > 0).then_some(RolloutLoad { percent, waiting, oldest_ms })
}

fn unclassified(of: UnclassifiedCode) -> UnclassifiedCode {
    UnclassifiedCode { code: mask_text(&of.code).into_owned(), detail: mask_text(&of.detail).into_owned(), ..of }
}

/// Whether the partition belongs to a remainder and rests, because the share of its account does not cover it.
pub fn is_kept_back(p: &PartitionView) -> bool {
    // What was examined has an account. A record that rests was not.
    p.topic.ends_with(REMAINDER) && p.oldest.as_ref().is_some_and(|oldest| oldest.work.account.is_none())
}

fn totals(of: &AccountMetrics) -> LaneTotals {
    let attempts: u64 = Class::ALL.iter().map(|class| of.attempts_so_far(*class)).sum();
    LaneTotals {
        delivered: of.finished_so_far(Outcome::Delivered),
        duplicate: of.finished_so_far(Outcome::Duplicate),
        suppressed: of.finished_so_far(Outcome::Suppressed),
        dead_lettered: of.finished_so_far(Outcome::DeadLettered),
        attempts,
        failed: attempts.saturating_sub(of.attempts_so_far(Class::Delivered)),
    }
}

/// The lanes of all accounts of which there is something to show. An account that was removed is shown for as long as
/// something of it is open.
pub fn shown<'a>(lanes: &'a Lanes, metrics: &'a Metrics) -> impl Iterator<Item = &'a Arc<LaneHandle>> {
    lanes.accounts().filter(move |lane| !lane.is_removed() || !metrics.account(lane.id.index).is_gone())
}

/// The published state of this process.
pub fn replica_snapshot(
    id: &str,
    lanes: &Lanes,
    metrics: &Metrics,
    consumers: &[Watched],
    refusals: &[TopicRefusal],
) -> ReplicaSnapshot {
    let at_ms = now_ms();
    let name = |index: usize| lanes.find(index).map(|l| l.id.account_name.to_string());
    let lanes_shown = shown(lanes, metrics).map(|lane| {
        let (state, since_ms, why) = lane.shown().explain();
        let sum = |of: fn(&LaneHandle) -> usize| lane.both().map(of).sum::<usize>() as u64;
        let counters = metrics.account(lane.id.index);
        LaneSnapshot {
            account: lane.id.account_name.to_string(),
            platform: lane.id.platform.to_owned(),
            since_ms,
            why,
            load: LaneLoad {
                state: state.as_str().to_owned(),
                queued: sum(|lane| lane.occupancy.live.records()),
                released: sum(|lane| lane.occupancy.released.records()),
                in_flight: sum(|lane| lane.occupancy.in_flight.load(Relaxed)),
                open: counters.open.get().max(0) as u64,
                parked: counters.parked.get().max(0) as u64,
                rollout: rollout(lane, counters),
                unclassified: lane.both().flat_map(|lane| lane.unclassified.all()).map(unclassified).collect(),
                oldest_ms: oldest_ms(counters),
                total: totals(counters),
            },
        }
    });
    let partitions = consumers.iter().flat_map(|c| c.view.snapshot().partitions.clone()).map(|p| {
        let oldest = p.oldest.as_ref();
        PartitionRow {
            topic: p.topic.to_string(),
            partition: p.partition,
            replica: id.to_owned(),
            committed: p.committed,
            high: p.high,
            lag: p.lag_records,
            offset: oldest.map(|o| o.offset),
            trans_id: oldest.and_then(|o| o.work.trans_id.as_deref().map(mask_trans_id)),
            account: oldest.and_then(|o| o.work.account.and_then(name)),
            reason: oldest.map(|o| {
                let stage = if is_kept_back(&p) { KEPT_BACK } else { o.work.stage.as_str() };
                if p.window_full { format!("{stage}; no more is read before it ends") } else { stage.to_owned() }
            }),
            age_ms: oldest.filter(|_| !is_kept_back(&p)).map(|o| steady_ms() - o.work.since_steady_ms),
            next_try_ms: oldest.and_then(|o| o.work.next_try_ms),
            parked: p.parked.map(|parked| parked.why.to_owned()),
            remade_ms: p.remade_ms,
            position_lost_ms: p.position_lost_ms,
        }
    });
    ReplicaSnapshot {
        id: id.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        at_ms,
        lanes: lanes_shown.collect(),
        partitions: partitions.collect(),
        refused: refusals.iter().map(|refusal| refused(id, refusal)).collect(),
        foreign_keys: Vec::new(),
        consumers: consumers.iter().map(|c| consumer_snapshot(c.name, &c.view.snapshot().counts)).collect(),
    }
}

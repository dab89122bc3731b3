//! What replays do, and what comes of the events that they republish.

use prometheus::{IntCounter, IntGauge};

use super::families;
use super::maker::Maker;
use crate::error::Outcome;

/// What became of one dead letter that a replay selected, as the label `result` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayResult {
    /// It was published to its origin topic again.
    Republished,
    /// It was left out: its event was confirmed, republished or discarded meanwhile, or is refused.
    Skipped,
    /// It could not be republished.
    Failed,
}

impl ReplayResult {
    /// Every result, in the order of the contract.
    pub const ALL: [ReplayResult; 3] = [ReplayResult::Republished, ReplayResult::Skipped, ReplayResult::Failed];

    /// The value of the label `result`.
    pub fn as_str(self) -> &'static str {
        match self {
            ReplayResult::Republished => "republished",
            ReplayResult::Skipped => "skipped",
            ReplayResult::Failed => "failed",
        }
    }
}

/// The metrics of replays.
pub struct Replays {
    running: IntGauge,
    stopped: IntGauge,
    records: [IntCounter; ReplayResult::ALL.len()],
    outcomes: [IntCounter; Outcome::ALL.len()],
}

impl Replays {
    pub(super) fn new(make: &Maker<'_>) -> Self {
        let records = make.counters(&families::REPLAY_RECORDS);
        let outcomes = make.counters(&families::REPLAY_OUTCOMES);
        Self {
            running: make.int_gauges(&families::REPLAY_RUNNING).with_label_values::<&str>(&[]),
            stopped: make.int_gauges(&families::REPLAY_STOPPED).with_label_values::<&str>(&[]),
            records: ReplayResult::ALL.map(|result| records.with_label_values(&[result.as_str()])),
            outcomes: Outcome::ALL.map(|outcome| outcomes.with_label_values(&[outcome.as_str()])),
        }
    }

    /// Whether this replica is the one that republishes.
    pub fn set_running(&self, is_running: bool) {
        self.running.set(i64::from(is_running));
    }

    /// Whether the newest replay has stopped itself.
    pub fn set_stopped(&self, has_stopped: bool) {
        self.stopped.set(i64::from(has_stopped));
    }

    /// Counts dead letters that the replay of this replica dealt with.
    pub fn dealt_with(&self, result: ReplayResult, records: u64) {
        self.records[result as usize].inc_by(records);
    }

    /// Counts the terminal state of one replayed event.
    pub fn ended(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].inc();
    }
}

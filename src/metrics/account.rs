//! Counts for one account. Each count is one atomic addition.
//!
//! The counters are plain numbers that get their names only when they are shown (`exposition`): a series of the metrics
//! library takes about a kilobyte, and an account has forty series.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::breaker::{Breaker, BreakerState};
use super::platform::PlatformMetrics;
use crate::error::{Class, Outcome, Reason};

/// The state of a lane, as the label `state` and `accounts list` show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LaneState {
    Flowing,
    /// The lane waits for the platform's rate.
    Throttled,
    /// The breaker is open.
    Broken,
    /// The worker stopped the lane; an operator has to resume it.
    Halted,
    /// An operator stopped the lane.
    Paused,
}

impl LaneState {
    /// Every state, in the order of the contract.
    pub const ALL: [LaneState; 5] =
        [LaneState::Flowing, LaneState::Throttled, LaneState::Broken, LaneState::Halted, LaneState::Paused];

    /// The name in metrics and in output.
    pub fn as_str(self) -> &'static str {
        match self {
            LaneState::Flowing => "flowing",
            LaneState::Throttled => "throttled",
            LaneState::Broken => "broken",
            LaneState::Halted => "halted",
            LaneState::Paused => "paused",
        }
    }
}

/// A number that only grows.
#[derive(Default)]
pub struct Count(AtomicU64);

impl Count {
    pub fn inc(&self) {
        self.inc_by(1);
    }

    /// Adds `by`.
    pub fn inc_by(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// The sum so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Default)]
pub struct Level(AtomicI64);

impl Level {
    pub fn inc(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub fn dec(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A span of time.
#[derive(Default)]
pub struct Seconds(AtomicU64);

impl Seconds {
    pub fn set(&self, seconds: f64) {
        self.0.store(seconds.to_bits(), Ordering::Relaxed);
    }

    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// The numbers of one configured account, or of all events that name no configured account.
pub struct AccountMetrics {
    /// Records read and not finished.
    pub open: Level,
    /// Unfinished records in the parking topic, where this process owns it.
    pub parked: Level,
    /// Events of its remainder that are not finished, where this process owns their partition.
    pub rollout_waiting: Level,
    /// Seconds since the oldest event was first seen that waits in the remainder, where this process owns its
    /// partition; 0 where none waits.
    pub rollout_oldest: Seconds,
    /// Sends that could be a second one.
    pub ambiguous_resends: Count,
    /// Answers whose code is in no table.
    pub unclassified: Count,
    /// Seconds since the oldest unfinished event was first seen; 0 where there is none.
    pub oldest_open_age: Seconds,
    /// When the oldest event that waits in parking was parked, in epoch ms; 0 where none waits.
    pub oldest_parked_at_ms: Level,
    /// Seconds in parking after which an event becomes a dead letter.
    pub max_parked: Seconds,
    /// The number of permits of the lane.
    pub concurrency_limit: Level,
    pub(super) finished: [Count; Outcome::ALL.len()],
    pub(super) attempts: [Count; Class::ALL.len()],
    pub(super) dead_letters: [Count; Reason::ALL.len()],
    pub(super) platform: &'static str,
    pub(super) name: Arc<str>,
    /// `false` for events without a configured account. Nothing is sent for them, so only the series that they can
    /// reach are shown.
    pub(super) is_configured: bool,
    shared: Arc<PlatformMetrics>,
    state: AtomicU8,
    pub(super) breaker: Breaker,
    secrets: Mutex<Vec<(Option<i64>, Option<i64>)>>,
    removed: AtomicBool,
}

impl AccountMetrics {
    /// All numbers are zero, and the lane flows.
    pub(super) fn new(
        platform: &'static str,
        name: Arc<str>,
        is_configured: bool,
        shared: Arc<PlatformMetrics>,
    ) -> Self {
        Self {
            open: Level::default(),
            parked: Level::default(),
            rollout_waiting: Level::default(),
            rollout_oldest: Seconds::default(),
            ambiguous_resends: Count::default(),
            unclassified: Count::default(),
            oldest_open_age: Seconds::default(),
            oldest_parked_at_ms: Level::default(),
            max_parked: Seconds::default(),
            concurrency_limit: Level::default(),
            finished: Outcome::ALL.map(|_| Count::default()),
            attempts: Class::ALL.map(|_| Count::default()),
            dead_letters: Reason::ALL.map(|_| Count::default()),
            platform,
            name,
            is_configured,
            shared,
            state: AtomicU8::new(LaneState::Flowing as u8),
            breaker: Breaker::default(),
            secrets: Mutex::default(),
            removed: AtomicBool::new(false),
        }
    }

    /// Sets whether the configuration names the account no longer.
    pub fn set_removed(&self, removed: bool) {
        self.removed.store(removed, Ordering::Relaxed);
    }

    /// Whether the configuration names the account no longer and nothing of it is left: its series are shown no more.
    pub fn is_gone(&self) -> bool {
        self.removed.load(Ordering::Relaxed) && self.open.get() == 0 && self.parked.get() == 0
    }

    /// Counts an event that reached its end. Call it in a step (`Metrics::step`) together with the change of `open`.
    pub fn finished(&self, outcome: Outcome) {
        self.finished[outcome as usize].inc();
    }

    /// The number of events that ended so.
    pub fn finished_so_far(&self, outcome: Outcome) -> u64 {
        self.finished[outcome as usize].get()
    }

    /// The number of answers of this class.
    pub fn attempts_so_far(&self, class: Class) -> u64 {
        self.attempts[class as usize].get()
    }

    /// Counts the answer to a request by its class.
    pub fn attempt(&self, class: Class) {
        self.attempts[class as usize].inc();
    }

    /// Counts an event that became a dead letter.
    pub fn dead_letter(&self, reason: Reason) {
        self.dead_letters[reason as usize].inc();
    }

    /// Measures the time of one request.
    pub fn attempt_duration(&self, took: Duration) {
        self.shared.attempt_duration.observe(took.as_secs_f64());
    }

    /// Measures the age of an event when the platform accepted it. If the producer's clock is ahead of ours, the age
    /// counts as 0.
    pub fn age_at_delivery(&self, seconds: f64) {
        self.shared.age_at_delivery.observe(seconds.max(0.0));
    }

    /// Measures the time that a claim waited for its slot.
    pub fn rate_wait(&self, waited: Duration) {
        self.shared.rate_wait.observe(waited.as_secs_f64());
    }

    /// Counts a record that was handed to the tier with this index in the configuration.
    pub fn retry_scheduled(&self, tier: usize) {
        if let Some(counter) = self.shared.retries.get(tier) {
            counter.inc();
        }
    }

    /// Sets the state of the lane. A scrape sees the change as a whole: never two states at 1, never none.
    pub fn lane_state(&self, state: LaneState) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    /// Sets the state of the lane's breaker.
    pub fn breaker_state(&self, state: BreakerState) {
        self.breaker.set(state);
    }

    /// Sets `not_before` and `not_after` (epoch ms) of the account's credentials, in the order of the configuration.
    /// `secret_age_days` follows the credential in force.
    pub fn set_secret_windows(&self, windows: Vec<(Option<i64>, Option<i64>)>) {
        *self.secrets.lock().unwrap_or_else(PoisonError::into_inner) = windows;
    }

    /// Days since the credential in force became valid; `None`: the configuration does not say it.
    pub fn secret_age_days(&self, now_ms: i64) -> Option<f64> {
        let windows = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        let (from, _) = windows
            .iter()
            .rev()
            .find(|(from, until)| from.is_none_or(|from| from <= now_ms) && until.is_none_or(|until| now_ms < until))?;
        from.map(|from| (now_ms - from) as f64 / 86_400_000.0)
    }

    /// The index of the lane's state among all states.
    pub(super) fn state(&self) -> usize {
        usize::from(self.state.load(Ordering::Relaxed))
    }
}

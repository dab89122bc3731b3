//! What is counted for one account. All children are resolved at start: counting is one atomic addition.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus::core::{GenericCounter, GenericGauge};
use prometheus::{Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge};

use super::families::{self, Maker};
use crate::error::{Class, Outcome, Reason};

/// State of a lane, as the label `state` and as `accounts list` show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LaneState {
    /// Sends.
    Flowing,
    /// Waits for the platform's rate.
    Throttled,
    /// The breaker is open.
    Broken,
    /// Stopped by the worker; an operator resumes it.
    Halted,
    /// Stopped by an operator.
    Paused,
}

impl LaneState {
    /// Every state, in the order of the contract.
    pub const ALL: [LaneState; 5] =
        [LaneState::Flowing, LaneState::Throttled, LaneState::Broken, LaneState::Halted, LaneState::Paused];

    /// The name in metrics and output.
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

/// The handles of one account, or of what names none that is configured.
pub struct AccountMetrics {
    /// Records read and not finished.
    pub open: IntGauge,
    /// Unfinished records in the parking topic, where this process owns it.
    pub parked: IntGauge,
    /// Sends that could be a second one.
    pub ambiguous_resends: IntCounter,
    /// Answers with a code no table lists.
    pub unclassified: IntCounter,
    /// Seconds since the oldest unfinished event was first seen; 0 where there is none.
    pub oldest_open_age: Gauge,
    /// Permits of the lane.
    pub concurrency_limit: IntGauge,
    pub(super) finished: [IntCounter; Outcome::ALL.len()],
    attempts: [IntCounter; Class::ALL.len()],
    dead_letters: [IntCounter; Reason::ALL.len()],
    platform: Arc<PlatformMetrics>,
    states: [IntGauge; LaneState::ALL.len()],
    state: AtomicU8,
    secrets: Mutex<Vec<(Option<i64>, Option<i64>)>>,
}

impl AccountMetrics {
    /// An event reached its end. Counted in a step (`Metrics::step`), together with the change of `open`.
    pub fn finished(&self, outcome: Outcome) {
        self.finished[outcome as usize].inc();
    }

    /// A request got this class of answer.
    pub fn attempt(&self, class: Class) {
        self.attempts[class as usize].inc();
    }

    /// An event went to the dead letters.
    pub fn dead_letter(&self, reason: Reason) {
        self.dead_letters[reason as usize].inc();
    }

    /// How long one request took.
    pub fn attempt_duration(&self, took: Duration) {
        self.platform.attempt_duration.observe(took.as_secs_f64());
    }

    /// How old the event was when the platform accepted it. A producer's clock ahead of ours counts as 0.
    pub fn age_at_delivery(&self, seconds: f64) {
        self.platform.age_at_delivery.observe(seconds.max(0.0));
    }

    /// How long a claim waited for its slot.
    pub fn rate_wait(&self, waited: Duration) {
        self.platform.rate_wait.observe(waited.as_secs_f64());
    }

    /// A record was handed to the tier at `tier` of the configured list.
    pub fn retry_scheduled(&self, tier: usize) {
        if let Some(counter) = self.platform.retries.get(tier) {
            counter.inc();
        }
    }

    /// The lane's state from now on. Seen by the next scrape as a whole: never two states at 1, never none.
    pub fn lane_state(&self, state: LaneState) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    /// `not_before` and `not_after` (epoch ms) of the account's credentials in the order of the configuration:
    /// `secret_age_days` follows the one in force.
    pub fn set_secret_windows(&self, windows: Vec<(Option<i64>, Option<i64>)>) {
        *self.secrets.lock().unwrap_or_else(PoisonError::into_inner) = windows;
    }

    /// Days since the credential in force began to hold, where that is stated.
    pub(super) fn secret_age_days(&self, now_ms: i64) -> Option<f64> {
        let windows = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        let (from, _) = windows
            .iter()
            .rev()
            .find(|(from, until)| from.is_none_or(|from| from <= now_ms) && until.is_none_or(|until| now_ms < until))?;
        from.map(|from| (now_ms - from) as f64 / 86_400_000.0)
    }

    /// Writes the state into its gauges; only the renderer calls it, so that a scrape sees exactly one 1.
    pub(super) fn show_state(&self) {
        let current = usize::from(self.state.load(Ordering::Relaxed));
        for (index, gauge) in self.states.iter().enumerate() {
            gauge.set(i64::from(index == current));
        }
    }
}

/// The handles that the accounts of one platform share.
pub(super) struct PlatformMetrics {
    attempt_duration: Histogram,
    age_at_delivery: Histogram,
    rate_wait: Histogram,
    retries: Vec<IntCounter>,
}

/// The families that have an account or a platform among their labels.
pub(super) struct AccountFamilies {
    finished: IntCounterVec,
    open: prometheus::IntGaugeVec,
    parked: prometheus::IntGaugeVec,
    attempts: IntCounterVec,
    oldest_open: prometheus::GaugeVec,
    dead_letters: IntCounterVec,
    resends: IntCounterVec,
    unclassified: IntCounterVec,
    lane_state: prometheus::IntGaugeVec,
    concurrency: prometheus::IntGaugeVec,
    attempt_duration: HistogramVec,
    age_at_delivery: HistogramVec,
    rate_wait: HistogramVec,
    retries: IntCounterVec,
}

impl AccountFamilies {
    pub(super) fn new(make: &Maker<'_>) -> Self {
        Self {
            finished: make.counters(&families::FINISHED),
            open: make.int_gauges(&families::OPEN),
            parked: make.int_gauges(&families::PARKED),
            attempts: make.counters(&families::ATTEMPTS),
            oldest_open: make.gauges(&families::OLDEST_OPEN),
            dead_letters: make.counters(&families::DEAD_LETTERS),
            resends: make.counters(&families::RESENDS),
            unclassified: make.counters(&families::UNCLASSIFIED),
            lane_state: make.int_gauges(&families::LANE_STATE),
            concurrency: make.int_gauges(&families::CONCURRENCY),
            attempt_duration: make.histograms(&families::ATTEMPT_DURATION),
            age_at_delivery: make.histograms(&families::AGE_AT_DELIVERY),
            rate_wait: make.histograms(&families::RATE_WAIT),
            retries: make.counters(&families::RETRIES),
        }
    }

    /// The shared handles of a platform, every tier's counter at zero.
    pub(super) fn platform(&self, name: &str, tiers: &[String]) -> Arc<PlatformMetrics> {
        Arc::new(PlatformMetrics {
            attempt_duration: self.attempt_duration.with_label_values(&[name]),
            age_at_delivery: self.age_at_delivery.with_label_values(&[name]),
            rate_wait: self.rate_wait.with_label_values(&[name]),
            retries: tiers.iter().map(|tier| self.retries.with_label_values(&[name, tier.as_str()])).collect(),
        })
    }

    /// The handles of a configured account, each series at zero, the lane flowing.
    pub(super) fn account(&self, platform: &str, name: &str, shared: Arc<PlatformMetrics>) -> AccountMetrics {
        let account = [platform, name];
        AccountMetrics {
            parked: self.parked.with_label_values(&account),
            ambiguous_resends: self.resends.with_label_values(&account),
            unclassified: self.unclassified.with_label_values(&account),
            oldest_open_age: self.oldest_open.with_label_values(&account),
            concurrency_limit: self.concurrency.with_label_values(&[name]),
            attempts: Class::ALL.map(|c| self.attempts.with_label_values(&[platform, name, c.as_str()])),
            states: LaneState::ALL.map(|s| self.lane_state.with_label_values(&[name, s.as_str()])),
            ..self.unknown(platform, name, shared)
        }
    }

    /// The handles of what names no configured account: nothing is sent for it, so only what it can reach is shown;
    /// the other handles count where nobody looks.
    pub(super) fn unknown(&self, platform: &str, name: &str, shared: Arc<PlatformMetrics>) -> AccountMetrics {
        let account = [platform, name];
        AccountMetrics {
            open: self.open.with_label_values(&account),
            parked: unseen_gauge(),
            ambiguous_resends: unseen_counter(),
            unclassified: unseen_counter(),
            oldest_open_age: unseen_gauge(),
            concurrency_limit: unseen_gauge(),
            finished: Outcome::ALL.map(|o| self.finished.with_label_values(&[platform, name, o.as_str()])),
            attempts: Class::ALL.map(|_| unseen_counter()),
            dead_letters: Reason::ALL.map(|r| self.dead_letters.with_label_values(&[platform, name, r.as_str()])),
            platform: shared,
            states: LaneState::ALL.map(|_| unseen_gauge()),
            state: AtomicU8::new(LaneState::Flowing as u8),
            secrets: Mutex::new(Vec::new()),
        }
    }
}

/// Shared handles that no scrape shows.
pub(super) fn unseen_platform() -> Arc<PlatformMetrics> {
    Arc::new(PlatformMetrics {
        attempt_duration: unseen_histogram(),
        age_at_delivery: unseen_histogram(),
        rate_wait: unseen_histogram(),
        retries: Vec::new(),
    })
}

#[expect(clippy::expect_used, reason = "name and help are constants that the crate accepts; a test makes one")]
fn unseen_counter() -> IntCounter {
    GenericCounter::new("unseen", "unseen").expect("a constant name is valid")
}

#[expect(clippy::expect_used, reason = "name and help are constants that the crate accepts; a test makes one")]
fn unseen_gauge<P: prometheus::core::Atomic>() -> GenericGauge<P> {
    GenericGauge::new("unseen", "unseen").expect("a constant name is valid")
}

#[expect(clippy::expect_used, reason = "name and help are constants that the crate accepts; a test makes one")]
fn unseen_histogram() -> Histogram {
    Histogram::with_opts(HistogramOpts::new("unseen", "unseen")).expect("a constant name is valid")
}

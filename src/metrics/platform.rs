//! The metrics with a platform and no account among their labels.

use std::sync::Arc;

use prometheus::core::GenericGauge;
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec};

use super::families;
use super::maker::Maker;

/// The metrics that all accounts of one platform share.
pub(super) struct PlatformMetrics {
    pub(super) attempt_duration: Histogram,
    pub(super) age_at_delivery: Histogram,
    pub(super) rate_wait: Histogram,
    pub(super) retries: Vec<IntCounter>,
}

/// The families with a platform and no account among their labels.
pub(super) struct PlatformFamilies {
    attempt_duration: HistogramVec,
    age_at_delivery: HistogramVec,
    rate_wait: HistogramVec,
    retries: IntCounterVec,
}

impl PlatformFamilies {
    pub(super) fn new(make: &Maker<'_>) -> Self {
        Self {
            attempt_duration: make.histograms(&families::ATTEMPT_DURATION),
            age_at_delivery: make.histograms(&families::AGE_AT_DELIVERY),
            rate_wait: make.histograms(&families::RATE_WAIT),
            retries: make.counters(&families::RETRIES),
        }
    }

    /// The shared metrics of a platform, with every tier's counter at zero.
    pub(super) fn platform(&self, name: &str, tiers: &[String]) -> Arc<PlatformMetrics> {
        Arc::new(PlatformMetrics {
            attempt_duration: self.attempt_duration.with_label_values(&[name]),
            age_at_delivery: self.age_at_delivery.with_label_values(&[name]),
            rate_wait: self.rate_wait.with_label_values(&[name]),
            retries: tiers.iter().map(|tier| self.retries.with_label_values(&[name, tier.as_str()])).collect(),
        })
    }
}

/// Shared metrics that no scrape shows.
pub(super) fn unseen_platform() -> Arc<PlatformMetrics> {
    Arc::new(PlatformMetrics {
        attempt_duration: unseen_histogram(),
        age_at_delivery: unseen_histogram(),
        rate_wait: unseen_histogram(),
        retries: Vec::new(),
    })
}

#[expect(clippy::expect_used, reason = "name and help are constants that the crate accepts; a test makes one")]
pub(super) fn unseen_gauge<P: prometheus::core::Atomic>() -> GenericGauge<P> {
    GenericGauge::new("unseen", "unseen").expect("a constant name is valid")
}

#[expect(clippy::expect_used, reason = "name and help are constants that the crate accepts; a test makes one")]
fn unseen_histogram() -> Histogram {
    Histogram::with_opts(HistogramOpts::new("unseen", "unseen")).expect("a constant name is valid")
}

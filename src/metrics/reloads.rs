//! How often the configuration was reloaded, and when last.

use prometheus::{IntCounter, IntGauge};

use super::families;
use super::maker::Maker;

/// The metrics of reloads.
pub struct Reloads {
    ok: IntCounter,
    failed: IntCounter,
    last: IntGauge,
}

impl Reloads {
    /// The start counts as the first successful one, at `now_ms`.
    pub(super) fn new(make: &Maker<'_>, now_ms: i64) -> Self {
        let reloads = make.counters(&families::CONFIG_RELOADS);
        let last = make.int_gauges(&families::CONFIG_LAST_RELOAD).with_label_values::<&str>(&[]);
        last.set(now_ms / 1000);
        Self { ok: reloads.with_label_values(&["ok"]), failed: reloads.with_label_values(&["failed"]), last }
    }

    /// Counts a reload that took effect at `now_ms`.
    pub fn succeeded(&self, now_ms: i64) {
        self.ok.inc();
        self.last.set(now_ms / 1000);
    }

    /// Counts one that changed nothing, because the file cannot be used.
    pub fn failed(&self) {
        self.failed.inc();
    }
}

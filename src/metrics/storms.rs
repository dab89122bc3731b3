//! The gauge of the topics that the storm brake stopped.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use prometheus::IntGaugeVec;

use super::families;
use super::maker::Maker;

/// The gauge, and the topics that have a series.
pub struct Storms {
    gauge: IntGaugeVec,
    known: Mutex<BTreeSet<String>>,
}

impl Storms {
    pub(super) fn new(make: &Maker<'_>) -> Self {
        Self { gauge: make.int_gauges(&families::STORM_STOPPED), known: Mutex::default() }
    }

    /// Shows which topics are stopped. A topic that was named once keeps its series.
    pub fn show<'a>(&self, read: impl IntoIterator<Item = &'a str>, stopped: &'a BTreeSet<String>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for topic in read.into_iter().chain(stopped.iter().map(String::as_str)) {
            if !known.contains(topic) {
                known.insert(topic.to_owned());
            }
        }
        for topic in known.iter() {
            self.gauge.with_label_values(&[topic.as_str()]).set(i64::from(stopped.contains(topic)));
        }
    }
}

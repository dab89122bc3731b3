//! Changes the counters of open events, on the polling threads only. All counters of one step (a record is received,
//! finished, handed off or given back) change together, so that the sums never disagree.

use std::sync::Arc;

use crate::delivery::progress::{End, Info, Open};
use crate::delivery::{Delivery, Subject};
use crate::metrics::Metrics;

/// The counters of one consumer.
pub struct Accounting {
    metrics: Arc<Metrics>,
}

impl Accounting {
    /// Builds it over the process's metrics.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics }
    }

    /// Counts a record that was received and examined.
    pub fn received(&self, delivery: &Delivery) {
        let index = delivery.index();
        let since_ms = delivery.envelope.since_ms();
        let trans_id = match &delivery.subject {
            Subject::Ready(ready) => ready.trans_id.clone(),
            Subject::Ended(ended) => ended.identity.trans_id.as_deref().unwrap_or_default().into(),
        };
        let lane = delivery.lane();
        let (bytes, stored_ms) = (delivery.record.size(), delivery.record.timestamp_ms);
        let info = Info { account: index, lane, trans_id, since_ms, bytes, stored_ms };
        // The ack handle is new, so this is the first call and cannot fail.
        let _ = delivery.ack.open().info.set(info);
        let _step = self.metrics.step();
        self.metrics.account(index).open.inc();
        self.metrics.received(&delivery.record.topic);
    }

    /// Counts a record that ended, for this assignment of its partition. Returns its size in bytes.
    pub fn completed(&self, open: &Open, end: End) -> usize {
        let Some(info) = open.info.get() else { return 0 };
        let account = self.metrics.account(info.account);
        let _step = self.metrics.step();
        account.open.dec();
        match end {
            End::Finished(outcome) => account.finished(outcome),
            End::Retried => self.metrics.handed_off_retry.inc(),
            End::Parked => self.metrics.handed_off_parked.inc(),
            End::Returned | End::Lost => self.metrics.handed_off_returned.inc(),
        }
        info.bytes
    }
}

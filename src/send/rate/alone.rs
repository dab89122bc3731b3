//! The rate of a lane that sends while Redis is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// What a lane sends while Redis is away.
pub struct Alone {
    /// Whether it sends at all: `when_unavailable = "deliver"`.
    pub delivers: bool,
    /// The number of accounts of the bucket that send then, this one included.
    pub sharers: usize,
    /// The most replicas seen in the last hour. Each of them may be sending as well.
    pub replicas: Arc<AtomicUsize>,
}

impl Alone {
    /// The time from one request to the next. While Redis is away, the rate is divided among all that may be sending.
    pub(super) fn interval(&self, of_rate_us: u64) -> Duration {
        let sharers = self.sharers.max(1) * self.replicas.load(Relaxed).max(1);
        Duration::from_micros(of_rate_us.saturating_mul(sharers as u64))
    }
}

//! The end of a partition, as far as it is known here.

#[derive(Debug, Default)]
pub(super) struct LogEnd {
    high: Option<i64>,
    /// The position of the partition when the client was last asked for the end.
    looked_at: Option<i64>,
}

impl LogEnd {
    pub(super) fn high(&self) -> Option<i64> {
        self.high
    }

    /// The broker stated this end.
    pub(super) fn stated(&mut self, high: i64) {
        self.high = Some(high);
    }

    /// The client was asked when the partition stood at `position`: its last fetch saw this end, which may be older
    /// than what the broker has stated.
    pub(super) fn fetched(&mut self, high: Option<i64>, position: Option<i64>) {
        self.looked_at = high.and(position);
        self.high = high.max(self.high);
    }

    /// Whether the client may know another end than the last time: a record was read since, or there are more records.
    pub(super) fn may_have_moved(&self, position: Option<i64>) -> bool {
        self.looked_at != position || self.high.is_none_or(|high| position.is_some_and(|at| at < high))
    }

    /// Whether more lies behind this position.
    pub(super) fn lies_beyond(&self, at: i64) -> bool {
        self.high.is_some_and(|high| at < high)
    }
}

//! How long Kafka keeps the oldest record of a partition that is not finished (pure).

use crate::delivery::progress::PartitionView;

/// The record that bounds how far a partition is done.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Oldest {
    /// This is its timestamp in its topic, epoch ms. `None`: it has none, or it is not known yet.
    Stored(Option<i64>),
    /// It was not read yet. It is no older than this many seconds, because the last record that was read is. 0: there
    /// is none. `None`: it is not known whether there is one.
    Unread(Option<f64>),
}

/// The seconds until retention deletes the oldest unfinished record, counted from its timestamp; negative: it may be
/// gone at any moment. Where nothing is unfinished, a record that arrives now has the whole retention. `stored_ms`
/// tells the timestamp of a record that was not read, by its offset. `None`: not known.
pub(super) fn headroom(
    p: &PartitionView,
    retention_ms: i64,
    now_ms: i64,
    stored_ms: impl FnOnce(i64) -> Option<i64>,
) -> Option<f64> {
    let oldest = match (&p.oldest, p.lag_records, p.lag_seconds.filter(|_| p.parked.is_none())) {
        (Some(oldest), ..) => Oldest::Stored(oldest.work.stored_ms),
        (None, Some(0), _) => Oldest::Unread(Some(0.0)),
        (None, _, Some(seconds)) => Oldest::Unread(Some(seconds)),
        (None, Some(_), None) => Oldest::Stored(first_unread(p).and_then(stored_ms)),
        (None, None, None) => Oldest::Unread(None),
    };
    left(oldest, retention_ms, now_ms)
}

/// The offset of the first record that was not read.
fn first_unread(p: &PartitionView) -> Option<i64> {
    match &p.parked {
        Some(parked) => Some(parked.first_open()),
        None => p.frontier.or(p.committed),
    }
}

fn left(oldest: Oldest, retention_ms: i64, now_ms: i64) -> Option<f64> {
    let age = match oldest {
        Oldest::Stored(stored_ms) => (now_ms - stored_ms?).max(0) as f64 / 1000.0,
        Oldest::Unread(seconds) => seconds?,
    };
    Some(retention_ms as f64 / 1000.0 - age)
}

#[cfg(test)]
mod tests;

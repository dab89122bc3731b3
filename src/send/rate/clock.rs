//! The difference between Redis's clock and ours, and how long its replies take (pure).
//!
//! Slots are times on Redis's clock, which all replicas share. Each reply narrows down the same time on our clock,
//! because the script ran after the request was sent and before the reply came.

use std::time::Duration;

/// If a reply is later than the fastest one by no more than this, it needs no lead: its slots are still in time.
const IN_TIME_US: i64 = 20_000;
/// Longer than any reply that is waited for.
const LONGEST: Duration = Duration::from_secs(2);

/// What the replies so far have shown. Our times are µs since a fixed moment of this process, their times are epoch µs.
#[derive(Default)]
pub(super) struct Clock {
    /// Our time less theirs, in µs. It is the latest of the possible values, so that no slot comes early. `None`: there
    /// was no reply yet.
    offset_us: Option<i64>,
    /// How long after their script the last two replies came, µs.
    late_us: [i64; 2],
    /// How long the last two round trips took.
    took: [Duration; 2],
}

impl Clock {
    /// Takes the times of a request: when it was sent, when its reply came, and what its script saw in between,
    /// `theirs_us`.
    pub(super) fn heard(&mut self, sent_us: i64, received_us: i64, theirs_us: i64) {
        let (earliest, latest) = (sent_us - theirs_us, received_us - theirs_us);
        let offset = match self.offset_us {
            Some(known) if known >= earliest => known.min(latest),
            // The first reply, or a clock was set or drifts.
            _ => latest,
        };
        self.offset_us = Some(offset);
        self.late_us = [latest - offset, self.late_us[0]];
        self.took = [Duration::from_micros(received_us.abs_diff(sent_us)), self.took[0]];
    }

    /// The time on our clock when Redis's clock shows `theirs_us`.
    pub(super) fn ours_us(&self, theirs_us: i64) -> i64 {
        theirs_us + self.offset_us.unwrap_or_default()
    }

    /// How far ahead a slot must lie so that its reply arrives before it. The time of a single reply does not count.
    pub(super) fn lead(&self) -> Duration {
        let late = self.late_us[0].min(self.late_us[1]);
        if late <= IN_TIME_US { Duration::ZERO } else { Duration::from_micros(late.unsigned_abs()).min(LONGEST) }
    }

    /// How long a round trip takes, by the last two.
    pub(super) fn round_trip(&self) -> Duration {
        self.took[0].min(self.took[1]).min(LONGEST)
    }
}

#[cfg(test)]
mod tests;

//! A row of refused writes to one topic.

use std::time::{Duration, Instant};

/// After so long without a write that was taken, what belongs to a topic is put off.
pub(super) const LONG: Duration = Duration::from_secs(10);
/// Between two records that try the topic meanwhile.
pub(super) const TRY_EVERY: Duration = Duration::from_secs(5);
/// A record that was put off is at its topic again by then, counted from its time, unless nothing keeps it from being sent.
/// So long a failure is remembered too.
pub(super) const BACK_WITHIN: Duration = Duration::from_secs(60);

/// Writes that were refused, and none that was taken.
pub(super) struct Spell {
    pub(super) since: Instant,
    /// When the last record began to try it.
    pub(super) tried: Instant,
    /// That one has no answer yet.
    pub(super) trying: bool,
    /// Records were put off because of it.
    pub(super) puts_off: bool,
    /// Without another word by then nothing waits for the topic any more.
    pub(super) until: Instant,
}

impl Spell {
    pub(super) fn new(since: Instant) -> Self {
        Self { since, tried: since, trying: false, puts_off: false, until: Instant::now() + BACK_WITHIN }
    }

    /// How long it lasts, where that is long.
    pub(super) fn long(&self) -> Option<Duration> {
        Some(self.since.elapsed()).filter(|lasts| *lasts >= LONG)
    }

    pub(super) fn is_over(&self) -> bool {
        !self.trying && self.until <= Instant::now()
    }
}

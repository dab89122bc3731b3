//! A period during which one topic refuses every write.

use std::time::{Duration, Instant};

/// If a topic takes no write for this long, its records are put off.
pub(super) const LONG: Duration = Duration::from_secs(10);
/// The time between two records that try the topic while its records are put off.
pub(super) const TRY_EVERY: Duration = Duration::from_secs(5);
/// A record that was put off comes back from its tier within this time after it is due. Then it goes to its topic
/// again, unless it can be sent to its platform by now. A failed write is remembered for this long too.
pub(super) const BACK_WITHIN: Duration = Duration::from_secs(60);

/// Writes that were refused, with no accepted write between them.
pub(super) struct Spell {
    pub(super) since: Instant,
    /// When the last record began to try the topic.
    pub(super) tried: Instant,
    /// Whether that record still waits for its answer.
    pub(super) trying: bool,
    /// Whether records were put off because of it.
    pub(super) puts_off: bool,
    /// If nothing more is reported until then, no record waits for the topic any more.
    pub(super) until: Instant,
}

impl Spell {
    pub(super) fn new(since: Instant) -> Self {
        Self { since, tried: since, trying: false, puts_off: false, until: Instant::now() + BACK_WITHIN }
    }

    /// How long the topic has refused, if that is at least [`LONG`].
    pub(super) fn long(&self) -> Option<Duration> {
        Some(self.since.elapsed()).filter(|lasts| *lasts >= LONG)
    }

    pub(super) fn is_over(&self) -> bool {
        !self.trying && self.until <= Instant::now()
    }
}

//! Since when a partition delivers nothing although more lies behind its position, and what was done about it.

use std::time::{Duration, Instant};

/// If the client delivers nothing for this long although there are more records, it has lost a wake-up.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// A position, and since when it has stayed the same.
#[derive(Debug, Default)]
struct Standing(Option<(i64, Instant)>);

impl Standing {
    /// Updates it with the present position, or with `None` if it is no longer watched. Returns since when the position
    /// is the same.
    fn update(&mut self, at: Option<i64>, now: Instant) -> Option<Instant> {
        self.0 = match (at, self.0) {
            (Some(at), Some((then, since))) if then == at => Some((at, since)),
            (Some(at), _) => Some((at, now)),
            (None, _) => None,
        };
        self.0.map(|(_, since)| since)
    }
}

#[derive(Debug, Default)]
pub(super) struct Standstill {
    /// The position while no record was unfinished and the end lay further on.
    quiet: Standing,
    /// The position while more records were there and none arrived.
    stuck: Standing,
    /// The position at which it was taken up again because no record arrived. This happens once per position.
    nudged_at: Option<i64>,
    /// A position that was compared with the log and found to belong to it.
    sound_at: Option<i64>,
}

impl Standstill {
    /// Updates whether no record is unfinished while more lies behind the position `at`, and returns since when.
    pub(super) fn quiet_since(&mut self, at: Option<i64>, now: Instant) -> Option<Instant> {
        self.quiet.update(at, now)
    }

    /// What made it quiet is found.
    pub(super) fn not_quiet(&mut self) {
        self.quiet = Standing::default();
    }

    /// Updates whether records lie behind the position `at` and none arrives. Returns `true` once that has lasted too
    /// long.
    pub(super) fn is_stuck(&mut self, at: Option<i64>, now: Instant) -> bool {
        let since = self.stuck.update(at, now);
        // After the last record there may be only transaction markers. Then nothing more will arrive, so it is taken up
        // again only once for each position.
        since.is_some_and(|since| now - since >= STUCK_AFTER) && self.nudged_at != at
    }

    /// It is taken up again at this position.
    pub(super) fn nudged(&mut self, at: Option<i64>) {
        self.nudged_at = at;
    }

    #[cfg(test)]
    pub(super) fn nudged_at(&self) -> Option<i64> {
        self.nudged_at
    }

    /// Remembers that its present position belongs to this log. If it is stuck there all the same, it is taken up once
    /// more, without the comparison.
    pub(super) fn found_sound(&mut self, at: i64) {
        if self.sound_at != Some(at) {
            (self.sound_at, self.nudged_at) = (Some(at), None);
        }
    }

    pub(super) fn is_sound(&self, at: i64) -> bool {
        self.sound_at == Some(at)
    }

    /// What stays true in another assignment.
    pub(super) fn kept(&self) -> Self {
        Self { nudged_at: self.nudged_at, sound_at: self.sound_at, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_begins_anew_with_another_position_and_after_a_pause() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut standing = Standing::default();
        let mut update = |position, seconds| standing.update(position, at(seconds));
        assert_eq!([update(Some(5), 0), update(Some(5), 9)], [Some(at(0)); 2]);
        assert_eq!([update(Some(6), 10), update(Some(6), 11)], [Some(at(10)); 2]);
        assert_eq!([update(None, 12), update(Some(6), 13)], [None, Some(at(13))]);
    }
}

//! A breaker together with what operators are told of it.

use std::time::Duration;

use tokio::time::Instant;

use crate::lane::handle::breaker::{Breaker, BreakerInput, Change};
use crate::metrics::{BreakerState, LaneState};

/// The breaker of a lane, since when it has its state, and why.
#[derive(Default)]
pub struct ShownBreaker {
    breaker: Breaker,
    /// In epoch ms; 0: since the start.
    since_ms: i64,
    /// What opened it.
    why: String,
    /// What the last failed request came to.
    last: String,
}

impl ShownBreaker {
    /// Takes the answer to one request, as [`Breaker::report`] does. `what` says what the request came to.
    pub fn report(
        &mut self,
        (input, is_probe): (BreakerInput, bool),
        most: usize,
        (now, now_ms): (Instant, i64),
        what: impl FnOnce() -> String,
    ) -> Change {
        let change = self.breaker.report(input, is_probe, most, now);
        // What was under way when the breaker opened tells nothing new.
        if input.is_failed() && (change != Change::None || !self.breaker.is_shut()) {
            self.last = what();
        }
        if matches!(change, Change::Opened | Change::Ramping | Change::Closed) {
            self.since_ms = now_ms;
        }
        if change == Change::Opened {
            let (failed, of) = self.breaker.share();
            self.why = format!("{failed} of the last {of} requests failed");
        }
        change
    }

    #[cfg(test)]
    pub(crate) fn make_probe_due(&mut self, ago: Duration) {
        self.breaker.make_probe_due(ago);
    }

    /// The breaker itself.
    pub fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// The lane's state as far as the breaker decides it, since when (epoch ms), and why. `has_probe`: a record is
    /// being tried.
    pub fn explain(&self, has_probe: bool, now: Instant) -> (LaneState, i64, String) {
        let seconds = whole_seconds(self.breaker.due_in(now));
        let next = match self.breaker.state(now) {
            BreakerState::Closed => return (LaneState::Flowing, 0, String::new()),
            BreakerState::Ramping => {
                let permits = self.breaker.permits();
                let text =
                    format!("the platform answers again: {permits} request(s) at a time, more after good answers");
                return (LaneState::Flowing, self.since_ms, text);
            }
            BreakerState::Open => format!("the first probe is due in {seconds} s"),
            BreakerState::Probing if has_probe => "one event is being tried".to_owned(),
            BreakerState::Probing if seconds > 0 => format!("the next probe is due in {seconds} s"),
            BreakerState::Probing => "the next event is tried alone".to_owned(),
        };
        (LaneState::Broken, self.since_ms, format!("{}; {next}; last failure: {}", self.why, self.last))
    }
}

fn whole_seconds(time: Duration) -> u128 {
    time.as_millis().div_ceil(1000)
}

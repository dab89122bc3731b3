//! The breaker of a lane: it stops calling a platform that fails, and lets it back step by step.
//!
//! It is closed while requests do well. Ten failed requests of the last twenty open it: nothing is sent for 30 s. Then
//! one record at a time is tried, and again every 5 s while that fails. Any other answer starts the ramp: one permit,
//! twice as many after every ten good answers, until the lane has all of its permits again.
//!
//! A request that fails for a record that was tried before tells of that record and not of the platform, as long as
//! another request did well within the last ten seconds. Otherwise a few records that always fail would open the
//! breaker of an account that works, because their repeated tries come together, and would keep it from the ramp.
//!
//! It judges what this process saw and forgets it with the process: replicas may see a platform differently.

pub mod shared;
pub mod shown;

use std::time::Duration;

use tokio::time::Instant;

use crate::metrics::BreakerState;

/// This many requests are judged together. Fewer are never judged.
pub(crate) const JUDGED: u32 = 20;
/// So many failed ones of them open the breaker.
pub(crate) const FAILED: u32 = 10;
/// Nothing is sent for so long after the breaker has opened.
pub(crate) const OPEN_FOR: Duration = Duration::from_secs(30);
/// The time from a probe that failed to the next one.
pub(crate) const PROBE_EVERY: Duration = Duration::from_secs(5);
/// So many good answers double the permits of the ramp. A failed one among the first of them opens the breaker again.
pub(crate) const STEP: u32 = 10;
/// For so long after a request did well, a record that fails again tells of itself.
pub(crate) const LATELY: Duration = Duration::from_secs(10);

/// What the answer to one request says of the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerInput {
    /// It works: it took the events, or refused them for good.
    Good,
    /// It does not work: the attempt failed, or there was no usable answer.
    Failed,
    /// The same, for a record that was tried before. While others do well it tells of itself.
    FailedAgain,
    /// Neither: it asks for fewer requests, for a newer token, or for another credential.
    Other,
}

impl BreakerInput {
    /// Whether the request failed, for the first time or again.
    pub fn is_failed(self) -> bool {
        matches!(self, BreakerInput::Failed | BreakerInput::FailedAgain)
    }
}

/// What an answer did to the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    None,
    Opened,
    /// The probe failed. The next one is due in 5 s.
    ProbeFailed,
    /// The probe was answered: the ramp has begun.
    Ramping,
    /// The ramp gives more permits.
    Widened,
    /// It is closed again.
    Closed,
}

/// The breaker of one lane.
#[derive(Debug)]
pub struct Breaker {
    /// The last requests, the newest in the lowest bit: 1 is a failed one.
    last: u32,
    /// How many of them there are.
    seen: u32,
    /// When a request last did well.
    good_at: Option<Instant>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Closed,
    /// Nothing is sent before `next`, and then one record. `probed`: one was tried and failed.
    Shut {
        next: Instant,
        probed: bool,
    },
    Ramping {
        permits: usize,
        /// The good answers since the permits were doubled.
        good: u32,
        /// Whether this is the first step.
        first: bool,
    },
}

impl Default for Breaker {
    fn default() -> Self {
        Self { last: 0, seen: 0, good_at: None, phase: Phase::Closed }
    }
}

impl Breaker {
    /// Takes the answer to one request. `is_probe`: it was the one record that was tried. `most`: all permits of the
    /// lane. Answers to requests that were under way when the breaker opened change nothing.
    pub fn report(&mut self, input: BreakerInput, is_probe: bool, most: usize, now: Instant) -> Change {
        let input = match input {
            BreakerInput::FailedAgain if !is_probe && self.did_well_lately(now) => return Change::None,
            BreakerInput::FailedAgain => BreakerInput::Failed,
            BreakerInput::Good => {
                self.good_at = Some(now);
                input
            }
            BreakerInput::Failed | BreakerInput::Other => input,
        };
        match self.phase {
            Phase::Closed => {
                self.remember(input);
                if self.is_too_much() { self.open(now) } else { Change::None }
            }
            Phase::Shut { .. } if !is_probe => Change::None,
            Phase::Shut { .. } if input == BreakerInput::Failed => {
                self.phase = Phase::Shut { next: now + PROBE_EVERY, probed: true };
                Change::ProbeFailed
            }
            Phase::Shut { .. } => {
                (self.last, self.seen) = (0, 0);
                self.phase = Phase::Ramping { permits: 1, good: 0, first: true };
                Change::Ramping
            }
            Phase::Ramping { permits, good, first } => {
                self.remember(input);
                match input {
                    BreakerInput::Failed if first || self.is_too_much() => self.open(now),
                    BreakerInput::Failed | BreakerInput::FailedAgain | BreakerInput::Other => Change::None,
                    BreakerInput::Good if good + 1 < STEP => {
                        self.phase = Phase::Ramping { permits, good: good + 1, first };
                        Change::None
                    }
                    BreakerInput::Good if permits.saturating_mul(2) >= most => {
                        self.phase = Phase::Closed;
                        Change::Closed
                    }
                    BreakerInput::Good => {
                        self.phase = Phase::Ramping { permits: permits * 2, good: 0, first: false };
                        Change::Widened
                    }
                }
            }
        }
    }

    fn did_well_lately(&self, now: Instant) -> bool {
        self.good_at.is_some_and(|at| now.saturating_duration_since(at) < LATELY)
    }

    fn remember(&mut self, input: BreakerInput) {
        self.last = (self.last << 1 | u32::from(input == BreakerInput::Failed)) & ((1 << JUDGED) - 1);
        self.seen = (self.seen + 1).min(JUDGED);
    }

    fn is_too_much(&self) -> bool {
        self.seen == JUDGED && self.last.count_ones() >= FAILED
    }

    fn open(&mut self, now: Instant) -> Change {
        self.phase = Phase::Shut { next: now + OPEN_FOR, probed: false };
        Change::Opened
    }

    #[cfg(test)]
    fn make_probe_due(&mut self, ago: Duration) {
        if let Phase::Shut { next, .. } = &mut self.phase {
            *next = Instant::now().checked_sub(ago).unwrap_or_else(Instant::now);
        }
    }

    /// How many of the last requests failed, and how many there are.
    pub fn share(&self) -> (u32, u32) {
        (self.last.count_ones(), self.seen)
    }

    /// Whether the lane takes no work, apart from the one record that is tried.
    pub fn is_shut(&self) -> bool {
        matches!(self.phase, Phase::Shut { .. })
    }

    /// How long the next probe has been due. `None`: it is not due, or the breaker is not shut.
    pub fn due_for(&self, now: Instant) -> Option<Duration> {
        match self.phase {
            Phase::Shut { next, .. } => now.checked_duration_since(next),
            Phase::Closed | Phase::Ramping { .. } => None,
        }
    }

    /// How long until the next probe is due.
    pub fn due_in(&self, now: Instant) -> Duration {
        match self.phase {
            Phase::Shut { next, .. } => next.saturating_duration_since(now),
            Phase::Closed | Phase::Ramping { .. } => Duration::ZERO,
        }
    }

    /// Whether a record may be sent: the breaker is not shut, or a probe is due.
    pub fn may_send(&self, now: Instant) -> bool {
        !self.is_shut() || self.due_for(now).is_some()
    }

    /// The most requests that may be under way. `usize::MAX`: the breaker sets no bound.
    pub fn permits(&self) -> usize {
        match self.phase {
            Phase::Ramping { permits, .. } => permits,
            Phase::Closed | Phase::Shut { .. } => usize::MAX,
        }
    }

    /// The state for metrics and operators.
    pub fn state(&self, now: Instant) -> BreakerState {
        match self.phase {
            Phase::Closed => BreakerState::Closed,
            Phase::Shut { next, probed: false } if now < next => BreakerState::Open,
            Phase::Shut { .. } => BreakerState::Probing,
            Phase::Ramping { .. } => BreakerState::Ramping,
        }
    }
}

#[cfg(test)]
mod tests;

//! The state of a lane's breaker, as the label `state` shows it.

use std::sync::atomic::{AtomicU8, Ordering};

/// The state of a breaker. A later one is worse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum BreakerState {
    /// It sends.
    #[default]
    Closed,
    /// It sends with fewer permits than the lane has.
    Ramping,
    /// It lets one event at a time be tried.
    Probing,
    /// It sends nothing.
    Open,
}

impl BreakerState {
    /// Every state, in ascending order.
    pub const ALL: [BreakerState; 4] =
        [BreakerState::Closed, BreakerState::Ramping, BreakerState::Probing, BreakerState::Open];

    /// The name in metrics and in output.
    pub fn as_str(self) -> &'static str {
        match self {
            BreakerState::Closed => "closed",
            BreakerState::Ramping => "ramping",
            BreakerState::Probing => "probing",
            BreakerState::Open => "open",
        }
    }
}

/// The state that the last look found.
#[derive(Default)]
pub(super) struct Breaker(AtomicU8);

impl Breaker {
    pub(super) fn set(&self, state: BreakerState) {
        self.0.store(state as u8, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> BreakerState {
        BreakerState::ALL[usize::from(self.0.load(Ordering::Relaxed))]
    }
}

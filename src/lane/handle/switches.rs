//! The switches that close a lane until somebody opens it.

use serde::{Deserialize, Serialize};

use crate::metrics::LaneState;

/// A switch that is on, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    #[serde(default)]
    pub reason: String,
    #[serde(default)]
    pub who: String,
    /// Since when the switch is on, in epoch ms.
    #[serde(default)]
    pub since_ms: i64,
}

/// Both switches of one account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// An operator stopped the lane.
    pub paused: Option<Switch>,
    /// A worker stopped the lane.
    pub halted: Option<Switch>,
}

impl Switches {
    /// Whether either switch is on.
    pub fn closed(&self) -> bool {
        self.paused.is_some() || self.halted.is_some()
    }

    /// The state of the lane and the switch that causes it. A halt takes precedence over a pause, because a halt needs
    /// a repair and a pause does not.
    pub fn cause(&self) -> Option<(LaneState, &Switch)> {
        let halted = self.halted.as_ref().map(|switch| (LaneState::Halted, switch));
        halted.or(self.paused.as_ref().map(|switch| (LaneState::Paused, switch)))
    }
}

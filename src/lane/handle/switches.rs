//! What closes a lane until somebody opens it.

use serde::{Deserialize, Serialize};

use crate::metrics::LaneState;

/// Why a switch is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    #[serde(default)]
    pub reason: String,
    #[serde(default)]
    pub who: String,
    /// Epoch ms.
    #[serde(default)]
    pub since_ms: i64,
}

/// Both switches of one account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// An operator stopped it.
    pub paused: Option<Switch>,
    /// A worker stopped it.
    pub halted: Option<Switch>,
}

impl Switches {
    /// Whether either switch is on.
    pub fn closed(&self) -> bool {
        self.paused.is_some() || self.halted.is_some()
    }

    /// State and cause; a halt shows before a pause, because it needs a repair and a pause does not.
    pub fn cause(&self) -> Option<(LaneState, &Switch)> {
        let halted = self.halted.as_ref().map(|switch| (LaneState::Halted, switch));
        halted.or(self.paused.as_ref().map(|switch| (LaneState::Paused, switch)))
    }
}

//! The switches that close a lane until somebody opens it.

pub mod in_force;

use serde::{Deserialize, Serialize};

use crate::metrics::LaneState;

/// In the reason of a halt after permanent answers, as every version writes it.
pub const PERMANENT_ANSWERS: &str = "permanent answers in a row";

// Short, because a table cuts its cells at 120 characters.
const ENDS_BY_HAND: &str = "waits for `accounts resume`";
const ENDS_BY_ITSELF: &str = "one parked event is tried every retry.halt_probe, `accounts resume` ends it at once";

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
    /// Of a halt: whether only an operator may end it. Earlier versions do not state it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_hand: Option<bool>,
}

impl Switch {
    pub fn pause(reason: &str, who: &str, since_ms: i64) -> Self {
        Self { reason: reason.to_owned(), who: who.to_owned(), since_ms, by_hand: None }
    }

    pub fn halt(reason: &str, who: &str, since_ms: i64, by_hand: bool) -> Self {
        Self { by_hand: Some(by_hand), ..Self::pause(reason, who, since_ms) }
    }

    /// Of a halt: whether only an operator may end it.
    pub fn waits_for_hand(&self) -> bool {
        self.by_hand.unwrap_or_else(|| self.reason.contains(PERMANENT_ANSWERS))
    }

    /// Why the lane has this state, and how a halt ends.
    pub fn text(&self, state: LaneState) -> String {
        match state {
            LaneState::Halted if self.waits_for_hand() => format!("{}; {ENDS_BY_HAND}", self.reason),
            LaneState::Halted => format!("{}; {ENDS_BY_ITSELF}", self.reason),
            _ => self.reason.clone(),
        }
    }
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

//! The switches that a lane obeys in this process: those of Redis, and a halt that Redis does not know yet.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::now_ms;
use crate::lane::handle::changes::Changes;
use crate::lane::handle::switches::{Switch, Switches};
use crate::metrics::LaneState;

/// The present switches of one lane. Who waits in the lane is told of each change.
pub struct SwitchesInForce {
    present: Mutex<Switches>,
    /// Whether either of them is on, because this is asked for each record.
    closed: AtomicBool,
    /// The lane was halted here, and Redis does not know it yet. Until then, switches that are read from Redis do not
    /// open the lane.
    unsaved_halt: AtomicBool,
    changes: Arc<Changes>,
}

impl SwitchesInForce {
    pub(in crate::lane::handle) fn new(changes: Arc<Changes>) -> Self {
        Self {
            present: Mutex::default(),
            closed: AtomicBool::new(false),
            unsaved_halt: AtomicBool::new(false),
            changes,
        }
    }

    /// Closes the lane in this process at once. The caller reports the halt to Redis. `false` if the lane was halted
    /// already. `by_hand`: only an operator may end the halt.
    pub fn halt(&self, reason: &str, by_hand: bool) -> bool {
        {
            let mut present = self.lock();
            if present.halted.is_some() {
                return false;
            }
            present.halted = Some(Switch::halt(reason, "worker", now_ms(), by_hand));
            self.unsaved_halt.store(true, SeqCst);
            self.closed.store(true, SeqCst);
        }
        self.changes.touch();
        true
    }

    /// Whether Redis does not know yet that the lane is halted.
    pub fn has_unsaved_halt(&self) -> bool {
        self.unsaved_halt.load(SeqCst)
    }

    /// Reports that Redis stores the halt.
    pub fn halt_saved(&self) {
        self.unsaved_halt.store(false, SeqCst);
    }

    /// Applies the switches that Redis holds. Returns whether anything changed.
    pub fn obey(&self, new: &Switches) -> bool {
        {
            let mut present = self.lock();
            if *present == *new || (self.unsaved_halt.load(SeqCst) && new.halted.is_none()) {
                return false;
            }
            self.closed.store(new.closed(), SeqCst);
            *present = new.clone();
        }
        self.changes.touch();
        true
    }

    pub fn present(&self) -> Switches {
        self.lock().clone()
    }

    /// Whether either switch is on.
    pub(in crate::lane::handle) fn are_closed(&self) -> bool {
        self.closed.load(SeqCst)
    }

    /// Whether a probe may go through them: a pause lets none pass.
    pub(in crate::lane::handle) fn is_halted_and_not_paused(&self) -> bool {
        let present = self.lock();
        present.halted.is_some() && present.paused.is_none()
    }

    /// The state of the lane, as far as they decide it.
    pub(in crate::lane::handle) fn state(&self) -> Option<LaneState> {
        self.lock().cause().map(|(state, _)| state)
    }

    /// The same, since when (epoch ms), and why.
    pub(in crate::lane::handle) fn explain(&self) -> Option<(LaneState, i64, String)> {
        self.lock().cause().map(|(state, switch)| (state, switch.since_ms, switch.text(state)))
    }

    fn lock(&self) -> MutexGuard<'_, Switches> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn switches() -> SwitchesInForce {
        SwitchesInForce::new(Arc::default())
    }

    fn on(reason: &str) -> Option<Switch> {
        Some(Switch::pause(reason, "li", 5))
    }

    #[test]
    fn a_halt_that_redis_does_not_know_yet_outlives_what_redis_says() {
        let switches = switches();
        assert!(switches.halt("refused", true) && !switches.halt("again", false));
        let told = (switches.are_closed(), switches.has_unsaved_halt(), switches.changes.count());
        assert_eq!(told, (true, true, 1), "told once");
        assert!(switches.present().halted.is_some_and(|halt| halt.waits_for_hand() && halt.reason == "refused"));
        assert!(!switches.obey(&Switches { paused: on("audit"), halted: None }) && switches.is_halted_and_not_paused());
        switches.halt_saved();
        assert!(switches.obey(&Switches::default()) && !switches.are_closed() && switches.state().is_none());
        assert_eq!(switches.changes.count(), 2);
    }

    #[test]
    fn a_halt_beside_a_pause_is_shown_and_does_not_close_the_lane_alone() {
        let switches = switches();
        assert!(switches.obey(&Switches { paused: on("audit"), halted: None }));
        assert_eq!(
            (switches.explain(), switches.is_halted_and_not_paused()),
            (Some((LaneState::Paused, 5, "audit".into())), false)
        );
        assert!(switches.obey(&Switches { paused: on("audit"), halted: on("refused") }));
        assert_eq!((switches.state(), switches.is_halted_and_not_paused()), (Some(LaneState::Halted), false));
        assert!(
            switches.obey(&Switches { paused: None, halted: on("refused") }) && switches.is_halted_and_not_paused()
        );
    }
}

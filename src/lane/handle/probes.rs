//! The probes of a lane: one record at a time is sent although the lane counts as closed, to find out whether it may
//! open.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};

use crate::delivery::Probe;
use crate::lane::handle::halt_probe::HaltProbe;

/// Who has the probes of one lane.
#[derive(Default)]
pub(super) struct Probes {
    /// Whether a record is on its way that may end what its platform's answers closed the lane for.
    taken: Arc<AtomicBool>,
    /// What ends a halt. All lanes of an account have the same.
    halt: OnceLock<Arc<HaltProbe>>,
}

impl Probes {
    pub(super) fn is_taken(&self) -> bool {
        self.taken.load(SeqCst)
    }

    /// `None`: another record has it.
    pub(super) fn take(&self) -> Option<Probe> {
        Probe::take(&self.taken)
    }

    /// The probe that ends a halt of the account.
    pub(super) fn of_halt(&self) -> &Arc<HaltProbe> {
        self.halt.get_or_init(Arc::default)
    }

    /// Lets another lane of the same account have the same probe of a halt.
    pub(super) fn share_halt(&self, with: &Self) {
        // An account has at most one other lane, so a second call would change nothing.
        let _ = with.halt.set(self.of_halt().clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_record_has_the_probe_of_a_lane_and_two_lanes_share_the_one_of_a_halt() {
        let (one, other) = (Probes::default(), Probes::default());
        one.share_halt(&other);
        let probe = one.take();
        assert!(one.is_taken() && one.take().is_none() && other.take().is_some());
        drop(probe);
        assert!(!one.is_taken());
        let through_halt = one.of_halt().take();
        assert!(through_halt.is_some() && other.of_halt().has_probe() && other.of_halt().take().is_none());
    }
}

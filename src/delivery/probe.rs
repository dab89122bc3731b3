//! The right of one record to be sent through a closed lane.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// The right of one record to be sent although the lane counts as closed. Its answer opens the lane, or keeps it
/// closed. It is dropped if the record is not sent, so that another one may be tried.
pub struct Probe {
    taken: Arc<AtomicBool>,
    through_halt: bool,
    answered: bool,
}

impl Probe {
    /// `None`: another record has it.
    pub fn take(taken: &Arc<AtomicBool>) -> Option<Self> {
        Self::new(taken, false)
    }

    /// The same, for a record that is sent although its account is halted.
    pub fn take_through_halt(taken: &Arc<AtomicBool>) -> Option<Self> {
        Self::new(taken, true)
    }

    fn new(taken: &Arc<AtomicBool>, through_halt: bool) -> Option<Self> {
        let is_free = !taken.swap(true, SeqCst);
        is_free.then(|| Self { taken: taken.clone(), through_halt, answered: false })
    }

    /// Whether it is a right to be sent although the account is halted.
    pub fn is_through_halt(&self) -> bool {
        self.through_halt
    }

    /// Reports that the answer is known. The record is sent no further time in the right of this probe, and no other
    /// one is tried before it is dropped.
    pub fn set_answered(&mut self) {
        self.answered = true;
    }

    /// Whether the answer is known.
    pub fn is_answered(&self) -> bool {
        self.answered
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.taken.store(false, SeqCst);
    }
}

//! How a halt ends by itself: one parked record is tried now and then, although its account is halted. If the platform
//! accepts it, the halt ends.
//!
//! The coordinator grants the probe, because it asks Redis whether no other replica probes. The lane reports what came
//! of it. Both lanes of an account share one probe.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::delivery::Probe;
use crate::lane::handle::switches::Switch;

/// The probe of one account.
#[derive(Default)]
pub struct HaltProbe {
    step: Mutex<Step>,
    probing: Arc<AtomicBool>,
}

/// How far the probe is.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Step {
    /// No record may be tried. It tells when this is asked again, if that is known.
    #[default]
    Waiting,
    /// One record may be tried until then, to find out whether this halt still has a cause.
    Granted { until: Instant, halt: Switch },
    /// The record got an answer that leaves the halt.
    Refused,
    /// The record was accepted, so this halt ends.
    Accepted { halt: Switch },
    /// The account's credential was replaced, so whatever halts it ends.
    Replaced,
}

impl HaltProbe {
    /// The present step.
    pub fn step(&self) -> Step {
        self.lock().clone()
    }

    /// Lets one record be tried until then. What was reported meanwhile stays.
    pub fn grant(&self, until: Instant, halt: &Switch) {
        let mut step = self.lock();
        if matches!(*step, Step::Waiting | Step::Granted { .. }) {
            *step = Step::Granted { until, halt: halt.clone() };
        }
    }

    /// Lets no further record be tried, and forgets what was reported.
    pub fn clear(&self) {
        *self.lock() = Step::Waiting;
    }

    /// Reports that another credential of the account is in force. A halt ends with that, unless it waits for a person.
    pub fn credential_replaced(&self) {
        *self.lock() = Step::Replaced;
    }

    /// Reports the platform's answer to the record that was tried.
    pub fn answered(&self, is_accepted: bool) {
        let mut step = self.lock();
        if let Step::Granted { halt, .. } = &*step {
            *step = if is_accepted { Step::Accepted { halt: halt.clone() } } else { Step::Refused };
        }
    }

    /// Whether a record may be tried now.
    pub(super) fn is_granted(&self, now: Instant) -> bool {
        matches!(&*self.lock(), Step::Granted { until, .. } if now < *until)
    }

    /// Whether a record is being tried.
    pub fn has_probe(&self) -> bool {
        self.probing.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// The permit to try one record. `None`: another one has it.
    pub(super) fn take(&self) -> Option<Probe> {
        Probe::take_through_halt(&self.probing)
    }

    fn lock(&self) -> MutexGuard<'_, Step> {
        self.step.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! How much a lane may hold: its queues, and what it sets aside for parking.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::account::{Account, Intake};

/// How many records go to parking at once. If a closing lane parked its whole queue at once, this would hold up its
/// thread and take memory.
pub(in crate::lane) const PARKS: usize = 256;

/// The most records of tiers that a lane may have set aside for parking, however long its queue may be. All lanes share
/// one bound for the records that leave the redelivery loop.
const MOST_ASIDE: usize = 1_000;

/// How much a lane may hold. The rate of its account decides, so a new rate changes it.
pub(super) struct Caps {
    intake: Intake,
    /// The most records in one of its queues.
    pub(super) queue: AtomicUsize,
    pub(super) queue_bytes: usize,
    /// The most records from input topics that may be set aside for parking.
    pub(super) aside: AtomicUsize,
    pub(super) aside_bytes: usize,
    /// The same for all lanes together.
    pub(super) aside_of_all: AtomicUsize,
    pub(super) aside_of_all_bytes: usize,
    /// The same for records from tiers.
    pub(super) aside_released: AtomicUsize,
    pub(super) aside_released_bytes: usize,
}

impl Caps {
    pub(super) fn new(account: &Account, intake: &Intake) -> Self {
        let caps = Self {
            intake: *intake,
            queue: AtomicUsize::new(0),
            queue_bytes: intake.max_in_flight_bytes / 4,
            aside: AtomicUsize::new(0),
            aside_bytes: (intake.max_in_flight_bytes / 4).max(1),
            aside_of_all: AtomicUsize::new(0),
            aside_of_all_bytes: (intake.max_in_flight_bytes / 2).max(1),
            aside_released: AtomicUsize::new(0),
            aside_released_bytes: (intake.max_in_flight_bytes / 16).max(1),
        };
        caps.set(account);
        caps
    }

    pub(super) fn set(&self, account: &Account) {
        let ten_seconds = (account.events_per_second() * 10.0) as usize;
        let quarter = self.intake.max_in_flight / 4;
        let queue = ten_seconds.min(quarter).max(64);
        self.queue.store(queue, Relaxed);
        // As much as the largest queue, so that the input topics are still read while the parking topic takes nothing
        // for a moment.
        self.aside.store(quarter.max(queue), Relaxed);
        self.aside_of_all.store((self.intake.max_in_flight / 2).max(2 * queue), Relaxed);
        // If parking works, the records that are set aside leave within a moment. A lower limit would only hold up the
        // tiers.
        self.aside_released.store(queue.max(PARKS.min(quarter)).min(MOST_ASIDE), Relaxed);
    }
}

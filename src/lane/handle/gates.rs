//! What closes a lane, in the order in which it is shown: a halt, a pause, the breaker, a push-back. And how one record
//! passes a closed gate to find out whether it may open.

use std::sync::PoisonError;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::now_ms;
use crate::delivery::{Probe, TopicKind};
use crate::lane::handle::LaneHandle;
use crate::lane::handle::breaker::shown::ShownBreaker;
use crate::lane::handle::breaker::{BreakerInput, Change};
use crate::lane::handle::halt_probe::HaltProbe;
use crate::metrics::{BreakerState, LaneState};

/// A probe of the breaker is left to a parked record for so long. Where none comes, a record that arrives is tried.
const PARKED_FIRST: Duration = Duration::from_secs(1);

impl LaneHandle {
    /// Whether the lane takes work: it is not paused, halted, or pushed back for more than 5 s, its breaker is not open,
    /// its platform has not answered every request of late with a throttle, and the account's own limit of the day is not
    /// used up.
    pub fn is_open(&self) -> bool {
        self.is_open_within_the_day() && !self.throttle.day_is_over()
    }

    /// Whether the lane is open for a request that is counted among those of the day.
    pub fn is_open_within_the_day(&self) -> bool {
        !self.switches.are_closed()
            && !self.shut.load(SeqCst)
            && !self.throttle.awaits_probe()
            && !self.throttle.is_pushed_back_for_long()
    }

    /// Whether a record may go on in the right of this probe.
    pub fn is_open_for(&self, probe: &Probe) -> bool {
        if probe.is_answered() || self.throttle.is_pushed_back_for_long() {
            return false;
        }
        let now = Instant::now();
        let is_through = if probe.is_through_halt() { self.may_probe_halt(now) } else { !self.switches.are_closed() };
        is_through && self.breaker_may_send(now)
    }

    /// Whether [`LaneHandle::take_probe`] would give a probe to a record from such a topic now.
    pub fn offers_probe(&self, topic_kind: TopicKind) -> bool {
        if !self.throttle.pushed_back().is_zero() || self.throttle.day_is_over() {
            return false;
        }
        let now = Instant::now();
        if self.switches.are_closed() {
            return topic_kind == TopicKind::Parked
                && !self.halt_probe().has_probe()
                && self.may_probe_halt(now)
                && self.breaker_may_send(now);
        }
        if self.probing.load(SeqCst) {
            return false;
        }
        if !self.shut.load(SeqCst) {
            return self.throttle.awaits_probe();
        }
        let due_for = self.shown_breaker().breaker().due_for(now);
        let left_to_parked = if topic_kind == TopicKind::Parked { Duration::ZERO } else { PARKED_FIRST };
        due_for.is_some_and(|due_for| due_for >= left_to_parked)
    }

    /// The permit to send one record through a closed lane: one whose platform throttled every request, once its push-back
    /// is over; one whose breaker is open, when its next probe is due, parked records first; or one that is halted, for a
    /// parked record that the coordinator granted. `None` while another record has the permit, and if the lane is open or
    /// closed for another reason.
    pub fn take_probe(&self, topic_kind: TopicKind) -> Option<Probe> {
        if !self.offers_probe(topic_kind) {
            None
        } else if self.switches.are_closed() {
            self.halt_probe().take()
        } else {
            Probe::take(&self.probing)
        }
    }

    /// The probe that ends a halt of the account. Its lanes share it.
    pub fn halt_probe(&self) -> &HaltProbe {
        self.halt_probe.get_or_init(Default::default)
    }

    /// Tells the lane that another credential of its account is in force. A halt ends with that, unless it waits for a
    /// person.
    pub fn credential_replaced(&self) {
        self.halt_probe().credential_replaced();
    }

    fn may_probe_halt(&self, now: Instant) -> bool {
        self.switches.is_halted_and_not_paused() && self.halt_probe().is_granted(now)
    }

    fn breaker_may_send(&self, now: Instant) -> bool {
        !self.shut.load(SeqCst) || self.shown_breaker().breaker().may_send(now)
    }

    /// Tells the breaker of the answer to one request. `is_probe`: it was the one record that is tried. `what` says what the
    /// request came to, in words that are safe to show.
    pub fn report(&self, input: BreakerInput, is_probe: bool, what: impl FnOnce() -> String) -> Change {
        let change = {
            let mut told = self.shown_breaker();
            let (most, now) = (self.account().limits.concurrency, (Instant::now(), now_ms()));
            let change = told.report((input, is_probe), most, now, what);
            self.shut.store(told.breaker().is_shut(), SeqCst);
            self.ramp_permits.store(told.breaker().permits(), SeqCst);
            change
        };
        if change != Change::None {
            self.changes.touch();
        }
        change
    }

    /// The most requests that the breaker lets be under way. `usize::MAX`: it sets no bound.
    pub fn ramp_permits(&self) -> usize {
        self.ramp_permits.load(SeqCst)
    }

    /// Makes the next probe of the breaker due since so long ago.
    #[cfg(test)]
    pub(crate) fn make_probe_due(&self, ago: Duration) {
        self.shown_breaker().make_probe_due(ago);
    }

    /// The state of the breaker.
    pub fn breaker_state(&self) -> BreakerState {
        self.shown_breaker().breaker().state(Instant::now())
    }

    /// The state of the lane, for metrics and operators.
    pub fn state(&self) -> LaneState {
        match self.switches.state() {
            Some(state) => state,
            None if self.shut.load(SeqCst) => LaneState::Broken,
            None if self.throttle.is_throttled() => LaneState::Throttled,
            None => LaneState::Flowing,
        }
    }

    /// The state of the lane, since when (epoch ms, 0 if unknown), and why.
    pub fn explain(&self) -> (LaneState, i64, String) {
        if let Some(switch) = self.switches.explain() {
            return switch;
        }
        if self.shut.load(SeqCst) {
            return self.explain_breaker();
        }
        if let Some(why) = self.throttle.explain() {
            return (LaneState::Throttled, 0, why);
        }
        match self.ramp_permits() {
            usize::MAX => (LaneState::Flowing, 0, String::new()),
            _ => self.explain_breaker(),
        }
    }

    fn explain_breaker(&self) -> (LaneState, i64, String) {
        self.shown_breaker().explain(self.probing.load(SeqCst), Instant::now())
    }

    fn shown_breaker(&self) -> std::sync::MutexGuard<'_, ShownBreaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;

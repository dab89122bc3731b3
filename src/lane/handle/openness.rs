//! Whether a lane is open, and what closes it, in the order in which it is shown: a halt, a pause, the breaker, what it
//! is throttled for. And how one record goes through a closed lane to find out whether it may open.

use std::time::Duration;

use tokio::time::Instant;

use crate::delivery::{Probe, TopicKind};
use crate::lane::handle::LaneHandle;
use crate::lane::handle::halt_probe::HaltProbe;
use crate::metrics::LaneState;

/// A probe of the breaker is left to a parked record for so long. Where none comes, a record that arrives is tried.
const PARKED_FIRST: Duration = Duration::from_secs(1);

impl LaneHandle {
    /// Whether the lane takes work: it is not paused, halted, or pushed back for more than 5 s, its breaker is not
    /// open, its platform has not answered every request of late with a throttle, and the account's own limit of the
    /// day is not used up.
    pub fn is_open(&self) -> bool {
        self.is_open_within_the_day() && !self.throttle.day_is_over()
    }

    /// Whether the lane is open for a request that is counted among those of the day.
    pub fn is_open_within_the_day(&self) -> bool {
        !self.switches.are_closed()
            && !self.breaker.is_shut()
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
        is_through && self.breaker.may_send(now)
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
                && self.breaker.may_send(now);
        }
        if self.probes.is_taken() {
            return false;
        }
        if !self.breaker.is_shut() {
            return self.throttle.awaits_probe();
        }
        let due_for = self.breaker.due_for(now);
        let left_to_parked = if topic_kind == TopicKind::Parked { Duration::ZERO } else { PARKED_FIRST };
        due_for.is_some_and(|due_for| due_for >= left_to_parked)
    }

    /// The permit to send one record through a closed lane: one whose platform throttled every request, once its
    /// push-back is over; one whose breaker is open, when its next probe is due, parked records first; or one that is
    /// halted, for a parked record that the coordinator granted. `None` while another record has the permit, and if the
    /// lane is open or closed for another reason.
    pub fn take_probe(&self, topic_kind: TopicKind) -> Option<Probe> {
        if !self.offers_probe(topic_kind) {
            None
        } else if self.switches.are_closed() {
            self.halt_probe().take()
        } else {
            self.probes.take()
        }
    }

    /// The probe that ends a halt of the account. Its lanes share it.
    pub fn halt_probe(&self) -> &HaltProbe {
        self.probes.of_halt()
    }

    fn may_probe_halt(&self, now: Instant) -> bool {
        self.switches.is_halted_and_not_paused() && self.halt_probe().is_granted(now)
    }

    /// The state of the lane, for metrics and operators.
    pub fn state(&self) -> LaneState {
        match self.switches.state() {
            Some(state) => state,
            None if self.breaker.is_shut() => LaneState::Broken,
            None if self.throttle.is_throttled() => LaneState::Throttled,
            None => LaneState::Flowing,
        }
    }

    /// The state of the lane, since when (epoch ms, 0 if unknown), and why.
    pub fn explain(&self) -> (LaneState, i64, String) {
        if let Some(switch) = self.switches.explain() {
            return switch;
        }
        if self.breaker.is_shut() {
            return self.breaker.explain(self.probes.is_taken());
        }
        if let Some(why) = self.throttle.explain() {
            return (LaneState::Throttled, 0, why);
        }
        match self.breaker.ramp_permits() {
            usize::MAX => (LaneState::Flowing, 0, String::new()),
            _ => self.breaker.explain(self.probes.is_taken()),
        }
    }
}

#[cfg(test)]
mod tests;

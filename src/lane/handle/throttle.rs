//! A lane whose platform asks for fewer requests: how long it is pushed back, and how it opens again.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use crate::delivery::Trial;
use crate::lane::handle::{LONGEST_WAIT_IN_LANE, LaneHandle};
use crate::send::rate::LONGEST_PUSH_BACK;

impl LaneHandle {
    /// Whether the lane takes work: it is not paused, halted, or pushed back for more than 5 s, its platform has not
    /// answered every request of late with a throttle, and the account's own limit of the day is not used up.
    pub fn is_open(&self) -> bool {
        self.is_open_within_the_day() && !self.day_is_over()
    }

    /// Whether the lane is open for a request that is counted among those of the day.
    pub fn is_open_within_the_day(&self) -> bool {
        self.is_open_for_trial() && !self.only_throttled.load(SeqCst)
    }

    /// Whether the lane would be open if its platform had not throttled every request.
    pub fn is_open_for_trial(&self) -> bool {
        !self.closed.load(SeqCst) && self.pushed_back() <= LONGEST_WAIT_IN_LANE
    }

    pub(super) fn pushed_back(&self) -> Duration {
        let until = Duration::from_millis(self.throttled_until_ms.load(SeqCst));
        if until.is_zero() { until } else { until.saturating_sub(self.born.elapsed()) }
    }

    /// Pushes the lane back from now on, because the platform or another replica asked for a pause.
    pub fn throttle(&self, wait: Duration) {
        let until_ms = u64::try_from((self.born.elapsed() + wait).as_millis()).unwrap_or(u64::MAX);
        if self.throttled_until_ms.fetch_max(until_ms, SeqCst) < until_ms {
            self.touch();
        }
    }

    /// Closes the lane until the platform's own limit of a day begins anew, and then until one record gets another
    /// answer.
    pub fn wait_for_quota(&self, wait: Duration) {
        let until_ms = u64::try_from((self.born.elapsed() + wait).as_millis()).unwrap_or(u64::MAX);
        self.quota_until_ms.fetch_max(until_ms, SeqCst);
        self.throttle(wait);
        self.set_only_throttled(true);
    }

    /// Obeys a push-back that the shared rate shows: another replica, or this worker before its start, was told to wait.
    pub fn shown_push_back(&self, wait: Duration) {
        if wait > LONGEST_PUSH_BACK {
            self.wait_for_quota(wait);
        } else if wait > LONGEST_WAIT_IN_LANE {
            self.throttle(wait);
        }
    }

    pub(super) fn waits_for_quota(&self) -> bool {
        let until = Duration::from_millis(self.quota_until_ms.load(SeqCst));
        !until.is_zero() && self.born.elapsed() < until
    }

    /// Sets whether the platform has only throttled for so long that the lane counts as closed. While the limit of a day
    /// lasts the lane stays closed: an answer to an earlier request says nothing about the next day.
    pub fn set_only_throttled(&self, only: bool) {
        if !only && self.waits_for_quota() {
            return;
        }
        if self.only_throttled.swap(only, SeqCst) != only {
            self.touch();
        }
    }

    /// Whether the lane is closed until a trial is answered.
    pub(super) fn awaits_trial(&self) -> bool {
        self.only_throttled.load(SeqCst)
    }

    /// Whether [`LaneHandle::take_trial`] would give a trial now.
    pub fn offers_trial(&self) -> bool {
        let throttled = self.awaits_trial() && !self.on_trial.load(SeqCst);
        throttled && !self.closed.load(SeqCst) && self.pushed_back().is_zero() && !self.day_is_over()
    }

    /// The permit to send one record through a lane whose platform throttled every request, once its push-back is over.
    /// `None` while another record has the permit, and if the lane is open or closed for another reason.
    pub fn take_trial(&self) -> Option<Trial> {
        if self.offers_trial() { Trial::take(&self.on_trial) } else { None }
    }

    /// Ends the push-back, as if its time had passed.
    #[cfg(test)]
    pub(crate) fn forget_push_back(&self) {
        self.throttled_until_ms.store(0, SeqCst);
        self.quota_until_ms.store(0, SeqCst);
        self.day_over_until_ms.store(0, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::account::{Account, Intake};
    use crate::metrics::LaneState;

    fn lane() -> Arc<LaneHandle> {
        let bounds = Intake { max_in_flight: 100, max_in_flight_bytes: 4000, drain_timeout: Duration::ZERO };
        Arc::new(LaneHandle::new(0, Arc::new(Account::stub("acme")), unbounded_channel().0, &bounds))
    }

    #[test]
    fn one_record_at_a_time_is_tried_and_only_when_the_push_back_is_over() {
        let lane = lane();
        assert!(lane.take_trial().is_none(), "an open lane needs none");
        lane.throttle(Duration::from_secs(4));
        lane.set_only_throttled(true);
        assert!(!lane.is_open() && lane.is_open_for_trial());
        assert!(lane.take_trial().is_none(), "pushed back");
        lane.forget_push_back();
        assert!(!lane.is_open(), "closed until an answer comes");
        assert_eq!(lane.state(), LaneState::Throttled);
        let trial = lane.take_trial();
        assert!(trial.is_some() && lane.take_trial().is_none());
        drop(trial);
        assert!(lane.take_trial().is_some(), "the one before was not sent");
        lane.halt("refused");
        assert!(lane.take_trial().is_none() && !lane.is_open_for_trial(), "closed for another reason too");
    }

    #[test]
    fn a_limit_of_a_day_keeps_the_lane_closed_to_its_end_and_then_for_one_record() {
        let lane = lane();
        lane.wait_for_quota(Duration::from_secs(6 * 3600));
        lane.set_only_throttled(false);
        assert!(!lane.is_open() && !lane.is_open_for_trial() && lane.take_trial().is_none());
        let (state, _, text) = lane.explain();
        assert_eq!(state, LaneState::Throttled);
        assert!(text.contains("own limit") && text.contains("for another 21600 s"), "{text}");
        lane.forget_push_back();
        assert!(!lane.is_open() && lane.take_trial().is_some(), "one record shows whether the new day has begun");
        lane.set_only_throttled(false);
        assert!(lane.is_open());
    }

    #[test]
    fn who_waits_in_the_lane_is_told_as_it_closes_and_opens() {
        let lane = lane();
        for (only, touched) in [(true, 1), (true, 1), (false, 2), (false, 2)] {
            lane.set_only_throttled(only);
            assert_eq!((lane.changes(), lane.is_open()), (touched, !only));
        }
        assert_eq!(lane.state(), LaneState::Flowing);
    }
}

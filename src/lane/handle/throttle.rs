//! A lane whose platform asks for fewer requests: how long it is pushed back, and how it opens again.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use crate::lane::handle::{LONGEST_WAIT_IN_LANE, LaneHandle};
use crate::send::rate::LONGEST_PUSH_BACK;

impl LaneHandle {
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

    /// Whether the lane is closed until a probe is answered.
    pub(in crate::lane) fn awaits_probe(&self) -> bool {
        self.only_throttled.load(SeqCst)
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
    use crate::delivery::TopicKind;
    use crate::metrics::LaneState;

    fn lane() -> Arc<LaneHandle> {
        let bounds = Intake { max_in_flight: 100, max_in_flight_bytes: 4000, drain_timeout: Duration::ZERO };
        Arc::new(LaneHandle::new(0, Arc::new(Account::stub("acme")), unbounded_channel().0, &bounds))
    }

    #[test]
    fn one_record_at_a_time_is_tried_and_only_when_the_push_back_is_over() {
        let lane = lane();
        assert!(lane.take_probe(TopicKind::Tier).is_none(), "an open lane needs none");
        lane.throttle(Duration::from_secs(4));
        lane.set_only_throttled(true);
        assert!(!lane.is_open());
        assert!(lane.take_probe(TopicKind::Tier).is_none(), "pushed back");
        lane.forget_push_back();
        assert!(!lane.is_open(), "closed until an answer comes");
        assert_eq!(lane.state(), LaneState::Throttled);
        let probe = lane.take_probe(TopicKind::Tier);
        assert!(probe.is_some() && lane.take_probe(TopicKind::Tier).is_none());
        drop(probe);
        assert!(lane.take_probe(TopicKind::Tier).is_some(), "the one before was not sent");
        lane.halt("refused");
        assert!(lane.take_probe(TopicKind::Tier).is_none(), "closed for another reason too");
    }

    #[test]
    fn a_limit_of_a_day_keeps_the_lane_closed_to_its_end_and_then_for_one_record() {
        let lane = lane();
        lane.wait_for_quota(Duration::from_secs(6 * 3600));
        lane.set_only_throttled(false);
        assert!(!lane.is_open() && lane.take_probe(TopicKind::Tier).is_none());
        let (state, _, text) = lane.explain();
        assert_eq!(state, LaneState::Throttled);
        assert!(text.contains("own limit") && text.contains("for another 21600 s"), "{text}");
        lane.forget_push_back();
        assert!(
            !lane.is_open() && lane.take_probe(TopicKind::Tier).is_some(),
            "one record shows whether the new day has begun"
        );
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

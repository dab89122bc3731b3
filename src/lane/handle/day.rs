//! A lane whose account has used up its own limit of a day.
//!
//! This closes the lane apart from a push-back by the platform. A request that is counted already still goes out. At the end
//! of the day the lane opens without a probe, because each request is counted before it is sent.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use crate::lane::handle::LaneHandle;

impl LaneHandle {
    /// Closes the lane for what is not counted yet, until the account's day is over.
    pub fn end_day(&self, wait: Duration) {
        let until_ms = u64::try_from((self.born.elapsed() + wait).as_millis()).unwrap_or(u64::MAX);
        if self.day_over_until_ms.fetch_max(until_ms, SeqCst) < until_ms {
            self.touch();
        }
    }

    /// Opens the lane, because the limit of the day may be another one now. If that is used up too, the next call that is
    /// counted closes the lane again.
    pub(super) fn forget_day(&self) {
        self.day_over_until_ms.store(0, SeqCst);
    }

    /// Whether the account's own limit of the day is used up.
    pub(super) fn day_is_over(&self) -> bool {
        !self.day_left().is_zero()
    }

    /// Why the lane is closed, if the account's own limit of the day is used up.
    pub(super) fn explain_day(&self) -> Option<String> {
        let left = self.day_left();
        let seconds = left.as_millis().div_ceil(1000);
        (!left.is_zero()).then(|| format!("the account's own limit of the day is used up for another {seconds} s"))
    }

    fn day_left(&self) -> Duration {
        let until = Duration::from_millis(self.day_over_until_ms.load(SeqCst));
        if until.is_zero() { until } else { until.saturating_sub(self.born.elapsed()) }
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

    #[test]
    fn a_day_that_is_used_up_closes_the_lane_but_for_what_is_counted_and_asks_for_no_probe_at_its_end() {
        let bounds = Intake { max_in_flight: 100, max_in_flight_bytes: 4000, drain_timeout: Duration::ZERO };
        let lane = LaneHandle::new(0, Arc::new(Account::stub("acme")), unbounded_channel().0, &bounds);
        lane.end_day(Duration::from_secs(7200));
        lane.end_day(Duration::from_secs(3600));
        assert_eq!((lane.is_open(), lane.is_open_within_the_day(), lane.changes()), (false, true, 1));
        let (state, _, why) = lane.explain();
        assert_eq!((state, lane.state()), (LaneState::Throttled, LaneState::Throttled));
        assert!(why.contains("own limit") && why.contains("another 7200 s"), "{why}");
        lane.set_only_throttled(true);
        assert!(
            !lane.offers_probe(TopicKind::Parked) && !lane.is_open_within_the_day(),
            "the platform throttles as well"
        );
        lane.forget_push_back();
        assert!(lane.offers_probe(TopicKind::Parked));
        lane.set_only_throttled(false);
        assert!(lane.is_open() && lane.take_probe(TopicKind::Parked).is_none());
    }
    #[test]
    fn other_settings_open_it_because_the_limit_may_be_another_one() {
        let bounds = Intake { max_in_flight: 100, max_in_flight_bytes: 4000, drain_timeout: Duration::ZERO };
        let lane = LaneHandle::new(0, Arc::new(Account::stub("acme")), unbounded_channel().0, &bounds);
        lane.end_day(Duration::from_secs(7200));
        lane.set_account(Arc::new(Account::stub("acme")));
        assert!(lane.is_open());
    }
}

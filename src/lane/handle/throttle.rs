//! What asks an account for fewer requests, and closes its lane for a time: push-backs, the platform's limit of a day,
//! and the account's own one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use crate::lane::handle::changes::Changes;
use crate::lane::handle::until::Until;
use crate::send::rate::LONGEST_PUSH_BACK;

/// Records that would wait longer than this in a lane go to parking.
pub const LONGEST_WAIT_IN_LANE: Duration = Duration::from_secs(5);

const QUOTA_USED_UP: &str = "the platform's own limit is used up for this day";
const ONLY_THROTTLED: &str = "the platform has answered nothing but that it is asked too often for over 30 s";

/// How long a lane is throttled, and why. Who waits in the lane is told of each change.
pub struct Throttle {
    push_back: Until,
    /// The end of the platform's own limit of a day.
    quota: Until,
    /// The end of the day whose requests the account's own limit has used up. Then the lane opens without a probe,
    /// because each request is counted before it is sent. A request that is counted already still goes out.
    day: Until,
    /// The platform has only throttled for a while. The lane is closed until one record gets another answer.
    only_throttled: AtomicBool,
    changes: Arc<Changes>,
}

impl Throttle {
    pub(super) fn new(changes: Arc<Changes>) -> Self {
        Self {
            push_back: Until::default(),
            quota: Until::default(),
            day: Until::default(),
            only_throttled: AtomicBool::new(false),
            changes,
        }
    }

    /// Pushes the lane back from now on, because the platform or another replica asked for a pause.
    pub fn push_back(&self, wait: Duration) {
        if self.push_back.extend(wait) {
            self.changes.touch();
        }
    }

    /// Closes the lane until the platform's own limit of a day begins anew, and then until one record gets another
    /// answer.
    pub fn wait_for_quota(&self, wait: Duration) {
        self.quota.extend(wait);
        self.push_back(wait);
        self.set_only_throttled(true);
    }

    /// Obeys a push-back that the shared rate shows: another replica, or this worker before its start, was told to
    /// wait.
    pub fn obey(&self, wait: Duration) {
        if wait > LONGEST_PUSH_BACK {
            self.wait_for_quota(wait);
        } else if wait > LONGEST_WAIT_IN_LANE {
            self.push_back(wait);
        }
    }

    /// Sets whether the platform has only throttled for so long that the lane counts as closed. While the limit of a
    /// day lasts the lane stays closed: an answer to an earlier request says nothing about the next day.
    pub fn set_only_throttled(&self, only: bool) {
        if !only && self.quota.lasts() {
            return;
        }
        if self.only_throttled.swap(only, SeqCst) != only {
            self.changes.touch();
        }
    }

    /// Closes the lane for what is not counted yet, until the account's day is over.
    pub fn end_day(&self, wait: Duration) {
        if self.day.extend(wait) {
            self.changes.touch();
        }
    }

    /// Opens the lane, because the limit of the day may be another one now. If that is used up too, the next call that
    /// is counted closes the lane again.
    pub(super) fn forget_day(&self) {
        self.day.end();
    }

    /// How long the lane is still pushed back.
    pub(super) fn pushed_back(&self) -> Duration {
        self.push_back.left()
    }

    /// Whether records that wait for the end of the push-back go to parking.
    pub(super) fn is_pushed_back_for_long(&self) -> bool {
        self.pushed_back() > LONGEST_WAIT_IN_LANE
    }

    /// Whether the account's own limit of the day is used up.
    pub(super) fn day_is_over(&self) -> bool {
        self.day.lasts()
    }

    /// Whether the lane is closed until a probe is answered.
    pub(in crate::lane) fn awaits_probe(&self) -> bool {
        self.only_throttled.load(SeqCst)
    }

    pub(super) fn is_throttled(&self) -> bool {
        self.awaits_probe() || self.push_back.lasts() || self.day_is_over()
    }

    /// Why the lane is throttled. `None`: it is not.
    pub(super) fn explain(&self) -> Option<String> {
        let (wait, day) = (self.pushed_back(), self.day.left());
        let pushed_back = format!("pushed back for another {} s", whole_seconds(wait));
        if self.quota.lasts() {
            return Some(format!("{QUOTA_USED_UP}; {pushed_back}"));
        }
        if !day.is_zero() {
            let seconds = whole_seconds(day);
            return Some(format!("the account's own limit of the day is used up for another {seconds} s"));
        }
        match (self.awaits_probe(), wait.is_zero()) {
            (false, true) => None,
            (false, false) => Some(pushed_back),
            (true, true) => Some(format!("{ONLY_THROTTLED}; the next event is tried alone")),
            (true, false) => Some(format!("{ONLY_THROTTLED}; {pushed_back}")),
        }
    }

    /// Ends what lasts for a time, as if that had passed.
    #[cfg(test)]
    pub(crate) fn forget(&self) {
        [&self.push_back, &self.quota, &self.day].into_iter().for_each(Until::end);
    }
}

fn whole_seconds(time: Duration) -> u128 {
    time.as_millis().div_ceil(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const SHORT: Duration = Duration::from_secs(1);

    fn throttle() -> Throttle {
        Throttle::new(Arc::default())
    }

    #[test]
    fn what_the_shared_rate_shows_closes_the_lane_by_its_length() {
        let of = |wait| {
            let throttle = throttle();
            throttle.obey(wait);
            (throttle.is_throttled(), throttle.awaits_probe(), throttle.changes.count())
        };
        assert_eq!(of(LONGEST_WAIT_IN_LANE), (false, false, 0), "the lane waits for its slots");
        assert_eq!(of(LONGEST_WAIT_IN_LANE + SHORT), (true, false, 1));
        assert_eq!(of(LONGEST_PUSH_BACK + SHORT), (true, true, 2), "the limit of a day");
    }

    #[test]
    fn each_cause_is_told_as_long_as_it_lasts_and_the_longest_one_first() {
        let throttle = throttle();
        let begins = |begin: &str| throttle.explain().is_some_and(|why| why.starts_with(begin));
        assert!(!throttle.is_throttled() && throttle.explain().is_none());
        throttle.push_back(SHORT);
        assert!(
            throttle.is_throttled() && !throttle.is_pushed_back_for_long() && begins("pushed back for another 1 s")
        );
        throttle.set_only_throttled(true);
        assert!(begins(ONLY_THROTTLED) && throttle.explain().is_some_and(|why| why.ends_with("another 1 s")));
        throttle.end_day(HOUR);
        assert!(throttle.day_is_over() && begins("the account's own limit of the day is used up for another 3600 s"));
        throttle.wait_for_quota(HOUR);
        assert!(throttle.is_pushed_back_for_long() && begins(QUOTA_USED_UP));
        throttle.set_only_throttled(false);
        assert!(throttle.awaits_probe(), "an answer of the day before");
        throttle.forget();
        assert!(throttle.is_throttled() && begins(ONLY_THROTTLED), "one record shows whether the new day has begun");
        throttle.set_only_throttled(false);
        assert!(!throttle.is_throttled());
    }

    #[test]
    fn other_settings_end_the_accounts_own_limit_and_nothing_else() {
        let throttle = throttle();
        throttle.end_day(HOUR);
        throttle.push_back(HOUR);
        throttle.forget_day();
        assert_eq!((throttle.day_is_over(), throttle.is_pushed_back_for_long()), (false, true));
    }
}

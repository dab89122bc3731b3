//! What runs of answers do to a lane: permanent ones halt it, throttling pushes it back, ever longer.

use std::time::Duration;

use super::Lane;
use crate::error::DeliveryError;
use crate::pipeline::process::Progress;
use crate::pipeline::settle::LONGEST_WAIT_IN_LANE;

/// So many permanent answers in a row halt an account: we or they broke, not the events.
pub(super) const PERMANENT_RUN: u32 = 20;
/// Without a usable Retry-After: from here, doubling.
const FIRST_PUSH_BACK: Duration = Duration::from_secs(1);
const LAST_PUSH_BACK: Duration = Duration::from_secs(60);

impl Lane {
    /// Raises the bucket for all who share it; returns how long this account is pushed back.
    pub async fn push_back(&self, retry_after: Option<Duration>) -> Duration {
        let kept = self.limiter.kept_back();
        let wait = match retry_after.filter(|w| !w.is_zero()) {
            Some(wait) => wait.max(kept),
            // Answers of one volley count once.
            None if !kept.is_zero() => kept,
            None => {
                let n = self.throttles.replace(self.throttles.get().saturating_add(1));
                (FIRST_PUSH_BACK * 2_u32.saturating_pow(n.min(10))).min(LAST_PUSH_BACK)
            }
        };
        if wait > LONGEST_WAIT_IN_LANE {
            self.handle.throttle(wait);
        }
        let _ = self.limiter.push_back(wait).await;
        wait
    }

    /// Counts runs of answers.
    pub(super) fn note(&self, result: &Result<Progress, DeliveryError>) {
        let answered = match result {
            Ok(Progress::Accepted(_)) => true,
            Ok(Progress::Duplicate { .. }) => false,
            Err(error) => error.answer().is_some_and(|a| a.status.is_some()),
        };
        match result {
            Err(DeliveryError::Permanent(_)) => {
                let run = self.permanents.get() + 1;
                self.permanents.set(run);
                if run >= PERMANENT_RUN {
                    self.permanents.set(0);
                    self.halt(&format!(
                        "{PERMANENT_RUN} permanent answers in a row: check the account's settings and the dead letters, \
                         then resume"
                    ));
                }
            }
            _ if answered => self.permanents.set(0),
            _ => {}
        }
        if answered && !matches!(result, Err(DeliveryError::Throttled(_))) {
            self.throttles.set(0);
        }
    }
}

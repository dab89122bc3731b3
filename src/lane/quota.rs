//! What a platform allows beside the rate, asked for a call that has its claim: how soon it may be asked again about
//! one thing, and how often a day.

use std::time::Duration;

use tokio::time::sleep;

use crate::clock::now_ms;
use crate::delivery::Delivery;
use crate::delivery::progress::Stage;
use crate::error::{Answer, DeliveryError};
use crate::lane::claiming::event;
use crate::lane::state::Lane;
use crate::send::quota::{Allowed, Counted};

/// The longest pause between two questions while Redis is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Added to the end of a day, because the platform's clock may be behind.
const MARGIN: Duration = Duration::from_secs(1);

/// Counts one request of a call, for as long as Redis is away it waits: without Redis nobody knows how many others
/// there were, whatever `when_unavailable` says.
///
/// # Errors
/// `Later` until the interval ends, `Throttled` until the day ends, or why the call must not go on.
pub(super) async fn count_request(delivery: &Delivery, lane: &Lane) -> Result<Counted, DeliveryError> {
    let ready = event(delivery)?;
    let Some(limit) = ready.call.as_ref().and_then(|call| call.prepared.limit.as_ref()) else {
        return Ok(Counted::default());
    };
    let mut pause = Duration::from_millis(100);
    loop {
        if let Some(why) = lane.interruption(delivery) {
            return Err(why);
        }
        delivery.ack.open().set_stage(Stage::Claiming);
        let now_ms = now_ms();
        match lane.quota.take(limit, &ready.claim_request.key.0, now_ms).await {
            Ok(Allowed::Yes(counted)) => return Ok(counted),
            Ok(Allowed::TooSoon { wait }) => {
                let wait_ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
                return Err(DeliveryError::Later { until_ms: now_ms.saturating_add(wait_ms) });
            }
            Ok(Allowed::DayIsOver { wait }) => {
                let detail = "the account's own limit of the day is used up".into();
                return Err(DeliveryError::Throttled(Answer {
                    detail,
                    quota_wait: Some(wait + MARGIN),
                    ..Answer::default()
                }));
            }
            Err(_) => tokio::select! {
                () = sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                _ = lane.interrupted(delivery) => {}
            },
        }
    }
}

#[cfg(test)]
mod tests;

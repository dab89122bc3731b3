//! Renews the claim of a call between two of its requests.

use std::time::Duration;

use tokio::time::sleep;

use crate::account::WhenUnavailable;
use crate::claim::ClaimGuard;
use crate::delivery::Delivery;
use crate::delivery::progress::Stage;
use crate::error::DeliveryError;
use crate::lane::claiming::event;
use crate::lane::state::Lane;

/// The longest pause between two tries to renew a claim while Redis is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Begins the lease again before the next request. `false`: the claim has to be made again.
pub(super) async fn renew(
    delivery: &mut Delivery,
    lane: &Lane,
    guard: &mut Option<ClaimGuard>,
) -> Result<bool, DeliveryError> {
    let mut pause = Duration::from_millis(100);
    loop {
        if let Some(why) = lane.interruption(delivery) {
            return Err(why);
        }
        delivery.ack.open().set_stage(Stage::Claiming);
        let Some(ours) = guard.as_mut() else { return Ok(false) };
        match lane.dedupe.renew(&event(delivery)?.claim_request, &mut ours.claim).await {
            Ok(true) => return Ok(true),
            Ok(false) => {
                // Another process has taken it over, or Redis has forgotten it: nothing is left to release.
                *guard = None;
                return Ok(false);
            }
            // Claimed again, it goes on without Redis.
            Err(_) if lane.account.when_unavailable == WhenUnavailable::Deliver => return Ok(false),
            Err(_) => tokio::select! {
                () = sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                _ = lane.interrupted(delivery) => {}
            },
        }
    }
}

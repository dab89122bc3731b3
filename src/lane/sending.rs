//! What every attempt needs to send a request: a connection with a slot of the shared rate, and the last check before
//! the first byte.

use tokio::time::sleep;

use crate::claim::ClaimGuard;
use crate::delivery::{Delivery, TopicKind};
use crate::error::DeliveryError;
use crate::lane::claiming::{LONGEST_WAIT, check_time, event, spare_lease};
use crate::lane::state::Lane;
use crate::send::rate::{Priority, Slot};
use crate::send::ready::{Ready, ready};

/// Why nothing was sent although connection, slot and request were there.
pub(super) enum Stop {
    /// The process was stopped for so long that the slot has passed.
    SlotMissed,
    /// The lease is too short, the broker confirms no commit, or the clock cannot be trusted. The claim is released and
    /// made again, which waits until that is over.
    ClaimAgain,
    /// The lane closed, or the partition leaves.
    Closed(DeliveryError),
    /// A deadline or the natural day's guard began during the wait for a slot or during an inline delay.
    Late(DeliveryError),
}

/// Waits for a connection and a slot of the shared rate. `None`: the claim has to be released and made again.
pub(super) async fn wait_for_slot<'a>(
    delivery: &Delivery,
    lane: &'a Lane,
    guard: &Option<ClaimGuard>,
    unused: Option<Slot>,
) -> Result<Option<Ready<'a>>, DeliveryError> {
    let Some(spare) = spare_lease(lane, guard) else { return Ok(None) };
    // Bounded, because an account that sends without a lease (Redis is away) needs a timer too.
    let spare = spare.min(LONGEST_WAIT);
    let priority = priority_of(delivery);
    // A connection attempt gets only a part of the lease, and then counts as failed. If it used up the whole lease, the
    // claim would be made again and the same slow connection begun again, without end.
    let connect = spare.mul_f64(0.75);
    let to = lane.dispatcher.destination(&event(delivery)?.prepared);
    let ready = tokio::select! {
        biased;
        ready = ready((&lane.dispatcher, to), &lane.limiter, priority, connect, unused) => ready,
        why = lane.interrupted(delivery) => return Err(why),
        () = sleep(spare) => return Ok(None),
    };
    lane.account_metrics().rate_wait(ready.waited);
    Ok(Some(ready))
}

/// In which order a record gets its slot.
pub(super) fn priority_of(delivery: &Delivery) -> Priority {
    match delivery.topic_kind {
        TopicKind::Tier => Priority::Due,
        TopicKind::Input if delivery.is_replayed() => Priority::Replayed,
        TopicKind::Input | TopicKind::Parked => Priority::Usual,
    }
}

/// The last check before the first byte, when connection, slot and request are there: the process may have been stopped
/// at any moment before, and another one may have taken over the claim.
pub(super) fn judge(delivery: &Delivery, lane: &Lane, guard: &Option<ClaimGuard>, slot: Slot) -> Result<(), Stop> {
    if let Some(why) = lane.interruption(delivery) {
        return Err(Stop::Closed(why));
    }
    let is_stale = spare_lease(lane, guard).is_none() || delivery.ack.assignment().is_unconfirmed();
    if is_stale || !check_time(delivery, lane).map_err(Stop::Late)? {
        return Err(Stop::ClaimAgain);
    }
    if lane.limiter.is_in_time(slot) { Ok(()) } else { Err(Stop::SlotMissed) }
}

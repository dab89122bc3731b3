//! Whether an event may still be sent, and until when (pure; SPEC section 9, step 3).

use crate::delivery::Ready;
use crate::envelope::Envelope;
use crate::error::{DeliveryError, Fault};
use crate::settle::policy::Policy;

/// The field that a dead letter names if the event is too old or lies in the future.
pub const EVENT_TIME: &str = "event_time_ms";

/// Judges an event's time.
///
/// # Errors
/// `Expired` or `Invalid`, with the field at fault. `Later` if a first attempt has to wait for midnight.
pub fn check(ready: &Ready, envelope: &Envelope, now_ms: i64) -> Result<(), DeliveryError> {
    let policy = Policy::of(ready);
    if policy.parked_too_long(envelope, now_ms) {
        return Err(DeliveryError::Expired(Fault::whole("parked for longer than retry.max_parked")));
    }
    let validate = ready.account.validate;
    let age = now_ms - ready.event_time_ms;
    if validate.max_event_age.is_some_and(|max| age > max.as_millis() as i64) {
        return Err(DeliveryError::Expired(Fault::new(EVENT_TIME, "older than max_event_age")));
    }
    if -age > validate.max_future.as_millis() as i64 {
        return Err(DeliveryError::Invalid(Fault::new(EVENT_TIME, "lies in the future")));
    }
    if ready.deadline_ms.is_some_and(|deadline| now_ms > deadline) {
        return Err(DeliveryError::Expired(Fault::new("deadline_ms", "has passed")));
    }
    if ready.call.as_ref().and_then(|call| call.ends_ms).is_some_and(|end| now_ms >= end) {
        return Err(DeliveryError::Expired(Fault::new("reply.ttl_s", "has passed")));
    }
    if policy.last_retry_ms(envelope).is_some_and(|end| now_ms >= end) {
        return Err(DeliveryError::Expired(Fault::whole("the natural day in which it may be repeated has ended")));
    }
    match policy.first_attempt_waits_until(envelope, now_ms) {
        Some(until_ms) => Err(DeliveryError::Later { until_ms }),
        None => Ok(()),
    }
}

/// The last moment at which an attempt may start, for an event whose first attempt is at `first_attempt_ms` (SPEC
/// section 12, 7 and 34): the end of that natural day less its guard, or the event's own deadline if that is earlier.
pub fn deadline_ms(ready: &Ready, first_attempt_ms: i64) -> Option<i64> {
    let day = Policy::of(ready).last_start_of_day_ms(first_attempt_ms);
    // A call must start before its end.
    let ttl = ready.call.as_ref().and_then(|call| call.ends_ms).map(|end| end - 1);
    [ready.deadline_ms, ttl, day].into_iter().flatten().min()
}

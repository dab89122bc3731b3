//! What follows a failed attempt: how long to wait inside the lane, which tier comes next, and when to give up (pure).

pub mod timing;

use std::borrow::Cow;
use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff;

use crate::account::{Inline, Retry};
use crate::delivery::Ready;
use crate::envelope::Envelope;
use crate::error::{DeliveryError, Reason};
use crate::platforms::NaturalDay;
use crate::platforms::natural_day::day_end_ms;

/// Where a record goes that was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It waits in a tier.
    Tier {
        /// Index into the tiers.
        index: usize,
        /// Earliest next try, epoch ms.
        due_ms: i64,
    },
    /// It has been retried for as long as is allowed, or its natural day ends before even the shortest tier.
    Expired,
    /// The allowed number of attempts has been made.
    Exhausted,
}

/// The bounds of one event's retries.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// The account's settings.
    pub retry: &'a Retry,
    /// The platform's natural day, if it has one.
    pub day: Option<NaturalDay>,
    pub event_time_ms: i64,
}

impl<'a> Policy<'a> {
    /// The policy for an event, by its account and platform.
    pub fn of(ready: &'a Ready) -> Self {
        let account = &ready.account;
        Self { retry: &account.retry, day: account.natural_day(), event_time_ms: ready.event_time_ms }
    }

    /// The tier after a visit that made an attempt. `envelope` already counts that visit and its attempts. `jitter` in
    /// 0..1 adds 0 to 5 % to the delay.
    pub fn after_attempt(&self, envelope: &Envelope, retry_after: Option<Duration>, now_ms: i64, jitter: f64) -> Next {
        if envelope.attempts >= self.retry.max_attempts {
            return Next::Exhausted;
        }
        if self.too_old(envelope, now_ms) {
            return Next::Expired;
        }
        let last = self.retry.tiers.len() - 1;
        let own = self.retry.tiers[(envelope.pass.max(1) as usize - 1).min(last)].delay;
        let wanted = own.max(retry_after.unwrap_or_default());
        let index = self.smallest_tier(wanted);
        let due_ms = now_ms + spread(self.retry.tiers[index].delay, jitter);
        let Some(end_ms) = self.last_retry_ms(envelope) else {
            return Next::Tier { index, due_ms };
        };
        if due_ms < end_ms {
            return Next::Tier { index, due_ms };
        }
        // The longest tier that, with its jitter, ends before the day does.
        (0..=last)
            .rev()
            .map(|index| (index, now_ms + spread(self.retry.tiers[index].delay, jitter)))
            .find(|(_, due_ms)| *due_ms < end_ms)
            .map_or(Next::Expired, |(index, due_ms)| Next::Tier { index, due_ms })
    }

    /// The tier of a record that waits for another copy or, with `until_ms`, for midnight: the smallest tier that is
    /// not shorter than the lease, else the last one. It counts as no attempt.
    pub fn lease_tier(
        &self,
        envelope: &Envelope,
        lease: Duration,
        until_ms: Option<i64>,
        now_ms: i64,
        jitter: f64,
    ) -> Next {
        if until_ms.is_none() && self.too_old(envelope, now_ms) {
            return Next::Expired;
        }
        let index = self.smallest_tier(lease);
        let due_ms = until_ms.unwrap_or(now_ms + spread(self.retry.tiers[index].delay, jitter));
        Next::Tier { index, due_ms }
    }

    /// The tier of a record whose parking topic has refused for `refused_for`, and the time when it is due, epoch ms:
    /// the smallest tier that is not shorter than that and the lease, else the last one. A short refusal then costs a
    /// short delay, and a long one causes few copies.
    pub fn put_off(&self, refused_for: Duration, lease: Duration, now_ms: i64, jitter: f64) -> (usize, i64) {
        let index = self.smallest_tier(refused_for.max(lease));
        (index, now_ms + spread(self.retry.tiers[index].delay, jitter))
    }

    /// The tier of a record that goes on with another account.
    pub fn first_tier(&self, now_ms: i64, jitter: f64) -> (usize, i64) {
        (0, now_ms + spread(self.retry.tiers[0].delay, jitter))
    }

    fn smallest_tier(&self, wanted: Duration) -> usize {
        let tiers = &self.retry.tiers;
        tiers.iter().position(|t| t.delay >= wanted).unwrap_or(tiers.len() - 1)
    }

    fn too_old(&self, envelope: &Envelope, now_ms: i64) -> bool {
        envelope.retry_since_ms.is_some_and(|since| now_ms - since >= millis(self.retry.max_age))
    }

    /// No retry starts at or after this time. `None`: there is no such bound.
    pub fn last_retry_ms(&self, envelope: &Envelope) -> Option<i64> {
        let day = self.day?;
        let first = envelope.first_attempt_ms?;
        let anchor = if day.anchor_event_time { self.event_time_ms } else { first };
        Some(day_end_ms(anchor, day.tz) - millis(day.guard))
    }

    /// The time before which an attempt must start, in the natural day of `at_ms`. `None`: the platform has no natural
    /// day.
    pub fn last_start_of_day_ms(&self, at_ms: i64) -> Option<i64> {
        self.day.map(|day| day_end_ms(at_ms, day.tz) - millis(day.guard))
    }

    /// Until when a first attempt must wait because a retry of it could no longer start before midnight.
    pub fn first_attempt_waits_until(&self, envelope: &Envelope, now_ms: i64) -> Option<i64> {
        let day = self.day?;
        if envelope.first_attempt_ms.is_some() {
            return None;
        }
        let end = day_end_ms(now_ms, day.tz);
        (now_ms >= end - millis(day.guard)).then_some(end)
    }

    /// Whether the record has been parked for longer than is allowed.
    pub fn parked_too_long(&self, envelope: &Envelope, now_ms: i64) -> bool {
        envelope.parked_at_ms.is_some_and(|at| now_ms - at >= millis(self.retry.max_parked))
    }
}

fn spread(delay: Duration, jitter: f64) -> i64 {
    millis(delay) + (delay.as_millis() as f64 * 0.05 * jitter.clamp(0.0, 1.0)) as i64
}

fn millis(d: Duration) -> i64 {
    i64::try_from(d.as_millis()).unwrap_or(i64::MAX / 4)
}

/// The delays of the quick tries inside the lane: exponential, with full jitter.
pub struct InlineDelays {
    left: u32,
    /// Boxed, because few visits need it and every attempt has room for it.
    backoff: Box<ExponentialBackoff>,
}

impl InlineDelays {
    /// The delays of one visit. Only a first visit has any.
    pub fn new(inline: Inline, first_visit: bool) -> Self {
        // The crate draws from interval × (1 ± factor). Half the interval and a factor of 1 give full jitter: [0,
        // interval].
        let mut backoff = ExponentialBackoff {
            current_interval: inline.initial / 2,
            initial_interval: inline.initial / 2,
            randomization_factor: 1.0,
            multiplier: 2.0,
            max_interval: inline.max / 2,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        backoff.reset();
        Self { left: if first_visit { inline.max_retries } else { 0 }, backoff: Box::new(backoff) }
    }
}

impl Iterator for InlineDelays {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        self.backoff.next_backoff()
    }
}

/// The texts of `pb-field` and `pb-detail` for a dead letter, safe to show.
pub fn field_and_detail(reason: Reason, error: &DeliveryError) -> (Cow<'static, str>, String) {
    let (field, detail) = match (error.fault(), error.answer()) {
        (Some(fault), _) => (fault.field.clone(), &*fault.detail),
        (None, Some(answer)) => ("".into(), &*answer.detail),
        (None, None) => ("".into(), ""),
    };
    let field = match reason {
        Reason::Conflict | Reason::AttemptsExhausted => "".into(),
        _ => field,
    };
    (field, crate::redact::mask_text(detail).into_owned())
}

#[cfg(test)]
mod tests;

//! Slots of the shared rate: `core.md` section 5.
//!
//! The bucket is one value in Redis, the next free time. All replicas and all accounts of one contract draw from the
//! same rate. A lane reserves one slot for each waiting claim, at most 100 ms of slots, so that it hoards none.

mod alone;
mod clock;
mod waiting;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ::redis::Value as Reply;
use rand::Rng;
use tokio::sync::{Notify, Semaphore, SemaphorePermit, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

use crate::redis::batcher::{Batcher, StoreError};
use crate::redis::health::Health;
use crate::redis::scripts::Script;

pub use alone::Alone;
use clock::Clock;
pub use waiting::Priority;
use waiting::Waiting;

/// The most time to reserve ahead, beside the time that a slow reply takes.
const AHEAD: Duration = Duration::from_millis(100);
/// A slot that is missed by more is given up. All replicas share the times of slots, so no second sees more requests
/// than there are slots in a second and this time.
const TOLERANCE: Duration = Duration::from_millis(50);
/// The mean time between two reservations, so that there are at most a thousand a second. Each also waits for the reply
/// to the one before.
const GAP: Duration = Duration::from_millis(1);
/// So much of that time may be made up for at once. A lane that reserves less often never waits for its next
/// reservation: timers round up to a millisecond, and a gap after each would delay every event of a lane with 500 a
/// second.
const MADE_UP: Duration = Duration::from_millis(20);
/// The longest push-back by a `Retry-After`. One that lasts longer waits for the platform's own limit of a day.
pub const LONGEST_PUSH_BACK: Duration = Duration::from_secs(15 * 60);
/// Shorter than the 25 h after which the bucket takes such a push-back for one of another clock.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600 + 1800);
/// How many seconds of slots may be waited for with an open connection. Without this limit, a lane with more permits
/// than its rate needs would keep a connection open for each of them until the other end closes it unused.
const NEAR_S: f64 = 2.0;

/// The access of one lane to its bucket.
pub struct Limiter {
    batcher: Batcher,
    key: Vec<u8>,
    interval_us: u64,
    waiting: RefCell<Waiting<Time>>,
    /// Permits to wait for a slot with an open connection, for each priority.
    near: [Semaphore; Priority::COUNT],
    wake: Notify,
    /// Nothing is sent before this time, because a push-back came after slots had been handed out.
    not_before: Cell<Instant>,
    began: Instant,
    clock: RefCell<Clock>,
    alone: Alone,
    health: Arc<Health>,
    on_push_back: Box<dyn Fn(Duration)>,
}

/// A slot whose time has come.
#[derive(Clone, Copy)]
pub struct Slot(Time);

#[derive(Clone, Copy)]
enum Time {
    /// A slot of the bucket: a time on Redis's clock, epoch µs.
    Shared(i64),
    /// A slot of this lane's part of the rate.
    Own(Instant),
}

/// The microseconds between two slots at this rate, rounded up so that the rate is never exceeded.
pub fn interval_us(rps: f64) -> u64 {
    (1e6 / rps).ceil().max(1.0) as u64
}

/// When the next reservation may be made after one at `now`, which was due at `due`.
fn after_reservation(due: Instant, now: Instant) -> Instant {
    due.max(now.checked_sub(MADE_UP).unwrap_or(now)) + GAP
}

impl Limiter {
    /// `key` is the key of the bucket. `on_push_back` is called with a push-back that a reply shows.
    pub fn new(
        batcher: Batcher,
        key: String,
        rps: f64,
        alone: Alone,
        health: Arc<Health>,
        on_push_back: impl Fn(Duration) + 'static,
    ) -> Rc<Self> {
        Rc::new(Self {
            batcher,
            key: key.into_bytes(),
            interval_us: interval_us(rps),
            near: [(); Priority::COUNT].map(|()| Semaphore::new((rps * NEAR_S).ceil() as usize + 1)),
            waiting: RefCell::default(),
            wake: Notify::new(),
            not_before: Cell::new(Instant::now()),
            began: Instant::now(),
            clock: RefCell::default(),
            alone,
            health,
            on_push_back: Box::new(on_push_back),
        })
    }

    /// Whether this one draws from that bucket at that rate, and sends as much while Redis is away.
    pub fn is_for(&self, key: &str, rps: f64, alone: &Alone) -> bool {
        let is_alike = self.alone.delivers == alone.delivers && self.alone.sharers == alone.sharers;
        self.key == key.as_bytes() && self.interval_us == interval_us(rps) && is_alike
    }

    /// Takes over how long the lane waits after a push-back.
    pub fn keep_back_like(&self, earlier: &Limiter) {
        self.not_before.set(earlier.not_before.get());
    }

    /// Waits until it is time to have a connection for the slot that [`Limiter::slot`] will return. The permit is
    /// returned when that slot is there. Records wait only for others of their priority.
    pub async fn near(&self, priority: Priority) -> Option<SemaphorePermit<'_>> {
        self.near[priority as usize].acquire().await.ok()
    }

    /// Waits for a slot and its time. Cancel-safe: a slot that nobody awaits is lost, which only makes the lane slower.
    pub async fn slot(&self, priority: Priority) -> Slot {
        loop {
            let (grant, granted) = oneshot::channel();
            self.waiting.borrow_mut().push(priority, grant);
            self.wake.notify_one();
            let Ok(time) = granted.await else { continue };
            let at = self.moment_of(time);
            // Timers round up to a millisecond, so a slot that is nearer than that counts as due.
            if at > Instant::now() + Duration::from_micros(500) {
                sleep_until(at).await;
            }
            if self.is_in_time(Slot(time)) {
                return Slot(time);
            }
        }
    }

    /// Whether a slot may still be used, by the latest knowledge of its time. A missed slot is given up, so that a
    /// stalled process does not send at once what it should have sent before.
    pub fn is_in_time(&self, slot: Slot) -> bool {
        let now = Instant::now();
        now <= self.moment_of(slot.0) + TOLERANCE && now >= self.not_before.get()
    }

    fn moment_of(&self, time: Time) -> Instant {
        match time {
            Time::Own(at) => at,
            Time::Shared(theirs_us) => {
                let ours_us = self.clock.borrow().ours_us(theirs_us);
                self.began + Duration::from_micros(u64::try_from(ours_us).unwrap_or_default())
            }
        }
    }

    /// Obeys the platform's push-back: no account of the bucket sends before `wait` is over.
    ///
    /// # Errors
    /// Redis is away. This lane waits all the same.
    pub async fn push_back(&self, wait: Duration) -> Result<(), StoreError> {
        let wait = wait.min(LONGEST_WAIT);
        let mark = if wait > LONGEST_PUSH_BACK { "d" } else { "" };
        self.not_before.set(self.not_before.get().max(Instant::now() + wait));
        // A reservation may lie 100 ms ahead of the free time. They are added here, so that no slot comes early.
        let args = [(wait + AHEAD).as_micros().to_string(), self.interval_us.to_string(), mark.to_owned()];
        self.batcher.script(Script::PushBack, &self.key, &args.each_ref().map(|a| a.as_bytes())).await.map(drop)
    }

    /// How long this lane still waits after a push-back.
    pub fn kept_back(&self) -> Duration {
        self.not_before.get().saturating_duration_since(Instant::now())
    }

    /// Ends the push-back.
    #[cfg(test)]
    pub(crate) fn forget_push_back(&self) {
        self.not_before.set(Instant::now());
    }

    /// Reserves slots for those who wait. It runs for ever.
    pub async fn run(self: Rc<Self>) {
        let mut fallback = Instant::now();
        let mut next = fallback.checked_sub(MADE_UP).unwrap_or(fallback);
        loop {
            let waiting = self.waiting.borrow_mut().count() as u64;
            if waiting == 0 {
                self.wake.notified().await;
                continue;
            }
            // This waits only if somebody waits for a slot, because a timer that nobody needs costs a turn of the
            // thread.
            if next > Instant::now() {
                sleep_until(next).await;
                continue;
            }
            let kept_back = self.kept_back();
            if !kept_back.is_zero() {
                sleep(kept_back.min(Duration::from_secs(1))).await;
                continue;
            }
            let (lead, round_trip) = {
                let clock = self.clock.borrow();
                (clock.lead(), clock.round_trip())
            };
            // As many as lie before the next reply.
            let span = AHEAD.max(round_trip).as_micros() as u64;
            let n = waiting.min(span / self.interval_us).max(1);
            next = after_reservation(next, Instant::now());
            // Without Redis, a lane that delivers all the same does not wait until a command times out.
            let answer = if self.alone.delivers && !self.health.is_up() {
                Err(StoreError::Unreached(String::new()))
            } else {
                self.reservation(n, lead).await
            };
            match answer {
                Ok(Reservation::Granted { first_us }) => self.hand_out(n, first_us),
                Ok(Reservation::Full { ahead }) => {
                    let push_back = ahead.saturating_sub(AHEAD + AHEAD.max(Duration::from_micros(self.interval_us)));
                    if !push_back.is_zero() {
                        (self.on_push_back)(push_back);
                    }
                    let turn = Duration::from_micros(rand::rng().random_range(0..50_000));
                    // The next request arrives at Redis when its turn has come.
                    let wait = (ahead + turn).saturating_sub(AHEAD + lead + round_trip);
                    sleep(wait.min(Duration::from_secs(1))).await;
                }
                Err(_) if self.alone.delivers => {
                    fallback = fallback.max(Instant::now());
                    self.give(Time::Own(fallback));
                    fallback += self.alone.interval(self.interval_us);
                    sleep_until(fallback).await;
                }
                Err(_) => sleep(Duration::from_millis(200)).await,
            }
        }
    }

    /// Hands out `n` slots to those who wait. Slots that passed before their reply came are lost.
    fn hand_out(&self, n: u64, first_us: i64) {
        let now = Instant::now();
        for i in 0..n {
            let time = Time::Shared(first_us + (i * self.interval_us) as i64);
            if now <= self.moment_of(time) + TOLERANCE && !self.give(time) {
                return;
            }
        }
    }

    /// `false`: nobody waits.
    fn give(&self, time: Time) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        while let Some(waiter) = waiting.next() {
            if waiter.send(time).is_ok() {
                return true;
            }
        }
        false
    }

    async fn reservation(&self, n: u64, lead: Duration) -> Result<Reservation, StoreError> {
        let us = |d: Duration| d.as_micros().to_string();
        let args = [n.to_string(), self.interval_us.to_string(), us(AHEAD + lead), us(lead)];
        let sent = Instant::now();
        let reply = self.batcher.script(Script::Reserve, &self.key, &args.each_ref().map(|a| a.as_bytes())).await?;
        let odd = || StoreError::Unavailable("gave an odd answer".into());
        let Reply::Array(parts) = &reply else { return Err(odd()) };
        let [Reply::Int(granted), Reply::Int(first), Reply::Int(ahead), Reply::Int(now)] = parts[..] else {
            return Err(odd());
        };
        let since = |at: Instant| at.duration_since(self.began).as_micros() as i64;
        self.clock.borrow_mut().heard(since(sent), since(Instant::now()), now);
        Ok(match granted {
            0 => Reservation::Full { ahead: Duration::from_micros(u64::try_from(ahead).unwrap_or_default()) },
            _ => Reservation::Granted { first_us: now.saturating_add(first) },
        })
    }
}

enum Reservation {
    /// From this time of Redis's clock on, one interval apart.
    Granted { first_us: i64 },
    /// Nothing was reserved, because the next free time is this far ahead.
    Full { ahead: Duration },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn reservations_are_a_thousand_a_second_at_most_and_a_lane_with_fewer_never_waits_for_one(
            idle_us in proptest::collection::vec(prop_oneof![Just(0_u64), 0..5_000_u64, Just(1_000_000)], 1..300),
        ) {
            let began = Instant::now() + Duration::from_secs(10);
            let (mut now, mut due, mut at) = (began, began - MADE_UP, Vec::new());
            for us in idle_us {
                let asked = now + Duration::from_micros(us);
                now = asked.max(due);
                let is_rare = at.len() < 20 || asked - at[at.len() - 20] >= 2 * MADE_UP;
                prop_assert!(!is_rare || now == asked, "it waited for {:?}", now - asked);
                due = after_reservation(due, now);
                at.push(now);
            }
            for (n, first) in at.iter().enumerate() {
                for (m, last) in at.iter().enumerate().skip(n) {
                    let most = 1 + MADE_UP.as_millis() + (*last - *first).as_millis();
                    prop_assert!((m - n + 1) as u128 <= most, "{} in {:?}", m - n + 1, *last - *first);
                }
            }
        }
    }
}

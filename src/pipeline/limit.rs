//! Slots of the shared rate: `core.md` section 5.
//!
//! The bucket is one value in Redis, the next free time, so that every replica and every account of one contract draws
//! from the same rate. A lane reserves as many slots as claims wait, at most 100 ms of them: nothing is hoarded.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use ::redis::Value as Reply;
use rand::Rng;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

use crate::pipeline::fine_timer::FineTimer;
use crate::redis::batcher::{Batcher, StoreError};
use crate::redis::health::Health;
use crate::redis::scripts::Script;

/// Reserved ahead at most.
const AHEAD: Duration = Duration::from_millis(100);
/// A slot missed by more is given up, and so are the slots of a reply that took so much longer than the fastest.
const TOLERANCE: Duration = Duration::from_millis(50);
/// From one reservation to the next, which also waits for the reply: at most a thousand a second.
const GAP: Duration = Duration::from_millis(1);

/// One lane's way to its bucket.
pub struct Limiter {
    batcher: Batcher,
    key: Vec<u8>,
    interval_us: u64,
    waiting: RefCell<VecDeque<oneshot::Sender<Instant>>>,
    wake: Notify,
    /// Nothing is sent before: a push-back that came after slots were handed out.
    not_before: Cell<Instant>,
    fastest: RefCell<Fastest>,
    /// `when_unavailable = "deliver"`: without Redis it sends at its share of the rate.
    deliver: bool,
    replicas: Arc<AtomicUsize>,
    health: Arc<Health>,
    on_push_back: Box<dyn Fn(Duration)>,
}

/// The fastest reply of the last 60 s, kept as two halves.
#[derive(Default)]
struct Fastest {
    halves: [Option<Duration>; 2],
    turned: Option<Instant>,
}

impl Fastest {
    /// Notes a reply's time; returns the fastest so far.
    fn note(&mut self, now: Instant, took: Duration) -> Duration {
        if self.turned.is_none_or(|t| now.duration_since(t) > Duration::from_secs(30)) {
            self.halves = [None, self.halves[0]];
            self.turned = Some(now);
        }
        self.halves[0] = Some(self.halves[0].map_or(took, |f| f.min(took)));
        self.halves.iter().flatten().copied().min().unwrap_or(took)
    }
}

/// Microseconds between two slots at this rate; rounded up, so that the rate is never exceeded.
pub fn interval_us(rps: f64) -> u64 {
    (1e6 / rps).ceil().max(1.0) as u64
}

impl Limiter {
    /// `key`: of the bucket. `replicas`: the most seen in the last hour. `on_push_back`: told of a push-back that a
    /// reply shows.
    pub fn new(
        batcher: Batcher,
        key: String,
        rps: f64,
        deliver: bool,
        (replicas, health): (Arc<AtomicUsize>, Arc<Health>),
        on_push_back: impl Fn(Duration) + 'static,
    ) -> Rc<Self> {
        Rc::new(Self {
            batcher,
            key: key.into_bytes(),
            interval_us: interval_us(rps),
            waiting: RefCell::default(),
            wake: Notify::new(),
            not_before: Cell::new(Instant::now()),
            fastest: RefCell::default(),
            deliver,
            replicas,
            health,
            on_push_back: Box::new(on_push_back),
        })
    }

    /// Waits for a slot and its time. Cancel-safe: a slot that nobody awaits is lost, which is only slower.
    pub async fn slot(&self) {
        loop {
            let (grant, granted) = oneshot::channel();
            self.waiting.borrow_mut().push_back(grant);
            self.wake.notify_one();
            let Ok(at) = granted.await else { continue };
            // Timers round up to a millisecond; a slot nearer than that is due.
            if at > Instant::now() + Duration::from_micros(500) {
                sleep_until(at).await;
            }
            let now = Instant::now();
            if now <= at + TOLERANCE && now >= self.not_before.get() {
                return;
            }
        }
    }

    /// The platform asked for less: nobody who shares the bucket sends before.
    ///
    /// # Errors
    /// Redis is away; this lane keeps back all the same.
    pub async fn push_back(&self, wait: Duration) -> Result<(), StoreError> {
        self.not_before.set(self.not_before.get().max(Instant::now() + wait));
        // The reservation allows 100 ms ahead of the free time; added here, so that no slot comes early.
        let us = (wait + AHEAD).as_micros().to_string();
        self.batcher.script(Script::PushBack, &self.key, &[us.as_bytes()]).await.map(drop)
    }

    /// How long this lane still keeps back.
    pub fn kept_back(&self) -> Duration {
        self.not_before.get().saturating_duration_since(Instant::now())
    }

    /// As if it had passed.
    #[cfg(test)]
    pub(crate) fn forget_push_back(&self) {
        self.not_before.set(Instant::now());
    }

    /// Reserves for those who wait, for ever.
    pub async fn run(self: Rc<Self>) {
        let mut fallback = Instant::now();
        let mut timer = FineTimer::new();
        let mut next = fallback;
        loop {
            let waiting = {
                let mut waiting = self.waiting.borrow_mut();
                waiting.retain(|w| !w.is_closed());
                waiting.len() as u64
            };
            if waiting == 0 {
                self.wake.notified().await;
                continue;
            }
            // Waited for only where somebody waits for a slot: a timer that nobody needs costs a turn of the thread.
            if next > Instant::now() {
                timer.until(next).await;
                continue;
            }
            let kept_back = self.kept_back();
            if !kept_back.is_zero() {
                sleep(kept_back.min(Duration::from_secs(1))).await;
                continue;
            }
            let n = waiting.min(AHEAD.as_micros() as u64 / self.interval_us).max(1);
            let sent = Instant::now();
            next = sent + GAP;
            // Without Redis a lane that delivers all the same does not wait for a command to time out.
            let answer = if self.deliver && !self.health.is_up() {
                Err(StoreError::Unreached(String::new()))
            } else {
                self.reservation(n).await
            };
            match answer {
                Ok(Reservation::Granted { first }) => {
                    let now = Instant::now();
                    let took = now.duration_since(sent);
                    if took <= self.fastest.borrow_mut().note(now, took) + TOLERANCE {
                        self.hand_out(now + first, n);
                    }
                }
                Ok(Reservation::Full { ahead }) => {
                    let push_back = ahead.saturating_sub(AHEAD + AHEAD.max(Duration::from_micros(self.interval_us)));
                    if !push_back.is_zero() {
                        (self.on_push_back)(push_back);
                    }
                    let turn = Duration::from_micros(rand::rng().random_range(0..50_000));
                    sleep((ahead.saturating_sub(AHEAD) + turn).min(Duration::from_secs(1))).await;
                }
                Err(_) if self.deliver => {
                    // Alone without Redis: the contract's rate divided by the replicas that may be doing the same.
                    let share = self.interval_us * self.replicas.load(Relaxed).max(1) as u64;
                    fallback = fallback.max(Instant::now());
                    self.hand_out(fallback, 1);
                    fallback += Duration::from_micros(share);
                    sleep_until(fallback).await;
                }
                Err(_) => sleep(Duration::from_millis(200)).await,
            }
        }
    }

    fn hand_out(&self, first: Instant, n: u64) {
        let mut waiting = self.waiting.borrow_mut();
        let mut i = 0;
        while i < n
            && let Some(waiter) = waiting.pop_front()
        {
            if waiter.send(first + Duration::from_micros(i * self.interval_us)).is_ok() {
                i += 1;
            }
        }
    }

    async fn reservation(&self, n: u64) -> Result<Reservation, StoreError> {
        let (n, interval, ahead) =
            (n.to_string(), self.interval_us.to_string(), (AHEAD.as_micros() as u64).to_string());
        let reply = self
            .batcher
            .script(Script::Reserve, &self.key, &[n.as_bytes(), interval.as_bytes(), ahead.as_bytes()])
            .await?;
        match &reply {
            Reply::Array(parts) => match parts[..] {
                [Reply::Int(0), _, Reply::Int(ahead)] => {
                    Ok(Reservation::Full { ahead: Duration::from_micros(ahead.max(0) as u64) })
                }
                [Reply::Int(_), Reply::Int(first), _] => {
                    Ok(Reservation::Granted { first: Duration::from_micros(first.max(0) as u64) })
                }
                _ => Err(StoreError::Unavailable("gave an odd answer".into())),
            },
            _ => Err(StoreError::Unavailable("gave an odd answer".into())),
        }
    }
}

enum Reservation {
    /// From `first` on, one interval apart.
    Granted { first: Duration },
    /// So far ahead is the next free time.
    Full { ahead: Duration },
}

//! Publishes the generator's events at their pace, and notes the partition and offset of each.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;

use super::generator::{Generator, Made};
use super::pacing::{self, Pace, Wait};
use crate::clock::now_ms;
use crate::inspect::ledger::Place;
use crate::kafka::producer::{Producer, PublishError};

/// Time between two looks at the number of due events.
const STEP: Duration = Duration::from_millis(20);
/// The number of publishes that may wait for their acknowledgement at once.
const UNDER_WAY: usize = 500;
/// If the broker does not acknowledge for this long, publishing fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// Publishes events; its state can be read meanwhile.
pub struct Publisher {
    producer: Producer,
    topic: String,
    generator: RefCell<Generator>,
    most: Option<u64>,
    made: Cell<u64>,
    finished: Cell<bool>,
    waits: RefCell<Option<Wait>>,
    failed: RefCell<Option<String>>,
}

impl Publisher {
    /// Publishes `most` events, or goes on for ever.
    pub fn new(producer: Producer, topic: String, seed: u64, most: Option<u64>) -> Self {
        Self {
            producer,
            topic,
            generator: RefCell::new(Generator::new(seed)),
            most,
            made: Cell::new(0),
            finished: Cell::new(false),
            waits: RefCell::new(None),
            failed: RefCell::new(None),
        }
    }

    /// The number of events made so far.
    pub fn made(&self) -> u64 {
        self.made.get()
    }

    /// The number of different events among those made.
    pub fn distinct(&self) -> u64 {
        self.generator.borrow().distinct()
    }

    /// Whether all events are made and acknowledged.
    pub fn is_finished(&self) -> bool {
        self.finished.get()
    }

    /// Why publishing waits at present; `None`: it does not.
    pub fn waits(&self) -> Option<String> {
        self.waits.borrow().as_ref().map(ToString::to_string)
    }

    /// Why publishing failed; `None`: it did not.
    pub fn failure(&self) -> Option<String> {
        self.failed.borrow().clone()
    }

    /// Publishes until it is dropped. It asks `rate`, `wait` and `stop` at each step, and tells `placed` about each
    /// record.
    pub async fn run(
        &self,
        rate: impl Fn() -> f64,
        wait: impl Fn() -> Option<Wait>,
        stop: impl Fn() -> bool,
        placed: impl Fn(Place, Option<usize>),
    ) {
        let mut pace = Pace::default();
        let mut last = Instant::now();
        let mut under_way: FuturesUnordered<LocalBoxFuture<'_, _>> = FuturesUnordered::new();
        loop {
            let step = tokio::time::sleep(STEP);
            tokio::pin!(step);
            loop {
                tokio::select! {
                    () = &mut step => break,
                    Some(result) = under_way.next(), if !under_way.is_empty() => match result {
                        Ok((place, account)) => placed(place, account),
                        Err(error) => *self.failed.borrow_mut() = Some(error),
                    },
                }
            }
            let due = pace.due(last.elapsed(), rate());
            last = Instant::now();
            let left = self.most.map_or(u64::MAX, |most| most.saturating_sub(self.made.get()));
            if stop() || left == 0 {
                *self.waits.borrow_mut() = None;
                self.finished.set(under_way.is_empty());
                continue;
            }
            let waits = wait();
            if waits.is_none() {
                let room = UNDER_WAY.saturating_sub(under_way.len());
                let n = due.min(room).min(usize::try_from(left).unwrap_or(usize::MAX));
                for _ in 0..n {
                    let made = self.generator.borrow_mut().make(now_ms());
                    self.made.set(self.made.get() + 1);
                    under_way.push(Box::pin(self.publish(made)));
                }
            }
            *self.waits.borrow_mut() = waits;
        }
    }

    async fn publish(&self, made: Made) -> Result<(Place, Option<usize>), String> {
        let began = Instant::now();
        loop {
            let key = made.key.as_deref().map(str::as_bytes);
            match self.producer.publish(&self.topic, key, made.value.as_deref(), &[]).await {
                Ok(place) => return Ok((place, made.account)),
                Err(PublishError::Unavailable(_)) if began.elapsed() < PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                Err(error) => return Err(format!("topic {}: {error}", self.topic)),
            }
        }
    }
}

/// The rate of publishing while the scenario plays, and after it.
pub fn rate(made: u64, events: Option<u64>) -> f64 {
    if events.is_none() && made >= super::scenario::SCENARIO_EVENTS { pacing::CALM_RATE } else { pacing::SCENARIO_RATE }
}

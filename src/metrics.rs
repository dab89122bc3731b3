//! All metrics of the contract. Each starts at zero, its children are looked up once at the start, and no label has
//! unbounded values.

mod account;
mod accounts;
mod breaker;
mod claims;
mod exposition;
mod families;
mod holds;
mod maker;
mod partitions;
mod platform;
mod process;
mod reloads;
mod replays;
mod storms;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, Registry, TextEncoder};

pub use account::{AccountMetrics, Count, LaneState};
use accounts::{AccountTable, UNKNOWN};
pub use breaker::BreakerState;
pub use claims::ClaimResult;
pub use holds::Hold;
use maker::Maker;
pub use partitions::PartitionMetrics;
use partitions::Partitions;
use platform::{PlatformFamilies, unseen_gauge};
use reloads::Reloads;
pub use replays::ReplayResult;
use replays::Replays;
use storms::Storms;

/// The facts that are known at the start.
#[derive(Default)]
pub struct Setup<'a> {
    /// The platforms and names of the configured accounts; their index here is their index in [`Metrics::account`].
    pub accounts: Vec<(&'static str, Arc<str>)>,
    /// The names of the retry tiers, in order.
    pub tiers: &'a [String],
    /// The topics whose `events_received_total` starts at zero.
    pub topics: Vec<String>,
}

/// All metrics of this process.
pub struct Metrics {
    /// Records handed to a retry tier. Count them in a [`Metrics::step`].
    pub handed_off_retry: IntCounter,
    /// Records handed to a parking topic. Count them in a [`Metrics::step`].
    pub handed_off_parked: IntCounter,
    /// Records given back at a revocation or at shutdown. Count them in a [`Metrics::step`].
    pub handed_off_returned: IntCounter,
    /// Records of inputs that are read and not finished.
    pub in_flight_events: IntGauge,
    pub in_flight_bytes: IntGauge,
    /// Records of tiers and parking topics that are released and not finished. They are shown together with those of
    /// inputs.
    pub released_events: IntGauge,
    pub released_bytes: IntGauge,
    /// 1 while Redis answers.
    pub redis_up: IntGauge,
    /// 1 while a broker answers.
    pub kafka_up: IntGauge,
    /// Partitions that wait for an operator to say where they begin.
    pub unplaced: IntGauge,
    /// Topics of the worker's own that take no records.
    pub refused_topics: IntGauge,
    /// What replays do, and what comes of their events.
    pub replays: Replays,
    /// The topics that the storm brake stopped.
    pub storms: Storms,
    /// Reloads of the configuration.
    pub reloads: Reloads,
    all_in_flight: IntGauge,
    all_in_flight_bytes: IntGauge,
    registry: Registry,
    accounts: AccountTable,
    received: IntCounterVec,
    received_by_topic: RwLock<BTreeMap<String, IntCounter>>,
    claims: [IntCounter; ClaimResult::ALL.len()],
    partitions: Partitions,
    holds: [IntGauge; Hold::ALL.len()],
    clock_offset: Gauge,
    unaccounted: IntGauge,
    last_unaccounted: AtomicI64,
    steps_begun: AtomicU64,
    steps_ended: AtomicU64,
    rendering: Mutex<()>,
}

impl Metrics {
    /// Registers everything. A series with a closed label or a configured account exists from the start, at zero.
    pub fn new(setup: Setup<'_>) -> Arc<Metrics> {
        let registry = Registry::new();
        let make = Maker(&registry);
        let by_platform = PlatformFamilies::new(&make);
        let received = make.counters(&families::RECEIVED);
        let handed_off = make.counters(&families::HANDED_OFF);
        let claims = make.counters(&families::CLAIMS);
        let holds = make.int_gauges(&families::HOLDS);
        let single = |family| make.int_gauges(family).with_label_values::<&str>(&[]);

        let accounts = AccountTable::new(by_platform, setup.tiers);
        for (index, (platform, name)) in setup.accounts.iter().enumerate() {
            accounts.add(index, platform, name.clone());
        }

        make.int_gauges(&families::BUILD_INFO)
            .with_label_values(&[env!("CARGO_PKG_VERSION"), option_env!("POSTBACK_COMMIT").unwrap_or(UNKNOWN)])
            .set(1);
        let metrics = Metrics {
            handed_off_retry: handed_off.with_label_values(&["retry"]),
            handed_off_parked: handed_off.with_label_values(&["parked"]),
            handed_off_returned: handed_off.with_label_values(&["returned"]),
            in_flight_events: unseen_gauge(),
            in_flight_bytes: unseen_gauge(),
            released_events: unseen_gauge(),
            released_bytes: unseen_gauge(),
            replays: Replays::new(&make),
            storms: Storms::new(&make),
            reloads: Reloads::new(&make, chrono::Utc::now().timestamp_millis()),
            all_in_flight: single(&families::IN_FLIGHT_EVENTS),
            all_in_flight_bytes: single(&families::IN_FLIGHT_BYTES),
            redis_up: single(&families::REDIS_UP),
            kafka_up: single(&families::KAFKA_UP),
            unaccounted: single(&families::UNACCOUNTED),
            accounts,
            received,
            received_by_topic: RwLock::default(),
            claims: ClaimResult::ALL.map(|r| claims.with_label_values(&[r.as_str()])),
            partitions: Partitions::default(),
            unplaced: single(&families::UNPLACED),
            refused_topics: single(&families::REFUSED_TOPICS),
            holds: Hold::ALL.map(|hold| holds.with_label_values(&[hold.as_str()])),
            clock_offset: make.gauges(&families::CLOCK_OFFSET).with_label_values::<&str>(&[]),
            last_unaccounted: AtomicI64::new(0),
            steps_begun: AtomicU64::new(0),
            steps_ended: AtomicU64::new(0),
            rendering: Mutex::new(()),
            registry,
        };
        for topic in &setup.topics {
            metrics.received_counter(topic);
        }
        Arc::new(metrics)
    }

    /// The metrics of the account at this index of the setup or of [`Metrics::add_account`], or at an index from
    /// [`Metrics::unknown`]. Any other index means that neither platform nor account is known.
    pub fn account(&self, index: usize) -> &Arc<AccountMetrics> {
        self.accounts.get(index)
    }

    /// Adds an account that the configuration names from now on, at the index of its first lane. Its series begin at
    /// zero; where the index has an account, that is this one, and it goes on with its numbers.
    pub fn add_account(&self, index: usize, platform: &'static str, name: Arc<str>) {
        self.accounts.add(index, platform, name);
    }

    /// The index for events that name no configured account. Without a platform, or with one that has no account, the
    /// label is `unknown`.
    pub fn unknown(&self, platform: Option<&str>) -> usize {
        self.accounts.unknown(platform)
    }

    /// Counts one record of this topic. For many records keep the [`Metrics::received_counter`].
    pub fn received(&self, topic: &str) {
        self.received_counter(topic).inc();
    }

    /// The counter of a topic, for a caller that keeps it.
    pub fn received_counter(&self, topic: &str) -> IntCounter {
        let known = self.received_by_topic.read().unwrap_or_else(PoisonError::into_inner).get(topic).cloned();
        known.unwrap_or_else(|| {
            let counter = self.received.with_label_values(&[topic]);
            let mut topics = self.received_by_topic.write().unwrap_or_else(PoisonError::into_inner);
            topics.insert(topic.to_owned(), counter.clone());
            counter
        })
    }

    /// Sets the partitions that this process owns. One that it does not own any more has no series from now on: its
    /// last values would go on raising alarms.
    pub fn set_partitions(&self, owned: Vec<PartitionMetrics>) {
        self.partitions.set(owned);
    }

    /// Counts the result of a claim.
    pub fn claim(&self, result: ClaimResult) {
        self.claims[result as usize].inc();
    }

    /// Sets for each cause whether the worker sends nothing because of it.
    pub fn set_holds(&self, holds: &[Hold]) {
        for hold in Hold::ALL {
            self.holds[hold as usize].set(i64::from(holds.contains(&hold)));
        }
    }

    /// Sets the largest known difference of this machine's clock from another one, in ms; positive: ours is ahead.
    pub fn set_clock_offset_ms(&self, ahead_ms: i64) {
        self.clock_offset.set(ahead_ms as f64 / 1000.0);
    }

    /// The text exposition, format 0.0.4.
    pub fn render(&self) -> String {
        let _one_at_a_time = self.rendering.lock().unwrap_or_else(PoisonError::into_inner);
        self.unaccounted.set(self.unaccounted_events());
        self.all_in_flight.set(self.in_flight_events.get() + self.released_events.get());
        self.all_in_flight_bytes.set(self.in_flight_bytes.get() + self.released_bytes.get());
        let gathered = self.registry.gather();
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&gathered, &mut text) {
            tracing::error!(%error, "metrics cannot be written");
        }
        exposition::write(&mut text, &self.accounts, chrono::Utc::now().timestamp_millis());
        partitions::write(&mut text, &self.partitions);
        process::write(&mut text);
        // A family without a series still shows its name and type, e.g. when no partition is assigned.
        for family in families::ALL {
            let mut written = exposition::FAMILIES.iter().chain(&partitions::FAMILIES).chain(&process::FAMILIES);
            if !written.any(|f| f.name == family.name) && !gathered.iter().any(|g| g.name() == family.name) {
                family.write_head(&mut text);
            }
        }
        text
    }

    /// Begins a step, in which the numbers of received, open, finished and handed-off records change together. It ends
    /// when the guard is dropped.
    pub fn step(&self) -> Step<'_> {
        self.steps_begun.fetch_add(1, Ordering::AcqRel);
        // No reader may see a changed counter before the step has begun.
        fence(Ordering::Release);
        Step { ended: &self.steps_ended }
    }

    /// Returns received − finished − open − handed off.
    ///
    /// A reading counts only if no [`Metrics::step`] was under way while it was taken. If steps follow each other too
    /// fast for that, the last valid reading stands. So an idle worker shows the exact value, and a busy one never
    /// shows half of a step.
    pub fn unaccounted_events(&self) -> i64 {
        for _ in 0..100 {
            // The order matters: an end that the first reading sees cannot be missing in the second.
            let ended = self.steps_ended.load(Ordering::Acquire);
            let begun = self.steps_begun.load(Ordering::Acquire);
            if begun == ended {
                let value = self.received_less_ended() - self.accounts.iter().map(|a| a.open.get()).sum::<i64>();
                fence(Ordering::Acquire);
                if self.steps_begun.load(Ordering::Relaxed) == begun {
                    self.last_unaccounted.store(value, Ordering::Relaxed);
                    return value;
                }
            }
            std::thread::yield_now();
        }
        self.last_unaccounted.load(Ordering::Relaxed)
    }

    fn received_less_ended(&self) -> i64 {
        let topics = self.received_by_topic.read().unwrap_or_else(PoisonError::into_inner);
        let received: u64 = topics.values().map(IntCounter::get).sum();
        let finished: u64 = self.accounts.iter().map(|a| a.finished.iter().map(Count::get).sum::<u64>()).sum();
        let handed_off = self.handed_off_retry.get() + self.handed_off_parked.get() + self.handed_off_returned.get();
        received as i64 - (finished + handed_off) as i64
    }
}

/// See [`Metrics::step`].
pub struct Step<'a> {
    ended: &'a AtomicU64,
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        self.ended.fetch_add(1, Ordering::Release);
    }
}

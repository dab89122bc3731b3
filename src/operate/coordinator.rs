//! The coordinator checks once a second: switches, orders, the epoch and the primary. It also publishes the state of
//! this replica.

mod halts;
mod memory;
mod orders;
pub(super) mod parts;
mod positions;
mod retention;
mod storms;
mod switches;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use ::redis::RedisResult;

use self::memory::Memory;
pub use self::parts::{Coordinator, Watched};
use crate::clock::{now_ms, steady_ms};
use crate::delivery::progress::{PartitionView, Snapshot};
use crate::kafka::REMAINDER;
use crate::metrics::PartitionMetrics;
use crate::operate::replica::{is_kept_back, replica_snapshot, unfinished};
use crate::operate::{ReplicaSnapshot, arrivals, lanes, snapshot};
use crate::quiet::Repeated;
use crate::redis::batcher::describe;
use crate::redis::facts::Facts;

/// The time between two snapshots.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(5);
/// The time between two checks of policy, version and memory.
const FACTS_EVERY: Duration = Duration::from_secs(60);
/// How long a replica that was seen counts when the rate is divided.
const REPLICAS_FOR: Duration = Duration::from_secs(3600);

impl Coordinator {
    /// Runs as long as the process lives.
    pub async fn run(mut self) {
        // The start has read the primary already.
        let mut memory = Memory { primary_at: Some(Instant::now()), ..Memory::default() };
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                Some(halted) = self.halts.recv() => self.halted(&mut memory.switches, halted),
                () = self.storms.news() => {}
            }
            while let Ok(halted) = self.halts.try_recv() {
                self.halted(&mut memory.switches, halted);
            }
            self.show();
            memory.clock_told.warn(self.health.clock.warnings());
            self.tell_left_out();
            if let Err(error) = self.look_anew(&mut memory).await {
                memory.connection = None;
                self.health.failed(&describe(&error));
            }
        }
    }

    fn tell_left_out(&self) {
        for (kind, not_logged) in self.quiet.left_out(Instant::now()) {
            match kind {
                Repeated::DeadLetter { account, reason } => {
                    let account =
                        self.lanes.iter().find(|lane| lane.id.index == account).map(|lane| &*lane.id.account_name);
                    let (account, reason) = (account.unwrap_or("unknown"), reason.as_str());
                    tracing::warn!(account, reason, not_logged, "more dead letters in the last minute");
                }
                Repeated::TooLarge(topic) => {
                    tracing::error!(topic = &*topic, not_logged, "more copies were refused by size in the last minute");
                }
            }
        }
    }

    /// Checks once, and a second time if the connection was closed: a closed connection says nothing about the server,
    /// but a fresh one does.
    async fn look_anew(&self, memory: &mut Memory) -> RedisResult<()> {
        let reused = memory.connection.is_some();
        match self.look(memory).await {
            Err(error) if reused && error.is_connection_dropped() => self.look(memory).await,
            looked => looked,
        }
    }

    async fn look(&self, memory: &mut Memory) -> RedisResult<()> {
        let mut connection = match memory.connection.take() {
            Some(connection) => connection,
            None => crate::redis::connect(&self.client).await?,
        };
        let c = &mut connection;
        let mut pipe = ::redis::pipe();
        pipe.cmd("TIME").cmd("GET").arg(self.keys.epoch()).cmd("INFO").arg("replication");
        let asked = Instant::now();
        let (time, epoch, info): ((i64, i64), Option<String>, String) = pipe.query_async(c).await?;
        if !self.own_store {
            self.health.clock.saw(time, asked);
        }
        let facts = Facts::read(&info);
        self.judge_primary(memory, &facts);
        if memory.facts_at.is_none_or(|at| at.elapsed() >= FACTS_EVERY) {
            let info: String = ::redis::cmd("INFO").query_async(c).await?;
            let facts = Facts::read(&info);
            self.health.set_hold(facts.refusals().into_iter().next().or_else(|| facts.hold()));
            memory.told.warn(facts.warnings());
            memory.facts_at = Some(Instant::now());
        } else if facts.hold().is_some() {
            // The primary was demoted. All facts are read again in a second.
            self.health.set_hold(facts.hold());
            memory.facts_at = None;
        }
        // A store that answers reads but refuses writes does not count as up.
        let beat = self.keys.replica(&format!("{}:beat", self.id));
        let () = ::redis::cmd("SET").arg(beat).arg(1).arg("PX").arg(15_000).query_async(c).await?;
        self.save_halts(c, &mut memory.switches).await?;
        match epoch {
            None => self.health.forgot(),
            Some(id) => {
                // Another id means that the store was flushed and unblocked between two checks.
                let new = memory.epoch.as_ref().is_some_and(|old| *old != id && old != "starting");
                if new || self.health.has_forgotten() {
                    let known =
                        self.lanes.iter().map(|l| (l.id.account_name.to_string(), l.switches.present())).collect();
                    lanes::restore(c, &self.keys, &known, &memory.switches.resumed).await?;
                    self.restore_storms(c).await?;
                    self.health.remembered();
                    memory.positions.read_anew();
                }
                memory.epoch = Some(id);
            }
        }
        self.obey_switches(c, &mut memory.switches).await?;
        self.end_halts(c).await?;
        self.exchange_storms(c).await?;
        self.keep_unplaced(c).await?;
        self.keep_positions(c, &mut memory.positions).await?;
        self.obey_orders(c, &mut memory.orders).await?;
        arrivals::exchange(&self.known, c, &self.keys, &self.lanes).await?;
        if memory.snapshot_at.is_none_or(|at| at.elapsed() >= SNAPSHOT_EVERY) {
            snapshot::write_snapshot(c, &self.keys, &self.snapshot()).await?;
            let replicas = snapshot::count_replicas(c, &self.keys).await?;
            self.count_replicas(memory, replicas);
            memory.snapshot_at = Some(Instant::now());
        }
        self.health.answered();
        memory.connection = Some(connection);
        Ok(())
    }

    fn judge_primary(&self, memory: &mut Memory, facts: &Facts) {
        let new = &facts.replication_id;
        if new.is_empty() {
            return;
        }
        // The start stored the primary's id, so a change before the first check here counts too.
        let old = self.health.primary();
        let now = Instant::now();
        if !old.is_empty() && *old != **new {
            tracing::warn!("redis has another primary: what was confirmed lately is written again");
            self.runtimes.primary_changed(memory.primary_at.unwrap_or(now));
            memory.facts_at = None;
        }
        memory.primary_at = Some(now);
        self.health.set_primary(new);
    }

    fn count_replicas(&self, memory: &mut Memory, now: usize) {
        memory.seen.push_back((Instant::now(), now));
        while memory.seen.front().is_some_and(|(at, _)| at.elapsed() > REPLICAS_FOR) {
            memory.seen.pop_front();
        }
        self.replicas.store(memory.seen.iter().map(|(_, n)| *n).max().unwrap_or(1).max(1), Relaxed);
    }

    /// Copies the present state into the gauges.
    fn show(&self) {
        let now = steady_ms();
        self.metrics.redis_up.set(i64::from(self.health.is_up()));
        let snapshots: Vec<_> = self.consumers.iter().map(|c| c.view.snapshot()).collect();
        let mut parked: HashMap<&str, i64> = HashMap::new();
        for p in snapshots.iter().flat_map(|s| &s.partitions) {
            let account = p.topic.strip_prefix(&*self.parked_prefix).and_then(|rest| rest.strip_prefix('.'));
            if let Some(account) = account {
                *parked.entry(account).or_default() += unfinished(p);
            }
        }
        for lane in self.lanes.accounts() {
            let account = self.metrics.account(lane.id.index);
            account.lane_state(lane.shown().state());
            account.breaker_state(lane.both().map(|lane| lane.breaker.state()).max().unwrap_or_default());
            let oldest = snapshots.iter().filter_map(|s| s.oldest_by_group.get(&lane.id.index)).min();
            account.oldest_open_age.set(oldest.map_or(0.0, |since| (now - since).max(0) as f64 / 1000.0));
            account.parked.set(parked.get(&*lane.id.account_name).copied().unwrap_or(0));
            let remainder = format!("{}{REMAINDER}", lane.id.account_name);
            account.rollout_waiting.set(parked.get(&*remainder).copied().unwrap_or(0));
        }
        self.show_partitions(&snapshots);
        self.show_storms();
    }

    fn show_partitions(&self, snapshots: &[Arc<Snapshot>]) {
        // What a gray release keeps back has metrics of its own, and is no lag.
        let shown = snapshots.iter().flat_map(|s| &s.partitions).filter(|p| !is_kept_back(p));
        let metrics = |p: &PartitionView| {
            let retention_ms = self.retention.of(&p.topic);
            PartitionMetrics {
                topic: p.topic.clone(),
                partition: p.partition,
                lag_records: p.lag_records,
                lag_seconds: p.lag_seconds,
                commit_age: p.commit_age_seconds,
                retention: retention_ms.map(|ms| ms as f64 / 1000.0),
                headroom: retention_ms.and_then(|ms| {
                    let stored_ms = |offset| self.retention.stored_ms(&p.topic, p.partition, offset);
                    retention::headroom(p, ms, now_ms(), stored_ms)
                }),
            }
        };
        self.metrics.set_partitions(shown.map(metrics).collect());
    }

    /// The state of this replica as other processes see it.
    pub fn snapshot(&self) -> ReplicaSnapshot {
        replica_snapshot(&self.id, &self.lanes, &self.metrics, &self.consumers, &self.refusals.all())
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

    use ::redis::aio::MultiplexedConnection;

    use super::*;
    use crate::account::Halted;
    use crate::account::{Account, Intake};
    use crate::delivery::progress::{ConsumerHandle, ConsumerView};
    use crate::embedded::store::Store;
    use crate::kafka::consumer::Unplaced;
    use crate::lane::handle::LaneHandle;
    use crate::lane::handle::lanes::Lanes;
    use crate::lane::threads::Runtimes;
    use crate::metrics::Metrics;
    use crate::metrics::{LaneState, Setup};
    use crate::operate::By;
    use crate::operate::Keys;
    use crate::operate::audit::Via;
    use crate::redis::health::Health;
    use crate::storm::Storm;
    use crate::storm::board::Storms;
    use crate::storm::pass::Pass;

    pub(crate) struct World {
        pub(crate) coordinator: Coordinator,
        pub(crate) memory: Memory,
        lane: Arc<LaneHandle>,
        to_halts: UnboundedSender<Halted>,
        pub(crate) connection: MultiplexedConnection,
        /// When this process was told to write recent confirmations again, since the last call.
        told: Box<dyn FnMut() -> Vec<Instant>>,
        store: Store,
    }

    impl World {
        pub(crate) async fn new() -> Self {
            let store = Store::start().unwrap();
            let client = crate::redis::Config::stub(store.url()).client().unwrap();
            let connection = crate::redis::connect(&client).await.unwrap();
            let account = Arc::new(Account::stub("acme"));
            let bounds = Intake { max_in_flight: 100, max_in_flight_bytes: 1 << 20, drain_timeout: Duration::ZERO };
            let lane = Arc::new(LaneHandle::new(0, account.clone(), unbounded_channel().0, &bounds));
            let (runtimes, told) = Runtimes::stub();
            let (to_halts, halts) = unbounded_channel();
            let accounts = vec![(account.platform, account.name.clone())];
            let coordinator = Coordinator {
                client,
                keys: Keys::new("pb"),
                id: "r1".into(),
                lanes: Arc::new(Lanes::new(vec![lane.clone()], Vec::new())),
                runtimes: Arc::new(runtimes),
                health: Arc::new(Health::default()),
                metrics: Metrics::new(Setup { accounts, ..Setup::default() }),
                consumers: Vec::new(),
                halts,
                replicas: Arc::default(),
                refusals: Arc::default(),
                retention: Arc::default(),
                parked_prefix: "postback.parked".into(),
                unplaced: Unplaced::default(),
                known: Arc::default(),
                own_store: false,
                quiet: Arc::default(),
                storms: Arc::new(Storms::new("r1")),
            };
            let told = Box::new(told);
            Self { coordinator, memory: Memory::default(), lane, to_halts, connection, told, store }
        }

        pub(crate) async fn look(&mut self) {
            self.coordinator.look(&mut self.memory).await.unwrap();
        }

        pub(crate) async fn set_epoch(&mut self, id: &str) {
            let () = ::redis::cmd("SET").arg("pb:epoch").arg(id).query_async(&mut self.connection).await.unwrap();
        }

        async fn flush(&mut self) {
            let () = ::redis::cmd("DEL")
                .arg(["pb:epoch", "pb:lanes"].as_slice())
                .query_async(&mut self.connection)
                .await
                .unwrap();
        }

        async fn switches(&mut self) -> lanes::SwitchesByAccount {
            lanes::read_lanes(&mut self.connection, &Keys::new("pb")).await.unwrap()
        }
    }

    #[tokio::test]
    async fn what_an_operator_switches_is_obeyed_at_the_next_look() {
        let mut world = World::new().await;
        world.set_epoch("e1").await;
        let (keys, by) = (Keys::new("pb"), By::new(Via::Cli, "li", "audit"));
        lanes::pause(&mut world.connection, &keys, "acme", &by, 5).await.unwrap();
        world.look().await;
        assert_eq!(world.lane.explain(), (LaneState::Paused, 5, "audit".into()));
        assert!(world.coordinator.health.is_up() && !world.coordinator.health.has_forgotten());
        assert_eq!(world.coordinator.replicas.load(Relaxed), 1, "this one, by its snapshot");
        lanes::resume(&mut world.connection, &keys, "acme", &by, 6).await.unwrap();
        world.look().await;
        assert!(world.lane.is_open());
    }

    #[tokio::test]
    async fn a_topic_that_was_stopped_here_is_told_to_redis_and_what_redis_says_is_obeyed() {
        let mut world = World::new().await;
        world.set_epoch("e1").await;
        let storms = world.coordinator.storms.clone();
        storms.stop(Storm { topic: "t".into(), why: "100 records in a row".into(), ..Storm::default() });
        world.look().await;
        let keys = Keys::new("pb");
        let (found, ..) = crate::operate::storms::read_storms(&mut world.connection, &keys).await.unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["t"]);
        assert!(storms.unsaved().is_empty());

        // The store is flushed, and unblocked later.
        let mut del = ::redis::cmd("DEL");
        let () = del.arg("pb:epoch").arg("pb:storms").query_async(&mut world.connection).await.unwrap();
        world.look().await;
        assert!(storms.is_stopped("t"));
        world.set_epoch("e2").await;
        world.look().await;
        let by = By::new(Via::Cli, "li", "mended");
        let released = crate::operate::storms::release(&mut world.connection, &keys, "t", Some(50), &by, 7).await;
        assert!(released.unwrap(), "the store has it again");
        assert!(storms.is_stopped("t"));
        world.look().await;
        assert!(!storms.is_stopped("t"));

        // It takes its share of what may pass when it needs it.
        assert_eq!(storms.pass("t"), Pass::Asks);
        world.look().await;
        assert_eq!(storms.pass("t"), Pass::Passes);
        let (.., left) = crate::operate::storms::read_storms(&mut world.connection, &keys).await.unwrap();
        assert_eq!(left, [("t".into(), 39)].into());
    }

    #[tokio::test]
    async fn a_connection_that_the_server_closed_between_two_looks_is_no_trouble() {
        let mut world = World::new().await;
        world.set_epoch("e1").await;
        let (port, open) = crate::redis::batcher::tests::in_front_of(&world.store);
        let proxied = ::redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
        world.memory.connection = Some(crate::redis::connect(&proxied).await.unwrap());
        open.lock().unwrap().drain(..).for_each(|stream| stream.shutdown(std::net::Shutdown::Both).unwrap());
        world.coordinator.look_anew(&mut world.memory).await.unwrap();
        assert!(world.coordinator.health.is_up());
        let nobody = ::redis::Client::open("redis://127.0.0.1:1").unwrap();
        world.coordinator.client = nobody;
        world.memory.connection = None;
        assert!(world.coordinator.look_anew(&mut world.memory).await.is_err(), "nobody answers at all");
    }

    #[tokio::test]
    async fn a_halt_of_this_replica_reaches_redis_before_what_stands_there_is_obeyed() {
        let mut world = World::new().await;
        world.set_epoch("e1").await;
        world.lane.halt("refused");
        world.look().await;
        assert!(!world.lane.is_open(), "redis does not know of it yet");
        world.to_halts.send(Halted { index: 0, reason: "refused".into(), by_hand: false }).unwrap();
        let halted = world.coordinator.halts.try_recv().unwrap();
        world.coordinator.halted(&mut world.memory.switches, halted);
        world.look().await;
        let halted = world.switches().await["acme"].halted.clone().unwrap();
        assert_eq!((&*halted.reason, &*halted.who), ("refused", "worker r1"));
        assert!(!world.lane.is_open() && world.memory.switches.pending.is_empty());
        let by = By::new(Via::Cli, "li", "mended");
        lanes::resume(&mut world.connection, &Keys::new("pb"), "acme", &by, 6).await.unwrap();
        world.look().await;
        assert!(world.lane.is_open(), "now that it is known, a resume is one");
    }

    #[tokio::test]
    async fn a_store_without_its_epoch_has_forgotten_and_gets_the_switches_back_with_the_next_one() {
        let mut world = World::new().await;
        world.set_epoch("e1").await;
        let (keys, by) = (Keys::new("pb"), By::new(Via::Cli, "li", "audit"));
        lanes::pause(&mut world.connection, &keys, "acme", &by, 5).await.unwrap();
        world.look().await;
        world.flush().await;
        world.look().await;
        assert!(world.coordinator.health.hold().is_some_and(|why| why.contains("unblock dedupe")));
        assert!(!world.lane.is_open(), "lanes keep their last state");
        world.set_epoch("e2").await;
        world.look().await;
        assert!(!world.coordinator.health.has_forgotten());
        assert_eq!(world.switches().await["acme"].paused.as_ref().unwrap().reason, "audit");

        // The store was flushed and unblocked between two checks: only the new id shows it.
        world.flush().await;
        world.set_epoch("e3").await;
        world.look().await;
        assert!(world.switches().await.contains_key("acme") && !world.lane.is_open());
        // The end of a first start is not a flush.
        let mut world = World::new().await;
        world.set_epoch("starting").await;
        world.lane.switches.obey(&crate::operate::Switches {
            paused: Some(crate::operate::Switch::pause("old", "", 1)),
            halted: None,
        });
        world.memory.epoch = Some("starting".into());
        world.set_epoch("e1").await;
        world.look().await;
        assert!(world.switches().await.is_empty());
    }

    #[tokio::test]
    async fn a_resume_is_newer_than_what_was_switched_before_the_store_forgot() {
        let (keys, by) = (Keys::new("pb"), By::new(Via::Cli, "li", "why"));
        // The store has forgotten its claims, and this replica has seen it or not; or it was unblocked just now.
        for (seen, unblocked) in [(true, false), (false, false), (false, true)] {
            let mut world = World::new().await;
            world.set_epoch("e1").await;
            lanes::resume(&mut world.connection, &keys, "acme", &by, 1).await.unwrap();
            lanes::pause(&mut world.connection, &keys, "acme", &by, 5).await.unwrap();
            world.look().await;
            assert!(!world.lane.is_open());
            world.flush().await;
            world.look().await;
            assert!(!world.lane.is_open(), "lanes keep their last state");
            if unblocked {
                world.set_epoch("e2").await;
            }
            lanes::resume(&mut world.connection, &keys, "acme", &by, 7).await.unwrap();
            if seen {
                world.look().await;
                assert!(world.lane.is_open(), "an account that delivers without Redis does not wait for the epoch");
            }
            world.set_epoch("e2").await;
            world.look().await;
            assert!(world.lane.is_open() && world.switches().await.is_empty(), "seen {seen}, unblocked {unblocked}");
            // A switch that is set after the flush stays, through a further flush too.
            world.lane.halt("refused");
            world
                .coordinator
                .halted(&mut world.memory.switches, Halted { index: 0, reason: "refused".into(), by_hand: false });
            world.look().await;
            world.flush().await;
            world.set_epoch("e3").await;
            world.look().await;
            assert!(world.switches().await["acme"].halted.is_some() && !world.lane.is_open());
        }
    }

    #[tokio::test]
    async fn a_halt_of_one_lane_of_an_account_closes_the_other_one_until_both_are_resumed() {
        let mut world = World::new().await;
        world.set_epoch("e1").await;
        let bounds = Intake { max_in_flight: 100, max_in_flight_bytes: 1 << 20, drain_timeout: Duration::ZERO };
        let account = world.lane.account().clone();
        let calls = Arc::new(LaneHandle::new(1, account, unbounded_channel().0, &bounds));
        world.lane.set_calls(calls.clone());
        world.coordinator.lanes = Arc::new(Lanes::new(vec![world.lane.clone(), calls.clone()], Vec::new()));
        world.look().await;
        calls.halt("refused");
        world
            .coordinator
            .halted(&mut world.memory.switches, Halted { index: 0, reason: "refused".into(), by_hand: false });
        assert!(!world.lane.is_open());
        world.look().await;
        assert!(world.switches().await["acme"].halted.is_some() && !world.lane.is_open() && !calls.is_open());
        lanes::resume(&mut world.connection, &Keys::new("pb"), "acme", &By::new(Via::Cli, "li", "mended"), 6)
            .await
            .unwrap();
        world.look().await;
        assert!(world.lane.is_open() && calls.is_open());
    }

    #[tokio::test]
    async fn a_halt_from_before_a_resume_does_not_undo_it() {
        let mut world = World::new().await;
        world.set_epoch("e1").await;
        world.look().await;
        world.lane.halt("refused");
        world
            .coordinator
            .halted(&mut world.memory.switches, Halted { index: 0, reason: "refused".into(), by_hand: false });
        // Redis does not know the halt yet.
        lanes::resume(&mut world.connection, &Keys::new("pb"), "acme", &By::new(Via::Cli, "li", "mended"), 6)
            .await
            .unwrap();
        world.look().await;
        assert!(world.lane.is_open() && world.switches().await.is_empty());
        assert!(world.memory.switches.pending.is_empty());
    }

    #[tokio::test]
    async fn a_clock_that_is_not_that_of_redis_holds_the_worker_until_it_is_set() {
        const MINUTE_MS: i64 = 60_000;
        let mut world = World::new().await;
        world.set_epoch("e1").await;
        for (set_by, warns, holds) in [(0, false, false), (-2, true, false), (-10, true, true), (10, true, true)] {
            crate::clock::set_by(set_by * MINUTE_MS);
            world.look().await;
            let health = &world.coordinator.health;
            assert_eq!(health.clock.warning().is_some(), warns, "{set_by} min");
            assert_eq!((health.hold().is_some(), health.trouble().is_some()), (holds, holds), "{set_by} min");
            assert_eq!(health.store_trouble(), None, "it is not the store's fault");
        }
        // The clock is compared not only once a second: a value that is judged in between must not be judged by a wrong
        // clock.
        crate::clock::set_by(0);
        assert_eq!(world.coordinator.health.hold(), None);
        crate::clock::set_by(-60 * MINUTE_MS);
        let why = world.coordinator.health.hold().unwrap();
        crate::clock::set_by(0);
        assert!(why.contains("60 min behind") && why.contains("NTP"), "{why}");
        // A store inside the process has no clock of its own: a difference means only that the system slept.
        let mut world = World::new().await;
        world.coordinator.own_store = true;
        crate::clock::set_by(-60 * MINUTE_MS);
        world.look().await;
        let hold = world.coordinator.health.clock.trouble();
        crate::clock::set_by(0);
        assert_eq!(hold, None);
    }

    #[tokio::test]
    async fn the_age_of_the_oldest_open_event_is_not_what_the_wall_clock_is_set_to() {
        use crate::delivery::progress::{Info, Open};
        use crate::kafka::consumer::Work as _;
        let mut world = World::new().await;
        let now = crate::clock::now_ms();
        let open = Open::received(now);
        open.info
            .set(Info {
                account: 0,
                lane: None,
                trans_id: "t".into(),
                since_ms: now - 60_000,
                bytes: 0,
                stored_ms: None,
            })
            .unwrap();
        let view = Arc::new(ConsumerView::default());
        let oldest_by_group = [(0, open.since_steady_ms())].into();
        view.set(Snapshot { oldest_by_group, ..Snapshot::default() });
        let handle = Arc::new(ConsumerHandle::stub().0);
        world.coordinator.consumers = vec![Watched { name: "intake", view, handle }];
        for set_by_ms in [0, -3_600_000, 3_600_000] {
            crate::clock::set_by(set_by_ms);
            world.coordinator.show();
            crate::clock::set_by(0);
            let age = world.coordinator.metrics.account(0).oldest_open_age.get();
            assert!((60.0..600.0).contains(&age), "{age} s, the clock set by {set_by_ms} ms");
        }
    }

    #[tokio::test]
    async fn another_primary_has_what_is_recent_written_again() {
        let mut world = World::new().await;
        let judge = |world: &mut World, id: &str| {
            let facts = Facts { replication_id: id.into(), ..Facts::default() };
            world.coordinator.judge_primary(&mut world.memory, &facts);
            ((world.told)().len(), world.coordinator.health.primary().to_string())
        };
        let id = |id: &str| id.to_owned();
        assert_eq!(judge(&mut world, "a"), (0, id("a")), "the first one seen");
        assert_eq!(judge(&mut world, "a"), (0, id("a")));
        assert_eq!(judge(&mut world, ""), (0, id("a")), "one that does not say");
        world.memory.facts_at = Some(Instant::now());
        assert_eq!(judge(&mut world, "b"), (1, id("b")));
        assert!(world.memory.facts_at.is_none(), "and it is looked at closely");
        assert_eq!(judge(&mut world, "b"), (0, id("b")));
        // A confirmation that was written before the old primary was last seen does not become safer with the time that
        // has passed since.
        let seen = Instant::now();
        world.memory.primary_at = Some(seen);
        let facts = Facts { replication_id: "c".into(), ..Facts::default() };
        world.coordinator.judge_primary(&mut world.memory, &facts);
        assert_eq!((world.told)(), [seen]);
    }

    #[tokio::test]
    async fn a_replica_that_was_seen_counts_for_an_hour() {
        let mut world = World::new().await;
        for (now, most) in [(0, 1), (3, 3), (2, 3)] {
            world.coordinator.count_replicas(&mut world.memory, now);
            assert_eq!(world.coordinator.replicas.load(Relaxed), most);
        }
        let Some(long_ago) = Instant::now().checked_sub(REPLICAS_FOR + Duration::from_secs(1)) else { return };
        world.memory.seen.iter_mut().take(2).for_each(|(at, _)| *at = long_ago);
        world.coordinator.count_replicas(&mut world.memory, 1);
        assert_eq!(world.coordinator.replicas.load(Relaxed), 2);
    }
}

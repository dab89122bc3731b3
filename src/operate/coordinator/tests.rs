use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use ::redis::aio::MultiplexedConnection;

use super::*;
use crate::account::Halted;
use crate::account::{Account, Intake};
use crate::delivery::progress::{ConsumerHandle, ConsumerView, Info, Open};
use crate::embedded::store::Store;
use crate::kafka::consumer::{Counts, Oldest, Unplaced, Work as _};
use crate::lane::handle::LaneHandle;
use crate::lane::handle::lanes::Lanes;
use crate::lane::threads::Runtimes;
use crate::metrics::Metrics;
use crate::metrics::{LaneState, Setup};
use crate::operate::audit::Via;
use crate::operate::{By, ConsumerSnapshot, Keys};
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

    /// One consumer, with one record that is not finished.
    fn has_unfinished(&mut self, trans_id: &str, age_ms: i64, counts: Counts) {
        let now_ms = crate::clock::now_ms();
        let open = Open::received(now_ms);
        let (trans_id, since_ms) = (trans_id.into(), now_ms - age_ms);
        open.info.set(Info { account: 0, lane: None, trans_id, since_ms, bytes: 0, stored_ms: None }).unwrap();
        let view = Arc::new(ConsumerView::default());
        let oldest_by_group = [(0, open.since_steady_ms())].into();
        let oldest = Some(Oldest { offset: 5, work: open.shown() });
        let partitions = vec![PartitionView { oldest, ..PartitionView::stub("t") }];
        view.set(Snapshot { counts, oldest_by_group, partitions });
        let handle = Arc::new(ConsumerHandle::stub().0);
        self.coordinator.consumers = vec![Watched { name: "intake", view, handle }];
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
    assert_eq!(released.unwrap(), crate::operate::storms::Release::ReadOn, "the store has it again");
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
async fn a_shared_key_of_another_type_stops_what_needs_it_and_no_account() {
    let mut world = World::new().await;
    world.set_epoch("e1").await;
    let (keys, by) = (Keys::new("pb"), By::new(Via::Cli, "li", "audit"));
    lanes::pause(&mut world.connection, &keys, "acme", &by, 5).await.unwrap();
    world.look().await;
    for key in ["pb:lanes", "pb:storms", "pb:replicas"] {
        let () = ::redis::cmd("SET").arg(key).arg("x").query_async(&mut world.connection).await.unwrap();
    }
    world.memory.snapshot_at = None;
    world.look().await;
    assert!(world.coordinator.health.is_up() && !world.lane.is_open(), "what was known stays in force");
    let named = ["pb:lanes", "pb:replicas", "pb:storms"];
    assert_eq!(world.coordinator.health.foreign.names(), named);
    assert_eq!(world.coordinator.snapshot().foreign_keys, named);
    let () = ::redis::cmd("DEL").arg(&named).query_async(&mut world.connection).await.unwrap();
    world.look().await;
    assert!(!world.lane.is_open(), "nobody has resumed it");
    assert_eq!(world.switches().await["acme"].paused.as_ref().unwrap().reason, "audit");
    lanes::resume(&mut world.connection, &keys, "acme", &by, 6).await.unwrap();
    world.look().await;
    assert!(world.lane.is_open());
}

#[tokio::test]
async fn an_epoch_of_another_type_is_a_lost_one() {
    let mut world = World::new().await;
    let () = ::redis::cmd("LPUSH").arg("pb:epoch").arg("x").query_async(&mut world.connection).await.unwrap();
    assert!(world.coordinator.look(&mut world.memory).await.is_err());
    let health = world.coordinator.health.clone();
    assert!(health.has_forgotten() && health.foreign.names() == ["pb:epoch"]);
    let () = ::redis::cmd("DEL").arg("pb:epoch").query_async(&mut world.connection).await.unwrap();
    world.look().await;
    assert!(health.has_forgotten(), "an operator has to say so");
    world.set_epoch("e2").await;
    world.look().await;
    assert!(!health.has_forgotten());
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
    world
        .lane
        .switches
        .obey(&crate::operate::Switches { paused: Some(crate::operate::Switch::pause("old", "", 1)), halted: None });
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
    world.coordinator.halted(&mut world.memory.switches, Halted { index: 0, reason: "refused".into(), by_hand: false });
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
    world.coordinator.halted(&mut world.memory.switches, Halted { index: 0, reason: "refused".into(), by_hand: false });
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
    let mut world = World::new().await;
    world.has_unfinished("t", 60_000, Counts::default());
    for set_by_ms in [0, -3_600_000, 3_600_000] {
        crate::clock::set_by(set_by_ms);
        world.coordinator.show();
        let shown = world.coordinator.snapshot().partitions[0].age_ms.unwrap();
        crate::clock::set_by(0);
        let age = world.coordinator.metrics.account(0).oldest_open_age.get();
        assert!((60.0..600.0).contains(&age), "{age} s, the clock set by {set_by_ms} ms");
        assert!((60_000..600_000).contains(&shown), "{shown} ms, the clock set by {set_by_ms} ms");
    }
}

#[tokio::test]
async fn a_snapshot_counts_what_no_metric_shows_and_masks_what_is_personal() {
    let mut world = World::new().await;
    let last_error = Some("refused: call 13912345678".to_owned());
    let unconfirmed_for = Some(Duration::from_secs(30));
    let counts = Counts { joined: true, commit_errors: 1, repeats: 2, drains_expired: 3, last_error, unconfirmed_for };
    world.has_unfinished("order-13912345678", 0, counts);
    let snapshot = world.coordinator.snapshot();
    assert_eq!(snapshot.partitions[0].trans_id.as_deref(), Some("order-139****5678"));
    let counted = ConsumerSnapshot {
        name: "intake".into(),
        commit_errors: 1,
        repeats: 2,
        drains_expired: 3,
        unconfirmed_ms: Some(30_000),
        last_error: Some("refused: call 139****5678".into()),
    };
    assert_eq!(snapshot.consumers, [counted]);
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

//! Lane switches, snapshots, orders and the commands on them, against a real Redis at `POSTBACK_TEST_REDIS`.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use std::sync::Arc;

use clap::Command;
use postback::cli::source::Known;
use postback::cli::{accounts, blocked, unblock};
use postback::operate::audit::{Via, waiting};
use postback::operate::orders::{
    Epoch, add_unplaced, give_order, placed, read_orders, read_unplaced, renew_epoch, take_order,
};
use postback::operate::snapshot::{read_snapshots, remove_snapshot, write_snapshot};
use postback::operate::{By, Keys, LaneLoad, LaneSnapshot, PartitionRow, Place, ReplicaSnapshot, Target, lanes};
use postback::redis::Config;
use postback::redis::foreign::ForeignKeys;
use postback::secret::SecretString;
use redis::aio::MultiplexedConnection;

fn url() -> String {
    let address = std::env::var("POSTBACK_TEST_REDIS").expect("POSTBACK_TEST_REDIS is not set: run tests/run");
    if address.contains("://") { address } else { format!("redis://{address}") }
}

/// A connection, and keys that only this test uses.
async fn fresh() -> (MultiplexedConnection, Keys, Config) {
    let prefix = format!("test-{:016x}", rand::random::<u64>());
    let client = redis::Client::open(url()).unwrap();
    let connection = client.get_multiplexed_async_connection().await.expect("POSTBACK_TEST_REDIS answers");
    let config = Config {
        url: SecretString::new(url()),
        prefix: prefix.clone(),
        ca_file: String::new(),
        token_key: SecretString::default(),
    };
    (connection, Keys::new(&prefix), config)
}

const BY_HAND: lanes::Ends = lanes::Ends::ByHand;

fn by(why: &str) -> By {
    By::new(Via::Cli, "li", why)
}

#[tokio::test]
async fn pause_and_halt_do_not_lose_each_other_and_resume_clears_both() {
    let (mut c, keys, _) = fresh().await;
    lanes::pause(&mut c, &keys, "acme", &by("review"), 5).await.unwrap();
    assert!(lanes::halt(&mut c, &keys, "acme", &by("bad key"), BY_HAND, None, 6).await.unwrap());
    assert!(!lanes::halt(&mut c, &keys, "acme", &by("bad key again"), BY_HAND, None, 7).await.unwrap());
    let lane = lanes::read_lanes(&mut c, &keys).await.unwrap().remove("acme").unwrap();
    assert_eq!(lane.paused.unwrap().reason, "review");
    let halted = lane.halted.unwrap();
    assert_eq!((halted.reason.as_str(), halted.since_ms), ("bad key", 6));
    lanes::resume(&mut c, &keys, "acme", &by("fixed"), 8).await.unwrap();
    assert!(lanes::read_lanes(&mut c, &keys).await.unwrap().is_empty());
    let trail = waiting(&mut c, &keys).await.unwrap();
    let what: Vec<_> = trail.iter().map(|e| (e.what.as_str(), e.why.as_str(), e.account.as_deref())).collect();
    let want =
        [("pause", "review", Some("acme")), ("halt", "bad key", Some("acme")), ("resume", "fixed", Some("acme"))];
    assert_eq!(what, want);
}

#[tokio::test]
async fn replicas_that_race_keep_every_flag_and_audit_one_halt() {
    let (c, keys, _) = fresh().await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..20 {
        let (mut c, keys) = (c.clone(), keys.clone());
        tasks.spawn(async move {
            if n % 2 == 0 {
                lanes::pause(&mut c, &keys, "acme", &by("p"), n).await.unwrap();
            } else {
                lanes::halt(&mut c, &keys, "acme", &by("h"), BY_HAND, None, n).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    let mut c = c;
    let lane = lanes::read_lanes(&mut c, &keys).await.unwrap().remove("acme").unwrap();
    assert!(lane.paused.is_some() && lane.halted.is_some());
    let trail = waiting(&mut c, &keys).await.unwrap();
    assert_eq!(trail.iter().filter(|e| e.what == "halt").count(), 1);
    assert_eq!(trail.iter().filter(|e| e.what == "pause").count(), 10);
}

#[tokio::test]
async fn a_store_that_forgot_gets_the_switches_back_and_a_newer_one_wins() {
    let (mut c, keys, _) = fresh().await;
    lanes::pause(&mut c, &keys, "a", &by("old"), 1).await.unwrap();
    lanes::halt(&mut c, &keys, "b", &by("old"), BY_HAND, None, 1).await.unwrap();
    lanes::resume(&mut c, &keys, "c", &by("older"), 1).await.unwrap();
    lanes::halt(&mut c, &keys, "d", &by("old"), BY_HAND, None, 1).await.unwrap();
    let (known, seen) = lanes::read_switches(&mut c, &keys).await.unwrap();
    let () = redis::cmd("DEL").arg(keys.lanes()).query_async(&mut c).await.unwrap();
    lanes::pause(&mut c, &keys, "a", &by("new"), 2).await.unwrap();
    lanes::resume(&mut c, &keys, "d", &by("new"), 2).await.unwrap();
    lanes::restore(&mut c, &keys, &known, &seen).await.unwrap();
    let now = lanes::read_lanes(&mut c, &keys).await.unwrap();
    assert_eq!(now["a"].paused.as_ref().unwrap().reason, "new");
    assert_eq!(now["b"], known["b"]);
    assert!(!now.contains_key("d"), "what was resumed since stays so");
    assert!(!lanes::halt(&mut c, &keys, "d", &by("older than the resume"), BY_HAND, None, 1).await.unwrap());
    lanes::restore(&mut c, &keys, &lanes::SwitchesByAccount::new(), &seen).await.unwrap();
}

#[tokio::test]
async fn snapshots_expire_and_their_ids_are_forgotten() {
    let (mut c, keys, _) = fresh().await;
    for id in ["b", "a"] {
        let snapshot = ReplicaSnapshot { id: id.into(), at_ms: 3, ..ReplicaSnapshot::default() };
        write_snapshot(&mut c, &keys, &snapshot).await.unwrap();
    }
    let ids = |all: Vec<ReplicaSnapshot>| all.into_iter().map(|s| s.id).collect::<Vec<_>>();
    assert_eq!(ids(read_snapshots(&mut c, &keys, &ForeignKeys::default()).await.unwrap()), ["a", "b"]);
    let left: i64 = redis::cmd("PTTL").arg(keys.replica("a")).query_async(&mut c).await.unwrap();
    assert!((10_000..=15_000).contains(&left), "{left}");
    let () = redis::cmd("DEL").arg(keys.replica("a")).query_async(&mut c).await.unwrap();
    assert_eq!(ids(read_snapshots(&mut c, &keys, &ForeignKeys::default()).await.unwrap()), ["b"]);
    let members: Vec<String> = redis::cmd("SMEMBERS").arg(keys.replicas()).query_async(&mut c).await.unwrap();
    assert_eq!(members, ["b"]);
    remove_snapshot(&mut c, &keys, "b").await.unwrap();
    assert!(read_snapshots(&mut c, &keys, &ForeignKeys::default()).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_order_that_was_replaced_is_not_taken_by_who_read_the_old_one() {
    let (mut c, keys, _) = fresh().await;
    let place: Place = "conversions/3".parse().unwrap();
    give_order(&mut c, &keys, &place, Target::Earliest, &by("r"), 1).await.unwrap();
    let (read, old_text) = read_orders(&mut c, &keys).await.unwrap().remove(&place).unwrap();
    assert_eq!((read.to, read.reason.as_str(), read.who.as_str(), read.at_ms), (Target::Earliest, "r", "li", 1));
    give_order(&mut c, &keys, &place, Target::Offset(7), &by("r"), 2).await.unwrap();
    assert!(!take_order(&mut c, &keys, &place, &old_text).await.unwrap());
    let (read, new_text) = read_orders(&mut c, &keys).await.unwrap().remove(&place).unwrap();
    assert_eq!(read.to, Target::Offset(7));
    assert!(take_order(&mut c, &keys, &place, &new_text).await.unwrap());
    assert!(!take_order(&mut c, &keys, &place, &new_text).await.unwrap());
    assert!(read_orders(&mut c, &keys).await.unwrap().is_empty());
    let trail = waiting(&mut c, &keys).await.unwrap();
    assert_eq!(trail[1].detail.as_deref(), Some("conversions/3 to 7"));
}

#[tokio::test]
async fn an_epoch_is_renewed_only_where_it_is_missing() {
    let (mut c, keys, _) = fresh().await;
    let Epoch::Renewed(id) = renew_epoch(&mut c, &keys, &by("new Redis"), 1).await.unwrap() else { panic!("missing") };
    assert_eq!(renew_epoch(&mut c, &keys, &by("again"), 2).await.unwrap(), Epoch::Present(id));
    let () = redis::cmd("SET").arg(keys.epoch()).arg("starting").query_async(&mut c).await.unwrap();
    assert_eq!(renew_epoch(&mut c, &keys, &by("again"), 3).await.unwrap(), Epoch::Starting);
    assert_eq!(waiting(&mut c, &keys).await.unwrap().len(), 1);
}

fn parse<T: clap::Args + clap::FromArgMatches>(args: &[&str]) -> T {
    let matches = T::augment_args(Command::new("x").no_binary_name(true)).try_get_matches_from(args).unwrap();
    T::from_arg_matches(&matches).unwrap()
}

#[tokio::test]
async fn the_commands_show_and_change_what_stands_in_redis() {
    let (mut c, keys, redis) = fresh().await;
    let accounts: [(&'static str, Arc<str>); 2] = [("qihoo360", "acme-ps".into()), ("baizhu", "acme-bz".into())];
    let known = Known { redis: &redis, accounts: &accounts, admin: "http://127.0.0.1:1", kafka: None };
    let snapshot = ReplicaSnapshot {
        id: "w1".into(),
        at_ms: 1,
        lanes: vec![LaneSnapshot {
            account: "acme-ps".into(),
            load: LaneLoad { state: "flowing".into(), open: 9, ..Default::default() },
            ..Default::default()
        }],
        partitions: vec![
            PartitionRow {
                topic: "conversions".into(),
                partition: 3,
                parked: Some("lost".into()),
                ..Default::default()
            },
            PartitionRow { topic: "conversions".into(), partition: 4, ..Default::default() },
        ],
        ..Default::default()
    };
    write_snapshot(&mut c, &keys, &snapshot).await.unwrap();

    let mut out = Vec::new();
    let pause: accounts::Args = parse(&["pause", "acme-ps", "--reason", "review", "--who", "li"]);
    accounts::run(&pause, &known, &mut out).await.unwrap();
    let list: accounts::Args = parse(&["list", "--json"]);
    let mut out = Vec::new();
    accounts::run(&list, &known, &mut out).await.unwrap();
    let rows: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(rows[0]["state"], "paused");
    assert_eq!((rows[0]["why"].as_str(), rows[0]["who"].as_str()), (Some("review"), Some("li")));
    assert_eq!(rows[0]["replicas"][0]["open"], 9);
    assert_eq!((rows[1]["account"].as_str(), rows[1]["state"].as_str()), (Some("acme-bz"), Some("flowing")));

    let unknown: accounts::Args = parse(&["resume", "acme-sp"]);
    let error = accounts::run(&unknown, &known, &mut Vec::new()).await.unwrap_err().to_string();
    assert!(error.contains("did you mean `acme-ps`?"), "{error}");
    let no_reason: accounts::Args = parse(&["pause", "acme-ps"]);
    accounts::run(&no_reason, &known, &mut Vec::new()).await.unwrap();
    let resume: accounts::Args = parse(&["resume", "acme-ps"]);
    accounts::run(&resume, &known, &mut Vec::new()).await.unwrap();
    assert!(lanes::read_lanes(&mut c, &keys).await.unwrap().is_empty());

    let mut out = Vec::new();
    blocked::run(&parse(&["--json"]), &known, &mut out).await.unwrap();
    let report: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(report["partitions"][0]["parked"], "lost");
    assert_eq!(report["lanes"].as_array().unwrap().len(), 2);
    let mut out = Vec::new();
    blocked::run(&parse(&[]), &known, &mut out).await.unwrap();
    assert!(String::from_utf8(out).unwrap().contains("PARKED: lost"));

    let offsets = |partition: &str| -> unblock::Args {
        parse(&["offsets", "--topic", "conversions", "--partition", partition, "--to", "earliest", "--reason", "r"])
    };
    unblock::run(&offsets("3"), &known, &mut Vec::new()).await.unwrap();
    let error = unblock::run(&offsets("4"), &known, &mut Vec::new()).await.unwrap_err().to_string();
    assert!(error.contains("is not parked"), "{error}");
    let orders = read_orders(&mut c, &keys).await.unwrap();
    assert_eq!(orders.keys().map(ToString::to_string).collect::<Vec<_>>(), ["conversions/3"]);

    let mut out = Vec::new();
    unblock::run(&parse(&["dedupe", "--reason", "new Redis"]), &known, &mut out).await.unwrap();
    assert!(String::from_utf8(out).unwrap().starts_with("accounts send again"));
}

#[tokio::test]
async fn a_partition_that_lost_its_offset_is_remembered_until_it_is_placed() {
    let (mut c, keys, _) = fresh().await;
    let places: Vec<Place> = vec!["conversions/3".parse().unwrap(), "a.b/0".parse().unwrap()];
    add_unplaced(&mut c, &keys, &places).await.unwrap();
    let known = read_unplaced(&mut c, &keys).await.unwrap();
    assert_eq!(known.into_iter().collect::<Vec<_>>(), [("a.b".to_owned(), 0), ("conversions".to_owned(), 3)]);
    placed(&mut c, &keys, &places[0]).await.unwrap();
    assert_eq!(read_unplaced(&mut c, &keys).await.unwrap().len(), 1);
}

use super::*;
use crate::embedded::store::Store;
use crate::operate::snapshot::{read_snapshots, write_snapshot};
use crate::operate::{By, ReplicaSnapshot, audit, lanes, orders, storms};

async fn connection(store: &Store) -> MultiplexedConnection {
    let client = crate::redis::Config::stub(store.url()).client().unwrap();
    crate::redis::connect(&client).await.unwrap()
}

async fn run(c: &mut MultiplexedConnection, words: &[&[u8]]) {
    let mut cmd = ::redis::Cmd::new();
    words.iter().for_each(|word| _ = cmd.arg(*word));
    let _: Value = cmd.query_async(c).await.unwrap();
}

#[tokio::test]
async fn every_shared_key_of_another_type_is_named_and_no_key_of_the_worker_is() {
    let store = Store::start().unwrap();
    let (mut c, keys) = (connection(&store).await, Keys::new("pb"));
    let snapshot = ReplicaSnapshot { id: "a".into(), ..ReplicaSnapshot::default() };
    write_snapshot(&mut c, &keys, &snapshot).await.unwrap();
    lanes::pause(&mut c, &keys, "acme", &By::new(audit::Via::Cli, "li", "why"), 1).await.unwrap();
    run(&mut c, &[b"ZADD", b"pb:replays", b"1", b"r1"]).await;
    run(&mut c, &[b"HSET", b"pb:replay:r1", b"state", b"planned"]).await;
    let foreign = ForeignKeys::default();
    name(&mut c, &keys, &foreign).await.unwrap();
    assert_eq!(foreign.names(), [""; 0]);
    run(&mut c, &[b"SADD", b"pb:replicas", b"list", b"garbage", b"\xff"]).await;
    run(&mut c, &[b"SET", b"pb:replica:garbage", b"\xff\xfe"]).await;
    run(&mut c, &[b"ZADD", b"pb:replays", b"2", b"r2"]).await;
    let wrong = [
        "audit:out",
        "audit:turn",
        "epoch",
        "lanes",
        "letter_topic",
        "orders",
        "positions",
        "replay:lock",
        "replay:r1:outcomes",
        "replay:r1:places",
        "replay:r2",
        "replay:running",
        "replica:list",
        "storms",
        "topics",
        "unplaced",
    ];
    for key in wrong {
        let key = format!("pb:{key}");
        run(&mut c, &[b"DEL", key.as_bytes()]).await;
        run(&mut c, &[b"LPUSH", key.as_bytes(), b"x"]).await;
    }
    name(&mut c, &keys, &foreign).await.unwrap();
    let mut wanted: Vec<String> = wrong.iter().chain(&["replica:garbage"]).map(|key| format!("pb:{key}")).collect();
    wanted.sort();
    assert_eq!(foreign.names(), wanted);
    for key in ["pb:replicas", "pb:replays"] {
        let (foreign, key) = (ForeignKeys::default(), key.as_bytes());
        run(&mut c, &[b"DEL", key]).await;
        run(&mut c, &[b"SET", key, b"x"]).await;
        name(&mut c, &keys, &foreign).await.unwrap();
        assert!(foreign.names().contains(&crate::redis::text(key)));
    }
}

#[tokio::test]
async fn a_snapshot_that_no_replica_wrote_hides_no_other_one() {
    let store = Store::start().unwrap();
    let (mut c, keys, foreign) = (connection(&store).await, Keys::new("pb"), ForeignKeys::default());
    for id in ["a", "b"] {
        let snapshot = ReplicaSnapshot { id: id.into(), ..ReplicaSnapshot::default() };
        write_snapshot(&mut c, &keys, &snapshot).await.unwrap();
    }
    run(&mut c, &[b"SADD", b"pb:replicas", b"gone", b"list", b"garbage", b"\xff"]).await;
    run(&mut c, &[b"LPUSH", b"pb:replica:list", b"x"]).await;
    run(&mut c, &[b"SET", b"pb:replica:garbage", b"\xff\xfe"]).await;
    let found = read_snapshots(&mut c, &keys, &foreign).await.unwrap();
    assert_eq!(found.iter().map(|snapshot| snapshot.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(foreign.names(), ["pb:replica:garbage", "pb:replica:list"]);
    let ids = crate::redis::members(&mut c, "pb:replicas").await.unwrap();
    assert!(!ids.contains(&"gone".to_owned()) && ids.contains(&"list".to_owned()), "{ids:?}");
}

#[tokio::test]
async fn an_entry_that_is_no_text_hides_no_other_one() {
    let store = Store::start().unwrap();
    let (mut c, keys, by) = (connection(&store).await, Keys::new("pb"), By::new(audit::Via::Cli, "li", "why"));
    lanes::pause(&mut c, &keys, "acme", &by, 1).await.unwrap();
    let place = orders::Place { topic: "t".into(), partition: 1 };
    orders::give_order(&mut c, &keys, &place, orders::Target::Latest, &by, 2).await.unwrap();
    orders::add_unplaced(&mut c, &keys, std::slice::from_ref(&place)).await.unwrap();
    for key in ["pb:lanes", "pb:audit:out", "pb:storms", "pb:orders"] {
        run(&mut c, &[b"HSET", key.as_bytes(), b"\xff", b"\xfe"]).await;
    }
    run(&mut c, &[b"HSET", b"pb:lanes", b"other:paused", b"\xfe"]).await;
    run(&mut c, &[b"SADD", b"pb:unplaced", b"\xff"]).await;
    let switches = lanes::read_lanes(&mut c, &keys).await.unwrap();
    assert_eq!(switches["acme"].paused.as_ref().unwrap().reason, "why");
    assert!(switches["other"].closed(), "a switch that cannot be read is on");
    assert_eq!(audit::waiting(&mut c, &keys).await.unwrap().len(), 2);
    assert!(storms::read_storms(&mut c, &keys).await.unwrap().0.is_empty());
    assert_eq!(orders::read_orders(&mut c, &keys).await.unwrap().keys().collect::<Vec<_>>(), [&place]);
    assert_eq!(orders::read_unplaced(&mut c, &keys).await.unwrap(), [("t".to_owned(), 1)].into());
}

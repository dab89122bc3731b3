use super::*;
use crate::embedded::broker::Broker;
use crate::embedded::store::Store;
use crate::kafka;
use crate::operate::audit::{AuditRecord, By, Change, Via, push, trail, waiting};

struct World {
    broker: Broker,
    connection: MultiplexedConnection,
    keys: Keys,
    config: kafka::Config,
    producer: Producer,
    _store: Store,
}

impl World {
    async fn new() -> Self {
        let store = Store::start().unwrap();
        let client = crate::redis::Config::stub(store.url()).client().unwrap();
        let broker = Broker::start(&[("postback.audit".into(), 1)]).unwrap();
        let config = kafka::Config::stub(broker.address(), &[]);
        Self {
            connection: crate::redis::connect(&client).await.unwrap(),
            keys: Keys::new("pb"),
            producer: Producer::new(&config, 0).unwrap(),
            broker,
            config,
            _store: store,
        }
    }

    async fn change(&mut self, at_ms: i64) -> AuditRecord {
        let record = AuditRecord::new(Change::Pause, &By::new(Via::Cli, "li", "why"), at_ms);
        let mut pipe = ::redis::pipe();
        push(&mut pipe, &self.keys, &record);
        let () = pipe.query_async(&mut self.connection).await.unwrap();
        record
    }

    async fn publish(&mut self, owner: &str) -> Published {
        publish(&mut self.connection, &self.keys, owner, &self.producer, "postback.audit").await.unwrap()
    }

    async fn read_back(&self) -> Vec<AuditRecord> {
        let config = self.config.clone();
        let page = move || trail::page(&config, &|_| true, None, 100);
        tokio::task::spawn_blocking(page).await.unwrap().unwrap().items
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_leave_the_outbox_once_kafka_has_them_and_are_read_back_newest_first() {
    let mut world = World::new().await;
    let (older, newer) = (world.change(1_000).await, world.change(2_000).await);
    assert_eq!(waiting(&mut world.connection, &world.keys).await.unwrap(), [older.clone(), newer.clone()]);
    assert_eq!(world.publish("a").await, Published { sent: 2, trouble: vec![] });
    assert!(waiting(&mut world.connection, &world.keys).await.unwrap().is_empty());
    assert_eq!(world.read_back().await, [newer, older]);
    assert_eq!(world.publish("b").await, Published::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_publishes_at_a_time_and_its_turn_ends_with_its_work() {
    let mut world = World::new().await;
    world.change(1_000).await;
    assert!(take_turn(&mut world.connection, &world.keys, "a").await.unwrap());
    assert_eq!(world.publish("b").await, Published::default(), "another one has the turn");
    assert_eq!(world.publish("a").await.sent, 1);
    world.change(2_000).await;
    assert_eq!(world.publish("b").await.sent, 1, "the turn was given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_is_published_twice_is_shown_once() {
    let mut world = World::new().await;
    let record = world.change(1_000).await;
    world.publish("a").await;
    // As if the process had died before it removed the entry.
    let mut pipe = ::redis::pipe();
    push(&mut pipe, &world.keys, &record);
    let () = pipe.query_async(&mut world.connection).await.unwrap();
    assert_eq!(world.publish("b").await.sent, 1);
    assert_eq!(world.read_back().await, [record]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_kafka_does_not_take_stays_and_holds_up_no_other() {
    use rdkafka::bindings::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_INVALID_RECORD;
    let mut world = World::new().await;
    let (refused, taken) = (world.change(1_000).await, world.change(2_000).await);
    world.broker.refuse_writes(&[RD_KAFKA_RESP_ERR_INVALID_RECORD]);
    let published = world.publish("a").await;
    assert_eq!(published.sent, 1);
    assert!(published.trouble[0].contains("postback.audit") && published.trouble.len() == 1, "{published:?}");
    assert_eq!(waiting(&mut world.connection, &world.keys).await.unwrap(), std::slice::from_ref(&refused));
    assert_eq!(world.publish("a").await.sent, 1);
    assert_eq!(world.read_back().await, [refused, taken], "in the order in which they were published");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_no_worker_wrote_stays_is_named_and_holds_up_no_other() {
    let mut world = World::new().await;
    let record = world.change(1_000).await;
    let mut set = ::redis::cmd("HSET");
    let () = set.arg("pb:audit:out").arg(b"\xff").arg(b"\xfe").query_async(&mut world.connection).await.unwrap();
    let published = world.publish("a").await;
    assert_eq!(published.sent, 1);
    assert!(published.trouble[0].contains("pb:audit:out") && published.trouble[0].contains("HDEL"), "{published:?}");
    assert_eq!(world.read_back().await, [record]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outbox_of_another_type_is_named_and_the_next_entry_is_published_once_it_is_gone() {
    let mut world = World::new().await;
    let foreign = ForeignKeys::default();
    let () = ::redis::cmd("LPUSH").arg("pb:audit:out").arg("x").query_async(&mut world.connection).await.unwrap();
    let client = crate::redis::Config::stub(world._store.url()).client().unwrap();
    let (keys, producer) = (world.keys.clone(), Producer::new(&world.config, 0).unwrap());
    let keeps = keep((&client, &keys), &foreign, "a", &producer, "postback.audit");
    let looks = async {
        while foreign.names() != ["pb:audit:out"] {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let () = ::redis::cmd("DEL").arg("pb:audit:out").query_async(&mut world.connection).await.unwrap();
        let record = world.change(1_000).await;
        while world.read_back().await != std::slice::from_ref(&record) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = keeps => panic!("it ends"),
        () = looks => {}
    }
}

use super::*;
use crate::embedded::{self, EmbeddedServers};
use crate::secret::SecretString;

struct World {
    config: Config,
    parts: EmbeddedServers,
}

impl World {
    /// The topics `in` and `later` with two partitions each, of which the first has records. `start_from` is "latest".
    fn new(start_from: StartFrom) -> Self {
        let mut config = Config::load(None, []).unwrap_or_else(|found| panic!("{found}")).config;
        let parts = embedded::start(&[("in".into(), 2), ("later".into(), 2), ("in-3".into(), 1)]).unwrap();
        config.kafka.brokers = parts.broker.address().to_owned();
        config.kafka.input = vec!["in".into()];
        config.kafka.start_from = start_from;
        config.redis.url = SecretString::new(parts.store.url());
        let world = Self { config, parts };
        for topic in ["in", "later", "in-3"] {
            world.produce(topic, 3);
        }
        world
    }

    fn produce(&self, topic: &str, count: usize) {
        use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
        let mut client = rdkafka::ClientConfig::new();
        let producer: BaseProducer = client.set("bootstrap.servers", self.parts.broker.address()).create().unwrap();
        for _ in 0..count {
            producer.send(BaseRecord::<(), _>::to(topic).partition(0).payload("v")).unwrap();
        }
        producer.flush(std::time::Duration::from_secs(10)).unwrap();
    }

    /// Performs the part of a start with these inputs that concerns positions.
    async fn start(&self, input: &[&str]) -> Vec<(String, i32, i64)> {
        let mut config = Config::load(None, []).unwrap_or_else(|found| panic!("{found}")).config;
        config.kafka = self.config.kafka.clone();
        config.redis.url = SecretString::new(self.parts.store.url());
        config.kafka.input = input.iter().map(|name| (*name).to_owned()).collect();
        let (config, health) = (Arc::new(config), Health::default());
        let cluster = Arc::new(Cluster::new(&config.kafka).unwrap());
        let client = config.redis.client().unwrap();
        let say: Say = Arc::new(|text: &str| tracing::info!("{text}"));
        super::super::first(&config, &cluster, &client, &health, &say).await.unwrap();
        let begins = known_topics(&config, &cluster, &client, &health, &say).await.unwrap();
        begins.iter().map(|((topic, partition), at)| (topic.clone(), *partition, *at)).collect()
    }

    async fn unplaced(&self) -> usize {
        let mut redis = crate::redis::connect(&self.config.redis.client().unwrap()).await.unwrap();
        orders::read_unplaced(&mut redis, &Keys::new(&self.config.redis.prefix)).await.unwrap().len()
    }
}

#[tokio::test]
async fn a_topic_that_is_added_later_begins_at_its_end_where_start_from_says_so_and_stays_there() {
    let world = World::new(StartFrom::Latest);
    assert_eq!(world.start(&["in"]).await, [], "the first start has committed its positions");
    let begins = [("later".to_owned(), 0, 3), ("later".to_owned(), 1, 0)];
    assert_eq!(world.start(&["in", "later"]).await, begins);
    world.produce("later", 4);
    assert_eq!(world.start(&["in", "later"]).await, begins, "not at the end of today");
}

#[tokio::test]
async fn a_topic_that_came_after_its_name_or_pattern_begins_at_its_beginning() {
    let world = World::new(StartFrom::Latest);
    world.start(&["in", "^in-[0-2]$", "^la"]).await;
    // A new pattern matches this topic now. The topic existed before.
    let new = [("in-3".to_owned(), 0, 3)];
    assert_eq!(world.start(&["in", "^in-[0-9]$"]).await, new);
    // The same topic as if it had been created after its pattern was recorded: only the pattern is known.
    let world = World::new(StartFrom::Latest);
    world.start(&["in"]).await;
    let mut redis = crate::redis::connect(&world.config.redis.client().unwrap()).await.unwrap();
    let key = Keys::new(&world.config.redis.prefix).topics();
    let () = ::redis::cmd("HSET").arg(key).arg("^in-[0-9]$").arg("{}").query_async(&mut redis).await.unwrap();
    assert_eq!(world.start(&["in", "^in-[0-9]$"]).await, []);
}

#[tokio::test]
async fn a_later_topic_waits_for_an_operator_where_no_start_is_named() {
    let world = World::new(StartFrom::Error);
    assert_eq!(world.start(&["in"]).await, []);
    let first = world.unplaced().await;
    assert_eq!(world.start(&["in", "later"]).await, []);
    assert_eq!((first, world.unplaced().await), (2, 4));
}

#[tokio::test]
async fn an_emptied_store_passes_nothing_over() {
    let world = World::new(StartFrom::Latest);
    world.start(&["in"]).await;
    let mut redis = crate::redis::connect(&world.config.redis.client().unwrap()).await.unwrap();
    let key = Keys::new(&world.config.redis.prefix).topics();
    let () = ::redis::cmd("DEL").arg(key).query_async(&mut redis).await.unwrap();
    assert_eq!(world.start(&["in", "later"]).await, []);
}

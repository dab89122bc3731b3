//! One lane with everything behind it, in this process: a store, a broker, a platform. Or with none of them.

mod alone;
mod platform;
mod published;
mod setting;
mod topics;
mod waiting;

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use ::redis::aio::MultiplexedConnection;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};
use tokio::task::{JoinHandle, spawn_local};

use crate::claim::rules::{CLAIM_LIFE_MS, Key, Value};
use crate::claim::{ClaimAttempt, ClaimGuard, ClaimOutcome};
use crate::delivery::{Delivery, Ready, Subject};
use crate::embedded::broker::Broker;
use crate::embedded::store::Store;
use crate::redis::batcher::Batcher;
use crate::redis::health::Health;
use crate::stub::bench::alone::PREFIX;
use crate::stub::bench::platform::platform;
use crate::stub::bench::published::reader;
use crate::stub::bench::setting::setting;
use crate::stub::bench::waiting::WAIT;
use crate::stub::five::{self, Seen};
use crate::stub::server::{Server, answer};
use crate::stub::tokens;

pub(crate) use alone::Alone;
pub(crate) use published::Published;
pub(crate) use setting::Setting;
pub(crate) use topics::{DEAD, PARKED, RECEIPTS, RESULTS, TIER_5S, TIER_30S, TOPICS};
pub(crate) use waiting::{Ended, eventually, run};

/// A lane with all its parts. A platform that takes several events per request answers as [`five`] says. Any other
/// platform answers by the beginning of the trans_id: a status (with `after`: and `Retry-After: 60`; with `once`: and
/// `ok` the second time), `ok`, `silent` (no answer), `panic` (an answer at which the sender panics), `hang` (no answer
/// before [`Bench::let_go`]), `brief` (`ok`, and soon the end of the connection).
pub(crate) struct Bench {
    alone: Alone,
    pub(crate) broker: Broker,
    pub(crate) server: Server,
    let_go: Arc<AtomicBool>,
    /// The requests that a platform of several events per request has seen.
    pub(crate) seen: Arc<Seen>,
    client: ::redis::Client,
    connection: MultiplexedConnection,
    reader: BaseConsumer,
    store: Option<Store>,
}

impl Deref for Bench {
    type Target = Alone;

    fn deref(&self) -> &Alone {
        &self.alone
    }
}

impl Bench {
    pub(crate) async fn new(edit: impl FnOnce(&mut Setting)) -> Self {
        let store = Store::start().unwrap();
        let broker = Broker::start(&TOPICS.map(|topic| (topic.to_owned(), 1))).unwrap();
        let let_go = Arc::new(AtomicBool::new(false));
        let mut setting = setting(edit);
        let seen = Arc::<Seen>::default();
        let takes_several = setting.account.batch().items > 1;
        let (server, url) = match setting.before_handshake.take() {
            Some(before) => {
                let server = Server::secure(answer("200 OK", "ok"), before);
                let url = format!("https://localhost:{}", server.port);
                (server, url)
            }
            None => {
                let server = match &setting.issuer {
                    Some(issuer) => tokens::server(issuer.clone()),
                    None if setting.calls.is_some() => setting.calls.clone().unwrap_or_default().server(let_go.clone()),
                    None if takes_several => five::server(seen.clone(), let_go.clone()),
                    None => platform(let_go.clone()),
                };
                let url = server.url();
                (server, url)
            }
        };
        setting.account.base_urls = vec![if setting.no_platform { "http://127.0.0.1:1".into() } else { url }];
        let client = crate::redis::Config::stub(store.url()).client().unwrap();
        let mut connection = crate::redis::connect(&client).await.unwrap();
        let () = ::redis::cmd("SET").arg("pb:epoch").arg("e1").query_async(&mut connection).await.unwrap();
        let alone = Self::process(setting, &client, &broker);
        let reader = reader(&broker);
        Self { alone, broker, server, let_go, seen, client, connection, reader, store: Some(store) }
    }

    fn process(setting: Setting, client: &::redis::Client, broker: &Broker) -> Alone {
        let health = Arc::new(Health::default());
        health.answered();
        let (batcher, work) = Batcher::new(client.clone(), "pb:epoch".into(), health.clone());
        spawn_local(work);
        let alone = Alone::over(setting, broker.address(), batcher, health);
        spawn_local(alone.lane.limiter.clone().run());
        if let Some(tokens) = alone.lane.tokens.clone() {
            spawn_local(tokens.run());
        }
        alone
    }

    /// Replaces the lane by that of another process, with the same store, broker and platform.
    pub(crate) fn restart(&mut self, edit: impl FnOnce(&mut Setting)) {
        let mut setting = setting(edit);
        setting.account.base_urls = vec![self.server.url()];
        self.alone = Self::process(setting, &self.client, &self.broker);
    }

    pub(crate) fn start(&mut self) -> JoinHandle<()> {
        self.alone.start()
    }

    pub(crate) fn alone(&mut self) -> &mut Alone {
        &mut self.alone
    }

    /// Ends the push-back that the platform asked for.
    pub(crate) async fn forget_push_back(&self) {
        let () = ::redis::cmd("DEL").arg("pb:rate:acme").query_async(&mut self.connection.clone()).await.unwrap();
        self.lane.limiter.forget_push_back();
        self.handle.throttle.forget();
    }

    /// Lets the platform answer the requests that hang.
    pub(crate) fn let_go(&self) {
        self.let_go.store(true, SeqCst);
    }

    /// The trans_ids that the platform has received, in order.
    pub(crate) fn sent(&self) -> Vec<String> {
        self.server.requests().iter().map(|r| r.split_once("\r\n\r\n").unwrap().1.to_owned()).collect()
    }

    fn key(&self, native: &str, trans_id: &str) -> Vec<u8> {
        Key::new(self.handle.id.platform, "acme", native, trans_id).name(PREFIX)
    }

    /// The value of the key in Redis.
    pub(crate) async fn value(&self, trans_id: &str) -> Option<Value> {
        self.value_of("ORDER", trans_id).await
    }

    /// The same of an event of this native name.
    pub(crate) async fn value_of(&self, native: &str, trans_id: &str) -> Option<Value> {
        let mut get = ::redis::cmd("GET");
        let key = self.key(native, trans_id);
        let found: Option<Vec<u8>> = get.arg(key).query_async(&mut self.connection.clone()).await.unwrap();
        found.map(|bytes| Value::parse(&bytes))
    }

    /// How old the claim is, by Redis.
    pub(crate) async fn claim_age_ms(&self, native: &str, trans_id: &str) -> i64 {
        let mut pttl = ::redis::cmd("PTTL");
        let left: i64 = pttl.arg(self.key(native, trans_id)).query_async(&mut self.connection.clone()).await.unwrap();
        CLAIM_LIFE_MS as i64 - left
    }

    /// Writes the value of the key in Redis.
    pub(crate) async fn put(&self, trans_id: &str, value: &str) {
        self.put_of("ORDER", trans_id, value).await;
    }

    /// The same of an event of this native name.
    pub(crate) async fn put_of(&self, native: &str, trans_id: &str, value: &str) {
        let mut set = ::redis::cmd("SET");
        let () =
            set.arg(self.key(native, trans_id)).arg(value).query_async(&mut self.connection.clone()).await.unwrap();
    }

    /// Claims the key as another process would, a moment ago.
    pub(crate) async fn hold(&self, trans_id: &str) {
        self.hold_of("ORDER", trans_id).await;
    }

    /// The same of an event of this native name.
    pub(crate) async fn hold_of(&self, native: &str, trans_id: &str) {
        let mut set = ::redis::cmd("SET");
        set.arg(self.key(native, trans_id)).arg(format!("c|{}|in:0:9|0000000000|0", "1".repeat(16)));
        let () = set.arg("PX").arg(CLAIM_LIFE_MS).query_async(&mut self.connection.clone()).await.unwrap();
    }

    /// Whether a slot of the rate was ever taken.
    pub(crate) async fn slots_taken(&self) -> bool {
        ::redis::cmd("EXISTS").arg("pb:rate:acme").query_async(&mut self.connection.clone()).await.unwrap()
    }

    /// Claims a delivery as its attempt would.
    pub(crate) async fn claim(&self, delivery: &mut Delivery) -> ClaimGuard {
        let claim_outcome =
            self.lane.dedupe.claim(&mut ready(delivery).claim_request, &mut ClaimAttempt::default()).await;
        let ClaimOutcome::Claim(guard) = claim_outcome.unwrap() else { panic!("not granted") };
        guard
    }

    /// Stops Redis.
    pub(crate) fn stop_redis(&mut self) {
        self.store = None;
    }

    /// Runs a command in Redis.
    pub(crate) async fn redis<T: ::redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = ::redis::cmd(words[0]);
        command.arg(&words[1..]).query_async(&mut self.connection.clone()).await.unwrap()
    }

    /// The number of records in a topic.
    pub(crate) fn count(&self, topic: &str) -> i64 {
        self.reader.fetch_watermarks(topic, 0, WAIT).unwrap().1
    }

    /// All records of a topic.
    pub(crate) fn published(&self, topic: &str) -> Vec<Published> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
        // A new reader each time: a reader that is assigned the same partition again reads nothing.
        let reader = reader(&self.broker);
        reader.assign(&list).unwrap();
        let next = || Published::from(&reader.poll(WAIT).expect("a record").unwrap());
        (0..self.count(topic)).map(|_| next()).collect()
    }
}

pub(crate) fn ready(delivery: &mut Delivery) -> &mut Ready {
    match &mut delivery.subject {
        Subject::Ready(ready) => ready,
        Subject::Ended(ended) => panic!("it ended at admission: {:?}", ended.end),
    }
}

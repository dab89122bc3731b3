//! One lane with everything behind it, in this process: a store, a broker, a platform. Or with none of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use bytes::Bytes;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Headers as _};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::{Instant, sleep, timeout};

use crate::account::Halted;
use crate::account::{Account, Intake, WhenUnavailable};
use crate::admit::examine::Examiner;
use crate::claim::rules::{CLAIM_LIFE_MS, Key, Value};
use crate::claim::{ClaimAttempt, ClaimOutcome, Dedupe, Held};
use crate::clock::now_ms;
use crate::delivery::progress::{AckHandle, End};
use crate::delivery::{Delivery, Ready, Subject, TopicKind};
use crate::embedded::broker::Broker;
use crate::embedded::store::Store;
use crate::error::Reason;
use crate::kafka;
use crate::kafka::consumer::Assignment;
use crate::kafka::producer::Producer;
use crate::kafka::record::Record;
use crate::lane::Lane;
use crate::lane::handle::{LaneHandle, LaneMessage};
use crate::metrics::{Metrics, Setup};
use crate::redis::batcher::Batcher;
use crate::redis::health::Health;
use crate::send::Dispatcher;
use crate::send::rate::{self, Limiter};
use crate::send::token::exchange::{self, Kit};
use crate::settle::context::{StageContext, Topics};
use crate::settle::outbox::Outbox;
use crate::stub::five::{self, Seen};
use crate::stub::server::{Server, answer, root};
use crate::stub::tokens::{self, Issuer};

pub(crate) const TIER_5S: &str = "postback.retry.5s";
pub(crate) const TIER_30S: &str = "postback.retry.30s";
pub(crate) const PARKED: &str = "postback.parked.acme";
pub(crate) const DEAD: &str = "postback.dlt";
pub(crate) const RECEIPTS: &str = "postback.receipts";
pub(crate) const TOPICS: [&str; 5] = [TIER_5S, TIER_30S, PARKED, DEAD, RECEIPTS];

const PREFIX: &str = "pb";
const WINDOW: Duration = Duration::from_secs(3600);
const WAIT: Duration = Duration::from_secs(40);

/// Runs a test on one thread, as a lane's thread would.
pub(crate) fn run(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async { timeout(2 * WAIT, work).await.expect("the test hangs") });
}

/// A lane with neither Redis nor Kafka nor a platform: for what works without them, or must not go on.
pub(crate) struct Alone {
    pub(crate) lane: Rc<Lane>,
    pub(crate) handle: Arc<LaneHandle>,
    /// Records of parking that were given back to their waiting room.
    pub(crate) held: mpsc::Receiver<Box<Delivery>>,
    pub(crate) halts: UnboundedReceiver<Halted>,
    gate: Examiner,
    inbox: Option<UnboundedReceiver<LaneMessage>>,
}

/// What may be changed of it.
pub(crate) struct Setting {
    pub(crate) account: Account,
    pub(crate) lease: Duration,
    pub(crate) receipts: bool,
    /// Nobody listens where the producer writes to.
    pub(crate) no_kafka: bool,
    /// Nobody listens where the platform is.
    pub(crate) no_platform: bool,
    /// The platform issues tokens, and takes nothing without one.
    pub(crate) issuer: Option<Arc<Issuer>>,
    /// The platform speaks TLS, answers `ok` to everything, and does this before each handshake.
    pub(crate) before_handshake: Option<Box<dyn Fn() + Send + Sync>>,
}

fn setting(edit: impl FnOnce(&mut Setting)) -> Setting {
    let mut account = Account::stub("acme");
    account.limits.rps = 1000.0;
    // A busy machine must not make an answer late.
    account.limits.timeout = Duration::from_secs(20);
    let lease = Duration::from_secs(120);
    let mut setting = Setting {
        account,
        lease,
        receipts: true,
        no_kafka: false,
        no_platform: false,
        issuer: None,
        before_handshake: None,
    };
    edit(&mut setting);
    setting
}

impl Alone {
    pub(crate) fn new(edit: impl FnOnce(&mut Setting)) -> Self {
        let client = crate::redis::Config::stub("redis://127.0.0.1:1").client().unwrap();
        let health = Arc::new(Health::default());
        health.answered();
        // Its work is not run: every command fails at once.
        let (batcher, _) = Batcher::new(client, String::new(), health.clone());
        Self::over(setting(edit), "127.0.0.1:1", batcher, health)
    }

    fn over(setting: Setting, brokers: &str, batcher: Batcher, health: Arc<Health>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let account = Arc::new(setting.account);
        let bounds = Intake { max_in_flight: 10_000, max_in_flight_bytes: 64 << 20, drain_timeout: Duration::ZERO };
        let (to_lane, inbox) = unbounded_channel();
        let handle = Arc::new(LaneHandle::new(0, account.clone(), to_lane, &bounds));
        let tiers = account.retry.tiers.iter().map(|t| t.name.clone()).collect::<Vec<_>>();
        let accounts = vec![(account.platform, account.name.clone())];
        let metrics = Metrics::new(Setup { accounts, tiers: &tiers, topics: Vec::new() });
        let (to_held, held) = mpsc::channel();
        let (to_halts, halts) = unbounded_channel();
        let shared = Arc::new(StageContext {
            metrics: metrics.clone(),
            producer: Producer::new(&kafka(if setting.no_kafka { "127.0.0.1:1" } else { brokers }), 0).unwrap(),
            topics: Topics {
                retry_prefix: "postback.retry".into(),
                parked_prefix: "postback.parked".into(),
                dead_letter: DEAD.into(),
                receipts: if setting.receipts { RECEIPTS.into() } else { String::new() },
            },
            refusals: Arc::default(),
            lease: setting.lease,
            health: health.clone(),
            replicas: Arc::default(),
            held: to_held,
            halts: to_halts,
            quiet: Arc::default(),
        });
        let dedupe = Rc::new(Dedupe::new(batcher.clone(), PREFIX, WINDOW, setting.lease));
        let outbox = Rc::new(Outbox { shared: shared.clone(), dedupe });
        let delivers = account.when_unavailable == WhenUnavailable::Deliver;
        let alone = rate::Alone { delivers, sharers: 1, replicas: shared.replicas.clone() };
        let limiter =
            Limiter::new(batcher.clone(), "pb:rate:acme".into(), account.limits.rps, alone, health.clone(), |_| {});
        let is_secure = account.base_urls[0].starts_with("https");
        let dispatcher = if is_secure {
            Dispatcher::trusting(account.clone(), health, root())
        } else {
            Dispatcher::new(account.clone(), health).unwrap()
        };
        let dispatcher = Rc::new(dispatcher);
        let kit = account.sender.tokens().map(|(source, seed)| Kit { source, seed, seal: tokens::seal() });
        let tokens = kit.map(|kit| exchange::tokens(kit, &dispatcher, batcher, PREFIX));
        let lane = Lane::new(handle.clone(), outbox, dispatcher, limiter, tokens);
        Self { lane, handle, held, halts, gate: Examiner::new(vec![account], metrics), inbox: Some(inbox) }
    }

    /// An event that was examined, and what becomes of its offset.
    pub(crate) fn delivery(&self, topic_kind: TopicKind, trans_id: &str) -> (Box<Delivery>, Ended) {
        self.delivery_of(topic_kind, trans_id, now_ms())
    }

    /// The same, of this time.
    pub(crate) fn delivery_of(
        &self,
        topic_kind: TopicKind,
        trans_id: &str,
        event_time_ms: i64,
    ) -> (Box<Delivery>, Ended) {
        let event = serde_json::json!({
            "trans_id": trans_id, "platform": self.handle.account.platform, "account": "acme", "event_type": "install",
            "event_time_ms": event_time_ms
        });
        let topic: Arc<str> = match topic_kind {
            TopicKind::Input => "in".into(),
            TopicKind::Tier => TIER_5S.into(),
            TopicKind::Parked => PARKED.into(),
        };
        let record = Record {
            topic: topic.clone(),
            partition: 0,
            offset: 7,
            timestamp_ms: Some(now_ms()),
            key: Some(Bytes::from_static(b"key")),
            value: Some(Bytes::from(event.to_string())),
            headers: vec![kafka::record::Header::text("own", "kept")],
            unreadable_headers: 0,
        };
        let (ack, ended) = AckHandle::stub(Arc::new(Assignment::new(topic, 0, 1)), 7);
        let delivery = self.gate.examine(record, topic_kind, ack, now_ms());
        (delivery, Ended { next: Box::new(ended), end: None })
    }

    /// Starts the lane's task.
    pub(crate) fn start(&mut self) -> JoinHandle<()> {
        spawn_local(self.lane.clone().run(self.inbox.take().unwrap()))
    }

    /// As an intake does.
    pub(crate) fn queue(&self, delivery: Box<Delivery>) {
        self.handle.enqueued(&delivery);
        self.handle.deliver(vec![delivery]);
    }

    /// An event that was queued.
    pub(crate) fn send(&self, topic_kind: TopicKind, trans_id: &str) -> Ended {
        let (delivery, ended) = self.delivery(topic_kind, trans_id);
        self.queue(delivery);
        ended
    }

    pub(crate) fn resends_counted(&self) -> u64 {
        self.lane.account_metrics().ambiguous_resends.get()
    }
}

fn kafka(brokers: &str) -> kafka::Config {
    kafka::Config {
        embedded: true,
        input: vec!["in".into()],
        dead_letter: DEAD.into(),
        receipts: RECEIPTS.into(),
        partitions: 1,
        ..kafka::Config::stub(brokers, &[])
    }
}

/// What an ack handle was completed with.
pub(crate) struct Ended {
    next: Box<dyn FnMut() -> Option<End>>,
    end: Option<End>,
}

impl Ended {
    pub(crate) fn now(&mut self) -> Option<End> {
        self.end = self.end.or_else(|| (self.next)());
        self.end
    }

    pub(crate) async fn wait(&mut self) -> End {
        eventually("its offset is finished", async || self.now().is_some()).await;
        self.now().unwrap()
    }
}

/// A lane with all its parts. A platform that takes several events per request answers as [`five`] says, another one by the
/// beginning of a trans_id: a status (`after` behind it: with
/// `Retry-After: 60`; `once`: and then `ok`), `ok`, `silent` (no answer), `panic` (an answer that its sender panics at), `hang` (no answer
/// before [`Bench::let_go`]), `brief` (`ok`, and soon the end of the connection).
pub(crate) struct Bench {
    alone: Alone,
    pub(crate) broker: Broker,
    pub(crate) server: Server,
    let_go: Arc<AtomicBool>,
    /// What a platform of several events per request has seen.
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
        let takes_several = setting.account.sender.batch().items > 1;
        let (server, url) = match setting.before_handshake.take() {
            Some(before) => {
                let server = Server::secure(answer("200 OK", "ok"), before);
                let url = format!("https://localhost:{}", server.port);
                (server, url)
            }
            None => {
                let server = match &setting.issuer {
                    Some(issuer) => tokens::server(issuer.clone()),
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

    /// Another process, with the same store, broker and platform.
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

    /// As if the time that the platform asked for had passed.
    pub(crate) async fn forget_push_back(&self) {
        let () = ::redis::cmd("DEL").arg("pb:rate:acme").query_async(&mut self.connection.clone()).await.unwrap();
        self.lane.limiter.forget_push_back();
        self.handle.forget_push_back();
    }

    /// The platform answers what hangs.
    pub(crate) fn let_go(&self) {
        self.let_go.store(true, SeqCst);
    }

    /// The trans_ids that the platform was sent, in order.
    pub(crate) fn sent(&self) -> Vec<String> {
        self.server.requests().iter().map(|r| r.split_once("\r\n\r\n").unwrap().1.to_owned()).collect()
    }

    /// What stands in Redis.
    pub(crate) async fn value(&self, trans_id: &str) -> Option<Value> {
        let mut get = ::redis::cmd("GET");
        let key = Key::new(self.handle.account.platform, "acme", "ORDER", trans_id).name(PREFIX);
        let found: Option<Vec<u8>> = get.arg(key).query_async(&mut self.connection.clone()).await.unwrap();
        found.map(|bytes| Value::parse(&bytes))
    }

    /// Puts a value there.
    pub(crate) async fn put(&self, trans_id: &str, value: &str) {
        let key = Key::new(self.handle.account.platform, "acme", "ORDER", trans_id).name(PREFIX);
        let mut set = ::redis::cmd("SET");
        let () = set.arg(key).arg(value).query_async(&mut self.connection.clone()).await.unwrap();
    }

    /// Another process has claimed it, a moment ago.
    pub(crate) async fn hold(&self, trans_id: &str) {
        let key = Key::new(self.handle.account.platform, "acme", "ORDER", trans_id).name(PREFIX);
        let mut set = ::redis::cmd("SET");
        set.arg(key).arg(format!("c|{}|in:0:9|0000000000|0", "1".repeat(16))).arg("PX").arg(CLAIM_LIFE_MS);
        let () = set.query_async(&mut self.connection.clone()).await.unwrap();
    }

    /// Whether a slot of the rate was ever taken.
    pub(crate) async fn slots_taken(&self) -> bool {
        ::redis::cmd("EXISTS").arg("pb:rate:acme").query_async(&mut self.connection.clone()).await.unwrap()
    }

    /// Claims it, as its attempt would.
    pub(crate) async fn claim(&self, delivery: &mut Delivery) -> Held {
        let claim_outcome =
            self.lane.dedupe.claim(&mut ready(delivery).claim_request, &mut ClaimAttempt::default()).await;
        let ClaimOutcome::Claim(held) = claim_outcome.unwrap() else { panic!("not granted") };
        held
    }

    /// Redis is away from now on.
    pub(crate) fn stop_redis(&mut self) {
        self.store = None;
    }

    /// Runs a command in Redis.
    pub(crate) async fn redis<T: ::redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = ::redis::cmd(words[0]);
        command.arg(&words[1..]).query_async(&mut self.connection.clone()).await.unwrap()
    }

    /// How many records a topic has.
    pub(crate) fn count(&self, topic: &str) -> i64 {
        self.reader.fetch_watermarks(topic, 0, WAIT).unwrap().1
    }

    /// All records of a topic.
    pub(crate) fn published(&self, topic: &str) -> Vec<Published> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
        // A new one each time: one that is assigned the same partition again reads nothing.
        let reader = reader(&self.broker);
        reader.assign(&list).unwrap();
        let next = || Published::from(&reader.poll(WAIT).expect("a record").unwrap());
        (0..self.count(topic)).map(|_| next()).collect()
    }
}

fn reader(broker: &Broker) -> BaseConsumer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.address()).set("group.id", "reader").set("fetch.wait.max.ms", "20");
    config.create().unwrap()
}

fn platform(let_go: Arc<AtomicBool>) -> Server {
    let seen = Mutex::new(BTreeSet::new());
    Server::start(move |mut connection| {
        while let Some(request) = connection.request() {
            let (_, id) = request.split_once("\r\n\r\n").unwrap();
            let is_new = seen.lock().unwrap().insert(id.to_owned());
            let (status, body) = match id.split('-').next().unwrap() {
                "429once" => {
                    if is_new {
                        ("429", "")
                    } else {
                        ("200 OK", "ok")
                    }
                }
                "ok" => ("200 OK", "ok"),
                "panic" => ("200 OK", "panic"),
                "silent" => return,
                "brief" => {
                    connection.say(&answer("200 OK", "ok"));
                    std::thread::sleep(Duration::from_millis(200));
                    return;
                }
                "hang" => {
                    while !let_go.load(SeqCst) {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    ("200 OK", "ok")
                }
                "503after" => ("503 Away\r\nretry-after: 60", ""),
                "429after" => ("429 Slow\r\nretry-after: 60", ""),
                other => (other, ""),
            };
            let status = if status.len() == 3 { format!("{status} Said") } else { status.to_owned() };
            let _ = connection.tcp.write_all(answer(&status, body).as_bytes());
        }
    })
}

/// One record of a topic.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Vec<u8>,
    pub(crate) headers: BTreeMap<String, String>,
}

impl Published {
    fn from(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().into_iter().flat_map(|h| h.iter());
        let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
        Self {
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().unwrap_or_default().to_vec(),
            headers: headers.map(|h| (h.key.to_owned(), text(h.value))).collect(),
        }
    }

    pub(crate) fn is_of(&self, trans_id: &str) -> bool {
        self.text("pb-trans-id") == trans_id
            || String::from_utf8_lossy(&self.value).contains(&format!("\"{trans_id}\""))
    }

    pub(crate) fn text(&self, header: &str) -> &str {
        self.headers.get(header).map_or("", String::as_str)
    }

    pub(crate) fn reason(&self) -> Option<Reason> {
        Reason::ALL.into_iter().find(|r| r.as_str() == self.text("pb-reason"))
    }
}

pub(crate) fn ready(delivery: &mut Delivery) -> &mut Ready {
    match &mut delivery.subject {
        Subject::Ready(ready) => ready,
        Subject::Ended(ended) => panic!("it ended at the gate: {:?}", ended.end),
    }
}

/// Waits for something that happens in other tasks or threads.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) -> impl Future<Output = ()> {
    let (deadline, what) = (Instant::now() + WAIT, what.to_owned());
    async move {
        while !holds().await {
            assert!(Instant::now() < deadline, "did not happen: {what}");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

//! A lane with neither Redis nor Kafka nor a platform behind it.

use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::{JoinHandle, spawn_local};

use crate::account::{Halted, Intake, WhenUnavailable};
use crate::admit::examine::Examiner;
use crate::claim::Dedupe;
use crate::clock::now_ms;
use crate::delivery::progress::AckHandle;
use crate::delivery::{Delivery, TopicKind};
use crate::kafka;
use crate::kafka::consumer::Assignment;
use crate::kafka::producer::Producer;
use crate::kafka::record::{Header, Record};
use crate::lane::Lane;
use crate::lane::handle::LaneHandle;
use crate::lane::handle::inbox::LaneMessage;
use crate::lane::state::LaneParts;
use crate::metrics::{Metrics, Setup};
use crate::redis::batcher::Batcher;
use crate::redis::health::Health;
use crate::send::Dispatcher;
use crate::send::quota::Quota;
use crate::send::rate::{self, Limiter};
use crate::send::token::exchange::{self, Kit};
use crate::settle::context::{StageContext, Topics};
use crate::settle::outbox::Outbox;
use crate::stub::bench::published::Published;
use crate::stub::bench::setting::{Setting, setting};
use crate::stub::bench::topics::{DEAD, PARKED, RECEIPTS, TIER_5S};
use crate::stub::bench::waiting::Ended;
use crate::stub::calls::Caller;
use crate::stub::server::root;
use crate::stub::tokens;

pub(super) const PREFIX: &str = "pb";
const WINDOW: Duration = Duration::from_secs(3600);

/// A lane without Redis, Kafka and a platform, for everything that works without them or must wait for them.
pub(crate) struct Alone {
    pub(crate) lane: Rc<Lane>,
    pub(crate) handle: Arc<LaneHandle>,
    /// Records from parking that were given back to the buffer of their partition.
    pub(crate) given_back: mpsc::Receiver<Box<Delivery>>,
    pub(crate) halts: UnboundedReceiver<Halted>,
    /// Asks the store of the bench.
    pub(crate) batcher: Batcher,
    examiner: Examiner,
    inbox: Option<UnboundedReceiver<LaneMessage>>,
}

impl Alone {
    pub(crate) fn new(edit: impl FnOnce(&mut Setting)) -> Self {
        let client = crate::redis::Config::stub("redis://127.0.0.1:1").client().unwrap();
        let health = Arc::new(Health::default());
        health.answered();
        // The work of the batcher is not run, so every command fails at once.
        let (batcher, _) = Batcher::new(client, String::new(), health.clone());
        Self::over(setting(edit), "127.0.0.1:1", batcher, health)
    }

    pub(super) fn over(setting: Setting, brokers: &str, batcher: Batcher, health: Arc<Health>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let is_secure = setting.account.base_urls[0].starts_with("https");
        let mut account = setting.account;
        if setting.calls.is_some() {
            account.sender = None;
            account.call = Some(Arc::new(Caller));
        }
        if setting.no_address {
            account.base_urls.clear();
        }
        let account = Arc::new(account);
        let bounds = Intake { max_in_flight: 10_000, max_in_flight_bytes: 64 << 20, drain_timeout: Duration::ZERO };
        let (to_lane, inbox) = unbounded_channel();
        let handle = Arc::new(LaneHandle::new(0, account.clone(), to_lane, &bounds));
        let tiers = account.retry.tiers.iter().map(|t| t.name.clone()).collect::<Vec<_>>();
        let accounts = vec![(account.platform, account.name.clone())];
        let metrics = Metrics::new(Setup { accounts, tiers: &tiers, topics: Vec::new() });
        let (give_back, given_back) = mpsc::channel();
        let (to_halts, halts) = unbounded_channel();
        let context = Arc::new(StageContext {
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
            give_back,
            halts: to_halts,
            quiet: Arc::default(),
        });
        let asks = batcher.clone();
        let dedupe = Rc::new(Dedupe::new(batcher.clone(), PREFIX, WINDOW, setting.lease));
        let outbox = Rc::new(Outbox::new(context.clone(), dedupe, PREFIX));
        let delivers = account.when_unavailable == WhenUnavailable::Deliver;
        let alone = rate::Alone { delivers, sharers: 1, replicas: context.replicas.clone() };
        let (bucket, shown) = ("pb:rate:acme".into(), handle.clone());
        let limiter =
            Limiter::new(batcher.clone(), bucket, account.limits.rps, alone, health.clone(), move |push_back| {
                shown.throttle.obey(push_back);
            });
        let dispatcher = if is_secure {
            Dispatcher::trusting(account.clone(), health, root())
        } else {
            Dispatcher::new(account.clone(), health).unwrap()
        };
        let dispatcher = Rc::new(dispatcher);
        let kit = account.tokens().map(|(source, seed)| Kit { source, seed, seal: tokens::seal() });
        let quota = Quota::of(batcher.clone(), PREFIX, &account);
        let tokens = kit.map(|kit| exchange::tokens(kit, &dispatcher, batcher, PREFIX));
        let lane = Lane::new(
            handle.clone(),
            outbox,
            LaneParts { account: account.clone(), dispatcher, limiter, quota, tokens },
        );
        Self {
            lane,
            handle,
            given_back,
            halts,
            batcher: asks,
            examiner: Examiner::of(vec![account], kafka("b:1").result_topics(), metrics),
            inbox: Some(inbox),
        }
    }

    /// An event that was examined, and what its offset is finished with.
    pub(crate) fn delivery(&self, topic_kind: TopicKind, trans_id: &str) -> (Box<Delivery>, Ended) {
        self.delivery_of(topic_kind, trans_id, now_ms())
    }

    /// The same, with this event time.
    pub(crate) fn delivery_of(
        &self,
        topic_kind: TopicKind,
        trans_id: &str,
        event_time_ms: i64,
    ) -> (Box<Delivery>, Ended) {
        let event = serde_json::json!({
            "trans_id": trans_id, "platform": self.handle.id.platform, "account": "acme", "event_type": "install",
            "event_time_ms": event_time_ms
        });
        self.record_of(topic_kind, event.to_string().into(), vec![Header::text("own", "kept")])
    }

    /// A record that was examined.
    pub(crate) fn record_of(
        &self,
        topic_kind: TopicKind,
        value: Bytes,
        headers: Vec<Header>,
    ) -> (Box<Delivery>, Ended) {
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
            value: Some(value),
            headers,
            unreadable_headers: 0,
        };
        let (ack, ended) = AckHandle::stub(Arc::new(Assignment::new(topic, 0, 1)), 7);
        let delivery = self.examiner.examine(record, topic_kind, ack, now_ms());
        (delivery, Ended { next: Box::new(ended), end: None })
    }

    /// A copy that was published to a tier.
    pub(crate) fn copy(&self, copy: &Published) -> (Box<Delivery>, Ended) {
        let mut names: Vec<_> = copy.headers.iter().collect();
        // The producer's come first, and the worker's begin with the origin.
        names.sort_by_key(|(name, _)| (name.starts_with("pb-"), *name != "pb-origin-topic"));
        let headers = names.into_iter().map(|(name, text)| Header::text(name, text.clone())).collect();
        self.record_of(TopicKind::Tier, copy.value.clone().into(), headers)
    }

    /// Queues a call of this name.
    pub(crate) fn call(&self, topic_kind: TopicKind, trans_id: &str, call: &str, args: &Value, reply: &Value) -> Ended {
        let (delivery, ended) = self.call_of(topic_kind, trans_id, call, args, reply);
        self.queue(delivery);
        ended
    }

    /// A call that was examined, and what its offset is finished with.
    pub(crate) fn call_of(
        &self,
        topic_kind: TopicKind,
        trans_id: &str,
        call: &str,
        args: &Value,
        reply: &Value,
    ) -> (Box<Delivery>, Ended) {
        self.call_at(topic_kind, trans_id, call, args, reply, now_ms())
    }

    /// The same, with this event time.
    pub(crate) fn call_at(
        &self,
        topic_kind: TopicKind,
        trans_id: &str,
        call: &str,
        args: &Value,
        reply: &Value,
        event_time_ms: i64,
    ) -> (Box<Delivery>, Ended) {
        let event = serde_json::json!({
            "kind": "call", "trans_id": trans_id, "platform": self.handle.id.platform, "account": "acme",
            "call": call, "args": args, "reply": reply, "event_time_ms": event_time_ms
        });
        self.record_of(topic_kind, event.to_string().into(), Vec::new())
    }

    /// The same, to this account.
    pub(crate) fn call_to(
        &self,
        account: &str,
        trans_id: &str,
        call: &str,
        args: &Value,
        reply: &Value,
    ) -> (Box<Delivery>, Ended) {
        let event = serde_json::json!({
            "kind": "call", "trans_id": trans_id, "platform": self.handle.id.platform, "account": account,
            "call": call, "args": args, "reply": reply, "event_time_ms": now_ms()
        });
        self.record_of(TopicKind::Input, event.to_string().into(), Vec::new())
    }

    /// Starts the lane's task.
    pub(crate) fn start(&mut self) -> JoinHandle<()> {
        spawn_local(self.lane.clone().run(self.inbox.take().unwrap()))
    }

    /// Queues a record as an intake does.
    pub(crate) fn queue(&self, delivery: Box<Delivery>) {
        self.handle.enqueue(delivery);
    }

    /// Queues an event.
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

//! A broker, a store and dead letters in this process, for tests of plans and runs.

use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use rdkafka::ClientConfig;
use rdkafka::message::{Header as RdHeader, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _};
use serde_json::json;
use std::sync::Arc;

use crate::account::roster::Roster;
use crate::account::{Account, Accounts};
use crate::embedded::store::Store;
use crate::envelope::{Copy, DeadLetterCause, Envelope, Named, Source};
use crate::inspect::dead_letters::scan::{self, Scan};
use crate::kafka::Config;
use crate::kafka::producer::Producer;
use crate::kafka::reader::{Fetch, Reader};
use crate::kafka::record::Record;
use crate::metrics::{self, Metrics};
use crate::operate::audit::{By, Via};
use crate::redis::foreign::ForeignKeys;
use crate::replay::{Replays, Runner, Setup};

pub(super) struct Bench {
    pub(super) replays: Replays,
    pub(super) setup: Arc<Setup>,
    pub(super) producer: Producer,
    pub(super) c: MultiplexedConnection,
    pub(super) metrics: Arc<Metrics>,
    pub(super) foreign: ForeignKeys,
    kafka: Config,
    next: i64,
    _store: Store,
    mock: MockCluster<'static, DefaultProducerContext>,
}

pub(super) fn by() -> By {
    By::new(Via::Cli, "li", "platform is back")
}

impl Bench {
    /// Two accounts, `a` and `b`, with so many requests per second.
    pub(super) async fn new(rps: f64) -> Self {
        Self::seeing(rps, scan::MOST).await
    }

    /// The same with a search that holds about so many dead letters.
    pub(super) async fn seeing(rps: f64, most: usize) -> Self {
        let mock = MockCluster::new(1).unwrap();
        for (topic, partitions) in [("conversions", 2), ("postback.dlt", 2), ("postback.audit", 1)] {
            mock.create_topic(topic, partitions, 1).unwrap();
        }
        let kafka = Config { embedded: true, ..Config::stub(&mock.bootstrap_servers(), &[]) };
        let store = Store::start().unwrap();
        let redis = crate::redis::Config::stub(store.url());
        let client = redis.client().unwrap();
        let c = crate::redis::connect(&client).await.unwrap();
        let account = |name: &str| {
            let mut account = Account::stub(name);
            account.limits.rps = rps;
            (account.name.clone(), Arc::new(account))
        };
        let accounts: Accounts = ["a", "b"].map(account).into();
        let window = Duration::from_secs(12 * 24 * 3600);
        let setup = Setup::new(client, "pb", &kafka, Roster::new(accounts.into_values()).live(), window).unwrap();
        let scan = Scan::bounded(scan::Source { kafka: kafka.clone(), redis }, most).unwrap();
        let replays = Replays::with_plans(setup.clone(), Arc::new(scan));
        let producer = Producer::new(&kafka, 1 << 20).unwrap();
        Self {
            replays,
            setup,
            producer,
            c,
            metrics: Metrics::new(metrics::Setup::default()),
            foreign: ForeignKeys::default(),
            kafka,
            next: 0,
            _store: store,
            mock,
        }
    }

    pub(super) fn runner(&self) -> Runner<'_> {
        let (producer, metrics, foreign) = (&self.producer, &self.metrics, &self.foreign);
        Runner { setup: self.setup.clone(), producer, metrics, foreign, id: "r1" }
    }

    /// Writes dead letters: the account, the reason, and the trans_id of each.
    pub(super) fn dead_letters(&mut self, letters: &[(&str, &'static str, String)]) {
        let producer: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", &self.kafka.brokers).create().unwrap();
        let now = crate::clock::now_ms();
        for (account, reason, trans_id) in letters {
            let event = json!({"trans_id": trans_id, "platform": crate::stub::PLATFORM, "account": account,
                               "event_type": "order", "event_time_ms": now - 1_000});
            let value = event.to_string();
            let source = Record {
                topic: "conversions".into(),
                partition: 0,
                offset: self.next,
                timestamp_ms: Some(now),
                key: Some(trans_id.clone().into()),
                value: Some(value.clone().into()),
                headers: Vec::new(),
                unreadable_headers: 0,
            };
            self.next += 1;
            let (envelope, _) = Envelope::read(&source, Source::Input, now - 500);
            let named = Named {
                platform: Some(crate::stub::PLATFORM.into()),
                account: Some((*account).to_owned()),
                trans_id: Some(trans_id.clone()),
                event: Some("ORDER".into()),
            };
            let cause = DeadLetterCause {
                reason,
                field: "".into(),
                detail: String::new(),
                failed_at_ms: now - 100,
                worker: "w".into(),
                truncated: None,
            };
            let headers = envelope.write(Copy::Dead(&named, &cause));
            let headers = headers
                .iter()
                .fold(OwnedHeaders::new(), |list, h| list.insert(RdHeader { key: &h.name, value: h.value.as_deref() }));
            let record = BaseRecord::to("postback.dlt").partition((self.next % 2) as i32).key(trans_id).payload(&value);
            producer.send(record.headers(headers)).ok().unwrap();
        }
        producer.flush(Duration::from_secs(60)).unwrap();
    }

    /// The dead letter of this event.
    pub(super) fn dead_letter(&self, trans_id: &str) -> Record {
        let reader = Reader::new(&self.kafka, "postback.dlt", Fetch::Ranges).unwrap();
        let mut found = None;
        let bounds = reader.bounds().unwrap();
        reader
            .read(&bounds, &mut |record| {
                if record.key.as_deref() == Some(trans_id.as_bytes()) {
                    found = Some(record);
                }
            })
            .unwrap();
        found.unwrap()
    }

    /// The history of this event.
    pub(super) fn envelope(&self, trans_id: &str) -> Envelope {
        Envelope::read(&self.dead_letter(trans_id), Source::Owned, crate::clock::now_ms()).0
    }

    /// Every record of the input topic: its key, and its envelope.
    pub(super) fn published(&self) -> Vec<(String, Envelope)> {
        let mut found = Vec::new();
        self.read_published(&mut |record| {
            let key = String::from_utf8(record.key.as_deref().unwrap().to_vec()).unwrap();
            found.push((key, Envelope::read(&record, Source::Input, crate::clock::now_ms()).0));
        });
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    }

    /// When each record of the input topic was published, epoch ms, in order.
    pub(super) fn published_at(&self) -> Vec<i64> {
        let mut found = Vec::new();
        self.read_published(&mut |record| found.push(record.timestamp_ms.unwrap()));
        found.sort_unstable();
        found
    }

    fn read_published(&self, look: &mut dyn FnMut(Record)) {
        let reader = Reader::new(&self.kafka, "conversions", Fetch::Ranges).unwrap();
        let bounds = reader.bounds().unwrap();
        reader.read(&bounds, look).unwrap();
    }

    /// From now on nobody may write to the input topic.
    pub(super) fn forbid_input(&self) {
        let error = rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
        self.mock.topic_error("conversions", error).unwrap();
    }

    /// Says that so many records of an account have ended.
    pub(super) async fn ended(&mut self, id: &str, account: &str, delivered: u64) {
        let key = self.setup.keys.replay_outcomes(id);
        let mut pipe = ::redis::pipe();
        pipe.cmd("HINCRBY").arg(&key).arg("delivered").arg(delivered).ignore();
        pipe.cmd("HINCRBY").arg(&key).arg(format!("ended:{account}")).arg(delivered).ignore();
        let () = pipe.query_async(&mut self.c).await.unwrap();
    }
}

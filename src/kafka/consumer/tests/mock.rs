//! A mock cluster, a producer for it, and a handler that does what the test says.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::bindings as sys;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};

use crate::delivery::progress::{AckHandle, ConsumerHandle, ConsumerView, End, Open, PartitionView};
use crate::error::Outcome;
use crate::kafka::consumer::{Assignment, Consumer, Flow, Handler, Kind, Parked, Settings};
use crate::kafka::record::Record;
use crate::kafka::topics::Cluster;
use crate::kafka::{Config, settings as kafka};

pub(super) const GROUP: &str = "g";

/// Kafka as the client library imitates it.
pub(super) struct Mock {
    /// The cluster lives inside this client. The client is never used to produce; its thread delivers the log.
    owner: ThreadedProducer<Watch>,
    expelled: Arc<AtomicBool>,
    pub(super) brokers: String,
}

/// Reads in the cluster's own log whether it has excluded a silent member from a group.
struct Watch(Arc<AtomicBool>);

impl ClientContext for Watch {
    fn log(&self, _: RDKafkaLogLevel, _: &str, message: &str) {
        if message.contains("session timed out for group") {
            self.0.store(true, Ordering::SeqCst);
        }
    }
}

impl ProducerContext for Watch {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

/// Runs a scenario in which every member stays in its group. On a machine that is too busy for heartbeats the cluster
/// excludes a member. A run that fails then proves nothing about our code, so it is repeated.
pub(super) fn undisturbed(topics: &[(&str, i32)], scenario: impl Fn(&Mock)) {
    for tries_left in (0..4).rev() {
        let mock = Mock::new(topics);
        match catch_unwind(AssertUnwindSafe(|| scenario(&mock))) {
            Err(_) if tries_left > 0 && mock.has_expelled() => {}
            Err(panic) => resume_unwind(panic),
            Ok(()) => return,
        }
    }
}

impl Mock {
    pub(super) fn new(topics: &[(&str, i32)]) -> Self {
        let mut config = ClientConfig::new();
        config.set("test.mock.num.brokers", "1").set("debug", "mock").set_log_level(RDKafkaLogLevel::Debug);
        let expelled = Arc::new(AtomicBool::new(false));
        let owner: ThreadedProducer<_> = config.create_with_context(Watch(expelled.clone())).unwrap();
        let brokers = unsafe {
            let cluster = sys::rd_kafka_handle_mock_cluster(owner.client().native_ptr());
            sys::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0);
            for (topic, partitions) in topics {
                let topic = CString::new(*topic).unwrap();
                sys::rd_kafka_mock_topic_create(cluster, topic.as_ptr(), *partitions, 1);
            }
            CStr::from_ptr(sys::rd_kafka_mock_cluster_bootstraps(cluster)).to_str().unwrap().to_owned()
        };
        Self { owner, expelled, brokers }
    }

    pub(super) fn config(&self) -> Config {
        Config { embedded: true, ..config(&self.brokers) }
    }

    pub(super) fn produce(&self, topic: &str, partition: i32, count: usize) {
        produce(&self.brokers, topic, partition, count);
    }

    pub(super) fn cluster(&self) -> Cluster {
        Cluster::new(&self.config()).unwrap()
    }

    /// Refuses commits of one topic, because of missing rights.
    pub(super) fn refuse_commits(&self, count: usize) {
        self.refuse_commits_with(sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, count);
    }

    /// Refuses commits of the whole group.
    pub(super) fn refuse_commits_of_all(&self, count: usize) {
        self.refuse_commits_with(sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, count);
    }

    fn refuse_commits_with(&self, error: sys::rd_kafka_resp_err_t, count: usize) {
        const OFFSET_COMMIT: i16 = 8;
        let errors = vec![error; count];
        unsafe {
            let cluster = sys::rd_kafka_handle_mock_cluster(self.owner.client().native_ptr());
            sys::rd_kafka_mock_push_request_errors_array(cluster, OFFSET_COMMIT, errors.len(), errors.as_ptr());
        }
    }

    /// Counts the requests from now on for [`Mock::requests`].
    pub(super) fn track_requests(&self) {
        unsafe {
            let cluster = sys::rd_kafka_handle_mock_cluster(self.owner.client().native_ptr());
            sys::rd_kafka_mock_start_request_tracking(cluster);
        }
    }

    /// How many requests of this kind arrived.
    pub(super) fn requests(&self, api_key: i16) -> usize {
        unsafe {
            let cluster = sys::rd_kafka_handle_mock_cluster(self.owner.client().native_ptr());
            let mut count = 0;
            let all = sys::rd_kafka_mock_get_requests(cluster, &mut count);
            let of_kind = (0..count).filter(|n| sys::rd_kafka_mock_request_api_key(*all.add(*n)) == api_key).count();
            sys::rd_kafka_mock_request_destroy_array(all, count);
            of_kind
        }
    }

    /// Makes every member fall silent.
    pub(super) fn stop_broker(&self) {
        unsafe {
            let cluster = sys::rd_kafka_handle_mock_cluster(self.owner.client().native_ptr());
            sys::rd_kafka_mock_broker_set_down(cluster, 1);
        }
    }

    pub(super) fn has_expelled(&self) -> bool {
        self.expelled.load(Ordering::SeqCst)
    }

    pub(super) fn committed(&self, topic: &str, partition: i32) -> Option<i64> {
        let name = (topic.to_owned(), partition);
        self.cluster().committed(GROUP, std::slice::from_ref(&name)).unwrap().get(&name).copied()
    }

    pub(super) fn commit(&self, topic: &str, partition: i32, at: i64) {
        self.cluster().commit_positions(GROUP, vec![(topic.to_owned(), partition, at)]).unwrap();
    }
}

pub(super) fn config(brokers: &str) -> Config {
    let quick = [("heartbeat.interval.ms", "300"), ("session.timeout.ms", "10000")];
    Config { group: GROUP.into(), ..Config::stub(brokers, &quick) }
}

pub(super) fn produce(brokers: &str, topic: &str, partition: i32, count: usize) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    let producer: BaseProducer = config.create().unwrap();
    for i in 0..count {
        let value = format!("{topic}/{partition}/{i}");
        producer.send(BaseRecord::to(topic).partition(partition).key("k").payload(&value)).unwrap();
    }
    producer.flush(Duration::from_secs(10)).unwrap();
}

/// What the handler saw, and what it has to do.
#[derive(Default)]
pub(super) struct Probe {
    pub(super) records: Mutex<Vec<Record>>,
    pub(super) acks: Mutex<Vec<AckHandle>>,
    /// Whether to complete each record at once.
    pub(super) finish: AtomicBool,
    /// The most records to take; 0: no limit.
    pub(super) limit: AtomicUsize,
    pub(super) pause: AtomicBool,
    pub(super) completed: AtomicUsize,
    pub(super) returned: AtomicUsize,
    pub(super) left: AtomicUsize,
    /// The most records of a partition that are read beyond its first unfinished one; 0: no bound. It is read once.
    pub(super) window: AtomicUsize,
    /// How many records the handler was last asked to hand off.
    pub(super) blockers: AtomicUsize,
    turn: Mutex<Option<Instant>>,
    pub(super) longest_gap: Mutex<Duration>,
}

impl Probe {
    pub(super) fn finishing() -> Arc<Self> {
        let probe = Arc::new(Self::default());
        probe.finish.store(true, Ordering::SeqCst);
        probe
    }

    pub(super) fn holding() -> Arc<Self> {
        Arc::new(Self::default())
    }

    pub(super) fn seen(&self) -> usize {
        self.records.lock().unwrap().len()
    }

    pub(super) fn offsets(&self, topic: &str, partition: i32) -> Vec<i64> {
        let records = self.records.lock().unwrap();
        records.iter().filter(|r| &*r.topic == topic && r.partition == partition).map(|r| r.offset).collect()
    }

    /// Ends every record that is held.
    pub(super) fn finish_all(&self) -> usize {
        let acks = std::mem::take(&mut *self.acks.lock().unwrap());
        let count = acks.len();
        acks.into_iter().for_each(|t| t.complete(End::Finished(Outcome::Delivered)));
        count
    }

    pub(super) fn count(&self, of: &AtomicUsize) -> usize {
        of.load(Ordering::SeqCst)
    }
}

impl Handler for Arc<Probe> {
    type Work = Open;

    fn received(&mut self, record: Record, ack: AckHandle) {
        self.records.lock().unwrap().push(record);
        if self.finish.load(Ordering::SeqCst) {
            ack.complete(End::Finished(Outcome::Delivered));
        } else {
            self.acks.lock().unwrap().push(ack);
        }
    }

    fn flush(&mut self) {}

    fn completed(&mut self, _: &Open, end: End) {
        assert!(!matches!(end, End::Returned | End::Lost));
        self.completed.fetch_add(1, Ordering::SeqCst);
    }

    fn hand_off(&mut self, blockers: &[Arc<Open>]) -> usize {
        self.blockers.store(blockers.len(), Ordering::SeqCst);
        blockers.iter().filter(|open| open.set_leaves()).count()
    }

    fn returned(&mut self, _: &Open) {
        self.returned.fetch_add(1, Ordering::SeqCst);
    }

    fn leaving(&mut self, assignment: &Assignment) {
        assert!(assignment.is_leaving());
        self.left.fetch_add(1, Ordering::SeqCst);
    }

    fn may_poll(&mut self) -> Flow {
        let limit = self.limit.load(Ordering::SeqCst);
        if limit > 0 && self.seen() >= limit { Flow::Skip } else { Flow::Poll }
    }

    fn pause_wanted(&self, _: &str, _: i32) -> bool {
        self.pause.load(Ordering::SeqCst)
    }

    fn tick(&mut self, now: Instant) -> Option<Duration> {
        let last = self.turn.lock().unwrap().replace(now);
        let mut longest = self.longest_gap.lock().unwrap();
        *longest = longest.max(last.map_or(Duration::ZERO, |last| now - last));
        None
    }
}

/// How long the machine keeps a thread waiting that has nothing to do but to wake up.
pub(super) struct Machine {
    longest_ms: Arc<AtomicUsize>,
}

impl Machine {
    /// Watches it until this value is gone.
    pub(super) fn watched() -> Self {
        let longest_ms = Arc::new(AtomicUsize::new(0));
        let (watches, told) = (Arc::downgrade(&longest_ms), Duration::from_millis(10));
        std::thread::spawn(move || {
            while let Some(longest_ms) = watches.upgrade() {
                let began = Instant::now();
                std::thread::sleep(told);
                longest_ms.fetch_max((began.elapsed() - told).as_millis() as usize, Ordering::SeqCst);
            }
        });
        Self { longest_ms }
    }

    /// The bound for what an idle machine does in this time: a turn waits for a processor a few times.
    pub(super) fn allows(&self, on_an_idle_one: Duration) -> Duration {
        on_an_idle_one + 5 * Duration::from_millis(self.longest_ms.load(Ordering::SeqCst) as u64)
    }
}

/// The settings of a consumer of one topic.
pub(super) fn settings(config: &Config, kind: Kind, topic: &str) -> Settings {
    let client = match kind {
        Kind::Input => kafka::intake(config),
        // The group of the test, with the metadata interval of the consumer of waiting topics.
        Kind::Waiting => kafka::waiting(config, 1).map(|mut c| c.set("group.id", &config.group).clone()),
    };
    Settings {
        unplaced: Default::default(),
        client: client.unwrap(),
        subscribe: BTreeSet::from([topic.to_owned()]),
        kind,
        drain: Duration::from_secs(5),
        window: None,
        has_ids: !config.embedded,
        begins: Default::default(),
    }
}

/// A consumer under test.
pub(super) struct Member {
    pub(super) probe: Arc<Probe>,
    pub(super) view: Arc<ConsumerView>,
    pub(super) handle: ConsumerHandle,
}

impl Member {
    pub(super) fn join(brokers: &str, kind: Kind, topic: &str, probe: Arc<Probe>) -> Self {
        // The mock cluster does not answer questions for ids, so it counts as an embedded broker.
        let config = Config { embedded: true, ..config(brokers) };
        Self::join_as(&config, kind, topic, probe)
    }

    pub(super) fn join_as(config: &Config, kind: Kind, topic: &str, probe: Arc<Probe>) -> Self {
        if std::env::var_os("POSTBACK_TEST_LOG").is_some() {
            let _ = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).try_init();
        }
        let window = probe.window.load(Ordering::SeqCst) as u64;
        let settings = Settings { window: (window > 0).then_some(window), ..settings(config, kind, topic) };
        let view = Arc::new(ConsumerView::default());
        let handle = Consumer::spawn("test", settings, probe.clone(), view.clone()).unwrap();
        Self { probe, view, handle }
    }

    pub(super) fn stop(self, drain: Duration) -> Arc<Probe> {
        self.handle.shutdown(drain);
        self.handle.join().unwrap();
        self.probe.clone()
    }

    pub(super) fn partition(&self, partition: i32) -> Option<PartitionView> {
        self.view.snapshot().partitions.iter().find(|p| p.partition == partition).cloned()
    }

    pub(super) fn parked(&self, partition: i32) -> Option<Parked> {
        self.partition(partition)?.parked
    }

    pub(super) fn owned(&self) -> usize {
        self.view.snapshot().partitions.len()
    }
}

impl Drop for Member {
    /// Stops the member of a failed test, so that its thread does not run beside the other tests.
    fn drop(&mut self) {
        self.handle.shutdown(Duration::ZERO);
    }
}

/// Waits for something that happens on other threads.
#[track_caller]
pub(super) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(40);
    while !holds() {
        assert!(Instant::now() < deadline, "did not happen: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How often each offset of a topic was seen, over several members.
pub(super) fn sightings(topic: &str, probes: &[&Arc<Probe>]) -> BTreeMap<(i32, i64), usize> {
    let mut seen = BTreeMap::new();
    for probe in probes {
        for record in probe.records.lock().unwrap().iter().filter(|r| &*r.topic == topic) {
            *seen.entry((record.partition, record.offset)).or_default() += 1;
        }
    }
    seen
}

//! Tests what the mock cluster imitates badly or not at all, against the Kafka that `POSTBACK_TEST_KAFKA` names.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::producer::BaseRecord;
use rdkafka::{Offset, TopicPartitionList};

use super::mock::{GROUP, Member, Probe, config, eventually, produce, sightings};
use super::*;
use crate::kafka::native::{self, TopicId};
use crate::kafka::topics::{AdminError, Cluster, Health, Level, OwnedTopic, Waiting, owned_topics};
use crate::kafka::{Config, StartFrom, settings};

const SHORT: Duration = Duration::from_millis(300);

fn brokers() -> String {
    std::env::var("POSTBACK_TEST_KAFKA").expect("POSTBACK_TEST_KAFKA names a Kafka")
}

/// A name that no other test and no earlier run uses.
fn unique(stem: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{stem}-{}-{}", since.as_micros(), COUNT.fetch_add(1, Ordering::SeqCst))
}

/// Asks again while there is no answer, as every caller does, for example while the broker loads the group's partition.
fn patiently<T>(mut ask: impl FnMut() -> Result<T, AdminError>) -> Result<T, AdminError> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match ask() {
            Err(AdminError::NoAnswer(_)) if Instant::now() < deadline => std::thread::sleep(SHORT),
            other => return other,
        }
    }
}

struct Real {
    config: Config,
    cluster: Cluster,
    admin: AdminClient<DefaultClientContext>,
    runtime: tokio::runtime::Runtime,
}

impl Real {
    fn new() -> Self {
        let config = Config { group: unique(GROUP), ..config(&brokers()) };
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &config.brokers);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { cluster: Cluster::new(&config).unwrap(), admin: client.create().unwrap(), config, runtime }
    }

    fn topic(&self, partitions: i32) -> String {
        self.create(&unique("t"), partitions, &[])
    }

    fn create(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> String {
        let new = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let new = settings.iter().fold(new, |new, (key, value)| new.set(key, value));
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
        self.runtime.block_on(self.admin.create_topics([&new], &options)).unwrap()[0].as_ref().unwrap();
        name.to_owned()
    }

    fn delete_records(&self, topic: &str, before: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, 0, Offset::Offset(before)).unwrap();
        self.runtime.block_on(self.admin.delete_records(&list, &AdminOptions::new())).unwrap();
    }

    fn delete(&self, topic: &str) {
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
        self.runtime.block_on(self.admin.delete_topics(&[topic], &options)).unwrap()[0].as_ref().unwrap();
        eventually("it is gone", || self.cluster.topics().is_ok_and(|all| all.iter().all(|t| t.name != topic)));
    }

    /// Creates another topic with the same name, with this many records in its first partition.
    fn make_again(&self, topic: &str, partitions: i32, records: usize) {
        self.delete(topic);
        self.create(topic, partitions, &[]);
        // A client that knew the old topic may not find the leader of this one.
        let cluster = Cluster::new(&self.config).unwrap();
        eventually("it is there", || cluster.watermarks(topic, 0).is_ok_and(|marks| marks == (0, 0)));
        produce(&self.config.brokers, topic, 0, records);
    }

    fn id(&self, topic: &str) -> TopicId {
        let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", &self.config.brokers).create().unwrap();
        native::topic_ids(client.client(), &[topic], Duration::from_secs(10)).unwrap()[topic].clone().unwrap()
    }

    /// Commits a position with its topic id and leader epoch, as a worker does, or as one that read another log did.
    fn commit(&self, topic: &str, at: i64, id: Option<&TopicId>, epoch: Option<i32>) {
        let client: BaseConsumer = settings::admin(&self.config, Some(&self.config.group)).unwrap().create().unwrap();
        let mut list = TopicPartitionList::new();
        let mut element = list.add_partition(topic, 0);
        element.set_offset(Offset::Offset(at)).unwrap();
        id.inspect(|id| element.set_metadata(id.note()));
        epoch.inspect(|epoch| native::set_leader_epoch(&mut list, topic, 0, *epoch));
        eventually("it is committed", || client.commit(&list, CommitMode::Sync).is_ok());
    }

    /// Produces each of these counts in a transaction of its own, which leaves a marker after it.
    fn produce_in_transactions(&self, topic: &str, counts: &[usize], commit: bool) {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.config.brokers).set("transactional.id", unique("tx"));
        let producer: BaseProducer = client.create().unwrap();
        let within = Duration::from_secs(30);
        producer.init_transactions(within).unwrap();
        for count in counts {
            producer.begin_transaction().unwrap();
            for _ in 0..*count {
                producer.send(BaseRecord::<(), _>::to(topic).partition(0).payload("v")).unwrap();
            }
            producer.flush(within).unwrap();
            if commit {
                producer.commit_transaction(within).unwrap();
            } else {
                producer.abort_transaction(within).unwrap();
            }
        }
    }

    /// Produces this many records in a transaction that stays open.
    fn begin_transaction(&self, topic: &str, count: usize) -> BaseProducer {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.config.brokers).set("transactional.id", unique("tx"));
        let producer: BaseProducer = client.create().unwrap();
        let within = Duration::from_secs(30);
        producer.init_transactions(within).unwrap();
        producer.begin_transaction().unwrap();
        for _ in 0..count {
            producer.send(BaseRecord::<(), _>::to(topic).partition(0).payload("v")).unwrap();
        }
        producer.flush(within).unwrap();
        producer
    }

    fn join(&self, kind: Kind, topic: &str, probe: Arc<Probe>) -> Member {
        Member::join_as(&self.config, kind, topic, probe)
    }

    fn committed(&self, topic: &str, partition: i32) -> Option<i64> {
        let name = (topic.to_owned(), partition);
        patiently(|| self.cluster.committed(&self.config.group, std::slice::from_ref(&name)))
            .unwrap()
            .get(&name)
            .copied()
    }
}

#[test]
fn a_first_start_begins_where_it_was_told_and_positions_are_set_only_while_the_group_is_empty() {
    let mut real = Real::new();
    let topic = real.topic(2);
    produce(&real.config.brokers, &topic, 0, 6);
    real.config.input = vec![topic.clone()];
    real.cluster = Cluster::new(&real.config).unwrap();
    let partitions = real.cluster.input_partitions().unwrap();
    assert_eq!(partitions, [(topic.clone(), 0), (topic.clone(), 1)]);
    let committed = patiently(|| real.cluster.committed(&real.config.group, &partitions)).unwrap();
    assert_eq!(committed, BTreeMap::new());
    assert_eq!(real.cluster.start_positions(StartFrom::Error, &partitions).unwrap(), None);
    let latest = real.cluster.start_positions(StartFrom::Latest, &partitions).unwrap().unwrap();
    assert_eq!(latest, [(topic.clone(), 0, 6), (topic.clone(), 1, 0)]);
    let first = real.cluster.start_positions(StartFrom::Earliest, &partitions).unwrap().unwrap();
    let commit = || patiently(|| real.cluster.commit_positions(&real.config.group, first.clone()));
    commit().unwrap();

    let member = real.join(Kind::Input, &topic, Probe::finishing());
    eventually("all come", || member.probe.seen() == 6);
    assert_eq!(commit(), Err(AdminError::GroupActive));
    eventually("the view follows", || {
        let view = member.partition(0).unwrap();
        (view.frontier, view.committed, view.high, view.lag_records) == (Some(6), Some(6), Some(6), Some(0))
    });
    member.stop(SHORT);
    assert_eq!(real.committed(&topic, 0), Some(6));
    commit().unwrap();
}

#[test]
fn a_position_that_retention_deleted_is_parked_at_start_and_while_reading() {
    let real = Real::new();
    let topic = real.topic(1);
    produce(&real.config.brokers, &topic, 0, 100);
    let member = real.join(Kind::Waiting, &topic, Probe::finishing());
    eventually("all come", || member.probe.seen() == 100);
    eventually("all is committed", || real.committed(&topic, 0) == Some(100));
    // Records that are produced during the pause are deleted before they are read.
    member.probe.pause.store(true, Ordering::SeqCst);
    std::thread::sleep(SHORT);
    produce(&real.config.brokers, &topic, 0, 50);
    real.delete_records(&topic, 140);
    member.probe.pause.store(false, Ordering::SeqCst);
    eventually("it is parked while reading", || member.parked(0).is_some());
    let parked = member.parked(0).unwrap();
    assert_eq!((parked.committed, parked.low, parked.high, parked.hole()), (Some(100), 140, 150, 40));
    assert_eq!(member.probe.seen(), 100);
    member.stop(SHORT);

    let member = real.join(Kind::Waiting, &topic, Probe::finishing());
    eventually("it is parked at start", || member.parked(0).is_some());
    member.handle.order(UnblockOrder { topic: topic.clone(), partition: 0, to: UnblockTo::Earliest });
    eventually("reading goes on", || member.probe.offsets(&topic, 0) == (140..150).collect::<Vec<_>>());
    eventually("and is committed", || real.committed(&topic, 0) == Some(150));
    member.stop(SHORT);
}

#[test]
fn a_topic_that_is_made_again_under_a_running_member_is_read_from_its_beginning() {
    let real = Real::new();
    let topic = real.topic(1);
    produce(&real.config.brokers, &topic, 0, 10);
    real.commit(&topic, 0, None, None);
    let member = real.join(Kind::Input, &topic, Probe::finishing());
    eventually("all of the old one are committed", || real.committed(&topic, 0) == Some(10));
    member.probe.finish.store(false, Ordering::SeqCst);
    produce(&real.config.brokers, &topic, 0, 2);
    eventually("two are under way", || member.probe.seen() == 12);
    real.make_again(&topic, 1, 30);
    eventually("they are given back", || member.probe.count(&member.probe.returned) >= 2);
    // The end of these records does not concern the new topic.
    member.probe.finish_all();
    member.probe.finish.store(true, Ordering::SeqCst);
    eventually("all of the new one come", || real.committed(&topic, 0) == Some(30));
    // The records that were read at the old position, before the ids were checked, came first. They were given back
    // with the rest.
    let offsets = member.probe.offsets(&topic, 0);
    assert_eq!(offsets[..12], (0..12).collect::<Vec<_>>());
    assert_eq!(offsets[offsets.len() - 30..], (0..30).collect::<Vec<_>>());
    assert!(member.partition(0).unwrap().remade_ms.is_some(), "and the view names it");
    assert_eq!(member.probe.count(&member.probe.completed), 40);
    member.stop(SHORT);
}

#[test]
fn a_position_of_an_earlier_topic_of_the_same_name_is_none() {
    let real = Real::new();
    let topic = real.topic(1);
    let old = real.id(&topic);
    real.make_again(&topic, 1, 30);
    assert_ne!(real.id(&topic), old);
    real.commit(&topic, 10, Some(&old), Some(0));
    let member = real.join(Kind::Input, &topic, Probe::finishing());
    eventually("all come", || real.committed(&topic, 0) == Some(30));
    assert_eq!(member.probe.offsets(&topic, 0), (0..30).collect::<Vec<_>>());
    member.stop(SHORT);
    // The position that the member committed belongs to the new topic.
    produce(&real.config.brokers, &topic, 0, 3);
    let member = real.join(Kind::Input, &topic, Probe::finishing());
    eventually("the others come", || real.committed(&topic, 0) == Some(33));
    assert_eq!((member.probe.seen(), member.partition(0).unwrap().remade_ms), (3, None));
    member.stop(SHORT);
}

#[test]
fn what_took_the_place_of_records_in_a_log_that_was_cut_is_read() {
    let real = Real::new();
    let topic = real.topic(1);
    produce(&real.config.brokers, &topic, 0, 10);
    // A member read up to 4 in a log whose leader had an epoch that this log never had.
    real.commit(&topic, 4, None, Some(7));
    let member = real.join(Kind::Input, &topic, Probe::finishing());
    eventually("all come", || member.probe.seen() == 10);
    assert_eq!(member.probe.offsets(&topic, 0), (0..10).collect::<Vec<_>>());
    eventually("and are committed", || real.committed(&topic, 0) == Some(10));
    member.stop(SHORT);
}

#[test]
fn marks_of_transactions_are_no_lag_and_the_position_passes_them() {
    let real = Real::new();
    let topic = real.topic(1);
    real.produce_in_transactions(&topic, &[3, 2], true);
    let member = real.join(Kind::Waiting, &topic, Probe::finishing());
    eventually("all come", || member.probe.seen() == 5);
    let at_end = |end| {
        let view = member.partition(0).unwrap();
        (view.frontier, view.lag_records) == (Some(end), Some(0)) && real.committed(&topic, 0) == Some(end)
    };
    eventually("the position passes the mark", || at_end(7));
    real.produce_in_transactions(&topic, &[4], false);
    eventually("and what was broken off", || at_end(12));
    produce(&real.config.brokers, &topic, 0, 2);
    eventually("what comes then is read", || at_end(14));
    assert_eq!(member.probe.offsets(&topic, 0), [0, 1, 2, 4, 5, 12, 13]);
    assert_eq!(member.partition(0).unwrap().parked, None);
    member.stop(SHORT);
    real.produce_in_transactions(&topic, &[1], false);
    let member = real.join(Kind::Waiting, &topic, Probe::finishing());
    eventually("also right after a start", || real.committed(&topic, 0) == Some(16));
    assert_eq!(member.probe.seen(), 0);
    member.stop(SHORT);
}

/// The end of the partition lies after its records, and the part that can be delivered ends before them.
#[test]
fn records_of_a_transaction_that_stays_open_for_long_are_read_when_it_ends() {
    let real = Real::new();
    let topic = real.topic(1);
    produce(&real.config.brokers, &topic, 0, 2);
    let member = real.join(Kind::Waiting, &topic, Probe::finishing());
    eventually("all come", || real.committed(&topic, 0) == Some(2));
    let producer = real.begin_transaction(&topic, 3);
    eventually("they are there", || member.partition(0).unwrap().high == Some(5));
    // Longer than the consumer needs to check what comes next.
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!((real.committed(&topic, 0), member.partition(0).unwrap().frontier), (Some(2), Some(2)));
    producer.commit_transaction(Duration::from_secs(30)).unwrap();
    eventually("the position passes its mark", || real.committed(&topic, 0) == Some(6));
    assert_eq!(member.probe.offsets(&topic, 0), (0..5).collect::<Vec<_>>());
    assert_eq!(member.view.snapshot().counts.repeats, 0);
    member.stop(SHORT);
}

#[test]
fn members_come_and_go_under_load_and_nothing_finished_comes_again() {
    let real = Real::new();
    let topic = real.topic(6);
    let feed = |n| (0..6).for_each(|p| produce(&real.config.brokers, &topic, p, n));
    feed(50);
    let first = real.join(Kind::Waiting, &topic, Probe::holding());
    eventually("the first has all", || first.probe.seen() == 300);
    let mut members = vec![real.join(Kind::Waiting, &topic, Probe::finishing())];
    eventually("partitions are asked back", || first.probe.count(&first.probe.left) > 0);
    std::thread::sleep(SHORT);
    first.probe.finish.store(true, Ordering::SeqCst);
    first.probe.finish_all();
    let joined = Instant::now();
    eventually("both have three", || first.owned() == 3 && members[0].owned() == 3);
    println!("two members settled after {:?}", joined.elapsed());
    for round in 0..4 {
        feed(20);
        members.push(real.join(Kind::Waiting, &topic, Probe::finishing()));
        std::thread::sleep(Duration::from_millis(700));
        feed(20);
        if round % 2 == 1 {
            let probe = members.remove(0).stop(Duration::from_secs(5));
            members.insert(0, real.join(Kind::Waiting, &topic, probe));
        }
    }
    let total = 6 * (50 + 8 * 20);
    let probes: Vec<Arc<Probe>> = std::iter::once(&first).chain(&members).map(|m| m.probe.clone()).collect();
    let all: Vec<&Arc<Probe>> = probes.iter().collect();
    eventually("all is committed", || (0..6).all(|p| real.committed(&topic, p) == Some(210)));
    let seen = sightings(&topic, &all);
    assert_eq!(seen.len(), total);
    let again: Vec<_> = seen.iter().filter(|(_, n)| **n > 1).collect();
    assert!(again.is_empty(), "{} redelivered: {again:?}", again.len());
    for member in std::iter::once(first).chain(members) {
        assert!(member.handle.is_alive());
        let gap = *member.probe.longest_gap.lock().unwrap();
        println!("longest gap {gap:?}, errors {}", member.view.snapshot().counts.commit_errors);
        let before = Instant::now();
        let probe = member.stop(SHORT);
        println!("left in {:?}", before.elapsed());
        assert_eq!(probe.count(&probe.returned), 0);
    }
}

#[test]
fn a_pause_ends_with_the_assignment_it_was_made_for() {
    let real = Real::new();
    let topic = real.topic(2);
    let first = real.join(Kind::Waiting, &topic, Probe::finishing());
    eventually("it has both", || first.owned() == 2);
    first.probe.pause.store(true, Ordering::SeqCst);
    std::thread::sleep(SHORT);
    let second = real.join(Kind::Waiting, &topic, Probe::finishing());
    eventually("each has one", || first.owned() == 1 && second.owned() == 1);
    first.probe.pause.store(false, Ordering::SeqCst);
    second.stop(SHORT);
    eventually("it has both again", || first.owned() == 2);
    (0..2).for_each(|p| produce(&real.config.brokers, &topic, p, 3));
    eventually("both are read", || (0..2).all(|p| first.probe.offsets(&topic, p).len() == 3));
    first.stop(SHORT);
}

#[test]
fn a_topic_that_is_named_later_is_read_beside_those_that_are_read_already() {
    let real = Real::new();
    let prefix = unique("postback.parked");
    real.create(&format!("{prefix}.a"), 1, &[]);
    let first = format!("{prefix}.a");
    let member = real.join(Kind::Waiting, &first, Probe::finishing());
    produce(&real.config.brokers, &first, 0, 1);
    eventually("the first is read", || member.probe.offsets(&first, 0) == [0]);
    let named = Instant::now();
    let late = real.create(&format!("{prefix}.late"), 1, &[]);
    produce(&real.config.brokers, &late, 0, 1);
    member.handle.subscribe(vec![late.clone()]);
    eventually("the new one is read", || !member.probe.offsets(&late, 0).is_empty());
    println!("read after {:?}", named.elapsed());
    produce(&real.config.brokers, &first, 0, 1);
    eventually("and so is the first", || member.probe.offsets(&first, 0) == [0, 1]);
    assert_eq!(member.probe.count(&member.probe.left), 0, "nothing was handed back");
    member.stop(SHORT);
}

#[test]
fn own_topics_are_created_right_or_named_and_wrong_ones_are_refused() {
    let mut real = Real::new();
    let large = real.create(&unique("in"), 1, &[("max.message.bytes", "3000000")]);
    let stem = unique("own");
    real.config = Config {
        input: vec![large],
        retry_prefix: format!("{stem}.retry"),
        parked_prefix: format!("{stem}.parked"),
        dead_letter: format!("{stem}.dlt"),
        results: format!("{stem}.results"),
        audit: format!("{stem}.audit"),
        create_topics: false,
        ..real.config
    };
    let day = 24 * 3600 * 1000;
    let waiting = Waiting { retention_ms: 11 * day, least_ms: 5 * day, window_ms: 12 * day };
    let owned = owned_topics(&real.config, &["5s", "30s"], &["acme"], &["acme"], waiting);
    let ensure_all = |config: &Config, owned: &[OwnedTopic]| {
        let cluster = Cluster::new(config).unwrap();
        cluster.ensure(owned, &cluster.sources().unwrap()).unwrap()
    };
    let ensure = |config: &Config| ensure_all(config, &owned);
    let missing = ensure(&real.config).missing;
    assert_eq!(missing.len(), 7);
    assert!(missing[0].command.contains("--config max.message.bytes=3065536"), "{}", missing[0].command);

    let config = Config { create_topics: true, ..real.config.clone() };
    let ensured = ensure(&config);
    assert_eq!((ensured.created.len(), ensured.missing.len()), (7, 0));
    assert!(ensured.findings.iter().all(|f| f.level == Level::Warn), "{:?}", ensured.findings);
    let again = ensure(&config);
    assert_eq!((again.created.len(), again.findings), (0, ensured.findings));
    let cluster = Cluster::new(&config).unwrap();
    let set = &cluster.describe(&[&owned[0].name]).unwrap()[&owned[0].name];
    assert_eq!((set.cleanup_policy.as_str(), set.retention_ms), ("delete", Some(11 * day)));
    assert_eq!(set.segment_ms, Some(day / 2));
    let letters = &cluster.describe(&[&owned[4].name]).unwrap()[&owned[4].name];
    assert_eq!((owned[4].name.as_str(), letters.retention_ms), (&*config.dead_letter, Some(30 * day)));
    let partitions = |name: &str| cluster.topics().unwrap().into_iter().find(|t| t.name == name).unwrap().partitions;
    assert_eq!((partitions(&owned[2].name), partitions(&owned[3].name)), (1, 100), "parking and the remainder");

    let wrong = Config { dead_letter: unique("dlt"), ..config };
    real.create(&wrong.dead_letter, 3, &[("cleanup.policy", "compact"), ("retention.ms", "1000")]);
    let owned = owned_topics(&wrong, &[], &[], &[], waiting);
    let levels: Vec<Level> = ensure_all(&wrong, &owned).findings.iter().map(|f| f.level).collect();
    assert_eq!(levels, [Level::Warn, Level::Refuse, Level::Warn, Level::Warn]);
}

#[test]
fn health_tells_a_cluster_that_answers_from_one_that_does_not() {
    let up = Health::start(&config(&brokers())).unwrap();
    eventually("it answers", || up.is_up());
    let down = Health::start(&config("127.0.0.1:1")).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert!(!down.is_up());
    assert!(matches!(Cluster::new(&config("127.0.0.1:1")).unwrap().broker_count(), Err(AdminError::NoAnswer(_))));
}

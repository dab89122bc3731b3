//! Kafka: the shared broker, or an own cluster of one or three that a test may break. Topics, offsets, publishing.

use super::process::Process;
use super::{eventually, free_port, secs, wait_for_port};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::Path;
use std::process::{Command, Stdio};

/// Brokers of one test alone. Data survive stop, kill and start.
pub struct Cluster {
    nodes: Vec<Node>,
}

struct Node {
    port: u16,
    process: Process,
}

impl Cluster {
    /// `size` brokers, each also a controller.
    pub fn start_new(dir: &Path, size: usize) -> Self {
        let libs = std::env::var("POSTBACK_TEST_KAFKA_LIBS")
            .expect("POSTBACK_TEST_KAFKA_LIBS names no folder with Kafka's jars; start the tests through tests/run");
        let ports: Vec<(u16, u16)> = (0..size).map(|_| (free_port(), free_port())).collect();
        let voters: Vec<String> =
            ports.iter().enumerate().map(|(i, (_, c))| format!("{}@127.0.0.1:{c}", i + 1)).collect();
        let mut nodes = Vec::new();
        for (i, (port, controller)) in ports.iter().enumerate() {
            let home = dir.join(format!("kafka-{}", i + 1));
            std::fs::create_dir_all(&home).unwrap();
            let file = home.join("server.properties");
            std::fs::write(&file, properties(i + 1, *port, *controller, &voters, &home)).unwrap();
            std::fs::write(home.join("log4j2.yaml"), LOG4J).unwrap();
            let java = |class: &str, rest: &[&str]| {
                let mut args: Vec<String> =
                    ["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"].map(String::from).into();
                args.push(format!("-Dlog4j2.configurationFile={}", home.join("log4j2.yaml").display()));
                args.extend(["-cp".into(), format!("{libs}/*"), class.into()]);
                args.extend(rest.iter().map(|s| (*s).to_owned()));
                args
            };
            let path = file.display().to_string();
            let format = java("kafka.tools.StorageTool", &["format", "-t", "cG9zdGJhY2stZTJlLTAwMQ", "-c", &path]);
            let status = Command::new("java").args(format).stdout(Stdio::null()).stderr(Stdio::null()).status();
            assert!(status.expect("no java").success(), "kafka could not format {path}");
            let process = Process::new("java", java("kafka.Kafka", &[&path]), &home, &home.join("kafka.log"));
            nodes.push(Node { port: *port, process });
        }
        let mut cluster = Self { nodes };
        for node in &mut cluster.nodes {
            node.process.spawn();
        }
        cluster.wait_until_up();
        cluster
    }

    pub fn bootstrap(&self) -> String {
        let all: Vec<String> = self.nodes.iter().map(|n| format!("127.0.0.1:{}", n.port)).collect();
        all.join(",")
    }

    fn wait_until_up(&self) {
        for node in &self.nodes {
            wait_for_port(node.port, secs(90));
        }
        let probe = Admin::new(&self.bootstrap());
        let size = self.nodes.len();
        eventually(secs(60), "every broker is in the metadata", || probe.brokers() == size);
    }

    pub fn stop(&mut self) {
        for node in &mut self.nodes {
            node.process.stop(secs(30));
        }
    }

    pub fn start(&mut self) {
        for node in &mut self.nodes {
            node.process.spawn();
        }
        self.wait_until_up();
    }

    pub fn freeze(&mut self) {
        for node in &mut self.nodes {
            node.process.freeze();
        }
    }

    pub fn thaw(&mut self) {
        for node in &mut self.nodes {
            node.process.thaw();
        }
    }

    /// kill -9 of one broker, counted from 0.
    pub fn kill_one(&mut self, index: usize) {
        self.nodes[index].process.kill();
    }

    pub fn start_one(&mut self, index: usize) {
        self.nodes[index].process.spawn();
        wait_for_port(self.nodes[index].port, secs(90));
    }
}

fn properties(id: usize, port: u16, controller: u16, voters: &[String], home: &Path) -> String {
    let copies = voters.len();
    let isr = if copies > 1 { 2 } else { 1 };
    format!(
        "process.roles=broker,controller\nnode.id={id}\ncontroller.quorum.voters={voters}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         controller.listener.names=CONTROLLER\ninter.broker.listener.name=PLAINTEXT\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\nlog.dirs={home}/data\n\
         num.partitions=3\ndefault.replication.factor={copies}\nmin.insync.replicas={isr}\n\
         offsets.topic.replication.factor={copies}\noffsets.topic.num.partitions=4\n\
         transaction.state.log.replication.factor={copies}\ntransaction.state.log.min.isr={isr}\n\
         share.coordinator.state.topic.replication.factor={copies}\nshare.coordinator.state.topic.min.isr={isr}\n\
         group.initial.rebalance.delay.ms=0\nauto.create.topics.enable=false\n\
         broker.session.timeout.ms=4000\nbroker.heartbeat.interval.ms=500\nreplica.lag.time.max.ms=4000\n\
         log.cleaner.dedupe.buffer.size=8388608\nlog.index.size.max.bytes=1048576\n\
         authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
         super.users=User:ANONYMOUS\n",
        voters = voters.join(","),
        home = home.display(),
    )
}

const LOG4J: &str = "Configuration:\n  Appenders:\n    Console:\n      name: STDOUT\n      target: SYSTEM_ERR\n      \
                     PatternLayout: {pattern: \"%d %p %c - %m%n\"}\n  Loggers:\n    Root:\n      level: WARN\n      \
                     AppenderRef: [{ref: STDOUT}]\n";

/// Topics, settings, offsets and group members, as an operator's tools would see them.
pub struct Admin {
    client: AdminClient<DefaultClientContext>,
    bootstrap: String,
}

impl Admin {
    pub fn new(bootstrap: &str) -> Self {
        Self { client: quiet(bootstrap).create().unwrap(), bootstrap: bootstrap.into() }
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    pub fn brokers(&self) -> usize {
        self.client.inner().fetch_metadata(None, secs(3)).map_or(0, |m| m.brokers().len())
    }

    pub fn create_topic(&self, name: &str, partitions: i32, replication: i32, settings: &[(&str, &str)]) {
        self.create(NewTopic::new(name, partitions, TopicReplication::Fixed(replication)), settings);
    }

    /// A topic of one partition, whose replicas these brokers have (counted from 1).
    pub fn create_topic_on(&self, name: &str, brokers: &[i32], settings: &[(&str, &str)]) {
        self.create(NewTopic::new(name, 1, TopicReplication::Variable(&[brokers])), settings);
    }

    fn create<'a>(&self, mut topic: NewTopic<'a>, settings: &[(&'a str, &'a str)]) {
        let (name, partitions) = (topic.name, topic.num_partitions);
        for (key, value) in settings {
            topic = topic.set(key, value);
        }
        let options = AdminOptions::new().operation_timeout(Some(secs(20)));
        for result in self.wait(self.client.create_topics([&topic], &options)).unwrap() {
            result.unwrap();
        }
        eventually(secs(20), &format!("topic {name} has its leaders"), || self.partitions(name) == partitions as usize);
    }

    /// Lets a user read a topic. Only own clusters have such rules.
    pub fn let_read(&self, topic: &str, principal: &str) {
        use rdkafka::bindings as sys;
        let text = |text: &str| CString::new(text).unwrap();
        let (topic, principal, anywhere) = (text(topic), text(principal), text("*"));
        // SAFETY: the texts outlive the calls, which copy them; what is made here is destroyed here.
        unsafe {
            let rk = self.client.inner().native_ptr();
            let mut why = [0; 128];
            let mut rule = sys::rd_kafka_AclBinding_new(
                sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC,
                topic.as_ptr(),
                sys::rd_kafka_ResourcePatternType_t::RD_KAFKA_RESOURCE_PATTERN_LITERAL,
                principal.as_ptr(),
                anywhere.as_ptr(),
                sys::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_READ,
                sys::rd_kafka_AclPermissionType_t::RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW,
                why.as_mut_ptr(),
                why.len(),
            );
            assert!(!rule.is_null(), "no such rule");
            let queue = sys::rd_kafka_queue_new(rk);
            sys::rd_kafka_CreateAcls(rk, &mut rule, 1, std::ptr::null(), queue);
            let event = sys::rd_kafka_queue_poll(queue, 20_000);
            assert!(!event.is_null(), "no answer");
            let error = sys::rd_kafka_event_error(event);
            assert_eq!(error, sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR);
            sys::rd_kafka_event_destroy(event);
            sys::rd_kafka_queue_destroy(queue);
            sys::rd_kafka_AclBinding_destroy(rule);
        }
    }

    /// The leader of a partition (-1: none), and the replicas in sync in the order of their numbers.
    pub fn leader_and_in_sync(&self, topic: &str, partition: i32) -> (i32, Vec<i32>) {
        let Ok(metadata) = self.client.inner().fetch_metadata(None, secs(5)) else { return (-1, Vec::new()) };
        let topic = metadata.topics().iter().find(|t| t.name() == topic);
        let found = topic.and_then(|t| t.partitions().iter().find(|p| p.id() == partition));
        found.map_or((-1, Vec::new()), |p| {
            let mut in_sync = p.isr().to_vec();
            in_sync.sort_unstable();
            (p.leader(), in_sync)
        })
    }

    /// Deletes a topic, and waits until nobody sees it any more.
    pub fn delete_topic(&self, name: &str) {
        let options = AdminOptions::new().operation_timeout(Some(secs(10)));
        self.wait(self.client.delete_topics(&[name], &options)).unwrap()[0].as_ref().unwrap();
        eventually(secs(20), "the topic is gone", || self.partitions(name) == 0);
    }

    pub fn topics(&self) -> Vec<String> {
        let Ok(metadata) = self.client.inner().fetch_metadata(None, secs(5)) else { return Vec::new() };
        metadata.topics().iter().map(|t| t.name().to_owned()).collect()
    }

    /// Partitions that have a leader; 0 where the topic does not exist.
    pub fn partitions(&self, topic: &str) -> usize {
        // Asking for one topic would create it on a broker that allows that.
        let Ok(metadata) = self.client.inner().fetch_metadata(None, secs(5)) else { return 0 };
        metadata
            .topics()
            .iter()
            .find(|t| t.name() == topic && t.error().is_none())
            .map_or(0, |t| t.partitions().iter().filter(|p| p.leader() >= 0).count())
    }

    pub fn topic_setting(&self, topic: &str, key: &str) -> Option<String> {
        let options = AdminOptions::new().request_timeout(Some(secs(10)));
        let all = self.wait(self.client.describe_configs([&ResourceSpecifier::Topic(topic)], &options)).ok()?;
        all.into_iter().next()?.ok()?.get(key)?.value.clone()
    }

    /// The next offset of each partition; empty where the topic does not exist.
    pub fn ends(&self, topic: &str) -> BTreeMap<i32, i64> {
        let mut ends = BTreeMap::new();
        for p in 0..self.partitions(topic) as i32 {
            if let Ok((_, high)) = self.client.inner().fetch_watermarks(topic, p, secs(5)) {
                ends.insert(p, high);
            }
        }
        ends
    }

    /// What a group has committed of a topic; nothing where Kafka does not answer.
    pub fn committed(&self, group: &str, topic: &str) -> Option<BTreeMap<i32, i64>> {
        let reader: BaseConsumer = quiet(&self.bootstrap).set("group.id", group).create().ok()?;
        let mut wanted = TopicPartitionList::new();
        for p in 0..self.partitions(topic) as i32 {
            wanted.add_partition(topic, p);
        }
        let found = reader.committed_offsets(wanted, secs(5)).ok()?;
        let offsets = found.elements().into_iter().filter_map(|e| match e.offset() {
            Offset::Offset(n) => Some((e.partition(), n)),
            _ => None,
        });
        Some(offsets.collect())
    }

    /// Sets where a group without members goes on.
    pub fn commit(&self, group: &str, topic: &str, partition: i32, offset: i64) {
        let outsider: BaseConsumer = quiet(&self.bootstrap).set("group.id", group).create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
        // A group that has just lost its members may refuse for a moment.
        eventually(secs(30), "the offset is committed", || outsider.commit(&list, CommitMode::Sync).is_ok());
    }

    /// Deletes what lies before an offset, as retention does.
    pub fn delete_before(&self, topic: &str, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
        self.wait(self.client.delete_records(&list, &AdminOptions::new())).unwrap();
    }

    /// Whether the group has committed the end of every partition that holds a record.
    pub fn at_end(&self, group: &str, topic: &str) -> bool {
        let (ends, committed) = (self.ends(topic), self.committed(group, topic).unwrap_or_default());
        !ends.is_empty() && ends.iter().all(|(p, end)| *end == 0 || committed.get(p) == Some(end))
    }

    /// Members of a group and its state.
    pub fn members(&self, group: &str) -> (usize, String) {
        match self.client.inner().fetch_group_list(Some(group), secs(5)) {
            Ok(list) => list.groups().first().map_or((0, String::new()), |g| (g.members().len(), g.state().to_owned())),
            Err(_) => (0, String::new()),
        }
    }
}

/// A client that does not fill the test output, and notices a broker that comes back at once.
pub fn quiet(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("log_level", "0");
    config.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "500");
    config.set("topic.metadata.refresh.interval.ms", "2000");
    config
}

#[test]
fn an_own_broker_keeps_topics_and_records_over_a_stop() {
    use super::records::{Publisher, TopicLog};
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start_new(dir.path(), 1);
    let admin = Admin::new(&cluster.bootstrap());
    admin.create_topic("kept", 2, 1, &[]);
    let publisher = Publisher::new(&cluster.bootstrap());
    let odd =
        vec![(b"\xff\xfeA".to_vec(), Some(b"x".to_vec())), (b"n".to_vec(), None), (b"n".to_vec(), Some(Vec::new()))];
    let at = publisher.publish("kept", None, None, None, &odd);
    publisher.publish("kept", Some(0), Some(b"k"), Some(b""), &[]);
    publisher.flush();
    let (partition, _) = publisher.at(at);
    cluster.stop();
    cluster.start();
    let mut log = TopicLog::new(&cluster.bootstrap(), "kept");
    eventually(secs(30), "both records are read back", || log.catch_up().len() == 2);
    let first = log.records().iter().find(|r| r.key.is_none()).unwrap();
    assert_eq!((first.partition, &first.value, &first.headers), (partition, &None, &odd));
    let second = log.records().iter().find(|r| r.key.is_some()).unwrap();
    assert_eq!(second.value.as_deref(), Some(&b""[..]));
    assert_eq!(admin.ends("kept").values().sum::<i64>(), 2);
    // A broker that has just come back may not know its groups yet.
    eventually(secs(30), "nobody has committed anything", || {
        admin.committed("nobody", "kept") == Some(BTreeMap::new())
    });
}

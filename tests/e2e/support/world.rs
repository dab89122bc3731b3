//! The surroundings of one test: its topics, key prefix and group, its accounts at the platform, and what it published.

use super::event::{Event, Expect, Generator};
use super::kafka::{Admin, Cluster};
use super::ledger::{Books, Check};
use super::platform::{Account, Action, PRODUCT, Platform, Request, Rule};
use super::proxy::Proxy;
use super::records::{Origin, Publisher, Record, TopicLog};
use super::redis::{Connection, RedisServer};
use super::worker::Worker;
use super::{eventually, secs, unique, within};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use toml::{Table, Value};

/// Seconds a claim is protected, and after which Kafka gives up a dead member.
pub const LEASE: u64 = 16;

/// What a test wants to break.
#[derive(Clone, Copy, Default)]
pub struct Setup {
    /// An own cluster of so many brokers; 0: the shared broker.
    pub brokers: usize,
    /// An own Redis.
    pub redis: bool,
    /// A proxy between the worker and Redis.
    pub proxy: bool,
    /// Partitions of the input topic; 0: 4.
    pub partitions: i32,
}

/// Servers, names and books of one test. Workers are made by it and owned by the test.
pub struct World {
    pub id: String,
    pub cluster: Option<Cluster>,
    pub redis: Option<RedisServer>,
    pub proxy: Option<Proxy>,
    pub admin: Admin,
    pub events: Vec<Event>,
    pub make: Generator,
    dir: TempDir,
    bootstrap: String,
    redis_url: String,
    partitions: i32,
    publisher: Publisher,
    accounts: BTreeMap<String, (Arc<Account>, Table)>,
    /// Accounts of the platform that the configuration does not name.
    left_out: HashSet<String>,
    overrides: Table,
    properties: Table,
    env: Vec<(String, String)>,
    receipts: RefCell<TopicLog>,
    dead: RefCell<TopicLog>,
    /// Input topics that were made, by the last part of their name.
    inputs: RefCell<BTreeMap<String, TopicLog>>,
}

impl World {
    /// On the shared servers.
    pub fn new(name: &str) -> Self {
        Self::with(name, Setup::default())
    }

    pub fn with(name: &str, setup: Setup) -> Self {
        let id = unique(name);
        let dir = tempfile::Builder::new().prefix(&format!("postback-{id}-")).tempdir().unwrap();
        let cluster = (setup.brokers > 0).then(|| Cluster::start_new(dir.path(), setup.brokers));
        let bootstrap = cluster.as_ref().map_or_else(|| shared("POSTBACK_TEST_KAFKA"), Cluster::bootstrap);
        let redis = setup.redis.then(|| RedisServer::start_new(dir.path()));
        let direct = redis.as_ref().map_or_else(|| shared("POSTBACK_TEST_REDIS"), RedisServer::url);
        let direct = if direct.contains("://") { direct } else { format!("redis://{direct}") };
        let proxy = setup.proxy.then(|| {
            let port = direct.rsplit(':').next().and_then(|p| p.trim_end_matches('/').parse().ok());
            Proxy::new(port.expect("POSTBACK_TEST_REDIS is host:port"))
        });
        let topic = |part: &str| format!("{id}.{part}");
        let mut properties = Table::new();
        properties.insert("session.timeout.ms".into(), (LEASE * 1000).to_string().into());
        properties.insert("heartbeat.interval.ms".into(), "1000".into());
        Self {
            receipts: TopicLog::new(&bootstrap, &topic("receipts")).into(),
            dead: TopicLog::new(&bootstrap, &topic("dlt")).into(),
            admin: Admin::new(&bootstrap),
            publisher: Publisher::new(&bootstrap),
            partitions: if setup.partitions == 0 { 4 } else { setup.partitions },
            redis_url: direct,
            events: Vec::new(),
            make: Generator::default(),
            accounts: BTreeMap::new(),
            left_out: HashSet::new(),
            overrides: Table::new(),
            properties,
            env: Vec::new(),
            inputs: RefCell::default(),
            id,
            cluster,
            redis,
            proxy,
            dir,
            bootstrap,
        }
    }

    /// The brokers of this test.
    pub fn bootstrap(&self) -> String {
        self.bootstrap.clone()
    }

    pub fn topic(&self, part: &str) -> String {
        format!("{}.{part}", self.id)
    }

    /// The prefix of this test's topics and keys.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The address of the Redis of this test, past the proxy.
    pub fn redis_url(&self) -> &str {
        &self.redis_url
    }

    /// Writes a file that lives as long as the test; its path.
    pub fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }

    pub fn group(&self) -> String {
        self.topic("group")
    }

    /// A direct connection to the Redis of this test, past the proxy.
    pub fn redis(&self) -> Connection {
        Connection::open(&self.redis_url)
    }

    /// Adds an account at the platform and in the configuration. Its secret travels by environment.
    pub fn account(&mut self, name: &str, platform: Platform) -> Arc<Account> {
        let account = Account::open(name, platform);
        let mut table = Table::new();
        set(&mut table, "base_url", format!("http://127.0.0.1:{}", account.port));
        set(&mut table, "allow_http", true);
        set(&mut table, "allow_private", true);
        set(&mut table, "limits.rps", 5000);
        set(&mut table, "limits.concurrency", 32);
        match platform {
            Platform::Qihoo360 => {
                let variable = format!("SECRET_{}", name.to_uppercase().replace('-', "_"));
                self.env.push((variable.clone(), account.secret()));
                set(&mut table, "platform", "qihoo360");
                set(&mut table, "data_industry", "ocpc_ps_convert");
                set(&mut table, "natural_day.tz", zone_far_from_midnight());
                let mut secret = Table::new();
                set(&mut secret, "id", "s1");
                set(&mut secret, "key", account.key.clone());
                set(&mut secret, "secret", format!("${{{variable}}}"));
                table.insert("secrets".into(), Value::Array(vec![Value::Table(secret)]));
            }
            Platform::Baizhu => {
                set(&mut table, "platform", "baizhu");
                set(&mut table, "settlement", "cps");
                for endpoint in ["install", "register", "back"] {
                    set(&mut table, &format!("product.{endpoint}"), PRODUCT);
                }
            }
        }
        self.accounts.insert(name.into(), (Arc::clone(&account), table));
        account
    }

    /// Adds an account whose platform the test plays itself, at this port.
    pub fn own_account(&mut self, name: &str, mut table: Table, port: u16) {
        set(&mut table, "base_url", format!("http://127.0.0.1:{port}"));
        set(&mut self.overrides, &format!("accounts.{name}"), table);
    }

    /// Sets a key of every worker made from now on, e.g. `limits.timeout` or `accounts.acme-ps.limits.rps`.
    pub fn set(&mut self, path: &str, value: impl Into<Value>) {
        match path.strip_prefix("accounts.").and_then(|rest| rest.split_once('.')) {
            Some((account, key)) => {
                let (_, table) = self.accounts.get_mut(account).unwrap_or_else(|| panic!("no account {account}"));
                set(table, key, value);
            }
            None => set(&mut self.overrides, path, value),
        }
    }

    /// The configuration does not name this account from now on.
    pub fn leave_out(&mut self, account: &str) {
        self.left_out.insert(account.to_owned());
    }

    /// It names it again.
    pub fn take_in(&mut self, account: &str) {
        self.left_out.remove(account);
    }

    /// Writes the configuration of a worker anew. The worker does not know of that yet.
    pub fn rewrite(&self, worker: &Worker) {
        std::fs::write(&worker.config, toml::to_string(&self.config(worker.admin_port)).unwrap()).unwrap();
    }

    /// Takes a key out of an account's block.
    pub fn unset(&mut self, account: &str, key: &str) {
        self.accounts.get_mut(account).unwrap().1.remove(key);
    }

    /// A variable in the environment of every worker made from now on.
    pub fn environment(&mut self, name: &str, value: &str) {
        self.env.push((name.into(), value.into()));
    }

    /// Starts a further Redis for this test, in its folder.
    pub fn another_redis(&self, options: &[&str]) -> RedisServer {
        RedisServer::start_with(self.dir.path(), options)
    }

    /// From now on this server is the Redis of the test, behind the proxy too.
    pub fn redis_is_now(&mut self, server: RedisServer) {
        self.redis_url = server.url();
        if let Some(proxy) = &self.proxy {
            proxy.lead_to(server.port);
            proxy.cut();
        }
        self.redis = Some(server);
    }

    /// Sets a property of the Kafka client.
    pub fn property(&mut self, name: &str, value: &str) {
        self.properties.insert(name.into(), value.into());
    }

    /// Short times, so that a killed worker's work comes back soon: one visit fits into the lease with room.
    pub fn quick_lease(&mut self, seconds: u64) {
        self.set("dedupe.lease", format!("{seconds}s"));
        self.property("session.timeout.ms", &(seconds * 1000).to_string());
        self.set("limits.timeout", "500ms");
        self.set("limits.connect_timeout", "500ms");
        self.set("retry.inline.max_retries", 0);
    }

    fn config(&self, admin_port: u16) -> Table {
        let mut config = Table::new();
        let c = &mut config;
        set(c, "kafka.brokers", self.bootstrap.clone());
        set(c, "kafka.group", self.group());
        set(c, "kafka.input", vec![self.topic("conversions")]);
        set(c, "kafka.start_from", "earliest");
        for (key, part) in [("retry_prefix", "retry"), ("parked_prefix", "parked"), ("dead_letter", "dlt")] {
            set(c, &format!("kafka.{key}"), self.topic(part));
        }
        set(c, "kafka.results", self.topic("results"));
        set(c, "kafka.audit", self.topic("audit"));
        set(c, "kafka.receipts", self.topic("receipts"));
        set(c, "kafka.properties", self.properties.clone());
        let redis = self.proxy.as_ref().map_or(self.redis_url.clone(), |p| format!("redis://127.0.0.1:{}", p.port));
        set(c, "redis.url", redis);
        set(c, "redis.prefix", self.id.clone());
        set(c, "dedupe.lease", format!("{LEASE}s"));
        set(c, "retry.tiers", vec!["1s", "2s"]);
        set(c, "retry.inline.max_retries", 2);
        set(c, "retry.inline.initial", "50ms");
        set(c, "retry.inline.max", "200ms");
        set(c, "limits.timeout", "1s");
        set(c, "limits.connect_timeout", "1s");
        set(c, "intake.drain_timeout", "8s");
        set(c, "admin.listen", format!("127.0.0.1:{admin_port}"));
        set(c, "telemetry.log", "info");
        set(c, "telemetry.format", "json");
        merge(c, &self.overrides);
        for (name, (_, table)) in self.accounts.iter().filter(|(name, _)| !self.left_out.contains(*name)) {
            set(c, &format!("accounts.{name}"), table.clone());
        }
        config
    }

    /// The input topic, made once: the worker makes its own topics, the input is the publisher's.
    pub fn create_input(&self) {
        self.create_further_input("conversions");
    }

    /// The input topic with one partition, whose replicas these brokers have (counted from 1).
    pub fn create_input_on(&self, brokers: &[i32], settings: &[(&str, &str)]) {
        let topic = self.topic("conversions");
        self.inputs.borrow_mut().insert("conversions".to_owned(), TopicLog::new(&self.bootstrap, &topic));
        let retention = [("retention.ms", "3600000")];
        self.admin.create_topic_on(&topic, brokers, &[&retention[..], settings].concat());
    }

    /// A topic that is input where `kafka.input` names it, by name or by pattern.
    pub fn create_further_input(&self, part: &str) {
        let topic = self.topic(part);
        if !self.inputs.borrow().contains_key(part) {
            self.inputs.borrow_mut().insert(part.to_owned(), TopicLog::new(&self.bootstrap, &topic));
            let copies = if self.bootstrap.contains(',') { 3 } else { 1 };
            let settings = [("retention.ms", "3600000"), ("max.message.bytes", "4194304")];
            self.admin.create_topic(&topic, self.partitions, copies, &settings);
        }
    }

    /// A replica, configured and not started.
    pub fn worker(&self) -> Worker {
        self.create_input();
        Worker::new(self.dir.path(), self.env.clone(), |port| self.config(port))
    }

    pub fn started(&self) -> Worker {
        let mut worker = self.worker();
        worker.start();
        worker
    }

    /// Publishes events, waits until Kafka has them, and enters them into the books.
    pub fn publish(&mut self, events: Vec<Event>) {
        self.publish_at(events, None, None);
    }

    /// The same at so many a second, and to one partition where one is named.
    pub fn publish_at(&mut self, events: Vec<Event>, per_second: Option<f64>, partition: Option<i32>) {
        self.create_input();
        self.publish_to("conversions", events, per_second, partition);
    }

    /// The same to an input topic that was made before.
    pub fn publish_to(&mut self, part: &str, mut events: Vec<Event>, per_second: Option<f64>, partition: Option<i32>) {
        let topic = self.topic(part);
        let start = std::time::Instant::now();
        let mut numbers = Vec::new();
        for (i, e) in events.iter().enumerate() {
            let value = e.value();
            numbers.push(self.publisher.publish(&topic, partition, e.key.as_deref(), value.as_deref(), &e.headers));
            if let Some(rate) = per_second {
                let due = Duration::from_secs_f64((i + 1) as f64 / rate);
                std::thread::sleep(due.saturating_sub(start.elapsed()));
                self.publisher.poll();
            }
        }
        self.publisher.flush();
        for (e, number) in events.iter_mut().zip(numbers) {
            let (partition, offset) = self.publisher.at(number);
            e.at = Some(Origin { topic: topic.clone(), partition, offset });
        }
        self.events.extend(events);
    }

    /// Publishes through another client from now on. A log that was cut has forgotten the sequence of the one before.
    pub fn renew_publisher(&mut self) {
        self.publisher = Publisher::new(&self.bootstrap);
    }

    pub fn receipts(&self) -> Vec<Record> {
        self.receipts.borrow_mut().catch_up().to_vec()
    }

    pub fn dead_letters(&self) -> Vec<Record> {
        self.dead.borrow_mut().catch_up().to_vec()
    }

    /// Every record of this test's topics whose name begins with the part: `retry`, `parked`.
    pub fn records(&self, part: &str) -> Vec<Record> {
        let prefix = self.topic(part);
        let mut found = Vec::new();
        for topic in self.admin.topics().into_iter().filter(|t| t.starts_with(&prefix)) {
            found.extend(TopicLog::new(&self.bootstrap, &topic).catch_up().to_vec());
        }
        found
    }

    pub fn requests(&self) -> Vec<Request> {
        self.accounts.values().flat_map(|(a, _)| a.requests()).collect()
    }

    /// Waits until every event has its receipt and the group has committed the end of the input.
    #[track_caller]
    pub fn settle(&self, patience: Duration) {
        let wanted: HashSet<&Origin> =
            self.events.iter().filter(|e| e.expect != Expect::Open).filter_map(|e| e.at.as_ref()).collect();
        let mut missing: Vec<Origin> = Vec::new();
        let done = within(patience, || {
            let have: HashSet<Origin> = self.receipts().iter().filter_map(receipt_origin).collect();
            missing = wanted.iter().filter(|o| !have.contains(**o)).map(|o| (*o).clone()).collect();
            missing.is_empty()
        });
        let names = |o: &Origin| {
            let event = self.events.iter().find(|e| e.at.as_ref() == Some(o));
            event.map_or(String::new(), |e| format!("{o} {}", e.trans_id()))
        };
        let some: Vec<String> = missing.iter().take(3).map(names).collect();
        assert!(done, "{} of {} records without an end after {patience:?}: {some:?}", missing.len(), wanted.len());
        if self.events.iter().all(|e| e.expect != Expect::Open) {
            let (group, inputs) = (self.group(), self.inputs.borrow());
            eventually(secs(20), "the group has committed the end of the input", || {
                inputs.keys().all(|part| self.admin.at_end(&group, &self.topic(part)))
            });
        }
    }

    pub fn books(&self) -> Books {
        let mut sources: HashMap<Origin, Record> = HashMap::new();
        for input in self.inputs.borrow_mut().values_mut() {
            sources.extend(input.catch_up().iter().map(|r| (r.at(), r.clone())));
        }
        Books {
            events: self.events.clone(),
            requests: self.requests(),
            receipts: self.receipts(),
            dead: self.dead_letters(),
            sources,
        }
    }

    /// Closes the test: everything published against what the platform took, the receipts and the dead letters.
    #[track_caller]
    pub fn ledger(&self, check: &Check) -> Books {
        self.ledger_with(Vec::new(), check)
    }

    /// The same with what platforms of the test's own were asked.
    #[track_caller]
    pub fn ledger_with(&self, requests: Vec<Request>, check: &Check) -> Books {
        let mut books = self.books();
        books.requests.extend(requests);
        let problems = books.problems(check);
        assert!(problems.is_empty(), "the ledger does not balance:\n  {}", problems.join("\n  "));
        let forever = self.redis().claims_without_expiry(&self.id);
        assert!(forever.is_empty(), "{} claims never expire", forever.len());
        books
    }

    /// The counters of a single undisturbed worker say the same as the books.
    #[track_caller]
    pub fn counters(&self, worker: &Worker, books: &Books) {
        let outcomes = ["delivered", "duplicate", "suppressed", "dead_lettered"];
        eventually(secs(10), "no event is unaccounted for", || {
            let metrics = worker.metrics();
            metrics.series.iter().any(|s| s.name == "postback_unaccounted_events")
                && metrics.total("unaccounted_events", &[]) == 0.0
        });
        let metrics = worker.metrics();
        for outcome in outcomes {
            let counted = metrics.total("events_finished_total", &[("outcome", outcome)]);
            assert_eq!(counted, books.outcomes(outcome) as f64, "events_finished_total of {outcome}");
        }
        assert_eq!(metrics.total("ambiguous_resends_total", &[]), books.declared() as f64, "ambiguous_resends_total");
        assert_eq!(metrics.total("dead_letters_total", &[]), books.dead.len() as f64, "dead_letters_total");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for (account, _) in self.accounts.values() {
            account.close();
        }
        if std::thread::panicking() {
            self.dir.disable_cleanup(true);
            eprintln!("--- kept: {}", self.dir.path().display());
        }
    }
}

/// The origin that a receipt names.
pub fn receipt_origin(record: &Record) -> Option<Origin> {
    let json: serde_json::Value = serde_json::from_slice(record.value.as_deref()?).ok()?;
    let origin = &json["origin"];
    Some(Origin {
        topic: origin["topic"].as_str()?.into(),
        partition: origin["partition"].as_i64()? as i32,
        offset: origin["offset"].as_i64()?,
    })
}

/// Rules in which a request about one of the events is held until `release`.
pub fn hold<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<Rule> {
    vec![Rule::all(Action::Hold).about(events.into_iter().map(Event::ident)).first(1)]
}

/// An address given by `tests/run`, or by whoever has servers already.
fn shared(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} names no server; start the tests through tests/run"))
}

/// A zone whose midnight is hours away, so that no test runs into the end of 360's natural day.
fn zone_far_from_midnight() -> &'static str {
    let hour = super::now_ms() / 3_600_000 % 24;
    if (13..=17).contains(&hour) { "Etc/GMT" } else { "Asia/Shanghai" }
}

/// Sets a dotted path. Only the names of accounts may hold what a path cannot, and they hold no dots.
fn set(table: &mut Table, path: &str, value: impl Into<Value>) {
    match path.split_once('.') {
        None => {
            table.insert(path.into(), value.into());
        }
        Some((first, rest)) => {
            let inner = table.entry(first).or_insert_with(|| Value::Table(Table::new()));
            let Value::Table(inner) = inner else { panic!("{first} is no table") };
            set(inner, rest, value);
        }
    }
}

fn merge(into: &mut Table, from: &Table) {
    for (key, value) in from {
        match (into.get_mut(key), value) {
            (Some(Value::Table(a)), Value::Table(b)) => merge(a, b),
            _ => drop(into.insert(key.clone(), value.clone())),
        }
    }
}

//! Tests the document against a running server with a Kafka and a Redis behind it: whatever it promises is true.

use std::sync::{Arc, Mutex};

use ::redis::aio::MultiplexedConnection;
use boon::{Compiler, Schemas};

use super::*;
use crate::admin::tests::{Double, LOCAL, raw, worker};
use crate::admin::{Parts, Server, all_routes, routes};
use crate::embedded::broker::Broker;
use crate::embedded::store::Store;
use crate::inspect::dead_letters::tests::record;
use crate::inspect::reconcile::{Range, Reconciled};
use crate::kafka::producer::Producer;
use crate::kafka::record::{Header, Record};
use crate::operate::audit::{self, AuditRecord, Change, Via};
use crate::operate::{By, Keys};
use crate::replay::store::{self, Draft, Plan};
use crate::secret::SecretString;
use crate::settings::Config;

const TOKEN: &str = "t0ken";

struct World {
    server: Server,
    double: Arc<Double>,
    document: Value,
    runtime: tokio::runtime::Runtime,
    redis: Mutex<MultiplexedConnection>,
    /// A reconciliation that has ended.
    reconciled: String,
    _parts: (Broker, Store),
}

impl World {
    fn new(token: &str) -> Self {
        let mut config = Config::load(None, []).unwrap_or_else(|found| panic!("{found}")).config;
        let names = [(&config.kafka.audit, 2), (&config.kafka.dead_letter, 1), (&config.kafka.input[0], 2)];
        let broker = Broker::start(&names.map(|(name, partitions)| (name.clone(), partitions))).unwrap();
        let store = Store::start().unwrap();
        config.kafka.brokers = broker.address().to_owned();
        config.redis.url = SecretString::new(store.url());
        let producer = Producer::new(&config.kafka, 0).unwrap();
        let by = By::new(Via::Console, "li", "asked by 13812345678");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let discard = AuditRecord::new(Change::Discard, &by, 3);
        let discard = AuditRecord { id: "d-1".to_owned(), items: vec!["0:2".to_owned()], ..discard }.json();
        runtime.block_on(producer.publish(&config.kafka.audit, None, Some(discard.as_bytes()), &[])).unwrap();
        for letter in
            [letter("acme-ps", "click.qhclickid"), letter("acme-ps", "click.qhclickid"), letter("acme-bz", "")]
        {
            let (key, value) = (letter.key.as_deref(), letter.value.as_deref());
            runtime.block_on(producer.publish(&config.kafka.dead_letter, key, value, &letter.headers)).unwrap();
        }
        let client = config.redis.client().unwrap();
        let mut redis = runtime.block_on(crate::redis::connect(&client)).unwrap();
        let plan = Plan { end_offsets: [(0, 9)].into(), selected: 3, ..Plan::default() };
        let draft = Draft { id: "r-1", plan: &plan, rate: 50, by: &by };
        runtime.block_on(store::begin_plan(&mut redis, &Keys::new("pb"), &draft)).unwrap();
        runtime.block_on(store::keep_plan(&mut redis, &Keys::new("pb"), &draft, &[])).unwrap();
        for at_ms in 0..3 {
            let text = AuditRecord::new(Change::Pause, &by, at_ms).json();
            runtime.block_on(producer.publish(&config.kafka.audit, None, Some(text.as_bytes()), &[])).unwrap();
        }
        let double = Arc::new(Double::default());
        let parts = Parts::new(worker(double.clone(), config, client));
        let reconciled = runtime.block_on(async {
            let range = Range::Times { topic: None, from_ms: 5, to_ms: None };
            let started = parts.reconciles.start(range, |_, _| Ok(Reconciled::default())).unwrap();
            parts.reconciles.wait(&started.id, std::time::Duration::from_secs(60)).await;
            started.id
        });
        let router = all_routes(parts, &SecretString::new(token));
        let server = Server::start("127.0.0.1:0".parse().unwrap(), router).unwrap();
        let redis = Mutex::new(redis);
        let document = document(&routes::all());
        Self { server, double, document, runtime, redis, reconciled, _parts: (broker, store) }
    }

    fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String, String) {
        let (length, path) = (body.len(), path.replace(RECONCILED, &self.reconciled));
        let request =
            format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}");
        raw(self.server.address(), &request)
    }

    /// Every operation of the document: method, path as documented, and what it says.
    fn operations(&self) -> Vec<(String, &str, &Value)> {
        let paths = self.document["paths"].as_object().unwrap();
        paths
            .iter()
            .flat_map(|(path, methods)| {
                methods.as_object().unwrap().iter().map(|(method, says)| (method.to_uppercase(), path.as_str(), says))
            })
            .collect()
    }

    /// How many changes were made: switches of the double, and entries in the audit's outbox.
    fn changes(&self) -> usize {
        self.double.changes.lock().unwrap().len() + self.audited().len()
    }

    fn audited(&self) -> Vec<AuditRecord> {
        let redis = &mut *self.redis.lock().unwrap();
        self.runtime.block_on(audit::waiting(redis, &Keys::new("pb"))).unwrap()
    }

    /// Puts the replay of the tests into the state in which this request does something, and stops a topic.
    fn prepare(&self, path: &str) {
        let state = match path.rsplit('/').next() {
            Some("cancel") => "running",
            Some("resume") => "cancelled",
            _ => "planned",
        };
        let mut pipe = ::redis::pipe();
        pipe.cmd("HSET").arg("pb:replay:r-1").arg("state").arg(state).ignore();
        match state {
            "running" => pipe.cmd("SET").arg("pb:replay:running").arg("r-1").ignore(),
            _ => pipe.cmd("DEL").arg("pb:replay:running").ignore(),
        };
        pipe.cmd("HSET").arg("pb:storms").arg("conversions:stopped").arg("{}").ignore();
        let redis = &mut *self.redis.lock().unwrap();
        let () = self.runtime.block_on(pipe.query_async(redis)).unwrap();
    }

    /// Fails unless the document promises this answer.
    fn check(&self, method: &str, path: &str, status: u16, body: &str) {
        let method = method.to_lowercase();
        let mut at = format!("/paths/{}/{method}/responses/{status}", path.replace('/', "~1"));
        let response =
            self.document.pointer(&at).unwrap_or_else(|| panic!("{method} {path}: {status} is not promised"));
        if let Some(target) = response["$ref"].as_str() {
            at = target.trim_start_matches('#').to_owned();
        }
        if self.document.pointer(&format!("{at}/content/application~1json")).is_none() {
            return;
        }
        let pointer = format!("{at}/content/application~1json/schema").replace('{', "%7B").replace('}', "%7D");
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource("document.json", self.document.clone()).unwrap();
        let schema = compiler.compile(&format!("document.json#{pointer}"), &mut schemas).unwrap();
        let value: Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{method} {path}: {e}: {body}"));
        if let Err(error) = schemas.validate(&value, schema) {
            panic!("{method} {path}: {error:#}\n{body}");
        }
    }
}

/// A dead letter with a person in it.
fn letter(account: &str, field: &str) -> Record {
    let origin = rand::random::<u16>().to_string();
    let headers = [
        ("origin-topic", "conversions"),
        ("origin-partition", "0"),
        ("origin-offset", &origin),
        ("origin-timestamp", "1736956740000"),
        ("reason", "invalid"),
        ("field", field),
        ("platform", "qihoo360"),
        ("account", account),
        ("trans-id", "t-1"),
        ("detail", "call 13812345678"),
        ("failed-at", "1736956740000"),
    ];
    let mut record = record(0, 0, &headers);
    record.headers.insert(0, Header::text("x-phone", "13812345678"));
    record.key = Some(b"qihoo360:acme-ps:13812345678".to_vec().into());
    record.value = Some(br#"{"trans_id":"t-1","user":{"phone":"13812345678"},"n":73314510714175488}"#.to_vec().into());
    record
}

const WHY: &str = r#"{"reason":"maintenance","who":"li","via":"console"}"#;

/// Stands for the id of the reconciliation that has ended.
const RECONCILED: &str = "RECONCILED";

/// A request that succeeds: what stands for the names in the path, and the body.
fn example(method: &str, path: &str) -> (String, String) {
    let event = include_str!("../../../config/examples/qihoo360-ps-order.json");
    let body = match (method, path) {
        ("GET", _) => "",
        (_, "/api/v1/preview") => event,
        (_, "/api/v1/dead-letters/discard") => r#"{"items":["0:0"],"who":"li","via":"console","why":"maintenance"}"#,
        (_, "/api/v1/dead-letters/undiscard") => r#"{"id":"d-1","who":"li","via":"console","why":"maintenance"}"#,
        (_, "/api/v1/replays") => r#"{"filter":{"account":"acme-ps"},"who":"li","via":"console","why":"maintenance"}"#,
        (_, "/api/v1/reconcile") => r#"{"from":"1h"}"#,
        (_, "/api/v1/unblock/storm") => {
            r#"{"topic":"conversions","pass":500,"reason":"maintenance","who":"li","via":"console"}"#
        }
        (_, "/api/v1/unblock/offsets") => {
            r#"{"topic":"conversions","partition":1,"to":"earliest","why":"maintenance","who":"li","via":"console"}"#
        }
        ("PATCH", _) => r#"{"rate":20,"who":"li","via":"console","why":"maintenance"}"#,
        (_, path) if path.contains("/accounts/") => WHY,
        _ => r#"{"who":"li","via":"console","why":"maintenance"}"#,
    };
    (
        path.replace("{name}", "acme-ps")
            .replace("{id}", if path.contains("/reconcile/") { RECONCILED } else { "r-1" })
            .replace("{trans_id}", "t-1")
            .replace("{partition}/{offset}", "0/0"),
        body.to_owned(),
    )
}

#[test]
fn every_operation_answers_as_the_document_says() {
    let world = World::new("");
    for (method, path, _) in world.operations() {
        let (url, body) = example(&method, path);
        world.prepare(path);
        let (status, _, answer) = world.send(&method, &url, LOCAL, &body);
        assert!(status < 300, "{method} {url}: {status} {answer}");
        world.check(&method, path, status, &answer);
    }
}

#[test]
fn every_change_is_audited_with_who_from_where_and_why() {
    let world = World::new("");
    let operations = world.operations();
    // None of them sends or changes anything.
    let harmless = ["/api/v1/preview", "/api/v1/replays", "/api/v1/reconcile", "/api/v1/reconcile/{id}"];
    let changing = operations.iter().filter(|(method, path, _)| method != "GET" && !harmless.contains(path));
    let mut count = 0;
    for (method, path, _) in changing {
        let (url, body) = example(method, path);
        world.prepare(path);
        assert!(world.send(method, &url, LOCAL, &body).0 < 300, "{method} {url}");
        count += 1;
        assert_eq!(world.changes(), count, "{method} {url} leaves no entry, or more than one");
    }
    let by = |record: AuditRecord| (record.who, record.via, record.why, record.worker);
    for record in world.audited() {
        let want = ("li".to_owned(), Via::Console, "maintenance".to_owned(), "w1".to_owned());
        assert_eq!(by(record.clone()), want, "{record:?}");
    }
    for change in world.double.changes.lock().unwrap().iter() {
        assert!(change.ends_with("acme-ps maintenance li Console"), "{change}");
    }
}

#[test]
fn a_preview_a_plan_and_a_reconciliation_change_nothing_and_are_not_audited() {
    let world = World::new("");
    for path in ["/api/v1/preview", "/api/v1/replays", "/api/v1/reconcile"] {
        let (url, body) = example("POST", path);
        assert!(world.send("POST", &url, LOCAL, &body).0 < 300);
    }
    assert_eq!(world.send("DELETE", &example("DELETE", "/api/v1/reconcile/{id}").0, LOCAL, "").0, 200);
    assert_eq!(world.changes(), 0);
}

#[test]
fn a_plan_says_what_it_selects_and_a_list_shows_it() {
    let world = World::new("");
    let (url, body) = example("POST", "/api/v1/replays");
    let (status, _, answer) = world.send("POST", &url, LOCAL, &body);
    assert!([200, 202].contains(&status), "{status} {answer}");
    let mut plan: Value = serde_json::from_str(&answer).unwrap();
    // A busy machine makes it in the background.
    while !plan["progress"].is_null() {
        std::thread::sleep(std::time::Duration::from_millis(100));
        let (_, _, answer) = world.send("GET", &format!("{url}/{}", plan["id"].as_str().unwrap()), LOCAL, "");
        plan = serde_json::from_str(&answer).unwrap();
    }
    assert_eq!((plan["state"].as_str(), plan["selected"].as_u64()), (Some("planned"), Some(2)), "{plan}");
    assert_eq!([&plan["by"], &plan["via"], &plan["why"]], ["li", "console", "maintenance"]);
    let (_, _, list) = world.send("GET", "/api/v1/replays", LOCAL, "");
    let list: Value = serde_json::from_str(&list).unwrap();
    let ids: Vec<_> = list["items"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
    assert!(ids.contains(&&plan["id"]), "{list}");
}

#[test]
fn errors_have_the_form_of_the_document_and_name_the_member_that_is_wrong() {
    let world = World::new("");
    let large = format!(r#"{{"reason":"{}"}}"#, "x".repeat(20_000));
    let pause = "/api/v1/accounts/{name}/pause";
    let (discard, undiscard) = ("/api/v1/dead-letters/discard", "/api/v1/dead-letters/undiscard");
    let (reconcile, export) = ("/api/v1/reconcile", "/api/v1/dead-letters/export");
    let (storm, offsets) = ("/api/v1/unblock/storm", "/api/v1/unblock/offsets");
    let dedupe = "/api/v1/unblock/dedupe";
    for (method, path, url, body, status, field) in [
        ("POST", pause, "/api/v1/accounts/acme-sp/pause", WHY, 404, None),
        ("POST", pause, "/api/v1/accounts/acme-ps/pause", "{broken", 400, None),
        ("POST", pause, "/api/v1/accounts/acme-ps/pause", r#"{"reason":"x","force":true}"#, 400, Some("force")),
        ("POST", pause, "/api/v1/accounts/acme-ps/pause", r#"{"reason":7}"#, 400, Some("reason")),
        ("POST", pause, "/api/v1/accounts/acme-ps/pause", r#"{"via":"worker"}"#, 400, Some("via")),
        ("POST", pause, "/api/v1/accounts/acme-ps/pause", "{}{}", 400, None),
        ("POST", pause, "/api/v1/accounts/acme-ps/pause", &large, 413, None),
        ("POST", pause, "/api/v1/accounts/%ff/pause", WHY, 400, None),
        ("POST", storm, storm, r#"{"topic":"conversions"}"#, 400, Some("reason")),
        ("POST", storm, storm, r#"{"reason":"x"}"#, 400, Some("topic")),
        ("POST", storm, storm, r#"{"topic":"t","pass":100000001,"reason":"x"}"#, 400, Some("pass")),
        ("POST", storm, storm, r#"{"topic":"t","pass":-1,"reason":"x"}"#, 400, Some("pass")),
        ("POST", storm, storm, r#"{"topic":"t","reason":"x","via":"worker"}"#, 400, Some("via")),
        ("POST", offsets, offsets, r#"{"topic":"t","partition":0,"to":"earliest","reason":" "}"#, 400, Some("reason")),
        ("POST", offsets, offsets, r#"{"topic":"t","partition":0,"to":"first","reason":"x"}"#, 400, Some("to")),
        (
            "POST",
            offsets,
            offsets,
            r#"{"topic":"t","partition":-1,"to":"latest","reason":"x"}"#,
            400,
            Some("partition"),
        ),
        ("POST", dedupe, dedupe, "{}", 400, Some("reason")),
        ("POST", dedupe, dedupe, r#"{"reason":"x","force":true}"#, 400, Some("force")),
        ("GET", "/api/v1/audit", "/api/v1/audit?what=pauze", "", 400, Some("what")),
        ("GET", "/api/v1/audit", "/api/v1/audit?limit=0", "", 400, Some("limit")),
        ("GET", "/api/v1/audit", "/api/v1/audit?limit=x", "", 400, Some("limit")),
        ("GET", "/api/v1/audit", "/api/v1/audit?cursor=x", "", 400, Some("cursor")),
        ("GET", "/api/v1/audit", "/api/v1/audit?whose=li", "", 400, Some("whose")),
        ("GET", "/api/v1/trace/{trans_id}", "/api/v1/trace/t-1?account=acme-sp", "", 400, Some("account")),
        ("GET", "/api/v1/trace/{trans_id}", "/api/v1/trace/t-1?platform=qihu", "", 400, Some("platform")),
        ("GET", "/api/v1/replays/{id}", "/api/v1/replays/none", "", 404, None),
        ("POST", "/api/v1/replays", "/api/v1/replays", r#"{"filter":{"state":"open"}}"#, 400, Some("filter")),
        ("POST", "/api/v1/replays", "/api/v1/replays", r#"{"items":["x"]}"#, 400, Some("items")),
        ("POST", discard, discard, r#"{"filter":{},"why":"x"}"#, 400, Some("filter")),
        ("POST", discard, discard, r#"{"filter":{"reason":"invalid"}}"#, 400, Some("why")),
        ("POST", undiscard, undiscard, r#"{"id":"d-9","why":"x"}"#, 400, Some("id")),
        ("POST", "/api/v1/replays", "/api/v1/replays", r#"{"filter":{"reson":"invalid"}}"#, 400, Some("filter.reson")),
        ("POST", reconcile, reconcile, "{}", 400, Some("from")),
        ("POST", reconcile, reconcile, r#"{"from":"yesterday"}"#, 400, Some("from")),
        ("POST", reconcile, reconcile, r#"{"from":9,"to":"5"}"#, 400, Some("to")),
        ("POST", reconcile, reconcile, r#"{"partition":0}"#, 400, Some("topic")),
        ("POST", reconcile, reconcile, r#"{"from":"1h","limit":10001}"#, 400, Some("limit")),
        ("POST", reconcile, reconcile, r#"{"since":"1h"}"#, 400, Some("since")),
        ("POST", reconcile, reconcile, r#"{"from":"1h","topic":"none"}"#, 400, Some("topic")),
        ("GET", "/api/v1/reconcile/{id}", "/api/v1/reconcile/none", "", 404, None),
        ("DELETE", "/api/v1/reconcile/{id}", "/api/v1/reconcile/none", "", 404, None),
        ("GET", "/api/v1/dead-letters", "/api/v1/dead-letters?limit=0", "", 400, Some("limit")),
        ("GET", "/api/v1/dead-letters", "/api/v1/dead-letters?reason=wrong", "", 400, Some("reason")),
        ("GET", "/api/v1/dead-letters", "/api/v1/dead-letters?cursor=x", "", 400, Some("cursor")),
        ("GET", "/api/v1/dead-letters", "/api/v1/dead-letters?cursor=f.1.0.0.0.1", "", 409, None),
        ("GET", "/api/v1/dead-letters/groups", "/api/v1/dead-letters/groups?acount=x", "", 400, Some("acount")),
        ("GET", export, "/api/v1/dead-letters/export?format=xls", "", 400, Some("format")),
        ("GET", export, "/api/v1/dead-letters/export?reson=x", "", 400, Some("reson")),
        ("GET", "/api/v1/dead-letters/{partition}/{offset}", "/api/v1/dead-letters/0/99", "", 404, None),
        ("GET", "/api/v1/dead-letters/{partition}/{offset}", "/api/v1/dead-letters/0/x", "", 400, None),
        ("POST", "/api/v1/replays/{id}/run", "/api/v1/replays/none/run", r#"{"why":"x"}"#, 404, None),
        ("POST", "/api/v1/replays/{id}/run", "/api/v1/replays/r-1/run", r#"{"who":"li"}"#, 400, Some("why")),
        ("POST", "/api/v1/replays/{id}/resume", "/api/v1/replays/r-1/resume", r#"{"why":"x"}"#, 409, None),
        ("PATCH", "/api/v1/replays/{id}", "/api/v1/replays/r-1", r#"{"rate":0}"#, 400, Some("rate")),
        ("PATCH", "/api/v1/replays/{id}", "/api/v1/replays/r-1", r#"{"rate":"fast"}"#, 400, Some("rate")),
    ] {
        let (got, _, answer) = world.send(method, url, LOCAL, body);
        assert_eq!(got, status, "{url} {body}: {answer}");
        world.check(method, path, status, &answer);
        let error: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(error["error"]["field"].as_str(), field, "{url} {body}: {answer}");
    }
    assert_eq!(world.changes(), 0);
}

#[test]
fn without_a_token_nobody_else_changes_anything() {
    let world = World::new("");
    let foreign = [
        (403, "host: evil.example\r\ncontent-type: application/json\r\n"),
        (403, "host: localhost:9464\r\norigin: http://evil.example\r\ncontent-type: application/json\r\n"),
        (403, "host: localhost:9464\r\norigin: null\r\ncontent-type: application/json\r\n"),
        (415, "host: localhost:9464\r\ncontent-type: text/plain\r\n"),
        (415, "host: localhost:9464\r\ncontent-type: application/x-www-form-urlencoded\r\n"),
        (415, "host: localhost:9464\r\n"),
    ];
    let operations = world.operations();
    let changing: Vec<_> = operations.iter().filter(|(method, ..)| method != "GET").collect();
    assert!(changing.len() >= 3);
    for (method, path, _) in changing {
        let (url, body) = example(method, path);
        for (status, headers) in foreign {
            let (got, _, answer) = world.send(method, &url, headers, &body);
            assert_eq!(got, status, "{method} {url} {headers}: {answer}");
            world.check(method, path, status, &answer);
        }
        if !operations.iter().any(|(other, same, _)| other == "GET" && same == path) {
            for reading in ["GET", "HEAD"] {
                assert_eq!(world.send(reading, &url, LOCAL, "").0, 405, "{reading} {url}");
            }
        }
    }
    assert_eq!(world.changes(), 0);
}

#[test]
fn with_a_token_nothing_but_the_status_is_shown_without_it() {
    let world = World::new(TOKEN);
    for (method, path, says) in world.operations() {
        let (url, body) = example(&method, path);
        let open = says["security"] == json!([]);
        for given in ["", "authorization: Bearer wrong\r\n", "authorization: Basic t0ken\r\n"] {
            let (status, _, answer) = world.send(&method, &url, &format!("{LOCAL}{given}"), &body);
            assert_eq!(status != 401, open, "{method} {url}: {status}");
            world.check(&method, path, status, &answer);
        }
    }
    assert_eq!(world.changes(), 0);
    let open: Vec<_> = world.operations().into_iter().filter(|(_, _, says)| says["security"] == json!([])).collect();
    let open: Vec<_> = open.iter().map(|(_, path, _)| *path).collect();
    assert_eq!(open, ["/api/v1/status", "/live", "/metrics", "/ready"]);
    let allowed = format!("host: worker.example\r\nauthorization: Bearer {TOKEN}\r\n");
    assert_eq!(world.send("POST", "/api/v1/accounts/acme-ps/pause", &allowed, WHY).0, 200);
    assert_eq!(world.changes(), 1);
}

#[test]
fn an_order_is_carried_out_once_and_one_that_nothing_waits_for_changes_nothing() {
    let world = World::new("");
    world.prepare("");
    let post = |path: &str, body: &str| -> (u16, Value) {
        let (status, _, answer) = world.send("POST", path, LOCAL, body);
        world.check("POST", path, status, &answer);
        (status, serde_json::from_str(&answer).unwrap())
    };
    let (url, storm) = example("POST", "/api/v1/unblock/storm");
    let (status, answer) = post(&url, &storm);
    assert_eq!((status, &answer["changed"]), (200, &json!(true)), "{answer}");
    let other = post(&url, &storm.replace("conversions", "clicks")).1;
    assert_eq!(other["changed"], false, "{other}");
    assert!(other["note"].as_str().unwrap().starts_with("nothing to unblock"), "{other}");
    // While bad records pass, the number can be changed, and ended.
    assert_eq!(post(&url, &storm.replace("500", "7")).1["changed"], true);
    assert_eq!(post(&url, &storm.replace("500", "0")).1["changed"], true);
    assert_eq!(post(&url, &storm.replace("500", "0")).1["changed"], false);
    let (url, dedupe) = example("POST", "/api/v1/unblock/dedupe");
    assert_eq!(post(&url, &dedupe).1["changed"], true);
    assert_eq!(post(&url, &dedupe).1["changed"], false);
    let (url, offsets) = example("POST", "/api/v1/unblock/offsets");
    assert_eq!(
        post(&url, &offsets).1["note"],
        "conversions/1 goes on at earliest: no worker runs; the next one that owns it carries it out"
    );
    let mut audited: Vec<_> = world.audited().into_iter().map(|r| (r.what, r.counts.get("pass").copied())).collect();
    audited.sort();
    let storms = [500_u64, 7, 0].map(|pass| ("unblock storm".to_owned(), Some(pass)));
    let mut want = [("unblock dedupe".to_owned(), None), ("unblock offsets".to_owned(), None)].to_vec();
    want.extend(storms);
    want.sort();
    assert_eq!(audited, want);
    // A partition that is read needs no position.
    let snapshot = r#"{"id":"w1","at_ms":5,"partitions":[{"topic":"conversions","partition":1}]}"#;
    let mut pipe = ::redis::pipe();
    pipe.cmd("SADD").arg("pb:replicas").arg("w1").ignore();
    pipe.cmd("SET").arg("pb:replica:w1").arg(snapshot).arg("PX").arg(60_000).ignore();
    let redis = &mut *world.redis.lock().unwrap();
    let () = world.runtime.block_on(pipe.query_async(redis)).unwrap();
    let (status, answer) = post(&url, &offsets);
    assert_eq!(status, 409, "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("is not parked"), "{answer}");
}

#[test]
fn a_preview_masks_the_secret_and_judges_what_it_is_given() {
    let world = World::new("");
    let (url, event) = example("POST", "/api/v1/preview");
    let preview = |event: &str| -> Value {
        let (status, _, answer) = world.send("POST", &url, LOCAL, event);
        assert_eq!(status, 200, "{answer}");
        world.check("POST", "/api/v1/preview", status, &answer);
        serde_json::from_str(&answer).unwrap()
    };
    let refused = preview("no event");
    assert_eq!((refused["accepted"].as_bool(), refused["reason"].as_str()), (Some(false), Some("malformed")));
    let accepted = preview(&event);
    assert_eq!(accepted["accepted"].as_bool(), Some(true), "{accepted}");
    assert!(!accepted.to_string().contains("d41d8cd98f00b204e9800998ecf8427e"), "the secret of the demo's account");
    assert_eq!(world.changes(), 0);
}

#[test]
fn dead_letters_are_shown_by_page_by_group_and_one_by_one_and_nothing_personal_is_in_them() {
    let world = World::new("");
    let get = |path: &str, query: &str| -> Value {
        let (status, _, answer) = world.send("GET", &format!("{path}{query}"), LOCAL, "");
        assert_eq!(status, 200, "{answer}");
        assert!(!answer.contains("13812345678"), "{answer}");
        serde_json::from_str(&answer).unwrap()
    };
    let page = get("/api/v1/dead-letters", "?account=acme-ps&limit=1");
    assert_eq!((page["items"].as_array().unwrap().len(), page["items"][0]["offset"].as_i64()), (1, Some(1)), "{page}");
    let next =
        get("/api/v1/dead-letters", &format!("?account=acme-ps&limit=1&cursor={}", page["cursor"].as_str().unwrap()));
    assert_eq!(next["items"][0]["offset"], 0, "{next}");
    assert_eq!(
        (next["done"].as_bool(), next["total"].as_u64(), next["scanned"].as_u64()),
        (Some(true), Some(3), Some(3))
    );
    let groups = get("/api/v1/dead-letters/groups", "");
    let counts: Vec<_> = groups["groups"].as_array().unwrap().iter().map(|g| g["count"].as_u64().unwrap()).collect();
    assert_eq!((counts, groups["groups"][0]["sample"].as_str()), (vec![2, 1], Some("0:1")), "{groups}");
    let one = get("/api/v1/dead-letters/0/0", "");
    assert_eq!(one["headers"][0], json!(["x-phone", "138****5678"]));
    assert!(one["value"].as_str().unwrap().contains("73314510714175488"), "{one}");
    assert!(one["advice"].is_string() && one["today"]["accepted"] == false, "{one}");
}

#[test]
fn all_that_a_filter_selects_is_one_file_without_anything_personal() {
    let world = World::new("");
    let get = |query: &str| {
        let (status, head, body) = world.send("GET", &format!("/api/v1/dead-letters/export{query}"), LOCAL, "");
        assert_eq!(status, 200, "{body}");
        assert!(!body.contains("13812345678") && body.contains("138****5678"), "{body}");
        (head.to_lowercase(), body)
    };
    let (head, csv) = get("?account=acme-ps");
    for part in
        ["postback-total: 2", "content-type: text/csv", "content-disposition: attachment; filename=\"dead-letters-"]
    {
        assert!(head.contains(part), "{head}");
    }
    // The pieces of the answer lie between their sizes.
    assert_eq!((csv.matches("partition,offset,state").count(), csv.matches(",acme-ps,").count()), (1, 2), "{csv}");
    let (_, _, nothing) = world.send("GET", "/api/v1/dead-letters/export?account=nobody", LOCAL, "");
    assert!(nothing.contains("partition,offset,state"), "an export of nothing has its headings: {nothing}");
    let (head, jsonl) = get("?format=jsonl&all=true");
    assert!(head.contains("postback-total: 3") && head.contains("application/x-ndjson"), "{head}");
    let lines: Vec<Value> =
        jsonl.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(Value::is_object).collect();
    let offsets: Vec<_> = lines.iter().filter_map(|line| line["offset"].as_i64()).collect();
    assert_eq!(offsets, [2, 1, 0], "{jsonl}");
    assert!(lines.iter().all(|line| line["detail"] == "call 138****5678" && line["state"].is_string()), "{jsonl}");
}

#[test]
fn the_audit_is_shown_newest_first_and_page_by_page() {
    let world = World::new("");
    let get = |query: &str| -> Value {
        let (status, _, answer) = world.send("GET", &format!("/api/v1/audit{query}"), LOCAL, "");
        assert_eq!(status, 200, "{answer}");
        world.check("GET", "/api/v1/audit", status, &answer);
        serde_json::from_str(&answer).unwrap()
    };
    let times = |page: &Value| -> Vec<i64> {
        page["items"].as_array().unwrap().iter().map(|r| r["at_ms"].as_i64().unwrap()).collect()
    };
    let all = get("?what=pause");
    assert_eq!((times(&all), all["done"].as_bool()), (vec![2, 1, 0], Some(true)));
    assert_eq!((all["items"][0]["who"].as_str(), all["items"][0]["via"].as_str()), (Some("li"), Some("console")));
    assert_eq!(all["items"][0]["why"], "asked by 138****5678");
    let first = get("?limit=2&what=pause&who=li&via=console");
    assert_eq!((times(&first), first["done"].as_bool()), (vec![2, 1], Some(false)));
    let rest = get(&format!("?limit=2&what=pause&cursor={}", first["cursor"].as_str().unwrap()));
    assert_eq!((times(&rest), rest["cursor"].as_str()), (vec![0], None));
    for none in ["?what=resume", "?who=wang", "?via=cli", "?account=acme-ps", "?subject=x"] {
        assert_eq!(times(&get(none)), [0; 0], "{none}");
    }
}

#[test]
fn the_committed_document_is_the_generated_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/openapi.json");
    let generated = serde_json::to_string_pretty(&document(&routes::all())).unwrap() + "\n";
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == generated, "config/openapi.json is stale: run `UPDATE_SCHEMA=1 cargo test --lib document`");
}

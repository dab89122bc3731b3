//! The dead letters as a whole: the newest of each origin over several partitions, states, discards, pages of one
//! search that goes on while letters arrive and retention deletes others.

use crate::support::kafka::quiet;
use crate::support::platform::Platform;
use crate::support::world::World;
use crate::support::{eventually, secs};
use postback::inspect::dead_letters::Filter;
use postback::inspect::dead_letters::listing::{self, Query};
use postback::inspect::dead_letters::scan::{Scan, Source};
use postback::settings::Config;
use postback::units::show_count;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Writes dead letters as a worker does.
struct Writer {
    producer: BaseProducer,
    topic: String,
}

impl Writer {
    fn new(w: &World, partitions: i32) -> Self {
        let topic = w.topic("dlt");
        w.admin.create_topic(&topic, partitions, 1, &[]);
        let mut config = quiet(&w.bootstrap());
        config.set("linger.ms", "20").set("queue.buffering.max.messages", "200000");
        Self { producer: config.create().unwrap(), topic }
    }

    /// One dead letter of the event at `origin` of the input.
    fn write(&self, partition: i32, origin: i64, at_ms: i64, more: &[(&str, &str)]) {
        let (offset, at, origin_at) = (origin.to_string(), at_ms.to_string(), NOW.to_string());
        let trans_id = format!("t-{origin}");
        let mut headers = vec![
            ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            ("pb-origin-topic", "conversions"),
            ("pb-origin-partition", "0"),
            ("pb-origin-offset", &offset),
            ("pb-origin-timestamp", &origin_at),
            ("pb-first-seen", &at),
            ("pb-first-attempt", &at),
            ("pb-attempts", "1"),
            ("pb-resends", "0"),
            ("pb-last-error", "permanent"),
            ("pb-last-code", "3"),
            ("pb-last-status", "200"),
            ("pb-platform", "qihoo360"),
            ("pb-trans-id", &trans_id),
            ("pb-event", "ORDER"),
            ("pb-failed-at", &at),
            ("pb-worker", "0.1.0"),
        ];
        for (name, value) in
            [("pb-account", "acme-ps"), ("pb-reason", "rejected"), ("pb-field", ""), ("pb-detail", "no such click")]
        {
            headers.push((name, more.iter().find(|(n, _)| *n == name).map_or(value, |(_, v)| v)));
        }
        let mut block = OwnedHeaders::new();
        for (key, value) in headers {
            block = block.insert(Header { key, value: Some(value) });
        }
        let value = format!(
            r#"{{"schema":"postback.event/1","trans_id":"{trans_id}","platform":"qihoo360","account":"acme-ps","event_type":"order","event_time_ms":{at},"click":{{"qhclickid":"a1b2c3d4e5f60718"}},"order":{{"order_id":"{origin}","amount":{{"minor":73314510714175488,"currency":"CNY"}}}},"user":{{"phone":"13812345678"}}}}"#
        );
        let key = format!("qihoo360:acme-ps:{origin}");
        let mut record = BaseRecord::to(&self.topic).partition(partition).key(&key).payload(&value).headers(block);
        while let Err((_, again)) = self.producer.send(record) {
            self.producer.poll(Duration::from_millis(20));
            record = again;
        }
        self.producer.poll(Duration::ZERO);
    }

    fn flush(&self) {
        self.producer.flush(secs(120)).unwrap();
    }
}

/// Waits for an answer of the search.
fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

const NOW: i64 = 1_790_000_000_000;

fn places(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|l| format!("{}:{}", l["partition"], l["offset"])).collect()
}

#[test]
fn a_dead_letter_is_open_until_it_is_replayed_or_discarded_and_the_newest_of_its_origin_counts() {
    let mut w = World::new("letters-states");
    w.account("acme-ps", Platform::Qihoo360);
    w.admin.create_topic(&w.topic("audit"), 1, 1, &[]);
    let writer = Writer::new(&w, 3);
    writer.write(0, 1, NOW, &[]);
    writer.write(0, 2, NOW + 1, &[("pb-account", "acme-ms")]);
    writer.write(1, 1, NOW + 2, &[("pb-reason", "expired")]);
    writer.write(
        2,
        3,
        NOW + 3,
        &[("pb-field", "order.amount"), ("pb-reason", "invalid"), ("pb-detail", "=HYPERLINK(\"x\")")],
    );
    writer.flush();
    let worker = w.worker();
    let json = |args: &[&str]| -> Value { serde_json::from_str(&worker.must(args)).unwrap() };
    let listed = |args: &[&str]| places(&json(&[&["dead-letters", "list", "--json"], args].concat()));

    assert_eq!(listed(&[]), ["2:0", "1:0", "0:1"], "newest first, one per origin");
    assert_eq!(listed(&["--all"]).len(), 4);
    assert_eq!(listed(&["--reason", "rejected"]), ["0:1"], "the older letter of an origin does not count");
    assert_eq!(listed(&["--field", "order.amount"]), ["2:0"]);

    // A replay sets the bit of the letter that it published.
    w.redis().run(&["SETBIT", &format!("{}:replayed:1:0", w.id()), "0", "1"]);
    assert_eq!(listed(&["--state", "replayed"]), ["1:0"]);
    assert_eq!(listed(&["--state", "open"]), ["2:0", "0:1"]);

    let refused = worker.command(&["dead-letters", "discard", "--why", "all"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("everything"), "{}", refused.stderr);
    let nothing = worker.command(&["dead-letters", "discard", "--reason", "expired", "--why", "replayed before"]);
    assert!(nothing.code == Some(2) && nothing.stderr.contains("nothing was discarded"), "{}", nothing.stderr);
    let made = json(&["dead-letters", "discard", "--reason", "invalid", "--why", "test of 13812345678", "--json"]);
    assert_eq!(made["count"], 1);
    assert_eq!(listed(&["--state", "discarded"]), ["2:0"]);
    let one = worker.must(&["dead-letters", "discard", "--item", "0:1", "--why", "mended"]);
    assert!(one.starts_with("discarded 1 dead letter (id "), "{one}");
    let stats = json(&["dead-letters", "stats", "--json"]);
    assert_eq!(["total", "open", "replayed", "discarded"].map(|n| stats[n].as_u64().unwrap()), [3, 0, 1, 2]);

    // What dies again is a new letter, and open.
    writer.write(2, 3, NOW + 10, &[("pb-reason", "invalid")]);
    writer.flush();
    assert_eq!(listed(&["--state", "open"]), ["2:1"]);
    let id = made["id"].as_str().unwrap();
    worker.must(&["dead-letters", "undiscard", id, "--why", "wanted after all"]);
    let again = worker.command(&["dead-letters", "undiscard", id, "--why", "twice"]);
    assert!(again.code == Some(2) && again.stderr.contains("no discard"), "{}", again.stderr);
    assert_eq!(listed(&["--state", "discarded"]), ["0:1"]);
    let audit: Vec<Value> = w
        .records("audit")
        .iter()
        .map(|record| serde_json::from_slice(record.value.as_deref().unwrap()).unwrap())
        .collect();
    let whats: Vec<&str> = audit.iter().map(|entry| entry["what"].as_str().unwrap()).collect();
    assert_eq!(whats, ["discard", "discard", "undiscard"]);
    assert_eq!((&audit[0]["why"], &audit[0]["via"]), (&"test of 138****5678".into(), &"cli".into()));

    let raw = worker.must(&["dead-letters", "show", "2:0", "--raw"]);
    assert!(raw.ends_with("\"phone\":\"13812345678\"}}") && raw.contains("73314510714175488"), "{raw}");
    let shown = json(&["dead-letters", "show", "1:0", "--json"]);
    assert_eq!((&shown[0]["state"], &shown[0]["headers"][0][0]), (&"replayed".into(), &"traceparent".into()));
    assert!(!shown.to_string().contains("13812345678"), "{shown}");
    let csv = worker.must(&["dead-letters", "list", "--all", "--export", "csv"]);
    assert_eq!(csv.lines().count(), 6, "{csv}");
    assert!(csv.contains("\"'=HYPERLINK(\"\"x\"\")\"") && csv.starts_with("partition,offset,"), "{csv}");
    let jsonl = worker.must(&["dead-letters", "list", "--export", "jsonl", "--limit", "2"]);
    let exported: Vec<Value> = jsonl.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(exported.len(), 2);

    // What retention deletes is gone, also all of it.
    w.admin.delete_before(&w.topic("dlt"), 2, 1);
    assert_eq!(listed(&["--all"]).len(), 4);
    for (partition, end) in w.admin.ends(&w.topic("dlt")) {
        w.admin.delete_before(&w.topic("dlt"), partition, end);
    }
    assert_eq!(worker.must(&["dead-letters", "list"]), "no dead letters\n");
}

/// The search of a worker with this test's topics.
fn scan(w: &World) -> Arc<Scan> {
    Arc::new(Scan::start(source(w)).unwrap())
}

fn source(w: &World) -> Source {
    let text = format!(
        "[kafka]\nbrokers = \"{}\"\ninput = [\"{}\"]\ndead_letter = \"{}\"\naudit = \"{}\"\n[redis]\nurl = \"{}\"\nprefix = \"{}\"\n[accounts.a]\nplatform = \"baizhu\"\nproduct = {{ install = \"p\" }}\n",
        w.bootstrap(),
        w.topic("conversions"),
        w.topic("dlt"),
        w.topic("audit"),
        w.redis_url(),
        w.id(),
    );
    let file = w.file("scan.toml", text.as_bytes());
    let loaded = Config::load(Some(file.as_ref()), []).unwrap_or_else(|found| panic!("{found}"));
    Source { kafka: loaded.config.kafka, redis: loaded.config.redis }
}

#[test]
fn marks_of_a_topic_that_was_deleted_hide_nothing_in_the_one_that_was_made_again() {
    let mut w = World::new("letters-remade");
    w.account("acme-ps", Platform::Qihoo360);
    w.admin.create_topic(&w.topic("audit"), 1, 1, &[]);
    let writer = Writer::new(&w, 1);
    (0..4).for_each(|n| writer.write(0, n, NOW + n, &[]));
    writer.flush();
    let worker = w.worker();
    let json = |args: &[&str]| -> Value { serde_json::from_str(&worker.must(args)).unwrap() };
    let open = || places(&json(&["dead-letters", "list", "--json", "--state", "open"]));
    assert_eq!(open().len(), 4);
    w.redis().run(&["SETBIT", &format!("{}:replayed:0:0", w.id()), "0", "1"]);
    worker.must(&["dead-letters", "discard", "--item", "0:1", "--why", "mended"]);
    worker.must(&["dead-letters", "discard", "--reason", "rejected", "--why", "campaign ended"]);
    assert_eq!(open(), [""; 0]);

    w.admin.delete_topic(&writer.topic);
    let writer = Writer::new(&w, 1);
    (0..3).for_each(|n| writer.write(0, 10 + n, NOW + n, &[]));
    writer.flush();
    assert_eq!(open(), ["0:2", "0:1", "0:0"]);
    worker.must(&["dead-letters", "discard", "--item", "0:1", "--why", "mended"]);
    assert_eq!(open(), ["0:2", "0:0"]);
    let state = |place| json(&["dead-letters", "show", place, "--json"])[0]["state"].clone();
    assert_eq!(["0:0", "0:1"].map(state), ["open", "discarded"]);
}

/// A search that goes on knows of the audit up to an offset. In the new topic other entries lie below it.
#[test]
fn every_discard_of_an_audit_topic_that_was_made_again_is_known_to_a_search_that_goes_on() {
    let mut w = World::new("letters-audit-remade");
    w.account("acme-ps", Platform::Qihoo360);
    w.admin.create_topic(&w.topic("audit"), 1, 1, &[]);
    let writer = Writer::new(&w, 1);
    (0..6).for_each(|n| writer.write(0, n, NOW + n, &[]));
    writer.flush();
    let (worker, scan) = (w.worker(), scan(&w));
    let open = || wait(listing::groups(&scan, &Filter::default())).unwrap().stats.open;
    let discard = |item: &str| drop(worker.must(&["dead-letters", "discard", "--item", item, "--why", "mended"]));
    ["0:0", "0:1"].into_iter().for_each(discard);
    eventually(secs(30), "both are known", || open() == 4);
    w.admin.delete_topic(&w.topic("audit"));
    w.admin.create_topic(&w.topic("audit"), 1, 1, &[]);
    ["0:2", "0:3", "0:4"].into_iter().for_each(discard);
    eventually(secs(30), "the later ones are known as well", || open() == 1);
}

#[test]
fn pages_read_while_the_search_goes_on_and_letters_arrive_hold_each_letter_once() {
    let w = World::new("letters-pages");
    let writer = Writer::new(&w, 4);
    // The partitions differ in length and in age.
    let all = 20_000_i64;
    for n in 0..all {
        writer.write(if n % 10 < 6 { 0 } else { (n % 4) as i32 }, n, NOW + n, &[]);
    }
    writer.flush();
    let scan = scan(&w);
    let query = |limit, cursor: Option<String>| Query {
        limit,
        cursor: cursor.map(|cursor| cursor.parse().unwrap()),
        ..Query::default()
    };
    let began = Instant::now();
    let first = wait(listing::page(&scan, &query(500, None))).unwrap();
    eprintln!("first page after {:?}: {:?}", began.elapsed(), first.search);
    assert_eq!(first.items.len(), 500);
    assert_eq!(first.search.total, all as u64);
    let newest = first.items.iter().filter(|item| item.fields["origin_offset"].as_i64() == Some(all - 1)).count();
    assert_eq!(newest, 1, "the newest letter is on the first page");

    let (mut seen, mut cursor, mut late) = (BTreeSet::new(), first.cursor.clone(), all);
    let mut take = |items: &[postback::inspect::dead_letters::Item]| {
        for item in items {
            let origin = item.fields["origin_offset"].as_i64().unwrap();
            assert!(seen.insert(origin), "{origin} is on two pages");
        }
        seen.len()
    };
    take(&first.items);
    while let Some(at) = cursor {
        writer.write((late % 4) as i32, late, NOW + late, &[]);
        writer.flush();
        late += 1;
        let page = wait(listing::page(&scan, &query(500, Some(at)))).unwrap();
        take(&page.items);
        cursor = page.cursor;
    }
    let missing: Vec<i64> = (0..all).filter(|origin| !seen.contains(origin)).collect();
    assert!(missing.is_empty(), "{} letters are on no page, e.g. {:?}", missing.len(), missing.first());

    let ends = wait(scan.fresh(secs(20))).unwrap();
    assert_eq!(ends.values().sum::<i64>(), late);
    let page = wait(listing::page(&scan, &query(1, None))).unwrap();
    assert_eq!(page.items[0].fields["origin_offset"].as_i64(), Some(late - 1), "what has arrived is there");
    assert_eq!(page.items[0].value.as_ref().unwrap().matches("73314510714175488").count(), 1);
    let groups = wait(listing::groups(&scan, &Filter::default())).unwrap();
    assert_eq!((groups.groups.len(), groups.stats.open), (1, late as u64));

    for (partition, end) in w.admin.ends(&w.topic("dlt")) {
        w.admin.delete_before(&w.topic("dlt"), partition, end);
    }
    eventually(secs(20), "what was deleted is hidden", || scan.index().count(&Filter::default(), true) == 0);
}

#[test]
fn a_search_that_holds_no_more_says_how_many_older_ones_it_left_out_and_begins_anew_when_too_many_arrive() {
    let w = World::new("letters-bounded");
    let writer = Writer::new(&w, 4);
    let write = |from: i64, to: i64| {
        (from..to).for_each(|n| writer.write((n % 4) as i32, n, NOW + n, &[]));
        writer.flush();
    };
    write(0, 20_000);
    let scan = Arc::new(Scan::bounded(source(&w), 6_000).unwrap());
    let query = Query { limit: 1, ..Query::default() };
    let newest = || {
        let page = wait(listing::page(&scan, &query)).unwrap();
        // A search that has just begun anew has found none yet.
        let first = page.items.first().map(|item| item.fields["origin_offset"].as_i64().unwrap());
        (first.unwrap_or(-1), page.search)
    };
    eventually(secs(30), "the search ends", || newest().1.done);
    let (first, search) = newest();
    let held = scan.index().len() as u64;
    assert!((6_000..11_000).contains(&held), "{held}");
    assert_eq!((first, search.scanned, search.total), (19_999, held, 20_000));
    let text = search.trouble.unwrap();
    assert!(text.contains(&show_count(20_000 - held)) && text.contains("older"), "{text}");

    write(20_000, 32_000);
    eventually(secs(30), "the newest are there", || newest().0 == 31_999);
    eventually(secs(30), "the index is small again", || scan.index().len() < 11_000 && newest().1.done);
    assert_eq!(newest().0, 31_999);
}

#[test]
fn a_place_that_holds_nothing_is_told_at_once_and_after_a_rest_the_first_answer_knows_what_has_arrived() {
    let w = World::new("letters-places");
    let writer = Writer::new(&w, 2);
    (0..10).for_each(|n| writer.write(0, n, NOW + n, &[]));
    writer.flush();
    let scan = scan(&w);
    let groups = || wait(listing::groups(&scan, &Filter::default())).unwrap();
    assert!(wait(listing::letter(&scan, (0, 9))).unwrap().is_some());
    for place in [(7, 0), (-1, 0), (0, 10), (0, i64::MAX), (0, -1), (1, 0)] {
        let began = Instant::now();
        assert_eq!(wait(listing::letter(&scan, place)), Ok(None), "{place:?}");
        // One that waits for what is not there waits for 20 s.
        assert!(began.elapsed() < secs(15), "{place:?} took {:?}", began.elapsed());
    }
    eventually(secs(20), "the search is complete", || scan.progress().done && groups().stats.total == 10);

    // Nobody asks for so long that the search stops following the topic.
    std::thread::sleep(secs(7));
    (10..15).for_each(|n| writer.write(1, n, NOW + n, &[]));
    writer.flush();
    let first = groups();
    assert!(first.stats.total == 15 || first.search.trouble.is_some(), "{first:?}");
    eventually(secs(20), "the new ones are known", || groups().stats.total == 15);
}

/// The index of many dead letters stays small. `POSTBACK_TEST_LETTERS=1000000` with `--nocapture`, and no other test
/// beside it, measures the search over so many: it prints times and memory.
#[test]
fn the_index_of_many_dead_letters_holds_each_of_them_in_few_bytes() {
    let all: i64 = std::env::var("POSTBACK_TEST_LETTERS").ok().and_then(|n| n.parse().ok()).unwrap_or(50_000);
    let w = World::new("letters-million");
    let writer = Writer::new(&w, 12);
    for n in 0..all {
        let account = format!("acme-{}", n % 40);
        writer.write((n % 12) as i32, n, NOW + n, &[("pb-account", &account)]);
    }
    writer.flush();
    drop(writer);
    let scan = scan(&w);
    let before = resident();
    let began = Instant::now();
    let first = wait(listing::page(&scan, &Query { limit: 50, ..Query::default() })).unwrap();
    let at_first = began.elapsed();
    println!("first page of {} after {at_first:?}, {:?}", first.items.len(), first.search);
    let mut highest = 0;
    while !wait(scan.wait(Duration::from_millis(500), |progress| progress.done)).done {
        highest = highest.max(resident().saturating_sub(before));
    }
    println!(
        "all after {:?}, {} MiB more at most, now {} MiB more",
        began.elapsed(),
        highest >> 20,
        resident().saturating_sub(before) >> 20
    );
    println!("the index holds {} MiB", scan.index().bytes() >> 20);
    for limit in [50, 500] {
        let (asked, query) = (Instant::now(), Query { limit, ..Query::default() });
        let page = wait(listing::page(&scan, &query)).unwrap();
        println!("a page of {} in {:?}", page.items.len(), asked.elapsed());
    }
    let asked = Instant::now();
    let filter = Filter { account: Some("acme-7".to_owned()), ..Filter::default() };
    let found = wait(listing::page(&scan, &Query { filter, limit: 50, ..Query::default() })).unwrap();
    println!("a page of one account, {} letters, in {:?}", found.items.len(), asked.elapsed());
    let asked = Instant::now();
    println!(
        "{} groups in {:?}",
        wait(listing::groups(&scan, &Filter::default())).unwrap().groups.len(),
        asked.elapsed()
    );
    assert_eq!(first.items.len(), 50);
    assert_eq!(scan.index().count(&Filter::default(), true) as i64, all);
    assert!(scan.index().bytes() as i64 <= 100 * all, "{} bytes", scan.index().bytes());
}

/// The resident memory of this process in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

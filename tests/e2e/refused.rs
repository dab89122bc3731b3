//! Starts that are refused: exit code 2, and a text that names the key and what to do.

use crate::support::ledger::Check;
use crate::support::platform::Platform;
use crate::support::process::Process;
use crate::support::world::{Setup, World};
use crate::support::{eventually, free_port, secs};

/// Starts a worker that must refuse, and returns its message.
#[track_caller]
fn refusal(w: &World) -> String {
    let mut worker = w.worker();
    worker.launch();
    let status = worker.wait(secs(40)).expect("the start was not refused");
    let said = worker.log();
    assert_eq!(status.code(), Some(2), "{said}");
    said
}

#[track_caller]
fn says(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "no word of {word:?} in:\n{said}");
    }
}

/// After the repair everything published is delivered, from the beginning.
fn starts_and_delivers(w: &mut World) {
    let events = w.make.orders("acme-ps", 5);
    w.publish(events);
    let worker = w.started();
    w.settle(secs(60));
    let books = w.ledger(&Check::EXACT);
    w.counters(&worker, &books);
}

#[test]
fn a_redis_in_cluster_mode_and_one_that_evicts_refuse_the_start() {
    let mut w = World::with("refused-redis", Setup { redis: true, ..Setup::default() });
    w.account("acme-ps", Platform::Qihoo360);
    w.redis.as_ref().unwrap().connect().run(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    says(&refusal(&w), &["redis.url", "allkeys-lru", "CONFIG SET maxmemory-policy noeviction"]);
    let bus = free_port().to_string();
    let cluster = w.another_redis(&["--cluster-enabled", "yes", "--cluster-port", &bus]);
    w.set("redis.url", cluster.url());
    says(&refusal(&w), &["redis.url", "cluster mode", "one primary with replicas"]);

    // Nothing was read meanwhile, so a start that succeeds reads from the beginning.
    w.redis.as_ref().unwrap().connect().run(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    w.set("redis.url", w.redis.as_ref().unwrap().url());
    starts_and_delivers(&mut w);
}

#[test]
fn a_source_that_keeps_its_records_for_longer_than_the_window_refuses_the_start() {
    let mut w = World::new("refused-window");
    w.account("acme-ps", Platform::Qihoo360);
    // Tiers and parking topics keep their records for the window less a day, which must be a day longer than a record
    // may wait.
    w.set("dedupe.window", "143h");
    says(&refusal(&w), &["dedupe.window", "max_age + max_parked", "+ 2d = 6d", "window_check"]);
    // With 24 h of retrying and 72 h of parking this is exactly the window.
    let slow = w.topic("slow");
    w.admin.create_topic(&slow, 1, 1, &[("retention.ms", "172800000")]);
    w.set("kafka.input", vec![w.topic("conversions"), slow.clone()]);
    w.set("dedupe.window", "144h");
    says(&refusal(&w), &["dedupe.window", &slow, "max_age", "max_parked", "lengthen the window", "window_check"]);
    let forever = w.topic("forever");
    w.admin.create_topic(&forever, 1, 1, &[("retention.ms", "-1")]);
    w.set("kafka.input", vec![w.topic("conversions"), forever.clone()]);
    w.set("dedupe.window", "12d");
    says(&refusal(&w), &["dedupe.window", &forever, "for ever", "retention.ms", "window_check"]);
    // A tier that deletes records which still wait.
    let tier = w.topic("retry.1s");
    w.admin.create_topic(&w.topic("elsewhere.1s"), 1, 1, &[("retention.ms", "86400000")]);
    w.set("kafka.input", vec![w.topic("conversions")]);
    w.set("kafka.retry_prefix", w.topic("elsewhere"));
    says(&refusal(&w), &[&w.topic("elsewhere.1s"), "retention.ms is 86400000", "max_age + max_parked + 1 day"]);
    w.set("kafka.retry_prefix", w.topic("retry"));

    // With the warning accepted the worker starts, and its own topics are no finding of the next start.
    w.set("dedupe.window", "97h");
    w.set("dedupe.window_check", "warn");
    w.set("kafka.input", vec![w.topic("conversions"), forever.clone()]);
    starts_and_delivers(&mut w);
    assert_eq!(w.admin.topic_setting(&tier, "retention.ms").as_deref(), Some("432000000"));
    let worker = w.started();
    let log = worker.log();
    says(&log, &["dedupe.window", &forever, "for ever"]);
    for own in ["retry.1s", "retry.2s", "parked.acme-ps", "dlt", "receipts"] {
        let about = format!("kafka: topic {}:", w.topic(own));
        assert!(!log.contains(&about), "the worker made it itself: {log}");
    }
}

/// Topics that the worker made before its input existed are no finding later, even if the input allows larger records
/// than a broker's default.
#[test]
fn topics_that_were_made_for_an_input_that_came_later_are_large_enough_for_it() {
    let mut w = World::new("late-input");
    w.account("acme-ps", Platform::Qihoo360);
    w.set("kafka.input", vec![w.topic("late")]);
    let mut worker = w.worker();
    worker.launch();
    eventually(secs(30), "it waits for its input", || worker.log().contains("waiting for an input topic"));
    w.admin.create_topic(&w.topic("late"), 1, 1, &[("max.message.bytes", "3000000"), ("retention.ms", "3600000")]);
    worker.wait_until_ready();
    assert_eq!(w.admin.topic_setting(&w.topic("retry.1s"), "max.message.bytes").as_deref(), Some("3065536"));
    worker.stop();
    worker.start();
    assert!(!worker.log().contains(&format!("kafka: topic {}", w.topic(""))), "{}", worker.log());
}

#[test]
fn more_requests_at_once_than_files_may_be_open_refuse_the_start() {
    let mut w = World::new("refused-files");
    w.account("acme-bz", Platform::Baizhu);
    w.set("accounts.acme-bz.limits.concurrency", 1000);
    let config = w.worker().config.display().to_string();
    let folder = tempfile::tempdir().unwrap();
    let start = |limit: &str| {
        // The worker raises its own limit up to the hard one.
        let script = format!("ulimit -S -n 300 && ulimit -H -n {limit} && exec \"$0\" run --config \"$1\"");
        let args = vec!["-c".into(), script, env!("CARGO_BIN_EXE_postback").into(), config.clone()];
        let mut process = Process::new("sh", args, folder.path(), &folder.path().join(format!("{limit}.log")));
        process.spawn();
        process
    };
    let mut process = start("600");
    let status = process.wait(secs(40)).expect("the start was not refused");
    let said = process.log();
    assert_eq!(status.code(), Some(2), "{said}");
    says(&said, &["limits.concurrency", "1000 requests", "needs 1257", "may open 600", "ulimit -n 1257"]);

    let mut process = start("1257");
    eventually(secs(60), "it starts", || {
        assert!(process.alive(), "{}", process.log());
        process.log().contains("worker runs")
    });
}

#[test]
fn missing_topics_that_may_not_be_made_are_named_with_the_commands_that_make_them() {
    let mut w = World::new("refused-topics");
    w.account("acme-ps", Platform::Qihoo360);
    w.set("kafka.create_topics", false);
    let said = refusal(&w);
    let parts = ["retry.1s", "retry.2s", "parked.acme-ps", "dlt", "receipts"];
    for part in parts {
        let topic = w.topic(part);
        assert_eq!(w.admin.partitions(&topic), 0, "{topic} was made");
        says(&said, &["kafka.create_topics", &format!("--create --topic {topic} --partitions ")]);
    }
    // Runs the commands of the message, word for word.
    for command in said.split("kafka-topics.sh ").skip(1) {
        let end = command.find(['\n', '"', '\\']).unwrap_or(command.len());
        let words: Vec<&str> = command[..end].split_whitespace().collect();
        let after = |name: &str| words.iter().position(|w| *w == name).map(|i| words[i + 1]);
        let settings: Vec<(&str, &str)> =
            words.iter().filter(|w| !w.starts_with("--")).filter_map(|w| w.split_once('=')).collect();
        assert!(settings.contains(&("cleanup.policy", "delete")), "{words:?}");
        let (topic, partitions) = (after("--topic").unwrap(), after("--partitions").unwrap());
        if w.admin.partitions(topic) == 0 {
            w.admin.create_topic(topic, partitions.parse().unwrap(), 1, &settings);
        }
    }
    starts_and_delivers(&mut w);
}

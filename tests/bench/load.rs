//! The events of the benchmark: `load --brokers B --topic T --events N [--rate R] [--accounts a,b,…] [--partitions P]
//! [--platform qihoo360] [--dead-letters | --receipts] [--from S] [--to S]`.
//!
//! Makes the topic, then publishes N events in turn over the accounts, R a second (0: as fast as it goes). An event is
//! about 390 bytes; its `trans_id` ends in the moment of the producer's call, so that the sink can tell its age.
//! `--skip N` numbers from N on. With `--dead-letters` each event has the headers of a dead letter, as the worker
//! writes them; with `--receipts` the records are receipts instead. With `--from` and `--to` (seconds from now on,
//! negative: before) the records have times that are spread evenly between the two.

#![expect(clippy::expect_used, clippy::panic, reason = "a tool of the benchmark: whatever fails ends the run")]

use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

fn option(name: &str) -> Option<String> {
    std::env::args().skip_while(|a| a != name).nth(1)
}

fn number<T: FromStr>(name: &str, default: T) -> T {
    option(name).map_or(default, |n| n.parse().unwrap_or_else(|_| panic!("{name} wants a number")))
}

fn main() {
    let topic = option("--topic").expect("--topic");
    let (events, rate, skip) = (number("--events", 1000_u64), number("--rate", 0_u64), number("--skip", 0_u64));
    let accounts = option("--accounts").unwrap_or_else(|| "a0".into());
    let accounts: Vec<&str> = accounts.split(',').collect();
    let platform = option("--platform").unwrap_or_else(|| "qihoo360".into());
    let has = |flag: &str| std::env::args().any(|argument| argument == flag);
    let (are_dead, are_receipts) = (has("--dead-letters"), has("--receipts"));
    let (from, to): (f64, f64) = (number("--from", 0.0), number("--to", 0.0));
    let start_ms = now_us() as i64 / 1000;
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", option("--brokers").expect("--brokers"))
        .set("linger.ms", if rate > 0 { "0" } else { "20" })
        .set("queue.buffering.max.messages", "1000000");
    make_topic(&config, &topic, number("--partitions", 12));

    let producer: BaseProducer = config.create().expect("producer");
    let (began, run) = (Instant::now(), std::process::id());
    for n in 0..events {
        if rate > 0 {
            wait(&producer, began, Duration::from_secs_f64(n as f64 / rate as f64));
        }
        let account = accounts[n as usize % accounts.len()];
        let (key, value) = match are_receipts {
            true => receipt(run, n + skip, &platform, account),
            false => event(run, n + skip, &platform, account),
        };
        let mut record = BaseRecord::to(&topic).key(&key).payload(&value);
        if (from, to) != (0.0, 0.0) {
            record = record.timestamp(start_ms + ((from + (to - from) * n as f64 / events as f64) * 1e3) as i64);
        }
        if are_dead {
            record = record.headers(dead(run, n + skip, &platform, account));
        }
        while let Err((error, again)) = producer.send(record) {
            assert!(matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)), "{error}");
            producer.poll(Duration::from_millis(10));
            record = again;
        }
        if n % 64 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(Duration::from_secs(60)).expect("every event acknowledged");
}

fn make_topic(config: &ClientConfig, topic: &str, partitions: i32) {
    let admin: AdminClient<_> = config.create().expect("admin");
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let results = runtime.block_on(admin.create_topics([&new], &AdminOptions::new())).expect("topic");
    for result in results {
        assert!(matches!(result, Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))), "{result:?}");
    }
}

fn wait(producer: &BaseProducer, began: Instant, due: Duration) {
    while let Some(left) = due.checked_sub(began.elapsed()).filter(|l| !l.is_zero()) {
        producer.poll(Duration::ZERO);
        std::thread::sleep(left.min(Duration::from_micros(500)));
    }
}

fn now_us() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().expect("clock").as_micros() as u64
}

fn event(run: u32, n: u64, platform: &str, account: &str) -> (String, String) {
    let now_us = now_us();
    let click = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let value = serde_json::json!({
        "schema": "postback.event/1",
        "kind": "conversion",
        // 32 lower hexadecimal digits: anything else would be sent as its MD5, and the sink could not tell the age.
        "trans_id": format!("{run:06x}{n:010x}{now_us:016x}"),
        "platform": platform,
        "account": account,
        "event_type": "order",
        "event_time_ms": now_us / 1000,
        "click": {"qhclickid": format!("{click:016x}"), "gdt_click_id": format!("{click:016x}")},
        "order": {"order_id": format!("o{run:07}{n:09}"), "amount": {"minor": 100 + n % 99_900, "currency": "CNY"}},
        "user": {"user_id": format!("user{:07}", n % 1_000_000)},
        "params": {"score": 1 + n % 999},
        "platform_params": {"data_industry": "ocpc_ps_convert"},
    });
    (format!("{platform}:{account}:o{run:07}{n:09}"), value.to_string())
}

/// A receipt as the worker writes it: key and value.
fn receipt(run: u32, n: u64, platform: &str, account: &str) -> (String, String) {
    let (now_ms, trans_id) = (now_us() / 1000, format!("{run:06x}{n:010x}{:016x}", n.wrapping_mul(0x9E37_79B9)));
    let value = serde_json::json!({
        "schema": "postback.receipt/1", "trans_id": trans_id, "platform": platform, "account": account, "event": "ORDER",
        "outcome": "delivered", "reason": null, "attempts": 1, "resends": 0, "platform_id": null,
        "origin": {"topic": "conversions", "partition": n % 12, "offset": n / 12},
        "first_seen_ms": now_ms, "finished_at_ms": now_ms,
    });
    (trans_id, value.to_string())
}

/// The headers of a dead letter. Its origin is a place of its own.
fn dead(run: u32, n: u64, platform: &str, account: &str) -> OwnedHeaders {
    const CODES: [&str; 5] = ["3", "7", "1001", "1002", "40001"];
    let now_ms = (now_us() / 1000).to_string();
    let (offset, trans_id) = ((n / 12).to_string(), format!("{run:06x}{n:010x}{:016x}", n.wrapping_mul(0x9E37_79B9)));
    let partition = (n % 12).to_string();
    let headers = [
        ("pb-origin-topic", "conversions"),
        ("pb-origin-partition", &partition),
        ("pb-origin-offset", &offset),
        ("pb-origin-timestamp", &now_ms),
        ("pb-first-seen", &now_ms),
        ("pb-first-attempt", &now_ms),
        ("pb-attempts", "1"),
        ("pb-resends", "0"),
        ("pb-last-error", "permanent"),
        ("pb-last-code", CODES[(n % 5) as usize]),
        ("pb-last-status", "200"),
        ("pb-platform", platform),
        ("pb-account", account),
        ("pb-trans-id", &trans_id),
        ("pb-event", "ORDER"),
        ("pb-reason", "rejected"),
        ("pb-field", ""),
        ("pb-detail", "the platform refuses the event: no such click"),
        ("pb-failed-at", &now_ms),
        ("pb-worker", "0.1.0"),
    ];
    let empty = OwnedHeaders::new_with_capacity(headers.len());
    headers.iter().fold(empty, |list, (key, value)| list.insert(Header { key, value: Some(*value) }))
}

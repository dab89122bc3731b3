//! The dashboards, the rules and the scrape of `deploy/`, against a worker under load and a real Prometheus.

use std::path::Path;

use crate::support::event::Event;
use crate::support::ledger::Check;
use crate::support::platform::{Action, Platform, Rule};
use crate::support::process::Process;
use crate::support::world::World;
use crate::support::{eventually, free_port, http, millis, secs, wait_for_port};

#[expect(dead_code, reason = "tests/dashboards.rs uses the rest")]
#[path = "../dashboards/board.rs"]
mod board;

const SCRAPE: &str = include_str!("../../deploy/prometheus/prometheus.yml");

/// An alert that fires at once, so that the panels of alerts have something to show.
const FIRES: &str = r#"
groups:
  - name: test
    rules:
      - alert: PostbackOfTheTest
        expr: vector(1)
        labels: { severity: critical }
"#;

/// Every query of every dashboard, with the names of its board and its panel.
fn queries() -> Vec<(String, String)> {
    let of_board = |b: board::Board| {
        b.queries()
            .into_iter()
            .map(move |q| {
                // The scrape is once a second here.
                (format!("{}: {}", b.name, q.panel), board::with_all_chosen(&q.expr, "15s", "5m"))
            })
            .collect::<Vec<_>>()
    };
    board::all().into_iter().flat_map(of_board).collect()
}

/// The number of series that a query returns now, without those whose value is not a number.
fn series(port: u16, query: &str) -> usize {
    let encoded: String = url::form_urlencoded::byte_serialize(query.as_bytes()).collect();
    let Some((status, body)) = http::get(port, &format!("/api/v1/query?query={encoded}")) else { return 0 };
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, 200, "{query}: {body}");
    let result = answer["data"]["result"].as_array().unwrap();
    result.iter().filter(|r| r["value"][1] != "NaN").count()
}

/// The configuration of `deploy/prometheus` with its rules, for this worker and once a second.
fn prometheus(dir: &Path, worker: u16) -> (Process, u16) {
    let mut config = SCRAPE
        .replace("worker:9465", &format!("127.0.0.1:{worker}"))
        .replace("interval: 5s", "interval: 1s")
        .replace("evaluation_interval: 15s", "evaluation_interval: 1s");
    assert!(config.contains(&worker.to_string()), "deploy/prometheus/prometheus.yml names another target");
    std::fs::write(dir.join("test.yml"), FIRES).unwrap();
    match config.contains("rule_files:") {
        true => config = config.replace("rule_files:", "rule_files:\n  - test.yml").replace("/etc/prometheus/", ""),
        false => config.push_str("\nrule_files:\n  - test.yml\n"),
    }
    if !config.contains("evaluation_interval") {
        config = config.replace("global:", "global:\n  evaluation_interval: 1s");
    }
    for rules in ["recording.yml", "alerts.yml"] {
        let of_the_tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus").join(rules);
        if of_the_tree.exists() {
            std::fs::copy(of_the_tree, dir.join(rules)).unwrap();
        }
    }
    let file = dir.join("prometheus.yml");
    std::fs::write(&file, config).unwrap();
    let port = free_port();
    let args = vec![
        format!("--config.file={}", file.display()),
        format!("--storage.tsdb.path={}", dir.join("prometheus").display()),
        format!("--web.listen-address=127.0.0.1:{port}"),
    ];
    let mut process = Process::new("prometheus", args, dir, &dir.join("prometheus.log"));
    process.spawn();
    wait_for_port(port, secs(30));
    (process, port)
}

/// An account whose credential states since when it holds, so that its age is known.
fn dated(w: &mut World, account: &str, key: &str) {
    let mut secret = toml::Table::new();
    for (name, value) in
        [("id", "s1"), ("key", key), ("secret", "${SECRET_ACME_PS}"), ("not_before", "2025-01-01T00:00:00Z")]
    {
        secret.insert(name.into(), value.into());
    }
    w.set(&format!("accounts.{account}.secrets"), vec![toml::Value::Table(secret)]);
}

#[test]
fn every_query_of_the_dashboards_returns_data_of_a_worker_under_load() {
    let mut w = World::new("dashboard");
    let ps = w.account("acme-ps", Platform::Qihoo360);
    dated(&mut w, "acme-ps", &ps.key);
    w.account("acme-bz", Platform::Baizhu);
    w.account("acme-closed", Platform::Qihoo360);
    ps.latency(millis(20));
    let telemetry = free_port();
    w.set("telemetry.listen", format!("127.0.0.1:{telemetry}"));
    let worker = w.started();
    let dir = tempfile::tempdir().unwrap();
    let (_prometheus, port) = prometheus(dir.path(), telemetry);

    worker.must(&["accounts", "pause", "acme-closed", "--reason", "a test"]);
    let closed = w.make.orders("acme-closed", 5);
    w.publish(closed);
    let mut left = queries();
    assert!(left.len() > 100, "the dashboards were not read");
    for round in 0..30 {
        // A platform that sometimes fails, a duplicate and a bad record in each round, and time for the next scrapes.
        let mut events = w.make.orders("acme-ps", 40);
        let failing: Vec<_> = events.iter().take(2).map(|e| e.ident().clone()).collect();
        ps.rules(vec![Rule::all(Action::Status(500, None)).about(&failing).first(4)]);
        events.push(events[9].copy());
        events.push(Event::bytes(Some(b"no event"), "malformed", ""));
        events.push(w.make.effective_user("acme-bz"));
        w.publish(events);
        std::thread::sleep(millis(1500));
        left.retain(|(_, query)| series(port, query) == 0);
        if left.is_empty() {
            break;
        }
        assert!(round < 29, "no data after 45 s of load: {left:#?}");
    }
    worker.must(&["accounts", "resume", "acme-closed", "--reason", "a test"]);
    w.settle(secs(60));
    let books = w.ledger(&Check::default());
    w.counters(&worker, &books);
    eventually(secs(10), "Prometheus sees that all is accounted for", || {
        series(port, "sum(abs(postback_unaccounted_events)) == 0") == 1
    });
}

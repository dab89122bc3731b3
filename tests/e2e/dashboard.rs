//! The dashboard and the scrape of `deploy/`, against a worker under load and a real Prometheus.

use std::path::Path;

use crate::support::event::Event;
use crate::support::ledger::Check;
use crate::support::platform::{Action, Platform, Rule};
use crate::support::process::Process;
use crate::support::world::World;
use crate::support::{eventually, free_port, http, millis, secs, wait_for_port};

const DASHBOARD: &str = include_str!("../../deploy/grafana/dashboards/postback.json");
const SCRAPE: &str = include_str!("../../deploy/prometheus/prometheus.yml");

/// Every query of the dashboard, with the name of its panel.
fn queries() -> Vec<(String, String)> {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let text = |v: &serde_json::Value| v.as_str().unwrap().to_owned();
    let of_panel = |p: &serde_json::Value| {
        let title = text(&p["title"]);
        let targets = p["targets"].as_array().cloned().unwrap_or_default();
        targets.into_iter().map(move |t| (title.clone(), text(&t["expr"]))).collect::<Vec<_>>()
    };
    panels.iter().flat_map(of_panel).collect()
}

/// The number of series that a query returns now, without those whose value is not a number.
fn series(port: u16, query: &str) -> usize {
    // Replaces Grafana's variable as if "All" were chosen.
    let query: String = url::form_urlencoded::byte_serialize(query.replace("$account", ".*").as_bytes()).collect();
    let Some((status, body)) = http::get(port, &format!("/api/v1/query?query={query}")) else { return 0 };
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, 200, "{query}: {body}");
    let result = answer["data"]["result"].as_array().unwrap();
    result.iter().filter(|r| r["value"][1] != "NaN").count()
}

fn prometheus(dir: &Path, worker: u16) -> (Process, u16) {
    let config = SCRAPE.replace("worker:9465", &format!("127.0.0.1:{worker}")).replace("interval: 5s", "interval: 1s");
    assert!(config.contains(&worker.to_string()), "deploy/prometheus/prometheus.yml names another target");
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

#[test]
fn every_query_of_the_dashboard_returns_data_of_a_worker_under_load() {
    let mut w = World::new("dashboard");
    let ps = w.account("acme-ps", Platform::Qihoo360);
    w.account("acme-bz", Platform::Baizhu);
    ps.latency(millis(20));
    let telemetry = free_port();
    w.set("telemetry.listen", format!("127.0.0.1:{telemetry}"));
    let worker = w.started();
    let dir = tempfile::tempdir().unwrap();
    let (_prometheus, port) = prometheus(dir.path(), telemetry);

    w.publish(vec![Event::bytes(Some(b"no event"), "malformed", "")]);
    let mut left = queries();
    assert!(left.len() > 20, "the dashboard was not read");
    for round in 0..20 {
        // A platform that sometimes fails, a duplicate in each round, and time for the next scrapes.
        let mut events = w.make.orders("acme-ps", 40);
        let failing: Vec<_> = events.iter().take(4).map(|e| e.ident().clone()).collect();
        ps.rules(vec![Rule::all(Action::Status(500, None)).about(&failing).first(12)]);
        events.push(events[9].copy());
        events.push(w.make.effective_user("acme-bz"));
        w.publish(events);
        std::thread::sleep(millis(1500));
        left.retain(|(_, query)| series(port, query) == 0);
        if left.is_empty() {
            break;
        }
        assert!(round < 19, "no data after half a minute of load: {left:#?}");
    }
    w.settle(secs(60));
    let books = w.ledger(&Check::default());
    w.counters(&worker, &books);
    eventually(secs(10), "Prometheus sees that all is accounted for", || {
        series(port, "sum(abs(postback_unaccounted_events)) == 0") == 1
    });
}

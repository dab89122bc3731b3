//! The Alertmanager example: whom each alert reaches, and which alert mutes which.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ALERTS;
use super::files::{ROOT, read};
use super::promtool::amtool;

#[derive(Deserialize)]
struct Config {
    inhibit_rules: Vec<Inhibition>,
}

#[derive(Deserialize)]
struct Inhibition {
    source_matchers: Vec<String>,
    target_matchers: Vec<String>,
    equal: Vec<String>,
}

/// Alerts that say that events are lost, or about to be, or that nothing can be said any more: nothing mutes them.
const NEVER_MUTED: [&str; 9] = [
    "PostbackEventsUnaccounted",
    "PostbackParkedTooLong",
    "PostbackRetentionClose",
    "PostbackSuccessBurn",
    "PostbackTargetAbsent",
    "PostbackKafkaAway",
    "PostbackRedisAway",
    "PostbackClockHeld",
    "PostbackStormStopped",
];

fn dir() -> PathBuf {
    Path::new(ROOT).join("deploy/prometheus")
}

/// The names in matchers such as `alertname=~"A|B"`.
fn names(matchers: &[String]) -> BTreeSet<&str> {
    assert!(matchers.iter().all(|matcher| matcher.starts_with("alertname=") && matcher.ends_with('"')), "{matchers:?}");
    matchers.iter().filter_map(|matcher| matcher.split('"').nth(1)).flat_map(|list| list.split('|')).collect()
}

#[test]
fn the_alertmanager_example_can_be_read() {
    let answer = amtool(&["check-config", "alertmanager.yml"], &dir());
    assert!(answer.is_good, "{}", answer.text);
}

#[test]
fn each_alert_reaches_whom_its_severity_says() {
    for (alert, severity) in ALERTS {
        let receiver = match severity {
            "critical" => "wechat-and-email",
            "warning" => "wechat",
            _ => "email",
        };
        let (name, label) = (format!("alertname={alert}"), format!("severity={severity}"));
        let verify = format!("--verify.receivers={receiver}");
        let file = "--config.file=alertmanager.yml";
        let answer = amtool(&["config", "routes", "test", file, &verify, &name, &label, "account=acme-ps"], &dir());
        assert!(answer.is_good, "{alert}: {}", answer.text);
    }
    // amtool does say when it is another one.
    let file = "--config.file=alertmanager.yml";
    let answer = amtool(&["config", "routes", "test", file, "--verify.receivers=wechat", "severity=critical"], &dir());
    assert!(!answer.is_good, "{}", answer.text);
}

#[test]
fn what_mutes_another_alert_exists_and_nothing_mutes_what_says_that_events_are_lost() {
    let config: Config = serde_yaml_ng::from_str(&read("deploy/prometheus/alertmanager.yml")).unwrap();
    assert!(!config.inhibit_rules.is_empty());
    for rule in &config.inhibit_rules {
        let (sources, targets) = (names(&rule.source_matchers), names(&rule.target_matchers));
        for name in sources.iter().chain(&targets) {
            assert!(ALERTS.iter().any(|(alert, _)| alert == name), "there is no alert {name}");
        }
        assert!(sources.is_disjoint(&targets), "{sources:?} mute themselves");
        assert!(NEVER_MUTED.iter().all(|name| !targets.contains(name)), "{targets:?}");
        assert!(rule.equal.contains(&"job".to_owned()), "{sources:?} mute another environment");
    }
}

#[test]
fn the_file_holds_no_secret() {
    let text = read("deploy/prometheus/alertmanager.yml");
    let secrets: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#') && (line.contains("secret:") || line.contains("password:")))
        .collect();
    assert_eq!(secrets, ["wechat_api_secret: WECHAT_API_SECRET"]);
    let compose = read("docker-compose.yml");
    assert!(compose.contains("s|WECHAT_API_SECRET|"), "the compose file fills it in");
}

/// A running Alertmanager, which ends with its test.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_alertmanager_that_runs_mutes_what_follows_from_a_halt_for_that_account_alone() {
    let dir = tempfile::tempdir().unwrap();
    // Nothing is sent anywhere.
    let config = read("deploy/prometheus/alertmanager.yml")
        .replace("smtp.example.com:587", "127.0.0.1:1")
        .replace("  wechat_api_corp_id:", "  wechat_api_url: http://127.0.0.1:1/\n  wechat_api_corp_id:");
    std::fs::write(dir.path().join("alertmanager.yml"), config).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (listen, url) = (format!("127.0.0.1:{port}"), format!("--alertmanager.url=http://127.0.0.1:{port}"));
    let mut command = std::process::Command::new("prometheus-alertmanager");
    command.args(["--config.file=alertmanager.yml", "--storage.path=data", "--cluster.listen-address="]);
    command.arg(format!("--web.listen-address={listen}")).current_dir(dir.path());
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let _running = Running(command.spawn().expect("prometheus-alertmanager comes with the package of that name"));

    let ask = |args: &[&str]| amtool(&[&[url.as_str()], args].concat(), dir.path());
    let add = |alert: &str, account: &str| {
        let account = format!("account={account}");
        ask(&["alert", "add", alert, "job=postback", &account, "severity=critical"])
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !add("PostbackLaneHalted", "acme-ps").is_good {
        assert!(std::time::Instant::now() < deadline, "it does not start");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    for account in ["acme-ps", "acme-zs"] {
        let answer = add("PostbackStuckLowTraffic", account);
        assert!(answer.is_good, "{}", answer.text);
    }
    let shown = |args: &[&str]| {
        let answer = ask(&[&["alert", "query", "-o", "json"], args].concat());
        let alerts: serde_json::Value = serde_json::from_str(&answer.text).unwrap_or_default();
        let of = |alert: &serde_json::Value| {
            let label = |name: &str| alert["labels"][name].as_str().unwrap_or_default().to_owned();
            (label("alertname"), label("account"))
        };
        alerts.as_array().into_iter().flatten().map(of).collect::<BTreeSet<_>>()
    };
    let alert = |name: &str, account: &str| (name.to_owned(), account.to_owned());
    let told = BTreeSet::from([alert("PostbackLaneHalted", "acme-ps"), alert("PostbackStuckLowTraffic", "acme-zs")]);
    while shown(&[]) != told {
        assert!(std::time::Instant::now() < deadline, "it tells {:?}", shown(&[]));
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert_eq!(shown(&["--inhibited"]), BTreeSet::from([alert("PostbackStuckLowTraffic", "acme-ps")]));
}

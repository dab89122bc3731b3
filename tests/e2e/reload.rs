//! The configuration changes while the worker runs: no event is lost, no request fails, and what cannot be used changes
//! nothing.

use crate::support::event::{Event, Expect};
use crate::support::ledger::Check;
use crate::support::platform::{Account, Action, Platform, Rule};
use crate::support::records::Record;
use crate::support::worker::Worker;
use crate::support::world::World;
use crate::support::{eventually, http, secs};
use serde_json::Value;
use std::time::{Duration, SystemTime};

/// Writes the file anew and asks for a reload: the status and the answer.
pub fn ask(w: &World, worker: &Worker) -> (u16, Value) {
    w.rewrite(worker);
    let (port, body) = (worker.admin_port, r#"{"reason": "a test", "who": "e2e"}"#);
    let answer = http::request_within(secs(60), port, "POST", "/api/v1/reload", &[], body);
    let (status, body) = answer.unwrap_or_default();
    (status, serde_json::from_str(&body).unwrap_or_default())
}

/// The same, which has to succeed.
#[track_caller]
pub fn reload(w: &World, worker: &Worker) -> Value {
    let (status, answer) = ask(w, worker);
    assert_eq!(status, 200, "{answer}");
    answer
}

/// The credentials of an account, in the file itself, in this order.
fn credentials(w: &mut World, account: &str, all: &[(&str, &str, Option<SystemTime>)]) {
    let table = |(key, secret, from): &(&str, &str, Option<SystemTime>)| {
        let mut table = toml::Table::new();
        for (name, value) in [("id", key), ("key", key), ("secret", secret)] {
            table.insert(name.into(), (*value).into());
        }
        if let Some(from) = from {
            let moment = chrono::DateTime::<chrono::Utc>::from(*from).format("%Y-%m-%dT%H:%M:%SZ").to_string();
            table.insert("not_before".into(), moment.into());
        }
        toml::Value::Table(table)
    };
    let list = all.iter().map(table).collect::<Vec<_>>();
    w.set(&format!("accounts.{account}.secrets"), toml::Value::Array(list));
}

fn unknown(events: Vec<Event>) -> Vec<Event> {
    let expect = Expect::Dead { reason: "unknown_account", field: "account" };
    events.into_iter().map(|event| Event { expect: expect.clone(), ..event }).collect()
}

fn reloads(worker: &Worker, result: &str) -> f64 {
    worker.metrics().total("config_reloads_total", &[("result", result)])
}

#[test]
fn an_added_account_delivers_and_a_removed_one_ends_what_is_open_and_returns_with_its_numbers() {
    let mut w = World::new("reload-accounts");
    w.set("limits.timeout", "5s");
    w.set("retry.inline.max_retries", 0);
    let old = w.account("acme-ps", Platform::Qihoo360);
    let new = w.account("acme-zs", Platform::Qihoo360);
    w.leave_out("acme-zs");
    let worker = w.started();
    let events = unknown(w.make.orders("acme-zs", 3));
    w.publish(events);
    let events = w.make.orders("acme-ps", 5);
    w.publish(events);
    w.settle(secs(60));

    w.take_in("acme-zs");
    let answer = reload(&w, &worker);
    assert_eq!((&answer["added"], &answer["removed"]), (&serde_json::json!(["acme-zs"]), &serde_json::json!([])));
    assert!(w.admin.topics().contains(&w.topic("parked.acme-zs")), "its parking topic is there");
    let events = w.make.orders("acme-zs", 20);
    w.publish(events);
    eventually(secs(30), "the added account delivers", || new.executed() == 20);
    let max_parked = worker.metrics().total("max_parked_seconds", &[("account", "acme-zs")]);
    assert_eq!(max_parked, 259_200.0, "the alarm on parked events compares with it");

    old.rules(vec![Rule::all(Action::Hold)]);
    let open = w.make.orders("acme-ps", 6);
    w.publish(open);
    eventually(secs(20), "the platform holds them", || old.held() == 6);
    w.leave_out("acme-ps");
    assert_eq!(reload(&w, &worker)["removed"], serde_json::json!(["acme-ps"]));
    let later = unknown(w.make.orders("acme-ps", 10));
    w.publish(later);
    let events = w.make.orders("acme-zs", 10);
    w.publish(events);
    eventually(secs(20), "the other account goes on", || new.executed() == 30);
    old.rules(Vec::new());
    old.release(Action::Judge);
    w.settle(secs(60));
    eventually(secs(20), "nothing is shown of it any more", || {
        let shown = worker.must(&["accounts", "list", "--admin", &format!("http://127.0.0.1:{}", worker.admin_port)]);
        !shown.contains("acme-ps") && worker.metrics().total("lane_state", &[("account", "acme-ps")]) == 0.0
    });

    w.take_in("acme-ps");
    assert_eq!(reload(&w, &worker)["added"], serde_json::json!(["acme-ps"]));
    let events = w.make.orders("acme-ps", 5);
    w.publish(events);
    w.settle(secs(60));
    let books = w.ledger(&Check::EXACT);
    assert_eq!((books.outcomes("delivered"), books.outcomes("dead_lettered")), (46, 13));
    let delivered = [("account", "acme-ps"), ("outcome", "delivered")];
    assert_eq!(worker.metrics().total("events_finished_total", &delivered), 16.0);
    eventually(secs(10), "every event is accounted for", || worker.metrics().total("unaccounted_events", &[]) == 0.0);
}

#[test]
fn what_is_parked_for_an_account_that_is_removed_ends_as_unknown() {
    let mut w = World::new("reload-parked");
    let account = w.account("acme-ps", Platform::Qihoo360);
    w.account("acme-zs", Platform::Qihoo360);
    let worker = w.started();
    worker.must(&["accounts", "pause", "acme-ps", "--reason", "a test"]);
    eventually(secs(10), "the lane is paused", || worker.lane_state("acme-ps") == "paused");
    let events = unknown(w.make.orders("acme-ps", 40));
    w.publish(events);
    eventually(secs(30), "everything is parked", || w.records("parked.acme-ps").len() == 40);
    w.leave_out("acme-ps");
    let answer = reload(&w, &worker);
    assert!(answer["warnings"].to_string().contains("accounts.acme-ps: is removed"), "{answer}");
    w.settle(secs(60));
    let books = w.ledger(&Check::EXACT);
    assert_eq!((books.outcomes("dead_lettered"), account.request_count()), (40, 0));
}

/// The most requests in any second from this moment on.
fn busiest_since(account: &Account, since: SystemTime) -> usize {
    let mut times: Vec<_> =
        account.requests().iter().map(|request| request.arrived).filter(|at| *at >= since).collect();
    times.sort();
    let within = |first: &SystemTime| {
        times.iter().filter(|at| *at >= first && at.duration_since(*first).is_ok_and(|d| d < secs(1))).count()
    };
    times.iter().map(within).max().unwrap_or(0)
}

#[test]
fn a_changed_rate_applies_at_once_upwards_and_downwards() {
    let mut w = World::new("reload-rate");
    let account = w.account("acme-ps", Platform::Qihoo360);
    w.set("accounts.acme-ps.limits.rps", 10);
    let worker = w.started();
    let events = w.make.orders("acme-ps", 700);
    w.publish(events);
    eventually(secs(30), "it flows", || account.request_count() >= 20);
    assert!(busiest_since(&account, SystemTime::UNIX_EPOCH) <= 12);

    w.set("accounts.acme-ps.limits.rps", 100);
    let answer = reload(&w, &worker);
    assert_eq!(answer["changed"], serde_json::json!(["accounts.acme-ps.limits.rps: 10 → 100"]));
    let raised = SystemTime::now();
    eventually(secs(20), "it flows faster", || account.request_count() >= 220);
    let soon = account.requests().iter().filter(|r| r.arrived >= raised && r.arrived < raised + secs(3)).count();
    assert!(soon > 60, "{soon} requests within three seconds of the new rate of 100");

    w.set("accounts.acme-ps.limits.rps", 10);
    reload(&w, &worker);
    // A slot that was handed out before lies at most 100 ms ahead.
    let lowered = SystemTime::now() + Duration::from_millis(500);
    std::thread::sleep(secs(4));
    let busiest = busiest_since(&account, lowered);
    assert!(busiest <= 12, "{busiest} requests in one second of the new rate of 10");

    w.set("accounts.acme-ps.limits.rps", 1000);
    reload(&w, &worker);
    w.settle(secs(60));
    w.ledger(&Check::EXACT);
}

#[test]
fn sighup_reloads_and_a_file_that_cannot_be_used_keeps_the_old_one_and_names_every_problem() {
    let mut w = World::new("reload-sighup");
    let account = w.account("acme-ps", Platform::Qihoo360);
    let mut worker = w.started();
    assert_eq!((reloads(&worker, "ok"), reloads(&worker, "failed")), (0.0, 0.0));
    let started = worker.metrics().total("config_last_reload_timestamp_seconds", &[]);

    w.set("accounts.acme-ps.limits.concurrency", 3);
    w.set("telemetry.log", "debug");
    w.set("kafka.audit", w.topic("other-audit"));
    w.rewrite(&worker);
    worker.hang_up();
    eventually(secs(20), "it is reloaded", || reloads(&worker, "ok") == 1.0);
    eventually(secs(10), "the log says what changed and what needs a restart", || {
        let log = worker.log();
        log.contains("accounts.acme-ps.limits.concurrency: 32 → 3")
            && log.contains("takes effect at a restart only: kafka.audit")
    });
    assert_eq!(worker.metrics().total("lane_concurrency_limit", &[("account", "acme-ps")]), 3.0);
    assert!(worker.metrics().total("config_last_reload_timestamp_seconds", &[]) >= started);

    let file = worker.config.display().to_string();
    w.set("accounts.acme-ps.limits.rps", -1);
    w.set("accounts.acme-ps.no_such_key", 1);
    let (status, answer) = ask(&w, &worker);
    let message = answer["error"]["message"].as_str().unwrap_or_default().to_owned();
    assert_eq!((status, answer["error"]["code"].as_str()), (422, Some("invalid_configuration")), "{answer}");
    for part in [&*file, ": accounts.acme-ps.limits.rps: ", ": accounts.acme-ps.no_such_key: "] {
        assert!(message.contains(part), "no {part} in {message}");
    }
    worker.hang_up();
    eventually(secs(20), "the failure is counted", || reloads(&worker, "failed") == 2.0);
    assert!(worker.log().contains("accounts.acme-ps.no_such_key: "), "the log names it");
    assert_eq!(reloads(&worker, "ok"), 1.0);

    let events = w.make.orders("acme-ps", 20);
    w.publish(events);
    w.settle(secs(60));
    assert_eq!((worker.alive(), account.executed()), (true, 20));
    w.ledger(&Check::EXACT);
}

#[test]
fn a_corrected_credential_ends_the_halt_and_neither_log_nor_audit_holds_a_secret() {
    let mut w = World::new("reload-halt");
    let account = w.account("acme-ps", Platform::Qihoo360);
    let (key, right) = (account.key.clone(), account.secret());
    credentials(&mut w, "acme-ps", &[(&key, "wrong-secret-7d1", None)]);
    let worker = w.started();
    let events = w.make.orders("acme-ps", 30);
    w.publish(events);
    eventually(secs(20), "the account is halted", || worker.lane_state("acme-ps") == "halted");

    // Another change of the account is no correction.
    w.set("accounts.acme-ps.limits.concurrency", 5);
    assert_eq!(reload(&w, &worker)["resumed"], serde_json::json!([]));
    assert_eq!(worker.lane_state("acme-ps"), "halted");

    credentials(&mut w, "acme-ps", &[(&key, &right, None)]);
    let answer = reload(&w, &worker);
    assert_eq!(answer["resumed"], serde_json::json!(["acme-ps"]), "{answer}");
    assert_eq!(answer["changed"], serde_json::json!(["accounts.acme-ps.secrets.0.secret: changed"]));
    w.settle(secs(60));
    let books = w.ledger(&Check { bad_requests: true, ..Check::EXACT });
    assert_eq!(books.outcomes("delivered"), 30);
    assert_eq!(worker.lane_state("acme-ps"), "flowing");

    let mut audit = String::new();
    eventually(secs(30), "the audit tells of the reload", || {
        let value = |record: Record| String::from_utf8(record.value.unwrap_or_default()).unwrap();
        audit = w.records("audit").into_iter().map(value).collect();
        audit.contains("accounts.acme-ps.secrets.0.secret: changed; acme-ps resumed")
    });
    for (place, text) in [("audit", &audit), ("log", &worker.log()), ("answer", &answer.to_string())] {
        for secret in ["wrong-secret-7d1", &right] {
            assert!(!text.contains(secret), "a secret in the {place}");
        }
    }
}

#[test]
fn a_credential_is_replaced_under_load_without_a_refused_request() {
    let mut w = World::new("reload-rotation");
    let account = w.account("acme-ps", Platform::Qihoo360);
    let (old, new) = (("key-old", "secret-old-1"), ("key-new", "secret-new-2"));
    account.set_credentials(&[old]);
    credentials(&mut w, "acme-ps", &[(old.0, old.1, None)]);
    w.set("accounts.acme-ps.limits.rps", 150);
    let worker = w.started();
    let events = w.make.orders("acme-ps", 2_000);
    w.publish(events);
    eventually(secs(30), "it flows with the old one", || account.request_count() >= 150);

    // Both overlap. From its time on the new one is used.
    account.set_credentials(&[old, new]);
    let from = SystemTime::now() + secs(2);
    credentials(&mut w, "acme-ps", &[(old.0, old.1, None), (new.0, new.1, Some(from))]);
    reload(&w, &worker);
    let by_new = || account.requests().iter().filter(|request| request.key.as_deref() == Some(new.0)).count();
    eventually(secs(30), "the new one takes over", || by_new() >= 150);
    let latest = account.requests().into_iter().rev().take(50).map(|request| request.key);
    assert!(latest.into_iter().all(|key| key.as_deref() == Some(new.0)), "the old one is used no more");

    account.set_credentials(&[new]);
    credentials(&mut w, "acme-ps", &[(new.0, new.1, None)]);
    w.set("accounts.acme-ps.limits.rps", 1000);
    reload(&w, &worker);
    w.settle(secs(90));
    let books = w.ledger(&Check::EXACT);
    assert_eq!((books.outcomes("delivered"), account.request_count()), (2_000, 2_000), "each was sent once");
    assert!(account.requests().iter().all(|request| request.problem.is_none()));
}

#[test]
fn a_hundred_reloads_under_load_fail_no_request_and_lose_no_event() {
    let mut w = World::new("reload-hundred");
    let accounts = ["acme-ps", "acme-zs"].map(|name| w.account(name, Platform::Qihoo360));
    let extra = w.account("acme-extra", Platform::Baizhu);
    w.leave_out("acme-extra");
    w.set("limits.timeout", "4s");
    w.set("retry.inline.max_retries", 0);
    // So slow that the load lasts longer than the reloads, on a busy machine too.
    for name in ["acme-ps", "acme-zs"] {
        w.set(&format!("accounts.{name}.limits.rps"), 40);
    }
    for account in &accounts {
        account.latency(Duration::from_millis(20));
    }
    let worker = w.started();
    let mut events = Vec::new();
    for _ in 0..2_000 {
        events.extend(["acme-ps", "acme-zs"].map(|name| w.make.order(name)));
    }
    w.publish(events);
    eventually(secs(30), "it flows", || accounts.iter().all(|account| account.request_count() >= 50));
    for n in 0..100_i64 {
        w.set("accounts.acme-ps.limits.concurrency", 8 + n % 5);
        w.set("accounts.acme-zs.limits.rps", 37 + n % 7);
        w.set("accounts.acme-ps.limits.connect_timeout", if n % 2 == 0 { "900ms" } else { "800ms" });
        if n % 10 == 0 {
            w.take_in("acme-extra")
        } else if n % 10 == 5 {
            w.leave_out("acme-extra")
        }
        reload(&w, &worker);
    }
    assert!(accounts.iter().any(|account| account.request_count() < 2_000), "the load has ended before the reloads");
    for name in ["acme-ps", "acme-zs"] {
        w.set(&format!("accounts.{name}.limits.rps"), 2_000);
    }
    reload(&w, &worker);
    w.settle(secs(120));
    let books = w.ledger(&Check::EXACT);
    assert_eq!(books.outcomes("delivered"), 4_000);
    let sent: usize = accounts.iter().map(|account| account.request_count()).sum();
    assert_eq!((sent, extra.request_count()), (4_000, 0), "each event was sent once");
    let metrics = worker.metrics();
    assert_eq!(metrics.total("attempts_total", &[]), metrics.total("attempts_total", &[("class", "delivered")]));
    assert_eq!((reloads(&worker, "ok"), reloads(&worker, "failed")), (101.0, 0.0));
    eventually(secs(10), "every event is accounted for", || worker.metrics().total("unaccounted_events", &[]) == 0.0);
    w.counters(&worker, &books);
}

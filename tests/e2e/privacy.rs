//! Secrets and personal data leave the process only on the way to the platform. The tests feed marked values, provoke
//! every kind of failure, and search everything that is readable from outside for the marks.

use crate::support::event::{Event, Expect};
use crate::support::http;
use crate::support::ledger::Check;
use crate::support::platform::{Action, Platform, Rule};
use crate::support::worker::Worker;
use crate::support::world::{Setup, World};
use crate::support::{eventually, millis, secs};
use serde_json::json;

const PHONE: &str = "13912345678";
const EMAIL: &str = "zhang.marker@example.com";
const IMEI: &str = "860123456789012";
const IDFA: &str = "6D92078A-8246-4BA4-AE5B-76104861E7DC";
const OAID: &str = "1fe9a970-efbb-29e0-0bdd-f5dbbf751ab5";
const REDIS_PASSWORD: &str = "marker-of-redis-77aa";
const KAFKA_PASSWORD: &str = "marker-of-kafka-88bb";
const ADMIN_TOKEN: &str = "marker-of-admin-99cc-0123456789";

/// An order with every member that identifies a user.
fn personal(w: &World, account: &str) -> Event {
    let mut event = w.make.order(account);
    event.json["user"] = json!({
        "user_id": "u1", "phone": PHONE, "email": EMAIL,
        "device": {"imei": IMEI, "idfa": IDFA, "oaid": OAID},
    });
    event
}

/// Inputs that cause no request, each with personal data at the faulty place.
fn broken(w: &World) -> Vec<Event> {
    let order = || personal(w, "acme-ps");
    let text = serde_json::to_string(&order().json).unwrap();
    let at = text.find(PHONE).unwrap() + 6;
    let mut all = vec![
        Event::bytes(Some(&text.as_bytes()[..at]), "malformed", ""),
        Event::bytes(Some(format!("{PHONE} {EMAIL}").as_bytes()), "malformed", ""),
        Event::bytes(Some(text.replace(&format!("\"{PHONE}\""), PHONE).as_bytes()), "", ""),
        Event::bytes(
            Some(text.replacen('{', &format!("{{\"{EMAIL}\":1,\"{EMAIL}\":2,"), 1).as_bytes()),
            "malformed",
            "",
        ),
        order().spoiled("malformed", "schema", |e| e["schema"] = format!("postback.event/{PHONE}").into()),
    ];
    for pointer in ["/order/amount/minor", "/order/amount/currency", "/event_time_ms", "/kind", "/click", "/user"] {
        for value in [PHONE, EMAIL, IMEI] {
            all.push(order().spoiled("", "", |e| *e.pointer_mut(pointer).unwrap() = value.into()));
        }
    }
    all.push(order().spoiled("invalid", "", |e| e["click"] = json!({"qhclickid": format!("{PHONE}\n{EMAIL}")})));
    all.push(order().spoiled("", "", |e| e["platform_params"] = json!({"data_industry": PHONE})));
    all
}

/// Everything that can be read from outside now.
fn readable(w: &World, worker: &Worker) -> Vec<(String, String)> {
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let mut found = vec![("the log".to_owned(), worker.log())];
    for path in ["/", "/metrics", "/ready", "/live"] {
        found.extend(http::get(worker.admin_port, path).map(|(_, text)| (path.to_owned(), text)));
    }
    for path in ["status", "accounts", "blocked", "openapi.json", "nonsense"] {
        let path = format!("/api/v1/{path}");
        let answer = http::request(worker.admin_port, "GET", &path, &[("Authorization", &bearer)], "");
        found.push((path, answer.expect("no answer").1));
    }
    for args in
        [&["blocked"][..], &["blocked", "--json"], &["accounts", "list"], &["accounts", "list", "--json"], &["check"]]
    {
        let said = worker.command(args);
        found.push((format!("postback {args:?}"), said.stdout + &said.stderr));
    }
    for part in ["retry", "parked", "dlt", "receipts"] {
        for record in w.records(part) {
            // Only the worker's headers. The producer's headers and the value are carried as they are.
            let block = record.headers.iter().rposition(|(n, _)| n == b"pb-origin-topic").unwrap_or(0);
            let own = record.headers[block..].iter().map(|(n, v)| {
                let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
                format!("{}={}\n", text(n), text(v.as_deref().unwrap_or_default()))
            });
            found.push((format!("headers of {}", record.at()), own.collect()));
            if part == "receipts" {
                let value = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned();
                found.push((format!("receipt {}", record.at()), value));
            }
        }
    }
    found
}

/// Every marked value that is found, with its place.
fn leaks(found: &[(String, String)], secrets: &[String]) -> Vec<String> {
    let personal = [PHONE, EMAIL, IMEI, IDFA, OAID].map(str::to_owned);
    let mut leaks = Vec::new();
    for (place, text) in found {
        for needle in secrets.iter().chain(&personal) {
            for line in text.lines().filter(|l| l.contains(needle.as_str())).take(2) {
                leaks.push(format!("{needle} in {place}: {}", line.chars().take(400).collect::<String>()));
            }
        }
    }
    leaks
}

#[track_caller]
fn holds_nothing(found: &[(String, String)], secrets: &[String]) {
    let leaks = leaks(found, secrets);
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
}

#[test]
fn a_marked_value_is_found_wherever_it_stands() {
    let place = |text: String| vec![("here".to_owned(), text)];
    assert!(leaks(&place("nothing\nof note 139****5678".into()), &["marker".into()]).is_empty());
    for needle in [PHONE, EMAIL, IMEI, "a-marker"] {
        let found = leaks(&place(format!("one\ntwo {needle}, three")), &["a-marker".into()]);
        assert_eq!(found, [format!("{needle} in here: two {needle}, three")]);
    }
}

#[test]
fn no_secret_and_nothing_personal_is_readable_whatever_fails() {
    let mut w = World::with("privacy", Setup { redis: true, ..Setup::default() });
    let account = w.account("acme-ps", Platform::Qihoo360);
    let halted = w.account("acme-halt", Platform::Qihoo360);
    w.set("accounts.acme-ps.retry.max_attempts", 4);
    w.set("telemetry.log", "debug");
    w.set("admin.token", ADMIN_TOKEN);
    w.property("sasl.username", "worker");
    w.property("sasl.password", KAFKA_PASSWORD);
    let redis = w.redis.as_ref().unwrap();
    redis.connect().run(&["ACL", "SETUSER", "worker", "on", &format!(">{REDIS_PASSWORD}"), "~*", "&*", "+@all"]);
    w.set("redis.url", format!("redis://worker:{REDIS_PASSWORD}@127.0.0.1:{}", redis.port));
    let secrets = [
        account.secret(),
        halted.secret(),
        REDIS_PASSWORD.to_owned(),
        KAFKA_PASSWORD.to_owned(),
        ADMIN_TOKEN.to_owned(),
    ];
    let mut worker = w.started();

    let talk = format!("user {PHONE} {EMAIL} imei {IMEI} secret={} {}", account.secret(), account.secret());
    let errno = |n: i64| Action::Say(200, json!({"errno": n, "error": talk}).to_string());
    let dead = |mut e: Event, reason| {
        e.expect = Expect::Dead { reason, field: "" };
        e
    };
    let order = || personal(&w, "acme-ps");
    let (first, refused, exhausted) = (order(), dead(order(), "rejected"), dead(order(), "attempts_exhausted"));
    let (passing, doubtful) = (order(), order());
    let conflict = first.spoiled("conflict", "", |e| e["order"]["amount"]["minor"] = 7.into());
    account.rules(vec![
        Rule::all(errno(3)).about([refused.ident()]),
        Rule::all(Action::Say(500, talk.clone())).about([exhausted.ident()]),
        Rule::all(Action::Say(503, talk.clone())).about([passing.ident()]).first(2),
        Rule::all(Action::Say(200, talk.clone())).about([doubtful.ident()]).first(1),
    ]);
    halted.rules(vec![Rule::all(errno(2))]);
    w.publish(vec![first]);
    w.settle(secs(60));
    let mut events = vec![conflict, refused, exhausted, passing, doubtful];
    events.extend(broken(&w));
    events.extend((0..10).map(|_| personal(&w, "acme-ps")));
    events.extend((0..10).map(|_| personal(&w, "acme-halt")));
    w.publish(events);
    eventually(secs(20), "the account is halted", || worker.lane_state("acme-halt") == "halted");
    eventually(secs(20), "its events are parked", || w.records("parked").len() == 10);
    let found = readable(&w, &worker);
    holds_nothing(&found, &secrets);
    for (place, word) in [("/api/v1/accounts", "halted"), ("/api/v1/blocked", "acme-halt"), ("the log", "\"debug\"")] {
        let seen = found.iter().any(|(p, text)| p == place && text.contains(word));
        assert!(seen, "{place} does not say {word}: it was not really read");
    }

    // Redis goes away and comes back; then it refuses the password.
    w.redis.as_mut().unwrap().stop();
    eventually(secs(15), "not ready", || !worker.ready());
    holds_nothing(&readable(&w, &worker), &secrets);
    w.redis.as_mut().unwrap().start();
    let user = ["ACL", "SETUSER", "worker", "on", ">another", "~*", "&*", "+@all"];
    w.redis.as_ref().unwrap().connect().run(&user);
    std::thread::sleep(millis(1500));
    assert!(!worker.ready(), "ready with a password that is refused");
    holds_nothing(&readable(&w, &worker), &secrets);
    let right = format!(">{REDIS_PASSWORD}");
    w.redis.as_ref().unwrap().connect().run(&["ACL", "SETUSER", "worker", &right]);
    eventually(secs(20), "ready again", || worker.ready());

    halted.rules(Vec::new());
    worker.must(&["accounts", "resume", "acme-halt", "--reason", "a test"]);
    w.settle(secs(60));
    let books = w.ledger(&Check { bad_requests: true, ..Check::default() });
    w.counters(&worker, &books);
    for reason in ["malformed", "invalid", "rejected", "conflict", "attempts_exhausted"] {
        assert!(books.dead.iter().any(|d| d.header("pb-reason").as_deref() == Some(reason)), "nothing {reason}");
    }
    worker.stop();
    holds_nothing(&[("the log".to_owned(), worker.log())], &secrets);
}

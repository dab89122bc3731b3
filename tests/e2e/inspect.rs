//! The commands that show things: preview, dead-letters, trace, check --connect.

use crate::support::event::{Event, Expect};
use crate::support::platform::{Action, Platform, Rule};
use crate::support::worker::{Output, Worker};
use crate::support::world::{Setup, World, hold};
use crate::support::{eventually, free_port, http, now_ms, secs, wait_for_port};
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn a_preview_is_byte_for_byte_what_the_platform_then_receives() {
    let mut w = World::new("preview");
    let port = free_port();
    for (name, platform) in [("acme-ps", Platform::Qihoo360), ("acme-bz", Platform::Baizhu)] {
        w.account(name, platform);
        w.set(&format!("accounts.{name}.base_url"), format!("http://127.0.0.1:{port}"));
    }
    let mut worker = w.worker();
    let mut sandbox = worker.sandbox(port);
    sandbox.spawn();
    wait_for_port(port, secs(20));
    worker.start();
    let events = vec![w.make.order("acme-ps"), w.make.effective_user("acme-bz")];
    w.publish(events.clone());
    w.settle(secs(60));
    let (_, ledger) = http::get(port, "/_ledger").unwrap();
    let ledger = json(&ledger);
    for event in &events {
        let entry = ledger.as_array().unwrap().iter().find(|entry| entry["account"] == *event.account).unwrap();
        assert_eq!(entry["accepted"], true, "{entry}");
        // It is signed in the second in which it arrived, or just before.
        let arrived = entry["at_ms"].as_i64().unwrap();
        let look = |now: i64| {
            let args = ["preview", "--json", "-", "--now", &now.to_string()].map(str::to_owned);
            let output = worker.piped(&args.each_ref().map(String::as_str), &event.value().unwrap());
            assert_eq!(output.code, Some(0), "{}", output.stderr);
            json(&output.stdout)
        };
        let preview = [0, 1000].map(|before| look(arrived - before));
        let preview = preview.iter().find(|p| p["request"]["body_base64"] == entry["body_base64"]);
        let preview = preview.unwrap_or_else(|| panic!("no preview has the bytes of {entry}"));
        assert_eq!(
            preview["request"]["url"].as_str().unwrap().split_once(&port.to_string()).unwrap().0,
            "http://127.0.0.1:"
        );
        for (name, value) in preview["request"]["headers"].as_object().unwrap() {
            assert_eq!(entry["headers"][name.to_lowercase()], *value, "{name} in {entry}");
        }
        assert_eq!(preview["account"], *event.account);
    }
    let secret =
        worker.must(&["preview", "--show-secrets", "--json", &w.file("event.json", &events[0].value().unwrap())]);
    let signed = json(&secret)["request"]["signature_input"].as_str().unwrap().to_owned();
    let plain = worker.must(&["preview", "--json", &w.file("event.json", &events[0].value().unwrap())]);
    let masked = json(&plain)["request"]["signature_input"].as_str().unwrap().to_owned();
    assert!(masked.starts_with("***{") && !signed.starts_with("***"), "{masked}");
}

#[test]
fn a_preview_refuses_with_the_reason_and_field_of_the_dead_letter_and_exit_code_3() {
    let mut w = World::new("preview-refused");
    w.account("acme-ps", Platform::Qihoo360);
    let worker = w.started();
    let ps = || w.make.order("acme-ps");
    let events = vec![
        Event::bytes(Some(b"hello"), "malformed", ""),
        ps().spoiled("malformed", "schema", |e| e["schema"] = "postback.event/2".into()),
        ps().spoiled("invalid", "click.qhclickid", |e| e["click"] = serde_json::json!({})),
        ps().spoiled("invalid", "order.amount.minor", |e| e["order"]["amount"]["minor"] = "12".into()),
        ps().spoiled("invalid", "event_time_ms", |e| e["event_time_ms"] = (now_ms() + 3_600_000).into()),
        ps().spoiled("unmapped_event", "event_type", |e| e["event_type"] = "teleported".into()),
        ps().spoiled("unknown_account", "account", |e| e["account"] = "nobody".into()),
        ps().spoiled("expired", "deadline_ms", |e| e["deadline_ms"] = (now_ms() - 60_000).into()),
    ];
    w.publish(events.clone());
    w.settle(secs(60));
    let dead = w.dead_letters();
    for event in w.events.clone() {
        let letter = dead.iter().find(|letter| letter.origin() == event.at).unwrap();
        let header = |name: &str| letter.header(name).unwrap_or_default();
        let output = worker.piped(&["preview", "--json", "-"], &event.value().unwrap());
        let refused = json(&output.stdout);
        assert_eq!(output.code, Some(3), "{refused}");
        assert_eq!((output.stderr.as_str(), &refused["accepted"]), ("", &Value::Bool(false)));
        for (member, name) in [("reason", "pb-reason"), ("field", "pb-field"), ("detail", "pb-detail")] {
            assert_eq!(refused[member], header(name), "{member} of {refused}");
        }
    }
    let mut out = w.make.order("acme-ps");
    out.json["consent"] = serde_json::json!({"opt_out": true});
    let output = worker.piped(&["preview", "-"], &out.value().unwrap());
    assert!(output.code == Some(0) && output.stdout.contains("suppressed"), "{}", output.stdout);
}

fn object(worker: &Worker, args: &[&str]) -> Value {
    json(&worker.must(args))
}

#[test]
fn dead_letters_are_listed_counted_filtered_and_shown_with_nothing_personal() {
    let mut w = World::new("letters");
    let account = w.account("acme-ps", Platform::Qihoo360);
    let worker = w.started();
    assert_eq!(worker.must(&["dead-letters", "list"]), "no dead letters\n");
    let mut refused = w.make.order("acme-ps");
    refused.json["user"]["phone"] = "13812345678".into();
    refused.expect = Expect::Dead { reason: "rejected", field: "" };
    account.rules(vec![Rule::all(Action::Errno(3)).about([refused.ident()])]);
    let mut events = vec![
        refused.clone(),
        Event::bytes(Some(b"tel 13912345678"), "malformed", ""),
        w.make.order("acme-ps").spoiled("invalid", "click.qhclickid", |e| e["click"] = serde_json::json!({})),
    ];
    events.extend((0..30).map(|_| {
        w.make.order("acme-ps").spoiled("unmapped_event", "event_type", |e| e["event_type"] = "teleported".into())
    }));
    w.publish(events);
    w.settle(secs(60));

    let list = object(&worker, &["dead-letters", "list", "--json"]);
    assert_eq!(list.as_array().unwrap().len(), 33);
    for letter in w.dead_letters() {
        let at = (letter.partition, letter.offset);
        let here = list
            .as_array()
            .unwrap()
            .iter()
            .find(|l| (l["partition"].as_i64(), l["offset"].as_i64()) == (Some(i64::from(at.0)), Some(at.1)));
        let here = here.unwrap_or_else(|| panic!("{at:?} is not listed"));
        for name in ["reason", "field", "platform", "account", "trans-id", "event", "origin-topic", "worker"] {
            let header = letter.header(&format!("pb-{name}"));
            assert_eq!(here[name.replace('-', "_")].as_str().map(str::to_owned), header, "{name} in {here}");
        }
        for name in ["attempts", "failed-at", "origin-offset", "first-seen", "resends"] {
            assert_eq!(here[name.replace('-', "_")].as_i64(), letter.number(&format!("pb-{name}")), "{name} in {here}");
        }
    }
    let count = |args: &[&str]| {
        let args: Vec<&str> = ["dead-letters", "list", "--json"].into_iter().chain(args.iter().copied()).collect();
        object(&worker, &args).as_array().unwrap().len()
    };
    for (args, wanted) in [
        (&["--reason", "rejected"][..], 1),
        (&["--code", "3"], 1),
        (&["--account", "acme-ps"], 32),
        (&["--account", "acme-ms"], 0),
        (&["--platform", "qihoo360", "--reason", "unmapped_event"], 30),
        (&["--trans-id", refused.trans_id()], 1),
        (&["--limit", "5"], 5),
        (&["--since", "1h"], 33),
        (&["--until", "1h"], 0),
        (&["--since", "2020-01-01T00:00:00Z", "--all"], 33),
    ] {
        assert_eq!(count(args), wanted, "{args:?}");
    }
    let stats = object(&worker, &["dead-letters", "stats", "--json"]);
    assert_eq!((&stats["total"], &stats["by_reason"]["unmapped_event"]), (&33.into(), &30.into()));
    assert!(worker.must(&["dead-letters", "stats"]).contains("total"));

    let shown = worker.must(&["dead-letters", "show", refused.trans_id()]);
    for part in
        ["pb-last-code", "the platform refused it for good", "what to do", "POST http://127.0.0.1:", "138****5678"]
    {
        assert!(shown.contains(part), "{part} is missing in:\n{shown}");
    }
    assert!(!shown.contains("13812345678"), "{shown}");
    let bytes = list.as_array().unwrap().iter().find(|l| l["reason"] == "malformed").unwrap();
    let place = format!("{}:{}", bytes["partition"], bytes["offset"]);
    let shown = object(&worker, &["dead-letters", "show", &place, "--json"]);
    assert_eq!((&shown[0]["value"], &shown[0]["today"]["reason"]), (&"tel 139****5678".into(), &"malformed".into()));
    let missing: Output = worker.command(&["dead-letters", "show", "nothing-like-it"]);
    assert!(missing.code == Some(1) && missing.stdout.is_empty() && missing.stderr.contains("postback trace"));
    assert_eq!(worker.command(&["dead-letters", "list", "--reason", "reject"]).code, Some(2));
    let first = worker.shell("dead-letters list | head -1");
    assert_eq!((first.code, first.stderr.as_str()), (Some(0), ""), "{}", first.stdout);
    assert!(first.stdout.starts_with("AT "), "{}", first.stdout);
    // The command read it without the group, so nothing is committed for it.
    let committed = w.admin.committed(&w.group(), &w.topic("dlt"));
    assert!(
        committed.is_none_or(|at| at.values().all(|offset| *offset < 0)),
        "the group has offsets in the dead letters"
    );
}

#[test]
fn a_trace_follows_an_event_through_each_of_its_states() {
    let mut w = World::new("trace");
    let account = w.account("acme-ps", Platform::Qihoo360);
    w.account("acme-ms", Platform::Qihoo360);
    w.set("retry.tiers", vec!["25s"]);
    w.set("retry.inline.max_retries", 0);
    w.set("limits.timeout", "5s");
    let worker = w.started();
    let open = |mut event: Event| {
        event.expect = Expect::Open;
        event
    };
    let (claimed, tried) = (open(w.make.order("acme-ps")), open(w.make.order("acme-ps")));
    let (mut refused, done) = (w.make.order("acme-ps"), w.make.order("acme-ps"));
    refused.expect = Expect::Dead { reason: "rejected", field: "" };
    let parked = open(w.make.order("acme-ms"));
    let mut rules = hold([&claimed]);
    rules.push(Rule::all(Action::Status(500, None)).about([tried.ident()]));
    rules.push(Rule::all(Action::Errno(3)).about([refused.ident()]));
    account.rules(rules);
    worker.must(&["accounts", "pause", "acme-ms", "--reason", "tests"]);
    eventually(secs(10), "the lane is closed", || worker.lane_state("acme-ms") == "paused");

    w.publish(vec![claimed.clone()]);
    eventually(secs(20), "the request is held", || account.held() == 1);
    let trace = object(&worker, &["trace", "--json", claimed.trans_id()]);
    let claim = &trace["claims"][0];
    assert_eq!(
        (&claim["state"], &claim["event"], &claim["account"]),
        (&"claimed".into(), &"ORDER".into(), &"acme-ps".into())
    );
    assert!(
        claim["age_ms"].as_i64().unwrap() < 16_000 && claim["origin"].as_str().unwrap().starts_with(&w.id),
        "{claim}"
    );
    account.release(Action::Judge);

    w.publish(vec![tried.clone(), refused.clone(), done.clone(), parked.clone()]);
    w.settle(secs(60));
    let waiting = |event: &Event| object(&worker, &["trace", "--json", event.trans_id()])["waiting"][0].clone();
    let known = |event: &Event| worker.command(&["trace", event.trans_id()]).code == Some(0);
    eventually(secs(20), "the retry is known", || known(&tried) && !waiting(&tried).is_null());
    let row = waiting(&tried);
    assert_eq!(
        (&row["kind"], &row["last_status"], &row["attempts"]),
        (&"retry".into(), &500.into(), &1.into()),
        "{row}"
    );
    assert_eq!(row["topic"], w.topic("retry.25s"));
    assert!(row["due_ms"].as_i64().unwrap() > now_ms() - 10_000, "{row}");
    eventually(secs(20), "the parked copy is known", || known(&parked) && !waiting(&parked).is_null());
    let row = waiting(&parked);
    assert_eq!((&row["kind"], &row["topic"]), (&"parked".into(), &w.topic("parked.acme-ms").into()));
    assert!(row["until"].as_str().unwrap().contains("paused"), "{row}");

    let trace = object(&worker, &["trace", "--json", refused.trans_id()]);
    assert_eq!(
        (trace["dead_letters"][0]["reason"].as_str(), trace["receipts"][0]["reason"].as_str()),
        (Some("rejected"), Some("rejected"))
    );
    assert_eq!(trace["claims"], serde_json::json!([]));
    let trace =
        object(&worker, &["trace", "--json", "--platform", "qihoo360", "--account", "acme-ps", done.trans_id()]);
    assert_eq!(
        (trace["claims"][0]["state"].as_str(), trace["receipts"][0]["outcome"].as_str()),
        (Some("done"), Some("delivered"))
    );
    assert!(trace["claims"][0]["origin_tag"].is_u64(), "{trace}");
    let text = worker.must(&["trace", done.trans_id()]);
    for part in ["claims in Redis", "acme-ps", "done", "waiting\nnone", "dead letters\nnone", "delivered"] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
    let elsewhere = worker.command(&["trace", "--account", "acme-ms", done.trans_id()]);
    assert!(elsewhere.code == Some(1) && elsewhere.stdout.is_empty(), "{}", elsewhere.stdout);
    assert!(elsewhere.stderr.contains("nothing is known"), "{}", elsewhere.stderr);
    assert_eq!(worker.command(&["trace", "--account", "acme-sp", "t"]).code, Some(2));
    let first = worker.shell(&format!("trace {} | head -1", done.trans_id()));
    assert_eq!((first.code, first.stderr.as_str()), (Some(0), ""));
}

#[test]
fn check_connect_passes_what_a_worker_runs_on_and_creates_nothing() {
    let mut w = World::with("connect", Setup { redis: true, ..Setup::default() });
    w.account("acme-ps", Platform::Qihoo360);
    let mut worker = w.worker();
    let fit = worker.command(&["check", "--connect"]);
    assert_eq!(fit.code, Some(0), "{}{}", fit.stdout, fit.stderr);
    assert!(fit.stdout.contains("connected") && fit.stdout.contains("noeviction"), "{}", fit.stdout);
    assert!(fit.stdout.contains("to create") && fit.stdout.contains(&w.topic("dlt")), "{}", fit.stdout);
    assert!(!w.admin.topics().iter().any(|t| *t == w.topic("dlt")), "check has created a topic");
    worker.start();
    let fit = worker.must(&["check", "--connect"]);
    assert!(!fit.contains("to create") && fit.contains("the brokers check no rights"), "{fit}");

    // Each fault separately, with the text that says how to mend it.
    w.set("kafka.create_topics", false);
    w.set("kafka.dead_letter", w.topic("absent"));
    refused(&w, &["kafka-topics.sh", &w.topic("absent"), "--create"]);
    w.set("kafka.dead_letter", w.topic("dlt"));
    let forever = w.topic("forever");
    w.admin.create_topic(&forever, 1, 1, &[("retention.ms", "-1")]);
    w.set("kafka.input", vec![forever.clone()]);
    refused(&w, &["dedupe.window", &forever, "retention.ms"]);
    w.set("kafka.input", vec![w.topic("conversions")]);
    w.redis().run(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    refused(&w, &["allkeys-lru", "CONFIG SET maxmemory-policy noeviction"]);
    w.redis().run(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);

    // What a start waits for, or an attempt tries again, is only a warning.
    w.set("accounts.acme-ps.base_url", "http://127.0.0.1:1");
    let output = w.worker().command(&["check", "--connect"]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    assert!(output.stderr.contains("warning: accounts.acme-ps.base_url") && output.stderr.contains("no connection"));
    w.set("kafka.input", vec![w.topic("not-there")]);
    let output = w.worker().command(&["check", "--connect"]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    assert!(output.stderr.contains("kafka.input") && output.stderr.contains("kafka-topics.sh"), "{}", output.stderr);
}

#[test]
fn check_connect_says_who_may_read_the_dead_letters_and_warns_where_it_is_everybody() {
    let mut w = World::with("access", Setup { brokers: 1, ..Setup::default() });
    w.account("acme-ps", Platform::Qihoo360);
    let worker = w.started();
    let said = |part: &str| {
        let output = worker.command(&["check", "--connect"]);
        assert_eq!(output.code, Some(0), "{}", output.stderr);
        format!("{}{}", output.stdout, output.stderr).contains(part)
    };
    let dlt = w.topic("dlt");
    assert!(said(&format!("{dlt} is read by no user but those above the rules")));
    w.admin.let_read(&dlt, "User:ops");
    eventually(secs(10), "the rule is told", || said(&format!("{dlt} may be read by User:ops")));
    assert!(!said("warning: kafka.dead_letter"));
    w.admin.let_read(&dlt, "User:*");
    eventually(secs(10), "the warning is given", || {
        said(&format!("every user may read {dlt}, which holds personal data"))
    });
}

#[test]
fn the_rights_of_the_readme_suffice_and_check_connect_names_each_that_is_missing() {
    let mut w = World::with("rights", Setup { redis: true, ..Setup::default() });
    w.account("acme-ps", Platform::Qihoo360);
    let (_, list) = include_str!("../../README.md").split_once("**Rights in Redis.**").unwrap();
    let list = list.split("\n\n").nth(1).unwrap();
    let keys = format!("~{}:*", w.id);
    let first: Vec<&str> =
        ["ACL", "SETUSER", "worker", "on", ">pass", &keys].into_iter().chain(list.split_whitespace()).collect();
    w.redis().run(&first);
    let port = w.redis.as_ref().unwrap().port;
    w.set("redis.url", format!("redis://worker:pass@127.0.0.1:{port}"));
    let cases = [
        ("-sadd", "+sadd", "may not run SADD: ACL SETUSER USER +sadd"),
        ("-exec", "+exec", "may not run EXEC: ACL SETUSER USER +exec"),
        ("-info", "+info", "may not run INFO: ACL SETUSER USER +info"),
        ("-multi", "+multi", "may not run MULTI: ACL SETUSER USER +multi"),
        ("resetkeys", &*keys, "may not use keys that begin with"),
    ];
    for (less, more, part) in cases {
        w.redis().run(&["ACL", "SETUSER", "worker", less]);
        refused(&w, &["redis.url: its user ", part, "Rights in Redis"]);
        w.redis().run(&["ACL", "SETUSER", "worker", more]);
    }
    let mut worker = w.worker();
    w.redis().run(&["ACL", "LOG", "RESET"]);
    worker.must(&["check", "--connect"]);
    worker.start();
    let event = w.make.order("acme-ps");
    w.publish(vec![event.clone()]);
    w.settle(secs(60));
    worker.must(&["trace", event.trans_id()]);
    worker.must(&["accounts", "pause", "acme-ps", "--reason", "a test"]);
    worker.must(&["accounts", "resume", "acme-ps"]);
    // Redis has refused nothing meanwhile, except the client library's own command that sets its name.
    let redis::Value::Array(log) = w.redis().run(&["ACL", "LOG"]) else { panic!("no log") };
    let log: Vec<String> = log.iter().map(|entry| format!("{entry:?}")).collect();
    assert!(log.iter().all(|entry| entry.contains("client|setinfo")), "{log:#?}");
}

#[track_caller]
fn refused(w: &World, parts: &[&str]) {
    let output = w.worker().command(&["check", "--connect"]);
    assert_eq!((output.code, output.stdout.as_str()), (Some(2), ""), "{}", output.stderr);
    let errors: String = output.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    for part in parts {
        assert!(errors.contains(part), "{part} is missing in: {}", output.stderr);
    }
}

#[test]
fn send_judges_all_of_a_file_first_and_names_each_bad_line() {
    let mut w = World::new("send");
    w.account("acme-ps", Platform::Qihoo360);
    let worker = w.started();
    let topic = w.topic("sent");
    w.admin.create_topic(&topic, 1, 1, &[("max.message.bytes", "20000")]);
    let event =
        |n: usize, padding: usize| format!("{{\"trans_id\":\"t-{n}\",\"x_padding\":\"{}\"}}", "x".repeat(padding));
    // More lines than the topic takes in one batch, each of them small enough; then one that is too large, and one that
    // is broken.
    let mut lines: Vec<String> = (1..=12).map(|n| event(n, 9_000)).collect();
    lines[3] = event(4, 20_000);
    lines[6] = "{broken".to_owned();
    let file = w.file("many.json", lines.join("\n").as_bytes());

    let args = ["send", &file, "--topic", &topic];
    let refused = worker.command(&args);
    assert_eq!(refused.code, Some(3), "{}{}", refused.stdout, refused.stderr);
    for part in ["nothing was published: 2 of 12", "line 4: ", "more than the 20000", "line 7: ", "--skip-bad"] {
        assert!(refused.stderr.contains(part), "no `{part}` in {}", refused.stderr);
    }
    assert_eq!(w.records("sent").len(), 0);

    let sent = worker.command(&[&args[..], &["--skip-bad"]].concat());
    assert_eq!(sent.code, Some(0), "{}{}", sent.stdout, sent.stderr);
    assert_eq!(sent.stdout, format!("published 10 events to {topic}\n"));
    assert!(sent.stderr.contains("line 4: ") && sent.stderr.contains("line 7: "), "{}", sent.stderr);
    assert_eq!(w.records("sent").len(), 10);

    let began = std::time::Instant::now();
    let missing = worker.command(&["send", &file, "--skip-bad", "--topic", "no.such.topic"]);
    assert_eq!(missing.code, Some(1), "{}", missing.stderr);
    assert!(missing.stderr.contains("topic no.such.topic does not exist"), "{}", missing.stderr);
    assert!(began.elapsed() < secs(20), "named at once, and not after the 30 s of a broker that does not answer");
}

#[test]
fn blocked_shows_the_partitions_of_every_replica_and_those_that_none_owns() {
    let mut w = World::new("blocked-all");
    w.account("acme-ps", Platform::Qihoo360);
    let (mut one, mut other) = (w.started(), w.started());
    let input = w.topic("conversions");
    let owners = || {
        let report = object(&one, &["blocked", "--json"]);
        let rows = report["partitions"].as_array().unwrap().iter().filter(|row| row["topic"] == *input);
        let owners: Vec<String> = rows.map(|row| row["replica"].as_str().unwrap().to_owned()).collect();
        let distinct: std::collections::BTreeSet<_> = owners.iter().cloned().collect();
        (owners.len(), distinct.len(), report["unowned"].clone())
    };
    eventually(secs(60), "both replicas tell of their partitions", || owners() == (4, 2, serde_json::json!([])));
    one.stop();
    other.stop();
    let mut unread: Vec<Event> = (0..3).map(|_| w.make.order("acme-ps")).collect();
    unread.iter_mut().for_each(|event| event.expect = Expect::Open);
    w.publish(unread);
    let report = object(&one, &["blocked", "--json"]);
    let unowned = report["unowned"].as_array().unwrap();
    assert_eq!(unowned.iter().map(|row| row["lag"].as_i64().unwrap()).sum::<i64>(), 3, "{report}");
    assert!(unowned.iter().all(|row| row["topic"] == *input), "{report}");
    assert_eq!((&report["partitions"], &report["replicas"]), (&serde_json::json!([]), &serde_json::json!([])));
    let text = one.must(&["blocked"]);
    assert!(text.contains("no running worker owns these") && text.contains(&input), "{text}");
}

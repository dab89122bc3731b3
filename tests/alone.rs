//! The built program without any servers: `postback run` without a file, and commands that find it from outside.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "e2e/support/http.rs"]
mod http;

use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_postback");

fn program(args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(args);
    // The environment of the person who runs the tests must not decide them.
    std::env::vars()
        .filter(|(name, _)| name.starts_with("POSTBACK_"))
        .for_each(|(name, _)| _ = command.env_remove(name));
    command
}

#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "did not happen: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A worker without a file, and the commands that ask it.
struct Alone {
    worker: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Alone {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut command = program(&["run"]);
        command.env("POSTBACK__ADMIN__LISTEN", format!("127.0.0.1:{port}")).stderr(log).stdin(Stdio::null());
        let alone = Self { worker: command.spawn().unwrap(), port, folder };
        eventually("it is ready", || http::get(port, "/ready").is_some_and(|(status, _)| status == 200));
        alone
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    fn status(&self) -> Value {
        serde_json::from_str(&http::get(self.port, "/api/v1/status").unwrap().1).unwrap()
    }

    /// A command in another process. It learns the worker's address from the environment, as in a terminal.
    fn run(&self, args: &[&str]) -> Output {
        program(args).env("POSTBACK__ADMIN__LISTEN", format!("127.0.0.1:{}", self.port)).output().unwrap()
    }

    #[track_caller]
    fn must(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn events(&self, name: &str, events: &[Value]) -> String {
        let path = self.folder.path().join(name);
        let mut file = std::fs::File::create(&path).unwrap();
        events.iter().for_each(|event| writeln!(file, "{event}").unwrap());
        path.to_string_lossy().into_owned()
    }

    /// What the platforms have accepted.
    fn accepted(&self) -> usize {
        let log = self.log();
        let (_, rest) = log.split_once("ledger http://127.0.0.1:").unwrap_or_else(|| panic!("no ledger in {log}"));
        let port = rest.split('/').next().unwrap().parse().unwrap();
        let entries: Vec<Value> = serde_json::from_str(&http::get(port, "/_ledger").unwrap().1).unwrap();
        entries.iter().filter(|entry| entry["accepted"] == true).count()
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = self.worker.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn stop(&mut self) -> ExitStatus {
        // SAFETY: nobody has waited for the child, so the pid is still its own.
        unsafe { libc::kill(self.worker.id() as i32, libc::SIGTERM) };
        self.wait()
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.worker.kill();
        let _ = self.worker.wait();
    }
}

fn order(n: usize, padding: &str) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    json!({
        "trans_id": format!("alone-{n}"), "platform": "qihoo360", "account": "demo-360-ps", "event_type": "order",
        "event_time_ms": now - 1000, "click": {"qhclickid": format!("{n:016x}")},
        "order": {"order_id": format!("o{n}"), "amount": {"minor": 100, "currency": "CNY"}}, "x_padding": padding,
    })
}

#[test]
fn it_delivers_what_another_process_sends_obeys_its_switches_and_ends_with_0() {
    let mut alone = Alone::start();
    assert!(alone.log().contains("NOTHING HERE IS DURABLE"), "{}", alone.log());
    let status = alone.status();
    assert!(status["embedded"]["kafka"].as_str().unwrap().starts_with("127.0.0.1:"), "{status}");
    assert!(status["embedded"]["redis"].as_str().unwrap().starts_with("redis://127.0.0.1:"), "{status}");

    let file = alone.events("first.json", &[order(1, ""), order(2, ""), order(1, "")]);
    assert_eq!(alone.must(&["send", &file]), "published 3 events to conversions\n");
    eventually("both orders are at the platform", || alone.accepted() == 2);

    alone.must(&["accounts", "pause", "demo-360-ps", "--reason", "a look"]);
    eventually("the switch is obeyed", || {
        alone.status()["lanes"].as_array().unwrap().contains(&json!({"account": "demo-360-ps", "state": "paused"}))
    });
    let file = alone.events("second.json", &[order(3, "")]);
    let admin = format!("http://127.0.0.1:{}", alone.port);
    let output = program(&["send", &file, "--admin", &admin]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    eventually("it is parked", || {
        let rows: Value = serde_json::from_str(&alone.must(&["accounts", "list", "--json"])).unwrap();
        let own = rows.as_array().unwrap().iter().find(|row| row["account"] == "demo-360-ps").unwrap();
        own["state"] == "paused" && own["why"] == "a look" && own["replicas"][0]["parked"] == 1
    });
    assert!(alone.must(&["blocked"]).contains("postback.parked.demo-360-ps"));
    assert_eq!(alone.accepted(), 2);
    assert!(alone.must(&["unblock", "dedupe", "--reason", "none"]).contains("nothing to unblock"));
    alone.must(&["accounts", "resume", "demo-360-ps", "--admin", &format!("127.0.0.1:{}", alone.port)]);
    eventually("what was parked has come back", || alone.accepted() == 3);

    assert_eq!(alone.stop().code(), Some(0), "{}", alone.log());
    let output = alone.run(&["send", &file]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("postback demo"), "{output:?}");
}

#[test]
fn dead_letters_are_found_by_any_trans_id_and_a_topic_that_does_not_exist_is_named() {
    let alone = Alone::start();
    assert_eq!(alone.must(&["dead-letters", "list"]), "no dead letters\n");
    let mut invalid = order(1, "");
    (invalid["trans_id"], invalid["click"]) = ("0:77777".into(), json!({}));
    alone.must(&["send", &alone.events("invalid.json", &[invalid])]);
    eventually("it is a dead letter", || alone.must(&["dead-letters", "list"]).contains("0:77777"));
    let shown = alone.must(&["dead-letters", "show", "0:77777"]);
    assert!(shown.contains("pb-trans-id          0:77777"), "{shown}");
    let nothing = alone.run(&["dead-letters", "show", "0:77778"]);
    let error = String::from_utf8_lossy(&nothing.stderr);
    assert!(nothing.status.code() == Some(1) && error.contains("no record at 0:77778"), "{error}");

    let file = alone.events("one.json", &[order(1, "")]);
    let missing = alone.run(&["send", &file, "--topic", "absent"]);
    let error = String::from_utf8_lossy(&missing.stderr);
    assert!(missing.status.code() == Some(1) && error.contains("topic absent does not exist"), "{error}");

    for args in [&["dead-letters", "list"][..], &["dead-letters", "stats"], &["dead-letters", "show", "0:0"]] {
        let output = program(args)
            .env("POSTBACK__ADMIN__LISTEN", format!("127.0.0.1:{}", alone.port))
            .env("POSTBACK__KAFKA__DEAD_LETTER", "absent")
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && output.stdout.is_empty(), "{args:?}: {output:?}");
        assert!(error.contains("topic absent does not exist (kafka.dead_letter)"), "{args:?}: {error}");
    }
}

#[test]
fn what_the_broker_drops_unread_ends_the_run_as_failed() {
    let mut alone = Alone::start();
    alone.must(&["accounts", "pause", "demo-360-ps", "--reason", "fill its parking topic"]);
    eventually("the switch is obeyed", || alone.status().to_string().contains("paused"));
    let padding = "x".repeat(16 << 10);
    let events: Vec<Value> = (0..800).map(|n| order(n, &padding)).collect();
    let file = alone.events("many.json", &events);
    alone.must(&["send", &file]);
    eventually("all of them went to parking", || {
        let metrics = http::get(alone.port, "/metrics").map(|(_, body)| body).unwrap_or_default();
        metrics
            .lines()
            .any(|line| line.starts_with("postback_events_handed_off_total{to=\"parked\"}") && line.ends_with(" 800"))
    });
    alone.must(&["accounts", "resume", "demo-360-ps"]);
    assert_eq!(alone.wait().code(), Some(1), "{}", alone.log());
    let log = alone.log();
    assert!(log.contains("the embedded broker has dropped ") && log.contains("postback.parked.demo-360-ps/0"), "{log}");
}

#[test]
fn one_part_alone_is_refused_wherever_it_comes_from() {
    for (name, value, blamed) in [
        ("POSTBACK__REDIS__URL", "redis://127.0.0.1:1", "kafka.brokers: is \"embedded\", but redis.url is not"),
        ("POSTBACK__KAFKA__BROKERS", "127.0.0.1:1", "redis.url: is \"embedded\", but kafka.brokers is not"),
    ] {
        let output = program(&["run"]).env(name, value).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(blamed), "{output:?}");
    }
    let production = ("POSTBACK__ACCOUNTS__DEMO_360_PS__BASE_URL", "https://convert.dop.360.cn");
    let output = program(&["run"]).env(production.0, production.1).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("accounts.demo-360-ps.base_url: account demo-360-ps does not lead to this host"), "{error}");
}

#[test]
fn wrong_usage_and_a_refused_start_end_with_2() {
    let real = [("POSTBACK__KAFKA__BROKERS", "127.0.0.1:1"), ("POSTBACK__REDIS__URL", "redis://127.0.0.1:1")];
    let cases: [(&[&str], bool, &str); 8] = [
        (&["run"], true, "--config FILE"),
        (&["check"], true, "--config FILE"),
        (&["trace", "t-1", "--admin", "127.0.0.1:1"], true, "--admin has no use here"),
        (&["dead-letters", "list", "--admin", "127.0.0.1:1"], true, "--admin has no use here"),
        (&["dead-letters", "list", "--admin", "ftp://127.0.0.1:1"], false, "--admin must be a URL"),
        (&["accounts", "list", "--admin", "ftp://127.0.0.1:1"], false, "--admin must be a URL"),
        (&["accounts", "pause", "demo-360-sp", "--reason", "a test"], false, "did you mean `demo-360-ps`?"),
        (&["unblock", "dedupe", "--reason", " "], false, "say why"),
    ];
    for (args, beside_real, part) in cases {
        let output = program(args).envs(real.into_iter().filter(|_| beside_real)).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && error.contains(part), "{args:?}: {output:?}");
    }
}

#[test]
fn check_connect_looks_on_where_an_account_has_no_valid_credential() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.toml");
    let account = |name: &str, more: &str| {
        format!(
            "[accounts.{name}]\nplatform = \"qihoo360\"\nbase_url = \"http://127.0.0.1:1\"\nallow_http = true\n\
             allow_private = true\nsecrets = [{{ id = \"a\", key = \"k{name}\", secret = \"s\"{more} }}]\n"
        )
    };
    let text = format!(
        "kafka = {{ brokers = \"embedded\" }}\nredis = {{ url = \"embedded\" }}\n{}{}",
        account("over", ", not_after = \"2020-01-01T00:00:00Z\""),
        account("good", "")
    );
    std::fs::write(&file, text).unwrap();
    let output = program(&["check", "--connect", "--config", &file.to_string_lossy()]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && output.stdout.is_empty(), "{output:?}");
    assert!(error.contains("error: accounts.over.secrets: holds none that is valid now"), "{error}");
    assert!(error.contains("accounts.good.base_url: http://127.0.0.1:1"), "{error}");
}

#[test]
fn check_reads_the_issuers_of_redis_as_a_start_does() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.toml");
    let checked = |ca_file: &str| {
        let text = format!(
            "kafka = {{ brokers = \"127.0.0.1:1\" }}\nredis = {{ url = \"rediss://127.0.0.1:1\", ca_file = \"{ca_file}\" }}\n\
             [accounts.acme-ps]\nplatform = \"qihoo360\"\nsecrets = [{{ id = \"a\", key = \"k\", secret = \"s\" }}]\n\
             data_industry = \"ocpc_ps_convert\"\n"
        );
        std::fs::write(&file, text).unwrap();
        let output = program(&["check", "--config", &file.to_string_lossy()]).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let tls = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tls");
    assert_eq!(checked(&format!("{tls}/root.pem")), (Some(0), String::new()));
    for (ca_file, part) in
        [(format!("{tls}/absent.pem"), "absent.pem"), (format!("{tls}/make"), "holds no certificate")]
    {
        let (code, error) = checked(&ca_file);
        assert!(code == Some(2) && error.contains("error: redis.ca_file: ") && error.contains(part), "{error}");
    }
}

//! `postback demo` as the built program: nothing but the program is needed, so these run without servers.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use postback::demo::generator::{Fate, Generator};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(180);

/// The program, away from whatever runs at the usual ports of this host.
fn postback(admin: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postback"));
    command.args(args).env_clear().env("POSTBACK__ADMIN__LISTEN", admin);
    command
}

/// A demo under way. It never outlives its test.
struct Demo {
    child: Child,
    told: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<Vec<u8>>>,
}

impl Demo {
    fn start(admin: &str, args: &[&str]) -> Self {
        let mut command = postback(admin, &[&["demo", "--json"], args].concat());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        // SAFETY: prctl is async-signal-safe and touches nothing of this process. An aborted test run leaves nothing
        // behind: "the parent" means the thread that spawned, which is the test's own and holds the demo to its end.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        let mut child = command.spawn().unwrap();
        let told = Arc::new(Mutex::new(String::new()));
        let (mut out, mut err, text) = (child.stdout.take().unwrap(), child.stderr.take().unwrap(), told.clone());
        let ledger = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            out.read_to_end(&mut bytes).unwrap();
            bytes
        });
        let progress = std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(n @ 1..) = err.read(&mut piece) {
                text.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..n]));
            }
            Vec::new()
        });
        Self { child, told, readers: vec![ledger, progress] }
    }

    fn told(&self) -> String {
        self.told.lock().unwrap().clone()
    }

    #[track_caller]
    fn wait_for(&mut self, text: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.told().contains(text) {
            let ended = self.child.try_wait().unwrap();
            assert!(Instant::now() < end && ended.is_none(), "no `{text}` ({ended:?}) in\n{}", self.told());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn interrupt(&self) {
        // SAFETY: the child has not been waited for, so the pid is still its own.
        unsafe { libc::kill(i32::try_from(self.child.id()).unwrap(), libc::SIGINT) };
    }

    /// Exit code and standard output.
    #[track_caller]
    fn end(&mut self) -> (Option<i32>, String) {
        let end = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < end, "it does not end:\n{}", self.told());
            std::thread::sleep(Duration::from_millis(50));
        };
        let mut output = self.readers.drain(..).map(|reader| reader.join().unwrap());
        (status.code(), String::from_utf8(output.next().unwrap()).unwrap())
    }

    /// The ledger of a demo that ended well.
    #[track_caller]
    fn ledger(&mut self) -> Value {
        let (code, text) = self.end();
        assert_eq!(code, Some(0), "{text}\n{}", self.told());
        let ledger: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("not one object ({e}): {text}"));
        assert_eq!(ledger["balanced"], true, "{ledger}");
        ledger
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn count(ledger: &Value, name: &str) -> u64 {
    ledger[name].as_u64().unwrap_or_else(|| panic!("{name} in {ledger}"))
}

/// What the generator meant with its events, beside what became of them.
fn three_kinds_of_ledger(seed: u64, events: u64) {
    let (n, seed_text) = (events.to_string(), seed.to_string());
    let mut demo = Demo::start("127.0.0.1:0", &["--events", &n, "--seed", &seed_text]);
    let ledger = demo.ledger();

    let mut generator = Generator::new(seed);
    let now_ms = 1_767_225_600_000;
    let fates: Vec<Fate> = (0..events).map(|_| generator.make(now_ms).fate).collect();
    let meant = |wanted: &[Fate]| fates.iter().filter(|fate| wanted.contains(fate)).count() as u64;
    assert!(count(&ledger, "calls") > events / 50, "{ledger}");
    assert_eq!(count(&ledger, "results"), count(&ledger, "calls"));
    let dead = |reason: &str| ledger["dead_letters"][reason].as_u64().unwrap_or_default();
    assert_eq!(count(&ledger, "produced"), events);
    assert_eq!(count(&ledger, "distinct"), generator.distinct());
    // The platform of one account refuses some good events, which are left as dead letters; a copy of one may be
    // delivered in its place.
    let rejected = dead("rejected");
    assert!(rejected > 0 && rejected < events / 50, "{ledger}");
    let (delivered, fresh) = (count(&ledger, "delivered"), meant(&[Fate::Fresh]));
    assert!(delivered <= fresh && delivered + rejected >= fresh, "{ledger}");
    assert_eq!(count(&ledger, "suppressed"), meant(&[Fate::OptOut]));
    // Where a conflicting copy overtakes its original, plain copies of that one conflict as well.
    let copies = count(&ledger, "duplicate") + dead("conflict");
    assert_eq!(delivered + rejected + copies, fresh + meant(&[Fate::Duplicate, Fate::Conflict]), "{ledger}");
    for (reason, fate) in [
        ("invalid", Fate::Invalid),
        ("malformed", Fate::Malformed),
        ("unmapped_event", Fate::Unmapped),
        ("unknown_account", Fate::UnknownAccount),
        ("expired", Fate::Expired),
    ] {
        assert_eq!(dead(reason), meant(&[fate]), "{reason} in {ledger}");
    }
    let told = demo.told();
    for part in [
        "demo-360-ps: its platform fails",
        "demo-baizhu: its platform throttles",
        "demo-360-ms: its platform takes requests and answers nothing",
        "demo-360-zs: halted by the worker",
        "demo-360-zs: the secret is corrected",
        "demo-360-zs: resumed by the demo",
        "demo-360-web: its platform refuses two of five events for good",
        "  console   http://127.0.0.1:",
        "/_faults -d '{\"demo-360-web\": {\"status\": 401}}'",
        &format!("--seed {seed}"),
    ] {
        assert!(told.contains(part), "`{part}` is not in\n{told}");
    }
    assert!(!told.contains('\x1b'), "a pipe gets plain lines");
}

#[test]
fn the_ledger_of_a_first_seed_balances_and_is_what_the_generator_meant() {
    three_kinds_of_ledger(1, 4_000);
}

#[test]
fn the_ledger_of_a_second_seed_balances_and_is_what_the_generator_meant() {
    three_kinds_of_ledger(2, 4_000);
}

#[test]
fn the_ledger_of_a_third_seed_balances_and_is_what_the_generator_meant() {
    three_kinds_of_ledger(4_294_967_295, 4_000);
}

#[test]
fn an_interrupt_while_platforms_are_broken_ends_in_a_ledger_that_balances() {
    let mut demo = Demo::start("127.0.0.1:0", &["--seed", "5"]);
    demo.wait_for("demo-360-zs: halted by the worker");
    demo.interrupt();
    let ledger = demo.ledger();
    assert!(count(&ledger, "produced") > 5_000, "{ledger}");
    assert_eq!(count(&ledger, "open") + count(&ledger, "lost"), 0);
}

#[test]
fn a_second_interrupt_leaves_at_once_with_130() {
    let mut demo = Demo::start("127.0.0.1:0", &[]);
    demo.wait_for("demo-360-ps: its platform fails");
    demo.interrupt();
    demo.wait_for("stopping:");
    demo.interrupt();
    let (code, text) = demo.end();
    assert_eq!((code, text.as_str()), (Some(130), ""), "{}", demo.told());
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Runs a command beside the demo, with no option that says where anything is.
#[track_caller]
fn beside(admin: &str, args: &[&str], input: &str) -> String {
    let mut child =
        postback(admin, args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&stdout).into_owned();
    assert!(status.success(), "{args:?}: {status}\n{text}\n{}", String::from_utf8_lossy(&stderr));
    text
}

#[test]
fn other_commands_find_a_running_demo_without_any_option() {
    let admin = format!("127.0.0.1:{}", free_port());
    let mut demo = Demo::start(&admin, &["--seed", "6"]);
    demo.wait_for("published");

    assert!(beside(&admin, &["accounts", "list"], "").contains("demo-360-web"));
    beside(&admin, &["accounts", "pause", "demo-360-web", "--reason", "a test"], "");
    assert!(beside(&admin, &["blocked"], "").contains("demo-360-zs"));
    demo.wait_for("demo-360-web paused");
    beside(&admin, &["accounts", "resume", "demo-360-web"], "");
    let now = chrono::Utc::now().timestamp_millis();
    let own = format!(
        r#"{{"trans_id":"own-1","platform":"qihoo360","account":"demo-360-web","event_type":"phone_call",
            "event_time_ms":{now},"click":{{"impression_id":"own-click-1"}}}}"#
    );
    let twice = format!("[{own},{own}]");
    assert_eq!(beside(&admin, &["send", "-"], &twice), "published 2 events to conversions\n");
    let end = Instant::now() + PATIENCE;
    // Until the worker has read it, nothing is known of it, which is an error.
    let trace = || postback(&admin, &["trace", "own-1"]).output().unwrap();
    while !String::from_utf8_lossy(&trace().stdout).contains("duplicate") {
        assert!(Instant::now() < end, "no duplicate in\n{}", beside(&admin, &["trace", "own-1"], ""));
    }
    assert!(beside(&admin, &["dead-letters", "stats"], "").contains("malformed"));
    demo.interrupt();
    let ledger = demo.ledger();
    assert_eq!(ledger["open"], 0);
    // The second copy of the own event is no other one. What was dead-lettered already may have copies there, too.
    let copies = count(&ledger, "duplicate") + ledger["dead_letters"]["conflict"].as_u64().unwrap_or_default();
    assert!(count(&ledger, "distinct") + copies <= count(&ledger, "produced"), "{ledger}");
}

#[test]
fn an_operator_replays_what_a_platform_refused_and_the_ledger_still_balances() {
    let admin = format!("127.0.0.1:{}", free_port());
    let mut demo = Demo::start(&admin, &["--seed", "8"]);
    demo.wait_for("or be the operator:");
    let told = demo.told();
    // The lines are those that a person copies.
    let line = |title: &str| {
        let line = told.lines().rev().find_map(|line| line.split_once(title)).unwrap().1.trim();
        let mut words: Vec<String> = line.split_whitespace().skip(1).map(str::to_owned).collect();
        // The reason is the last option, in quotes.
        if let Some(why) = words.iter().position(|word| word == "--why") {
            let text = words.drain(why + 1..).collect::<Vec<_>>().join(" ");
            words.push(text.trim_matches('\'').to_owned());
        }
        words
    };
    let run = |title: &str| {
        let words = line(title);
        beside(&admin, &words.iter().map(String::as_str).collect::<Vec<_>>(), "")
    };
    assert!(run("see them").contains("rejected"));
    run("plan a replay");
    run("run it");
    let letters = |state: &str| {
        let filter = ["--account", "demo-360-web", "--reason", "rejected", "--state", state, "--json"];
        let text = beside(&admin, &[&["dead-letters", "list"], &filter[..]].concat(), "");
        serde_json::from_str::<Value>(&text).unwrap().as_array().unwrap().len() as u64
    };
    let (open, replayed) = (letters("open"), letters("replayed"));
    // Another copy of an event may have been delivered before the replay: it is skipped.
    assert!(open < replayed / 2 && replayed > 5, "{open} open, {replayed} replayed");
    demo.interrupt();
    let ledger = demo.ledger();
    // The few that stay are those, and replayed ones that ended as a duplicate of another copy.
    let left = ledger["dead_letters"]["rejected"].as_u64().unwrap_or_default();
    assert!(left < replayed / 2, "{left} of {replayed}: {ledger}");
    assert_eq!((&ledger["open"], &ledger["lost"]), (&0.into(), &0.into()));
}

#[test]
fn a_real_kafka_in_the_environment_is_refused_before_anything_starts() {
    let output = postback("127.0.0.1:0", &["demo", "--events", "10"])
        .env("POSTBACK__KAFKA__BROKERS", "kafka:9092")
        .env("POSTBACK__REDIS__URL", "redis://redis:6379")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("POSTBACK__KAFKA__BROKERS"), "{text}");
    assert!(output.stdout.is_empty());
}

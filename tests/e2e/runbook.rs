//! The runbook as somebody at night follows it: each command of each page is run, against a worker in the state that
//! the page is about, as far as a test can make it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use crate::support::event::{Event, Expect};
use crate::support::ledger::Check;
use crate::support::platform::{Account, Action, Platform, Rule};
use crate::support::worker::Worker;
use crate::support::world::World;
use crate::support::{eventually, http, secs, within};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/runbook");
const PROGRAM: &str = env!("CARGO_BIN_EXE_postback");
/// The account of the labels of all alerts.
const ACCOUNT: &str = "acme-ps";
/// Kafka's own tool, from the jars that the brokers of the tests run on.
const KAFKA_CONFIGS: &str =
    "#!/bin/sh\nexec java -Xmx128m -cp \"$POSTBACK_TEST_KAFKA_LIBS/*\" kafka.admin.ConfigCommand \"$@\"\n";

/// What has happened before a page is opened.
type State = fn(&mut Night);

/// The pages with commands, in the order in which they are followed.
const PAGES: [(&str, State); 32] = [
    ("NotReady", Night::calm),
    ("PostbackAmbiguousResends", Night::calm),
    ("PostbackBreakerOpen", Night::calm),
    ("PostbackClockHeld", Night::calm),
    ("PostbackClockOff", Night::calm),
    ("PostbackCommitStuck", Night::calm),
    ("PostbackDeliverySlow", Night::calm),
    ("PostbackErrorShareHigh", Night::calm),
    ("PostbackEventsUnaccounted", Night::calm),
    ("PostbackFreshnessBurn", Night::calm),
    ("PostbackFreshnessBurnSlow", Night::calm),
    ("PostbackKafkaAway", Night::calm),
    ("PostbackOldestEventOld", Night::calm),
    ("PostbackRedisAway", Night::calm),
    ("PostbackReloadFailed", Night::calm),
    ("PostbackRolloutOld", Night::calm),
    ("PostbackSecretOld", Night::calm),
    ("PostbackStuckLowTraffic", Night::calm),
    ("PostbackTargetAbsent", Night::calm),
    ("PostbackTopicRefused", Night::calm),
    ("PostbackUnclassifiedCode", Night::calm),
    ("PostbackDeadLettersGrow", Night::calm),
    ("PostbackSuccessBurn", Night::calm),
    ("PostbackReplayStopped", Night::replay_stopped),
    ("PostbackSuccessBurnSlow", Night::calm),
    ("PostbackLanePaused", Night::paused),
    ("PostbackParkedTooLong", Night::paused),
    ("PostbackLaneHalted", Night::halted),
    ("PostbackStormStopped", Night::stormed),
    ("PostbackDedupeHeld", Night::flushed),
    ("PostbackPartitionUnplaced", Night::unplaced),
    ("PostbackRetentionClose", Night::calm),
];

/// A worker, and what a person has beside it.
pub struct Night {
    pub w: World,
    account: Arc<Account>,
    pub worker: Worker,
    pub folder: PathBuf,
    /// What stands for the words in capitals.
    words: BTreeMap<&'static str, String>,
}

fn dead(mut event: Event, reason: &'static str) -> Event {
    event.expect = Expect::Dead { reason, field: "" };
    event
}

impl Night {
    /// A worker with dead letters of several reasons. Those that the platform refused it refuses for ever.
    pub fn falls(mut w: World) -> Self {
        let account = w.account(ACCOUNT, Platform::Qihoo360);
        w.set("accounts.acme-ps.retry.max_attempts", 1);
        let worker = w.started();
        let make = |w: &World, n, reason| w.make.orders(ACCOUNT, n).into_iter().map(|e| dead(e, reason)).collect();
        let (refused, failed): (Vec<Event>, Vec<Event>) = (make(&w, 12, "rejected"), make(&w, 3, "attempts_exhausted"));
        account.rules(vec![
            Rule::all(Action::Errno(3)).about(refused.iter().map(Event::ident)),
            Rule::all(Action::Status(500, None)).about(failed.iter().map(Event::ident)),
        ]);
        let order = || w.make.order(ACCOUNT);
        let events = [
            order(),
            order().spoiled("invalid", "trans_id", |e| e["trans_id"] = "a b".into()),
            order().spoiled("unknown_account", "account", |e| e["account"] = "nobody".into()),
            Event::bytes(Some(b"hello"), "malformed", ""),
        ];
        let (trans_id, sample) = (refused[0].trans_id().to_owned(), order().value().unwrap());
        let folder = Path::new(&w.file("event.json", &sample)).parent().unwrap().to_path_buf();
        fs::create_dir(folder.join("bin")).unwrap();
        symlink(PROGRAM, folder.join("bin/postback")).unwrap();
        symlink(&worker.config, folder.join("postback.toml")).unwrap();
        let tool = folder.join("bin/kafka-configs.sh");
        fs::write(&tool, KAFKA_CONFIGS).unwrap();
        fs::set_permissions(tool, fs::Permissions::from_mode(0o755)).unwrap();
        w.publish_at([&events[..], &refused, &failed].concat(), None, Some(0));
        w.settle(secs(60));
        let words = [
            ("ACCOUNT", ACCOUNT.to_owned()),
            ("PLATFORM", "qihoo360".to_owned()),
            ("TOPIC", w.topic("conversions")),
            ("PARTITION", "0".to_owned()),
            ("REASON", "rejected".to_owned()),
            ("TRANS_ID", trans_id),
            ("BROKER", w.bootstrap()),
            ("REPLAY", "no-replay-yet".to_owned()),
        ];
        Self { w, account, worker, folder, words: words.into() }
    }

    pub fn is_calm(&self) -> bool {
        self.worker.ready() && self.worker.lane_state(ACCOUNT) == "flowing"
    }

    fn calm(&mut self) {
        assert!(self.is_calm());
    }

    /// Somebody paused the account, and events came.
    fn paused(&mut self) {
        self.worker.must(&["accounts", "pause", ACCOUNT, "--reason", "a review"]);
        eventually(secs(20), "the account is paused", || self.worker.lane_state(ACCOUNT) == "paused");
        self.events_park();
    }

    /// The platform has refused the credential, and events came. Now the credential is right again.
    fn halted(&mut self) {
        let right = self.account.secret();
        self.account.set_secret("rotated-away");
        let event = self.w.make.order(ACCOUNT);
        self.w.publish(vec![event]);
        eventually(secs(20), "the account is halted", || self.worker.lane_state(ACCOUNT) == "halted");
        self.events_park();
        self.account.set_secret(&right);
    }

    fn events_park(&mut self) {
        let before = self.w.records("parked").len();
        let events = self.w.make.orders(ACCOUNT, 3);
        self.w.publish(events);
        eventually(secs(20), "what comes is parked", || self.w.records("parked").len() >= before + 3);
    }

    /// A producer has published what is no event, and then events again.
    fn stormed(&mut self) {
        let rubbish = (0..120).map(|n| Event::bytes(Some(format!("no event {n}").as_bytes()), "malformed", ""));
        let events: Vec<Event> = rubbish.chain(self.w.make.orders(ACCOUNT, 3)).collect();
        self.w.publish_at(events, None, Some(1));
        let stopped = || self.worker.metrics().total("storm_stopped", &[]) == 1.0;
        eventually(secs(60), "the topic is stopped", stopped);
    }

    /// Redis has lost what it knew of this worker's epoch.
    fn flushed(&mut self) {
        self.w.redis().run(&["DEL", &format!("{}:epoch", self.w.id())]);
        let held = || self.worker.metrics().total("worker_holds", &[("cause", "dedupe")]) == 1.0;
        eventually(secs(30), "the worker holds", held);
    }

    /// Somebody has set the position of a partition beyond its end.
    fn unplaced(&mut self) {
        self.worker.stop();
        self.w.admin.commit(&self.w.group(), &self.w.topic("conversions"), 0, 1_000_000);
        self.worker.start();
        let unplaced = || self.worker.metrics().total("unplaced_partitions", &[]) == 1.0;
        eventually(secs(30), "the partition has no position", unplaced);
    }

    /// A replay has stopped, and what it had begun has its end.
    fn replay_stopped(&mut self) {
        let plan = ["replay", "--account", ACCOUNT, "--reason", "rejected", "--rate", "1", "--json"];
        let plan: Value = serde_json::from_str(&self.worker.must(&plan)).unwrap();
        let id = plan["id"].as_str().unwrap();
        self.worker.must(&["replay", "run", id, "--why", "a test", "--no-watch"]);
        self.worker.must(&["replay", "cancel", id, "--why", "a test"]);
        self.words.insert("REPLAY", id.to_owned());
    }

    /// A command as a person would write it. A word in capitals without a value fails the test.
    pub fn filled(&self, page: &str, command: &str) -> String {
        let mut filled = String::new();
        for part in command.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            let word = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let is_placeholder = word.len() > 3 && word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
            match self.words.get(word) {
                Some(value) => filled += &part.replacen(word, value, 1),
                None if is_placeholder && word != "POST" => panic!("{page}: {command}: what is {word}?"),
                None => filled += part,
            }
        }
        filled.replace("127.0.0.1:9464", &format!("127.0.0.1:{}", self.worker.admin_port))
    }

    /// Runs a command of a page: it has to succeed.
    pub fn run(&self, page: &str, command: &str) {
        // Without it, curl takes any answer for a good one.
        let command = self.filled(page, command).replace("curl -s ", "curl -s --fail-with-body ");
        let mut told = String::new();
        let mut run = || {
            let output = self.worker.sh(&self.folder, &command);
            told = format!("{:?}\n{}{}", output.code, output.stdout, output.stderr);
            output.code == Some(0)
        };
        // It says that not every event has its end until each has.
        let is_good = if command.starts_with("postback reconcile ") { within(secs(90), &mut run) } else { run() };
        assert!(is_good, "{page}: {command}: {told}");
    }

    /// Until nothing is left of the page's state. What a page pauses it says how to take back.
    fn passes(&self, page: &str, pauses: bool) {
        if pauses {
            eventually(secs(20), "the account is paused", || self.worker.lane_state(ACCOUNT) == "paused");
            self.worker.must(&["accounts", "resume", ACCOUNT, "--reason", "the page is done"]);
        }
        eventually(secs(60), &format!("all is well after {page}"), || self.is_calm());
    }
}

/// The commands of a page, line by line.
pub fn commands(markdown: &str) -> Vec<&str> {
    let blocks = markdown.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.flat_map(str::lines).filter(|line| !line.is_empty()).collect()
}

/// The commands that a page names in its text. What is left open is left out.
fn named(markdown: &str) -> Vec<&str> {
    let text = markdown.split("```").step_by(2);
    let spans = text.flat_map(|part| part.split('`').skip(1).step_by(2));
    spans.filter(|span| span.starts_with("postback ") && !span.contains('…')).collect()
}

pub fn read(page: &str) -> String {
    fs::read_to_string(format!("{FOLDER}/{page}.md")).unwrap_or_else(|error| panic!("{page}: {error}"))
}

#[test]
fn every_command_of_every_page_works_in_the_state_that_its_page_is_about() {
    let mut with_commands = BTreeSet::new();
    let mut texts = Vec::new();
    for file in fs::read_dir(FOLDER).unwrap() {
        let page = file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned();
        let text = read(&page);
        if !commands(&text).is_empty() {
            with_commands.insert(page.clone());
        }
        texts.push((page, text));
    }
    let listed: BTreeSet<String> = PAGES.iter().map(|(page, _)| (*page).to_owned()).collect();
    assert_eq!(with_commands, listed, "each page with commands, and the state in which they are run");

    let mut night = Night::falls(World::new("runbook"));
    let mut count = 0;
    // While nothing changes, one command says the same on every page.
    let mut in_calm = BTreeSet::new();
    for (page, state) in PAGES {
        state(&mut night);
        let is_calm = night.is_calm();
        let text = read(page);
        for command in commands(&text) {
            count += 1;
            let changes =
                !command.starts_with("curl -s http") && !command.ends_with("--connect --config postback.toml");
            if changes || !is_calm || in_calm.insert(command.to_owned()) {
                night.run(page, command);
            }
        }
        night.passes(page, text.contains("\npostback accounts pause "));
    }
    assert!(count > 90, "{count} commands");
    // What the texts name exists, with its arguments.
    let help: BTreeSet<_> = texts
        .iter()
        .flat_map(|(page, text)| named(text).into_iter().map(|span| (span.to_owned(), page.clone())))
        .collect();
    assert!(help.len() > 30, "{help:?}");
    for (span, page) in help {
        night.run(&page, &format!("{span} --help"));
    }
    let (_, metrics) = http::get(night.worker.admin_port, "/metrics").unwrap();
    assert!(!metrics.is_empty() && fs::metadata(night.folder.join("metrics.txt")).unwrap().len() > 1000);
    night.w.settle(secs(60));
    night.w.ledger(&Check { disturbed: true, bad_requests: true, exact: false });
}

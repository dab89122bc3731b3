//! The README as a newcomer follows it: its files are written as shown, and each of its commands is run.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use crate::support::kafka::Admin;
use crate::support::{eventually, free_port, http, secs, unique};

const README: &str = include_str!("../../README.md");
const PROGRAM: &str = env!("CARGO_BIN_EXE_postback");
/// Commands that are run elsewhere: the test command itself, and the one that needs a container engine.
const ELSEWHERE: [&str; 2] = ["tests/run", "docker compose up --build"];

/// The code blocks, each without its indentation.
fn blocks() -> Vec<String> {
    let mut blocks = vec![String::new()];
    for line in README.lines() {
        match line.strip_prefix("    ") {
            Some(code) => blocks.last_mut().unwrap().push_str(&format!("{code}\n")),
            None if line.is_empty() => {}
            None => blocks.push(String::new()),
        }
    }
    blocks.retain(|b| !b.is_empty());
    blocks
}

/// Every command shown, without its remark.
fn commands() -> Vec<String> {
    let is_command = |l: &&str| ["postback ", "cargo ", "tests/", "docker ", "curl "].iter().any(|c| l.starts_with(c));
    let strip = |l: &str| l.split(" #").next().unwrap_or_default().trim().to_owned();
    blocks().iter().flat_map(|b| b.lines()).filter(is_command).map(strip).collect()
}

struct Newcomer {
    dir: tempfile::TempDir,
    env: Vec<(String, String)>,
    left: Vec<String>,
}

impl Newcomer {
    /// One command of the README, word for word, with arguments added for a busy machine.
    fn command(&mut self, line: &str, more: &str) -> Command {
        let at = self.left.iter().position(|l| l == line).unwrap_or_else(|| panic!("the README does not show {line}"));
        self.left.remove(at);
        let path = format!("{}:{}", self.dir.path().join("bin").display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("exec {line} {more}")).current_dir(self.dir.path());
        command.envs(self.env.clone()).env("PATH", path).stdin(Stdio::null());
        command
    }

    fn output(&mut self, line: &str) -> String {
        let Output { status, stdout, stderr } = self.command(line, "").output().unwrap();
        let text = String::from_utf8_lossy(&stdout).into_owned();
        assert!(status.success(), "{line}: {status}\n{text}\n{}", String::from_utf8_lossy(&stderr));
        text
    }

    fn start(&mut self, line: &str, more: &str) -> Running {
        let child = self.command(line, more).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Running(child)
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn newcomer(files: &Path, id: &str, (admin, platform): (u16, u16)) -> Vec<(String, String)> {
    let blocks = blocks();
    let find = |begin: &str| blocks.iter().find(|b| b.starts_with(begin)).unwrap_or_else(|| panic!("no block {begin}"));
    std::fs::write(files.join("postback.toml"), find("[kafka]")).unwrap();
    std::fs::write(files.join("event.json"), find("{\"trans_id\"")).unwrap();
    std::fs::create_dir(files.join("bin")).unwrap();
    symlink(PROGRAM, files.join("bin/postback")).unwrap();
    let redis = std::env::var("POSTBACK_TEST_REDIS").unwrap();
    let redis = if redis.contains("://") { redis } else { format!("redis://{redis}") };
    // Only the addresses differ from the file, and the names that separate the tests.
    [
        ("KAFKA__BROKERS", std::env::var("POSTBACK_TEST_KAFKA").unwrap()),
        ("KAFKA__INPUT", format!("[\"{id}.conversions\"]")),
        ("KAFKA__GROUP", id.to_owned()),
        ("KAFKA__RETRY_PREFIX", format!("{id}.retry")),
        ("KAFKA__PARKED_PREFIX", format!("{id}.parked")),
        ("KAFKA__DEAD_LETTER", format!("{id}.dlt")),
        ("KAFKA__RECEIPTS", format!("{id}.receipts")),
        ("REDIS__URL", redis),
        ("REDIS__PREFIX", id.to_owned()),
        ("ADMIN__LISTEN", format!("127.0.0.1:{admin}")),
        ("ACCOUNTS__ACME_PS__BASE_URL", format!("http://127.0.0.1:{platform}")),
        ("ACCOUNTS__ACME_PS__ALLOW_HTTP", "true".into()),
        ("ACCOUNTS__ACME_PS__ALLOW_PRIVATE", "true".into()),
    ]
    .map(|(key, value)| (format!("POSTBACK__{key}"), value))
    .into_iter()
    .chain([("ACME_KEY".into(), "acmeps00000000000001".into()), ("ACME_SECRET".into(), "0123456789abcdef".repeat(2))])
    .collect()
}

/// The newcomer's first command. Here the demo is built already.
const FIRST_COMMAND: &str = "cargo run --profile quick --no-default-features -- demo";

#[test]
fn every_command_of_the_readme_does_what_it_says() {
    let id = unique("readme");
    let (admin, platform) = (free_port(), free_port());
    let dir = tempfile::tempdir().unwrap();
    let env = newcomer(dir.path(), &id, (admin, platform));
    let mut newcomer = Newcomer { dir, env, left: commands() };
    newcomer.left.retain(|l| !ELSEWHERE.contains(&&**l));

    let preview = newcomer.output("postback preview event.json --config postback.toml");
    assert!(preview.contains("POST") && preview.contains("/uploadWebConvert"), "{preview}");
    let listen = format!("--listen 127.0.0.1:{platform}");
    let _sandbox = newcomer.start("postback sandbox --config postback.toml", &listen);
    eventually(secs(30), "the platform answers", || http::get(platform, "/_ledger").is_some());
    let kafka = std::env::var("POSTBACK_TEST_KAFKA").unwrap();
    Admin::new(&kafka).create_topic(&format!("{id}.conversions"), 2, 1, &[]);
    newcomer.output("postback check --config postback.toml --connect");
    let _worker = newcomer.start("postback run --config postback.toml", "");
    eventually(secs(60), "the worker is ready", || http::get(admin, "/ready").is_some_and(|(s, _)| s == 200));
    newcomer.output("postback send event.json --config postback.toml");
    let ledger = || http::get(platform, "/_ledger").map(|(_, body)| body).unwrap_or_default();
    eventually(secs(30), "the platform has it", || ledger().contains("\"accepted\":true"));
    eventually(secs(30), "the worker has it", || {
        http::get(admin, "/metrics").is_some_and(|(_, m)| {
            m.lines().any(|l| l.contains("finished_total") && l.contains("\"delivered\"") && l.ends_with(" 1"))
        })
    });
    let trace = newcomer.output("postback trace order-1001-pay --config postback.toml");
    assert!(trace.contains("delivered"), "{trace}");
    newcomer.output("postback dead-letters stats --config postback.toml");
    let accounts = newcomer.output("postback accounts list --config postback.toml");
    assert!(accounts.contains("acme-ps") && accounts.contains("flowing"), "{accounts}");
    newcomer.output("postback blocked --config postback.toml");
    let reload = newcomer.left.iter().position(|l| l.contains("/api/v1/reload")).expect("the README shows a reload");
    let reload = newcomer.left.remove(reload).replace("127.0.0.1:9464", &format!("127.0.0.1:{admin}"));
    let reloaded = Command::new("sh").arg("-c").arg(&reload).output().unwrap();
    assert!(String::from_utf8_lossy(&reloaded.stdout).contains("\"changed\":[]"), "{reload}: {reloaded:?}");

    let bench = newcomer.left.iter().position(|l| l == "tests/bench/run").expect("the README shows the benchmark");
    newcomer.left.remove(bench);
    // It would run for half an hour. The test only checks that it starts and says what it does.
    let root = env!("CARGO_MANIFEST_DIR");
    let help = Command::new("tests/bench/run").arg("--help").current_dir(root).output().unwrap();
    assert!(help.status.success() && String::from_utf8_lossy(&help.stdout).contains("--quick"), "{help:?}");

    let demo = newcomer.left.iter().find(|l| l.starts_with(FIRST_COMMAND)).cloned();
    let demo = demo.expect("the README shows the demo");
    newcomer.left.retain(|l| *l != demo);
    newcomer.left.push(demo.replace(FIRST_COMMAND, "postback demo"));
    from_an_alert_to_a_replay(&mut newcomer);
    newcomer.env = vec![("POSTBACK__ADMIN__LISTEN".into(), "127.0.0.1:0".into())];
    let ledger = newcomer.output(&demo.replace(FIRST_COMMAND, "postback demo"));
    assert!(ledger.contains("balanced"), "{ledger}");
    assert_eq!(newcomer.left, Vec::<String>::new(), "commands of the README that nobody runs");
}

/// The five commands beside a running demo, in their order.
fn from_an_alert_to_a_replay(newcomer: &mut Newcomer) {
    newcomer.env = vec![("POSTBACK__ADMIN__LISTEN".into(), format!("127.0.0.1:{}", free_port()))];
    let told = newcomer.dir.path().join("demo.err");
    let mut demo = Command::new(PROGRAM);
    demo.args(["demo", "--seed", "9"]).envs(newcomer.env.clone()).stdin(Stdio::null()).stdout(Stdio::null());
    let _demo = Running(demo.stderr(std::fs::File::create(&told).unwrap()).spawn().unwrap());
    let is_over = || std::fs::read_to_string(&told).unwrap().contains("or be the operator:");
    eventually(secs(180), "the tour of the demo is over", is_over);
    let began = std::time::Instant::now();
    let stats = newcomer.output("postback dead-letters stats --account demo-360-web");
    assert!(stats.contains("rejected"), "{stats}");
    let some = newcomer.output("postback dead-letters list --account demo-360-web --reason rejected --limit 3");
    assert!(some.lines().count() >= 3, "{some}");
    let plan = newcomer.output("postback replay --account demo-360-web --reason rejected");
    assert!(plan.contains("would be sent"), "{plan}");
    let run = "postback replay --account demo-360-web --reason rejected --execute --why 'the platform is back'";
    let run = newcomer.output(run);
    assert!(run.contains("completed") && run.contains("delivered"), "{run}");
    // What was read last is not committed for a second, and a tier of the demo holds its events for ten. A second copy of
    // an event that was parked comes to that tier late, so it may still be open. The README says to ask once more.
    std::thread::sleep(secs(12));
    let mut reconcile = newcomer.command("postback reconcile --from 1h --to 10s", "");
    let mut told = String::new();
    eventually(secs(60), "every event has its end", || {
        let Output { status, stdout, stderr } = reconcile.output().unwrap();
        told = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        eprintln!("{status}: {told}");
        status.success()
    });
    assert!(told.contains("one end per event"), "{told}");
    assert!(began.elapsed() < secs(120), "{:?}", began.elapsed());
}

#[test]
fn the_image_gets_every_file_that_the_manifest_names() {
    let manifest: toml::Table = include_str!("../../Cargo.toml").parse().unwrap();
    let (docker, ignored) = (include_str!("../../deploy/Dockerfile"), include_str!("../../.dockerignore"));
    let named = ["test", "bench"].iter().filter_map(|kind| manifest.get(*kind)?.as_array()).flatten();
    let mut folders = vec!["src", "config", "deploy/runbook"];
    for target in named {
        let path = target.get("path").and_then(|p| p.as_str()).unwrap_or("tests/");
        folders.push(path.split('/').next().unwrap());
    }
    for folder in folders {
        assert!(docker.contains(&format!("COPY {folder} {folder}")), "deploy/Dockerfile does not copy {folder}");
        assert!(ignored.lines().any(|l| l == format!("!{folder}")), ".dockerignore keeps {folder} out");
    }
}

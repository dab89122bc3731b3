//! The built program: `postback run` and its other commands, as an operator has them.

use super::process::Process;
use super::{eventually, free_port, http, secs, unique};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_postback");

/// One replica of the worker.
pub struct Worker {
    pub admin_port: u16,
    pub config: PathBuf,
    process: Process,
    env: Vec<(String, String)>,
}

impl Worker {
    /// Writes the configuration (given the admin port it chose), and starts nothing yet.
    pub fn new(dir: &Path, env: Vec<(String, String)>, config: impl FnOnce(u16) -> toml::Table) -> Self {
        let admin_port = free_port();
        let name = unique("worker");
        let file = dir.join(format!("{name}.toml"));
        std::fs::write(&file, toml::to_string(&config(admin_port)).unwrap()).unwrap();
        let args = vec!["run".into(), "--config".into(), file.display().to_string()];
        let log = dir.join(format!("{name}.log"));
        let process = Process::new(PROGRAM, args, dir, &log).only_env(env.clone());
        Self { admin_port, config: file, process, env }
    }

    /// Starts and waits until it is ready.
    #[track_caller]
    pub fn start(&mut self) {
        self.launch();
        self.wait_until_ready();
    }

    /// Starts and does not wait.
    pub fn launch(&mut self) {
        self.process.spawn();
    }

    #[track_caller]
    pub fn wait_until_ready(&mut self) {
        eventually(secs(60), "the worker is ready", || {
            assert!(self.process.alive(), "the worker ended: {}", self.process.log_tail(15));
            self.ready()
        });
    }

    pub fn ready(&self) -> bool {
        http::get(self.admin_port, "/ready").is_some_and(|(status, _)| status == 200)
    }

    pub fn live(&self) -> bool {
        http::get(self.admin_port, "/live").is_some_and(|(status, _)| status == 200)
    }

    pub fn alive(&mut self) -> bool {
        self.process.alive()
    }

    pub fn launches(&self) -> usize {
        self.process.launches
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    pub fn freeze(&mut self) {
        self.process.freeze();
    }

    pub fn thaw(&mut self) {
        self.process.thaw();
    }

    pub fn terminate(&mut self) {
        self.process.signal(libc::SIGTERM);
    }

    /// SIGHUP.
    pub fn hang_up(&mut self) {
        self.process.signal(libc::SIGHUP);
    }

    /// The exit status, where it has ended in time.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        self.process.wait(patience)
    }

    /// SIGTERM, and it has to end by itself with 0.
    #[track_caller]
    pub fn stop(&mut self) {
        self.terminate();
        let status = self.wait(secs(40)).expect("the worker did not stop within 40 s of SIGTERM");
        assert_eq!(status.code(), Some(0), "exit status after SIGTERM: {}", self.process.log_tail(15));
    }

    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Resident memory in MiB.
    pub fn memory_mib(&self) -> u64 {
        let Some(pid) = self.process.pid() else { return 0 };
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find(|l| l.starts_with("VmRSS")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|s| s.parse::<u64>().ok()).unwrap_or(0) / 1024
    }

    pub fn metrics(&self) -> Metrics {
        http::get(self.admin_port, "/metrics").map(|(_, text)| Metrics::parse(&text)).unwrap_or_default()
    }

    /// Runs another command of the program with this worker's configuration.
    pub fn command(&self, args: &[&str]) -> Output {
        self.piped(args, b"")
    }

    /// The same with something on its standard input.
    pub fn piped(&self, args: &[&str], input: &[u8]) -> Output {
        let mut command = Command::new(PROGRAM);
        command.args(args).arg("--config").arg(&self.config);
        self.finish(command, input, &format!("postback {args:?}"))
    }

    /// Runs a line in a shell, `postback` before it and the configuration in the environment of the words.
    pub fn shell(&self, line: &str) -> Output {
        let (command, rest) = line.split_once('|').unwrap();
        let line = format!("set -o pipefail; '{PROGRAM}' {command} --config '{}' | {rest}", self.config.display());
        let mut shell = Command::new("bash");
        shell.args(["-c", &line]);
        self.finish(shell, b"", &line)
    }

    /// Runs a line in a shell as it is, in a folder whose `bin` comes first in the path.
    pub fn sh(&self, folder: &Path, line: &str) -> Output {
        let path = format!("{}:{}", folder.join("bin").display(), std::env::var("PATH").unwrap());
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(folder).env("PATH", path);
        self.finish(shell, b"", line)
    }

    /// The strict fakes of this worker's platforms.
    pub fn sandbox(&self, port: u16) -> Process {
        let args =
            ["sandbox", "--config", &self.config.display().to_string(), "--listen", &format!("127.0.0.1:{port}")];
        let log = self.config.with_extension("sandbox.log");
        let dir = self.config.parent().unwrap();
        Process::new(PROGRAM, args.map(str::to_owned).to_vec(), dir, &log).only_env(self.env.clone())
    }

    fn finish(&self, mut command: Command, input: &[u8], what: &str) -> Output {
        let out = self.config.with_extension(unique("out"));
        let err = out.with_extension("err");
        let given = out.with_extension("in");
        std::fs::write(&given, input).unwrap();
        let mut child = command
            .envs(self.env.iter().map(|(k, v)| (k, v)))
            .stdin(File::open(&given).unwrap())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap())
            .spawn()
            .unwrap();
        let mut status = None;
        eventually(secs(60), &format!("{what} ends"), || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        Output {
            code: status.and_then(|s| s.code()),
            stdout: std::fs::read_to_string(out).unwrap(),
            stderr: std::fs::read_to_string(err).unwrap(),
        }
    }

    /// Runs a command that must succeed.
    #[track_caller]
    pub fn must(&self, args: &[&str]) -> String {
        let output = self.command(args);
        assert_eq!(output.code, Some(0), "postback {args:?}: {}{}", output.stdout, output.stderr);
        output.stdout
    }

    /// The state of a lane as its gauge says: the one label value that is 1.
    pub fn lane_state(&self, account: &str) -> String {
        let metrics = self.metrics();
        let all = metrics.series.iter().filter(|s| s.name == "postback_lane_state" && s.value > 0.5);
        let found = all.filter(|s| s.label("account") == Some(account)).find_map(|s| s.label("state"));
        found.unwrap_or_default().to_owned()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the end of {}:\n{}", self.config.display(), self.process.log_tail(40));
        }
    }
}

/// What a command printed.
pub struct Output {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// One scrape.
#[derive(Default)]
pub struct Metrics {
    pub series: Vec<Series>,
}

pub struct Series {
    pub name: String,
    pub labels: Vec<(String, String)>,
    pub value: f64,
}

impl Series {
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

impl Metrics {
    pub fn parse(text: &str) -> Self {
        let mut series = Vec::new();
        for line in text.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty()) {
            let Some((head, value)) = line.rsplit_once(' ') else { continue };
            let (name, rest) = head.split_once('{').unwrap_or((head, ""));
            let mut labels = Vec::new();
            for pair in rest.trim_end_matches('}').split("\",") {
                if let Some((k, v)) = pair.split_once("=\"") {
                    labels.push((k.trim_matches([',', ' ']).to_owned(), v.trim_end_matches('"').to_owned()));
                }
            }
            if let Ok(value) = value.parse() {
                series.push(Series { name: name.trim().to_owned(), labels, value });
            }
        }
        Self { series }
    }

    /// The sum of all series of that name (without `postback_`) with these labels.
    pub fn total(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let wanted = |s: &&Series| {
            s.name.strip_prefix("postback_") == Some(name) && labels.iter().all(|(k, v)| s.label(k) == Some(v))
        };
        self.series.iter().filter(wanted).map(|s| s.value).sum()
    }
}

#[test]
fn an_exposition_is_read_with_its_labels() {
    let text = "# TYPE postback_a_total counter\npostback_a_total{x=\"1\",y=\"two, {2}\"} 3\npostback_a_total{x=\"2\",y=\"z\"} 4\npostback_b 0.5\n";
    let metrics = Metrics::parse(text);
    assert_eq!(metrics.total("a_total", &[]), 7.0);
    assert_eq!(metrics.total("a_total", &[("y", "two, {2}")]), 3.0);
    assert_eq!(metrics.total("b", &[]), 0.5);
}

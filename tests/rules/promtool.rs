//! Runs promtool and amtool.

use std::collections::VecDeque;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use super::files::{Rules, read};

/// The answer of a program.
pub struct Answer {
    pub is_good: bool,
    pub text: String,
}

/// Runs one of Debian's programs in this folder.
pub fn run(program: &str, package: &str, args: &[&str], dir: &Path) -> Answer {
    // One thread each, because one runs on every core, and little care for memory, because none runs for long.
    let mut command = Command::new(program);
    command.args(args).current_dir(dir).env("GOMAXPROCS", "1").env("GOGC", "400");
    let output = command.output();
    let output = output.unwrap_or_else(|error| {
        panic!("cannot run {program}: {error}. It comes with Debian's package {package}: apt-get install {package}")
    });
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    Answer { is_good: output.status.success(), text }
}

pub fn promtool(args: &[&str], dir: &Path) -> Answer {
    run("promtool", "prometheus", args, dir)
}

pub fn amtool(args: &[&str], dir: &Path) -> Answer {
    run("amtool", "prometheus-alertmanager", args, dir)
}

/// Runs the unit tests of these alerts against these rules, one after another, and returns what the first one says that
/// fails. `None`: all pass.
pub fn first_failure(rules: &Rules, alerts: &[&str]) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| std::fs::write(dir.path().join(name), text).unwrap();
    write("recording.yml", serde_json::to_string(&rules.recording).unwrap());
    write("alerts.yml", serde_json::to_string(&rules.alerts).unwrap());
    alerts.iter().flat_map(|alert| cases(alert)).find_map(|case| {
        write("tests.yml", case);
        let answer = promtool(&["test", "rules", "tests.yml"], dir.path());
        (!answer.is_good).then_some(answer.text)
    })
}

/// Each unit test of an alert as a file of its own: most faults show in the first ones.
fn cases(alert: &str) -> Vec<String> {
    let file: serde_json::Value =
        serde_yaml_ng::from_str(&read(&format!("deploy/prometheus/tests/{alert}.yml"))).unwrap();
    let alone = |case: &serde_json::Value| {
        let mut one = file.clone();
        one["rule_files"] = serde_json::json!(["recording.yml", "alerts.yml"]);
        one["tests"] = serde_json::json!([case]);
        one.to_string()
    };
    file["tests"].as_array().unwrap().iter().map(alone).collect()
}

/// Does the same work with each of these, on all cores, and returns what came of them.
pub fn of_each<T: Send, R: Send>(all: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let left = Mutex::new(VecDeque::from(all));
    let done = Mutex::new(Vec::new());
    let next = || left.lock().unwrap().pop_front();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, std::num::NonZero::get) {
            scope.spawn(|| {
                while let Some(one) = next() {
                    let result = work(one);
                    done.lock().unwrap().push(result);
                }
            });
        }
    });
    done.into_inner().unwrap()
}

//! The configuration: compiled-in defaults, one file over them, the environment over both; checked as a whole.
//!
//! Everything that is wrong is reported at once, each with its place, key and reason, before any connection opens. No
//! secret is ever part of a report: values that came from outside the file are not shown at all.
//!
//! Settings are read from a tree of our own and not by deserialisation, because that stops at the first problem and
//! forgets lines. Only the keys of a platform are deserialised, each on its own.

mod accounts;
mod admin_telemetry;
mod base_url;
mod credentials;
mod platform;
mod properties;
mod rules;
mod sections;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::account::{Accounts, Dedupe, Intake, Retry, WhenUnavailable};
use crate::kafka;
use crate::platforms::Credential;
use crate::redis;

pub use crate::config::overlay::environment;
pub use crate::config::problem::{Place, Problem, Problems};
pub use admin_telemetry::{AdminConfig, Format, TelemetryConfig};

use crate::config::problem::Report;
use crate::config::section::Section;
use crate::config::{overlay, tree};

/// The compiled-in configuration: every key, its default and the reason for it.
pub const DEFAULT: &str = include_str!("../config/default.toml");

/// What a run without a file is given over the defaults: the demo's accounts, and parts inside the process.
pub const DEMO: &str = include_str!("../config/demo.toml");

/// Where the demo's accounts lead until the address of the sandbox in the process is known.
pub const DEMO_URL: &str = "http://127.0.0.1:9470";

/// librdkafka's own default of `session.timeout.ms`.
const SESSION_TIMEOUT: Duration = Duration::from_millis(45_000);

/// Everything the worker was told.
pub struct Config {
    /// `[kafka]`.
    pub kafka: kafka::Config,
    /// `[redis]`.
    pub redis: redis::Config,
    /// `[dedupe]`.
    pub dedupe: Dedupe,
    /// `[retry]`; accounts hold their own copy.
    pub retry: Retry,
    /// `[intake]`.
    pub intake: Intake,
    /// `[admin]`.
    pub admin: AdminConfig,
    /// `[telemetry]`.
    pub telemetry: TelemetryConfig,
    /// `[accounts.NAME]`, with `[limits]`, `[retry]` and `[validate]` applied.
    pub accounts: Accounts,
}

/// A configuration that can be used, and what was noticed on the way.
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is doubtful, but refuses nothing.
    pub warnings: Vec<Problem>,
}

impl Config {
    /// Loads and checks a configuration: the defaults, `file` over them (without one what the demo has, [`DEMO`]), `env`
    /// over both.
    ///
    /// # Errors
    /// Every problem there is.
    pub fn load(file: Option<&Path>, env: impl IntoIterator<Item = (String, String)>) -> Result<Loaded, Problems> {
        let env: BTreeMap<String, String> = env.into_iter().collect();
        let report = Report::new(file.map(overlay::shown));
        let Some(defaults) = defaults(&report) else { return Err(report.finish()) };
        let mut tree = defaults.clone();
        let (name, text) = match file {
            Some(path) => (overlay::shown(path), std::fs::read_to_string(path)),
            None => ("demo.toml (built in)".into(), Ok(DEMO.to_owned())),
        };
        let text = match text {
            Ok(text) => text,
            Err(error) => {
                report.problem(&Place::File(name, 0), "", format!("cannot be read: {error}"));
                return Err(report.finish());
            }
        };
        match parse(&name, &text) {
            Ok(over) => tree::merge(&mut tree, over),
            Err(problem) => {
                report.problem(&problem.place, "", problem.reason);
                return Err(report.finish());
            }
        }
        overlay::lay(&mut tree, &env, &report);
        let folder = file.and_then(Path::parent).unwrap_or(Path::new(""));
        overlay::fill(&mut tree, "", &overlay::Sources { env: &env, folder }, &report);

        let config = assemble(&Section::root(&tree, &defaults, &report));
        let found = report.finish();
        if found.problems.is_empty() { Ok(Loaded { config, warnings: found.warnings }) } else { Err(found) }
    }

    /// Whether broker and store are to be inside the process: both or neither.
    pub fn is_embedded(&self) -> bool {
        self.kafka.embedded
    }

    /// Accounts that would halt at their first event, because none of their credentials holds at `now_ms`.
    pub fn without_credential(&self, now_ms: i64) -> Vec<Problem> {
        let mut found = Vec::new();
        for account in self.accounts.values().filter(|a| a.enabled && !a.credentials.is_empty()) {
            if Credential::in_force(&account.credentials, now_ms).is_none() {
                let key = format!("accounts.{}.secrets", account.name);
                let reason = "holds none that is valid now (not_before, not_after): the account would halt".to_owned();
                found.push(Problem { place: Place::Default, key, reason });
            }
        }
        found
    }
}

fn session_timeout(kafka: &kafka::Config) -> Duration {
    let stated = kafka.properties.get("session.timeout.ms").and_then(|ms| ms.parse().ok());
    stated.map_or(SESSION_TIMEOUT, Duration::from_millis)
}

fn parse(name: &Arc<str>, text: &str) -> Result<tree::Table, Problem> {
    let mut table = tree::parse(name, text)?;
    if let Some(tree::Node { value: tree::Value::Table(kafka), .. }) = table.get_mut("kafka") {
        properties::flatten(kafka);
    }
    Ok(table)
}

fn defaults(report: &Report) -> Option<tree::Table> {
    match parse(&"default.toml".into(), DEFAULT) {
        Ok(mut table) => {
            tree::forget_places(&mut table);
            Some(table)
        }
        Err(problem) => {
            report.problem(&problem.place, "", problem.reason);
            None
        }
    }
}

/// Reads every section in the order of the contract, then judges them together.
fn assemble(root: &Section<'_>) -> Config {
    let kafka_section = root.default_section("kafka");
    let kafka = sections::kafka(&kafka_section);
    let redis_section = root.default_section("redis");
    let redis = sections::redis(&redis_section);
    let dedupe_section = root.default_section("dedupe");
    let dedupe = sections::dedupe(&dedupe_section);
    let retry = sections::retry(&root.default_section("retry"), None);
    let limits = sections::limits(&root.default_section("limits"), None);
    let validate = sections::validate(&root.default_section("validate"));
    let intake_section = root.default_section("intake");
    let intake = sections::intake(&intake_section);
    let admin = admin_telemetry::admin(&root.default_section("admin"));
    let telemetry = admin_telemetry::telemetry(&root.default_section("telemetry"));

    let when_unavailable: WhenUnavailable = dedupe.when_unavailable;
    let base = accounts::Base { limits: &limits, retry: &retry, validate: &validate, when_unavailable };
    let accounts_section = root.section("accounts");
    let drafts = accounts_section.as_ref().map(|section| accounts::read(section, &base)).unwrap_or_default();
    if drafts.is_empty() && !root.report.blames("accounts") {
        root.problem("accounts", "holds no account: there is nothing to deliver to; add a block [accounts.NAME]");
    }
    root.finish();

    rules::lease(&dedupe_section, &dedupe, &drafts, session_timeout(&kafka));
    rules::window(&dedupe_section, &dedupe, &retry, &drafts);
    rules::drain(&intake_section, &intake, &drafts);
    rules::embedded(&kafka_section, &redis_section, accounts_section.as_ref(), (&kafka, &redis), &drafts);
    let tiers: Vec<String> = retry.tiers.iter().map(|tier| tier.name.clone()).collect();
    rules::topics(&kafka_section, &kafka, &tiers, &drafts);
    if let Some(section) = &accounts_section {
        rules::buckets(section, &drafts);
        rules::credentials(section, &drafts);
    }
    let accounts: Accounts =
        drafts.into_iter().filter_map(|d| d.account).map(|a| (a.name.clone(), Arc::new(a))).collect();
    if !accounts.is_empty() && accounts.values().all(|a| !a.enabled) {
        root.warn("accounts", "every account has enabled = false: all events will be dead letters (unknown_account)");
    }
    Config { kafka, redis, dedupe, retry, intake, admin, telemetry, accounts }
}

//! The configuration: compiled-in defaults, one file over them, the environment over both; checked as a whole.
//!
//! Everything that is wrong is reported at once, each with its place, key and reason, before any connection opens. No
//! secret is ever part of a report: values that came from outside the file are not shown at all.
//!
//! Each module has its section as a plain struct, which says what a key may hold; here stand the root, and the rules that
//! look at several keys or at all accounts.

mod accounts;
mod base_url;
mod credentials;
mod lease;
mod proxy;
mod root;
mod rules;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use crate::account::{Account, Accounts, Dedupe, Intake, Retry};
use crate::admin::Config as AdminConfig;
use crate::config::layers::{Layers, Settings, shown};
use crate::config::problem::Report;
use crate::platforms::Credential;
use crate::{kafka, redis, telemetry};
use root::Root;

pub use crate::config::overlay::environment;
pub use crate::config::problem::{Place, Problem, Problems};

/// The compiled-in configuration: every key, its default and the reason for it.
pub const DEFAULT: &str = include_str!("../config/default.toml");

/// What a run without a file is given over the defaults: the demo's accounts, and parts inside the process.
pub const DEMO: &str = include_str!("../config/demo.toml");

/// Where the demo's accounts lead until the address of the sandbox in the process is known.
pub const DEMO_URL: &str = "http://127.0.0.1:9470";

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
    pub telemetry: telemetry::Config,
    /// `[accounts.NAME]`, with `[limits]`, `[retry]` and `[validate]` applied.
    pub accounts: Accounts,
}

/// A configuration that can be used, and what was noticed on the way.
pub struct Loaded {
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
        let report = Report::new(file.map(shown));
        let layers = Layers {
            defaults: ("default.toml", DEFAULT),
            file,
            no_file: ("demo.toml (built in)", DEMO),
            env: &env.into_iter().collect(),
        };
        let config = Settings::load(&layers, &report).and_then(|mut settings| assemble(&mut settings));
        let found = report.finish();
        match config {
            Some(config) if found.problems.is_empty() => Ok(Loaded { config, warnings: found.warnings }),
            _ => Err(found),
        }
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

    /// `redis.token_key`, where it is needed and not stated: what a platform issues is kept in Redis, and never as it is.
    /// Embedded parts end with their tokens, and what sends nothing needs none.
    pub fn without_token_key(&self) -> Option<Problem> {
        if self.is_embedded() || !self.redis.token_key.expose().is_empty() {
            return None;
        }
        let rotates = |a: &&Arc<Account>| a.sender.tokens().is_some_and(|(_, seed)| seed.rotates());
        let account = self.accounts.values().find(rotates)?;
        let reason = format!(
            "is empty, but the tokens of account {} rotate and are kept in Redis; state 32 random bytes in base64 from the \
             environment, e.g. POSTBACK__REDIS__TOKEN_KEY=\"$(openssl rand -base64 32)\", the same for all replicas, and \
             keep it",
            account.name
        );
        Some(Problem { place: Place::Default, key: "redis.token_key".into(), reason })
    }
}

/// Reads every section, then every account over them, then judges them together.
fn assemble(settings: &mut Settings<'_>) -> Option<Config> {
    let mut root: Root = settings.read("accounts")?;
    root.kafka.embedded = root.kafka.brokers == kafka::EMBEDDED;
    let drafts = accounts::read(settings, &root);
    rules::judge(settings, &root, &drafts);
    let accounts: Accounts =
        drafts.into_iter().filter_map(|d| d.account).map(|a| (a.name.clone(), Arc::new(a))).collect();
    if !accounts.is_empty() && accounts.values().all(|a| !a.enabled) {
        settings
            .warn("accounts", "every account has enabled = false: all events will be dead letters (unknown_account)");
    }
    let Root { kafka, redis, dedupe, retry, intake, admin, telemetry, .. } = root;
    Some(Config { kafka, redis, dedupe, retry, intake, admin, telemetry, accounts })
}

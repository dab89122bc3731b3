//! The configuration: the compiled-in defaults, then one file, then the environment. Later ones override earlier ones.
//! The result is checked as a whole.
//!
//! Every problem is reported at once, each with its place, key and reason, before any connection opens. A report never
//! contains a secret: it shows no value that came from outside the file.
//!
//! Each module defines its section as a plain struct, which says what its keys may hold. This module holds the root and
//! the rules that look at several keys or at all accounts.

mod accounts;
mod admin;
mod base_url;
mod buckets;
mod credentials;
mod lease;
mod platform_files;
mod proxy;
mod reload;
mod root;
mod rules;
#[cfg(test)]
mod tests;
mod written;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::account::roster::Roster;
use crate::account::{Account, Accounts, Dedupe, Intake, Retry};
use crate::config::layers::{Layers, Settings, shown};
use crate::config::problem::Report;
use crate::config::tree::Table;
use crate::platforms::Credential;
use crate::platforms::list::Platforms;
use crate::platforms::tokens::Seed;
use crate::{kafka, redis, telemetry};
pub use admin::Admin;
use root::Root;
use written::Written;

pub use crate::config::overlay::environment;
pub use crate::config::problem::{Place, Problem, Problems};
pub use reload::Reloaded;
pub use written::{Changed, Difference};

/// The compiled-in configuration: every key, its default and the reason for it.
pub const DEFAULT: &str = include_str!("../config/default.toml");

/// What a run without a file adds to the defaults: the demo's accounts, and a broker and a store inside the process.
pub const DEMO: &str = include_str!("../config/demo.toml");

/// The base URL of the demo's accounts until the address of the sandbox in the process is known.
pub const DEMO_URL: &str = "http://127.0.0.1:9470";

/// The whole configuration.
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
    pub admin: Admin,
    /// `[telemetry]`.
    pub telemetry: telemetry::Config,
    /// `[accounts.NAME]`, with `[limits]`, `[retry]` and `[validate]` applied.
    pub accounts: Accounts,
    /// What accounts can be of: the program's platforms, and those of `platform_files`.
    pub platforms: Platforms,
    /// The tree that this was read from.
    written: Written,
    source: Source,
}

/// Where a configuration was read.
#[derive(Clone, Default)]
struct Source {
    file: Option<PathBuf>,
    env: BTreeMap<String, String>,
}

/// The configuration in force. A reload replaces it as a whole.
pub type LiveConfig = Arc<ArcSwap<Config>>;

/// A configuration that can be used, and its warnings.
pub struct Loaded {
    pub config: Config,
    /// What is doubtful, but no reason to refuse the start.
    pub warnings: Vec<Problem>,
}

impl Config {
    /// Loads and checks a configuration: the defaults, `file` over them (without a file the demo's, [`DEMO`]), `env`
    /// over both.
    ///
    /// # Errors
    /// All problems.
    pub fn load(file: Option<&Path>, env: impl IntoIterator<Item = (String, String)>) -> Result<Loaded, Problems> {
        let source = Source { file: file.map(Path::to_owned), env: env.into_iter().collect() };
        Self::read(&source, &Platforms::default(), |_| None)
    }

    /// Reads a source. `edit` may put another tree in the place of what was read.
    fn read(
        source: &Source,
        known: &Platforms,
        edit: impl FnOnce(&Written) -> Option<Table>,
    ) -> Result<Loaded, Problems> {
        let file = source.file.as_deref();
        let report = Report::new(file.map(shown));
        let layers = Layers {
            defaults: ("default.toml", DEFAULT),
            file,
            no_file: ("demo.toml (built in)", DEMO),
            env: &source.env,
        };
        let config = Settings::load(&layers, &report).and_then(|mut settings| {
            let mut written = Written::new(settings.tree().cloned().unwrap_or_default());
            if let Some(tree) = edit(&written) {
                written = Written::new(tree.clone());
                settings.set_tree(tree);
            }
            assemble(&mut settings, known, (written, source.clone()))
        });
        let found = report.finish();
        match config {
            Some(config) if found.problems.is_empty() => Ok(Loaded { config, warnings: found.warnings }),
            _ => Err(found),
        }
    }

    /// The accounts and platforms, with the first indices of their lanes.
    pub fn roster(&self) -> Roster {
        Roster::new(self.accounts.values().cloned()).knowing(self.platforms.clone())
    }

    /// Shares it with those who see what a reload changes.
    pub fn live(self) -> LiveConfig {
        Arc::new(ArcSwap::from_pointee(self))
    }

    /// Whether broker and store run inside the process. Either both do or neither.
    pub fn is_embedded(&self) -> bool {
        self.kafka.embedded
    }

    /// The accounts that would halt at their first event, because none of their credentials is valid at `now_ms`, or
    /// because they send with a token and none is stated.
    pub fn without_credential(&self, now_ms: i64) -> Vec<Problem> {
        let mut found = Vec::new();
        let no_token = |account: &&Arc<Account>| account.tokens().is_some_and(|(_, seed)| seed == Seed::default());
        for account in self.accounts.values().filter(|a| a.enabled).filter(no_token) {
            let key = format!("accounts.{}.token", account.name);
            let reason = "is missing: the account would halt; state access and refresh, or auth_code".to_owned();
            found.push(Problem { place: Place::Default, key, reason });
        }
        for account in self.accounts.values().filter(|a| a.enabled && !a.credentials.is_empty()) {
            if Credential::in_force(&account.credentials, now_ms).is_none() {
                let key = format!("accounts.{}.secrets", account.name);
                let reason = "holds none that is valid now (not_before, not_after): the account would halt".to_owned();
                found.push(Problem { place: Place::Default, key, reason });
            }
        }
        found
    }

    /// The problem of a missing `redis.token_key`, if one is needed: the tokens that a platform issues are kept in
    /// Redis, and only encrypted. The embedded store loses its tokens with the process, and a configuration that sends
    /// nothing has none, so these need no key.
    pub fn without_token_key(&self) -> Option<Problem> {
        if self.is_embedded() || !self.redis.token_key.expose().is_empty() {
            return None;
        }
        let rotates = |a: &&Arc<Account>| a.tokens().is_some_and(|(_, seed)| seed.rotates());
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

/// Reads every section, then every account with the sections as its defaults, then judges all of them together.
fn assemble(settings: &mut Settings<'_>, known: &Platforms, (written, source): (Written, Source)) -> Option<Config> {
    let mut root: Root = settings.read("accounts")?;
    root.kafka.embedded = root.kafka.brokers == kafka::EMBEDDED;
    let files = platform_files::read(settings, &root.platform_files, known);
    let drafts = accounts::read(settings, &root, &files);
    rules::judge(settings, &root, &drafts);
    let accounts: Accounts =
        drafts.into_iter().filter_map(|d| d.account).map(|a| (a.name.clone(), Arc::new(a))).collect();
    if !accounts.is_empty() && accounts.values().all(|a| !a.enabled) {
        settings
            .warn("accounts", "every account has enabled = false: all events will be dead letters (unknown_account)");
    }
    let Root { kafka, redis, dedupe, retry, intake, admin, telemetry, .. } = root;
    let platforms = files.platforms;
    Some(Config { kafka, redis, dedupe, retry, intake, admin, telemetry, accounts, platforms, written, source })
}

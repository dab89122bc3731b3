//! Reads the configuration again while the worker runs. The new one is judged as a whole, by every rule of a start,
//! before anything of it takes effect.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::written::{Changed, Difference, difference};
use super::{Config, Problem, Problems};
use crate::account::Account;
use crate::platforms::Platform as _;
use crate::platforms::list::Platforms;

/// A configuration that may take the place of the running one.
pub struct Reloaded {
    /// An account that has not changed is the same `Arc` as before.
    pub config: Config,
    pub difference: Difference,
    /// What is doubtful, but no reason to refuse.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads the file again. Whatever takes effect at a restart only stays as it is.
    ///
    /// # Errors
    /// Every problem. Nothing of the new configuration may be used then.
    pub fn reload(&self, now_ms: i64) -> Result<Reloaded, Problems> {
        let stated = Self::read(&self.source, &self.platforms, |_| None)?;
        let all = [&self.platforms, &stated.config.platforms];
        let mut difference = difference(&self.written, &stated.config.written, all);
        difference.taken.extend(changed_files(&self.platforms, &stated.config.platforms));
        let mut warnings: Vec<String> = stated.warnings.iter().map(ToString::to_string).collect();
        let known = stated.config.platforms.clone();
        let fixed = |written: &super::Written| Some(written.with_fixed_of(&self.written));
        let mut config = match difference.at_restart.is_empty() {
            true => stated.config,
            // What is taken has to fit to what stays, not to what the file says of it.
            false => Self::read(&self.source, &known, fixed)?.config,
        };
        self.keep_unchanged(&mut config, &difference);
        let problems = self.refusals(&config, now_ms);
        if !problems.is_empty() {
            return Err(Problems { problems, warnings: stated.warnings });
        }
        warnings.extend(self.doubts(&config));
        // The addresses of embedded parts are known since the start, and nothing else of these is taken.
        (config.kafka, config.redis) = (self.kafka.clone(), self.redis.clone());
        Ok(Reloaded { config, difference, warnings })
    }

    /// Puts the running account in the place of each new one that does not differ from it.
    fn keep_unchanged(&self, config: &mut Config, difference: &Difference) {
        let is_shared = |changed: &Changed| changed.key.starts_with("limits.");
        if difference.taken.iter().any(is_shared) {
            return;
        }
        let of = |changed: &Changed| Some(changed.key.strip_prefix("accounts.")?.split('.').next()?.to_owned());
        let changed: BTreeSet<String> = difference.taken.iter().filter_map(of).collect();
        for (name, account) in &mut config.accounts {
            let same_platform = same(&self.platforms, &config.platforms, account.platform);
            if let Some(running) = self.accounts.get(name)
                && same_platform
                && !changed.contains(&**name)
            {
                *account = running.clone();
            }
        }
    }

    /// What a start would refuse, what would halt an account, and what cannot be changed while the worker runs.
    fn refusals(&self, config: &Config, now_ms: i64) -> Vec<Problem> {
        let at = |key: String, reason: String| Problem { place: config.written.place(&key), key, reason };
        let mut found: Vec<Problem> = config.without_token_key().into_iter().collect();
        for problem in config.without_credential(now_ms) {
            let name = problem.key.split('.').nth(1).unwrap_or_default();
            // An account that was so before is no reason to refuse the change of another one.
            let is_new =
                !self.accounts.get(name).zip(config.accounts.get(name)).is_some_and(|(old, new)| Arc::ptr_eq(old, new));
            if is_new {
                found.push(at(problem.key, problem.reason));
            }
        }
        for (name, account) in &config.accounts {
            match self.accounts.get(name) {
                None if self.is_embedded() => found.push(at(
                    format!("accounts.{name}"),
                    "is new: the embedded broker makes its topics when it starts, so restart the worker".to_owned(),
                )),
                Some(running) if running.platform != account.platform => found.push(at(
                    format!("accounts.{name}.platform"),
                    format!(
                        "was {} and cannot change while the worker runs: give the account another name, or restart",
                        running.platform
                    ),
                )),
                _ => {}
            }
        }
        for platform in config.platforms.own().filter(|own| !same(&self.platforms, &config.platforms, own.name())) {
            for outcome in platform.examples().into_iter().filter(|outcome| !outcome.problems.is_empty()) {
                let reason = format!("{} example {}: {}", platform.name(), outcome.number, outcome.problems.join("; "));
                found.push(at("platform_files".to_owned(), reason));
            }
        }
        found
    }

    /// What changes without being wrong, and is easily overlooked.
    fn doubts(&self, config: &Config) -> Vec<String> {
        let natives = |account: &Account| account.natives().into_iter().collect::<BTreeSet<_>>();
        let mut doubts = Vec::new();
        for (name, account) in &config.accounts {
            let Some(running) = self.accounts.get(name).filter(|running| !Arc::ptr_eq(running, account)) else {
                continue;
            };
            let maps = |config: &Config| config.written.below(&format!("accounts.{name}.map"));
            if maps(self) != maps(config) || natives(running) != natives(account) {
                doubts.push(format!(
                    "accounts.{name}.map: other codes are other keys of deduplication: an event that was sent under its \
                     old code and comes again is sent again under the new one"
                ));
            }
        }
        let timeouts = |config: &Config| {
            config.accounts.values().flat_map(|account| [account.limits.timeout, account.call_limits.timeout]).max()
        };
        if timeouts(config) > timeouts(self) {
            doubts.push(
                "limits.timeout: is longer now; until a restart a rebalance waits no longer than before for requests under \
                 way (what they come to is kept all the same)"
                    .to_owned(),
            );
        }
        let keeps = |account: &&Arc<Account>| !config.accounts.contains_key(&account.name);
        for account in self.accounts.values().filter(keeps) {
            doubts.push(format!(
                "accounts.{}: is removed: what is open of it is still sent; what comes later or is parked becomes a dead \
                 letter, unknown_account",
                account.name
            ));
        }
        doubts
    }
}

/// Whether a platform is the same in both.
fn same(old: &Platforms, new: &Platforms, name: &str) -> bool {
    let own = |platforms: &Platforms| platforms.own().find(|platform| platform.name() == name).map(Arc::as_ptr);
    own(old) == own(new)
}

/// The platforms whose files have changed, though the list of files has not.
fn changed_files(old: &Platforms, new: &Platforms) -> Vec<Changed> {
    let changed =
        new.own().filter(|own| old.own().any(|other| other.name() == own.name()) && !same(old, new, own.name()));
    let shown = |name: &str| Changed { key: format!("platform_files ({name})"), what: "the file changed".to_owned() };
    changed.map(|platform| shown(platform.name())).collect()
}

#[cfg(test)]
mod tests;

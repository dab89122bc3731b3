//! `postback run`: the worker.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args as ClapArgs;

use crate::app::{self, local_sandbox};
use crate::cli::embedded::{self, Places};
use crate::clock::now_ms;
use crate::demo::generator::PROFILES;
use crate::demo::settings::zone;
use crate::exit::{self, Exit};
use crate::settings::{Config, environment};
use crate::telemetry;

/// Runs the worker: reads events from Kafka and delivers them.
#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  postback run --config postback.toml
  POSTBACK__TELEMETRY__LOG=debug postback run --config postback.toml
  postback run                               nothing to install: broker, store and platforms inside the process

SIGTERM and SIGINT finish what is under way (intake.drain_timeout) and hand the rest back; a second one exits at once
with 130. `postback check` says beforehand what would refuse the start.

Exit code: 0 stopped by a signal, 1 a part died, 2 the configuration or the start was refused.")]
pub struct Args {
    /// Configuration file, laid over the built-in defaults; without one the demo's accounts, played by a sandbox.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// As `postback run --help` says.
pub fn run(args: &Args) -> Result<(), Exit> {
    let config = match &args.config {
        Some(file) => super::load(Some(file))?,
        None => alone(environment().collect(), now_ms())?,
    };
    telemetry::init(&config.telemetry.log, config.telemetry.format).map_err(Exit::usage)?;
    if let Some(problem) = config.without_token_key() {
        return Err(Exit::usage(problem.to_string()));
    }
    let halting = Config::without_credential(&config, chrono::Utc::now().timestamp_millis());
    for problem in halting {
        tracing::error!("{problem}");
    }
    exit::block_on(worker(config, args.config.is_none()))
}

/// Loads the demo's accounts. Unless the environment sets it, the natural day gets a zone whose midnight is hours away.
fn alone(mut env: BTreeMap<String, String>, now_ms: i64) -> Result<Config, Exit> {
    for profile in PROFILES.iter().filter(|profile| profile.has_natural_day()) {
        let account = profile.account.to_uppercase().replace('-', "_");
        env.entry(format!("POSTBACK__ACCOUNTS__{account}__NATURAL_DAY__TZ"))
            .or_insert_with(|| zone(now_ms).to_string());
    }
    let config = super::load_with(None, env)?;
    embedded::refusal(&config).map_or(Ok(config), |text| Err(Exit::usage(text)))
}

/// Runs the worker. Parts that the configuration calls `embedded` run inside the process.
async fn worker(mut config: Config, demo: bool) -> Result<(), Exit> {
    let stop = app::stop_signal()?;
    let sandbox = if demo { local_sandbox::platforms(&mut config).await? } else { None };
    let parts = app::embed(&mut config)?;
    let places = parts.as_ref().map(|_| Places::of(&config, sandbox.as_ref()));
    let listening = |admin| {
        if let Some(places) = places {
            eprint!("{}", places.banner(admin));
        }
    };
    let result = app::run(config, stop, listening).await;
    // Broker, store and platforms have to live longer than the drain.
    drop((parts, sandbox));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// Half an hour before midnight in Shanghai.
    const LATE: i64 = 1_767_225_600_000 - 8 * 3_600_000 - 1_800_000;

    #[test]
    fn without_a_file_no_natural_day_is_about_to_end_unless_the_environment_says_so() {
        let stated = ("POSTBACK__ACCOUNTS__DEMO_360_ZS__NATURAL_DAY__TZ", "Asia/Shanghai");
        let config = alone(env(&[stated]), LATE).unwrap_or_else(|e| panic!("{}", e.text));
        let mut days = 0;
        for account in config.accounts.values() {
            let Some(day) = account.natural_day() else { continue };
            let own = if &*account.name == "demo-360-zs" { chrono_tz::Asia::Shanghai } else { zone(LATE) };
            assert_eq!(day.tz, own, "{}", account.name);
            days += 1;
        }
        assert!(days == 4 && zone(LATE) != chrono_tz::Asia::Shanghai);
    }

    #[test]
    fn without_a_file_a_real_kafka_is_refused() {
        let real = [("POSTBACK__KAFKA__BROKERS", "127.0.0.1:1"), ("POSTBACK__REDIS__URL", "redis://127.0.0.1:1")];
        let exit = alone(env(&real), LATE).err().unwrap();
        assert!(exit.code == 2 && exit.text.contains("--config FILE"), "{exit:?}");
    }
}

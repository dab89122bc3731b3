//! `postback check`: validates a configuration and names everything that is wrong with it at once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::{Config, Loaded, environment};
use crate::kafka::{parking_topic, tier_topic};

/// Validates the configuration and names every problem at once; connects to nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postback check --config postback.toml
  POSTBACK__LIMITS__RPS=50 postback check --config postback.toml

Exit code: 0 where `postback run` would start with this configuration, 2 where it would not.")]
pub struct Args {
    /// The configuration file; without it the compiled-in defaults and the environment are checked.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Exit code of a bad configuration (contract, section 1).
const BAD_CONFIGURATION: u8 = 2;

/// Runs the command: problems and warnings to standard error, a summary to standard output.
pub fn run(args: &Args) -> ExitCode {
    let loaded = match Config::load(args.config.as_deref(), environment()) {
        Ok(loaded) => loaded,
        Err(found) => {
            for warning in &found.warnings {
                eprintln!("warning: {warning}");
            }
            for problem in &found.problems {
                eprintln!("error: {problem}");
            }
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    let halting = loaded.config.without_credential(chrono::Utc::now().timestamp_millis());
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    for problem in &halting {
        eprintln!("error: {problem}");
    }
    if !halting.is_empty() {
        return ExitCode::from(BAD_CONFIGURATION);
    }
    print!("{}", summary(&loaded));
    ExitCode::SUCCESS
}

/// What this configuration would do: its accounts, and the topics it reads and writes.
fn summary(loaded: &Loaded) -> String {
    let Config { kafka, retry, accounts, .. } = &loaded.config;
    let mut platforms: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for account in accounts.values() {
        let note = if account.enabled { "" } else { " (disabled)" };
        platforms.entry(account.platform.as_str()).or_default().push(format!("{}{note}", account.name));
    }
    let tiers = retry.tiers.iter().map(|tier| tier_topic(&kafka.retry_prefix, &tier.name));
    let mut ends = vec![kafka.dead_letter.clone()];
    if !kafka.receipts.is_empty() {
        ends.push(kafka.receipts.clone());
    }
    let mut text = String::from("configuration is valid\n");
    for (platform, names) in platforms {
        text.push_str(&format!("  {platform:<10} {}\n", names.join(", ")));
    }
    let parking = parking_topic(&kafka.parked_prefix, "<account>");
    for (what, topics) in [
        ("reads", kafka.input.join(", ")),
        ("retries", tiers.collect::<Vec<_>>().join(", ")),
        ("parks", parking),
        ("ends", ends.join(", ")),
    ] {
        text.push_str(&format!("  {what:<10} {topics}\n"));
    }
    text
}

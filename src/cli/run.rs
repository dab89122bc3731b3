//! `postback run`: the worker.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use crate::cli::Exit;
use crate::config::{Config, Format};
use crate::telemetry;

/// Runs the worker: reads events from Kafka and delivers them.
#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  postback run --config postback.toml
  POSTBACK__TELEMETRY__LOG=debug postback run --config postback.toml

SIGTERM and SIGINT finish what is under way (intake.drain_timeout) and hand the rest back; a second one exits at once
with 130. `postback check` says beforehand what would refuse the start.

Exit code: 0 stopped by a signal, 1 a part died, 2 the configuration or the start was refused.")]
pub struct Args {
    /// Configuration file, laid over the built-in defaults.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// As `postback run --help` says.
pub fn run(args: &Args) -> Result<(), Exit> {
    let config = super::load(&args.config)?;
    let format = match config.telemetry.format {
        Format::Auto => telemetry::Format::Auto,
        Format::Text => telemetry::Format::Text,
        Format::Json => telemetry::Format::Json,
    };
    telemetry::init(&config.telemetry.log, format).map_err(Exit::usage)?;
    let halting = Config::without_credential(&config, chrono::Utc::now().timestamp_millis());
    for problem in halting {
        tracing::error!("{problem}");
    }
    super::block_on(crate::app::run(config))
}

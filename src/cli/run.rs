//! `postback run`: the worker.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use crate::cli::Exit;
use crate::cli::embedded::{self, Places};
use crate::config::{Config, Format};
use crate::{app, telemetry};

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
    let config = super::load(args.config.as_deref())?;
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
    super::block_on(worker(config, args.config.is_none()))
}

/// The worker, and inside the process what the configuration does not name outside of it.
async fn worker(mut config: Config, demo: bool) -> Result<(), Exit> {
    let stop = app::stop_signal()?;
    let sandbox = if demo { embedded::platforms(&mut config).await? } else { None };
    let parts = app::embed(&mut config)?;
    let places = parts.as_ref().map(|_| Places::of(&config, sandbox.as_ref()));
    let listening = |admin| {
        if let Some(places) = places {
            eprint!("{}", places.banner(admin));
        }
    };
    let result = app::run(config, stop, listening).await;
    // Broker, store and platforms outlive the drain.
    drop((parts, sandbox));
    result
}

//! `postback demo`: everything in one process, nothing to install.

use std::io::Write as _;

use clap::Args as ClapArgs;

use super::ledger;
use crate::demo::{Options, run as run_demo};
use crate::exit::{self, Exit};
use crate::settings::environment;
use crate::telemetry;

/// The default log filter: only errors. The lane's log is off because the demo itself says that an account halts.
const QUIET: &str = "error,postback::lane=off";

/// Shows the worker at work: generator, broker, store, platforms and worker in one process.
#[derive(ClapArgs, Clone, Debug)]
#[command(after_help = "\
Examples:
  postback demo                              until Ctrl-C: a tour of faults, then a calm flow to try things on
  postback demo --events 20000               under a minute, then the ledger
  postback demo --events 20000 --seed 7      the same events again
  postback demo --events 5000 --json 2>/dev/null | jq .balanced

Nothing is installed, nothing is kept, nothing leaves this host: broker and store are inside the process and in memory,
and the sandbox plays the platforms. Among the events are copies, conflicting copies, opt-outs and bad ones; one
platform fails for a while, one throttles, one falls silent, and one refuses a secret until it is corrected. All of that
has ended after 60 % of the events.

Progress goes to standard error, the ledger alone to standard output. While it runs, `send`, `trace`, `dead-letters`,
`accounts` and `blocked` work from another terminal without any option. Ctrl-C stops the generator, heals the platforms,
resumes every account and finishes what is open, within 60 s; a second one leaves at once with 130.

Exit code: 0 the ledger balances, 1 it does not or a part died, 2 the environment overrides what the demo needs.")]
pub struct Args {
    /// Stop after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub events: Option<u64>,
    /// Which events: the same number gives the same ones; without it, others each time
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// The ledger as one JSON object
    #[arg(long)]
    pub json: bool,
    /// The worker's log, e.g. info or postback=debug [default: error, or RUST_LOG, or POSTBACK__TELEMETRY__LOG]
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
}

impl Args {
    fn filter(&self) -> String {
        let asked = |name| std::env::var(name).ok().filter(|filter: &String| !filter.is_empty());
        let filter = self.log.clone().or_else(|| asked("RUST_LOG")).or_else(|| asked("POSTBACK__TELEMETRY__LOG"));
        filter.unwrap_or_else(|| QUIET.to_owned())
    }
}

/// Runs the command.
///
/// # Errors
/// As `postback demo --help` says.
pub fn run(args: &Args) -> Result<(), Exit> {
    // The log is text even in a pipe: it stands beside the progress, and people read it.
    telemetry::init(&args.filter(), telemetry::Format::Text).map_err(Exit::usage)?;
    // A short number, so that a person can type it again.
    let seed = args.seed.unwrap_or_else(|| rand::random_range(1..1_000_000));
    let options = Options { events: args.events, seed };
    let env: Vec<(String, String)> = environment().collect();
    let ledger = exit::block_on(run_demo(options, &env))?;
    let text = if args.json {
        serde_json::to_string(&ledger).map_err(|error| Exit::failed(error.to_string()))? + "\n"
    } else {
        ledger::text(&ledger)
    };
    // Nobody may be reading the output any more; the exit code tells the result too.
    let _ = std::io::stdout().write_all(text.as_bytes());
    if ledger.balanced {
        return Ok(());
    }
    Err(Exit::failed(format!("the ledger does not balance:\n{}", ledger.faults().join("\n"))))
}

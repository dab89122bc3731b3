//! `postback dead-letters discard | undiscard`: marks dead letters as done with, and takes that back.

use std::time::Duration;

use ::redis::aio::MultiplexedConnection;

use super::search;
use crate::cli::reach::{Reach, redis};
use crate::cli::{audit, print, print_json};
use crate::exit::{self, Exit};
use crate::inspect::dead_letters::{Filter, scan::Scan};
use crate::operate::Keys;
use crate::operate::audit::{By, Via};
use crate::replay::ReplayError;
use crate::replay::discard::{DiscardRequest, Discarded, discard, undiscard};
use crate::settings::Config;

/// The search is complete already; only what arrives meanwhile is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    filter: Filter,
    /// This one alone; may be repeated, instead of filters
    #[arg(long, value_name = "PARTITION:OFFSET")]
    item: Vec<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct UndoArgs {
    /// The id that `discard` printed
    id: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Debug, clap::Args)]
struct Common {
    /// Why; kept in the audit
    #[arg(long, value_name = "TEXT")]
    why: String,
    /// Who asks for it
    #[arg(long, value_name = "NAME", env = "USER", hide_env = true, default_value = "cli")]
    who: String,
    /// JSON instead of a sentence
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

pub(super) fn run(args: &Args) -> Result<(), Exit> {
    let filter = Some(args.filter.clone()).filter(|filter| args.item.is_empty() || *filter != Filter::default());
    let what = DiscardRequest { filter, items: args.item.clone(), ..DiscardRequest::default() };
    // What is refused anyway is refused before anything is read.
    if let Some(filter) = &what.filter {
        filter.clone().acting().map_err(|error| Exit::usage(error.to_string()))?;
    }
    let made = change(&args.common, async |scan, connection, keys, by| {
        discard(scan, (connection, keys), &what, by, PATIENCE).await
    })?;
    if args.common.json {
        return print_json(&made);
    }
    print(&format!(
        "discarded {} (id {}); to take it back: postback dead-letters undiscard {} --why TEXT\n",
        letters(made.count),
        made.id,
        made.id
    ))
}

pub(super) fn undo(args: &UndoArgs) -> Result<(), Exit> {
    let undone = change(&args.common, async |scan, connection, keys, by| {
        undiscard(scan, (connection, keys), &args.id, by, PATIENCE).await
    })?;
    if args.common.json {
        return print_json(&undone);
    }
    print(&format!("took discard {} back: it had marked {}\n", undone.id, letters(undone.count)))
}

fn change(
    common: &Common,
    make: impl AsyncFnOnce(&Scan, &mut MultiplexedConnection, &Keys, &By) -> Result<Discarded, ReplayError>,
) -> Result<Discarded, Exit> {
    let by = By::new(Via::Cli, &common.who, &common.why);
    if by.why.is_empty() {
        return Err(Exit::usage("--why: say why; it is kept in the audit"));
    }
    let config: Config = common.reach.config()?;
    let scan = search::all(&config)?;
    exit::block_on(async {
        let (mut connection, keys) = (redis(&config).await?, Keys::new(&config.redis.prefix));
        let made = make(&scan, &mut connection, &keys, &by).await.map_err(|error| match error {
            ReplayError::Bad { .. } => Exit::usage(error.to_string()),
            error => Exit::failed(error.to_string()),
        })?;
        audit::publish_waiting(&mut connection, &keys, &config.kafka).await;
        Ok(made)
    })
}

fn letters(count: u64) -> String {
    if count == 1 { "1 dead letter".to_owned() } else { format!("{count} dead letters") }
}

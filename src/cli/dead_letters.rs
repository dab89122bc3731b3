//! `postback dead-letters list | show | stats | discard | undiscard`: shows the dead letters and what to do about them,
//! and marks those that are done with.

mod discard;
mod list;
mod search;
mod show;
mod stats;

use clap::Subcommand;

use crate::exit::Exit;

/// Arguments of `postback dead-letters`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "Read the dead-letter topic: what ended there, why, and what to do about it",
    after_help = "Examples:
  postback dead-letters stats --config postback.toml --since 24h
  postback dead-letters list --config postback.toml --reason rejected --account acme-ps
  postback dead-letters show --config postback.toml 3:1207

The topic is read from where it ends now to its start; no group is joined and nothing is committed. Of several dead
letters of one origin the newest counts. Personal data are masked.

Exit code: 0 read, also where there is no dead letter; 1 Kafka does not answer, or the topic or the dead letter asked for
does not exist; 2 the configuration or an option is bad, e.g. a --reason that does not exist."
)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// One line per dead letter, newest first
    #[command(after_help = "Examples:
  postback dead-letters list --config postback.toml --since 2h --limit 50
  postback dead-letters list --config postback.toml --platform qihoo360 --reason rejected --code 3 --state open
  postback dead-letters list --config postback.toml --reason invalid --export csv > invalid.csv
  postback dead-letters list --config postback.toml --json | jq -r '.[] | [.trans_id, .reason, .field] | @tsv'

--json prints an array of objects: every header by its name without pb- and with underscores, partition and offset, and
the state. Filters judge the newest dead letter of an origin; --all judges every one.")]
    List(list::Args),
    /// One dead letter in full: headers, the event, what the reason means, what to do, the request it would cause today
    #[command(after_help = "Examples:
  postback dead-letters show --config postback.toml 3:1207      partition and offset, as `list` prints them
  postback dead-letters show --config postback.toml order-1001-pay
  postback dead-letters show --config postback.toml 3:1207 --raw > e.json     then an editor, preview e.json, send e.json

Where nothing lies at 3:1207, it is taken for a trans_id. A trans_id shows the newest dead letter of each origin that has it. Personal data are masked in event and request;
`postback preview` shows the exact bytes of a request. --raw writes the stored bytes of the event alone: nothing is masked in them.")]
    Show(show::Args),
    /// How many per reason and account, how many of them are open, the oldest and the newest
    #[command(after_help = "Examples:
  postback dead-letters stats --config postback.toml
  postback dead-letters stats --config postback.toml --since 2025-01-15T00:00:00+08:00 --json")]
    Stats(stats::Args),
    /// Mark what a filter selects as done with; nothing is deleted, and it can be taken back
    #[command(after_help = "Examples:
  postback dead-letters discard --config postback.toml --reason invalid --account acme-ps --why 'test events'
  postback dead-letters discard --config postback.toml --item 3:1207 --why 'mended and sent anew as order-1001-b'

It takes what is there now and open, and prints the id with which `undiscard` takes it back. --state replayed takes replayed
ones: up to 1000 of them exactly as they are now; of more than 1000, also those before the present end of the topic that a
replay publishes later. Without any condition it is refused, unless --everything says that every dead letter is meant. It is
audited.")]
    Discard(discard::Args),
    /// Take a discard back: what it marked is open again
    #[command(after_help = "Example:
  postback dead-letters undiscard --config postback.toml 01946ab081a0d00df00d --why 'the advertiser wants them'")]
    Undiscard(discard::UndoArgs),
}

/// Runs the command.
///
/// # Errors
/// 1 where Kafka does not answer, or there is no such topic or dead letter, 2 where the configuration is bad.
pub fn run(args: &Args) -> Result<(), Exit> {
    match &args.command {
        Command::List(args) => list::run(args),
        Command::Stats(args) => stats::run(args),
        Command::Show(args) => show::run(args),
        Command::Discard(args) => discard::run(args),
        Command::Undiscard(args) => discard::undo(args),
    }
}

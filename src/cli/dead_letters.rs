//! `postback dead-letters list | show | stats`: shows the dead letters, and what to do about them.

mod show;

use std::sync::{Mutex, PoisonError};

use clap::Subcommand;
use serde_json::Value;

use super::reach::Reach;
use super::reading;
use super::{print, table};
use crate::exit::Exit;
use crate::inspect::dead_letters::{DeadLetter, Filter, LatestPerOrigin, Stats};
use crate::settings::Config;

/// Arguments of `postback dead-letters`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "Read the dead-letter topic: what ended there, why, and what to do about it",
    after_help = "Examples:
  postback dead-letters stats --config postback.toml --since 24h
  postback dead-letters list --config postback.toml --reason rejected --account acme-ps
  postback dead-letters show --config postback.toml 3:1207

The topic is read from its start to where it ends now; no group is joined and nothing is committed. Of several dead
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
  postback dead-letters list --config postback.toml --platform qihoo360 --reason rejected --code 3
  postback dead-letters list --config postback.toml --json | jq -r '.[] | [.trans_id, .reason, .field] | @tsv'

--json prints an array of objects: every header by its name without pb- and with underscores, partition and offset.
Filters judge the newest dead letter of an origin; --all judges every one.")]
    List(List),
    /// One dead letter in full: headers, the event, what the reason means, what to do, the request it would cause today
    #[command(after_help = "Examples:
  postback dead-letters show --config postback.toml 3:1207      partition and offset, as `list` prints them
  postback dead-letters show --config postback.toml order-1001-pay

Where nothing lies at 3:1207, it is taken for a trans_id. A trans_id shows the newest dead letter of each origin that has it. Personal data are masked in event and request;
`postback preview` shows the exact bytes of a request.")]
    Show(show::Args),
    /// How many per reason and account, the oldest and the newest
    #[command(after_help = "Examples:
  postback dead-letters stats --config postback.toml
  postback dead-letters stats --config postback.toml --since 2025-01-15T00:00:00+08:00 --json")]
    Stats(List),
}

#[derive(Clone, Debug, clap::Args)]
struct List {
    #[command(flatten)]
    filter: Filter,
    /// Every dead letter, not only the newest of each origin
    #[arg(long)]
    all: bool,
    /// JSON instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

/// Runs the command.
///
/// # Errors
/// 1 where Kafka does not answer, or there is no such topic or dead letter, 2 where the configuration is bad.
pub fn run(args: &Args) -> Result<(), Exit> {
    match &args.command {
        Command::List(args) => {
            let letters = gather(&args.reach.config()?, args)?;
            if args.json {
                let objects: Vec<Value> = letters.iter().map(|letter| Value::Object(letter.json())).collect();
                return super::print_json(&objects);
            }
            print(&list(&letters))
        }
        Command::Stats(args) => {
            let stats = Stats::of(&gather(&args.reach.config()?, args)?);
            if args.json { super::print_json(&stats) } else { print(&count(&stats)) }
        }
        Command::Show(args) => show::run(args),
    }
}

fn gather(config: &Config, args: &List) -> Result<Vec<DeadLetter>, Exit> {
    let spans = reading::dead_letters(config)?;
    let gathering = Mutex::new(LatestPerOrigin::new(args.filter.clone(), args.all));
    reading::read(config, spans, &|record| {
        gathering.lock().unwrap_or_else(PoisonError::into_inner).add(DeadLetter::read(&record));
    })?;
    Ok(gathering.into_inner().unwrap_or_else(PoisonError::into_inner).finish())
}

fn list(letters: &[DeadLetter]) -> String {
    if letters.is_empty() {
        return "no dead letters\n".to_owned();
    }
    let headings = ["AT", "FAILED", "ACCOUNT", "EVENT", "TRANS_ID", "REASON", "FIELD", "CODE", "DETAIL"];
    let rows: Vec<Vec<String>> = letters
        .iter()
        .map(|letter| {
            let text = |name| letter.text(name).unwrap_or_default().to_owned();
            let at = format!("{}:{}", letter.partition, letter.offset);
            let mut row = vec![at, table::time(Some(letter.failed_at_ms()))];
            row.extend(["account", "event", "trans-id", "reason", "field", "last-code", "detail"].map(text));
            row
        })
        .collect();
    table::render(&headings, &rows)
}

fn count(stats: &Stats) -> String {
    if stats.total == 0 {
        return "no dead letters\n".to_owned();
    }
    let headings = ["REASON", "PLATFORM", "ACCOUNT", "COUNT", "OLDEST", "NEWEST"];
    let mut rows: Vec<Vec<String>> = stats
        .counts
        .iter()
        .map(|c| {
            let name = |text: &Option<String>| text.clone().unwrap_or_default();
            let (oldest, newest) = (table::time(Some(c.oldest)), table::time(Some(c.newest)));
            vec![c.reason.clone(), name(&c.platform), name(&c.account), c.count.to_string(), oldest, newest]
        })
        .collect();
    let all = [" ", " "].map(str::to_owned);
    let mut total = vec!["total".to_owned()];
    total.extend(all);
    total.extend([stats.total.to_string(), table::time(stats.oldest), table::time(stats.newest)]);
    rows.push(total);
    table::render(&headings, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::dead_letters::tests::letter;

    #[test]
    fn a_table_has_one_line_per_letter_and_masks_what_is_personal() {
        let letters = [letter(
            3,
            7,
            &[
                ("account", "acme-ps"),
                ("trans-id", "t-1"),
                ("reason", "rejected"),
                ("last-code", "3"),
                ("detail", "no such user 13812345678"),
                ("failed-at", "1736956740000"),
            ],
        )];
        let text = list(&letters);
        let line = text.lines().nth(1).unwrap();
        assert!(line.starts_with("3:7  2025-01-15T15:59:00Z  acme-ps  -"), "{text}");
        assert!(line.ends_with("no such user 138****5678"), "{text}");
        assert_eq!(list(&[]), "no dead letters\n");
    }

    #[test]
    fn stats_end_in_a_line_of_totals() {
        let of =
            |offset, reason| letter(0, offset, &[("account", "a"), ("reason", reason), ("failed-at", "1736956740000")]);
        let text = count(&Stats::of(&[of(1, "invalid"), of(2, "invalid"), of(3, "expired")]));
        assert_eq!(text.lines().count(), 4);
        assert!(text.lines().nth(1).unwrap().starts_with("invalid  -         a        2"), "{text}");
        assert!(text.lines().last().unwrap().starts_with("total              3") || text.contains("total"), "{text}");
    }
}
